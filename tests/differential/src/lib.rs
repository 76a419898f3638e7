//! Our TPM engine beside swtpm (libtpms). `differential` compares answers, `tpm_bench` times.
//!
//! `differential`: the same seeded sequences of valid and damaged commands for our engine and for swtpm (libtpms), and
//! what their answers do not have in common.
//!
//! `grammar` is the table of commands; `sequence` draws from it by what `model` says is there; `mutation`
//! damages some; `recording` notes what our engine alone answers; `answers` compares codes, sizes and every field that is not random; `allowed` is the table of
//! differences that a paragraph of the specification decides in our favour, or that it leaves open.
#![forbid(unsafe_code)]

mod allowed;
mod answers;
mod dice;
mod draft;
mod grammar;
mod model;
mod mutation;
mod parameters;
mod peer;
mod recording;
mod report;
mod sequence;
mod trial;

pub mod bench;

use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;

/// The arguments of `differential`.
#[derive(Parser)]
#[command(name = "differential", version, about = "Compares our TPM engine with swtpm, command by command")]
struct Arguments {
    /// How many commands
    #[arg(long, default_value_t = 24_000)]
    commands: usize,
    /// The same seed gives the same commands
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many different differences are shown in full
    #[arg(long, default_value_t = 30)]
    show: usize,
    /// Write each command and both answers to stdout
    #[arg(long)]
    trace: bool,
    /// Compare our engine's answers to recorded commands with this file's; needs no swtpm
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    /// With --replay: write the file anew instead, with as many commands as --commands says
    #[arg(long, requires = "replay")]
    record: bool,
    /// With --replay: write each command and its answer here
    #[arg(long, value_name = "FILE", requires = "replay")]
    transcript: Option<PathBuf>,
}

/// The program `differential`.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(golden) = &arguments.replay {
        return recording::finish(golden, &arguments);
    }
    match trial::run(&arguments) {
        Ok(report) => report.finish(arguments.show),
        Err(error) => {
            eprintln!("differential: {error}");
            ExitCode::from(2)
        }
    }
}
