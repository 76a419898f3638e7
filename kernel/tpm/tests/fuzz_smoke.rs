//! A short run of the fuzz target `tpm_execute` without a fuzzer: the seeds as they were recorded, and bent.

#[allow(dead_code, reason = "the choices have readers that only other targets use")]
mod fuzzing;

use fuzzing::seeds::{self, Seed};
use fuzzing::{Outcome, run};

/// How many bent copies of each seed are run.
const COPIES: u64 = 2;

/// Knuth's linear congruential generator, so that a failure comes back in the next run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

/// A few bytes changed, and sometimes a piece of the sequence left out or said twice.
fn bent(seed: &Seed, random: &mut Random) -> Vec<u8> {
    let mut bytes = seed.bytes.clone();
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len());
        bytes[at] = u8::try_from(random.below(256)).unwrap();
    }
    let (from, count) = (random.below(bytes.len()), random.below(64));
    let piece = from..(from + count).min(bytes.len());
    match random.below(4) {
        0 => drop(bytes.drain(piece)),
        1 => {
            let copy = bytes[piece].to_vec();
            bytes.splice(from..from, copy).for_each(drop);
        }
        _ => {}
    }
    bytes
}

#[test]
fn recorded_sequences_mean_here_what_they_meant_when_they_were_recorded() {
    let mut sum = Outcome::default();
    for seed in seeds::all() {
        let outcome = run(&seed.bytes);
        sum.commands += outcome.commands;
        sum.successes += outcome.successes;
    }
    println!("{sum:?}");
    // The rest are refusals that the cases ask for. Were keys, nonces or contexts others, far more would be refused.
    assert!(sum.successes * 10 > sum.commands * 8, "{sum:?}");
}

#[test]
fn sequences_and_bent_ones_answer_as_they_were_recorded() {
    let mut lines = String::new();
    for (number, seed) in (0..).zip(seeds::all()) {
        lines += &format!("{} {:08x}", seed.name, run(&seed.bytes).digest);
        for copy in 0..COPIES {
            let outcome = run(&bent(&seed, &mut Random(number * COPIES + copy)));
            lines += &format!(" {:08x}", outcome.digest);
        }
        lines += "\n";
    }
    if let Some(path) = std::env::var_os("VOUCHSAFE_RECORD") {
        std::fs::write(path, &lines).expect("the golden file is written");
    }
    let golden = include_str!("fuzzing/answers.txt");
    let differing: Vec<&str> =
        lines.lines().filter(|line| !golden.lines().any(|golden| golden == *line)).collect();
    assert!(
        differing.is_empty(),
        "VOUCHSAFE_RECORD=$PWD/tests/fuzzing/answers.txt writes anew: {differing:#?}"
    );
}
