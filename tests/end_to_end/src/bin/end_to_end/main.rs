//! `end_to_end`: runs images on the emulated machine and judges what comes out.
//!
//! Each row of the table in `runs` is one run of `snp-emulator`, or a few that are compared. The verdicts go to the file
//! that `VOUCHSAFE_RESULTS` names; what the runs printed stays in `target/results/emulated`. `make test` builds
//! the images and starts this program.
#![forbid(unsafe_code)]

mod cases;
mod evidence;
mod judge;
mod runs;

use cases::CaseBook;
use clap::Parser;
use end_to_end::built::Built;
use end_to_end::figures::{self, Figure};
use end_to_end::verdict::{Outcome, RESULTS_VARIABLE, Verdict};
use judge::Judge;
use runs::RUNS;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

/// Stands for the figures that have limits.
const FIGURES: &str = "figures";

/// Runs images on the emulated machine and judges what comes out.
#[derive(Parser)]
#[command(name = "end_to_end")]
struct Arguments {
    /// Only the runs whose name contains one of these
    only: Vec<String>,
    /// Print the names of all runs
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.list {
        RUNS.iter().for_each(|run| println!("{}", run.name));
        println!("{FIGURES}");
        return ExitCode::SUCCESS;
    }
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("end_to_end: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> io::Result<bool> {
    let built = Built::beside_this_program()?;
    let logs = built.logs("emulated")?;
    let judge = Judge { built: &built, logs: &logs };
    let mut book = CaseBook::default();
    let mut verdicts = Vec::new();
    let start = Instant::now();
    for run in RUNS.iter().filter(|run| is_wanted(run.name, &arguments.only)) {
        let (verdict, took) = judge.run(run, &mut book)?;
        say(&verdict, took.as_secs_f64());
        verdicts.push(verdict);
    }
    verdicts.extend(book.verdicts(arguments.only.is_empty()));
    if is_wanted(FIGURES, &arguments.only) {
        let start = Instant::now();
        let figures = figure_verdicts(&built, &logs);
        figures.iter().for_each(|verdict| say(verdict, start.elapsed().as_secs_f64()));
        verdicts.extend(figures);
    }
    if let Some(path) = std::env::var_os(RESULTS_VARIABLE) {
        std::fs::write(path, verdicts.iter().map(Verdict::line).collect::<String>())?;
    }
    let count = |outcome| verdicts.iter().filter(|verdict| verdict.outcome == outcome).count();
    let (passed, failed) = (count(Outcome::Passed), count(Outcome::Failed));
    // Once more together, so that nobody has to search for them.
    verdicts
        .iter()
        .filter(|verdict| verdict.outcome == Outcome::Failed)
        .for_each(|it| print!("{}", it.line()));
    println!("emulated: {passed} passed, {failed} failed in {:.0} s", start.elapsed().as_secs_f64());
    Ok(failed == 0)
}

/// The figures that have limits, in place of a run.
fn figure_verdicts(built: &Built, logs: &Path) -> Vec<Verdict> {
    let figures = match figures::measure(built, logs) {
        Ok(figures) => figures,
        Err(error) => return vec![Verdict::new(Outcome::Failed, FIGURES, error.to_string())],
    };
    let verdict = |figure: &Figure| {
        let limit = figure.limit?;
        let outcome = if figure.is_within_limit() { Outcome::Passed } else { Outcome::Failed };
        let reason = if figure.is_within_limit() { String::new() } else { format!("it is {}", figure.value) };
        Some(Verdict::new(outcome, format!("{FIGURES}: {} is at most {limit}", figure.name), reason))
    };
    figures.iter().filter_map(verdict).collect()
}

fn is_wanted(name: &str, only: &[String]) -> bool {
    only.is_empty() || only.iter().any(|part| name.contains(part.as_str()))
}

fn say(verdict: &Verdict, seconds: f64) {
    let word = if verdict.outcome == Outcome::Passed { "ok" } else { "FAILED" };
    println!("run {} {word} ({seconds:.1} s)", verdict.name);
    if !verdict.reason.is_empty() {
        println!("    {}", verdict.reason);
    }
}
