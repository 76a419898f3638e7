//! Every folder in the README's folder table exists.

use crate::repository::Repository;
use crate::violation::Violation;

const README: &str = "README.md";

/// The first column's heading by which the table is known.
const HEADING: &str = "folder";

/// Checks the first column of the table.
pub fn check(repository: &Repository) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut in_table = false;
    for (index, line) in repository.text(README).unwrap_or_default().lines().enumerate() {
        let Some(cell) = first_cell(line) else {
            in_table = false;
            continue;
        };
        if cell.eq_ignore_ascii_case(HEADING) {
            in_table = true;
        } else if in_table {
            // Text between backticks: every second part.
            for folder in cell.split('`').skip(1).step_by(2).filter(|folder| !repository.has(folder)) {
                let message = format!("there is no `{folder}`; correct the row, or remove it");
                violations.push(Violation::new(README, index + 1, message));
            }
        }
    }
    violations
}

/// The first cell of a line that is a row of a table.
fn first_cell(line: &str) -> Option<&str> {
    let (cell, _) = line.trim().strip_prefix('|')?.split_once('|')?;
    Some(cell.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(readme: &str) -> Vec<usize> {
        let files = [("README.md", readme), ("kernel/tpm/Cargo.toml", "")];
        check(&Repository::of(&files)).into_iter().map(|found| found.line).collect()
    }

    #[test]
    fn each_named_folder_must_exist() {
        let table = "# A\n| Folder | what |\n|---|---|\n| `kernel/tpm/` | `nothing` |\n| `kernel/tpn` | x |\n| `kernel`, `igvm` | y |\n";
        assert_eq!(lines(table), [5, 6]);
    }

    #[test]
    fn other_tables_are_not_read() {
        assert!(
            lines("| Command | what |\n|---|---|\n| `make` | x |\n\n| Folder |\n|---|\n\n| `make` | x |\n")
                .is_empty()
        );
        assert!(lines("").is_empty());
    }
}
