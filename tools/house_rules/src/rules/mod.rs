//! The rules: one row each, one file each.

mod crate_attributes;
mod decisions;
mod dependency_edges;
mod import_circles;
mod licences;
mod names;
mod opening_docs;
mod outside_paths;
mod readme_table;
mod safety_comments;
mod sizes;
mod termination_codes;
mod unfinished;
mod unsafe_confinement;

pub use sizes::figures;

use crate::repository::Repository;
use crate::violation::Violation;

/// One rule.
pub struct Rule {
    /// The name that is printed with each violation.
    pub name: &'static str,
    /// What it asks, in one sentence.
    pub asks: &'static str,
    /// Finds all violations.
    pub check: fn(&Repository) -> Vec<Violation>,
}

/// All rules, sorted by name.
pub const RULES: &[Rule] = &[
    Rule {
        name: "crate-attributes",
        asks: "each crate opens with the attributes of its kind: no_std, and the level of unsafe_code",
        check: crate_attributes::check,
    },
    Rule {
        name: "decisions",
        asks: "the decisions in kernel/doc/decisions are numbered from 0001 without gaps or doubles",
        check: decisions::check,
    },
    Rule {
        name: "dependency-edges",
        asks: "crates depend on each other only as the table of places allows",
        check: dependency_edges::check,
    },
    Rule {
        name: "import-circles",
        asks: "the files of a crate do not import each other in circles",
        check: import_circles::check,
    },
    Rule {
        name: "licences",
        asks: "every dependency's licence is on the allow-list",
        check: licences::check,
    },
    Rule {
        name: "names",
        asks: "no file, folder or module is named after nothing in particular",
        check: names::check,
    },
    Rule { name: "opening-docs", asks: "every .rs file starts with //!", check: opening_docs::check },
    Rule {
        name: "outside-paths",
        asks: "no file mentions folders of one developer's machine",
        check: outside_paths::check,
    },
    Rule {
        name: "readme-table",
        asks: "every folder in the README's folder table exists",
        check: readme_table::check,
    },
    Rule {
        name: "rust-source",
        asks: "every .rs file can be read as Rust",
        check: |repository| repository.unreadable.clone(),
    },
    Rule {
        name: "safety-comments",
        asks: "every unsafe block and impl has a SAFETY comment, every unsafe fn a # Safety section",
        check: safety_comments::check,
    },
    Rule {
        name: "sizes",
        asks: "files and functions stay small, tables and tests aside",
        check: sizes::check,
    },
    Rule {
        name: "termination-codes",
        asks: "the firmware's termination codes and their table for users agree",
        check: termination_codes::check,
    },
    Rule { name: "unfinished", asks: "nothing is left to be done later", check: unfinished::check },
    Rule {
        name: "unsafe-confinement",
        asks: "unsafe stands as code only in the crates that may hold it",
        check: unsafe_confinement::check,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_by_name_without_doubles() {
        assert!(RULES.windows(2).all(|pair| pair[0].name < pair[1].name));
    }
}
