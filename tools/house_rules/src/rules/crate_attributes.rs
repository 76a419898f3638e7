//! Each crate opens with the attributes of its kind.

use crate::places::{self, Kind};
use crate::repository::Repository;
use crate::source::Source;
use crate::violation::Violation;

/// What the first file of a crate must say.
struct Demand {
    kind: Kind,
    no_std: bool,
    /// The level that the file itself sets for `unsafe_code`.
    unsafe_code: Option<&'static str>,
}

/// One row for each kind of crate.
const DEMANDS: &[Demand] = &[
    Demand { kind: Kind::Pure, no_std: true, unsafe_code: Some("forbid") },
    Demand { kind: Kind::Wiring, no_std: true, unsafe_code: Some("deny") },
    Demand { kind: Kind::HoldsUnsafe, no_std: true, unsafe_code: None },
    Demand { kind: Kind::Host, no_std: false, unsafe_code: Some("forbid") },
    Demand { kind: Kind::FuzzTargets, no_std: false, unsafe_code: None },
];

/// How many `#[expect(unsafe_code)]` a wiring crate may have: one, on its entry symbol.
const EXPECTATIONS: usize = 1;

/// Checks the first files of all crates, then every place that changes the level of `unsafe_code`.
pub fn check(repository: &Repository) -> Vec<Violation> {
    let mut violations = Vec::new();
    for member in repository.workspaces.iter().flat_map(|workspace| &workspace.members) {
        let Some(place) = places::of_package(&member.name) else { continue };
        let Some(demand) = DEMANDS.iter().find(|demand| demand.kind == place.kind) else { continue };
        for root in member.crate_roots.iter().filter_map(|root| repository.source(root)) {
            violations.extend(missing(root, demand));
        }
    }
    for place in places::PLACES {
        let of_place =
            |source: &&Source| places::of_path(&source.path).is_some_and(|found| found.name == place.name);
        violations.extend(exceptions(repository.sources.iter().filter(of_place), place.kind));
    }
    violations
}

fn missing(root: &Source, demand: &Demand) -> Vec<Violation> {
    let mut violations = Vec::new();
    if demand.no_std && !root.inner_words.iter().any(|word| word == "no_std") {
        violations.push(Violation::new(
            &root.path,
            1,
            "the crate lacks `#![no_std]`, which firmware needs; add it below the `//!`",
        ));
    }
    if let Some(level) = demand.unsafe_code
        && !root.sets_unsafe_code_to(level)
    {
        let message = format!("the crate lacks `#![{level}(unsafe_code)]`; add it below the `//!`");
        violations.push(Violation::new(&root.path, 1, message));
    }
    violations
}

/// Attributes that let `unsafe` back in where the crate's kind does not.
fn exceptions<'a>(sources: impl Iterator<Item = &'a Source>, kind: Kind) -> Vec<Violation> {
    if kind == Kind::HoldsUnsafe {
        return Vec::new();
    }
    let mut violations = Vec::new();
    let mut expectations = 0;
    for source in sources {
        for found in &source.findings.lint_levels {
            let is_expectation = kind == Kind::Wiring && found.level == "expect" && !found.inner;
            let lets_in = !["deny", "forbid"].contains(&found.level.as_str());
            expectations += usize::from(is_expectation);
            if is_expectation && expectations > EXPECTATIONS {
                let message =
                    "a second `#[expect(unsafe_code)]` in this crate; move what needs it into `hardware`";
                violations.push(Violation::new(&source.path, found.line, message));
            } else if lets_in && !is_expectation {
                let message = format!(
                    "`{}(unsafe_code)` in a crate without unsafe; move what needs it into `hardware`",
                    found.level
                );
                violations.push(Violation::new(&source.path, found.line, message));
            }
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packages::{Member, Packages};

    fn check_one(package: &str, file: &str, text: &str) -> Vec<(usize, String)> {
        let mut repository = Repository::of(&[(file, text)]);
        repository.workspaces.push(Packages {
            manifest: "Cargo.toml".to_owned(),
            members: vec![Member {
                name: package.to_owned(),
                manifest: String::new(),
                declared: Vec::new(),
                crate_roots: vec![file.to_owned()],
            }],
            externals: Vec::new(),
        });
        check(&repository).into_iter().map(|found| (found.line, found.message)).collect()
    }

    #[test]
    fn there_is_a_row_for_each_kind() {
        for place in places::PLACES {
            assert_eq!(
                DEMANDS.iter().filter(|demand| demand.kind == place.kind).count(),
                1,
                "{:?}",
                place.kind
            );
        }
    }

    #[test]
    fn a_pure_crate_needs_no_std_and_forbid() {
        let path = "kernel/tpm/src/lib.rs";
        assert!(check_one("tpm", path, "//! A.\n#![no_std]\n#![forbid(unsafe_code)]").is_empty());
        assert_eq!(check_one("tpm", path, "//! A.\n#![no_std]\n#![deny(unsafe_code)]").len(), 1);
        assert_eq!(
            check_one("tpm", path, "//! A.\n#![cfg_attr(not(test), no_std)]\n#![forbid(unsafe_code)]").len(),
            1
        );
        assert_eq!(check_one("tpm", path, "//! A.\n// #![no_std]\n// #![forbid(unsafe_code)]").len(), 2);
    }

    #[test]
    fn a_host_crate_needs_forbid() {
        assert!(check_one("igvm", "igvm/src/main.rs", "//! A.\n#![forbid(unsafe_code)]").is_empty());
        assert_eq!(check_one("igvm", "igvm/src/main.rs", "//! A.\nfn main() {}").len(), 1);
    }

    #[test]
    fn a_wiring_crate_has_at_most_one_expectation_and_no_allowance() {
        let path = "stage2/src/main.rs";
        let opening = "//! A.\n#![no_std]\n#![deny(unsafe_code)]\n";
        let expect = "#[expect(unsafe_code, reason = \"the entry symbol\")]\nfn f() {}\n";
        assert!(check_one("stage2", path, &format!("{opening}{expect}")).is_empty());
        assert_eq!(check_one("stage2", path, &format!("{opening}{expect}{expect}")).len(), 1);
        assert_eq!(
            check_one("stage2", path, &format!("{opening}#[allow(unsafe_code)]\nfn f() {{}}")).len(),
            1
        );
        assert_eq!(check_one("stage2", path, "//! A.\n#![no_std]\n#![allow(unsafe_code)]").len(), 2);
    }

    #[test]
    fn an_expectation_over_a_whole_wiring_crate_is_refused() {
        let found = check_one(
            "kernel",
            "kernel/src/main.rs",
            "//! A.\n#![no_std]\n#![deny(unsafe_code)]\n#![expect(unsafe_code)]",
        );
        assert_eq!(found.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [4]);
    }

    #[test]
    fn a_crate_that_holds_unsafe_may_allow_it() {
        let text = "//! A.\n#![no_std]\n#![allow(unsafe_code)]";
        assert!(check_one("hardware", "kernel/hardware/src/lib.rs", text).is_empty());
    }
}
