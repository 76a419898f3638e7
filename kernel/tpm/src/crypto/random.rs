//! Random bits: HMAC_DRBG of SP 800-90A over SHA-256, reseeded from the platform or fixed by a seed.
//!
//! Primary keys come from a [`Drbg`] that was seeded with the hierarchy's seed and the template
//! ([`Drbg::for_primary`]); derived objects from a [`DerivationRandom`]. Both are functions of their inputs alone, and
//! the key generators that draw from them change nothing else: the same seed and template give the same key for ever.

use alloc::vec::Vec;

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::hash::{HashAlgorithm, hash};
use super::hmac::Hmac;
use super::kdf::SecretBytes;

/// A source of bits that keys may be made of.
pub trait Random {
    /// Fills `bytes`.
    fn fill(&mut self, bytes: &mut [u8]);
}

const HASH: HashAlgorithm = HashAlgorithm::Sha256;
const STATE_BYTES: usize = 32;
/// `max_number_of_bits_per_request` of SP 800-90A, table 2, in bytes.
const REQUEST_BYTES: usize = 1 << 16;
/// The size of an exported state: key, value, counter.
const EXPORT_BYTES: usize = 72;

/// How many bytes of entropy a fresh generator takes: 256 bits of strength, and the nonce of half as many.
pub const INSTANTIATE_BYTES: usize = 48;
/// How many bytes of entropy a reseed takes.
pub const RESEED_BYTES: usize = 32;
/// After so many requests the engine reseeds; SP 800-90A would allow 2^48.
pub const REQUESTS_UNTIL_RESEED: u64 = 1 << 12;

/// HMAC_DRBG with SHA-256 (SP 800-90A, section 10.1.2), security strength 256.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Drbg {
    key: [u8; STATE_BYTES],
    value: [u8; STATE_BYTES],
    requests: u64,
}

impl Drbg {
    /// HMAC_DRBG_Instantiate. `entropy` includes the nonce: at least [`INSTANTIATE_BYTES`] of full entropy, except where
    /// a secret seed makes a generator repeatable on purpose.
    pub fn instantiate(entropy: &[u8], personalization: &[u8]) -> Self {
        let mut drbg = Self { key: [0; STATE_BYTES], value: [1; STATE_BYTES], requests: 1 };
        drbg.change(&[entropy, personalization]);
        drbg
    }

    /// The generator behind a primary key: the hierarchy's seed, what the seed is used for, the name of the template, and
    /// the caller's `sensitive.data` (Part 3, TPM2_CreatePrimary). Lengths keep the four parts apart.
    pub fn for_primary(seed: &[u8], purpose: &[u8], template_name: &[u8], caller_data: &[u8]) -> Self {
        let length = |part: &[u8]| u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes();
        let personalization = hash(
            HashAlgorithm::Sha512,
            &[
                &length(purpose),
                purpose,
                &length(template_name),
                template_name,
                &length(caller_data),
                caller_data,
            ],
        );
        Self::instantiate(seed, &personalization)
    }

    /// HMAC_DRBG_Reseed, with at least [`RESEED_BYTES`] of fresh entropy; `additional` may be anything.
    pub fn reseed(&mut self, entropy: &[u8], additional: &[u8]) {
        self.change(&[entropy, additional]);
        self.requests = 1;
    }

    /// HMAC_DRBG_Generate. One request for each 64 KiB.
    pub fn generate(&mut self, bytes: &mut [u8], additional: &[u8]) {
        for request in bytes.chunks_mut(REQUEST_BYTES) {
            if !additional.is_empty() {
                self.change(&[additional]);
            }
            let keyed = Hmac::new(HASH, &self.key);
            for block in request.chunks_mut(STATE_BYTES) {
                self.value = digest_of(keyed.clone(), &[&self.value]);
                for (to, from) in block.iter_mut().zip(&self.value) {
                    *to = *from;
                }
            }
            self.change(&[additional]);
            self.requests = self.requests.saturating_add(1);
        }
    }

    /// Whether so many requests were served that the engine ought to reseed.
    pub fn is_due_for_reseed(&self) -> bool {
        self.requests > REQUESTS_UNTIL_RESEED
    }

    /// The state, as secret as everything that the generator will ever give.
    pub fn export_state(&self) -> SecretBytes {
        let mut state = Zeroizing::new(Vec::with_capacity(EXPORT_BYTES));
        state.extend_from_slice(&self.key);
        state.extend_from_slice(&self.value);
        state.extend_from_slice(&self.requests.to_be_bytes());
        state
    }

    /// The generator whose state was exported.
    pub fn import_state(state: &[u8]) -> Option<Self> {
        let (key, rest) = state.split_first_chunk()?;
        let (value, rest) = rest.split_first_chunk()?;
        let requests = u64::from_be_bytes(rest.try_into().ok()?);
        Some(Self { key: *key, value: *value, requests })
    }

    /// HMAC_DRBG_Update with the concatenation of `parts` as provided data.
    fn change(&mut self, parts: &[&[u8]]) {
        for round in [0_u8, 1] {
            let mut keyed = Hmac::new(HASH, &self.key);
            keyed.update(&self.value);
            self.key = digest_of(keyed, &[&[&[round][..]], parts].concat());
            self.value = digest_of(Hmac::new(HASH, &self.key), &[&self.value]);
            if parts.iter().all(|part| part.is_empty()) {
                break;
            }
        }
    }
}

impl Random for Drbg {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.generate(bytes, &[]);
    }
}

impl core::fmt::Debug for Drbg {
    /// Prints no state.
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str("Drbg")
    }
}

fn digest_of(mut keyed: Hmac, parts: &[&[u8]]) -> [u8; STATE_BYTES] {
    for part in parts {
        keyed.update(part);
    }
    let mut bytes = [0; STATE_BYTES];
    for (to, from) in bytes.iter_mut().zip(keyed.finish().as_bytes()) {
        *to = *from;
    }
    bytes
}

/// The bits of a derived object: one endless KDFa output over a parent's seed, label and context (Part 1, "Derivation
/// Parameters"; Part 3, TPM2_CreateLoaded).
#[derive(Clone)]
pub struct DerivationRandom {
    keyed: Hmac,
    label: SecretBytes,
    context: SecretBytes,
    bits: u32,
    counter: u32,
    residue: SecretBytes,
}

impl DerivationRandom {
    /// Starts at the first block. `bits` is the size that the derived key asks for: every block authenticates it.
    pub fn new(algorithm: HashAlgorithm, seed: &[u8], label: &[u8], context: &[u8], bits: u32) -> Self {
        Self {
            keyed: Hmac::new(algorithm, seed),
            label: Zeroizing::new(label.to_vec()),
            context: Zeroizing::new(context.to_vec()),
            bits,
            counter: 0,
            residue: Zeroizing::new(Vec::new()),
        }
    }

    fn next_block(&mut self) {
        self.counter = self.counter.wrapping_add(1);
        let mut keyed = self.keyed.clone();
        keyed.update(&self.counter.to_be_bytes());
        keyed.update(&self.label);
        if self.label.last() != Some(&0) {
            keyed.update(&[0]);
        }
        keyed.update(&self.context);
        keyed.update(&self.bits.to_be_bytes());
        self.residue = Zeroizing::new(keyed.finish().iter().rev().copied().collect());
    }
}

impl Random for DerivationRandom {
    fn fill(&mut self, bytes: &mut [u8]) {
        for to in bytes {
            if self.residue.is_empty() {
                self.next_block();
            }
            // The residue is kept back to front, so that taking its first byte is a pop.
            if let Some(from) = self.residue.pop() {
                *to = from;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::kdf::kdfa;
    use super::*;
    use hex_literal::hex;

    /// NIST CAVP, drbgvectors_no_reseed, HMAC_DRBG: SHA-256, no personalization, count 0. The vectors show the second
    /// request.
    #[test]
    fn requests_give_what_nist_published() {
        let mut drbg = Drbg::instantiate(
            &hex!(
                "ca851911349384bffe89de1cbdc46e6831e44d34a4fb935ee285dd14b71a7488659ba96c601dc69fc902940805ec0ca8"
            ),
            &[],
        );
        let mut bits = [0; 128];
        drbg.fill(&mut bits);
        drbg.fill(&mut bits);
        assert_eq!(
            bits,
            hex!(
                "e528e9abf2dece54d47c7e75e5fe302149f817ea9fb4bee6f4199697d04d5b89d54fbb978a15b5c443c9ec21036d2460b6f73ebad0dc2aba6e624abf07745bc107694bb7547bb0995f70de25d6b29e2d3011bb19d27676c07162c8b5ccde0668961df86803482cb37ed6d5c0bb8d50cf1f50d476aa0458bdaba806f48be9dcb8"
            )
        );
    }

    /// NIST CAVP, drbgvectors_pr_false, HMAC_DRBG: SHA-256, count 0: reseeded once, then two requests.
    #[test]
    fn reseeding_gives_what_nist_published() {
        let mut drbg = Drbg::instantiate(
            &hex!(
                "06032cd5eed33f39265f49ecb142c511da9aff2af71203bffaf34a9ca5bd9c0d0e66f71edc43e42a45ad3c6fc6cdc4df"
            ),
            &[],
        );
        drbg.reseed(&hex!("01920a4e669ed3a85ae8a33b35a74ad7fb2a6bb4cf395ce00334a9c9a5a5d552"), &[]);
        let mut bits = [0; 128];
        drbg.fill(&mut bits);
        drbg.fill(&mut bits);
        assert_eq!(
            bits,
            hex!(
                "76fc79fe9b50beccc991a11b5635783a83536add03c157fb30645e611c2898bb2b1bc215000209208cd506cb28da2a51bdb03826aaf2bd2335d576d519160842e7158ad0949d1a9ec3e66ea1b1a064b005de914eac2e9d4f2d72a8616a80225422918250ff66a41bd2f864a6a38cc5b6499dc43f7f2bd09e1e0f8f5885935124"
            )
        );
    }

    #[test]
    fn additional_input_changes_what_comes() {
        let bits = |additional: &[u8]| {
            let mut bits = [0; 16];
            Drbg::instantiate(&[7; INSTANTIATE_BYTES], b"").generate(&mut bits, additional);
            bits
        };
        assert_ne!(bits(b""), bits(b"stirred"));
    }

    #[test]
    fn an_exported_generator_goes_on_where_it_was() {
        let mut drbg = Drbg::instantiate(&[7; INSTANTIATE_BYTES], b"personal");
        let mut revived = Drbg::import_state(&drbg.export_state()).unwrap();
        let (mut left, mut right) = ([0; 40], [0; 40]);
        drbg.fill(&mut left);
        revived.fill(&mut right);
        assert_eq!(left, right);
        assert!(Drbg::import_state(&drbg.export_state()[1..]).is_none());
    }

    #[test]
    fn a_generator_asks_for_reseeding_and_stops_asking_once_reseeded() {
        let mut drbg = Drbg::instantiate(&[7; INSTANTIATE_BYTES], b"");
        for _ in 0..REQUESTS_UNTIL_RESEED {
            assert!(!drbg.is_due_for_reseed());
            drbg.fill(&mut [0]);
        }
        assert!(drbg.is_due_for_reseed());
        drbg.reseed(&[8; RESEED_BYTES], b"");
        assert!(!drbg.is_due_for_reseed());
    }

    #[test]
    fn parts_of_a_primary_seed_do_not_run_together() {
        let first = |purpose: &[u8], name: &[u8], data: &[u8]| {
            let mut bits = [0; 32];
            Drbg::for_primary(&[1; 64], purpose, name, data).fill(&mut bits);
            bits
        };
        assert_ne!(first(b"ab", b"c", b""), first(b"a", b"bc", b""));
        assert_ne!(first(b"a", b"b", b"c"), first(b"a", b"bc", b""));
    }

    #[test]
    fn derivation_is_one_kdfa_output_however_it_is_taken() {
        let expected = kdfa(HashAlgorithm::Sha256, b"seed", b"label", b"context", b"", 512);
        let mut random = DerivationRandom::new(HashAlgorithm::Sha256, b"seed", b"label", b"context", 512);
        let mut bits = [0; 64];
        let (head, tail) = bits.split_at_mut(5);
        random.fill(head);
        random.fill(tail);
        assert_eq!(bits, expected.as_slice());
    }
}
