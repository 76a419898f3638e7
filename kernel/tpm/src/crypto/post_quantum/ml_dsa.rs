//! ML-DSA and HashML-DSA (FIPS 204): keys from seeds, signatures, and the message representative that both share. TPM 2.0
//! Part 1, clause 46.
//!
//! A private key is its seed: it is expanded for each operation, since an expanded key takes up to 170 KiB. Pure, pre-hashed
//! and external messages differ in the message representative alone, which [`Representative`] computes as the message comes.

use alloc::vec::Vec;
use core::convert::Infallible;

use ml_dsa::{
    EncodedSignature, EncodedVerifyingKey, MlDsa44, MlDsa65, MlDsa87, MlDsaParams, Seed, Signature,
    SigningKey, VerifyingKey,
};
use rand_core::{TryCryptoRng, TryRng};
use zeroize::{Zeroize, Zeroizing};

use super::shake::{Shake256, shake256};
use crate::crypto::hash::HashAlgorithm;
use crate::crypto::random::Random;

/// The size of a private key.
pub const SEED_BYTES: usize = 32;
/// The size of a message representative, mu.
pub const REPRESENTATIVE_BYTES: usize = 64;
/// The longest context string.
pub const LONGEST_CONTEXT_BYTES: usize = 255;

/// A parameter set (Part 2, `TPMI_MLDSA_PARMS`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MlDsaSet {
    /// ML-DSA-44, of category 2.
    MlDsa44,
    /// ML-DSA-65, of category 3.
    MlDsa65,
    /// ML-DSA-87, of category 5.
    MlDsa87,
}

/// Does the same with the type of every parameter set.
macro_rules! each_set {
    ($set:expr, $function:ident($($argument:expr),*)) => {
        match $set {
            MlDsaSet::MlDsa44 => $function::<MlDsa44>($($argument),*),
            MlDsaSet::MlDsa65 => $function::<MlDsa65>($($argument),*),
            MlDsaSet::MlDsa87 => $function::<MlDsa87>($($argument),*),
        }
    };
}

impl MlDsaSet {
    /// Every set, in the order of wire identifiers.
    pub const ALL: [Self; 3] = [Self::MlDsa44, Self::MlDsa65, Self::MlDsa87];

    /// The set of a `TPMI_MLDSA_PARMS`.
    pub const fn from_wire(identifier: u16) -> Option<Self> {
        match identifier {
            1 => Some(Self::MlDsa44),
            2 => Some(Self::MlDsa65),
            3 => Some(Self::MlDsa87),
            _ => None,
        }
    }

    /// The `TPMI_MLDSA_PARMS`.
    pub const fn to_wire(self) -> u16 {
        match self {
            Self::MlDsa44 => 1,
            Self::MlDsa65 => 2,
            Self::MlDsa87 => 3,
        }
    }

    /// Size of a public key, in bytes.
    pub const fn public_bytes(self) -> usize {
        match self {
            Self::MlDsa44 => 1312,
            Self::MlDsa65 => 1952,
            Self::MlDsa87 => 2592,
        }
    }

    /// Size of a signature, in bytes.
    pub const fn signature_bytes(self) -> usize {
        match self {
            Self::MlDsa44 => 2420,
            Self::MlDsa65 => 3309,
            Self::MlDsa87 => 4627,
        }
    }

    /// The public key of a seed (FIPS 204, algorithm 6); `None` when the seed has another size.
    pub fn public_key(self, seed: &[u8]) -> Option<Vec<u8>> {
        each_set!(self, public_key(seed))
    }

    /// Signs a message representative, hedged by `random` (FIPS 204, algorithm 7). `None` when the seed has another size, or
    /// the loop of rejections reaches its limit, which is as likely as guessing a key.
    pub fn sign(
        self,
        seed: &[u8],
        representative: &[u8; REPRESENTATIVE_BYTES],
        random: &mut dyn Random,
    ) -> Option<Vec<u8>> {
        each_set!(self, sign(seed, representative, random))
    }

    /// Whether a signature of a message representative is valid (FIPS 204, algorithm 8).
    pub fn verify(
        self,
        public: &[u8],
        representative: &[u8; REPRESENTATIVE_BYTES],
        signature: &[u8],
    ) -> bool {
        each_set!(self, verify(public, representative, signature)).unwrap_or(false)
    }
}

/// A message representative under way: SHAKE256 over the hash of the public key and the message with its frame (FIPS 204,
/// sections 5.2 and 5.4).
#[derive(Clone, Debug)]
pub struct Representative(Shake256);

impl Representative {
    /// Starts one of a message that is signed as it is. `None` when the context is longer than 255 bytes.
    pub fn of_message(public: &[u8], context: &[u8]) -> Option<Self> {
        Self::start(public, 0, context)
    }

    /// One of a message that was hashed before. `None` when the context is too long, or the hash has no place in HashML-DSA.
    pub fn of_digest(public: &[u8], context: &[u8], algorithm: HashAlgorithm, digest: &[u8]) -> Option<Self> {
        let identifier = object_identifier(algorithm)?;
        let mut representative = Self::start(public, 1, context)?;
        representative.update(&identifier);
        representative.update(digest);
        (digest.len() == algorithm.digest_bytes()).then_some(representative)
    }

    fn start(public: &[u8], domain: u8, context: &[u8]) -> Option<Self> {
        let length = u8::try_from(context.len()).ok()?;
        let mut representative = Self(Shake256::new());
        representative.update(&shake256(&[public]));
        representative.update(&[domain, length]);
        representative.update(context);
        Some(representative)
    }

    /// Takes more of the message.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Ends the message.
    pub fn finish(self) -> [u8; REPRESENTATIVE_BYTES] {
        self.0.finish()
    }

    /// The running state.
    pub fn export_state(&self) -> Zeroizing<Vec<u8>> {
        self.0.export_state()
    }

    /// The representative whose state was exported, or `None` when `state` is none.
    pub fn import_state(state: &[u8]) -> Option<Self> {
        Shake256::import_state(state).map(Self)
    }
}

/// The DER of a hash's object identifier (FIPS 204, section 5.4.1): 2.16.840.1.101.3.4.2, and the hash. SHA-1 has none there.
const fn object_identifier(algorithm: HashAlgorithm) -> Option<[u8; 11]> {
    let last = match algorithm {
        HashAlgorithm::Sha1 => return None,
        HashAlgorithm::Sha256 => 1,
        HashAlgorithm::Sha384 => 2,
        HashAlgorithm::Sha512 => 3,
    };
    Some([0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, last])
}

/// Whether messages may be hashed by this before HashML-DSA signs them.
pub const fn takes_digests_of(algorithm: HashAlgorithm) -> bool {
    object_identifier(algorithm).is_some()
}

fn expand<P: MlDsaParams>(seed: &[u8]) -> Option<SigningKey<P>> {
    let mut seed = Seed::try_from(seed).ok()?;
    let key = SigningKey::from_seed(&seed);
    seed.as_mut_slice().zeroize();
    Some(key)
}

fn public_key<P: MlDsaParams>(seed: &[u8]) -> Option<Vec<u8>> {
    Some(expand::<P>(seed)?.expanded_key().verifying_key().encode().to_vec())
}

fn sign<P: MlDsaParams>(
    seed: &[u8],
    representative: &[u8; REPRESENTATIVE_BYTES],
    random: &mut dyn Random,
) -> Option<Vec<u8>> {
    let key = expand::<P>(seed)?;
    let signature = key.expanded_key().sign_mu_randomized(&(*representative).into(), &mut Bits(random));
    Some(signature.ok()?.encode().to_vec())
}

fn verify<P: MlDsaParams>(
    public: &[u8],
    representative: &[u8; REPRESENTATIVE_BYTES],
    signature: &[u8],
) -> Option<bool> {
    let signature = Signature::<P>::decode(&EncodedSignature::<P>::try_from(signature).ok()?)?;
    let key = VerifyingKey::<P>::decode(&EncodedVerifyingKey::<P>::try_from(public).ok()?);
    Some(key.verify_mu(&(*representative).into(), &signature))
}

/// The engine's bits for the crate.
struct Bits<'a>(&'a mut dyn Random);

impl TryRng for Bits<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Bits<'_> {}
