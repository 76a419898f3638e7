//! SHAKE256 (FIPS 202) with a running state that can leave and come back.
//!
//! The sponge is ours, over the permutation of the `keccak` crate: a saved context of a signature sequence holds the state of
//! a hash that is not finished, and no crate's SHAKE lets its state out.

use alloc::vec::Vec;

use keccak::Keccak;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Bytes that go in between two permutations.
const RATE: usize = 136;
const WORDS: usize = 25;
const WORD_BYTES: usize = 8;
/// The size of an exported state: the sponge, and how much of the rate is used.
const EXPORT_BYTES: usize = WORDS * WORD_BYTES + 1;
/// FIPS 202, section 6.2: the bits 1111 that make SHAKE of the sponge, and the first bit of the padding.
const SUFFIX: u8 = 0x1f;

/// A hash under way.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Shake256 {
    sponge: [u64; WORDS],
    used: usize,
}

impl Shake256 {
    /// Starts a hash.
    pub fn new() -> Self {
        Self { sponge: [0; WORDS], used: 0 }
    }

    /// Absorbs more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.add(self.used, *byte);
            self.used = self.used.wrapping_add(1);
            if self.used == RATE {
                self.permute();
                self.used = 0;
            }
        }
    }

    /// Ends the hash; no more than the rate comes out.
    pub fn finish(mut self) -> [u8; 64] {
        self.add(self.used, SUFFIX);
        self.add(RATE.wrapping_sub(1), 0x80);
        self.permute();
        let mut digest = [0; 64];
        for (to, word) in digest.as_chunks_mut().0.iter_mut().zip(&self.sponge) {
            *to = word.to_le_bytes();
        }
        digest
    }

    /// The running state.
    pub fn export_state(&self) -> Zeroizing<Vec<u8>> {
        let mut state = Zeroizing::new(Vec::with_capacity(EXPORT_BYTES));
        self.sponge.iter().for_each(|word| state.extend_from_slice(&word.to_le_bytes()));
        state.push(u8::try_from(self.used).unwrap_or(u8::MAX));
        state
    }

    /// The hash whose state was exported, or `None` when `state` is none.
    pub fn import_state(state: &[u8]) -> Option<Self> {
        let (words, rest) = state.as_chunks();
        let [used] = rest else { return None };
        let mut shake = Self { sponge: [0; WORDS], used: usize::from(*used) };
        let fits = words.len() == WORDS && shake.used < RATE;
        shake.sponge.iter_mut().zip(words).for_each(|(to, from)| *to = u64::from_le_bytes(*from));
        fits.then_some(shake)
    }

    fn add(&mut self, place: usize, byte: u8) {
        if let Some(word) = self.sponge.get_mut(place >> 3) {
            *word ^= u64::from(byte).wrapping_shl(u32::try_from((place & 7) << 3).unwrap_or_default());
        }
    }

    fn permute(&mut self) {
        Keccak::new().with_f1600(|permutation| permutation(&mut self.sponge));
    }
}

impl Default for Shake256 {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for Shake256 {
    /// Prints no state.
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str("Shake256")
    }
}

/// The first 64 bytes of the hash of `parts`, one after the other.
pub fn shake256(parts: &[&[u8]]) -> [u8; 64] {
    let mut shake = Shake256::new();
    parts.iter().for_each(|part| shake.update(part));
    shake.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;

    /// NIST, FIPS 202 example values: SHAKE256 of nothing, and of 1,600 bits of a3.
    #[test]
    fn digests_are_those_that_nist_published() {
        let digest = hex!(
            "46b9dd2b0ba88d13233b3feb743eeb243fcd52ea62b81b82b50c27646ed5762fd75dc4ddd8c0f200cb05019d67b592f6fc821c49479ab48640292eacb3b7c4be"
        );
        assert_eq!(shake256(&[]), digest);
        let digest = hex!(
            "cd8a920ed141aa0407a22d59288652e9d9f1a7ee0c1e7c1ca699424da84a904d2d700caae7396ece96604440577da4f3aa22aeb8857f961c4cd8e06f0ae6610b"
        );
        assert_eq!(shake256(&[&[0xa3; 200]]), digest);
    }

    #[test]
    fn a_running_state_survives_export_and_a_wrong_one_is_refused() {
        for length in [0, 1, 135, 136, 137, 300] {
            let mut shake = Shake256::new();
            shake.update(&[7; 300][..length]);
            let state = shake.export_state();
            let mut revived = Shake256::import_state(&state).unwrap();
            revived.update(b"more");
            assert_eq!(revived.finish(), shake256(&[&[7; 300][..length], b"more"]));
            assert!(Shake256::import_state(&state[1..]).is_none());
        }
        assert!(Shake256::import_state(&[0xff; EXPORT_BYTES]).is_none());
    }
}
