//! Duplication: Part 3, chapter of the same name. Part 1, section on protection of objects that leave.

use alloc::vec::Vec;

use crate::crypto::hash::{HashAlgorithm, hash};
use crate::crypto::random::Random;
use crate::crypto::symmetric::{Aes, BLOCK_BYTES, CipherMode};
use crate::object::checks::check_loadable;
use crate::object::protection::{Protector, read_sized_sensitive, sized_sensitive};
use crate::object::secret_sharing::{decrypt, encrypt};
use crate::object::{Object, name_of};
use crate::request::Request;
use crate::response_code::ResponseCode;
use crate::structures::algorithms::BlockCipher;
use crate::structures::attestation::Data;
use crate::structures::attributes::ObjectAttributes as A;
use crate::structures::buffers::Name;
use crate::structures::limits::{MAX_DIGEST_BYTES, MAX_ENCRYPTED_SECRET_BYTES, MAX_PRIVATE_BYTES};
use crate::structures::public::{ObjectType, Public};
use crate::structures::sensitive::Sensitive;
use crate::wire::{Reader, Result, Secret, equal_in_constant_time, put_sized};

/// What the seed of a duplicate is derived for.
const DUPLICATE: &[u8] = b"DUPLICATE";

/// Whether a key is for storage, and secrets can be sent to it: a new parent needs no more than its public area here.
fn is_storage_key(key: &Object) -> bool {
    let attributes = key.public.attributes;
    matches!(key.public.object_type(), ObjectType::Rsa | ObjectType::Ecc)
        && attributes.has(A::RESTRICTED)
        && attributes.has(A::DECRYPT)
        && !attributes.has(A::SIGN)
}

/// The inner wrapper: integrity and sensitive area under a key that travels elsewhere.
fn wrap_inner(
    cipher: BlockCipher,
    key: &[u8],
    name: &Name,
    name_hash: HashAlgorithm,
    sensitive: &Secret,
) -> Result<Secret> {
    let integrity = hash(name_hash, &[sensitive.as_bytes(), name.as_bytes()]);
    let mut inner = Vec::new();
    put_sized(&mut inner, integrity.as_bytes());
    inner.extend_from_slice(sensitive.as_bytes());
    let mut inner = Secret::from(inner);
    let aes = Aes::new(key).filter(|_| key.len() == cipher.key_bytes()).ok_or(ResponseCode::SIZE)?;
    let mut iv = [0; BLOCK_BYTES];
    aes.encrypt(CipherMode::Cfb, &mut iv, inner.as_mut_bytes()).map_err(|_| ResponseCode::FAILURE)?;
    Ok(inner)
}

/// Undoes [`wrap_inner`]: TPM_RC_INTEGRITY when anything was changed.
fn unwrap_inner(key: &[u8], name: &Name, name_hash: HashAlgorithm, wrapped: &Secret) -> Result<Secret> {
    let mut inner = wrapped.clone();
    let aes = Aes::new(key).ok_or(ResponseCode::SIZE)?;
    let mut iv = [0; BLOCK_BYTES];
    aes.decrypt(CipherMode::Cfb, &mut iv, inner.as_mut_bytes()).map_err(|_| ResponseCode::FAILURE)?;
    let mut reader = Reader::new(inner.as_bytes());
    let integrity = reader.sized(MAX_DIGEST_BYTES)?;
    let expected = hash(name_hash, &[reader.rest(), name.as_bytes()]);
    if !equal_in_constant_time(integrity, expected.as_bytes()) {
        return Err(ResponseCode::INTEGRITY);
    }
    Ok(Secret::from(reader.rest()))
}

/// The key of the inner wrapper: the caller's, or a new one.
fn inner_key(given: &Data, cipher: Option<BlockCipher>, random: &mut dyn Random) -> Result<Secret> {
    let Some(cipher) = cipher else {
        return if given.is_empty() { Ok(Secret::new()) } else { Err(ResponseCode::SIZE.parameter(1)) };
    };
    if given.is_empty() {
        let mut key = Secret::zeroed(cipher.key_bytes());
        random.fill(key.as_mut_bytes());
        return Ok(key);
    }
    if given.len() != cipher.key_bytes() {
        return Err(ResponseCode::SIZE.parameter(1));
    }
    Ok(Secret::from(given.as_bytes()))
}

/// TPM2_Duplicate (Part 3, 13.1).
pub fn duplicate(request: &mut Request<'_>) -> Result<()> {
    let given_key: Data = request.parameter()?;
    let cipher: Option<BlockCipher> = request.parameter()?;
    request.end_of_parameters()?;
    let (handle, parent_handle) = (request.handle(0), request.handle(1));
    let object = request.state.key(handle, 0)?;
    if object.has(A::FIXED_PARENT) {
        return Err(ResponseCode::ATTRIBUTES.handle(1));
    }
    let name_hash = object.public.name_hash.ok_or(ResponseCode::TYPE.handle(1))?;
    let parent = match parent_handle.is_null() {
        true => None,
        false => Some(request.state.key(parent_handle, 1)?),
    };
    if parent.is_some_and(|parent| !is_storage_key(parent)) {
        return Err(ResponseCode::TYPE.handle(2));
    }
    if object.has(A::ENCRYPTED_DUPLICATION) {
        if cipher.is_none() {
            return Err(ResponseCode::SYMMETRIC.parameter(2));
        }
        if parent.is_none() {
            return Err(ResponseCode::HIERARCHY.handle(2));
        }
    }
    let mut random = request.state.random.clone();
    let key = inner_key(&given_key, cipher, &mut random)?;
    let sensitive = object.sensitive.as_ref().ok_or(ResponseCode::AUTH_UNAVAILABLE)?;
    let mut body = sized_sensitive(sensitive, name_hash);
    if let Some(cipher) = cipher {
        body = wrap_inner(cipher, key.as_bytes(), &object.name, name_hash, &body)?;
    }
    let (private, seed) = wrap_outer(parent, &object.name, &body, &mut random)?;
    request.state.random = random;
    put_sized(request.response, key.as_bytes());
    request.answer_sized(&private);
    request.answer_sized(&seed);
    Ok(())
}

/// The outer wrapper for a new parent, with the seed that carries its keys there; nothing of both without a parent.
fn wrap_outer(
    parent: Option<&Object>,
    name: &Name,
    body: &Secret,
    random: &mut dyn Random,
) -> Result<(Vec<u8>, Vec<u8>)> {
    let Some(parent) = parent else { return Ok((body.as_bytes().to_vec(), Vec::new())) };
    let (seed, encrypted) = encrypt(parent, DUPLICATE, random)?;
    let wrapped = Protector::with_seed(parent, seed.as_bytes())?.wrap(name, body.as_bytes(), None)?;
    Ok((wrapped, encrypted))
}

/// TPM2_Rewrap (Part 3, 13.2).
pub fn rewrap(request: &mut Request<'_>) -> Result<()> {
    let private = request.parameter_with(|reader| reader.sized(MAX_PRIVATE_BYTES))?;
    let name: Name = request.parameter()?;
    let seed = request.parameter_with(|reader| reader.sized(MAX_ENCRYPTED_SECRET_BYTES))?;
    request.end_of_parameters()?;
    let (old_handle, new_handle) = (request.handle(0), request.handle(1));
    if seed.is_empty() != old_handle.is_null() {
        return Err(ResponseCode::HANDLE.handle(1));
    }
    let mut random = request.state.random.clone();
    let mut body = Secret::from(private);
    if !old_handle.is_null() {
        let old = request.state.key(old_handle, 0)?;
        if !is_storage_key(old) {
            return Err(ResponseCode::TYPE.handle(1));
        }
        let seed =
            decrypt(old, DUPLICATE, seed, &mut random).map_err(|_| ResponseCode::VALUE.parameter(3))?;
        let opened = Protector::with_seed(old, seed.as_bytes())?.unwrap(&name, private, false);
        body = opened.map_err(|code| code.parameter(1))?;
    }
    let parent = match new_handle.is_null() {
        true => None,
        false => Some(request.state.key(new_handle, 1)?),
    };
    if parent.is_some_and(|parent| !is_storage_key(parent)) {
        return Err(ResponseCode::TYPE.handle(2));
    }
    let (private, seed) = wrap_outer(parent, &name, &body, &mut random)?;
    request.state.random = random;
    request.answer_sized(&private);
    request.answer_sized(&seed);
    Ok(())
}

/// TPM2_Import (Part 3, 13.3).
pub fn import(request: &mut Request<'_>) -> Result<()> {
    let key: Data = request.parameter()?;
    let public = request.parameter_with(Public::unmarshal_sized)?;
    let private = request.parameter_with(|reader| reader.sized(MAX_PRIVATE_BYTES))?;
    let seed = request.parameter_with(|reader| reader.sized(MAX_ENCRYPTED_SECRET_BYTES))?;
    let cipher: Option<BlockCipher> = request.parameter()?;
    request.end_of_parameters()?;
    if public.attributes.has(A::FIXED_TPM) || public.attributes.has(A::FIXED_PARENT) {
        return Err(ResponseCode::ATTRIBUTES.parameter(2));
    }
    let parent = request.state.key(request.handle(0), 0)?;
    if !parent.is_storage_parent() {
        return Err(ResponseCode::TYPE.handle(1));
    }
    let encrypted_only = public.attributes.has(A::ENCRYPTED_DUPLICATION);
    if key.len() != cipher.map_or(0, BlockCipher::key_bytes) {
        return Err(ResponseCode::SIZE.parameter(1));
    }
    if encrypted_only && cipher.is_none() {
        return Err(ResponseCode::ATTRIBUTES.parameter(1));
    }
    if encrypted_only && seed.is_empty() {
        return Err(ResponseCode::ATTRIBUTES.parameter(4));
    }
    let mut random = request.state.random.clone();
    let seed = open_seed(parent, seed, &mut random)?;
    let name = name_of(&public);
    let name_hash = public.name_hash.ok_or(ResponseCode::HASH.parameter(2))?;
    let inner_key = cipher.map(|_| key.as_bytes());
    let sensitive = open_duplicate(parent, &name, name_hash, seed.as_ref(), inner_key, private)
        .map_err(|code| code.parameter(3))?;
    // Under a parent that never leaves, the checks of loading are done now and not again.
    if parent.has(A::FIXED_TPM) {
        check_loadable(None, &public, &sensitive, 2, 3)?;
    }
    let out = Protector::parent(parent)?.wrap_sensitive(&name, name_hash, &sensitive, &mut random)?;
    request.state.random = random;
    request.answer_sized(&out);
    Ok(())
}

fn open_seed(parent: &Object, seed: &[u8], random: &mut dyn Random) -> Result<Option<Secret>> {
    if seed.is_empty() {
        return Ok(None);
    }
    if parent.public.object_type() == ObjectType::SymmetricCipher {
        return Err(ResponseCode::TYPE.handle(1));
    }
    decrypt(parent, DUPLICATE, seed, random).map(Some).map_err(|code| code.parameter(4))
}

fn open_duplicate(
    parent: &Object,
    name: &Name,
    name_hash: HashAlgorithm,
    seed: Option<&Secret>,
    inner_key: Option<&[u8]>,
    private: &[u8],
) -> Result<Sensitive> {
    let mut body = Secret::from(private);
    if let Some(seed) = seed {
        body = Protector::with_seed(parent, seed.as_bytes())?.unwrap(name, private, false)?;
    }
    if let Some(key) = inner_key {
        body = unwrap_inner(key, name, name_hash, &body)?;
    }
    read_sized_sensitive(body.as_bytes())
}
