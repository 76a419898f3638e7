//! Making keys and data objects, from the TPM's random numbers or from a seed: Part 1, section on object creation.

use super::{Object, asymmetric, name_of, qualified_name};
use crate::crypto::hash::{HashAlgorithm, hash};
use crate::crypto::random::Random;
use crate::object::protection::obfuscated_digest;
use crate::response_code::ResponseCode;
use crate::state::State;
use crate::structures::attestation::{CreationData, Data};
use crate::structures::attributes::{Locality, ObjectAttributes};
use crate::structures::buffers::DigestBuffer;
use crate::structures::handles::{Handle, HandleType};
use crate::structures::limits::{MAX_DIGEST_BYTES, MAX_SENSITIVE_DATA_BYTES, MAX_SYMMETRIC_KEY_BYTES};
use crate::structures::pcr_selection::PcrSelectionList;
use crate::structures::public::{Parameters, Public, Unique};
use crate::structures::sensitive::{Sensitive, SensitiveCreate};
use crate::wire::{Marshal, Result, Secret};

/// Makes the object that a template asks for; the checks of [`super::checks`] are done.
///
/// TPM_RC_KEY_SIZE, TPM_RC_SIZE, TPM_RC_RANGE, TPM_RC_VALUE, none numbered: the key cannot be made so.
pub fn create(
    template: &Public,
    given: &SensitiveCreate,
    random: &mut dyn Random,
) -> Result<(Public, Sensitive)> {
    let name_hash = template.name_hash.ok_or(ResponseCode::HASH)?;
    let auth = given.auth.without_trailing_zeros();
    let mut public = template.clone();
    let object_type = public.object_type();
    let (secret, unique) = match &template.parameters {
        Parameters::Rsa(rsa) => asymmetric::generate_rsa(rsa, random)?,
        Parameters::Ecc(ecc) => asymmetric::generate_ecc(ecc, random)?,
        Parameters::SymmetricCipher(cipher) => {
            let bytes = cipher.ok_or(ResponseCode::SYMMETRIC)?.key_bytes();
            (
                symmetric_key(template, given, bytes, MAX_SYMMETRIC_KEY_BYTES, random)?,
                Unique::Digest(DigestBuffer::new()),
            )
        }
        Parameters::KeyedHash(scheme) => {
            let hash = scheme.hash().unwrap_or(name_hash);
            let bytes = hash.digest_bytes();
            let attributes = template.attributes;
            // A key longer than a block would be hashed first; data may be as long as it likes.
            let is_key = attributes.has(ObjectAttributes::SIGN) || attributes.has(ObjectAttributes::DECRYPT);
            let most = if is_key { hash.block_bytes() } else { MAX_SENSITIVE_DATA_BYTES };
            (symmetric_key(template, given, bytes, most, random)?, Unique::Digest(DigestBuffer::new()))
        }
    };
    public.unique = unique;
    // Every object but an asymmetric leaf has a seed: Part 1, section on protected storage.
    let is_parent = template.attributes.has(ObjectAttributes::RESTRICTED)
        && template.attributes.has(ObjectAttributes::DECRYPT);
    let mut seed = Secret::new();
    if !public.is_asymmetric() || is_parent {
        seed = Secret::zeroed(name_hash.digest_bytes());
        random.fill(seed.as_mut_bytes());
    }
    if !public.is_asymmetric() {
        let digest = obfuscated_digest(name_hash, &seed, &secret);
        public.unique = Unique::Digest(DigestBuffer::from(digest.as_bytes()));
    }
    Ok((public, Sensitive { object_type, auth, seed, secret }))
}

/// Whether an authorization value is no longer than the name algorithm's digest: TPM_RC_SIZE otherwise.
pub fn check_auth_size(auth: &Secret, public: &Public) -> Result<()> {
    let most = public.name_hash.map_or(MAX_DIGEST_BYTES, HashAlgorithm::digest_bytes);
    if auth.without_trailing_zeros().len() > most { Err(ResponseCode::SIZE) } else { Ok(()) }
}

/// A key of `bytes` bytes, or the data that the caller brought: TPM_RC_SIZE where it is too long or does not fit the cipher,
/// TPM_RC_KEY_SIZE where the cipher's key has another size.
fn symmetric_key(
    template: &Public,
    given: &SensitiveCreate,
    bytes: usize,
    most: usize,
    random: &mut dyn Random,
) -> Result<Secret> {
    let is_cipher = matches!(template.parameters, Parameters::SymmetricCipher(_));
    if template.attributes.has(ObjectAttributes::SENSITIVE_DATA_ORIGIN) {
        let mut key = Secret::zeroed(bytes);
        random.fill(key.as_mut_bytes());
        return Ok(key);
    }
    if is_cipher && given.data.len() != bytes {
        return Err(ResponseCode::KEY_SIZE);
    }
    if given.data.len() > most {
        return Err(ResponseCode::SIZE);
    }
    Ok(given.data.clone())
}

/// The object with its names, under a parent or a hierarchy.
pub fn assemble(state: &State, parent: Handle, public: Public, sensitive: Option<Sensitive>) -> Object {
    let name = name_of(&public);
    let qualified_name = qualified_name(state.qualified_name(parent).as_bytes(), &name, public.name_hash);
    let primary = parent.kind() == HandleType::Permanent;
    let parent_object = state.object(parent);
    let state_clear = public.attributes.has(ObjectAttributes::STATE_CLEAR)
        || parent_object.is_some_and(|parent| parent.state_clear);
    Object {
        name,
        qualified_name,
        public,
        sensitive,
        hierarchy: if primary { parent } else { state.hierarchy_of(parent) },
        external: false,
        primary,
        state_clear,
    }
}

/// TPMS_CREATION_DATA of a new object under `parent`, with its digest.
pub fn creation_data(
    state: &State,
    parent: Handle,
    public: &Public,
    selection: &PcrSelectionList,
    outside_info: &Data,
    locality: u8,
) -> Result<(CreationData, DigestBuffer)> {
    let name_hash = public.name_hash.ok_or(ResponseCode::HASH)?;
    // What is not allocated is not in the digest, and the data says so.
    let selection = state.pcrs.filter(selection);
    let pcr_digest = state.pcrs.digest(name_hash, &selection);
    let data = CreationData {
        selection,
        pcr_digest: DigestBuffer::from(pcr_digest.as_bytes()),
        locality: Locality::of(locality),
        parent_name_hash: state.object(parent).and_then(|parent| parent.public.name_hash),
        parent_name: state.name(parent),
        parent_qualified_name: state.qualified_name(parent),
        outside_info: outside_info.clone(),
    };
    let digest = hash(name_hash, &[&data.to_bytes()]);
    Ok((data, DigestBuffer::from(digest.as_bytes())))
}
