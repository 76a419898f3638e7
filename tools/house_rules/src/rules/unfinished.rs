//! Nothing is left to be done later: what is not there yet is named in the README's status table instead.

use crate::repository::Repository;
use crate::source::Source;
use crate::violation::Violation;

/// Words that leave work behind, written so that this file does not contain them.
const WORDS: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME")];

/// Macros that stand for missing code.
const MACROS: &[&str] = &["todo", "unimplemented"];

/// Checks all text files but Markdown for the words, and Rust code for the macros.
pub fn check(repository: &Repository) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in repository.texts.iter().filter(|file| !file.path.ends_with(".md")) {
        for (index, line) in file.text.lines().enumerate() {
            for word in WORDS.iter().filter(|word| has_word(line, word)) {
                let message =
                    format!("`{word}` in committed code; do it now, or say what is missing in the README");
                violations.push(Violation::new(&file.path, index + 1, message));
            }
        }
    }
    violations.extend(repository.sources.iter().flat_map(missing_code));
    violations
}

fn missing_code(source: &Source) -> Vec<Violation> {
    let calls = source.findings.macro_calls.iter().filter(|call| MACROS.contains(&call.name.as_str()));
    let message = |name: &str| format!("`{name}!` in committed code; write it, or refuse with an error");
    calls.map(|call| Violation::new(&source.path, call.line, message(&call.name))).collect()
}

/// Whether `line` has `word` with no letter, digit or underscore at its sides.
fn has_word(line: &str, word: &str) -> bool {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    line.match_indices(word).any(|(start, _)| {
        let before = line.get(..start).unwrap_or_default();
        let after = line.get(start + word.len()..).unwrap_or_default();
        !before.ends_with(is_part) && !after.starts_with(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        check(&Repository::of(&[(path, text)])).into_iter().map(|found| found.line).collect()
    }

    #[test]
    fn the_words_are_found_in_code_of_any_language() {
        for word in WORDS {
            assert_eq!(lines("a.rs", &format!("//! A.\n// {word}: more")), [2]);
            assert_eq!(lines("Makefile", &format!("# {word}")), [1]);
            assert!(lines("CONTRIBUTING.md", &format!("no {word}")).is_empty());
            assert!(lines("a.sh", &format!("echo {word}S X{word}")).is_empty());
        }
    }

    #[test]
    fn the_macros_are_found_in_code_and_not_in_strings() {
        assert_eq!(
            lines("a.rs", "//! A.\nfn f() { todo!() }\nfn g() { core::unimplemented!(\"x\") }"),
            [2, 3]
        );
        assert!(lines("a.rs", "//! A. todo!()\nconst A: &str = \"todo!()\";").is_empty());
    }
}
