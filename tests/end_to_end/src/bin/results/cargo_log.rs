//! Reads the verdicts of tests from what `cargo test` prints.
//!
//! The text form, because libtest's others are not stable. It is made for people: a test that writes around libtest's
//! capture garbles lines, and a test program that dies leaves its list open. Both are noticed.

use end_to_end::verdict::{Outcome, Verdict};
use std::mem;

/// Reads what cargo and libtest print. The line `test result:` is the authority on numbers, the lines before it on names.
#[derive(Default)]
pub struct TestLog {
    verdicts: Vec<Verdict>,
    /// The test program that runs, by cargo's word.
    program: String,
    /// Where the running program's verdicts begin; none between programs.
    start: Option<usize>,
    /// Whether the running program is past its tests and lists what failed.
    lists_failures: bool,
    /// The failed test whose output is being read, and whether the panic's place was seen.
    failure: Option<(String, bool)>,
}

impl TestLog {
    /// Takes the next line.
    pub fn read(&mut self, line: &str) {
        let trimmed = line.trim_start();
        if let Some(counts) = line.strip_prefix("test result: ") {
            self.close(counts);
        } else if self.lists_failures {
            self.read_failure(line);
        } else if let Some(running) =
            trimmed.strip_prefix("Running ").filter(|running| running.ends_with(')'))
        {
            self.close_crashed();
            self.program = program_of(running);
        } else if let Some(package) = trimmed.strip_prefix("Doc-tests ") {
            self.close_crashed();
            self.program = format!("{package} (doc)");
        } else if is_opening(line) {
            self.close_crashed();
            self.start = Some(self.verdicts.len());
        } else if line == "failures:" {
            self.lists_failures = self.start.is_some();
        } else if let Some((name, outcome)) =
            line.strip_prefix("test ").and_then(|rest| rest.rsplit_once(" ... "))
        {
            self.verdict(name, outcome);
        }
    }

    /// All verdicts, in the order of the tests.
    pub fn finish(mut self) -> Vec<Verdict> {
        self.close_crashed();
        self.verdicts
    }

    fn verdict(&mut self, name: &str, outcome: &str) {
        let (outcome, reason) = match outcome.split_once(", ").unwrap_or((outcome, "")) {
            ("ok", _) => (Outcome::Passed, ""),
            ("FAILED", _) => (Outcome::Failed, ""),
            ("ignored", reason) => (Outcome::Skipped, reason),
            _ => return,
        };
        if self.start.is_some() {
            self.verdicts.push(Verdict::new(outcome, format!("{}: {name}", self.program), reason));
        }
    }

    /// Takes the reason of a failure from the part below `---- NAME stdout ----`: the line after the panic's place.
    fn read_failure(&mut self, line: &str) {
        if let Some(name) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----")) {
            self.failure = Some((format!("{}: {name}", self.program), false));
            return;
        }
        match mem::take(&mut self.failure) {
            Some((name, true)) => {
                let own = self
                    .verdicts
                    .iter_mut()
                    .find(|verdict| verdict.name == name && verdict.reason.is_empty());
                if let Some(verdict) = own {
                    verdict.reason = line.to_owned();
                }
            }
            Some((name, false)) => self.failure = Some((name, line.contains("panicked at "))),
            None => {}
        }
    }

    /// Ends a program by its own counts; tests whose lines were garbled by other output are added without a name.
    fn close(&mut self, counts: &str) {
        let Some(start) = self.start.take() else { return };
        self.lists_failures = false;
        for (word, outcome) in
            [("passed", Outcome::Passed), ("failed", Outcome::Failed), ("ignored", Outcome::Skipped)]
        {
            let own = self.verdicts.iter().skip(start).filter(|verdict| verdict.outcome == outcome).count();
            for _ in own..count_of(counts, word) {
                let name = format!("{}: (a test whose line was garbled)", self.program);
                self.verdicts.push(Verdict::new(outcome, name, ""));
            }
        }
    }

    fn close_crashed(&mut self) {
        if self.start.take().is_some() {
            let reason = "the test program ended without a result";
            self.verdicts.push(Verdict::new(Outcome::Failed, mem::take(&mut self.program), reason));
        }
    }
}

/// `running 12 tests`
fn is_opening(line: &str) -> bool {
    let words: Vec<&str> = line.split(' ').collect();
    matches!(words.as_slice(), ["running", count, "test" | "tests"] if count.parse::<usize>().is_ok())
}

/// `unittests src/lib.rs (target/debug/deps/tpm-0123456789abcdef)`: `tpm src/lib.rs`
fn program_of(running: &str) -> String {
    let (what, path) = running.trim_end_matches(')').rsplit_once(" (").unwrap_or(("", running));
    let file = path.rsplit('/').next().unwrap_or(path);
    let name = file.rsplit_once('-').map_or(file, |(name, _)| name);
    format!("{name} {}", what.trim_start_matches("unittests ")).trim_end().to_owned()
}

/// The number before `word` in `ok. 12 passed; 0 failed; ..`.
fn count_of(counts: &str, word: &str) -> usize {
    let count = counts.split("; ").find_map(|part| part.strip_suffix(word));
    count.and_then(|part| part.split_whitespace().last()).and_then(|count| count.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "   Compiling tpm v0.1.0
     Running unittests src/lib.rs (target/debug/deps/tpm-0123456789abcdef)

running 4 tests
test hash::empty_input_has_the_known_digest ... ok
test pcr::extend_refuses_a_wrong_bank ... FAILED
test slow ... ignored, takes an hour
noise without a line end test garbled ... ok

failures:

---- pcr::extend_refuses_a_wrong_bank stdout ----

thread 'pcr::extend_refuses_a_wrong_bank' (12) panicked at kernel/tpm/src/pcr.rs:5:9:
the bank was accepted
test inside_captured_output ... ok


failures:
    pcr::extend_refuses_a_wrong_bank

test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s

   Doc-tests tpm

running 1 test
test kernel/tpm/src/lib.rs - Tpm (line 3) ... ok

test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.08s
";

    fn read_log(text: &str) -> Vec<(Outcome, String, String)> {
        let mut log = TestLog::default();
        text.lines().for_each(|line| log.read(line));
        log.finish().into_iter().map(|verdict| (verdict.outcome, verdict.name, verdict.reason)).collect()
    }

    fn row(outcome: Outcome, name: &str, reason: &str) -> (Outcome, String, String) {
        (outcome, name.to_owned(), reason.to_owned())
    }

    #[test]
    fn verdicts_are_read_from_the_output_of_cargo_test() {
        assert_eq!(
            read_log(LOG),
            [
                row(Outcome::Passed, "tpm src/lib.rs: hash::empty_input_has_the_known_digest", ""),
                row(
                    Outcome::Failed,
                    "tpm src/lib.rs: pcr::extend_refuses_a_wrong_bank",
                    "the bank was accepted"
                ),
                row(Outcome::Skipped, "tpm src/lib.rs: slow", "takes an hour"),
                row(Outcome::Passed, "tpm src/lib.rs: (a test whose line was garbled)", ""),
                row(Outcome::Passed, "tpm (doc): kernel/tpm/src/lib.rs - Tpm (line 3)", ""),
            ]
        );
    }

    #[test]
    fn a_test_program_that_dies_is_a_failure() {
        let died = "     Running tests/a.rs (target/debug/deps/a-00)\nrunning 2 tests\ntest b ... ok\n";
        let failure = row(Outcome::Failed, "a tests/a.rs", "the test program ended without a result");
        assert_eq!(read_log(died).last(), Some(&failure));
        let next = format!(
            "{died}     Running tests/c.rs (target/debug/deps/c-00)\nrunning 0 tests\n\ntest result: ok. 0 passed; 0 failed;"
        );
        assert_eq!(read_log(&next).last(), Some(&failure));
    }
}
