//! Templates of the keys that a manifest may name (TCG EK Credential Profile 2.5, annex B), and whether RSA moduli are plausible.

use std::sync::LazyLock;

use super::hash::HashAlgorithm;
use super::public_area::{Key, PublicArea, Symmetric, attributes};

/// PolicySecret of the endorsement hierarchy, SHA-256 (annex B.6.2, "PolicyA").
const POLICY_A: [u8; 32] = [
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xB3, 0xF8, 0x1A, 0x90, 0xCC, 0x8D, 0x46, 0xA5, 0xD7, 0x24, 0xFD,
    0x52, 0xD7, 0x6E, 0x06, 0x52, 0x0B, 0x64, 0xF2, 0xA1, 0xDA, 0x1B, 0x33, 0x14, 0x69, 0xAA,
];
/// "PolicyB" of SHA-256.
const POLICY_B_SHA256: [u8; 32] = [
    0xCA, 0x3D, 0x0A, 0x99, 0xA2, 0xB9, 0x39, 0x06, 0xF7, 0xA3, 0x34, 0x24, 0x14, 0xEF, 0xCF, 0xB3, 0xA3,
    0x85, 0xD4, 0x4C, 0xD1, 0xFD, 0x45, 0x90, 0x89, 0xD1, 0x9B, 0x50, 0x71, 0xC0, 0xB7, 0xA0,
];
/// "PolicyB" of SHA-384.
const POLICY_B_SHA384: [u8; 48] = [
    0xB2, 0x6E, 0x7D, 0x28, 0xD1, 0x1A, 0x50, 0xBC, 0x53, 0xD8, 0x82, 0xBC, 0xF5, 0xFD, 0x3A, 0x1A, 0x07,
    0x41, 0x48, 0xBB, 0x35, 0xD3, 0xB4, 0xE4, 0xCB, 0x1C, 0x0A, 0xD9, 0xBD, 0xE4, 0x19, 0xCA, 0xCB, 0x47,
    0xBA, 0x09, 0x69, 0x96, 0x46, 0x15, 0x0F, 0x9F, 0xC0, 0x00, 0xF3, 0xF8, 0x0E, 0x12,
];
/// Attributes of an endorsement key: fixed, made there, restricted decryption; authorized by policy where the administrator is
/// asked (low range), and by its value as well (high range).
const LOW_RANGE: u32 = 0x0003_00B2;
const HIGH_RANGE: u32 = 0x0003_00F2;
/// What an attestation key must have, and what it may have besides: userWithAuth, adminWithPolicy, noDA.
const ATTESTATION: u32 = attributes::FIXED_TPM
    | attributes::FIXED_PARENT
    | attributes::SENSITIVE_DATA_ORIGIN
    | attributes::RESTRICTED
    | attributes::SIGN;
const ATTESTATION_OPTIONS: u32 = 1 << 6 | 1 << 7 | 1 << 10;
/// The public exponent of every template.
const EXPONENT: u32 = 65537;
/// A genuine modulus has no prime factor below this; four of five odd numbers that somebody puts together have one.
const SMALL_FACTORS: u64 = 1 << 12;

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It decrypts credentials.
    Endorsement,
    /// It signs quotes.
    Attestation,
}

/// Why a key is none that VMPL0 makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotOfTemplate {
    /// A field is another than the template's.
    #[error("its {0} is not the template's")]
    Field(&'static str),
    /// The modulus is not the product of two large primes.
    #[error("its modulus is no RSA modulus: {0}")]
    Modulus(&'static str),
}

/// Version 0 names the key of template L-1: RSA-2048, SHA-256, low range.
///
/// # Errors
/// If any byte but the modulus is another, or the modulus is implausible.
pub fn check_version_0(key: &PublicArea) -> Result<(), NotOfTemplate> {
    match &key.key {
        Key::Rsa { modulus, .. } if modulus.len() == 256 => {}
        _ => return Err(NotOfTemplate::Field("algorithm or size")),
    }
    check_endorsement(key)?;
    match key.attributes == LOW_RANGE && key.name_algorithm == HashAlgorithm::Sha256 {
        true => Ok(()),
        false => Err(NotOfTemplate::Field("attributes or name algorithm")),
    }
}

/// Version 1 names endorsement keys of the profile's templates and restricted signing keys, RSA or ECC.
///
/// # Errors
/// If the key is neither, or its modulus is implausible.
pub fn check_version_1(key: &PublicArea) -> Result<Role, NotOfTemplate> {
    if key.has(attributes::DECRYPT) {
        return check_endorsement(key).map(|()| Role::Endorsement);
    }
    if key.attributes & !ATTESTATION_OPTIONS != ATTESTATION {
        return Err(NotOfTemplate::Field("attributes"));
    }
    if key.name_algorithm == HashAlgorithm::Sha1
        || key.scheme.is_none_or(|scheme| scheme.1 == HashAlgorithm::Sha1)
    {
        return Err(NotOfTemplate::Field("name algorithm or scheme"));
    }
    check_numbers(key)?;
    Ok(Role::Attestation)
}

fn check_endorsement(key: &PublicArea) -> Result<(), NotOfTemplate> {
    let is_known = match (key.attributes, key.name_algorithm) {
        (LOW_RANGE, HashAlgorithm::Sha256) => key.auth_policy == POLICY_A,
        (HIGH_RANGE, HashAlgorithm::Sha256) => key.auth_policy == POLICY_B_SHA256,
        (HIGH_RANGE, HashAlgorithm::Sha384) => key.auth_policy == POLICY_B_SHA384,
        _ => return Err(NotOfTemplate::Field("attributes or name algorithm")),
    };
    if !is_known {
        return Err(NotOfTemplate::Field("policy"));
    }
    let key_bits = if key.name_algorithm == HashAlgorithm::Sha384 { 256 } else { 128 };
    if key.symmetric != Some(Symmetric { algorithm: 0x0006, key_bits, mode: 0x0043 }) || key.scheme.is_some()
    {
        return Err(NotOfTemplate::Field("cipher or scheme"));
    }
    check_numbers(key)
}

fn check_numbers(key: &PublicArea) -> Result<(), NotOfTemplate> {
    match &key.key {
        Key::Rsa { exponent, .. } if *exponent != EXPONENT => Err(NotOfTemplate::Field("exponent")),
        Key::Rsa { modulus, .. } => check_modulus(modulus),
        Key::Ecc { .. } => Ok(()),
    }
}

/// A modulus has exactly its bits, is odd and has no small factor. That alone stops no forger, who can choose among many; it is a
/// lock behind the length of the nonce and the template.
fn check_modulus(modulus: &[u8]) -> Result<(), NotOfTemplate> {
    if modulus.first().is_none_or(|byte| byte & 0x80 == 0) {
        return Err(NotOfTemplate::Modulus("its highest bit is zero"));
    }
    if modulus.last().is_none_or(|byte| byte & 1 == 0) {
        return Err(NotOfTemplate::Modulus("it is even"));
    }
    match PRIMES.iter().any(|prime| remainder(modulus, *prime) == 0) {
        true => Err(NotOfTemplate::Modulus("it has a small factor")),
        false => Ok(()),
    }
}

/// The odd primes below [`SMALL_FACTORS`].
static PRIMES: LazyLock<Vec<u64>> = LazyLock::new(|| {
    let has_factor =
        |number: u64| (3_u64..64).step_by(2).any(|factor| factor < number && number.is_multiple_of(factor));
    (3..SMALL_FACTORS).step_by(2).filter(|number| !has_factor(*number)).collect()
});

fn remainder(number: &[u8], divisor: u64) -> u64 {
    let (words, rest) = number.as_chunks::<4>();
    // Divisors are far below 2^32, so that nothing here can overflow.
    let of_words = words.iter().fold(0_u64, |carried, word| {
        (carried << 32 | u64::from(u32::from_be_bytes(*word))).checked_rem(divisor).unwrap_or(0)
    });
    rest.iter()
        .fold(of_words, |carried, byte| (carried << 8 | u64::from(*byte)).checked_rem(divisor).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn primes_are_those_of_the_table() {
        assert_eq!(PRIMES[..6], [3, 5, 7, 11, 13, 17]);
        assert_eq!(PRIMES.len(), 563);
        assert_eq!(remainder(&[1, 0, 1], 257), 65537 % 257);
        assert_eq!(remainder(&[1, 0, 0, 0, 0, 1], 1021), ((1_u64 << 40) + 1) % 1021);
    }

    #[test]
    fn short_and_even_numbers_and_multiples_are_no_moduli() {
        let modulus = |bytes: &[u8]| check_modulus(bytes);
        assert_eq!(modulus(&[0x7F; 32]), Err(NotOfTemplate::Modulus("its highest bit is zero")));
        assert_eq!(modulus(&[0x80, 2]), Err(NotOfTemplate::Modulus("it is even")));
        assert_eq!(modulus(&[0xFF; 32]), Err(NotOfTemplate::Modulus("it has a small factor")));
    }
}
