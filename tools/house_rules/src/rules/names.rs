//! No file, folder or module is named after nothing in particular: such a name collects what has no place.

use crate::repository::Repository;
use crate::violation::Violation;
use std::collections::BTreeSet;

/// The names that say nothing.
const FORBIDDEN: &[&str] = &["base", "common", "helpers", "misc", "util", "utils"];

/// Checks the names of files, folders and inline modules.
pub fn check(repository: &Repository) -> Vec<Violation> {
    let mut violations = BTreeSet::new();
    for path in &repository.paths {
        for part in path.split('/') {
            let stem = part.split_once('.').map_or(part, |(stem, _)| stem);
            if FORBIDDEN.contains(&stem) {
                violations.insert(Violation::new(path, 1, message(part)));
            }
        }
    }
    for source in &repository.sources {
        let vague = source.modules.iter().filter(|module| !module.is_in_other_file);
        for module in vague.filter(|module| FORBIDDEN.contains(&module.name.as_str())) {
            violations.insert(Violation::new(&source.path, module.line, message(&module.name)));
        }
    }
    violations.into_iter().collect()
}

fn message(name: &str) -> String {
    format!(
        "`{name}` says nothing about what is inside; name it after its subject, or move its parts to their users"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(path: &str, text: &str) -> Vec<usize> {
        check(&Repository::of(&[(path, text)])).into_iter().map(|found| found.line).collect()
    }

    #[test]
    fn files_folders_and_inline_modules_are_held_to_it() {
        assert_eq!(places("a/src/util.rs", "//! A."), [1]);
        assert_eq!(places("a/tests/common/mod.rs", "//! A."), [1]);
        assert_eq!(places("tools/misc/run.sh", ""), [1]);
        assert_eq!(places("a/src/lib.rs", "//! A.\nmod helpers {}"), [2]);
    }

    #[test]
    fn names_that_only_contain_such_a_word_pass() {
        assert!(places("a/src/base_address.rs", "//! A.\nmod database {}\nmod utility_room {}").is_empty());
    }

    #[test]
    fn the_list_is_sorted() {
        assert!(FORBIDDEN.is_sorted());
    }
}
