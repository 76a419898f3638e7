//! `results`: keeps the verdicts of all test stages and adds them up into the last line of `make test`.
//!
//! A stage leaves one file, `STAGE.tsv`, with a line for each test: `passed`, `failed` or `skipped`, the test's name, and
//! a reason, separated by tabs. A stage that crashes, does not build, or leaves nothing counts as a failed test, so that
//! no fault can make the sum look better. The Makefile calls this program; nothing else needs to.
#![forbid(unsafe_code)]

mod cargo_log;
mod report;
mod stage_files;

use cargo_log::TestLog;
use clap::{Parser, Subcommand};
use end_to_end::verdict::{Outcome, RESULTS_VARIABLE, Verdict};
use stage_files::{fresh_file, read_file, write_file};
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};

/// Keeps and adds up the verdicts of test stages.
#[derive(Parser)]
#[command(name = "results")]
struct Arguments {
    /// Where the stages' files are.
    #[arg(long, default_value = "target/results")]
    folder: PathBuf,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Run a stage that writes its own file, to the path in VOUCHSAFE_RESULTS.
    Stage {
        /// The stage's name.
        name: String,
        /// Which stage of how many, as N/M.
        #[arg(long, default_value = "")]
        number: String,
        /// The command and its arguments.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Run `cargo test` as a stage, and read its output.
    Cargo {
        /// The stage's name.
        name: String,
        /// Which stage of how many, as N/M.
        #[arg(long, default_value = "")]
        number: String,
        /// The command and its arguments.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Add up stages, print what failed or was skipped, and the sum as the last line.
    Summary {
        /// The stages' names.
        #[arg(required = true)]
        names: Vec<String>,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.action {
        Action::Stage { name, number, command } => report::around(&arguments.folder, name, number, || {
            stage(&arguments.folder, name, command, &mut io::stdout())
        }),
        Action::Cargo { name, number, command } => report::around(&arguments.folder, name, number, || {
            cargo(&arguments.folder, name, command, &mut io::stdout())
        }),
        Action::Summary { names } => {
            let (text, is_good) = report::summary(&arguments.folder, names);
            print!("{}", report::coloured(&text, io::stdout().is_terminal()));
            Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::from(1) })
        }
    };
    result.unwrap_or_else(|error| {
        eprintln!("results: {error}");
        ExitCode::from(2)
    })
}

/// Adds a failed verdict where a command failed and no verdict says so.
fn account_for(status: ExitStatus, name: &str, last: &[String], verdicts: &mut Vec<Verdict>) {
    let is_explained = verdicts.iter().any(|verdict| verdict.outcome == Outcome::Failed);
    if !status.success() && !is_explained {
        verdicts.push(Verdict::new(
            Outcome::Failed,
            name,
            format!("ended with {status}, but no test failed: {}", last.join(" | ")),
        ));
    }
}

fn command_of(words: &[String]) -> io::Result<Command> {
    let (program, rest) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command.args(rest);
    Ok(command)
}

/// Lines of a stage's output that say why it died.
const LAST_LINES: usize = 3;

/// Runs a stage that writes its own file, and passes its output on. What it printed last is the reason if it dies.
fn stage(folder: &Path, name: &str, words: &[String], output: &mut dyn Write) -> io::Result<()> {
    let path = fresh_file(folder, name)?;
    let (reader, writer) = io::pipe()?;
    let mut command = command_of(words)?;
    command.env(RESULTS_VARIABLE, &path).stdout(writer.try_clone()?).stderr(writer);
    let spawned = command.spawn();
    drop(command); // holds the pipe's writing end
    let mut last: Vec<String> = Vec::new();
    let verdicts = match spawned {
        Ok(mut child) => {
            for line in BufReader::new(reader).split(b'\n') {
                let line = String::from_utf8_lossy(&line?).into_owned();
                writeln!(output, "{line}")?;
                if !line.trim().is_empty() && !line.starts_with("make") {
                    last.push(line.trim().to_owned());
                    last.drain(..last.len().saturating_sub(LAST_LINES));
                }
            }
            let status = child.wait()?;
            if path.exists() {
                let mut verdicts = read_file(&path, name);
                account_for(status, name, &last, &mut verdicts);
                verdicts
            } else {
                let reason = format!("left no results and ended with {status}: {}", last.join(" | "));
                vec![Verdict::new(Outcome::Failed, name, reason)]
            }
        }
        Err(error) => vec![Verdict::new(Outcome::Failed, name, format!("{}: {error}", words.join(" ")))],
    };
    write_file(&path, &verdicts)
}

/// Runs `cargo test`, passes its output on, and reads the verdicts from it.
fn cargo(folder: &Path, name: &str, words: &[String], output: &mut dyn Write) -> io::Result<()> {
    let path = fresh_file(folder, name)?;
    // Cargo says on stderr which program runs, the program on stdout how its tests end: one pipe keeps their order.
    let (reader, writer) = io::pipe()?;
    let mut command = command_of(words)?;
    command.env("CARGO_TERM_COLOR", "never").stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn()?;
    drop(command); // holds the pipe's writing end, without which reading never ends
    let mut log = TestLog::default();
    for line in BufReader::new(reader).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        writeln!(output, "{line}")?;
        log.read(&line);
    }
    let mut verdicts = log.finish();
    account_for(child.wait()?, name, &[], &mut verdicts);
    write_file(&path, &verdicts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::summary;
    use crate::stage_files::file_of;
    use std::fs;

    type Stage = fn(&Path, &str, &[String]) -> io::Result<()>;

    fn quiet_cargo(folder: &Path, name: &str, words: &[String]) -> io::Result<()> {
        cargo(folder, name, words, &mut io::sink())
    }

    #[test]
    fn a_verdict_survives_its_file_and_a_malformed_line_is_a_failure() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a.tsv");
        let verdict = Verdict::new(Outcome::Skipped, "name", "no\tnetwork\n");
        write_file(&path, std::slice::from_ref(&verdict)).expect("a file");
        assert_eq!(read_file(&path, "a"), [Verdict::new(Outcome::Skipped, "name", "no network ")]);
        for line in ["ok\tname\t", "passed", "passed\t", ""] {
            fs::write(&path, format!("{line}\n")).expect("a file");
            assert_eq!(
                read_file(&path, "a").first().map(|verdict| verdict.outcome),
                Some(Outcome::Failed),
                "{line:?}"
            );
        }
    }

    /// Runs `script` as a stage that was good before, and adds it up.
    fn quiet_stage(folder: &Path, name: &str, words: &[String]) -> io::Result<()> {
        stage(folder, name, words, &mut io::sink())
    }

    fn run(kind: Stage, script: &str) -> (String, bool) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        write_file(&file_of(folder.path(), "a"), &[Verdict::new(Outcome::Passed, "stale", "")])
            .expect("a file");
        let _ = kind(folder.path(), "a", &["sh".to_owned(), "-c".to_owned(), script.to_owned()]);
        summary(folder.path(), &["a".to_owned()])
    }

    #[test]
    fn a_stage_is_believed_when_it_ends_well() {
        let script = "printf 'passed\tx\t\nskipped\ty\tno network\n' > $VOUCHSAFE_RESULTS";
        assert_eq!(
            run(quiet_stage, script),
            ("skipped: a: y: no network\n1 passed, 0 failed, 1 skipped\n".to_owned(), true)
        );
    }

    #[test]
    fn a_stage_that_fails_crashes_or_leaves_nothing_is_never_good() {
        let passed = "printf 'passed\tx\t\n' > $VOUCHSAFE_RESULTS";
        let outcomes = [
            (format!("{passed}; exit 3"), "1 passed, 1 failed"),
            (format!("{passed}; kill -9 $$"), "1 passed, 1 failed"),
            ("exit 0".to_owned(), "0 passed, 1 failed"),
            ("exit 1".to_owned(), "0 passed, 1 failed"),
            ("printf 'failed\tx\tworse\n' > $VOUCHSAFE_RESULTS".to_owned(), "0 passed, 1 failed"),
            ("printf 'failed\tx\tworse\n' > $VOUCHSAFE_RESULTS; exit 1".to_owned(), "0 passed, 1 failed"),
        ];
        for (script, sum) in outcomes {
            let (text, is_good) = run(quiet_stage, &script);
            assert_eq!((text.lines().last(), is_good), (Some(sum), false), "{script}: {text}");
        }
    }

    #[test]
    fn a_stage_that_dies_says_why() {
        let (text, _) = run(quiet_stage, "echo one; echo 'too many open files' >&2; exit 2");
        assert!(text.contains("exit status: 2: one | too many open files"), "{text}");
    }

    #[test]
    fn cargo_is_believed_when_it_ends_well_only() {
        let good = "echo 'running 1 test'; echo 'test x ... ok'; echo 'test result: ok. 1 passed; 0 failed; 0 ignored'";
        assert_eq!(run(quiet_cargo, good), ("1 passed, 0 failed\n".to_owned(), true));
        let (text, is_good) =
            run(quiet_cargo, &format!("{good}; echo 'error: could not compile' >&2; exit 101"));
        assert_eq!((text.lines().last(), is_good), (Some("1 passed, 1 failed"), false), "{text}");
        assert!(!run(quiet_cargo, "exit 0").1);
    }

    #[test]
    fn a_stage_that_was_not_run_or_cannot_start_is_a_failure() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let names = ["a".to_owned()];
        assert!(!summary(folder.path(), &names).1);
        for kind in [quiet_stage as Stage, quiet_cargo] {
            write_file(&file_of(folder.path(), "a"), &[Verdict::new(Outcome::Passed, "stale", "")])
                .expect("a file");
            let _ = kind(folder.path(), "a", &["/nowhere/to/be/found".to_owned()]);
            assert!(!summary(folder.path(), &names).1);
        }
    }
}
