//! `house_rules`: checks what the compiler and clippy do not, as listed by `house_rules --list`.
//!
//! The rules are in [`rules`], one row and one file each; where each crate stands is in [`places`]. Exit status: 0 when
//! nothing is broken, 1 when something is, 2 when the repository could not be read.
#![forbid(unsafe_code)]

mod packages;
mod places;
mod report;
mod repository;
mod rules;
mod source;
mod tokens;
mod violation;

use clap::Parser;
use repository::Repository;
use rules::RULES;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Checks the repository's house rules.
#[derive(Parser)]
#[command(name = "house_rules")]
struct Arguments {
    /// Also print the sizes of files and functions, and the unsafe blocks per crate.
    #[arg(long)]
    report: bool,
    /// Print the rules and what they ask, and check nothing.
    #[arg(long)]
    list: bool,
    /// Check the repository that this folder is in.
    #[arg(long, default_value = ".")]
    root: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.list {
        for rule in RULES {
            println!("{:<20}{}", rule.name, rule.asks);
        }
        return ExitCode::SUCCESS;
    }
    match check(&arguments.root, arguments.report) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(count) => {
            eprintln!("house_rules: {count} violations");
            ExitCode::from(1)
        }
        Err(error) => {
            eprintln!("house_rules: {error}");
            ExitCode::from(2)
        }
    }
}

/// Prints all violations, and the report if asked, and counts the violations.
fn check(start: &Path, with_report: bool) -> Result<usize, String> {
    let root = repository::find_root(start).map_err(|error| error.to_string())?;
    let repository = Repository::read(&root)?;
    let mut count = 0;
    for rule in RULES {
        for violation in (rule.check)(&repository) {
            println!("{}", violation.under(rule.name));
            count += 1;
        }
    }
    if with_report {
        print!("{}", report::report(&repository));
    }
    Ok(count)
}
