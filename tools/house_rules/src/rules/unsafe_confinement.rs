//! `unsafe` stands as code only in the crates that may hold it.

use crate::places::{self, Kind};
use crate::repository::Repository;
use crate::source::Source;
use crate::violation::Violation;

/// Checks every `unsafe` in every Rust file, in macros too.
pub fn check(repository: &Repository) -> Vec<Violation> {
    repository.sources.iter().flat_map(check_source).collect()
}

fn check_source(source: &Source) -> Vec<Violation> {
    let kind = places::of_path(&source.path).map(|place| place.kind);
    if kind == Some(Kind::HoldsUnsafe) {
        return Vec::new();
    }
    let is_expected = |line: usize| {
        kind == Some(Kind::Wiring)
            && source.findings.lint_levels.iter().any(|found| {
                found.level == "expect" && !found.inner && (found.line..=found.end_line).contains(&line)
            })
    };
    let strays = source.findings.unsafe_uses.iter().filter(|found| !is_expected(found.line));
    let message = "`unsafe` outside of the crates that may hold it; put it behind a safe function of `hardware`, or do without";
    strays.map(|found| Violation::new(&source.path, found.line, message)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        check(&Repository::of(&[(path, text)])).into_iter().map(|found| found.line).collect()
    }

    #[test]
    fn unsafe_is_refused_outside_of_the_three_crates() {
        let text = "//! A.\nfn f() { unsafe { g() } }";
        for path in [
            "kernel/tpm/src/lib.rs",
            "igvm/build.rs",
            "tests/end_to_end/src/lib.rs",
            "tests/fuzz/a.rs",
            "elsewhere.rs",
        ] {
            assert_eq!(lines(path, text), [2], "{path}");
        }
        for path in [
            "kernel/hardware/src/a.rs",
            "tools/snp_emulator/monitor/src/a.rs",
            "tests/guest_payload/src/a.rs",
        ] {
            assert!(lines(path, text).is_empty(), "{path}");
        }
    }

    #[test]
    fn unsafe_in_a_macro_is_refused_too() {
        assert_eq!(lines("kernel/tpm/src/lib.rs", "//! A.\nmacro_rules! m { () => { unsafe {} } }"), [2]);
    }

    #[test]
    fn a_wiring_crate_may_use_it_where_it_is_expected_only() {
        let text = "//! A.\n#[expect(unsafe_code)]\n#[unsafe(no_mangle)]\nfn start() {\n}\n#[unsafe(no_mangle)]\nfn more() {}";
        assert_eq!(lines("kernel/src/main.rs", text), [6]);
        assert_eq!(lines("igvm/src/main.rs", text), [3, 6]);
    }
}
