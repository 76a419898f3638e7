//! What our engine alone answers to seeded commands: a golden file says whether a change of its code changed an answer.
//!
//! Each sequence has a TPM of its own with seeded entropy and a clock that steps, so a sequence that differs spoils no other.
//! Around the commands the machine does what machines do: it takes the power away, sends from other localities, and refuses
//! commits. The golden file has one short hash for each sequence; `--transcript` writes every answer, to compare two builds.

use crate::Arguments;
use crate::answers;
use crate::dice::Dice;
use crate::grammar::{Effect, Row};
use crate::model::Model;
use crate::mutation::Damage;
use crate::peer::Recorded;
use crate::report;
use crate::sequence::{self, Drawn};
use crate::trial::{LENGTH, hex};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

/// How many bytes of a sequence's SHA-256 the golden file keeps.
const KEPT_BYTES: usize = 4;
/// How often, in percent, something happens to the machine before a command.
const POWER_PERCENT: usize = 2;
const LOCALITY_PERCENT: usize = 5;
const REFUSAL_PERCENT: usize = 2;
const DAMAGED_PERCENT: usize = 15;
/// How often a command is taken that clears the TPM or parts of it.
const CLEARING_PERCENT: usize = 12;
/// How often a sequence ends where nobody knows what a command left; otherwise it goes on with more refusals.
const ENDING_PERCENT: usize = 80;

/// TPM2_Startup and TPM2_Shutdown, of both types.
const STARTUP: [[u8; 12]; 2] = [simple(0x44, 0), simple(0x44, 1)];
const SHUTDOWN: [[u8; 12]; 2] = [simple(0x45, 0), simple(0x45, 1)];

const fn simple(code: u8, parameter: u8) -> [u8; 12] {
    [0x80, 1, 0, 0, 0, 12, 0, 0, 1, code, 0, parameter]
}

/// One sequence under way.
struct Run<'a> {
    tpm: Recorded,
    dice: Dice,
    hash: Sha256,
    commands: usize,
    number: usize,
    transcript: &'a mut dyn Write,
}

impl Run<'_> {
    fn execute(&mut self, locality: u8, command: &[u8]) -> io::Result<Vec<u8>> {
        let answer = self.tpm.execute_at(locality, command);
        self.commands += 1;
        for part in [command, &answer] {
            self.hash.update((part.len() as u32).to_be_bytes());
            self.hash.update(part);
        }
        writeln!(self.transcript, "{} {locality} {} {}", self.number, hex(command), hex(&answer))?;
        Ok(answer)
    }

    /// Perhaps takes the power away; says whether it did.
    fn power_cycle(&mut self) -> io::Result<bool> {
        if !self.dice.percent(POWER_PERCENT) {
            return Ok(false);
        }
        match self.dice.below(4) {
            0 => {}
            1 => drop(self.execute(0, &SHUTDOWN[0])?),
            _ => drop(self.execute(0, &SHUTDOWN[1])?),
        }
        self.tpm.power_on();
        let wanted = self.dice.below(2);
        self.execute(0, &STARTUP[wanted])?;
        // Where there is nothing to resume.
        self.execute(0, &STARTUP[0])?;
        Ok(true)
    }

    /// The next command: seldom one that ends what the sequence has made.
    fn draw(&mut self, model: &Model) -> Drawn {
        loop {
            let drawn = sequence::draw(&mut self.dice, model);
            if drawn.row.effect != Effect::EndsAll || self.dice.percent(CLEARING_PERCENT) {
                return drawn;
            }
        }
    }

    fn run(&mut self) -> io::Result<()> {
        self.execute(0, &STARTUP[0])?;
        let mut model = Model::default();
        for _ in 0..LENGTH {
            self.tpm.refuse_commits(self.dice.percent(REFUSAL_PERCENT));
            if self.power_cycle()? {
                let indices = std::mem::take(&mut model.indices);
                model = Model::default();
                model.indices = indices;
            }
            let locality = if self.dice.percent(LOCALITY_PERCENT) { self.dice.below(6) as u8 } else { 0 };
            let drawn = self.draw(&model);
            let command = drawn.draft.fill(&model.ours);
            if self.dice.percent(DAMAGED_PERCENT) {
                let damaged = Damage::any(&mut self.dice, command.len()).apply(&command);
                let answer = self.execute(locality, &damaged)?;
                if answers::code(&answer) == Some(0) && self.dice.percent(ENDING_PERCENT) {
                    return Ok(());
                }
            }
            let answer = self.execute(locality, &command)?;
            let fields = sequence::fields(&drawn, &model);
            let row: &Row = drawn.row;
            if let Ok(handle) = answers::compare(row, fields, &answer, &answer, &mut model)
                && answers::code(&answer) == Some(0)
                && !sequence::note(&mut model, &drawn, handle)
                && self.dice.percent(ENDING_PERCENT)
            {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Hashes of sequences, and how many commands these have.
#[derive(Debug, Default)]
pub struct Recording {
    lines: Vec<String>,
    commands: usize,
}

/// Records sequences as long as `more` are wanted.
pub fn record(transcript: &mut dyn Write, more: impl Fn(&Recording) -> bool) -> io::Result<Recording> {
    let mut recording = Recording::default();
    while more(&recording) {
        let number = recording.lines.len();
        let tpm = Recorded::new(number as u64).map_err(io::Error::other)?;
        let dice = Dice::new(number as u64);
        let mut run = Run { tpm, dice, hash: Sha256::new(), commands: 0, number, transcript };
        run.run()?;
        recording.commands += run.commands;
        recording.lines.push(hex(run.hash.finalize().get(..KEPT_BYTES).unwrap_or_default()));
    }
    Ok(recording)
}

const HEAD: &str = "# Hashes of sequences of commands to our engine and its answers; see tests/differential/src/recording.rs.";

/// `--replay`: compares with a golden file, or writes it.
pub fn finish(golden: &Path, arguments: &Arguments) -> ExitCode {
    match replay(golden, arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("differential: {}: {error}", golden.display());
            ExitCode::from(2)
        }
    }
}

fn replay(golden: &Path, arguments: &Arguments) -> io::Result<ExitCode> {
    let mut transcript: Box<dyn Write> = match &arguments.transcript {
        Some(path) => Box::new(BufWriter::new(File::create(path)?)),
        None => Box::new(io::sink()),
    };
    if arguments.record {
        let recording = record(&mut transcript, |recording| recording.commands < arguments.commands)?;
        fs::write(golden, format!("{HEAD}\n{}\n", recording.lines.join("\n")))?;
        println!("{} commands in {} sequences recorded", recording.commands, recording.lines.len());
        return Ok(ExitCode::SUCCESS);
    }
    let golden = fs::read_to_string(golden)?;
    let count = hashes(&golden).count();
    let recording = record(&mut transcript, |recording| recording.lines.len() < count)?;
    let differing = differing(&golden, &recording.lines);
    let commands = recording.commands;
    println!("{commands} commands in {count} sequences replayed, {} sequences differ", differing.len());
    let reason = match differing.is_empty() {
        true => String::new(),
        false => format!("sequences {differing:?} differ; compare --transcript of both builds"),
    };
    report::write_lines(&format!(
        "{}\t{commands} recorded commands are answered as before\t{reason}\n",
        if differing.is_empty() { "passed" } else { "failed" }
    ))?;
    if !reason.is_empty() {
        println!("{reason}");
    }
    Ok(if differing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn hashes(golden: &str) -> impl Iterator<Item = &str> {
    golden.lines().filter(|line| !line.starts_with('#'))
}

/// The sequences whose answers are others than the golden file has, by their numbers.
fn differing(golden: &str, lines: &[String]) -> Vec<usize> {
    let pairs = hashes(golden).zip(lines).enumerate();
    pairs.filter(|(_, (golden, line))| golden != line).map(|(number, _)| number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sequences_answer_as_they_were_recorded() {
        let recording = record(&mut io::sink(), |recording| recording.lines.len() < 20).unwrap();
        let differing = differing(include_str!("../recorded.txt"), &recording.lines);
        assert!(differing.is_empty(), "sequences {differing:?}; see `differential --help` about --replay");
    }
}
