//! One test's verdict, and its line in a stage's file.

/// The variable that tells a stage which file to leave.
pub const RESULTS_VARIABLE: &str = "VOUCHSAFE_RESULTS";

/// What became of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It held.
    Passed,
    /// It did not hold, or could not be asked.
    Failed,
    /// It was left out, for the reason given.
    Skipped,
}

/// The outcomes by the word that stands for each in a file.
const OUTCOMES: &[(&str, Outcome)] =
    &[("passed", Outcome::Passed), ("failed", Outcome::Failed), ("skipped", Outcome::Skipped)];

/// One test's verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What became of it.
    pub outcome: Outcome,
    /// Its name.
    pub name: String,
    /// Why it failed or was skipped; empty where there is nothing to say.
    pub reason: String,
}

impl Verdict {
    /// A verdict.
    pub fn new(outcome: Outcome, name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { outcome, name: name.into(), reason: reason.into() }
    }

    /// Reads a line of a stage's file; the reason may be left out. None where the line is malformed.
    pub fn parse(line: &str) -> Option<Self> {
        let mut fields = line.splitn(3, '\t');
        let word = fields.next()?;
        let (_, outcome) = OUTCOMES.iter().find(|(known, _)| *known == word)?;
        let name = fields.next().filter(|name| !name.is_empty())?;
        Some(Self::new(*outcome, name, fields.next().unwrap_or_default()))
    }

    /// The verdict as a line of a stage's file, with the line's end.
    pub fn line(&self) -> String {
        let word =
            OUTCOMES.iter().find(|(_, outcome)| *outcome == self.outcome).map_or("failed", |(word, _)| word);
        let field = |text: &str| text.replace(['\t', '\n', '\r'], " ");
        format!("{word}\t{}\t{}\n", field(&self.name), field(&self.reason))
    }
}
