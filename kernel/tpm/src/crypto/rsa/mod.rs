//! RSA: keys from a seed, signatures, encryption (TPM 2.0 Part 1, annex B; PKCS #1, RFC 8017).
//!
//! `number` holds the arithmetic of one key size, over `montgomery`, which calculates by `wide` and `columns`; `prime`
//! finds primes, with a `sieve`; `padding` builds and opens the encoded blocks. Private operations are blinded, use the Chinese remainder theorem, and are checked with the public exponent
//! before anything leaves, so that a faulty calculation cannot reveal a prime.

mod columns;
mod montgomery;
mod number;
mod padding;
mod prime;
mod sieve;
mod wide;

use alloc::boxed::Box;
use alloc::vec::Vec;

use zeroize::Zeroizing;

use super::hash::HashAlgorithm;
use super::kdf::SecretBytes;
use super::random::Random;
use number::Halves;

pub use padding::pss_salt_bytes;

/// The public exponent where a template says zero.
pub const DEFAULT_EXPONENT: u32 = 65537;

/// Why an operation gave no result. The names are those of the response codes that they turn into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RsaFailure {
    /// A number is not below the modulus, a message too long, a padding wrong (`TPM_RC_VALUE`).
    Value,
    /// An input has not the size of the modulus, or the modulus no room for the encoding (`TPM_RC_SIZE`).
    Size,
    /// The modulus has no room for this hash (`TPM_RC_HASH`).
    Hash,
    /// The prime does not belong to the modulus, or is none (`TPM_RC_BINDING`).
    Binding,
    /// The key size or the exponent is none that keys are made with (`TPM_RC_RANGE`).
    Range,
    /// A calculation did not survive its check, though the key is sound: the TPM has to enter failure mode
    /// (`TPM_RC_FAILURE`).
    Fault,
}

/// How a message is prepared for encryption (Part 2, `TPMT_RSA_DECRYPT`).
#[derive(Clone, Copy, Debug)]
pub enum RsaEncryption<'a> {
    /// The message is a number.
    Raw,
    /// RSAES-PKCS1-v1_5.
    Rsaes,
    /// RSAES-OAEP. The label is taken as it comes: TPM 2.0 wants its terminating zero to be part of it.
    Oaep {
        /// The hash of label and mask.
        hash: HashAlgorithm,
        /// The label.
        label: &'a [u8],
    },
}

/// How a digest is prepared for signing (Part 2, `TPMT_SIG_SCHEME`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RsaSignature {
    /// RSASSA-PKCS1-v1_5.
    Rsassa(HashAlgorithm),
    /// RSASSA-PSS, with the longest salt that fits and is no longer than the digest.
    Rsapss(HashAlgorithm),
}

/// A public key. Moduli of 1024 bits are for verification and encryption only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RsaPublicKey {
    modulus: Vec<u8>,
    exponent: u32,
}

impl RsaPublicKey {
    /// A key whose odd modulus has 1024, 2048, 3072 or 4096 bits, the first of them set; an exponent of zero stands for
    /// [`DEFAULT_EXPONENT`].
    pub fn new(modulus: &[u8], exponent: u32) -> Option<Self> {
        let whole = modulus.first()? & 0x80 != 0 && modulus.last()? & 1 != 0;
        let exponent = if exponent == 0 { DEFAULT_EXPONENT } else { exponent };
        let known = matches!(modulus.len(), 128 | 256 | 384 | 512);
        (whole && known).then(|| Self { modulus: modulus.to_vec(), exponent })
    }

    /// The modulus, big-endian.
    pub fn modulus(&self) -> &[u8] {
        &self.modulus
    }

    /// The public exponent, never zero.
    pub fn exponent(&self) -> u32 {
        self.exponent
    }

    /// Size of the modulus and of everything encrypted or signed, in bytes.
    pub fn modulus_bytes(&self) -> usize {
        self.modulus.len()
    }

    /// RSAEP: raises `block`, as long as the modulus and below it, to the public exponent.
    pub fn apply(&self, block: &mut [u8]) -> Result<(), RsaFailure> {
        if block.len() != self.modulus.len() {
            return Err(RsaFailure::Size);
        }
        let applied = match self.modulus.len() {
            128 => number::apply_public::<16>(&self.modulus, self.exponent, block),
            256 => number::apply_public::<32>(&self.modulus, self.exponent, block),
            384 => number::apply_public::<48>(&self.modulus, self.exponent, block),
            _ => number::apply_public::<64>(&self.modulus, self.exponent, block),
        };
        applied.ok_or(RsaFailure::Value)
    }

    /// Encrypts `message`. A raw message may have leading zeros in any number.
    pub fn encrypt(
        &self,
        scheme: RsaEncryption<'_>,
        message: &[u8],
        random: &mut dyn Random,
    ) -> Result<Vec<u8>, RsaFailure> {
        let length = self.modulus_bytes();
        let mut block = match scheme {
            RsaEncryption::Raw => padding::number(message, length)?,
            RsaEncryption::Rsaes => padding::encode_rsaes(message, length, random)?,
            RsaEncryption::Oaep { hash, label } => {
                padding::encode_oaep(hash, label, message, length, random)?
            }
        };
        self.apply(&mut block)?;
        Ok(block.to_vec())
    }

    /// Whether `signature` is one of `digest`. PSS accepts salts of every length.
    pub fn verify(&self, scheme: RsaSignature, digest: &[u8], signature: &[u8]) -> bool {
        let mut block = signature.to_vec();
        if self.apply(&mut block).is_err() {
            return false;
        }
        match scheme {
            RsaSignature::Rsassa(hash) => {
                padding::encode_rsassa(hash, digest, block.len()).is_ok_and(|expected| *expected == block)
            }
            RsaSignature::Rsapss(hash) => padding::verify_pss(hash, digest, &block),
        }
    }
}

/// A key pair. Everything secret in it is wiped when dropped.
pub struct RsaPrivateKey {
    public: RsaPublicKey,
    halves: Size,
}

/// Boxed: a key of 4096 bits takes some six kilobytes.
enum Size {
    Bits2048(Box<Halves<16, 32>>),
    Bits3072(Box<Halves<24, 48>>),
    Bits4096(Box<Halves<32, 64>>),
}

/// Does the same with the halves of every size.
macro_rules! each_size {
    ($size:expr, $halves:ident => $value:expr) => {
        match $size {
            Size::Bits2048($halves) => $value,
            Size::Bits3072($halves) => $value,
            Size::Bits4096($halves) => $value,
        }
    };
}

impl RsaPrivateKey {
    /// Makes a key of `bits` bits, a function of `exponent` and of what `random` gives.
    ///
    /// Both primes have their two first bits set, so that the modulus has all its bits; they differ within their first hundred
    /// bits; neither is congruent to 1 modulo the exponent. `prime.rs` says how they are found.
    pub fn generate(bits: u32, exponent: u32, random: &mut dyn Random) -> Result<Self, RsaFailure> {
        let exponent = if exponent == 0 { DEFAULT_EXPONENT } else { exponent };
        if !is_key_exponent(exponent) {
            return Err(RsaFailure::Range);
        }
        let halves = match bits {
            2048 => Size::Bits2048(Halves::generate(exponent, random)?),
            3072 => Size::Bits3072(Halves::generate(exponent, random)?),
            4096 => Size::Bits4096(Halves::generate(exponent, random)?),
            _ => return Err(RsaFailure::Range),
        };
        let modulus = each_size!(&halves, halves => halves.modulus());
        Ok(Self { public: RsaPublicKey { modulus, exponent }, halves })
    }

    /// The key of a public area and one of its primes, as a sensitive area holds it.
    pub fn from_prime(public: &RsaPublicKey, prime: &[u8]) -> Result<Self, RsaFailure> {
        let (modulus, exponent) = (public.modulus.as_slice(), public.exponent);
        if prime.len() != modulus.len() >> 1 {
            return Err(RsaFailure::Binding);
        }
        let halves = match modulus.len() {
            256 => Halves::from_prime(modulus, exponent, prime).map(Size::Bits2048),
            384 => Halves::from_prime(modulus, exponent, prime).map(Size::Bits3072),
            512 => Halves::from_prime(modulus, exponent, prime).map(Size::Bits4096),
            _ => return Err(RsaFailure::Range),
        };
        Ok(Self { public: public.clone(), halves: halves.ok_or(RsaFailure::Binding)? })
    }

    /// The public half.
    pub fn public(&self) -> &RsaPublicKey {
        &self.public
    }

    /// The prime that a sensitive area holds, half as long as the modulus.
    pub fn prime(&self) -> SecretBytes {
        each_size!(&self.halves, halves => halves.prime())
    }

    /// RSADP: raises `block`, as long as the modulus and below it, to the private exponent. `random` blinds.
    pub fn apply(&self, block: &mut [u8], random: &mut dyn Random) -> Result<(), RsaFailure> {
        if block.len() != self.public.modulus_bytes() {
            return Err(RsaFailure::Size);
        }
        match each_size!(&self.halves, halves => halves.apply_private(block, random)) {
            // The calculation was right, and the key wrong: nobody looks at the primes of a key that is loaded from outside.
            Err(RsaFailure::Fault) if !each_size!(&self.halves, halves => halves.has_primes()) => {
                Err(RsaFailure::Binding)
            }
            applied => applied,
        }
    }

    /// Decrypts. Wrong paddings of all kinds take one time and end in one failure.
    pub fn decrypt(
        &self,
        scheme: RsaEncryption<'_>,
        ciphertext: &[u8],
        random: &mut dyn Random,
    ) -> Result<SecretBytes, RsaFailure> {
        let mut block = Zeroizing::new(ciphertext.to_vec());
        self.apply(&mut block, random).map_err(|failure| match failure {
            // A ciphertext that is no number below the modulus answers TPM_RC_SIZE (Part 3, TPM2_RSA_Decrypt).
            RsaFailure::Value => RsaFailure::Size,
            other => other,
        })?;
        match scheme {
            RsaEncryption::Raw => Ok(block),
            RsaEncryption::Rsaes => padding::decode_rsaes(&block).ok_or(RsaFailure::Value),
            RsaEncryption::Oaep { hash, label } => {
                padding::decode_oaep(hash, label, block).ok_or(RsaFailure::Value)
            }
        }
    }

    /// Signs a digest.
    pub fn sign(
        &self,
        scheme: RsaSignature,
        digest: &[u8],
        random: &mut dyn Random,
    ) -> Result<Vec<u8>, RsaFailure> {
        let length = self.public.modulus_bytes();
        let mut block = match scheme {
            RsaSignature::Rsassa(hash) => padding::encode_rsassa(hash, digest, length)?,
            RsaSignature::Rsapss(hash) => padding::encode_pss(hash, digest, length, random)?,
        };
        self.apply(&mut block, random)?;
        Ok(block.to_vec())
    }
}

impl core::fmt::Debug for RsaPrivateKey {
    /// Prints the public half alone.
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "RsaPrivateKey({:?})", self.public)
    }
}

/// Whether keys are made with this exponent: a prime above 2^16, as Part 1, annex B.2, allows.
pub fn is_key_exponent(exponent: u32) -> bool {
    exponent >= DEFAULT_EXPONENT
        && !exponent.is_multiple_of(2)
        && (3..=u32::from(u16::MAX))
            .step_by(2)
            .take_while(|divisor| divisor.saturating_mul(*divisor) <= exponent)
            .all(|divisor| exponent.checked_rem(divisor) != Some(0))
}

#[cfg(test)]
mod tests;
