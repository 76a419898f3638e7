//! The encodings of PKCS #1 (RFC 8017): RSAES, OAEP, RSASSA, PSS.
//!
//! The two decoders look at every byte whatever they find; what a padding held is not told apart from what another did
//! before the one answer. That one bit is left to the caller, for TPM2_RSA_Decrypt has to return it.

use alloc::vec;
use alloc::vec::Vec;

use subtle::{Choice, ConditionallySelectable, ConstantTimeEq, ConstantTimeGreater};
use zeroize::Zeroizing;

use super::RsaFailure;
use crate::crypto::hash::{HashAlgorithm, Hasher, hash};
use crate::crypto::kdf::{SecretBytes, mgf1};
use crate::crypto::random::Random;

/// The DER of a `DigestInfo` up to the digest (RFC 8017, section 9.2, note 1).
const fn digest_info(algorithm: HashAlgorithm) -> &'static [u8] {
    match algorithm {
        HashAlgorithm::Sha1 => b"\x30\x21\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00\x04\x14",
        HashAlgorithm::Sha256 => {
            b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20"
        }
        HashAlgorithm::Sha384 => {
            b"\x30\x41\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\x04\x30"
        }
        HashAlgorithm::Sha512 => {
            b"\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40"
        }
    }
}

/// How often a byte that must not be zero is drawn: a working source of bits needs so many once in 2^256 times.
const FILLER_ATTEMPTS: u32 = 32;

/// The last byte of a PSS block.
const PSS_TRAILER: u8 = 0xbc;

/// A number of at most `length` bytes, with or without leading zeros, as exactly so many.
pub(super) fn number(message: &[u8], length: usize) -> Result<SecretBytes, RsaFailure> {
    let digits = message.iter().skip_while(|byte| **byte == 0);
    let zeros = length.checked_sub(digits.clone().count()).ok_or(RsaFailure::Value)?;
    let mut block = Zeroizing::new(vec![0; zeros]);
    block.extend(digits);
    Ok(block)
}

/// 00 02, at least eight random bytes that are not zero, 00, the message.
pub(super) fn encode_rsaes(
    message: &[u8],
    length: usize,
    random: &mut dyn Random,
) -> Result<SecretBytes, RsaFailure> {
    let filling = length.saturating_sub(3).checked_sub(message.len()).ok_or(RsaFailure::Value)?;
    if filling < 8 {
        return Err(RsaFailure::Value);
    }
    let mut block = Zeroizing::new(Vec::with_capacity(length));
    block.extend_from_slice(&[0, 2]);
    let mut filler = Zeroizing::new(vec![0; filling]);
    random.fill(&mut filler);
    for byte in filler.iter_mut().filter(|byte| **byte == 0) {
        let mut attempts = 0..FILLER_ATTEMPTS;
        while *byte == 0 {
            attempts.next().ok_or(RsaFailure::Fault)?;
            random.fill(core::slice::from_mut(byte));
        }
    }
    block.extend_from_slice(&filler);
    block.push(0);
    block.extend_from_slice(message);
    Ok(block)
}

/// The message of an RSAES block.
pub(super) fn decode_rsaes(block: &[u8]) -> Option<SecretBytes> {
    let (head, rest) = block.split_first_chunk::<2>()?;
    let mut good = head[0].ct_eq(&0) & head[1].ct_eq(&2);
    let (start, found) = after_first(rest, |byte| byte.ct_eq(&0));
    // Eight bytes of filler, and the zero behind them.
    good &= found & start.ct_gt(&8);
    let message = rest.get(usize::try_from(start).ok()?..)?;
    bool::from(good).then(|| Zeroizing::new(message.to_vec()))
}

/// 00, the masked seed, the masked block of label hash, zeros, 01 and message.
pub(super) fn encode_oaep(
    algorithm: HashAlgorithm,
    label: &[u8],
    message: &[u8],
    length: usize,
    random: &mut dyn Random,
) -> Result<SecretBytes, RsaFailure> {
    let digest = algorithm.digest_bytes();
    let overhead = digest.saturating_mul(2).saturating_add(2);
    let room = length.checked_sub(overhead).ok_or(RsaFailure::Hash)?;
    let zeros = room.checked_sub(message.len()).ok_or(RsaFailure::Value)?;
    let mut seed = Zeroizing::new(vec![0; digest]);
    random.fill(&mut seed);
    let mut data = Zeroizing::new(Vec::with_capacity(length));
    data.extend_from_slice(&hash(algorithm, &[label]));
    data.resize(digest.saturating_add(zeros), 0);
    data.push(1);
    data.extend_from_slice(message);
    mask(algorithm, &seed, &mut data);
    mask(algorithm, &data, &mut seed);
    let mut block = Zeroizing::new(Vec::with_capacity(length));
    block.push(0);
    block.extend_from_slice(&seed);
    block.extend_from_slice(&data);
    Ok(block)
}

/// The message of an OAEP block.
pub(super) fn decode_oaep(
    algorithm: HashAlgorithm,
    label: &[u8],
    mut block: SecretBytes,
) -> Option<SecretBytes> {
    let digest = algorithm.digest_bytes();
    if block.len() < digest.saturating_mul(2).saturating_add(2) {
        return None;
    }
    let (first, rest) = block.split_first_mut()?;
    let (seed, data) = rest.split_at_mut_checked(digest)?;
    mask(algorithm, data, seed);
    mask(algorithm, seed, data);
    let (label_hash, data) = data.split_at_checked(digest)?;
    let mut good = first.ct_eq(&0) & label_hash.ct_eq(&hash(algorithm, &[label]));
    // The first byte that is not zero has to be a one.
    let (start, found) = after_first(data, |byte| !byte.ct_eq(&0));
    let (ones, _) = after_first(data, |byte| byte.ct_eq(&1));
    good &= found & start.ct_eq(&ones);
    let message = data.get(usize::try_from(start).ok()?..)?;
    bool::from(good).then(|| Zeroizing::new(message.to_vec()))
}

/// 00 01, at least eight bytes of ff, 00, the `DigestInfo`.
pub(super) fn encode_rsassa(
    algorithm: HashAlgorithm,
    digest: &[u8],
    length: usize,
) -> Result<SecretBytes, RsaFailure> {
    if digest.len() != algorithm.digest_bytes() {
        return Err(RsaFailure::Value);
    }
    let information = digest_info(algorithm);
    let used = information.len().saturating_add(digest.len()).saturating_add(3);
    let filling = length.checked_sub(used).filter(|filling| *filling >= 8).ok_or(RsaFailure::Size)?;
    let mut block = Zeroizing::new(Vec::with_capacity(length));
    block.extend_from_slice(&[0, 1]);
    block.resize(filling.saturating_add(2), 0xff);
    block.push(0);
    block.extend_from_slice(information);
    block.extend_from_slice(digest);
    Ok(block)
}

/// The size of the salt that a PSS signature is made with: what fits, but no more than the digest has.
pub fn pss_salt_bytes(algorithm: HashAlgorithm, modulus_bytes: usize) -> usize {
    let digest = algorithm.digest_bytes();
    modulus_bytes.saturating_sub(digest).saturating_sub(2).min(digest)
}

/// EMSA-PSS-ENCODE for moduli whose size is a multiple of eight bits.
pub(super) fn encode_pss(
    algorithm: HashAlgorithm,
    digest: &[u8],
    length: usize,
    random: &mut dyn Random,
) -> Result<SecretBytes, RsaFailure> {
    let mut salt = Zeroizing::new(vec![0; pss_salt_bytes(algorithm, length)]);
    random.fill(&mut salt);
    let masked = length
        .checked_sub(algorithm.digest_bytes())
        .and_then(|rest| rest.checked_sub(1))
        .ok_or(RsaFailure::Size)?;
    let zeros =
        masked.checked_sub(salt.len()).and_then(|rest| rest.checked_sub(1)).ok_or(RsaFailure::Size)?;
    let check = pss_hash(algorithm, digest, &salt);
    let mut block = Zeroizing::new(vec![0; zeros]);
    block.reserve(length);
    block.push(1);
    block.extend_from_slice(&salt);
    mask(algorithm, &check, &mut block);
    if let Some(first) = block.first_mut() {
        *first &= 0x7f;
    }
    block.extend_from_slice(&check);
    block.push(PSS_TRAILER);
    Ok(block)
}

/// EMSA-PSS-VERIFY with a salt of any length. Nothing in it is secret.
pub(super) fn verify_pss(algorithm: HashAlgorithm, digest: &[u8], block: &[u8]) -> bool {
    let Some((&PSS_TRAILER, rest)) = block.split_last() else { return false };
    let Some(masked) = rest.len().checked_sub(algorithm.digest_bytes()) else { return false };
    let Some((data, check)) = rest.split_at_checked(masked) else { return false };
    let mut data = data.to_vec();
    let Some(first) = data.first().copied() else { return false };
    mask(algorithm, check, &mut data);
    if let Some(first) = data.first_mut() {
        *first &= 0x7f;
    }
    let zeros = data.iter().take_while(|byte| **byte == 0).count();
    let Some((1, salt)) = data.get(zeros..).and_then(<[u8]>::split_first) else { return false };
    first & 0x80 == 0 && pss_hash(algorithm, digest, salt).ct_eq(check).into()
}

/// The hash of eight zeros, the digest and the salt.
fn pss_hash(algorithm: HashAlgorithm, digest: &[u8], salt: &[u8]) -> crate::crypto::Digest {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(&[0; 8]);
    hasher.update(digest);
    hasher.update(salt);
    hasher.finish()
}

/// XORs the mask of `seed` into `data`.
fn mask(algorithm: HashAlgorithm, seed: &[u8], data: &mut [u8]) {
    let mut mask = Zeroizing::new(vec![0; data.len()]);
    mgf1(algorithm, seed, &mut mask);
    data.iter_mut().zip(mask.iter()).for_each(|(byte, mask)| *byte ^= mask);
}

/// The index after the first byte that `is_wanted`, and whether there is one; the time depends on the length alone.
fn after_first(bytes: &[u8], is_wanted: impl Fn(&u8) -> Choice) -> (u32, Choice) {
    let (mut start, mut found) = (0, Choice::from(0));
    for (index, byte) in (1_u32..).zip(bytes) {
        let here = is_wanted(byte) & !found;
        start.conditional_assign(&index, here);
        found |= here;
    }
    (start, found)
}
