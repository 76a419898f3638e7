//! What the monitor says, line by line: `KIND text`.

use crate::symbols::Symbols;
use crate::timeline::Timeline;
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
    /// A claim of the threat model is broken.
    Breach,
    /// The security processor does not launch the image.
    Refused,
    /// The host cannot go on with the VM: its QEMU stops.
    HostEnded,
    /// A triple fault, or nothing can run any more: the guest did not finish.
    Dead,
    /// An attack was made, and VMPL0 kept what it claims.
    Held,
    /// An attack was made, and VMPL0 did not.
    Lost,
    /// The run took too long.
    TimeLimit,
    /// Who sat at the terminal ended it.
    Left,
    /// A signal ended it: Ctrl-C, or whoever started it went away.
    Interrupted,
    /// The monitor itself failed, or QEMU did.
    Broken,
}

/// Endings: the monitor's word, if it has one; the program's exit status; what is said.
const ENDINGS: &[(Ending, &str, u8, &str)] = &[
    (Ending::Finished, "finished", 0, "the guest finished well"),
    (Ending::Failed, "failed", 1, "the guest reported failure"),
    (Ending::Terminated, "terminated", 3, "the guest terminated itself"),
    (Ending::Violation, "violation", 4, "the run relied on what hardware forbids"),
    (Ending::Breach, "breach", 4, "a claim of the threat model is broken"),
    (Ending::Refused, "refused", 2, "the security processor refused the launch"),
    (Ending::HostEnded, "host-ended", 7, "the host ended the VM, as it cannot go on with it"),
    (Ending::Dead, "dead", 1, "the guest died"),
    (Ending::Held, "held", 0, "VMPL0 held against the attack"),
    (Ending::Lost, "lost", 6, "VMPL0 was lost to the attack"),
    (Ending::TimeLimit, "", 5, "the guest did not finish in time"),
    (Ending::Left, "", 0, "the run was ended from the terminal"),
    (Ending::Interrupted, "", 130, "the run was ended by a signal"),
    (Ending::Broken, "", 70, "the machine failed, not the guest"),
];

impl Ending {
    /// The program's exit status.
    pub fn status(self) -> u8 {
        self.row().map_or(70, |(.., status, _)| *status)
    }

    /// A word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::TimeLimit => "time-limit",
            Self::Left => "left",
            Self::Broken => "broken",
            _ => self.row().map_or("", |(_, word, ..)| word),
        }
    }

    fn sentence(self) -> &'static str {
        self.row().map_or("", |(.., sentence)| sentence)
    }

    fn row(self) -> Option<&'static (Self, &'static str, u8, &'static str)> {
        ENDINGS.iter().find(|(ending, ..)| *ending == self)
    }

    fn from_word(word: &str) -> Option<Self> {
        ENDINGS.iter().find(|(_, known, ..)| !known.is_empty() && *known == word).map(|(ending, ..)| *ending)
    }
}

/// Reads lines, prints them, and keeps the ending.
pub struct Report<W, T> {
    messages: W,
    trace: Option<T>,
    /// Where times go.
    pub timeline: Option<Timeline<T>>,
    symbols: Symbols,
    /// First line of QEMU's version.
    qemu: String,
    /// What was launched.
    digest: Option<String>,
    /// The counts of the run, for the last line.
    summary: Option<String>,
    /// The guest asked for a reset.
    pub was_reset: bool,
    /// How the run ended, once that is known.
    pub ending: Option<Ending>,
}

impl<W: Write, T: Write> Report<W, T> {
    /// A report that writes messages to one place and trace lines to another.
    pub fn new(messages: W, trace: Option<T>, symbols: Symbols, qemu: String) -> Self {
        Self {
            messages,
            trace,
            timeline: None,
            symbols,
            qemu,
            digest: None,
            summary: None,
            was_reset: false,
            ending: None,
        }
    }

    /// Says what is about to run.
    pub fn start(&mut self, vcpus: u32, memory: u64) -> std::io::Result<()> {
        let plural = if vcpus == 1 { "" } else { "s" };
        self.message(&format!("{}, {vcpus} vCPU{plural}, {} MiB", self.qemu, memory >> 20))
    }

    /// Takes one line of the monitor's.
    pub fn line(&mut self, line: &str) -> std::io::Result<()> {
        let (kind, text) = line.split_once(' ').unwrap_or((line, ""));
        match kind {
            "" | "done" => Ok(()),
            "trace" | "firmware" => match &mut self.trace {
                Some(trace) => writeln!(trace, "{text}"),
                None => Ok(()),
            },
            "reset" => {
                self.was_reset = true;
                self.message(&format!("{kind}: {text}"))
            }
            "time" => self.timeline.as_mut().map_or(Ok(()), |timeline| timeline.line(text)),
            "verdict" => {
                // A panic of the monitor is the last word.
                self.ending = self.ending.or(Ending::from_word(text));
                Ok(())
            }
            "summary" => {
                self.summary = Some(text.to_owned());
                Ok(())
            }
            "log" => {
                if let Some(digest) = text.strip_prefix("launch digest ") {
                    self.digest = Some(digest.to_owned());
                }
                self.message(text)
            }
            "panic" => {
                self.ending = Some(Ending::Broken);
                self.message(&format!("the monitor failed: {text}"))
            }
            "self-test" => {
                self.ending = Some(Ending::Broken);
                self.message(&format!("self-test failed: {} is no base for this machine: {text}", self.qemu))
            }
            _ => self.message(&format!("{kind}: {text}")),
        }
    }

    /// Says how the run ended, and as the last line what was counted.
    pub fn close(&mut self, ending: Ending) -> std::io::Result<()> {
        self.message(&format!("verdict: {}; exit status {}", ending.sentence(), ending.status()))?;
        if let Some(timeline) = &mut self.timeline {
            timeline.finish()?;
        }
        match self.summary.clone() {
            Some(summary) => self.message(&format!("summary: {summary}")),
            None => Ok(()),
        }
    }

    /// The same for programs: how the run ended, what was launched, what was counted.
    pub fn json(&self, ending: Ending) -> serde_json::Value {
        let words: Vec<&str> = self.summary.as_deref().unwrap_or("").split_ascii_whitespace().collect();
        let counts: serde_json::Map<String, serde_json::Value> = words
            .chunks_exact(2)
            .filter_map(|pair| Some((pair[0].replace('-', "_"), pair[1].parse::<u64>().ok()?.into())))
            .collect();
        serde_json::json!({
            "verdict": ending.name(),
            "exit_status": ending.status(),
            "says": ending.sentence(),
            "qemu": self.qemu,
            "launch_digest": self.digest,
            "counts": counts,
        })
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
        let mut report = Report::new(&mut messages, Some(&mut trace), Symbols::default(), "QEMU 1.2".into());
        for line in lines {
            report.line(line).unwrap();
        }
        let ending = report.ending;
        report.close(ending.unwrap_or(Ending::Broken)).unwrap();
        (String::from_utf8(messages).unwrap(), String::from_utf8(trace).unwrap(), ending)
    }

    #[test]
    fn messages_trace_and_verdict_are_told_apart() {
        let (messages, trace, ending) = report(&["log hello", "trace vcpu 0 exit", "verdict finished"]);
        assert!(messages.starts_with("machine: hello\n"));
        assert_eq!(trace, "vcpu 0 exit\n");
        assert_eq!(ending, Some(Ending::Finished));
    }

    #[test]
    fn the_last_two_lines_are_the_verdict_and_the_counts() {
        let (messages, ..) = report(&["summary exits 5", "log late", "verdict violation"]);
        let lines: Vec<&str> = messages.lines().collect();
        assert_eq!(
            lines,
            [
                "machine: late",
                "machine: verdict: the run relied on what hardware forbids; exit status 4",
                "machine: summary: exits 5"
            ]
        );
    }

    #[test]
    fn a_run_is_told_in_json_too() {
        let (mut messages, mut trace) = (Vec::new(), Vec::new());
        let mut report = Report::new(&mut messages, Some(&mut trace), Symbols::default(), "QEMU 1.2".into());
        for line in ["log launch digest ab12", "summary exits 5 tlb-flushes 2", "verdict terminated"] {
            report.line(line).unwrap();
        }
        let json = report.json(report.ending.unwrap());
        assert_eq!((&json["verdict"], &json["exit_status"]), (&"terminated".into(), &3.into()));
        assert_eq!((&json["launch_digest"], &json["counts"]["tlb_flushes"]), (&"ab12".into(), &2.into()));
    }

    #[test]
    fn a_panic_outweighs_a_verdict() {
        let (messages, _, ending) = report(&["panic at src/x.rs", "verdict finished"]);
        assert!(messages.contains("the monitor failed: at src/x.rs"));
        assert_eq!(ending, Some(Ending::Broken));
    }

    #[test]
    fn a_failed_self_test_names_the_version_of_qemu() {
        let (messages, _, ending) = report(&["self-test CPUID exits: exit 0x78 instead of 0x72"]);
        assert!(messages.contains("self-test failed: QEMU 1.2 "), "{messages}");
        assert!(messages.contains("CPUID exits: exit 0x78"), "{messages}");
        assert_eq!(ending, Some(Ending::Broken));
    }
}
