//! The hash algorithms of the engine, with running states that can leave and come back.
//!
//! Saved sequence contexts (TPM 2.0 Part 1, "Context Management") hold the state of a hash that is not finished;
//! hence [`Hasher::export_state`].

use alloc::vec::Vec;
use core::fmt;

use sha1::Sha1;
use sha1::digest::Digest as _;
use sha1::digest::common::hazmat::SerializableState;
use sha2::{Sha256, Sha384, Sha512};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// The longest digest, in bytes.
pub const LONGEST_DIGEST_BYTES: usize = 64;
/// The longest block, in bytes.
pub const LONGEST_BLOCK_BYTES: usize = 128;

/// A hash algorithm (TPM 2.0 Part 2, `TPMI_ALG_HASH`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HashAlgorithm {
    /// SHA-1, FIPS 180-4.
    Sha1,
    /// SHA-256, FIPS 180-4.
    Sha256,
    /// SHA-384, FIPS 180-4.
    Sha384,
    /// SHA-512, FIPS 180-4.
    Sha512,
}

impl HashAlgorithm {
    /// Every implemented algorithm, in the order of wire identifiers.
    pub const ALL: [Self; 4] = [Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512];

    /// The algorithm of a `TPM_ALG_ID`, when it is an implemented hash.
    pub const fn from_wire(identifier: u16) -> Option<Self> {
        match identifier {
            0x0004 => Some(Self::Sha1),
            0x000B => Some(Self::Sha256),
            0x000C => Some(Self::Sha384),
            0x000D => Some(Self::Sha512),
            _ => None,
        }
    }

    /// The `TPM_ALG_ID`.
    pub const fn to_wire(self) -> u16 {
        match self {
            Self::Sha1 => 0x0004,
            Self::Sha256 => 0x000B,
            Self::Sha384 => 0x000C,
            Self::Sha512 => 0x000D,
        }
    }

    /// Size of the digest, in bytes.
    pub const fn digest_bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// Size of the blocks that the compression function takes, in bytes.
    pub const fn block_bytes(self) -> usize {
        match self {
            Self::Sha1 | Self::Sha256 => 64,
            Self::Sha384 | Self::Sha512 => 128,
        }
    }
}

/// A digest. Compared in constant time and wiped when dropped, since digests also serve as keys and authorisations.
#[derive(Clone)]
pub struct Digest {
    bytes: [u8; LONGEST_DIGEST_BYTES],
    length: usize,
}

impl Digest {
    /// The digest of zero bytes: what a policy session or a resettable PCR starts from.
    pub const fn zero(algorithm: HashAlgorithm) -> Self {
        Self { bytes: [0; LONGEST_DIGEST_BYTES], length: algorithm.digest_bytes() }
    }

    /// The first bytes of `bytes`, when they are no more than a digest can have.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut digest = Self { bytes: [0; LONGEST_DIGEST_BYTES], length: bytes.len() };
        digest.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(digest)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&self.bytes)
    }
}

impl AsRef<[u8]> for Digest {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl core::ops::Deref for Digest {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

impl Eq for Digest {}

impl fmt::Debug for Digest {
    /// Prints the size alone: a digest may be a secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Digest({} bytes)", self.length)
    }
}

impl Drop for Digest {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

/// A hash under way.
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    Sha1(Sha1),
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl Hasher {
    /// Starts a hash.
    pub fn new(algorithm: HashAlgorithm) -> Self {
        Self(match algorithm {
            HashAlgorithm::Sha1 => State::Sha1(Sha1::new()),
            HashAlgorithm::Sha256 => State::Sha256(Sha256::new()),
            HashAlgorithm::Sha384 => State::Sha384(Sha384::new()),
            HashAlgorithm::Sha512 => State::Sha512(Sha512::new()),
        })
    }

    /// The algorithm that it was started with.
    pub fn algorithm(&self) -> HashAlgorithm {
        match self.0 {
            State::Sha1(_) => HashAlgorithm::Sha1,
            State::Sha256(_) => HashAlgorithm::Sha256,
            State::Sha384(_) => HashAlgorithm::Sha384,
            State::Sha512(_) => HashAlgorithm::Sha512,
        }
    }

    /// Hashes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha1(state) => state.update(bytes),
            State::Sha256(state) => state.update(bytes),
            State::Sha384(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
        }
    }

    /// Ends the hash.
    pub fn finish(self) -> Digest {
        let mut digest = Digest::zero(self.algorithm());
        match self.0 {
            State::Sha1(state) => fill(&mut digest, &state.finalize()),
            State::Sha256(state) => fill(&mut digest, &state.finalize()),
            State::Sha384(state) => fill(&mut digest, &state.finalize()),
            State::Sha512(state) => fill(&mut digest, &state.finalize()),
        }
        digest
    }

    /// The running state, without the algorithm. Holds the last bytes hashed, so it is as secret as these.
    pub fn export_state(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(match &self.0 {
            State::Sha1(state) => state.serialize().to_vec(),
            State::Sha256(state) => state.serialize().to_vec(),
            State::Sha384(state) => state.serialize().to_vec(),
            State::Sha512(state) => state.serialize().to_vec(),
        })
    }

    /// The hash whose state was exported, or `None` when `state` is none of this algorithm.
    pub fn import_state(algorithm: HashAlgorithm, state: &[u8]) -> Option<Self> {
        Some(Self(match algorithm {
            HashAlgorithm::Sha1 => State::Sha1(revive(state)?),
            HashAlgorithm::Sha256 => State::Sha256(revive(state)?),
            HashAlgorithm::Sha384 => State::Sha384(revive(state)?),
            HashAlgorithm::Sha512 => State::Sha512(revive(state)?),
        }))
    }
}

impl fmt::Debug for Hasher {
    /// Prints the algorithm alone: what was hashed may be a secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Hasher({:?})", self.algorithm())
    }
}

fn fill(digest: &mut Digest, bytes: &[u8]) {
    for (to, from) in digest.bytes.iter_mut().zip(bytes) {
        *to = *from;
    }
}

fn revive<State: SerializableState>(bytes: &[u8]) -> Option<State> {
    State::deserialize(bytes.try_into().ok()?).ok()
}

/// The hash of `parts`, one after the other.
pub fn hash(algorithm: HashAlgorithm, parts: &[&[u8]]) -> Digest {
    let mut hasher = Hasher::new(algorithm);
    for part in parts {
        hasher.update(part);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use hex_literal::hex;

    /// FIPS 180-4 examples: "abc".
    #[test]
    fn digests_are_what_nist_published() {
        let expected: [&[u8]; 4] = [
            &hex!("a9993e364706816aba3e25717850c26c9cd0d89d"),
            &hex!("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            &hex!(
                "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7"
            ),
            &hex!(
                "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
            ),
        ];
        for (algorithm, expected) in HashAlgorithm::ALL.into_iter().zip(expected) {
            assert_eq!(hash(algorithm, &[b"a", b"", b"bc"]).as_bytes(), expected, "{algorithm:?}");
            assert_eq!(algorithm.digest_bytes(), expected.len());
        }
    }

    #[test]
    fn wire_identifiers_come_back() {
        for algorithm in HashAlgorithm::ALL {
            assert_eq!(HashAlgorithm::from_wire(algorithm.to_wire()), Some(algorithm));
        }
        assert_eq!(HashAlgorithm::from_wire(0x0012), None);
    }

    #[test]
    fn a_running_state_survives_export_at_every_length() {
        let message = [0x5a_u8; 300];
        for algorithm in HashAlgorithm::ALL {
            for split in 0..message.len() {
                let mut hasher = Hasher::new(algorithm);
                hasher.update(&message[..split]);
                let mut revived = Hasher::import_state(algorithm, &hasher.export_state()).unwrap();
                revived.update(&message[split..]);
                assert_eq!(revived.finish(), hash(algorithm, &[&message]));
            }
        }
    }

    #[test]
    fn a_state_of_another_size_or_with_an_impossible_fill_is_refused() {
        for algorithm in HashAlgorithm::ALL {
            let state = Hasher::new(algorithm).export_state();
            assert!(Hasher::import_state(algorithm, &state[1..]).is_none());
            assert!(Hasher::import_state(algorithm, &[]).is_none());
            assert!(Hasher::import_state(algorithm, &vec![0xff; state.len()]).is_none());
        }
    }

    #[test]
    fn digests_of_other_lengths_differ() {
        assert_ne!(Digest::zero(HashAlgorithm::Sha1), Digest::zero(HashAlgorithm::Sha256));
        assert!(Digest::from_slice(&[0; 65]).is_none());
        assert_eq!(Digest::from_slice(&[0; 20]), Some(Digest::zero(HashAlgorithm::Sha1)));
    }
}
