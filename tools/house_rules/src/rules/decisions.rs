//! The decisions in `kernel/doc/decisions` are numbered from 0001 without gaps or doubles.

use crate::repository::Repository;
use crate::violation::Violation;

/// Where the decisions are.
const FOLDER: &str = "kernel/doc/decisions/";

/// The one file there that is not a decision.
const INDEX: &str = "README.md";

/// Checks the names of all files in the folder.
pub fn check(repository: &Repository) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut expected = 1;
    let files = repository.paths.iter().filter_map(|path| Some((path, path.strip_prefix(FOLDER)?)));
    for (path, name) in files.filter(|(_, name)| *name != INDEX) {
        let Some(number) = number_of(name) else {
            let message = "not named NNNN-title.md (lower-case words and hyphens); rename it";
            violations.push(Violation::new(path, 1, message));
            continue;
        };
        // Paths are sorted, so numbers arrive in their order.
        if number < expected {
            let message = format!("the number {number:04} is taken or too low; take the next free one");
            violations.push(Violation::new(path, 1, message));
        } else {
            if number > expected {
                let message = format!("there is no decision {expected:04} before it; number without gaps");
                violations.push(Violation::new(path, 1, message));
            }
            expected = number + 1;
        }
    }
    violations
}

/// The number of a decision whose name is as it should be.
fn number_of(name: &str) -> Option<u32> {
    let (number, title) = name.strip_suffix(".md")?.split_once('-')?;
    let is_number = number.len() == 4 && number.bytes().all(|byte| byte.is_ascii_digit());
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    (is_number && title.split('-').all(is_word)).then(|| number.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(names: &[&str]) -> Vec<String> {
        let paths: Vec<String> = names.iter().map(|name| format!("{FOLDER}{name}")).collect();
        let files: Vec<(&str, &str)> = paths.iter().map(|path| (path.as_str(), "")).collect();
        let found = check(&Repository::of(&files));
        found.into_iter().filter_map(|found| found.path.strip_prefix(FOLDER).map(str::to_owned)).collect()
    }

    #[test]
    fn consecutive_numbers_pass() {
        assert!(refused(&["0001-a.md", "0002-b-c2.md", "README.md"]).is_empty());
        assert!(refused(&[]).is_empty());
    }

    #[test]
    fn gaps_doubles_and_a_false_start_are_refused() {
        assert_eq!(refused(&["0001-a.md", "0003-b.md", "0004-c.md"]), ["0003-b.md"]);
        assert_eq!(refused(&["0001-a.md", "0001-b.md", "0002-c.md"]), ["0001-b.md"]);
        assert_eq!(refused(&["0002-a.md"]), ["0002-a.md"]);
        assert_eq!(refused(&["0000-a.md", "0001-b.md"]), ["0000-a.md"]);
    }

    #[test]
    fn other_names_are_refused() {
        for name in ["1-a.md", "0001_a.md", "0001-A.md", "0001-a.txt", "0001-.md", "0001.md", "+001-a.md"] {
            assert_eq!(refused(&[name]), [name]);
        }
    }
}
