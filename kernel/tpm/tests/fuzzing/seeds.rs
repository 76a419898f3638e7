//! Sequences that other people's software sent, as `tests/fuzz/seeds/tpm_execute.txt` has them.
//!
//! A sequence begins with `case NAME`. Each further line is a step: a locality and a command in hexadecimal, or what happened to
//! the machine. `tests/fuzz/seeds/seeds.py` makes the same bytes of them for the fuzzer.

use super::step;

/// A sequence: its name and the bytes that make the harness run it.
#[derive(Debug, Clone)]
pub struct Seed {
    pub name: &'static str,
    pub bytes: Vec<u8>,
}

/// All of them.
///
/// # Panics
/// The file is broken.
pub fn all() -> Vec<Seed> {
    let text = include_str!("../../../../tests/fuzz/seeds/tpm_execute.txt");
    let mut seeds: Vec<Seed> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix("case ") {
            seeds.push(Seed { name, bytes: Vec::new() });
            continue;
        }
        let seed = seeds.last_mut().expect("the file begins with a case");
        match line {
            "reset" => seed.bytes.push(step::POWER_ON),
            "hash start" => seed.bytes.push(step::HASH_START),
            "hash end" => seed.bytes.push(step::HASH_END),
            _ => seed.bytes.extend(command(line)),
        }
    }
    seeds
}

fn command(line: &str) -> Vec<u8> {
    let (locality, digits) = line.split_once(' ').expect("a locality and a command");
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal digits");
    let command: Vec<u8> = (0..digits.len()).step_by(2).map(byte).collect();
    let count = u16::try_from(command.len()).expect("commands are short");
    let mut bytes = vec![step::COMMAND, locality.parse().expect("a locality is a number")];
    bytes.extend(count.to_be_bytes());
    bytes.extend(command);
    bytes
}
