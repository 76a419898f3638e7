//! How the firmware ends when the host or the hardware breaks the contract: a GHCB termination request
//! with our own reason set, and one code for each cause (kernel/doc/termination_codes.md).

use crate::instructions;
use snp_abi::ghcb::msr_protocol::Request;
use snp_abi::ghcb::termination::Termination;
use snp_abi::msr;

/// The reason set of this firmware; sets 0 (GHCB specification) and 1 (Linux) are taken.
pub const REASON_SET: u8 = 8;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// Why the firmware ended; the number is the reason code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Reason {
            $($(#[$doc])* $name = $code,)*
        }

        impl Reason {
            /// All reasons, in order.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

reasons! {
    /// The processor does not run this guest with SNP.
    NotSnp = 1,
    /// The CPUID page lacks the C-bit position or has an impossible count.
    CpuidPage = 2,
    /// The hand-off record is not one of this version.
    Handoff = 3,
    /// PVALIDATE of a page of the firmware's own failed, or the page was validated before: the host
    /// mapped it twice.
    OwnPageValidation = 4,
    /// The host refused or failed a page state change.
    PageStateChange = 5,
    /// The host's GHCB protocol versions do not include 2.
    GhcbVersion = 6,
    /// The host lacks SNP, AP creation or multi-VMPL.
    HypervisorFeatures = 7,
    /// The host refused to register the GHCB.
    GhcbRegistration = 8,
    /// The host answered a request with something that is no answer to it.
    HostAnswer = 9,
    /// An exception in VMPL0 that is not handled.
    Exception = 10,
    /// The kernel panicked.
    Panic = 11,
    /// The firmware's own memory is exhausted at start.
    OutOfMemory = 12,
    /// The memory map is missing, malformed, or does not contain the firmware's region.
    MemoryMap = 13,
    /// The number of vCPUs or their APIC ids are impossible.
    Processors = 14,
    /// RMPADJUST of a page of the firmware's or the guest's failed where it cannot.
    PermissionChange = 15,
    /// The host refused to start a vCPU.
    ApCreation = 16,
    /// The host cannot run the guest's VMPL.
    RunVmpl = 17,
    /// The processor lacks INVLPGB.
    NoInvlpgb = 18,
    /// The guest's payload cannot be started.
    GuestImage = 19,
    /// The secrets page is missing keys or has an unknown version.
    SecretsPage = 20,
    /// A blob from the host is missing, larger than announced or does not have the measured hash.
    GuestBlob = 21,
    /// The hardware's random number generator failed its health check.
    Entropy = 22,
    /// The vTPM did not take a measurement of what is about to start.
    Measurement = 23,
    /// The guest was reset, and cannot be started again: its image has it in memory that it has changed since, or a vCPU of it
    /// still runs.
    GuestReset = 24,
}

/// Asks the host to end the guest; does not return, whatever the host does.
pub fn terminate(reason: Reason) -> ! {
    // 8 fits the four bits of a set; the GHCB's general reason stands in if it did not.
    let termination =
        Termination::new(REASON_SET, reason as u8).unwrap_or(snp_abi::ghcb::termination::GENERAL_UNSPECIFIED);
    loop {
        // SAFETY: the GHCB MSR exists in every SEV-ES guest and does not change addressing.
        unsafe { instructions::write_msr(msr::GHCB, Request::Terminate(termination).encode()) };
        // SAFETY: the request only ends the guest.
        unsafe { instructions::vmgexit() };
        instructions::halt();
    }
}
