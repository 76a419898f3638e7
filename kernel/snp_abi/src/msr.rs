//! Model-specific registers of an SNP guest (AMD 24593 volume 2, 15.34 to 15.36) and the SVSM's software MSR.

use bitflags::bitflags;

use crate::vmsa::SevFeatures;

/// GHCB: address of the communication page, or a request of the MSR protocol.
pub const GHCB: u32 = 0xC001_0130;
/// `SEV_STATUS`: which SEV features this guest runs with; read-only.
pub const SEV_STATUS: u32 = 0xC001_0131;
/// `GUEST_TSC_FREQ` in MHz; only with secure TSC, #GP otherwise.
pub const GUEST_TSC_FREQUENCY: u32 = 0xC001_0134;
/// Virtual top of memory.
pub const VIRTUAL_TOM: u32 = 0xC001_0135;
/// Secure AVIC control.
pub const SECURE_AVIC_CONTROL: u32 = 0xC001_0138;
/// Address of the caller's SVSM calling area, answered by the guest's own #VC handler; writes are ignored.
pub const SVSM_CALLING_AREA: u32 = 0xC001_F000;
/// EFER.
pub const EFER: u32 = 0xC000_0080;
/// Page attribute table.
pub const PAT: u32 = 0x0000_0277;
/// Time stamp counter.
pub const TIME_STAMP_COUNTER: u32 = 0x0000_0010;
/// `TSC_AUX`, read by RDTSCP and RDPID.
pub const TSC_AUX: u32 = 0xC000_0103;
/// Extended supervisor state mask.
pub const XSS: u32 = 0x0000_0DA0;
/// Local APIC base.
pub const APIC_BASE: u32 = 0x0000_001B;

bitflags! {
    /// Contents of [`SEV_STATUS`].
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct SevStatus: u64 {
        /// Memory encryption.
        const SEV = 1 << 0;
        /// Encrypted register state.
        const SEV_ES = 1 << 1;
        /// Secure nested paging.
        const SEV_SNP = 1 << 2;
        /// Virtual top of memory divides private from shared.
        const VIRTUAL_TOM = 1 << 3;
        /// Intercepts become exits to VMPL0 instead of #VC.
        const REFLECT_VC = 1 << 4;
        /// Only #HV may be injected.
        const RESTRICTED_INJECTION = 1 << 5;
        /// VMPL0 injects through the VMSA.
        const ALTERNATE_INJECTION = 1 << 6;
        /// Debug registers are swapped.
        const DEBUG_SWAP = 1 << 7;
        /// Host instruction-based sampling is off while the guest runs.
        const PREVENT_HOST_IBS = 1 << 8;
        /// Branch targets are isolated from the host.
        const BTB_ISOLATION = 1 << 9;
        /// Supervisor shadow stack pages are a VMPL permission.
        const VMPL_SSS = 1 << 10;
        /// TSC is scaled by guest-owned values.
        const SECURE_TSC = 1 << 11;
        /// VMGEXIT takes a parameter.
        const VMGEXIT_PARAMETER = 1 << 12;
        /// Instruction-based sampling is virtualised.
        const IBS_VIRTUALIZATION = 1 << 14;
        /// Registers in the VMSA are protected by a nonce.
        const VMSA_REGISTER_PROTECTION = 1 << 16;
        /// Sibling threads are idle while the guest runs.
        const SMT_PROTECTION = 1 << 17;
        /// Secure AVIC.
        const SECURE_AVIC = 1 << 18;
        /// Indirect branch prediction barrier on each entry.
        const IBPB_ON_ENTRY = 1 << 23;
        // What a later processor adds stays visible to callers that refuse unknown bits.
        const _ = !0;
    }
}

impl SevStatus {
    /// The VMSA's `SEV_FEATURES` that this status shows: status bits 63:2 are the features.
    #[must_use]
    pub const fn features(self) -> SevFeatures {
        SevFeatures::from_bits_retain(self.bits() >> 2)
    }

    /// The status that a processor shows for a VMSA with these features.
    #[must_use]
    pub const fn of_snp_guest(features: SevFeatures) -> Self {
        Self::from_bits_retain((features.bits() << 2) | 0b11)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_of_a_plain_snp_guest_is_seven() {
        assert_eq!(SevStatus::of_snp_guest(SevFeatures::SNP_ACTIVE).bits(), 7);
        assert_eq!(SevStatus::from_bits_retain(7).features(), SevFeatures::SNP_ACTIVE);
    }

    #[test]
    fn each_feature_sits_two_bits_below_its_status() {
        let pairs = [
            (SevStatus::SECURE_TSC, SevFeatures::SECURE_TSC),
            (SevStatus::DEBUG_SWAP, SevFeatures::DEBUG_SWAP),
            (SevStatus::SECURE_AVIC, SevFeatures::SECURE_AVIC),
            (SevStatus::VMPL_SSS, SevFeatures::VMPL_SSS),
            (SevStatus::IBPB_ON_ENTRY, SevFeatures::IBPB_ON_ENTRY),
            (SevStatus::ALTERNATE_INJECTION, SevFeatures::ALTERNATE_INJECTION),
        ];
        for (status, feature) in pairs {
            assert_eq!(status.features(), feature);
        }
    }
}
