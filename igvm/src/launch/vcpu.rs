//! Which VMSAs QEMU loads, and the ones that KVM makes itself.

use snp_abi::launch::KVM_VMSA_ADDRESS;
use snp_abi::vmsa::start::X87_CONTROL_FNINIT;
use snp_abi::vmsa::{Segment, SevFeatures, Vmsa};
use zerocopy::IntoBytes;

use crate::hosts::{Host, VmsaRule};

/// CPUID leaf 1 EAX of QEMU's `EPYC` models, for machines whose processor is not named.
pub const DEFAULT_CPU_SIGNATURE: u32 = 0x0080_0F12;

/// Why QEMU would not load a VMSA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VmsaError {
    /// The host has VMSAs elsewhere.
    #[error("the VMSA's address is {0:#x}; KVM always uses 0xfffffffff000")]
    Address(u64),
    /// SNP is not active, or a feature is wanted that the host does not offer.
    #[error("SEV_FEATURES {0:#x}: SNP must be active, and the host offers {1:#x}")]
    Features(u64, u64),
    /// A register is set that QEMU does not hand to KVM.
    #[error("a register is set that QEMU does not pass to KVM")]
    Unsupported,
    /// Two contexts for one vCPU.
    #[error("the vCPU has a context already")]
    SecondContext,
}

/// Refuses what the host's loader refuses; QEMU's `check_vmsa_supported`.
pub(super) fn check(vmsa: &Vmsa, address: u64, host: &Host) -> Result<(), VmsaError> {
    let is_expected = match host.vmsa {
        VmsaRule::OfKvm | VmsaRule::OfKvmFirstOnly => address == KVM_VMSA_ADDRESS,
        VmsaRule::InMemory => address != KVM_VMSA_ADDRESS,
        VmsaRule::OfKvmOrInMemory => true,
    };
    if !is_expected {
        return Err(VmsaError::Address(address));
    }
    let features = SevFeatures::from_bits_retain(vmsa.sev_features);
    if !features.contains(SevFeatures::SNP_ACTIVE) || !host.sev_features.contains(features) {
        return Err(VmsaError::Features(vmsa.sev_features, host.sev_features.bits()));
    }
    if host.has_kvm_registers && !has_only_settable_registers(vmsa) {
        return Err(VmsaError::Unsupported);
    }
    Ok(())
}

/// Whether every register that is not zero is one that QEMU hands to KVM (target/i386/sev.c, `check_vmsa_supported`).
pub(crate) fn has_only_settable_registers(vmsa: &Vmsa) -> bool {
    without_settable(vmsa).as_bytes().iter().all(|byte| *byte == 0)
}

/// The VMSA with everything cleared that QEMU hands to KVM.
fn without_settable(vmsa: &Vmsa) -> Vmsa {
    let mut rest = vmsa.clone();
    let no_segment = Segment::default();
    (rest.es, rest.cs, rest.ss, rest.ds, rest.fs) =
        (no_segment, no_segment, no_segment, no_segment, no_segment);
    (rest.gs, rest.gdtr, rest.ldtr, rest.idtr, rest.tr) =
        (no_segment, no_segment, no_segment, no_segment, no_segment);
    (rest.efer, rest.cr0, rest.cr3, rest.cr4, rest.xcr0, rest.g_pat) = (0, 0, 0, 0, 0, 0);
    (rest.dr6, rest.dr7, rest.rflags, rest.rip, rest.rsp) = (0, 0, 0, 0, 0);
    (rest.rax, rest.rbx, rest.rcx, rest.rdx, rest.rbp, rest.rsi, rest.rdi) = (0, 0, 0, 0, 0, 0, 0);
    (rest.r8, rest.r9, rest.r10, rest.r11, rest.r12, rest.r13, rest.r14, rest.r15) = (0, 0, 0, 0, 0, 0, 0, 0);
    (rest.x87_fcw, rest.mxcsr, rest.sev_features) = (0, 0, 0);
    rest
}

/// The VMSA that KVM makes for a vCPU without a context in the file: QEMU's processor reset, with CD and NW cleared
/// in CR0, MCE set in CR4 and SVME in EFER by KVM (values of sev-snp-measure 0.0.13).
#[must_use]
pub fn reset_vmsa(cpu_signature: u32, sev_features: u64) -> Vmsa {
    let mut vmsa = Vmsa::reset_state(SevFeatures::from_bits_retain(sev_features));
    let data = Segment::new(0, 0x93, 0xFFFF, 0);
    vmsa.cs = Segment::new(0xF000, 0x9B, 0xFFFF, 0xFFFF_0000);
    (vmsa.es, vmsa.ss, vmsa.ds, vmsa.fs, vmsa.gs) = (data, data, data, data, data);
    (vmsa.gdtr.limit, vmsa.idtr.limit) = (0xFFFF, 0xFFFF);
    vmsa.ldtr = Segment::new(0, 0x82, 0xFFFF, 0);
    vmsa.tr = Segment::new(0, 0x8B, 0xFFFF, 0);
    vmsa.cr0 = 0x10;
    vmsa.cr4 = snp_abi::vmsa::start::CR4_MCE;
    vmsa.rip = 0xFFF0;
    vmsa.rdx = u64::from(cpu_signature);
    vmsa.x87_fcw = X87_CONTROL_FNINIT;
    vmsa
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros;

    use super::*;
    use crate::hosts::QEMU_MAINLINE;

    #[test]
    fn a_vmsa_with_a_field_that_qemu_drops_is_refused() {
        let good = Vmsa::protected_mode_start(0x0800_0000, SevFeatures::SNP_ACTIVE);
        assert_eq!(check(&good, KVM_VMSA_ADDRESS, &QEMU_MAINLINE), Ok(()));
        assert_eq!(check(&good, 0x1000, &QEMU_MAINLINE), Err(VmsaError::Address(0x1000)));
        let refused = |change: fn(&mut Vmsa)| {
            let mut vmsa = good.clone();
            change(&mut vmsa);
            check(&vmsa, KVM_VMSA_ADDRESS, &QEMU_MAINLINE).err()
        };
        assert_eq!(refused(|vmsa| vmsa.star = 1), Some(VmsaError::Unsupported));
        assert_eq!(refused(|vmsa| vmsa.vmpl = 1), Some(VmsaError::Unsupported));
        assert_eq!(refused(|vmsa| vmsa.x87_ftw = 0x5555), Some(VmsaError::Unsupported));
        assert_eq!(refused(|vmsa| vmsa.sev_features = 0), Some(VmsaError::Features(0, 0x221)));
        assert_eq!(refused(|vmsa| vmsa.sev_features = 3), Some(VmsaError::Features(3, 0x221)));
        assert_eq!(refused(|vmsa| vmsa.sev_features = 0x21), None);
        assert_eq!(refused(|vmsa| vmsa.rsi = 0x0801_0000), None);
    }

    #[test]
    fn kvm_made_vmsas_pass_qemus_own_check() {
        let vmsa = reset_vmsa(DEFAULT_CPU_SIGNATURE, 1);
        assert_eq!(check(&vmsa, KVM_VMSA_ADDRESS, &QEMU_MAINLINE), Ok(()));
        assert!(!Vmsa::new_zeroed().is_runnable() && vmsa.is_runnable());
    }
}
