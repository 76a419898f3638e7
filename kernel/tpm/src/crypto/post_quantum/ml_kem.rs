//! ML-KEM (FIPS 203): keys from seeds, encapsulation, decapsulation. TPM 2.0 Part 1, clause 47.
//!
//! A private key is its seed, d and z: it is expanded for each operation, since an expanded key takes kilobytes.

use alloc::vec::Vec;

use ml_kem::array::{Array, ArraySize};
use ml_kem::kem::{Decapsulate, Kem, KeyExport};
use ml_kem::{B32, DecapsulationKey, EncapsulationKey, MlKem512, MlKem768, MlKem1024, Seed};
use zeroize::{Zeroize, Zeroizing};

use crate::crypto::kdf::SecretBytes;
use crate::crypto::random::Random;

/// The size of a private key: d, then z.
pub const SEED_BYTES: usize = 64;
/// The size of a shared secret.
pub const SECRET_BYTES: usize = 32;

/// A parameter set (Part 2, `TPMI_MLKEM_PARMS`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MlKemSet {
    /// ML-KEM-512, of category 1.
    MlKem512,
    /// ML-KEM-768, of category 3.
    MlKem768,
    /// ML-KEM-1024, of category 5.
    MlKem1024,
}

/// Does the same with the type of every parameter set.
macro_rules! each_set {
    ($set:expr, $function:ident($($argument:expr),*)) => {
        match $set {
            MlKemSet::MlKem512 => $function::<MlKem512>($($argument),*),
            MlKemSet::MlKem768 => $function::<MlKem768>($($argument),*),
            MlKemSet::MlKem1024 => $function::<MlKem1024>($($argument),*),
        }
    };
}

impl MlKemSet {
    /// Every set, in the order of wire identifiers.
    pub const ALL: [Self; 3] = [Self::MlKem512, Self::MlKem768, Self::MlKem1024];

    /// The set of a `TPMI_MLKEM_PARMS`.
    pub const fn from_wire(identifier: u16) -> Option<Self> {
        match identifier {
            1 => Some(Self::MlKem512),
            2 => Some(Self::MlKem768),
            3 => Some(Self::MlKem1024),
            _ => None,
        }
    }

    /// The `TPMI_MLKEM_PARMS`.
    pub const fn to_wire(self) -> u16 {
        match self {
            Self::MlKem512 => 1,
            Self::MlKem768 => 2,
            Self::MlKem1024 => 3,
        }
    }

    /// Size of a public key, in bytes.
    pub const fn public_bytes(self) -> usize {
        match self {
            Self::MlKem512 => 800,
            Self::MlKem768 => 1184,
            Self::MlKem1024 => 1568,
        }
    }

    /// Size of a ciphertext, in bytes.
    pub const fn ciphertext_bytes(self) -> usize {
        match self {
            Self::MlKem512 => 768,
            Self::MlKem768 => 1088,
            Self::MlKem1024 => 1568,
        }
    }

    /// The public key of a seed (FIPS 203, algorithm 16); `None` when the seed has another size.
    pub fn public_key(self, seed: &[u8]) -> Option<Vec<u8>> {
        each_set!(self, public_key(seed))
    }

    /// Whether bytes are a public key: their size, and the modulus check of FIPS 203, section 7.2.
    pub fn is_public_key(self, public: &[u8]) -> bool {
        each_set!(self, is_public_key(public))
    }

    /// A fresh shared secret and its ciphertext; `None` when `public` is no public key.
    pub fn encapsulate(self, public: &[u8], random: &mut dyn Random) -> Option<(SecretBytes, Vec<u8>)> {
        let mut message = Zeroizing::new([0; SECRET_BYTES]);
        random.fill(message.as_mut_slice());
        each_set!(self, encapsulate(public, &message))
    }

    /// The shared secret of a ciphertext; `None` when seed or ciphertext have another size. A ciphertext that nobody made
    /// for this key gives a secret that nobody else has (implicit rejection).
    pub fn decapsulate(self, seed: &[u8], ciphertext: &[u8]) -> Option<SecretBytes> {
        each_set!(self, decapsulate(seed, ciphertext))
    }
}

/// What the crate's three types have in common.
trait Set: Kem<SharedKeySize = ml_kem::array::sizes::U32> {
    fn expand(seed: Seed) -> Self::DecapsulationKey;
    fn public(key: &Self::DecapsulationKey) -> &Self::EncapsulationKey;
    fn parse(public: &[u8]) -> Option<Self::EncapsulationKey>;
    fn encapsulate(
        key: &Self::EncapsulationKey,
        message: &B32,
    ) -> (ml_kem::Ciphertext<Self>, ml_kem::SharedKey);
}

macro_rules! sets {
    ($($set:ident)*) => { $(
        impl Set for $set {
            fn expand(seed: Seed) -> Self::DecapsulationKey {
                DecapsulationKey::<$set>::from_seed(seed)
            }
            fn public(key: &Self::DecapsulationKey) -> &Self::EncapsulationKey {
                key.encapsulation_key()
            }
            fn parse(public: &[u8]) -> Option<Self::EncapsulationKey> {
                EncapsulationKey::<$set>::new(&array(public)?).ok()
            }
            fn encapsulate(
                key: &Self::EncapsulationKey,
                message: &B32,
            ) -> (ml_kem::Ciphertext<Self>, ml_kem::SharedKey) {
                key.encapsulate_deterministic(message)
            }
        }
    )* };
}

sets!(MlKem512 MlKem768 MlKem1024);

fn array<Size: ArraySize>(bytes: &[u8]) -> Option<Array<u8, Size>> {
    Array::try_from(bytes).ok()
}

fn expand<S: Set>(seed: &[u8]) -> Option<S::DecapsulationKey> {
    let mut seed: Seed = array(seed)?;
    let key = S::expand(seed);
    seed.as_mut_slice().zeroize();
    Some(key)
}

fn public_key<S: Set>(seed: &[u8]) -> Option<Vec<u8>> {
    Some(S::public(&expand::<S>(seed)?).to_bytes().to_vec())
}

fn is_public_key<S: Set>(public: &[u8]) -> bool {
    S::parse(public).is_some()
}

fn encapsulate<S: Set>(public: &[u8], message: &[u8; SECRET_BYTES]) -> Option<(SecretBytes, Vec<u8>)> {
    let mut message = B32::from(*message);
    let (ciphertext, mut secret) = S::encapsulate(&S::parse(public)?, &message);
    let shared = Zeroizing::new(secret.to_vec());
    secret.as_mut_slice().zeroize();
    message.as_mut_slice().zeroize();
    Some((shared, ciphertext.to_vec()))
}

fn decapsulate<S: Set>(seed: &[u8], ciphertext: &[u8]) -> Option<SecretBytes>
where
    S::DecapsulationKey: Decapsulate<Kem = S>,
{
    let ciphertext = array(ciphertext)?;
    let mut secret = expand::<S>(seed)?.decapsulate(&ciphertext);
    let shared = Zeroizing::new(secret.to_vec());
    secret.as_mut_slice().zeroize();
    Some(shared)
}
