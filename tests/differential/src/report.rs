//! Counts, prints, and writes the results that `make test` adds up.

use crate::allowed;
use crate::answers::Difference;
use crate::trial::hex;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::process::ExitCode;

/// What became of one command of the table.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    compared: usize,
    succeeded: usize,
    allowed: usize,
    differed: usize,
}

/// Differences of one kind: how many, and the first of them in full.
struct Kind {
    count: usize,
    example: String,
}

/// Everything that a trial found.
pub struct Report {
    seed: u64,
    counts: BTreeMap<&'static str, Count>,
    differences: BTreeMap<String, Kind>,
    allowed: BTreeMap<&'static str, usize>,
    /// Why nothing was compared.
    skipped: Option<String>,
}

impl Report {
    /// An empty report.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            counts: BTreeMap::new(),
            differences: BTreeMap::new(),
            allowed: BTreeMap::new(),
            skipped: None,
        }
    }

    /// How many commands were compared.
    pub fn commands(&self) -> usize {
        self.counts.values().map(|count| count.compared).sum()
    }

    fn count(&mut self, name: &'static str) -> &mut Count {
        let count = self.counts.entry(name).or_default();
        count.compared += 1;
        count
    }

    /// Notes that nothing is compared.
    pub fn skip(&mut self, reason: String) {
        self.skipped = Some(reason);
    }

    /// Notes a command with the same answer from both.
    pub fn agreed(&mut self, name: &'static str, succeeded: bool) {
        self.count(name).succeeded += usize::from(succeeded);
    }

    /// Notes a command with different answers.
    pub fn differed(
        &mut self,
        name: &'static str,
        code: u32,
        difference: Difference,
        command: &[u8],
        ours: &[u8],
        theirs: &[u8],
    ) {
        if let Some(row) = allowed::find(code, &difference) {
            self.count(name).allowed += 1;
            *self.allowed.entry(row.reason).or_default() += 1;
            return;
        }
        self.count(name).differed += 1;
        let what = match difference {
            Difference::Codes { ours, theirs } => format!("answers {ours:#05x}, swtpm {theirs:#05x}"),
            Difference::Lengths { ours, theirs } => format!("answers {ours} bytes, swtpm {theirs}"),
            Difference::Field { number } => format!("differs in field {number}"),
            Difference::Malformed => "answers no proper response, or swtpm does".to_owned(),
        };
        let kind = self.differences.entry(format!("{name} ({code:#x}) {what}")).or_insert_with(|| Kind {
            count: 0,
            example: format!(
                "command {}\n    ours   {}\n    swtpm  {}",
                hex(command),
                hex(ours),
                hex(theirs)
            ),
        });
        kind.count += 1;
    }

    /// Prints the report, writes the results, and says how it went.
    pub fn finish(&self, show: usize) -> ExitCode {
        let mut shown: Vec<_> = self.differences.iter().collect();
        shown.sort_by_key(|(_, kind)| std::cmp::Reverse(kind.count));
        for (what, kind) in shown.iter().take(show) {
            println!("{} x {what}\n    {}", kind.count, kind.example);
        }
        for (reason, count) in &self.allowed {
            println!("allowed {count} x {reason}");
        }
        let total = self.counts.values().fold(Count::default(), |sum, count| Count {
            compared: sum.compared + count.compared,
            succeeded: sum.succeeded + count.succeeded,
            allowed: sum.allowed + count.allowed,
            differed: sum.differed + count.differed,
        });
        println!(
            "seed {}: {} commands compared, {} succeeded; {} differences that the table allows, {} that it does not",
            self.seed, total.compared, total.succeeded, total.allowed, total.differed
        );
        if let Err(error) = self.write_results() {
            eprintln!("differential: the results cannot be written: {error}");
            return ExitCode::from(2);
        }
        if total.differed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// One line for each command of the table, to the file that `make test` names.
    fn write_results(&self) -> std::io::Result<()> {
        let mut lines = String::new();
        if let Some(reason) = &self.skipped {
            println!("skipped: {reason}");
            lines = format!("skipped\tcommands as swtpm\t{reason}\n");
        }
        for (name, count) in &self.counts {
            let verdict = if count.differed == 0 { "passed" } else { "failed" };
            let reason = match count.differed {
                0 => String::new(),
                differed => format!("{differed} of {} answers differ from swtpm's", count.compared),
            };
            let _never_fails =
                writeln!(lines, "{verdict}\tTPM2_{name}: {} commands as swtpm\t{reason}", count.compared);
        }
        write_lines(&lines)
    }
}

/// Appends lines to the file that `make test` names, if it named one.
pub fn write_lines(lines: &str) -> std::io::Result<()> {
    let Some(path) = std::env::var_os("VOUCHSAFE_RESULTS") else { return Ok(()) };
    OpenOptions::new().append(true).create(true).open(path)?.write_all(lines.as_bytes())
}
