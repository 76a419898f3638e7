//! What protects secrets on their way into a TPM: key derivation, and the wrapping that credentials and duplicated
//! objects share (TPM 2.0 Part 1, 11.4.10, 22 to 24, and annexes B.10 and C.6).

use aes::cipher::KeyIvInit;
use aes::{Aes128, Aes256};
use rand_core::CryptoRng;
use rsa::{BoxedUint, Oaep, RsaPublicKey};
use sha2::{Sha256, Sha384, Sha512};

use super::hash::HashAlgorithm;
use super::public_area::{Curve, Key, PublicArea, attributes};

/// `TPM_ALG_AES`.
const AES: u16 = 0x0006;
/// `TPM_ALG_CFB`.
const CFB: u16 = 0x0043;

/// Why nothing can be wrapped for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CannotWrap {
    /// The key does not protect children.
    #[error("the endorsement key is no restricted decryption key of a TPM")]
    NoStorageKey,
    /// No algorithm of the key is supported.
    #[error("the endorsement key has a hash, a cipher or a curve that is not supported")]
    Algorithm,
    /// The key is no valid key.
    #[error("the endorsement key is no valid public key")]
    Key,
    /// The secret does not fit.
    #[error("the secret has {0} bytes; at most {1} fit")]
    TooLong(usize, usize),
}

/// A seed that only the TPM with the private part of a key can read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WrappedSeed {
    /// The seed.
    pub seed: Vec<u8>,
    /// What a TPM2B_ENCRYPTED_SECRET holds.
    pub encrypted: Vec<u8>,
}

/// KDFa: counter mode over HMAC. `bytes` is a multiple of what no caller exceeds, 64.
pub(super) fn kdf_a(
    hash: HashAlgorithm,
    key: &[u8],
    label: &[u8],
    context: [&[u8]; 2],
    bytes: usize,
) -> Vec<u8> {
    let bits = u32::try_from(bytes.saturating_mul(8)).unwrap_or(0).to_be_bytes();
    let [u, v] = context;
    derive(bytes, |counter| hash.hmac(key, &[counter, label, &[0], u, v, &bits]))
}

/// KDFe: counter mode over a hash of what a key agreement gave.
fn kdf_e(hash: HashAlgorithm, agreed: &[u8], label: &[u8], parties: [&[u8]; 2], bytes: usize) -> Vec<u8> {
    let [u, v] = parties;
    derive(bytes, |counter| hash.digest(&[counter, agreed, label, &[0], u, v]))
}

fn derive(bytes: usize, block: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut derived: Vec<u8> = (1_u32..=4)
        .scan(0_usize, |have, counter| {
            let block = (*have < bytes).then(|| block(&counter.to_be_bytes()))?;
            *have = have.saturating_add(block.len());
            Some(block)
        })
        .flatten()
        .collect();
    derived.truncate(bytes);
    derived
}

/// Makes a seed and encrypts it to a key, for a purpose that the label names.
pub(super) fn wrap_seed<R: CryptoRng + ?Sized>(
    parent: &PublicArea,
    label: &[u8],
    random: &mut R,
) -> Result<WrappedSeed, CannotWrap> {
    if !parent.has(attributes::RESTRICTED | attributes::DECRYPT) || parent.has(attributes::SIGN) {
        return Err(CannotWrap::NoStorageKey);
    }
    let hash = parent.name_algorithm;
    match &parent.key {
        Key::Rsa { exponent, modulus } => {
            let mut seed = vec![0; hash.digest_bytes()];
            random.fill_bytes(&mut seed);
            let modulus = BoxedUint::from_be_slice_vartime(modulus);
            let key = RsaPublicKey::new(modulus, BoxedUint::from(*exponent)).map_err(|_| CannotWrap::Key)?;
            let label = [label, &[0]].concat();
            let encrypted = match hash {
                HashAlgorithm::Sha1 => return Err(CannotWrap::Algorithm),
                HashAlgorithm::Sha256 => key.encrypt(random, Oaep::<Sha256>::new_with_label(label), &seed),
                HashAlgorithm::Sha384 => key.encrypt(random, Oaep::<Sha384>::new_with_label(label), &seed),
                HashAlgorithm::Sha512 => key.encrypt(random, Oaep::<Sha512>::new_with_label(label), &seed),
            };
            Ok(WrappedSeed { seed, encrypted: encrypted.map_err(|_| CannotWrap::Key)? })
        }
        Key::Ecc { curve, x, y } => {
            let agreed = agree(*curve, x, y, random)?;
            let seed = kdf_e(hash, &agreed.shared, label, [&agreed.ephemeral_x, x], hash.digest_bytes());
            let encrypted = [sized(&agreed.ephemeral_x), sized(&agreed.ephemeral_y)].concat();
            Ok(WrappedSeed { seed, encrypted })
        }
    }
}

struct Agreement {
    shared: Vec<u8>,
    ephemeral_x: Vec<u8>,
    ephemeral_y: Vec<u8>,
}

macro_rules! agree_on {
    ($curve:ident, $point:expr, $random:expr) => {{
        use $curve::elliptic_curve::Generate;
        use $curve::elliptic_curve::sec1::ToSec1Point;
        let theirs = $curve::PublicKey::from_sec1_bytes($point).map_err(|_| CannotWrap::Key)?;
        let ours = $curve::ecdh::EphemeralSecret::generate_from_rng($random);
        let point = ours.public_key().to_sec1_point(false);
        let shared = ours.diffie_hellman(&theirs).raw_secret_bytes().to_vec();
        let (Some(x), Some(y)) = (point.x(), point.y()) else { return Err(CannotWrap::Key) };
        Ok(Agreement { shared, ephemeral_x: x.to_vec(), ephemeral_y: y.to_vec() })
    }};
}

fn agree<R: CryptoRng + ?Sized>(
    curve: Curve,
    x: &[u8],
    y: &[u8],
    random: &mut R,
) -> Result<Agreement, CannotWrap> {
    let point = [&[4], x, y].concat();
    match curve {
        Curve::P256 => agree_on!(p256, &point, random),
        Curve::P384 => agree_on!(p384, &point, random),
        Curve::P521 => Err(CannotWrap::Algorithm),
    }
}

/// Encrypts a secret under a seed, bound to a name, and puts the integrity value in front: TPM2B_DIGEST, then the
/// encrypted bytes.
pub(super) fn protect(
    parent: &PublicArea,
    seed: &[u8],
    name: &[u8],
    secret: &[u8],
) -> Result<Vec<u8>, CannotWrap> {
    let hash = parent.name_algorithm;
    let symmetric = parent.symmetric.ok_or(CannotWrap::NoStorageKey)?;
    if (symmetric.algorithm, symmetric.mode) != (AES, CFB) {
        return Err(CannotWrap::Algorithm);
    }
    let key = kdf_a(hash, seed, b"STORAGE", [name, &[]], usize::from(symmetric.key_bits / 8));
    let mut encrypted = secret.to_vec();
    let start = [0; 16];
    match symmetric.key_bits {
        128 => cfb_mode::Encryptor::<Aes128>::new_from_slices(&key, &start)
            .map_err(|_| CannotWrap::Algorithm)?
            .encrypt(&mut encrypted),
        256 => cfb_mode::Encryptor::<Aes256>::new_from_slices(&key, &start)
            .map_err(|_| CannotWrap::Algorithm)?
            .encrypt(&mut encrypted),
        _ => return Err(CannotWrap::Algorithm),
    }
    let key = kdf_a(hash, seed, b"INTEGRITY", [&[], &[]], hash.digest_bytes());
    let integrity = hash.hmac(&key, &[&encrypted, name]);
    Ok([sized(&integrity), encrypted].concat())
}

/// A TPM2B: the length in front. Everything here is far shorter than 64 KiB.
pub(super) fn sized(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes(), bytes].concat()
}
