//! Measured boot: what VMPL0 starts goes into PCRs before it runs, and into an event log that the guest is given.
//!
//! The log has the crypto-agile form of the TCG PC Client Platform Firmware Profile (chapter 10): a first record in the old
//! form that names the banks, then one record for each event. The digest of every event is the hash of its data, so the
//! log can be replayed without knowing anything else. Large blobs are events by their SHA-384, which the image's measurement
//! already fixes: hashing them once more for each bank would cost more than the whole boot.

use crate::vtpm::{Vtpm, VtpmError};
use alloc::vec::Vec;
use sha2::{Digest, Sha256, Sha384};

/// A PCR's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pcr(pub u8);

/// Event types (PC Client Platform Firmware Profile, 10.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum EventType {
    /// The end of what the firmware measures into a PCR.
    Separator = 4,
    /// A tag, a length, and data of the tag's kind.
    Tagged = 6,
    /// The firmware's version, as UTF-16.
    CrtmVersion = 8,
    /// What is started, in words.
    InitialProgram = 13,
}

/// Why an event was not measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeasurementError {
    /// The TPM did not run the command.
    Vtpm(VtpmError),
    /// The TPM answered with this code, or with no answer (0).
    Refused(u32),
    /// The event is too long.
    TooLong,
}

/// Algorithm ids and digest sizes of the banks that a TPM of ours starts with.
const SHA256: (u16, u16) = (0x000B, 32);
const SHA384: (u16, u16) = (0x000C, 48);
/// Type of the first record, which is not measured.
const NO_ACTION: u32 = 3;
const SHA1_BYTES: usize = 20;
const SIGNATURE: &[u8; 16] = b"Spec ID Event03\0";
/// Platform class client, version 2.00 errata 0, 64-bit addresses.
const SPECIFICATION: [u8; 8] = [0, 0, 0, 0, 0, 2, 0, 2];
/// Longest event data.
const MOST_BYTES: usize = 4096;

const STARTUP_CLEAR: [u8; 12] = [0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x44, 0, 0];
/// TPM2_PCR_Extend with an empty password, up to the digests: tag, length, code, PCR, authorization area.
const EXTEND_BYTES: u32 = 10 + 4 + 4 + 9 + 4 + 2 + 32 + 2 + 48;
const SESSIONS: u16 = 0x8002;
const PCR_EXTEND: u32 = 0x0000_0182;
const PASSWORD_AREA: [u8; 13] = [0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0];
/// The last separator belongs to PCR 7.
const SEPARATORS: core::ops::Range<u8> = 0..8;

/// The log.
pub struct EventLog {
    bytes: Vec<u8>,
}

/// Starts the TPM, as firmware does before its first measurement.
///
/// # Errors
/// If it does not start.
pub fn start(vtpm: &dyn Vtpm) -> Result<(), MeasurementError> {
    run(vtpm, &STARTUP_CLEAR)
}

fn run(vtpm: &dyn Vtpm, command: &[u8]) -> Result<(), MeasurementError> {
    let mut response = [0; 64];
    let length = vtpm.execute(0, command, &mut response).map_err(MeasurementError::Vtpm)?;
    let code = response.get(6..10.min(length)).and_then(|bytes| bytes.first_chunk());
    match code.map(|bytes| u32::from_be_bytes(*bytes)) {
        Some(0) => Ok(()),
        code => Err(MeasurementError::Refused(code.unwrap_or(0))),
    }
}

impl Default for EventLog {
    fn default() -> Self {
        Self::new()
    }
}

impl EventLog {
    /// A log without events.
    pub fn new() -> Self {
        let banks = [SHA256, SHA384];
        let mut data = SIGNATURE.to_vec();
        data.extend_from_slice(&SPECIFICATION);
        data.extend_from_slice(&2_u32.to_le_bytes());
        for (algorithm, bytes) in banks {
            data.extend_from_slice(&algorithm.to_le_bytes());
            data.extend_from_slice(&bytes.to_le_bytes());
        }
        // No vendor information.
        data.push(0);
        let mut log = Self { bytes: Vec::new() };
        log.word(0);
        log.word(NO_ACTION);
        log.bytes.extend_from_slice(&[0; SHA1_BYTES]);
        log.data(&data);
        log
    }

    /// The log as it is now.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn word(&mut self, word: u32) {
        self.bytes.extend_from_slice(&word.to_le_bytes());
    }

    fn data(&mut self, data: &[u8]) {
        self.word(u32::try_from(data.len()).unwrap_or(u32::MAX));
        self.bytes.extend_from_slice(data);
    }

    /// Extends a PCR with an event and logs it.
    ///
    /// # Errors
    /// If the TPM does not take it; the log is unchanged then.
    pub fn measure(
        &mut self,
        vtpm: &dyn Vtpm,
        pcr: Pcr,
        event: EventType,
        data: &[u8],
    ) -> Result<(), MeasurementError> {
        if data.len() > MOST_BYTES {
            return Err(MeasurementError::TooLong);
        }
        let (short, long) = (Sha256::digest(data), Sha384::digest(data));
        run(vtpm, &extend(pcr, &short, &long))?;
        self.word(pcr.0.into());
        self.word(event as u32);
        self.word(2);
        self.bytes.extend_from_slice(&SHA256.0.to_le_bytes());
        self.bytes.extend_from_slice(&short);
        self.bytes.extend_from_slice(&SHA384.0.to_le_bytes());
        self.bytes.extend_from_slice(&long);
        self.data(data);
        Ok(())
    }

    /// Separates what the firmware measured from what its guest measures, where no other firmware comes in between.
    ///
    /// # Errors
    /// As [`Self::measure`].
    pub fn separate(&mut self, vtpm: &dyn Vtpm) -> Result<(), MeasurementError> {
        for pcr in SEPARATORS {
            self.measure(vtpm, Pcr(pcr), EventType::Separator, &[0; 4])?;
        }
        Ok(())
    }
}

/// TPM2_PCR_Extend.
fn extend(pcr: Pcr, short: &[u8], long: &[u8]) -> Vec<u8> {
    let mut command = Vec::new();
    command.extend_from_slice(&SESSIONS.to_be_bytes());
    command.extend_from_slice(&EXTEND_BYTES.to_be_bytes());
    command.extend_from_slice(&PCR_EXTEND.to_be_bytes());
    command.extend_from_slice(&u32::from(pcr.0).to_be_bytes());
    command.extend_from_slice(&PASSWORD_AREA);
    command.extend_from_slice(&2_u32.to_be_bytes());
    command.extend_from_slice(&SHA256.0.to_be_bytes());
    command.extend_from_slice(short);
    command.extend_from_slice(&SHA384.0.to_be_bytes());
    command.extend_from_slice(long);
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use spin::Mutex;

    /// A TPM that notes its commands and answers with a code.
    struct Recorder {
        commands: Mutex<Vec<Vec<u8>>>,
        code: u32,
    }

    impl Vtpm for Recorder {
        fn execute(&self, _: u8, command: &[u8], response: &mut [u8]) -> Result<usize, VtpmError> {
            self.commands.lock().push(command.to_vec());
            response[6..10].copy_from_slice(&self.code.to_be_bytes());
            Ok(10)
        }

        fn endorsement_key(&self) -> Result<Vec<u8>, VtpmError> {
            Err(VtpmError::Unavailable)
        }

        fn reset(&self) -> Result<(), VtpmError> {
            Ok(())
        }
    }

    fn recorder(code: u32) -> Recorder {
        Recorder { commands: Mutex::new(Vec::new()), code }
    }

    #[test]
    fn an_event_is_extended_into_both_banks_and_logged_with_its_data() {
        let tpm = recorder(0);
        let mut log = EventLog::new();
        let header = log.bytes().len();
        assert_eq!(header, 32 + 16 + 8 + 4 + 8 + 1);
        log.measure(&tpm, Pcr(4), EventType::InitialProgram, b"kernel").unwrap();
        let commands = tpm.commands.lock();
        let command = &commands[0];
        assert_eq!(command.len(), EXTEND_BYTES as usize);
        assert_eq!(command[..14], [0x80, 2, 0, 0, 0, 115, 0, 0, 1, 0x82, 0, 0, 0, 4]);
        assert_eq!(command[33..65], Sha256::digest(b"kernel")[..]);
        assert_eq!(command[67..], Sha384::digest(b"kernel")[..]);
        let event = &log.bytes()[header..];
        assert_eq!(event[..12], [4, 0, 0, 0, 13, 0, 0, 0, 2, 0, 0, 0]);
        assert_eq!(event[12..14], [0x0B, 0]);
        assert_eq!(event[14..46], Sha256::digest(b"kernel")[..]);
        assert_eq!(event[96..], *b"\x06\0\0\0kernel");
    }

    #[test]
    fn an_event_that_the_tpm_refuses_is_not_logged() {
        let mut log = EventLog::new();
        let before = log.bytes().to_vec();
        let refused = log.measure(&recorder(0x101), Pcr(0), EventType::CrtmVersion, b"x");
        assert_eq!(refused, Err(MeasurementError::Refused(0x101)));
        let long = log.measure(&recorder(0), Pcr(0), EventType::CrtmVersion, &[0; 4097]);
        assert_eq!(long, Err(MeasurementError::TooLong));
        assert_eq!(log.bytes(), before);
        assert_eq!(start(&recorder(0x100)), Err(MeasurementError::Refused(0x100)));
    }

    #[test]
    fn separators_go_into_the_firmwares_pcrs() {
        let tpm = recorder(0);
        EventLog::new().separate(&tpm).unwrap();
        let pcrs: Vec<u8> = tpm.commands.lock().iter().map(|command| command[13]).collect();
        assert_eq!(pcrs, [0, 1, 2, 3, 4, 5, 6, 7]);
    }
}
