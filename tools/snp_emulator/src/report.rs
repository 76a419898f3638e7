//! What the monitor says, line by line: `KIND text`.

use crate::symbols::Symbols;
use std::io::Write;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The guest finished well.
    Finished,
    /// The guest reported failure.
    Failed,
    /// The guest terminated itself.
    Terminated,
    /// A violation in strict mode.
    Violation,
    /// The security processor does not launch the image.
    Refused,
    /// A triple fault, or nothing can run any more: the guest did not finish.
    Dead,
    /// The monitor itself failed.
    Broken,
}

impl Ending {
    /// The program's exit status.
    pub fn status(self) -> u8 {
        match self {
            Self::Finished => 0,
            Self::Failed | Self::Dead => 1,
            Self::Refused => 2,
            Self::Terminated => 3,
            Self::Violation => 4,
            Self::Broken => 70,
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "finished" => Self::Finished,
            "failed" => Self::Failed,
            "terminated" => Self::Terminated,
            "violation" => Self::Violation,
            "refused" => Self::Refused,
            "dead" => Self::Dead,
            _ => return None,
        })
    }
}

/// Reads lines, prints them, and keeps the ending.
pub struct Report<W, T> {
    messages: W,
    trace: Option<T>,
    symbols: Symbols,
    /// How the run ended, once that is known.
    pub ending: Option<Ending>,
}

impl<W: Write, T: Write> Report<W, T> {
    /// A report that writes messages to one place and trace lines to another.
    pub fn new(messages: W, trace: Option<T>, symbols: Symbols) -> Self {
        Self { messages, trace, symbols, ending: None }
    }

    /// Takes one line of the monitor's.
    pub fn line(&mut self, line: &str) -> std::io::Result<()> {
        let (kind, text) = line.split_once(' ').unwrap_or((line, ""));
        match kind {
            "" => Ok(()),
            "trace" | "firmware" => match &mut self.trace {
                Some(trace) => writeln!(trace, "{text}"),
                None => Ok(()),
            },
            "verdict" => {
                // A panic of the monitor is the last word.
                self.ending = self.ending.or(Ending::from_word(text));
                Ok(())
            }
            "log" => self.message(text),
            "panic" => {
                self.ending = Some(Ending::Broken);
                self.message(&format!("the monitor failed: {text}"))
            }
            _ => self.message(&format!("{kind}: {text}")),
        }
    }

    fn message(&mut self, text: &str) -> std::io::Result<()> {
        writeln!(self.messages, "machine: {}", self.symbols.annotate(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(lines: &[&str]) -> (String, String, Option<Ending>) {
        let (mut messages, mut trace) = (Vec::new(), Vec::new());
        let mut report = Report::new(&mut messages, Some(&mut trace), Symbols::default());
        for line in lines {
            report.line(line).unwrap();
        }
        let ending = report.ending;
        (String::from_utf8(messages).unwrap(), String::from_utf8(trace).unwrap(), ending)
    }

    #[test]
    fn messages_trace_and_verdict_are_told_apart() {
        let (messages, trace, ending) = report(&["log hello", "trace vcpu 0 exit", "verdict finished"]);
        assert_eq!(messages, "machine: hello\n");
        assert_eq!(trace, "vcpu 0 exit\n");
        assert_eq!(ending, Some(Ending::Finished));
    }

    #[test]
    fn a_panic_outweighs_a_verdict() {
        let (messages, _, ending) = report(&["panic at src/x.rs", "verdict finished"]);
        assert!(messages.contains("the monitor failed: at src/x.rs"));
        assert_eq!(ending, Some(Ending::Broken));
    }
}
