//! Starts the guest that the image was built for, on the vCPU that boots.

mod acpi;
mod boot_area;
mod elf;
mod firmware;
mod linux;
mod long_mode;
mod measured;
mod memory;
mod ram;

use crate::setup::{Facts, GUEST_VMPL, svsm};
use crate::vcpu::Started;
use boot_handoff::{Guest, Handoff};
use hardware::cpu::Cpu;
use hardware::termination::{Reason, terminate};
use hardware::{guest_vmsa, region};
use measured::Measured;
use snp_abi::vmsa::Vmsa;
use svsm_protocol::{GuestPage, VcpuContext};

/// Why a guest cannot be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CannotStart {
    /// The memory that it needs is not there, or not free.
    Memory,
    /// A blob is missing, too long or short, or does not have the measured hash.
    Blob,
    /// The kernel is not one that this firmware can start.
    Image,
}

/// Starts the guest of the image; none if it has none.
pub fn start(cpu: &mut Cpu, handoff: &Handoff, facts: &Facts) -> Option<Started> {
    let Ok(guest) = handoff.guest.decode() else { terminate(Reason::Handoff) };
    let measured = || Measured::start(&handoff.guest);
    let prepared = match guest {
        Guest::None => {
            log::info!("no guest in this image");
            return None;
        }
        Guest::Elf(guest) => elf::prepare(cpu, guest, facts, measured()),
        Guest::Linux(guest) => linux::prepare(cpu, guest, facts, measured()),
        Guest::Firmware(guest) => {
            measured::start_tpm();
            firmware::prepare(cpu, &handoff.guest, guest, facts)
        }
    };
    match prepared {
        Ok(start) => Some(launch(facts, &start)),
        Err(CannotStart::Blob) => terminate(Reason::GuestBlob),
        Err(CannotStart::Memory | CannotStart::Image) => terminate(Reason::GuestImage),
    }
}

/// A guest that is ready.
pub struct Start {
    /// Registers of its first vCPU.
    pub vmsa: Vmsa,
    /// The first calling area.
    pub calling_area: u64,
}

/// Hands the boot vCPU's guest VMSA to the host and makes it known to the services.
fn launch(facts: &Facts, start: &Start) -> Started {
    let Some(apic_id) = facts.apic_ids.first() else { terminate(Reason::Processors) };
    let vmsa = guest_vmsa::create(&start.vmsa, GUEST_VMPL, *apic_id).unwrap_or_else(|error| {
        log::error!("guest VMSA: {error:?}");
        terminate(Reason::ApCreation)
    });
    let context = VcpuContext {
        vmsa: GuestPage::prepared_at_boot(vmsa),
        calling_area: GuestPage::prepared_at_boot(start.calling_area),
    };
    if svsm().registry.add(0, context).is_err() {
        terminate(Reason::Processors);
    }
    let kept = region::end() - region::start();
    log::info!("guest starts at {:#x} on VMPL{}, {kept} bytes kept", start.vmsa.rip, GUEST_VMPL.to_wire());
    Started
}
