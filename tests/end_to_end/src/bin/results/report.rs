//! What people see of the stages: where the run is, and in the end a table and the sum.

use crate::stage_files::{file_of, read_file};
use end_to_end::verdict::Outcome;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

fn seconds_of(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.seconds"))
}

/// How many tests passed, failed and were skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Count {
    fn of(folder: &Path, stage: &str) -> Self {
        let mut count = Self::default();
        for verdict in read_file(&file_of(folder, stage), stage) {
            match verdict.outcome {
                Outcome::Passed => count.passed += 1,
                Outcome::Failed => count.failed += 1,
                Outcome::Skipped => count.skipped += 1,
            }
        }
        count
    }

    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// The form that CONTRIBUTING.md promises.
    fn sum(self) -> String {
        let skips = if self.skipped > 0 { format!(", {} skipped", self.skipped) } else { String::new() };
        format!("{} passed, {} failed{skips}", self.passed, self.failed)
    }
}

/// Runs a stage, and says before and after where the run is. The number is empty or N/M.
pub fn around(
    folder: &Path,
    name: &str,
    number: &str,
    run: impl FnOnce() -> io::Result<()>,
) -> io::Result<ExitCode> {
    let number = if number.is_empty() { String::new() } else { format!("[{number}] ") };
    let start = Instant::now();
    eprintln!("{number}{name} ...");
    run()?;
    let seconds = start.elapsed().as_secs();
    fs::write(seconds_of(folder, name), seconds.to_string())?;
    eprintln!("{number}{name}: {} in {seconds} s", Count::of(folder, name).sum());
    Ok(ExitCode::SUCCESS)
}

/// The text of the summary, whose last line is the sum, and whether nothing failed.
pub fn summary(folder: &Path, names: &[String]) -> (String, bool) {
    let mut text = String::new();
    for stage in names {
        for verdict in read_file(&file_of(folder, stage), stage) {
            let word = match verdict.outcome {
                Outcome::Passed => continue,
                Outcome::Failed => "failed",
                Outcome::Skipped => "skipped",
            };
            let reason =
                if verdict.reason.is_empty() { String::new() } else { format!(": {}", verdict.reason) };
            text.push_str(&format!("{word}: {stage}: {}{reason}\n", verdict.name));
        }
    }
    let mut sum = Count::default();
    let mut table =
        format!("{:18} {:>7} {:>7} {:>7} {:>8}\n", "suite", "passed", "failed", "skipped", "seconds");
    for stage in names {
        let count = Count::of(folder, stage);
        let seconds = fs::read_to_string(seconds_of(folder, stage)).unwrap_or_default();
        table.push_str(&format!(
            "{stage:18} {:>7} {:>7} {:>7} {:>8}\n",
            count.passed,
            count.failed,
            count.skipped,
            seconds.trim()
        ));
        sum.add(count);
    }
    if names.len() > 1 {
        text.push_str(&table);
    }
    text.push_str(&sum.sum());
    text.push('\n');
    (text, sum.failed == 0)
}

/// The same with colours, where somebody watches and does not mind: failures are red, skips yellow.
pub fn coloured(text: &str, is_terminal: bool) -> String {
    if !is_terminal || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
        return text.to_owned();
    }
    let colour = |line: &str| match line.split(':').next() {
        Some("failed") => format!("\x1b[31m{line}\x1b[0m\n"),
        Some("skipped") => format!("\x1b[33m{line}\x1b[0m\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(colour).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_row_for_each_suite_and_the_sum_is_last() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(file_of(folder.path(), "a"), "passed\tx\t\nfailed\ty\twhy\n").unwrap();
        fs::write(file_of(folder.path(), "b"), "passed\tx\t\n").unwrap();
        fs::write(seconds_of(folder.path(), "b"), "12").unwrap();
        let (text, is_good) = summary(folder.path(), &["a".to_owned(), "b".to_owned()]);
        assert!(!is_good);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["failed:", "a:", "y:", "why"]);
        assert_eq!(lines[2], ["a", "1", "1", "0"]);
        assert_eq!(lines[3], ["b", "1", "0", "0", "12"]);
        assert_eq!(text.lines().last(), Some("2 passed, 1 failed"));
        assert_eq!(coloured("failed: x\n", false), "failed: x\n");
    }
}
