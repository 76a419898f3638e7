//! The hosts that an image can be checked for: what each one's loader takes. One row for each.
//!
//! Sources, short: "QEMU" is 10.2.2, "QEMU 11" 11.0.3 (both judge our images in `make test`), "planes" the QEMU and kernel of
//! `svsm-v7.2`, "fork" the older ones of COCONUT, "CH" cloud-hypervisor ae44c297, "OV" OpenVMM 1488a37b, "CS" COCONUT's
//! `tools/igvmbuilder`. What nobody outside can read is [`Headers::Undocumented`], and the check says so instead of guessing.

use igvm_defs::IgvmVariableHeaderType as Type;
use snp_abi::vmsa::SevFeatures;

/// A host's loader.
#[derive(Debug, Clone, Copy)]
pub struct Host {
    /// Its name on command lines.
    pub name: &'static str,
    /// What it is, in a few words.
    pub title: &'static str,
    /// Header types.
    pub headers: Headers,
    /// Where VMSAs lie.
    pub vmsa: VmsaRule,
    /// SEV_FEATURES that a VMSA may have; SNP must be among them.
    pub sev_features: SevFeatures,
    /// SEV_FEATURES that it must have.
    pub needed_features: SevFeatures,
    /// Registers beside those that QEMU hands to KVM are refused.
    pub has_kvm_registers: bool,
    /// The first address that is shared: 0 where the C-bit says it.
    pub shared_boundary: u64,
    /// Order matters as in QEMU's queue.
    pub has_qemu_queue: bool,
    /// The policy is the command line's.
    pub takes_policy_from_command_line: bool,
    /// An ID block is needed.
    pub needs_id_block: bool,
    /// Where the image has to lie, as (first, end).
    pub region: Option<(u64, u64)>,
    /// Levels below VMPL0 can run.
    pub has_lower_levels: bool,
}

/// The header types that a loader knows; any other ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Headers {
    /// The common ones and these.
    Known(&'static [Type]),
    /// Its source cannot be read.
    Undocumented,
}

/// Where a loader wants VMSAs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VmsaRule {
    /// At KVM's address (QEMU target/i386/sev.c:535).
    OfKvm,
    /// At KVM's address, and only the first vCPU's (OV virt_kvm/src/snp.rs:84).
    OfKvmFirstOnly,
    /// At KVM's address, or in guest memory, where they are launched as they are (planes).
    OfKvmOrInMemory,
    /// In guest memory (CH vmm/src/igvm/igvm_loader.rs; CS).
    InMemory,
}

/// What every loader knows whose source can be read.
const COMMON: &[Type] = &[
    Type::IGVM_VHT_SUPPORTED_PLATFORM,
    Type::IGVM_VHT_GUEST_POLICY,
    Type::IGVM_VHT_PARAMETER_AREA,
    Type::IGVM_VHT_PAGE_DATA,
    Type::IGVM_VHT_PARAMETER_INSERT,
    Type::IGVM_VHT_VP_CONTEXT,
    Type::IGVM_VHT_REQUIRED_MEMORY,
    Type::IGVM_VHT_VP_COUNT_PARAMETER,
    Type::IGVM_VHT_SNP_ID_BLOCK,
    Type::IGVM_VHT_MEMORY_MAP,
];
/// QEMU backends/igvm.c:128.
const QEMU_10: &[Type] = &[Type::IGVM_VHT_ENVIRONMENT_INFO_PARAMETER];
/// QEMU 11 backends/igvm.c:131.
const QEMU_11: &[Type] = &[Type::IGVM_VHT_ENVIRONMENT_INFO_PARAMETER, Type::IGVM_VHT_MADT];
/// Planes: COCONUT's images have a device tree parameter.
const QEMU_SVSM: &[Type] =
    &[Type::IGVM_VHT_ENVIRONMENT_INFO_PARAMETER, Type::IGVM_VHT_MADT, Type::IGVM_VHT_DEVICE_TREE];
/// CH vmm/src/igvm/igvm_loader.rs: everything else is `todo!()`.
const CLOUD_HYPERVISOR: &[Type] = &[Type::IGVM_VHT_COMMAND_LINE];
/// OV openvmm_core, the IGVM loader.
const OPENVMM: &[Type] = &[
    Type::IGVM_VHT_ENVIRONMENT_INFO_PARAMETER,
    Type::IGVM_VHT_MADT,
    Type::IGVM_VHT_DEVICE_TREE,
    Type::IGVM_VHT_COMMAND_LINE,
    Type::IGVM_VHT_MMIO_RANGES,
    Type::IGVM_VHT_SRAT,
    Type::IGVM_VHT_SLIT,
    Type::IGVM_VHT_PPTT,
];

/// What KVM can be told to activate (Linux 7.3 arch/x86/kvm/svm/sev.c:3270).
const MAINLINE_FEATURES: SevFeatures =
    SevFeatures::SNP_ACTIVE.union(SevFeatures::DEBUG_SWAP).union(SevFeatures::SECURE_TSC);
/// Planes 56: a module parameter that is on by default.
const PLANES_FEATURES: SevFeatures = MAINLINE_FEATURES.union(SevFeatures::RESTRICTED_INJECTION);
/// Hyper-V: addresses below a boundary are private, whatever the C-bit says (CS).
const HYPER_V_BOUNDARY: u64 = 1 << 46;
/// Vanadium: 2 GiB below 8 TiB (COCONUT's pull request 447).
const VANADIUM_REGION: (u64, u64) = (0x7FF_8000_0000, 0x800_0000_0000);

/// What QEMU 11 takes on a mainline kernel.
pub const QEMU_MAINLINE: Host = Host {
    name: "qemu-11",
    title: "QEMU 11 on a mainline kernel",
    headers: Headers::Known(QEMU_11),
    vmsa: VmsaRule::OfKvm,
    sev_features: MAINLINE_FEATURES,
    needed_features: SevFeatures::SNP_ACTIVE,
    has_kvm_registers: true,
    shared_boundary: 0,
    has_qemu_queue: true,
    takes_policy_from_command_line: true,
    needs_id_block: false,
    region: None,
    has_lower_levels: false,
};

/// What some host takes: for reading files, not for launching them.
pub const ANY: Host = Host {
    name: "any",
    title: "any loader",
    headers: Headers::Undocumented,
    vmsa: VmsaRule::OfKvmOrInMemory,
    sev_features: SevFeatures::all(),
    has_kvm_registers: false,
    ..QEMU_MAINLINE
};

/// All hosts.
pub const HOSTS: &[Host] = &[
    Host {
        name: "qemu-10.2",
        title: "QEMU 10.2 on a mainline kernel",
        headers: Headers::Known(QEMU_10),
        ..QEMU_MAINLINE
    },
    QEMU_MAINLINE,
    Host {
        name: "kvm-planes",
        title: "QEMU 11.1 and KVM with planes (svsm-v7.2)",
        headers: Headers::Known(QEMU_SVSM),
        vmsa: VmsaRule::OfKvmOrInMemory,
        sev_features: PLANES_FEATURES,
        has_lower_levels: true,
        ..QEMU_MAINLINE
    },
    Host {
        name: "kvm-coconut",
        title: "COCONUT's older QEMU and kernel",
        headers: Headers::Known(QEMU_SVSM),
        sev_features: PLANES_FEATURES,
        has_lower_levels: true,
        ..QEMU_MAINLINE
    },
    Host {
        name: "cloud-hypervisor",
        title: "cloud-hypervisor on KVM",
        headers: Headers::Known(CLOUD_HYPERVISOR),
        vmsa: VmsaRule::InMemory,
        has_qemu_queue: false,
        takes_policy_from_command_line: false,
        ..QEMU_MAINLINE
    },
    Host {
        name: "openvmm",
        title: "OpenVMM on KVM",
        headers: Headers::Known(OPENVMM),
        vmsa: VmsaRule::OfKvmFirstOnly,
        has_kvm_registers: false,
        has_qemu_queue: false,
        takes_policy_from_command_line: false,
        ..QEMU_MAINLINE
    },
    Host {
        name: "hyper-v",
        title: "Hyper-V, as COCONUT builds images for it",
        headers: Headers::Undocumented,
        vmsa: VmsaRule::InMemory,
        sev_features: SevFeatures::all(),
        needed_features: SevFeatures::SNP_ACTIVE.union(SevFeatures::VIRTUAL_TOM),
        has_kvm_registers: false,
        shared_boundary: HYPER_V_BOUNDARY,
        has_qemu_queue: false,
        takes_policy_from_command_line: false,
        needs_id_block: true,
        has_lower_levels: true,
        ..QEMU_MAINLINE
    },
    Host {
        name: "vanadium",
        title: "Google's Vanadium, as COCONUT builds images for it",
        headers: Headers::Undocumented,
        sev_features: SevFeatures::all(),
        has_kvm_registers: false,
        has_qemu_queue: false,
        takes_policy_from_command_line: false,
        region: Some(VANADIUM_REGION),
        has_lower_levels: true,
        ..QEMU_MAINLINE
    },
];

impl Headers {
    /// Whether the loader knows a type; `None` where nobody can say.
    #[must_use]
    pub fn knows(self, kind: u32) -> Option<bool> {
        let Self::Known(more) = self else { return None };
        Some(COMMON.iter().chain(more).any(|known| known.0 == kind))
    }
}

impl Host {
    /// The host with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<&'static Self> {
        HOSTS.iter().find(|host| host.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_find_their_row() {
        for host in HOSTS {
            assert_eq!(Host::from_name(host.name).map(|found| found.title), Some(host.title));
        }
        assert!(Host::from_name("qemu").is_none());
    }

    #[test]
    fn kvm_hosts_offer_what_their_kernels_name() {
        let bits = |name| Host::from_name(name).map(|host| host.sev_features.bits());
        assert_eq!((bits("qemu-11"), bits("kvm-planes")), (Some(0x221), Some(0x229)));
    }
}
