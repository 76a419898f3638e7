//! Secrets that are exchanged through an asymmetric key: salts, seeds of credentials and of duplicates. Part 1, annexes on RSA
//! and ECC secret sharing.

use alloc::vec::Vec;

use super::Object;
use super::asymmetric::{ecc_public, rsa_private, rsa_public};
use crate::crypto::ecc;
use crate::crypto::hash::HashAlgorithm;
use crate::crypto::kdf::kdfe;
use crate::crypto::random::Random;
use crate::crypto::rsa::RsaEncryption;
use crate::response_code::ResponseCode;
use crate::structures::buffers::EccPoint;
use crate::structures::public::ObjectType;
use crate::structures::schemes::Scheme;
use crate::wire::{Marshal, Reader, Result, Secret};

/// The hash of a key's own scheme, or of its name: what OAEP takes for a secret.
fn oaep_hash(key: &Object) -> Result<HashAlgorithm> {
    let scheme = key.public.parameters.asymmetric_scheme();
    scheme.hash().or(key.public.name_hash).ok_or(ResponseCode::SCHEME)
}

/// The label as OAEP has it: with its terminating zero.
fn terminated(label: &[u8]) -> Vec<u8> {
    let mut terminated = label.to_vec();
    terminated.push(0);
    terminated
}

/// The secret behind TPM2B_ENCRYPTED_SECRET, without numbers on its errors: TPM_RC_KEY where the key is not asymmetric,
/// TPM_RC_SIZE, TPM_RC_VALUE or TPM_RC_ECC_POINT for the ciphertext.
pub fn decrypt(key: &Object, label: &[u8], encrypted: &[u8], random: &mut dyn Random) -> Result<Secret> {
    match key.public.object_type() {
        ObjectType::Rsa => decrypt_rsa(key, label, encrypted, random),
        ObjectType::Ecc => decrypt_ecc(key, label, encrypted),
        ObjectType::KeyedHash | ObjectType::SymmetricCipher => Err(ResponseCode::KEY),
    }
}

fn decrypt_rsa(key: &Object, label: &[u8], encrypted: &[u8], random: &mut dyn Random) -> Result<Secret> {
    let scheme = key.public.parameters.asymmetric_scheme();
    if !matches!(scheme, Scheme::Null | Scheme::Oaep(_)) {
        return Err(ResponseCode::SCHEME);
    }
    let (hash, label) = (oaep_hash(key)?, terminated(label));
    let private = rsa_private(key)?;
    let secret = private.decrypt(RsaEncryption::Oaep { hash, label: &label }, encrypted, random)?;
    let digest_bytes = key.public.name_hash.map_or(0, HashAlgorithm::digest_bytes);
    // A secret longer than the name algorithm's digest is refused: Part 1, annex on RSA secret sharing.
    if secret.len() > digest_bytes { Err(ResponseCode::VALUE) } else { Ok(Secret::from(secret.as_slice())) }
}

fn decrypt_ecc(key: &Object, label: &[u8], encrypted: &[u8]) -> Result<Secret> {
    let (parameters, own) = ecc_public(&key.public)?;
    let mut reader = Reader::new(encrypted);
    let point: EccPoint = reader.read()?;
    if !reader.is_empty() {
        return Err(ResponseCode::SIZE);
    }
    if !ecc::is_on_curve(parameters.curve, point.x.as_bytes(), point.y.as_bytes()) {
        return Err(ResponseCode::ECC_POINT);
    }
    let scalar = key.sensitive.as_ref().ok_or(ResponseCode::KEY)?;
    let z = ecc::multiply(parameters.curve, scalar.secret.as_bytes(), &(&point).into());
    let z = z.ok_or(ResponseCode::ECC_POINT)?;
    derive(key, label, &z.x, point.x.as_bytes(), own.x.as_bytes())
}

fn derive(key: &Object, label: &[u8], z: &[u8], party_u: &[u8], party_v: &[u8]) -> Result<Secret> {
    let hash = key.public.name_hash.ok_or(ResponseCode::KEY)?;
    let bits = u32::try_from(hash.digest_bytes()).unwrap_or(0).saturating_mul(8);
    Ok(Secret::from(kdfe(hash, z, label, party_u, party_v, bits).as_slice()))
}

/// A new secret for a key, and the TPM2B_ENCRYPTED_SECRET that carries it there, without its size.
pub fn encrypt(key: &Object, label: &[u8], random: &mut dyn Random) -> Result<(Secret, Vec<u8>)> {
    match key.public.object_type() {
        ObjectType::Rsa => {
            let scheme = key.public.parameters.asymmetric_scheme();
            if !matches!(scheme, Scheme::Null | Scheme::Oaep(_)) {
                return Err(ResponseCode::SCHEME);
            }
            let (hash, label) = (oaep_hash(key)?, terminated(label));
            let mut secret = Secret::zeroed(key.public.name_hash.map_or(0, HashAlgorithm::digest_bytes));
            random.fill(secret.as_mut_bytes());
            let encryption = RsaEncryption::Oaep { hash, label: &label };
            let encrypted = rsa_public(&key.public)?.encrypt(encryption, secret.as_bytes(), random)?;
            Ok((secret, encrypted))
        }
        ObjectType::Ecc => {
            let (parameters, own) = ecc_public(&key.public)?;
            let ephemeral = ecc::generate(parameters.curve, random);
            let z = ecc::multiply(parameters.curve, &ephemeral.private, &own.into());
            let z = z.ok_or(ResponseCode::ECC_POINT)?;
            let secret = derive(key, label, &z.x, &ephemeral.public.x, own.x.as_bytes())?;
            Ok((secret, EccPoint::from(&ephemeral.public).to_bytes()))
        }
        ObjectType::KeyedHash | ObjectType::SymmetricCipher => Err(ResponseCode::KEY),
    }
}
