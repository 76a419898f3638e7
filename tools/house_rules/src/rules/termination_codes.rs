//! The firmware's reason codes and the table that users look them up in say the same.

use crate::repository::Repository;
use crate::violation::Violation;

const ENUM: &str = "kernel/hardware/src/termination.rs";
const TABLE: &str = "kernel/doc/termination_codes.md";

/// A reason's number and name, and its line.
type Reason<'a> = (u32, &'a str, usize);

/// Compares both lists, in both directions.
pub fn check(repository: &Repository) -> Vec<Violation> {
    let Some(source) = repository.text(ENUM) else { return Vec::new() };
    let codes = parse(source, reason_of_code);
    let rows = parse(repository.text(TABLE).unwrap_or_default(), reason_of_row);
    let missing = |from: &[Reason<'_>], of: &[Reason<'_>], path: &str, remedy: &str| {
        let absent = of.iter().filter(|(code, name, _)| !from.iter().any(|r| (r.0, r.1) == (*code, *name)));
        let violation = |(code, name, line): &Reason<'_>| {
            Violation::new(path, *line, format!("code {code} ({name}) {remedy}"))
        };
        absent.map(violation).collect::<Vec<_>>()
    };
    let mut violations = missing(&rows, &codes, ENUM, "has no such row in the table of termination codes");
    violations.extend(missing(&codes, &rows, TABLE, "is not a reason of the firmware's"));
    violations
}

fn parse<'a>(text: &'a str, reason: fn(&'a str) -> Option<(u32, &'a str)>) -> Vec<Reason<'a>> {
    let lines = text.lines().enumerate();
    lines.filter_map(|(index, line)| reason(line).map(|(code, name)| (code, name, index + 1))).collect()
}

/// `Name = 7,`
fn reason_of_code(line: &str) -> Option<(u32, &str)> {
    let (name, number) = line.trim().strip_suffix(',')?.split_once(" = ")?;
    let is_name = name.starts_with(char::is_uppercase) && name.chars().all(char::is_alphanumeric);
    Some((number.parse().ok()?, name)).filter(|_| is_name)
}

/// `| 7 | Name | ...`
fn reason_of_row(line: &str) -> Option<(u32, &str)> {
    let mut cells = line.trim().strip_prefix('|')?.split('|').map(str::trim);
    Some((cells.next()?.parse().ok()?, cells.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(source: &str, table: &str) -> Vec<(String, usize)> {
        let violations = check(&Repository::of(&[(ENUM, source), (TABLE, table)]));
        violations.into_iter().map(|violation| (violation.path, violation.line)).collect()
    }

    const SOURCE: &str =
        "//! Doc.\nreasons! {\n    /// Not SNP.\n    NotSnp = 1,\n    /// Entropy.\n    Entropy = 2,\n}\n";

    #[test]
    fn equal_lists_are_fine() {
        assert_eq!(
            found(SOURCE, "| Code | Name |\n|---:|---|\n| 1 | NotSnp | x |\n| 2 | Entropy | y |\n"),
            []
        );
    }

    #[test]
    fn a_reason_without_a_row_is_found() {
        assert_eq!(found(SOURCE, "| 1 | NotSnp | x |\n"), [(ENUM.to_owned(), 6)]);
    }

    #[test]
    fn a_row_without_a_reason_and_a_wrong_number_are_found() {
        let table = "| 1 | NotSnp | x |\n| 3 | Entropy | y |\n";
        assert_eq!(found(SOURCE, table), [(ENUM.to_owned(), 6), (TABLE.to_owned(), 2)]);
    }

    #[test]
    fn a_repository_without_the_firmware_has_nothing_to_compare() {
        assert!(check(&Repository::of(&[("README.md", "")])).is_empty());
    }
}
