//! No file mentions folders that exist on one developer's machine only.

use crate::repository::Repository;
use crate::violation::Violation;

/// The beginnings of such paths, written so that this file does not contain them.
const FRAGMENTS: &[&str] = &[concat!("../", "shared"), concat!("/wo", "rk/")];

/// Checks every line of every text file.
pub fn check(repository: &Repository) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in &repository.texts {
        for (index, line) in file.text.lines().enumerate() {
            for fragment in FRAGMENTS.iter().filter(|fragment| line.contains(**fragment)) {
                let message = format!(
                    "`{fragment}` exists on one machine only; name a file of the repository, or a public source"
                );
                violations.push(Violation::new(&file.path, index + 1, message));
            }
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn such_a_path_is_found_in_any_text() {
        for fragment in FRAGMENTS {
            let text = format!("see\n{fragment}notes");
            for path in ["README.md", "a.sh", "a.toml"] {
                let lines: Vec<_> =
                    check(&Repository::of(&[(path, &text)])).into_iter().map(|found| found.line).collect();
                assert_eq!(lines, [2], "{path} with {fragment}");
            }
        }
        assert!(check(&Repository::of(&[("README.md", "see ../kernel and target/work")])).is_empty());
    }
}
