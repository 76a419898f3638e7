//! The channel between guest and host: the GHCB specification (AMD 56421).
//!
//! [`msr_protocol`] is the one-register form that needs no memory, [`page`] the shared page; [`page_state`],
//! [`ap_creation`] and [`guest_request`] are the events with payloads of their own.

pub mod ap_creation;
pub mod event;
pub mod guest_request;
pub mod msr_protocol;
pub mod page;
pub mod page_state;
pub mod termination;

use bitflags::bitflags;

bitflags! {
    /// What the host says it can do (MSR code 0x081, event 0x8000FFFD).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct HypervisorFeatures: u64 {
        /// SEV-SNP guests: page state changes, guest requests.
        const SNP = 1 << 0;
        /// vCPUs started from a VMSA that the guest made.
        const AP_CREATION = 1 << 1;
        /// #HV doorbell page.
        const RESTRICTED_INJECTION = 1 << 2;
        /// Timer for the #HV doorbell page.
        const RESTRICTED_INJECTION_TIMER = 1 << 3;
        /// The event that lists APIC ids.
        const APIC_ID_LIST = 1 << 4;
        /// Several VMPLs per vCPU and the event that switches between them.
        const MULTI_VMPL = 1 << 5;
        // What a later host adds must survive decode and encode.
        const _ = !0;
    }
}

/// The GHCB protocol version that introduced SNP, the only one that this firmware speaks.
pub const PROTOCOL_VERSION: u16 = 2;

/// GHCB usage 0: the page has the layout of [`page::GhcbPage`].
pub const USAGE_STANDARD: u32 = 0;

/// The bytes of VMGEXIT (`rep vmmcall`).
pub const VMGEXIT_INSTRUCTION: [u8; 4] = [0xF3, 0x0F, 0x01, 0xD9];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_svsm_host_shows_bits_0_1_and_5() {
        let needed =
            HypervisorFeatures::SNP | HypervisorFeatures::AP_CREATION | HypervisorFeatures::MULTI_VMPL;
        assert_eq!(needed.bits(), 0x23);
    }
}
