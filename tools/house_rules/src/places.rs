//! Where each crate of the repository stands: the one table behind the dependency, `unsafe` and licence rules.
//!
//! A new crate is placed here first. A crate that is not in the table fails `dependency-edges`.

/// How much freedom a crate's source has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Logic without hardware: `#![no_std]` and `#![forbid(unsafe_code)]`.
    Pure,
    /// A firmware image that only wires crates together: `#![deny(unsafe_code)]`, with one `expect` for its entry.
    Wiring,
    /// One of the few bare-metal crates that may hold `unsafe`.
    HoldsUnsafe,
    /// A program or library of the host: `#![forbid(unsafe_code)]`.
    Host,
    /// Fuzz targets: no `unsafe` of their own, but the fuzzer's macros expand to some, so nothing is forbidden.
    FuzzTargets,
}

impl Kind {
    /// Whether the crate runs without an operating system, and its dependencies with it.
    pub fn is_bare_metal(self) -> bool {
        match self {
            Self::Wiring | Self::HoldsUnsafe => true,
            Self::Pure | Self::Host | Self::FuzzTargets => false,
        }
    }
}

/// One crate's place.
#[derive(Debug)]
pub struct Place {
    /// The package's name.
    pub name: &'static str,
    /// Its folder, from the root of the repository.
    pub folder: &'static str,
    /// The in-tree packages that it may name as normal or build dependencies.
    pub uses: &'static [&'static str],
    /// What its source may contain.
    pub kind: Kind,
}

/// Every crate of the repository, sorted by folder.
pub const PLACES: &[Place] = &[
    Place {
        name: "igvm",
        folder: "igvm",
        uses: &["boot_handoff", "host_profiles", "snp_abi"],
        kind: Kind::Host,
    },
    Place {
        name: "kernel",
        folder: "kernel",
        uses: &["boot_handoff", "guest_start", "hardware", "snp_abi", "svsm_protocol", "tpm"],
        kind: Kind::Wiring,
    },
    Place { name: "boot_handoff", folder: "kernel/boot_handoff", uses: &[], kind: Kind::Pure },
    Place {
        name: "guest_start",
        folder: "kernel/guest_start",
        uses: &["boot_handoff", "snp_abi", "svsm_protocol"],
        kind: Kind::Pure,
    },
    Place { name: "hardware", folder: "kernel/hardware", uses: &["snp_abi"], kind: Kind::HoldsUnsafe },
    Place { name: "snp_abi", folder: "kernel/snp_abi", uses: &[], kind: Kind::Pure },
    Place { name: "svsm_protocol", folder: "kernel/svsm_protocol", uses: &["snp_abi"], kind: Kind::Pure },
    Place { name: "tpm", folder: "kernel/tpm", uses: &[], kind: Kind::Pure },
    Place {
        name: "stage2",
        folder: "stage2",
        uses: &["boot_handoff", "hardware", "snp_abi"],
        kind: Kind::Wiring,
    },
    Place { name: "libigvm", folder: "tests/conformance/qemu-loader/libigvm", uses: &[], kind: Kind::Host },
    Place {
        name: "differential",
        folder: "tests/differential",
        uses: &["tpm", "tpm_simulator"],
        kind: Kind::Host,
    },
    Place { name: "end_to_end", folder: "tests/end_to_end", uses: &[], kind: Kind::Host },
    Place {
        name: "fuzz",
        folder: "tests/fuzz",
        uses: &["boot_handoff", "igvm", "model", "snp_abi", "svsm_protocol", "svsm_verify", "tpm"],
        kind: Kind::FuzzTargets,
    },
    Place { name: "guest_init", folder: "tests/guest_init", uses: &[], kind: Kind::Host },
    Place { name: "guest_payload", folder: "tests/guest_payload", uses: &[], kind: Kind::HoldsUnsafe },
    Place { name: "guests", folder: "tests/guests", uses: &["end_to_end"], kind: Kind::Host },
    Place { name: "host_profiles", folder: "tools/host_profiles", uses: &["snp_abi"], kind: Kind::Pure },
    Place { name: "house_rules", folder: "tools/house_rules", uses: &[], kind: Kind::Host },
    Place {
        name: "snp_emulator",
        folder: "tools/snp_emulator",
        uses: &["host_profiles", "igvm", "model", "snp_abi"],
        kind: Kind::Host,
    },
    Place {
        name: "model",
        folder: "tools/snp_emulator/model",
        uses: &["host_profiles", "snp_abi"],
        kind: Kind::Pure,
    },
    Place {
        name: "monitor",
        folder: "tools/snp_emulator/monitor",
        uses: &["host_profiles", "model", "snp_abi"],
        kind: Kind::HoldsUnsafe,
    },
    Place { name: "svsm_verify", folder: "tools/svsm_verify", uses: &["igvm", "snp_abi"], kind: Kind::Host },
    Place { name: "tpm_simulator", folder: "tools/tpm_simulator", uses: &["tpm"], kind: Kind::Host },
];

/// Pairs that must not depend on each other in any way, dev-dependencies included: user, used, and why.
pub const NEVER: &[(&str, &str, &str)] = &[(
    "monitor",
    "hardware",
    "the monitor is the other side of the wire and shares no code with the firmware's",
)];

/// The place of the package called `name`.
pub fn of_package(name: &str) -> Option<&'static Place> {
    PLACES.iter().find(|place| place.name == name)
}

/// The place whose folder holds `path`, the deepest one where folders nest.
pub fn of_path(path: &str) -> Option<&'static Place> {
    PLACES
        .iter()
        .filter(|place| path.strip_prefix(place.folder).is_some_and(|rest| rest.starts_with('/')))
        .max_by_key(|place| place.folder.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_by_folder_and_names_each_crate_once() {
        assert!(PLACES.windows(2).all(|pair| pair[0].folder < pair[1].folder));
        for place in PLACES {
            assert_eq!(PLACES.iter().filter(|other| other.name == place.name).count(), 1, "{}", place.name);
        }
    }

    #[test]
    fn every_crate_that_a_row_uses_has_a_row() {
        for used in PLACES.iter().flat_map(|place| place.uses) {
            assert!(of_package(used).is_some(), "{used}");
        }
    }

    #[test]
    fn what_firmware_uses_is_pure_or_holds_unsafe() {
        for place in PLACES.iter().filter(|place| place.kind.is_bare_metal()) {
            for used in place.uses {
                let kind = of_package(used).map(|place| place.kind);
                assert!(matches!(kind, Some(Kind::Pure | Kind::HoldsUnsafe)), "{} uses {used}", place.name);
            }
        }
    }

    #[test]
    fn a_path_belongs_to_the_deepest_crate_around_it() {
        assert_eq!(of_path("kernel/tpm/src/lib.rs").map(|place| place.name), Some("tpm"));
        assert_eq!(of_path("kernel/src/main.rs").map(|place| place.name), Some("kernel"));
        assert!(of_path("kernels/src/main.rs").is_none());
        assert!(of_path("README.md").is_none());
    }
}
