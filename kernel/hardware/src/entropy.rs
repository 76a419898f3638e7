//! Entropy of the processor: RDSEED and RDRAND, each health-checked, combined.
//!
//! Each word is a word of RDSEED plus one of RDRAND, so that a defect of one leaves the other. Both sources pass a
//! repetition count test for every word (NIST SP 800-90B, 4.4.1: with 64-bit words of full entropy, one repetition is a failure
//! at a false alarm rate of 2^-64), and neither may give the patterns that broken microcode gave.

use crate::cpuid;
use core::arch::asm;
use core::hint::spin_loop;

/// CPUID leaf 1 ECX: RDRAND; leaf 7 EBX: RDSEED.
const HAS_RDRAND: u32 = 1 << 30;
const HAS_RDSEED: u32 = 1 << 18;
/// Attempts until a source has a word. RDSEED may run dry while other vCPUs use it.
const ATTEMPTS: usize = 10_000;
/// Words that are drawn and thrown away at the start, for the test to see.
const START_UP_WORDS: usize = 16;

/// The processor's entropy is missing or unhealthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntropyFailure;

/// The processor's generators, with what the health test remembers.
#[derive(Debug)]
pub struct Entropy {
    last_seed: u64,
    last_random: u64,
}

fn rdseed() -> Option<u64> {
    let (word, done): (u64, u8);
    // SAFETY: RDSEED writes one register and the flags; `new` checked that the processor has it.
    unsafe { asm!("rdseed {}", "setc {}", out(reg) word, out(reg_byte) done, options(nomem, nostack)) };
    (done != 0).then_some(word)
}

fn rdrand() -> Option<u64> {
    let (word, done): (u64, u8);
    // SAFETY: RDRAND writes one register and the flags; `new` checked that the processor has it.
    unsafe { asm!("rdrand {}", "setc {}", out(reg) word, out(reg_byte) done, options(nomem, nostack)) };
    (done != 0).then_some(word)
}

/// A word that passes the tests.
fn healthy(source: fn() -> Option<u64>, last: &mut u64) -> Result<u64, EntropyFailure> {
    let word = (0..ATTEMPTS).find_map(|_| {
        let word = source();
        if word.is_none() {
            spin_loop();
        }
        word
    });
    match word {
        Some(0 | u64::MAX) | None => Err(EntropyFailure),
        Some(word) if word == *last => Err(EntropyFailure),
        Some(word) => {
            *last = word;
            Ok(word)
        }
    }
}

impl Entropy {
    /// Tests both generators.
    pub fn new() -> Result<Self, EntropyFailure> {
        let present = cpuid::query(1, 0).ecx & HAS_RDRAND != 0 && cpuid::query(7, 0).ebx & HAS_RDSEED != 0;
        if !present {
            return Err(EntropyFailure);
        }
        let mut entropy = Self { last_seed: 0, last_random: 0 };
        for _ in 0..START_UP_WORDS {
            entropy.word()?;
        }
        Ok(entropy)
    }

    fn word(&mut self) -> Result<u64, EntropyFailure> {
        let seed = healthy(rdseed, &mut self.last_seed)?;
        let random = healthy(rdrand, &mut self.last_random)?;
        Ok(seed ^ random)
    }

    /// Fills with entropy; after a failure the bytes are not to be used.
    pub fn fill(&mut self, bytes: &mut [u8]) -> Result<(), EntropyFailure> {
        for part in bytes.chunks_mut(size_of::<u64>()) {
            for (place, byte) in part.iter_mut().zip(self.word()?.to_le_bytes()) {
                *place = byte;
            }
        }
        Ok(())
    }
}
