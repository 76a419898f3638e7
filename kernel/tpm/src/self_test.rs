//! Known answers of each kind of algorithm: Part 1, section on self tests. A wrong one puts the TPM into failure mode.

use crate::crypto::ecc::{self, EccCurve};
use crate::crypto::hash::{HashAlgorithm, hash};
use crate::crypto::hmac::hmac;
use crate::crypto::random::Drbg;
use crate::crypto::symmetric::{Aes, CipherMode};

/// Why the TPM is in failure mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    Hash,
    Hmac,
    Symmetric,
    EllipticCurve,
    /// The platform gave no entropy.
    Entropy,
    /// The machine around the TPM says so.
    Machine,
}

impl Failure {
    /// What TPM2_GetTestResult says.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hash => "hash",
            Self::Hmac => "hmac",
            Self::Symmetric => "aes",
            Self::EllipticCurve => "ecdsa",
            Self::Entropy => "entropy",
            Self::Machine => "machine",
        }
    }
}

/// Runs all tests.
pub fn run() -> Result<(), Failure> {
    run_at_power_on()?;
    run_before_first_key()
}

/// The test of the curves, which takes some ten million instructions: done before the first command that may use a key.
pub fn run_before_first_key() -> Result<(), Failure> {
    check(test_ecdsa().is_some(), Failure::EllipticCurve)
}

/// What no command can do without.
pub fn run_at_power_on() -> Result<(), Failure> {
    check(
        HASHES.iter().all(|(algorithm, digest)| hash(*algorithm, &[b"abc"]).starts_with(digest)),
        Failure::Hash,
    )?;
    check(
        hmac(HashAlgorithm::Sha256, b"Jefe", &[b"what do ya want for nothing?"]).starts_with(HMAC),
        Failure::Hmac,
    )?;
    check(test_aes().is_some(), Failure::Symmetric)
}

const fn check(passed: bool, failure: Failure) -> Result<(), Failure> {
    if passed { Ok(()) } else { Err(failure) }
}

/// The beginnings of the digests of "abc": FIPS 180-4, examples.
const HASHES: &[(HashAlgorithm, [u8; 8])] = &[
    (HashAlgorithm::Sha1, [0xA9, 0x99, 0x3E, 0x36, 0x47, 0x06, 0x81, 0x6A]),
    (HashAlgorithm::Sha256, [0xBA, 0x78, 0x16, 0xBF, 0x8F, 0x01, 0xCF, 0xEA]),
    (HashAlgorithm::Sha384, [0xCB, 0x00, 0x75, 0x3F, 0x45, 0xA3, 0x5E, 0x8B]),
    (HashAlgorithm::Sha512, [0xDD, 0xAF, 0x35, 0xA1, 0x93, 0x61, 0x7A, 0xBA]),
];

/// RFC 4231, test case 2.
const HMAC: &[u8] = &[0x5B, 0xDC, 0xC1, 0x46, 0xBF, 0x60, 0x75, 0x4E];

/// FIPS 197, appendix C.1.
fn test_aes() -> Option<()> {
    const KEY: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
    const PLAIN: [u8; 16] =
        [0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xAA, 0xBB, 0xCC, 0xDD, 0xEE, 0xFF];
    const CIPHER: [u8; 16] =
        [0x69, 0xC4, 0xE0, 0xD8, 0x6A, 0x7B, 0x04, 0x30, 0xD8, 0xCD, 0xB7, 0x80, 0x70, 0xB4, 0xC5, 0x5A];
    let aes = Aes::new(&KEY)?;
    let mut block = PLAIN;
    aes.encrypt(CipherMode::Ecb, &mut [0; 16], &mut block).ok()?;
    let encrypted = block == CIPHER;
    aes.decrypt(CipherMode::Ecb, &mut [0; 16], &mut block).ok()?;
    (encrypted && block == PLAIN).then_some(())
}

/// A key pair signs, and only what it signed is verified.
fn test_ecdsa() -> Option<()> {
    let mut random = Drbg::instantiate(&[0x5A; 48], b"self test");
    let key = ecc::generate(EccCurve::P256, &mut random);
    let signature = ecc::sign_ecdsa(EccCurve::P256, &key.private, &[1; 32], &mut random)?;
    let good = ecc::verify_ecdsa(EccCurve::P256, &key.public, &[1; 32], &signature);
    let bad = ecc::verify_ecdsa(EccCurve::P256, &key.public, &[2; 32], &signature);
    (good && !bad).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_known_answers_are_right() {
        assert_eq!(run(), Ok(()));
    }
}
