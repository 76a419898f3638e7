//! Load on all CPUs: arithmetic and memory whose result is known.

use crate::checks::Result;
use rustix::thread::{CpuSet, sched_setaffinity};
use std::time::{Duration, Instant};

/// Part of the free memory that the load fills.
const MEMORY_SHARE: u64 = 3;
const WORD_BYTES: u64 = 8;
const MOST_WORDS: u64 = 32 << 17;

/// Runs for some seconds on every CPU; each writes memory and finds it again.
pub fn run(seconds: u64) -> Result {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let words = (free_bytes()? / MEMORY_SHARE / WORD_BYTES / cpus as u64).min(MOST_WORDS);
    let end = Instant::now() + Duration::from_secs(seconds);
    let rounds = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..cpus).map(|cpu| scope.spawn(move || until(end, cpu, words as usize))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err("a thread died".to_owned())))
            .collect::<std::result::Result<Vec<u64>, String>>()
    })?;
    if rounds.contains(&0) {
        return Err(format!("a CPU did not finish one round in {seconds} s: {rounds:?}"));
    }
    Ok(format!("rounds {rounds:?} of {words} words on each of {cpus} CPUs"))
}

/// One short round on one CPU.
pub fn work_on(cpu: usize) -> std::result::Result<(), String> {
    std::thread::spawn(move || until(Instant::now(), cpu, 1 << 16))
        .join()
        .unwrap_or_else(|_| Err("a thread died".to_owned()))
        .map(|_| ())
}

fn free_bytes() -> std::result::Result<u64, String> {
    let text = crate::checks::read("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:")).unwrap_or_default();
    let kibibytes = line.trim().trim_end_matches(" kB").parse::<u64>();
    kibibytes.map(|kibibytes| kibibytes * 1024).map_err(|error| format!("MemAvailable {line}: {error}"))
}

/// At least one round, and more until the end; returns how many.
fn until(end: Instant, cpu: usize, words: usize) -> std::result::Result<u64, String> {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).map_err(|error| format!("CPU {cpu}: {error}"))?;
    let mut memory = vec![0u64; words];
    let mut rounds = 0;
    loop {
        round(&mut memory, cpu as u64 + rounds)?;
        rounds += 1;
        if Instant::now() >= end {
            return Ok(rounds);
        }
    }
}

/// Fills memory with a sequence, then takes it away again.
fn round(memory: &mut [u64], seed: u64) -> std::result::Result<(), String> {
    fill(memory, seed);
    take_away(memory, seed)
}

/// The first access to each page writes: after a read the kernel would have to take the zero page away from all CPUs,
/// thousands of times.
fn fill(memory: &mut [u64], seed: u64) {
    let mut value = seed;
    for word in memory.iter_mut() {
        value = next(value);
        *word = value;
    }
}

/// What is left must be zero.
fn take_away(memory: &mut [u64], seed: u64) -> std::result::Result<(), String> {
    let mut value = seed;
    for (index, word) in memory.iter_mut().enumerate() {
        value = next(value);
        *word ^= value;
        if *word != 0 {
            return Err(format!("word {index} of round {seed} differs by {word:#x}"));
        }
    }
    Ok(())
}

/// A linear congruential generator (Knuth's MMIX constants).
fn next(value: u64) -> u64 {
    value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_leaves_zeros_and_a_changed_word_is_noticed() {
        let mut memory = vec![1; 100];
        assert_eq!(round(&mut memory, 7), Ok(()));
        assert!(memory.iter().all(|word| *word == 0));
        fill(&mut memory, 7);
        memory[33] ^= 1 << 60;
        assert!(take_away(&mut memory, 7).is_err());
    }
}
