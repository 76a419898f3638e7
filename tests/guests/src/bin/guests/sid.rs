//! Rows whose guests come from Debian's sid: a version that nobody has seen yet breaks nothing, and says so.

use crate::rows::Row;
use end_to_end::verdict::{Outcome, Verdict};

/// The versions that were last seen to be green, by row.
const LAST_GREEN: &[(&str, &str)] =
    &[("linux_of_sid", "7.2.13-1"), ("linux_6_12_through_ovmf_of_sid", "2026.08+ds-2")];

/// What a row's verdicts weigh: failures of a version that is new here are skipped, with what is known.
pub fn weigh(row: &Row, version: &str, verdicts: Vec<Verdict>) -> Vec<Verdict> {
    let Some((_, green)) = LAST_GREEN.iter().find(|(name, _)| *name == row.name) else { return verdicts };
    if version.is_empty() || version == *green {
        return verdicts;
    }
    println!("guests: {}: new version {version}, last green {green}", row.name);
    let weigh = |verdict: Verdict| match verdict.outcome {
        Outcome::Failed => Verdict::new(
            Outcome::Skipped,
            verdict.name,
            format!("new version {version}, last green {green}: {}", verdict.reason),
        ),
        Outcome::Passed | Outcome::Skipped => verdict,
    };
    verdicts.into_iter().map(weigh).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::ROWS;

    #[test]
    fn only_a_known_version_can_fail() {
        let (name, green) = LAST_GREEN[0];
        let row = ROWS.iter().find(|row| row.name == name).unwrap();
        let failed = || vec![Verdict::new(Outcome::Failed, "x", "why")];
        assert_eq!(weigh(row, green, failed())[0].outcome, Outcome::Failed);
        let new = weigh(row, "99", failed());
        assert_eq!(new[0].outcome, Outcome::Skipped);
        assert_eq!(new[0].reason, format!("new version 99, last green {green}: why"));
        let other = ROWS.iter().find(|row| row.name != name).unwrap();
        assert_eq!(weigh(other, "99", failed())[0].outcome, Outcome::Failed);
    }
}
