//! Which public areas may be created or loaded: Part 1, annexes on object attributes; Part 3, TPM2_Create.
//!
//! The order of the checks decides which response code a template with several faults gets.

use super::Object;
use super::asymmetric::validate_keys;
use crate::crypto::hash::HashAlgorithm;
use crate::response_code::ResponseCode;
use crate::structures::attributes::ObjectAttributes as A;
use crate::structures::public::{ObjectType, Parameters, Public};
use crate::structures::schemes::{Kdf, KeyedHashScheme, Scheme};
use crate::structures::sensitive::Sensitive;
use crate::wire::Result;

/// Checks for a new object: who brings the sensitive data, then everything else.
pub fn check_creation(parent: Option<&Object>, public: &Public, data_bytes: usize) -> Result<()> {
    let attributes = public.attributes;
    let origin = attributes.has(A::SENSITIVE_DATA_ORIGIN);
    if !origin && data_bytes == 0 {
        return Err(ResponseCode::ATTRIBUTES);
    }
    if parent.is_some() && origin && data_bytes != 0 {
        return Err(ResponseCode::ATTRIBUTES);
    }
    match public.object_type() {
        ObjectType::KeyedHash | ObjectType::SymmetricCipher => {
            let keyed_hash = public.object_type() == ObjectType::KeyedHash;
            let is_data = keyed_hash && !attributes.has(A::SIGN) && !attributes.has(A::DECRYPT);
            let fixed = attributes.has(A::FIXED_PARENT) || attributes.has(A::FIXED_TPM);
            if (is_data && origin) || (attributes.has(A::RESTRICTED) && !origin && fixed) {
                return Err(ResponseCode::ATTRIBUTES);
            }
        }
        ObjectType::Rsa | ObjectType::Ecc => {
            if !origin {
                return Err(ResponseCode::ATTRIBUTES);
            }
        }
    }
    check_public(parent, public)
}

/// Checks of a public area under its parent, `None` for a hierarchy.
pub fn check_public(parent: Option<&Object>, public: &Public) -> Result<()> {
    let attributes = public.attributes;
    let name_hash = public.name_hash.ok_or(ResponseCode::HASH)?;
    if !public.policy.is_empty() && public.policy.len() != name_hash.digest_bytes() {
        return Err(ResponseCode::SIZE);
    }
    check_fixing(parent, attributes)?;
    if attributes.has(A::SIGN) == attributes.has(A::DECRYPT) {
        let is_data = public.object_type() == ObjectType::KeyedHash;
        if attributes.has(A::RESTRICTED) || (!is_data && !attributes.has(A::SIGN)) {
            return Err(ResponseCode::ATTRIBUTES);
        }
    }
    if attributes.has(A::FIXED_TPM) && attributes.has(A::ENCRYPTED_DUPLICATION) {
        return Err(ResponseCode::ATTRIBUTES);
    }
    if let Some(parent) = parent {
        let same = attributes.has(A::ENCRYPTED_DUPLICATION) == parent.has(A::ENCRYPTED_DUPLICATION);
        if !parent.has(A::FIXED_TPM) && !same {
            return Err(ResponseCode::ATTRIBUTES);
        }
    }
    // No hierarchy of this TPM is limited to a firmware or its security version.
    if attributes.has(A::FIRMWARE_LIMITED) || attributes.has(A::SVN_LIMITED) {
        return Err(ResponseCode::ATTRIBUTES);
    }
    if let Some(parent) = parent.filter(|parent| parent.is_derivation_parent()) {
        let same = attributes.has(A::FIXED_TPM) == parent.has(A::FIXED_TPM);
        if !same || !attributes.has(A::FIXED_PARENT) {
            return Err(ResponseCode::ATTRIBUTES);
        }
    }
    check_schemes(parent, public)
}

/// Checks of both areas of an object that is loaded under its parent, `None` for one that has to stand for itself. The numbers
/// say which parameter is to blame.
///
/// What is under a parent that never leaves was protected by this TPM, which made both areas together or put them through the
/// same checks on import: the authentication of the private area, which covers the Name, says that they still belong together.
/// Calculating a public point or an inverse to see it again costs several times the rest of TPM2_Load.
pub fn check_loadable(
    parent: Option<&Object>,
    public: &Public,
    sensitive: &Sensitive,
    blame_public: u32,
    blame_sensitive: u32,
) -> Result<()> {
    if sensitive.seed.len() > public.name_hash.map_or(0, HashAlgorithm::digest_bytes) {
        return Err(ResponseCode::KEY_SIZE.parameter(blame_sensitive));
    }
    check_public(parent, public).map_err(|code| code.parameter(blame_public))?;
    if parent.is_some_and(|parent| parent.has(A::FIXED_TPM)) {
        return Ok(());
    }
    validate_keys(public, Some(sensitive), blame_public, blame_sensitive)
}

fn check_fixing(parent: Option<&Object>, attributes: A) -> Result<()> {
    let under_fixed = parent.is_none_or(|parent| parent.has(A::FIXED_TPM));
    let consistent = if under_fixed {
        attributes.has(A::FIXED_PARENT) == attributes.has(A::FIXED_TPM)
    } else {
        !attributes.has(A::FIXED_TPM)
    };
    if consistent { Ok(()) } else { Err(ResponseCode::ATTRIBUTES) }
}

/// Whether schemes and symmetric algorithms suit the attributes.
pub fn check_schemes(parent: Option<&Object>, public: &Public) -> Result<()> {
    let attributes = public.attributes;
    match &public.parameters {
        Parameters::SymmetricCipher(_) => {}
        Parameters::KeyedHash(scheme) => check_keyed_hash_scheme(attributes, *scheme)?,
        Parameters::Rsa(rsa) => {
            check_asymmetric_scheme(attributes, rsa.scheme, rsa.scheme.is_rsa_decryption())?;
            check_no_symmetric_in_leaf(public)?;
        }
        Parameters::Ecc(ecc) => {
            check_asymmetric_scheme(attributes, ecc.scheme, ecc.scheme.is_ecc_decryption())?;
            check_no_symmetric_in_leaf(public)?;
            if ecc.kdf.is_some() {
                return Err(ResponseCode::KDF);
            }
        }
    }
    let storage_parent = attributes.has(A::RESTRICTED)
        && attributes.has(A::DECRYPT)
        && public.object_type() != ObjectType::KeyedHash;
    if storage_parent {
        let symmetric = public.parameters.symmetric().ok_or(ResponseCode::SYMMETRIC)?;
        if let Some(parent) = parent.filter(|_| attributes.has(A::FIXED_PARENT)) {
            if public.name_hash != parent.public.name_hash {
                return Err(ResponseCode::HASH);
            }
            if parent.public.parameters.symmetric() != Some(symmetric) {
                return Err(ResponseCode::SYMMETRIC);
            }
        }
    }
    Ok(())
}

fn check_keyed_hash_scheme(attributes: A, scheme: KeyedHashScheme) -> Result<()> {
    let (sign, decrypt) = (attributes.has(A::SIGN), attributes.has(A::DECRYPT));
    let suits = match scheme {
        KeyedHashScheme::Null => sign == decrypt,
        KeyedHashScheme::Hmac(_) => sign && !decrypt,
        KeyedHashScheme::Xor(_, kdf) => {
            decrypt && !sign && (!attributes.has(A::RESTRICTED) || kdf == Some(Kdf::Sp800108))
        }
    };
    if suits { Ok(()) } else { Err(ResponseCode::SCHEME) }
}

fn check_asymmetric_scheme(attributes: A, scheme: Scheme, is_decryption: bool) -> Result<()> {
    let (sign, decrypt) = (attributes.has(A::SIGN), attributes.has(A::DECRYPT));
    let restricted = attributes.has(A::RESTRICTED);
    let suits = if sign == decrypt {
        scheme.is_null()
    } else if sign {
        scheme.is_asymmetric_signing() || (!restricted && scheme.is_null())
    } else {
        scheme.is_null() || (!restricted && is_decryption)
    };
    if suits { Ok(()) } else { Err(ResponseCode::SCHEME) }
}

fn check_no_symmetric_in_leaf(public: &Public) -> Result<()> {
    let is_parent = public.attributes.has(A::RESTRICTED) && public.attributes.has(A::DECRYPT);
    if !is_parent && public.parameters.symmetric().is_some() {
        return Err(ResponseCode::SYMMETRIC);
    }
    Ok(())
}
