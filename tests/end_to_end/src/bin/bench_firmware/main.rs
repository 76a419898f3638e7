//! `bench_firmware`: prints the firmware's figures, a JSON object a line; `end_to_end::figures` says how they are measured.
//!
//! `limit` is the most that a figure may be. Exit status: 0 when all are within their limits, 1 when one is not, 2 when
//! they cannot be measured.
#![forbid(unsafe_code)]

use end_to_end::built::Built;
use end_to_end::figures::{self, Figure};
use serde_json::json;
use std::io;
use std::process::ExitCode;

fn main() -> ExitCode {
    match measure() {
        Ok(figures) => {
            figures.iter().for_each(print);
            let missed: Vec<&Figure> = figures.iter().filter(|figure| !figure.is_within_limit()).collect();
            missed.iter().for_each(|figure| eprintln!("bench_firmware: {} is above its limit", figure.name));
            ExitCode::from(u8::from(!missed.is_empty()))
        }
        Err(error) => {
            eprintln!("bench_firmware: {error}");
            ExitCode::from(2)
        }
    }
}

fn measure() -> io::Result<Vec<Figure>> {
    let built = Built::beside_this_program()?;
    let logs = built.logs("bench")?;
    figures::measure(&built, &logs)
}

fn print(figure: &Figure) {
    let Figure { name, value, unit, limit } = figure;
    println!(
        "{}",
        json!({ "name": name, "value": rounded(*value), "unit": unit, "limit": limit.map(rounded) })
    );
}

/// Whole numbers as such, others with two digits.
fn rounded(value: f64) -> serde_json::Value {
    if value.fract() == 0.0 { json!(value as u64) } else { json!((value * 100.0).round() / 100.0) }
}
