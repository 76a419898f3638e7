//! The files in which the stages of a test run leave their verdicts.

use end_to_end::verdict::{Outcome, Verdict};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where the results of the stage `name` are.
pub fn file_of(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.tsv"))
}

/// The absolute path of a stage's file, with what an earlier run left removed.
pub fn fresh_file(folder: &Path, name: &str) -> io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let path = file_of(&folder.canonicalize()?, name);
    if path.exists() {
        fs::remove_file(&path)?;
    }
    Ok(path)
}

/// Writes a stage's file: a line for each verdict.
pub fn write_file(path: &Path, verdicts: &[Verdict]) -> io::Result<()> {
    fs::write(path, verdicts.iter().map(Verdict::line).collect::<String>())
}

/// Reads a stage's file. What is wrong with the file becomes a failed verdict.
pub fn read_file(path: &Path, name: &str) -> Vec<Verdict> {
    let text = match fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => return vec![Verdict::new(Outcome::Failed, name, format!("left no results: {error}"))],
    };
    let read = |(index, line)| {
        let fault =
            || Verdict::new(Outcome::Failed, name, format!("line {} of its results is malformed", index + 1));
        Verdict::parse(line).unwrap_or_else(fault)
    };
    let verdicts: Vec<Verdict> = text.lines().enumerate().map(read).collect();
    if verdicts.is_empty() { vec![Verdict::new(Outcome::Failed, name, "left no results")] } else { verdicts }
}
