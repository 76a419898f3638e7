//! `figures`: writes the README's table of figures from what `make bench` measured; `make figures` runs it.
//!
//! The table stands between two comments. The first names a digest of the sources that decide the figures, so that
//! `figures --check` (in `make check`) can say without measuring whether they are older than the tree.
#![forbid(unsafe_code)]

use clap::Parser;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

const BEGIN: &str = "<!-- figures of the sources ";
const END: &str = "<!-- end of figures -->";
/// What decides them.
const SOURCES: &[&str] = &[
    "kernel",
    "stage2",
    "igvm/src",
    "tests/guest_payload",
    "tests/differential/src/bench",
    "rust-toolchain.toml",
];

/// The rows: a figure's name, and what is said about it.
const ROWS: &[(&str, &str)] = &[
    ("boot_instructions", ""),
    ("boot_instructions_4cpu", ""),
    ("svsm_null_call_instructions", ""),
    ("svsm_pvalidate_4k_instructions", ""),
    ("svsm_pvalidate_2m_instructions", ""),
    ("image_bytes", ""),
    ("measured_pages", ""),
    ("stage2_bytes", ""),
    ("kernel_text_bytes", ""),
    ("kernel_heap_peak_bytes", ""),
    ("emulated_boot_seconds", ""),
    ("boot_instructions_with_vtpm", ""),
    ("image_bytes_with_vtpm", ""),
    ("measured_pages_with_vtpm", ""),
    ("vtpm_null_command_instructions", " (GetCapability)"),
    ("vtpm_pcr_extend_instructions", ""),
    ("vtpm_quote_p256_instructions", ""),
    ("vtpm_ek_rsa2048_instructions", " (mean of 8 keys)"),
    ("attest_report_instructions", ""),
    ("tpm_ratio_geometric_mean", " (against swtpm, both on one core; without RSA private operations)"),
    ("tpm_ratio_nv_write", ""),
    ("tpm_ratio_create_rsa2048", ""),
    ("tpm_ratio_create_primary_rsa2048", ""),
    ("linux_boot_seconds_ratio", " (against plain QEMU, on an idle machine)"),
    ("validate_gib_instructions", ""),
];

/// Writes the README's figures from what `make bench` measured.
#[derive(Parser)]
struct Arguments {
    /// Say only whether the README's figures are older than the tree
    #[arg(long)]
    check: bool,
    /// What `make bench` left
    #[arg(long, default_value = "target/results/bench.jsonl")]
    bench: PathBuf,
    /// The file with the table
    #[arg(long, default_value = "README.md")]
    readme: PathBuf,
}

/// A figure's value and limit.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Figure {
    value: f64,
    limit: Option<f64>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = if arguments.check { check(&arguments) } else { write(&arguments) };
    done.map_or_else(
        |error| {
            eprintln!("figures: {error}");
            ExitCode::from(2)
        },
        |()| ExitCode::SUCCESS,
    )
}

fn check(arguments: &Arguments) -> Result<(), String> {
    let readme = read(&arguments.readme)?;
    let (digest, ..) = table_of(&readme)?;
    if digest != sources_digest()? {
        println!(
            "figures: the README's figures are older than the sources that they measure; \
             `make bench` and `make figures` renew them"
        );
    }
    Ok(())
}

fn write(arguments: &Arguments) -> Result<(), String> {
    let figures =
        parse(&read(&arguments.bench).map_err(|error| format!("{error}; run `make bench` first"))?)?;
    let readme = read(&arguments.readme)?;
    let (_, before, after) = table_of(&readme)?;
    let text = format!("{before}{BEGIN}{} -->\n{}{END}{after}", sources_digest()?, table(&figures)?);
    fs::write(&arguments.readme, text).map_err(|error| format!("{}: {error}", arguments.readme.display()))?;
    let missed = ROWS.iter().filter(|(name, _)| figures.get(*name).is_some_and(|figure| !is_within(figure)));
    missed.for_each(|(name, _)| println!("figures: {name} misses its limit, and the table says so"));
    Ok(())
}

fn read(path: &PathBuf) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// The digest in the README, what stands before the table, and what stands behind it.
fn table_of(readme: &str) -> Result<(&str, &str, &str), String> {
    let marked = readme.split_once(BEGIN).and_then(|(before, rest)| {
        let (digest, rest) = rest.split_once(" -->")?;
        Some((digest, before, rest.split_once(END)?.1))
    });
    marked.ok_or_else(|| format!("the README has no table between '{BEGIN}... -->' and '{END}'"))
}

/// Of names and contents, as git has them in its index.
fn sources_digest() -> Result<String, String> {
    let output = Command::new("git").args(["ls-files", "--stage", "--"]).args(SOURCES).output();
    let output = output.map_err(|error| format!("git: {error}"))?;
    if !output.status.success() {
        return Err(format!("git: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let digest = Sha256::digest(&output.stdout);
    Ok(digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}

fn parse(lines: &str) -> Result<BTreeMap<String, Figure>, String> {
    let parse = |(index, line): (usize, &str)| {
        let value: Value = serde_json::from_str(line).ok()?;
        let name = value.get("name")?.as_str()?.to_owned();
        let limit = value.get("limit").and_then(Value::as_f64);
        Some((name, Figure { value: value.get("value")?.as_f64()?, limit })).ok_or(index).ok()
    };
    lines
        .lines()
        .enumerate()
        .map(|(index, line)| {
            parse((index, line)).ok_or_else(|| format!("line {} is no figure: {line}", index + 1))
        })
        .collect()
}

fn is_within(figure: &Figure) -> bool {
    figure.limit.is_none_or(|limit| figure.value <= limit)
}

fn table(figures: &BTreeMap<String, Figure>) -> Result<String, String> {
    let mut text = "| figure | value | limit |\n|---|---|---|\n".to_owned();
    for (name, note) in ROWS {
        let figure = figures.get(*name).ok_or_else(|| format!("`make bench` measured no {name}"))?;
        let limit = figure.limit.map_or_else(|| "–".to_owned(), number);
        let missed = if is_within(figure) { "" } else { ", missed" };
        text.push_str(&format!("| `{name}`{note} | {}{missed} | {limit} |\n", number(figure.value)));
    }
    Ok(text)
}

/// Whole numbers with commas, others with two digits.
fn number(value: f64) -> String {
    if value.fract() != 0.0 || value < 10.0 && value != value.trunc() {
        return format!("{value:.2}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_commas_or_two_digits() {
        assert_eq!(number(250_758.0), "250,758");
        assert_eq!(number(921.0), "921");
        assert_eq!(number(1_511_936.0), "1,511,936");
        assert_eq!(number(0.376), "0.38");
    }

    #[test]
    fn a_table_names_what_misses_its_limit_and_wants_every_figure() {
        let mut figures: BTreeMap<String, Figure> =
            ROWS.iter().map(|(name, _)| ((*name).to_owned(), Figure { value: 1.0, limit: None })).collect();
        figures.insert("image_bytes".to_owned(), Figure { value: 1_100_000.0, limit: Some(1_048_576.0) });
        let text = table(&figures).unwrap();
        assert!(text.contains("| `image_bytes` | 1,100,000, missed | 1,048,576 |\n"), "{text}");
        figures.remove("measured_pages");
        assert_eq!(table(&figures), Err("`make bench` measured no measured_pages".to_owned()));
    }

    #[test]
    fn lines_of_make_bench_are_read_and_others_are_not() {
        let line = r#"{"name":"a","value":3,"unit":"bytes","limit":5}"#;
        let figures = parse(line).unwrap();
        assert_eq!(figures.get("a"), Some(&Figure { value: 3.0, limit: Some(5.0) }));
        assert!(parse("a 3").is_err());
    }

    #[test]
    fn the_readme_has_a_table_to_replace() {
        let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
        let text = fs::read_to_string(readme).unwrap();
        let (digest, before, after) = table_of(&text).unwrap();
        assert!(digest.len() == 16 && before.contains("## Figures") && after.contains("## What is where"));
    }
}
