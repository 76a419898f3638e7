//! The test guest's own verdicts: lines `case NAME ok`, `case NAME FAILED: why`, `case NAME skipped: why`.

use end_to_end::verdict::{Outcome, Verdict};
use std::collections::BTreeMap;

/// One line of the guest's.
#[derive(Debug, PartialEq, Eq)]
pub struct CaseLine<'a> {
    /// The case.
    pub name: &'a str,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it failed or was skipped.
    pub reason: &'a str,
}

/// Reads one line of the serial port; none if it is not about a case.
pub fn parse(line: &str) -> Option<CaseLine<'_>> {
    let (name, rest) = line.trim_end().strip_prefix("case ")?.split_once(' ')?;
    let (word, reason) = rest.split_once(": ").unwrap_or((rest, ""));
    let outcome = match word {
        "ok" => Outcome::Passed,
        "skipped" => Outcome::Skipped,
        // Anything that is not a clear yes is a no.
        _ => Outcome::Failed,
    };
    Some(CaseLine { name, outcome, reason })
}

/// All cases of all runs.
#[derive(Default)]
pub struct CaseBook {
    verdicts: Vec<Verdict>,
    /// How often each case passed, and in how many runs it was listed.
    passed: BTreeMap<String, (usize, usize)>,
}

impl CaseBook {
    /// Takes the cases of one run; the first complaint about them, if there is one.
    pub fn take(&mut self, run: &str, serial: &str) -> Result<usize, String> {
        let mut failed = None;
        let mut count = [0_usize; 3];
        for case in serial.lines().filter_map(parse) {
            let (passed, listed) = self.passed.entry(case.name.to_owned()).or_default();
            *listed += 1;
            let slot = match case.outcome {
                Outcome::Passed => {
                    *passed += 1;
                    0
                }
                Outcome::Failed => {
                    failed = failed.or(Some(format!("case {}: {}", case.name, case.reason)));
                    1
                }
                Outcome::Skipped => 2,
            };
            if let Some(count) = count.get_mut(slot) {
                *count += 1;
            }
            // A case that one machine cannot run is judged by those that can: `verdicts` makes sure that there is one.
            if case.outcome != Outcome::Skipped {
                let name = format!("{run}: {}", case.name);
                self.verdicts.push(Verdict::new(case.outcome, name, case.reason));
            }
        }
        let [passed, failures, skipped] = count;
        let sum = format!("payload: {passed} passed, {failures} failed, {skipped} skipped");
        match failed {
            Some(why) => Err(why),
            None if passed == 0 => Err("no case passed".to_owned()),
            None if !serial.lines().any(|line| line.trim_end() == sum) => {
                Err(format!("the guest did not end with '{sum}'"))
            }
            None => Ok(passed),
        }
    }

    /// Every case of every run, and (if all runs were made) for each case that some machine skipped a verdict on whether
    /// another ran it.
    pub fn verdicts(self, is_complete: bool) -> Vec<Verdict> {
        let mut verdicts = self.verdicts;
        let never = self.passed.iter().filter(|(_, (passed, _))| is_complete && *passed == 0);
        verdicts.extend(never.map(|(name, _)| {
            Verdict::new(Outcome::Failed, format!("{name} runs somewhere"), "no run of the table passed it")
        }));
        verdicts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "payload: VMPL2\r\ncase a ok\ncase b skipped: needs 2 vCPUs\npayload: 1 passed, 0 failed, 1 skipped\n";

    #[test]
    fn lines_about_cases_are_read_and_others_left() {
        assert_eq!(
            parse("case a ok\r\n"),
            Some(CaseLine { name: "a", outcome: Outcome::Passed, reason: "" })
        );
        assert_eq!(
            parse("case b FAILED: x: 1"),
            Some(CaseLine { name: "b", outcome: Outcome::Failed, reason: "x: 1" })
        );
        assert_eq!(parse("case c okay").map(|case| case.outcome), Some(Outcome::Failed));
        assert_eq!(parse("payload: 1 passed"), None);
    }

    #[test]
    fn a_case_that_every_run_skips_is_a_failure() {
        let mut book = CaseBook::default();
        assert_eq!(book.take("one", GOOD), Ok(1));
        let verdicts = book.verdicts(true);
        assert!(
            verdicts.iter().any(|verdict| verdict.outcome == Outcome::Failed && verdict.name.contains('b'))
        );
        let mut book = CaseBook::default();
        let _ = book.take("one", GOOD);
        let two = "case a ok\ncase b ok\npayload: 2 passed, 0 failed, 0 skipped\n";
        assert_eq!(book.take("two", two), Ok(2));
        assert!(book.verdicts(true).iter().all(|verdict| verdict.outcome == Outcome::Passed));
    }

    #[test]
    fn a_guest_that_stops_in_the_middle_fails_its_run() {
        for serial in ["", "case a ok\n", "case a ok\npayload: 2 passed, 0 failed, 0 skipped\n"] {
            assert!(CaseBook::default().take("one", serial).is_err(), "{serial:?}");
        }
        assert!(CaseBook::default().take("one", &GOOD.replace("a ok", "a FAILED: 1")).is_err());
    }
}
