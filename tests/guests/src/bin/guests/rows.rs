//! The tests, one row for each boot.

/// Whose kernel boots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelName {
    /// Debian's 6.12, of trixie.
    Stable,
    /// Of trixie-backports.
    Newest,
    /// Of sid, which changes at any time.
    Sid,
}

/// How it comes to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WayName {
    /// By our firmware, from the host's blobs.
    Direct,
    /// By our firmware, from the image.
    Embedded,
    /// Through the OVMF that `make run GUEST=ovmf` takes.
    Ovmf,
    /// Through the same, by its version: sid's changes at any time.
    SidOvmf,
}

/// What the host does about the blobs, once the image is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deceit {
    /// It does not hand over the kernel.
    KernelMissing,
    /// One byte of the kernel differs, near its end.
    KernelChanged,
    /// The kernel's header differs.
    HeaderChanged,
    /// The kernel's header differs when it is read for the first time only.
    KernelChanging,
    /// The initrd has one byte more.
    InitrdLonger,
    /// The initrd has one byte less.
    InitrdShorter,
    /// One byte of the initrd differs.
    InitrdChanged,
    /// Another command line of the same length.
    CommandLineChanged,
}

/// How a boot must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The guest says that these checks passed, and turns the machine off.
    Checks(&'static [&'static str]),
    /// The firmware refuses the host's blob before any guest runs.
    Refused(Deceit),
    /// The guest says that these checks passed and restarts, and the firmware ends, because it can start such a guest only once.
    NotRestarted(&'static [&'static str]),
}

/// A boot.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name in results.
    pub name: &'static str,
    /// The kernel.
    pub kernel: KernelName,
    /// The way.
    pub way: WayName,
    /// vCPUs.
    pub vcpus: u32,
    /// Memory, in MiB.
    pub memory_mib: u64,
    /// What the first program shall check, besides VMPL and CPUs.
    pub wanted: &'static str,
    /// How often the guest restarts under the same VMPL0; it says the same after each time.
    pub restarts: u32,
    /// How it must end.
    pub ending: Ending,
}

/// Checks that every guest makes.
const BASIC: &[&str] = &["vmpl", "kernel_log", "cpus", "memory", "sev_guest", "kernel_log_after"];
const FULL: &[&str] = &[
    "vmpl",
    "kernel_log",
    "cpus",
    "memory",
    "sev_guest",
    "disk",
    "random",
    "network",
    "stress",
    "kernel_log_after",
];
const RESTARTED: &[&str] =
    &["vmpl", "kernel_log", "cpus", "memory", "sev_guest", "disk", "random", "network", "kernel_log_after"];
const FULL_SMP: &[&str] = &[
    "vmpl",
    "kernel_log",
    "cpus",
    "memory",
    "sev_guest",
    "disk",
    "random",
    "network",
    "stress",
    "replug",
    "kernel_log_after",
];
const LOAD: &str = "vouchsafe.disk vouchsafe.rng vouchsafe.net=10.0.2.100:7 vouchsafe.stress=10";
const LOAD_SMP: &str =
    "vouchsafe.disk vouchsafe.rng vouchsafe.net=10.0.2.100:7 vouchsafe.stress=10 vouchsafe.replug";

const BASE: Row = Row {
    name: "",
    kernel: KernelName::Newest,
    way: WayName::Direct,
    vcpus: 1,
    memory_mib: 1024,
    wanted: "",
    restarts: 0,
    ending: Ending::Checks(BASIC),
};

const fn refused(name: &'static str, deceit: Deceit) -> Row {
    Row { name, ending: Ending::Refused(deceit), memory_mib: 512, ..BASE }
}

/// Every boot. All kernels place themselves at random addresses (KASLR), as they do by default.
pub const ROWS: &[Row] = &[
    Row {
        name: "linux_6_12_on_1_vcpu",
        kernel: KernelName::Stable,
        wanted: LOAD,
        ending: Ending::Checks(FULL),
        ..BASE
    },
    Row {
        name: "linux_6_12_on_4_vcpus",
        kernel: KernelName::Stable,
        vcpus: 4,
        wanted: LOAD_SMP,
        ending: Ending::Checks(FULL_SMP),
        ..BASE
    },
    Row { name: "linux_new_on_1_vcpu", wanted: LOAD, ending: Ending::Checks(FULL), ..BASE },
    Row {
        name: "linux_new_on_4_vcpus",
        vcpus: 4,
        wanted: LOAD_SMP,
        ending: Ending::Checks(FULL_SMP),
        ..BASE
    },
    Row {
        name: "linux_6_12_through_ovmf_on_2_vcpus",
        kernel: KernelName::Stable,
        way: WayName::Ovmf,
        vcpus: 2,
        wanted: LOAD,
        ending: Ending::Checks(FULL),
        ..BASE
    },
    Row { name: "linux_of_sid", kernel: KernelName::Sid, ..BASE },
    Row { name: "linux_6_12_through_ovmf_of_sid", kernel: KernelName::Stable, way: WayName::SidOvmf, ..BASE },
    Row { name: "linux_in_256_mib", memory_mib: 256, ..BASE },
    // More than 2 GiB are in two parts, below and above 4 GiB.
    Row { name: "linux_in_8_gib_in_two_parts", memory_mib: 8192, ..BASE },
    Row { name: "linux_embedded_in_the_image", way: WayName::Embedded, ..BASE },
    Row {
        name: "linux_restarts_on_4_vcpus",
        vcpus: 4,
        wanted: "vouchsafe.disk vouchsafe.rng vouchsafe.net=10.0.2.100:7 vouchsafe.restart",
        restarts: 1,
        ending: Ending::Checks(RESTARTED),
        ..BASE
    },
    Row {
        name: "linux_restarts_after_a_triple_fault",
        kernel: KernelName::Stable,
        memory_mib: 512,
        wanted: "vouchsafe.restart reboot=t",
        restarts: 2,
        ..BASE
    },
    Row {
        name: "linux_embedded_in_the_image_starts_once",
        way: WayName::Embedded,
        memory_mib: 512,
        wanted: "vouchsafe.restart",
        restarts: 1,
        ending: Ending::NotRestarted(BASIC),
        ..BASE
    },
    refused("a_missing_kernel_is_refused", Deceit::KernelMissing),
    refused("a_changed_kernel_is_refused", Deceit::KernelChanged),
    refused("a_changed_kernel_header_is_refused", Deceit::HeaderChanged),
    refused("a_kernel_header_that_changes_between_reads_is_refused", Deceit::KernelChanging),
    refused("an_initrd_that_is_too_long_is_refused", Deceit::InitrdLonger),
    refused("an_initrd_that_is_too_short_is_refused", Deceit::InitrdShorter),
    refused("a_changed_initrd_is_refused", Deceit::InitrdChanged),
    refused("a_changed_command_line_is_refused", Deceit::CommandLineChanged),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_tell_files_apart() {
        for row in ROWS {
            assert_eq!(ROWS.iter().filter(|other| other.name == row.name).count(), 1, "{}", row.name);
            assert!(
                row.name
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
            );
        }
    }

    #[test]
    fn both_kernels_boot_directly_on_one_and_on_four_vcpus() {
        for kernel in [KernelName::Stable, KernelName::Newest] {
            for vcpus in [1, 4] {
                let found = ROWS.iter().any(|row| {
                    (row.kernel, row.vcpus, row.way) == (kernel, vcpus, WayName::Direct)
                        && row.wanted.contains("stress=10")
                });
                assert!(found, "{kernel:?} {vcpus}");
            }
        }
    }
}
