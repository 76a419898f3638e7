//! What has to happen before a guest runs: its image is placed, its memory validated, filled and granted, its boot structures
//! built, and what was started measured.
//!
//! Nothing here touches hardware: the pages come from `svsm_protocol`'s ledger and machine, the host's files through
//! [`HostFiles`]. The firmware implements both on hardware, the tests on the emulator's model. Which processor state the guest
//! starts in is decided here too; handing it to the host is the firmware's part.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

extern crate alloc;

mod acpi;
mod boot_area;
mod elf;
mod facts;
mod firmware;
pub mod host_description;
mod host_files;
mod linux;
mod long_mode;
mod measured;
mod memory;

pub use facts::{MemoryRange, VmFacts};
pub use host_files::{FileError, HostFile, HostFiles};
pub use memory::{CannotStart, GuestMemory};

use boot_area::BootArea;
use boot_handoff::{Guest, GuestRecord};
use snp_abi::secrets::{GuestArea, SecretsPage};
use snp_abi::vmsa::Vmsa;

/// A guest that is ready to run.
#[derive(Debug)]
pub struct ReadyGuest {
    /// Registers of its first vCPU.
    pub vmsa: Vmsa,
    /// Address of the first calling area.
    pub calling_area: u64,
}

/// What the firmware lends for the start of a guest.
pub struct Surroundings<'a> {
    /// The VM, and the guest's memory in it.
    pub memory: GuestMemory<'a>,
    /// The host's files, for a guest that needs them.
    pub files: Option<&'a mut dyn HostFiles>,
    /// Makes the guest's secrets page, which names its first calling area.
    pub secrets: &'a dyn Fn(u64) -> SecretsPage,
}

/// Prepares the guest that the image was built for; none if it was built for none.
///
/// # Errors
/// If the guest cannot be started; it must not run then.
pub fn prepare(
    record: &GuestRecord,
    surroundings: &mut Surroundings<'_>,
) -> Result<Option<ReadyGuest>, CannotStart> {
    let ready = match record.decode().map_err(|_| CannotStart::Image)? {
        Guest::None => {
            log::info!("no guest in this image");
            return Ok(None);
        }
        Guest::Elf(guest) => elf::prepare(record, guest, surroundings)?,
        Guest::Linux(guest) => linux::prepare(record, guest, surroundings)?,
        Guest::Firmware(guest) => firmware::prepare(record, guest, surroundings)?,
    };
    Ok(Some(ready))
}

/// What the guest that ran before left in its part of the secrets page; none if it has given the page away.
pub fn last_guest_area(memory: &mut GuestMemory<'_>) -> Option<GuestArea> {
    BootArea::place(memory.facts).ok()?.last_guest_area(memory)
}
