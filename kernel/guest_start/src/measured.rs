//! Measures what this firmware starts: into the vTPM, before it runs, and into a log for the guest.
//!
//! | PCR | event |
//! |---|---|
//! | 0 | this firmware's version; the record of what the image starts, which the image's measurement covers |
//! | 4 | the kernel, by its SHA-384 |
//! | 8 | the command line |
//! | 9 | the initial RAM disk, by its SHA-384 |
//! | 0 to 7 | separators |
//!
//! A guest's own firmware measures itself, and what it starts, into the TPM that it finds started, and keeps the log
//! (kernel/doc/decisions/0019-uefi-keeps-the-log.md).

use crate::memory::CannotStart;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use boot_handoff::{BlobDigest, GuestRecord};
use core::fmt::Write;
use svsm_protocol::Vtpm;
use svsm_protocol::measurement::{self, EventLog, EventType, MeasurementError, Pcr};
use zerocopy::IntoBytes;

const FIRMWARE: Pcr = Pcr(0);
const KERNEL: Pcr = Pcr(4);
const COMMAND_LINE: Pcr = Pcr(8);
const INITRD: Pcr = Pcr(9);

/// Tag of the guest record: `VGST`.
const GUEST_RECORD_TAG: u32 = u32::from_be_bytes(*b"VGST");
/// Command lines that are longer are measured by their digest, so that the log keeps to its pages.
const MOST_TEXT: usize = 2048;

/// Measurements so far; without a vTPM nothing is measured.
pub struct Measured<'a> {
    vtpm: Option<&'a dyn Vtpm>,
    log: EventLog,
}

impl<'a> Measured<'a> {
    /// Starts the TPM and measures firmware and guest record.
    pub fn start(vtpm: Option<&'a dyn Vtpm>, guest: &GuestRecord) -> Result<Self, CannotStart> {
        start_tpm(vtpm)?;
        let mut measured = Self { vtpm, log: EventLog::new() };
        if vtpm.is_some() {
            let version: Vec<u8> = concat!("Vouchsafe ", env!("CARGO_PKG_VERSION"), "\0")
                .encode_utf16()
                .flat_map(u16::to_le_bytes)
                .collect();
            measured.event(FIRMWARE, EventType::CrtmVersion, &version)?;
            let record = guest.as_bytes();
            let mut tagged = GUEST_RECORD_TAG.to_le_bytes().to_vec();
            tagged.extend_from_slice(&(record.len() as u32).to_le_bytes());
            tagged.extend_from_slice(record);
            measured.event(FIRMWARE, EventType::Tagged, &tagged)?;
        }
        Ok(measured)
    }

    fn event(&mut self, pcr: Pcr, event: EventType, data: &[u8]) -> Result<(), CannotStart> {
        match self.vtpm {
            Some(vtpm) => self.log.measure(vtpm, pcr, event, data).map_err(refused),
            None => Ok(()),
        }
    }

    /// The kernel.
    pub fn kernel(&mut self, blob: &BlobDigest) -> Result<(), CannotStart> {
        self.blob(KERNEL, "kernel", blob)
    }

    /// The initial RAM disk, if there is one.
    pub fn initrd(&mut self, blob: &BlobDigest) -> Result<(), CannotStart> {
        if blob.length == 0 { Ok(()) } else { self.blob(INITRD, "initrd", blob) }
    }

    fn blob(&mut self, pcr: Pcr, name: &str, blob: &BlobDigest) -> Result<(), CannotStart> {
        let text = format!("{name}: sha384 {}", hex(&blob.sha384));
        self.event(pcr, EventType::InitialProgram, text.as_bytes())
    }

    /// The command line, without its final zero.
    pub fn command_line(&mut self, blob: &BlobDigest, text: &[u8]) -> Result<(), CannotStart> {
        if text.len() > MOST_TEXT {
            return self.blob(COMMAND_LINE, "kernel_cmdline", blob);
        }
        let mut event = b"kernel_cmdline: ".to_vec();
        event.extend_from_slice(text);
        self.event(COMMAND_LINE, EventType::InitialProgram, &event)
    }

    /// Ends the firmware's part; the log as the guest gets it, empty if nothing was measured.
    pub fn finish(&mut self) -> Result<&[u8], CannotStart> {
        let Some(vtpm) = self.vtpm else { return Ok(&[]) };
        self.log.separate(vtpm).map_err(refused)?;
        Ok(self.log.bytes())
    }
}

/// Starts the TPM, if there is one, and measures nothing.
pub fn start_tpm(vtpm: Option<&dyn Vtpm>) -> Result<(), CannotStart> {
    vtpm.map_or(Ok(()), |vtpm| measurement::start(vtpm).map_err(refused))
}

fn refused(error: MeasurementError) -> CannotStart {
    log::error!("measuring the guest: {error:?}");
    CannotStart::Measurement
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
