//! What the hosts of SEV-SNP guests offer and answer, one row for each host: the emulated machine behaves by it,
//! and the image tool checks images against it.
//!
//! Sources are named at each value, short: "sev.c" is Linux 7.3-rc7 `arch/x86/kvm/svm/sev.c`, "planes n" patch n of 60
//! of the series "KVM planes + SEV-SNP" (J. Roedel, 2026-06-08), "fork" the older `coconut-svsm/linux` at a8fb8604,
//! "QEMU" version 10.2.2, file and line where that helps. A row's `seen_on_hardware` says whether anybody compared it with a machine.
#![no_std]
#![forbid(unsafe_code)]

pub mod contract;
pub mod cpuid;
pub mod loader;
pub mod memory;

pub use contract::Contract;
pub use loader::Loader;

/// A host that the emulated machine can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// QEMU 11.1 and KVM with planes.
    KvmPlanes,
    /// Mainline KVM: no VMPL below 0.
    KvmMainline,
    /// The older fork of COCONUT: one kernel vCPU for each VMPL, only the first vCPU's VMSA is launched.
    KvmCoconut,
    /// No host that exists: forgiving, and leaves resets to VMPL0. What tests of single rules stand on.
    Plain,
}

/// A row: everything about one host.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// Which one.
    pub host: Host,
    /// Its name on command lines.
    pub name: &'static str,
    /// What it is, in a line.
    pub title: &'static str,
    /// What its loader takes, and how it launches.
    pub loader: Loader,
    /// What it answers while the guest runs.
    pub contract: Contract,
    /// Somebody compared a recording of a machine with this row.
    pub seen_on_hardware: bool,
}

/// All hosts; the first is the default.
pub const PROFILES: &[Profile] = &[
    Profile {
        host: Host::KvmPlanes,
        name: "kvm-planes",
        title: "QEMU 11.1 and KVM with planes (svsm-v7.2)",
        loader: loader::QEMU_PLANES,
        contract: contract::PLANES,
        seen_on_hardware: false,
    },
    Profile {
        host: Host::KvmMainline,
        name: "kvm-mainline",
        title: "QEMU 10.2 or 11 and mainline KVM 7.2 or 7.3: no level below VMPL0",
        loader: loader::QEMU_MAINLINE,
        contract: contract::MAINLINE,
        seen_on_hardware: false,
    },
    Profile {
        host: Host::KvmCoconut,
        name: "kvm-coconut",
        title: "COCONUT's older kernel and QEMU, a kernel vCPU for each VMPL",
        loader: loader::QEMU_FORK,
        contract: contract::FORK,
        seen_on_hardware: false,
    },
    Profile {
        host: Host::Plain,
        name: "plain",
        title: "no host that exists: forgiving, for tests of single rules",
        loader: loader::PLAIN,
        contract: contract::PLAIN,
        seen_on_hardware: false,
    },
];

impl Host {
    /// The host's row.
    #[must_use]
    pub fn profile(self) -> &'static Profile {
        // Every host has a row (tested).
        PROFILES.iter().find(|profile| profile.host == self).unwrap_or(&PROFILES[0])
    }

    /// The host with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        PROFILES.iter().find(|profile| profile.name == name).map(|profile| profile.host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_has_one_row_and_names_are_unique() {
        for host in [Host::KvmPlanes, Host::KvmMainline, Host::KvmCoconut, Host::Plain] {
            assert_eq!(PROFILES.iter().filter(|profile| profile.host == host).count(), 1);
            assert_eq!(Host::from_name(host.profile().name), Some(host));
        }
    }
}
