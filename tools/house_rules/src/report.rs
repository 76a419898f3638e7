//! The figures behind the rules: sizes, and how much `unsafe` each crate holds.

use crate::places;
use crate::repository::Repository;
use crate::rules;
use crate::tokens::UnsafeKind;
use std::collections::BTreeMap;
use std::fmt::{self, Display, Write as _};

/// How often each form of `unsafe` stands in one crate.
#[derive(Debug, Default, PartialEq, Eq)]
struct UnsafeCount {
    blocks: usize,
    implementations: usize,
    functions: usize,
    others: usize,
}

/// The report as text, one table after the other.
pub fn report(repository: &Repository) -> impl Display + '_ {
    fmt::from_fn(move |formatter| {
        let mut text = String::new();
        write_sizes(&mut text, repository)?;
        writeln!(text)?;
        write_unsafe(&mut text, repository)?;
        formatter.write_str(&text)
    })
}

fn write_sizes(text: &mut String, repository: &Repository) -> fmt::Result {
    writeln!(
        text,
        "{:<12}{:>8}{:>8}{:>8}{:>9}  longest at",
        "lines of", "count", "median", "p95", "longest"
    )?;
    for figures in rules::figures(repository) {
        writeln!(
            text,
            "{:<12}{:>8}{:>8}{:>8}{:>9}  {}",
            figures.what,
            figures.count,
            figures.median_lines,
            figures.p95_lines,
            figures.longest_lines,
            figures.longest
        )?;
    }
    Ok(())
}

fn write_unsafe(text: &mut String, repository: &Repository) -> fmt::Result {
    writeln!(text, "{:<20}{:>8}{:>8}{:>8}{:>8}", "unsafe in", "blocks", "impls", "fns", "other")?;
    for (name, count) in count_unsafe(repository) {
        let UnsafeCount { blocks, implementations, functions, others } = count;
        writeln!(text, "{name:<20}{blocks:>8}{implementations:>8}{functions:>8}{others:>8}")?;
    }
    Ok(())
}

/// Counts for the crates that have or may have `unsafe`.
fn count_unsafe(repository: &Repository) -> BTreeMap<&'static str, UnsafeCount> {
    let mut counts: BTreeMap<&'static str, UnsafeCount> = BTreeMap::new();
    for place in places::PLACES.iter().filter(|place| place.kind == places::Kind::HoldsUnsafe) {
        counts.insert(place.name, UnsafeCount::default());
    }
    for source in &repository.sources {
        let name = places::of_path(&source.path).map_or("(no crate)", |place| place.name);
        for found in &source.findings.unsafe_uses {
            let count = counts.entry(name).or_default();
            match found.kind {
                UnsafeKind::Block => count.blocks += 1,
                UnsafeKind::Implementation => count.implementations += 1,
                UnsafeKind::Function | UnsafeKind::ContractElsewhere => count.functions += 1,
                UnsafeKind::ExternBlock | UnsafeKind::Trait | UnsafeKind::Attribute | UnsafeKind::Mention => {
                    count.others += 1
                }
            }
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_is_counted_by_crate_and_form() {
        let repository = Repository::of(&[
            (
                "kernel/hardware/src/a.rs",
                "fn f() { unsafe { g() } unsafe { h() } }\nunsafe impl Sync for X {}",
            ),
            ("kernel/tpm/src/lib.rs", "//! unsafe"),
        ]);
        let counts = count_unsafe(&repository);
        assert_eq!(
            counts.get("hardware"),
            Some(&UnsafeCount { blocks: 2, implementations: 1, functions: 0, others: 0 })
        );
        assert_eq!(counts.get("monitor"), Some(&UnsafeCount::default()));
        assert_eq!(counts.get("tpm"), None);
    }

    #[test]
    fn the_report_has_a_row_for_each_crate_that_may_hold_unsafe() {
        let text = report(&Repository::default()).to_string();
        for name in ["files", "functions", "guest_payload", "hardware", "monitor"] {
            assert!(text.lines().any(|line| line.starts_with(name)), "{name} in {text}");
        }
    }
}
