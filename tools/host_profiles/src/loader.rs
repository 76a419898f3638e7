//! What a host's loader takes, and how it launches.

use snp_abi::vmsa::SevFeatures;

/// The VMSAs that are launched, and so measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaunchedVmsas {
    /// Every vCPU's, made by KVM from its registers, at 0xFFFFFFFFF000 (sev.c:2521).
    OfEveryVcpu,
    /// The first vCPU's only, made by KVM (fork, KVM_SEV_SNP_SVSM).
    OfTheFirstVcpu,
    /// Where the file's lies in guest memory, those of the file, at their own addresses and as they are; where it is at 0xFFFFFFFFF000,
    /// every vCPU's (seen with svsm-v7.2).
    ByAddress,
}

/// A loader's rules.
#[derive(Clone, Copy, Debug)]
pub struct Loader {
    /// IGVM header types that it knows; any other ends it (QEMU backends/igvm.c:128-180).
    pub headers: &'static [u32],
    /// SEV_FEATURES bits that a VMSA may have (sev.c:3270); SNP must be among them.
    pub sev_features: SevFeatures,
    /// Which VMSAs are launched.
    pub vmsas: LaunchedVmsas,
    /// ENVIRONMENT_INFO says that memory starts shared (QEMU backends/igvm.c:661).
    pub memory_is_shared: bool,
    /// The policy of a launch is the command line's, and not the file's (QEMU target/i386/sev.c:1926).
    pub policy_by_command_line: bool,
    /// The memory map has what the PC's machine reserves, and not RAM alone.
    pub reserved_rows: bool,
}

/// Policy of QEMU's `sev-snp-guest` where nothing else is asked for (QEMU target/i386/sev.c:191).
pub const DEFAULT_POLICY: u64 = 0x30000;

/// SUPPORTED_PLATFORM, GUEST_POLICY, PARAMETER_AREA, PAGE_DATA, PARAMETER_INSERT, VP_CONTEXT, REQUIRED_MEMORY, VP_COUNT, SNP_ID_BLOCK,
/// MEMORY_MAP, ENVIRONMENT_INFO (QEMU 10.2 backends/igvm.c:128).
pub const QEMU_10_HEADERS: &[u32] =
    &[0x1, 0x101, 0x301, 0x302, 0x303, 0x304, 0x305, 0x307, 0x30b, 0x30c, 0x313];
/// QEMU 11 knows MADT as well.
pub const QEMU_11_HEADERS: &[u32] =
    &[0x1, 0x101, 0x301, 0x302, 0x303, 0x304, 0x305, 0x307, 0x309, 0x30b, 0x30c, 0x313];
/// The QEMU of svsm-v7.2 takes the device tree too: COCONUT's images have one.
pub const QEMU_SVSM_HEADERS: &[u32] =
    &[0x1, 0x101, 0x301, 0x302, 0x303, 0x304, 0x305, 0x307, 0x309, 0x30b, 0x30c, 0x312, 0x313];

const MAINLINE_FEATURES: SevFeatures =
    SevFeatures::SNP_ACTIVE.union(SevFeatures::DEBUG_SWAP).union(SevFeatures::SECURE_TSC);

/// QEMU 11 on mainline KVM.
pub const QEMU_MAINLINE: Loader = Loader {
    headers: QEMU_11_HEADERS,
    sev_features: MAINLINE_FEATURES,
    vmsas: LaunchedVmsas::OfEveryVcpu,
    memory_is_shared: true,
    policy_by_command_line: true,
    reserved_rows: true,
};

/// The QEMU of svsm-v7.2 (planes 56: restricted injection, a module parameter that is on by default).
pub const QEMU_PLANES: Loader = Loader {
    headers: QEMU_SVSM_HEADERS,
    sev_features: MAINLINE_FEATURES.union(SevFeatures::RESTRICTED_INJECTION),
    vmsas: LaunchedVmsas::ByAddress,
    ..QEMU_MAINLINE
};

/// COCONUT's older QEMU.
pub const QEMU_FORK: Loader = Loader { vmsas: LaunchedVmsas::OfTheFirstVcpu, ..QEMU_PLANES };

/// The forgiving machine.
pub(crate) const PLAIN: Loader =
    Loader { memory_is_shared: false, policy_by_command_line: false, reserved_rows: false, ..QEMU_PLANES };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_features_are_those_that_kernels_name() {
        assert_eq!(QEMU_MAINLINE.sev_features.bits(), 0x221);
        assert_eq!(QEMU_PLANES.sev_features.bits(), 0x229);
    }

    #[test]
    fn each_newer_qemu_knows_what_the_older_one_knew() {
        let lists = [QEMU_10_HEADERS, QEMU_11_HEADERS, QEMU_SVSM_HEADERS];
        for pair in lists.windows(2) {
            assert!(pair[0].iter().all(|header| pair[1].contains(header)));
        }
        assert!(lists.iter().all(|list| list.is_sorted()));
    }
}
