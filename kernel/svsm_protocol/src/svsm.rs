//! The state of the services, shared by all vCPUs.

use crate::guest_vcpus::GuestVcpus;
use crate::ledger::Ledger;
use crate::psp_channel::PspChannel;
use crate::vtpm::Vtpm;
use alloc::boxed::Box;

/// The state of the services.
pub struct Svsm {
    /// Who has which page.
    pub ledger: Ledger,
    /// The guest's vCPUs.
    pub vcpus: GuestVcpus,
    /// The guest's VMPL, 1 to 3.
    pub guest_vmpl: u8,
    /// The way to the security processor.
    pub channel: PspChannel,
    /// The TPM, if there is one.
    pub vtpm: Option<Box<dyn Vtpm>>,
}

/// Number of a vCPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vcpu(pub usize);
