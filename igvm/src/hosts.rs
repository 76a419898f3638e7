//! The hosts that an image can be checked for: what each one's loader takes. One row for each. What the emulated machine plays too
//! comes from `host_profiles`, so that machine and check cannot differ.
//!
//! Sources, short: "QEMU" is 10.2.2, "QEMU 11" 11.0.3 (both judge our images in `make test`), "planes" the QEMU and kernel of
//! `svsm-v7.2`, "fork" the older ones of COCONUT, "CH" cloud-hypervisor ae44c297, "OV" OpenVMM 1488a37b, "CS" COCONUT's
//! `tools/igvmbuilder`. What nobody outside can read is [`Headers::Undocumented`], and the check says so instead of guessing.

use host_profiles::loader::{self, QEMU_10_HEADERS};
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
    /// These.
    Known(&'static [u32]),
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

/// CH vmm/src/igvm/igvm_loader.rs: platform, policy, area, page, insert, context, required memory, count, ID block, memory map, command
/// line; everything else is `todo!()`.
const CLOUD_HYPERVISOR: &[u32] = &[0x1, 0x101, 0x301, 0x302, 0x303, 0x304, 0x305, 0x307, 0x30b, 0x30c, 0x30e];
/// OV openvmm_core: those and SRAT, MADT, MMIO ranges, SLIT, PPTT, device tree and environment.
const OPENVMM: &[u32] = &[
    0x1, 0x101, 0x301, 0x302, 0x303, 0x304, 0x305, 0x307, 0x308, 0x309, 0x30a, 0x30b, 0x30c, 0x30e, 0x30f,
    0x310, 0x312, 0x313,
];

/// Hyper-V: addresses below a boundary are private, whatever the C-bit says (CS).
const HYPER_V_BOUNDARY: u64 = 1 << 46;
/// Vanadium: 2 GiB below 8 TiB (COCONUT's pull request 447).
const VANADIUM_REGION: (u64, u64) = (0x7FF_8000_0000, 0x800_0000_0000);

/// What QEMU 11 takes on a mainline kernel.
pub const QEMU_MAINLINE: Host = Host {
    name: "qemu-11",
    title: "QEMU 11 on a mainline kernel",
    headers: Headers::Known(loader::QEMU_MAINLINE.headers),
    vmsa: VmsaRule::OfKvm,
    sev_features: loader::QEMU_MAINLINE.sev_features,
    needed_features: SevFeatures::SNP_ACTIVE,
    has_kvm_registers: true,
    shared_boundary: 0,
    has_qemu_queue: true,
    takes_policy_from_command_line: loader::QEMU_MAINLINE.policy_by_command_line,
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
        headers: Headers::Known(QEMU_10_HEADERS),
        ..QEMU_MAINLINE
    },
    QEMU_MAINLINE,
    Host {
        name: "kvm-planes",
        title: "QEMU 11.1 and KVM with planes (svsm-v7.2)",
        headers: Headers::Known(loader::QEMU_PLANES.headers),
        vmsa: VmsaRule::OfKvmOrInMemory,
        sev_features: loader::QEMU_PLANES.sev_features,
        has_lower_levels: true,
        ..QEMU_MAINLINE
    },
    Host {
        name: "kvm-coconut",
        title: "COCONUT's older QEMU and kernel",
        headers: Headers::Known(loader::QEMU_FORK.headers),
        sev_features: loader::QEMU_FORK.sev_features,
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
        let Self::Known(types) = self else { return None };
        Some(types.contains(&kind))
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
