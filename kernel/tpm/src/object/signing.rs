//! Signing with a loaded key, and checking signatures: Part 1, section on signing; Part 3, CryptSign() and its siblings.

use super::Object;
use super::asymmetric::{ecc_public, rsa_private, rsa_public};
use crate::crypto::ecc::{self, EccPoint, EccSignature};
use crate::crypto::hash::HashAlgorithm;
use crate::crypto::hmac::hmac;
use crate::crypto::kdf::SecretBytes;
use crate::crypto::random::Random;
use crate::crypto::rsa::RsaSignature;
use crate::response_code::ResponseCode;
use crate::structures::attributes::ObjectAttributes;
use crate::structures::buffers::{Buffer, TaggedDigest};
use crate::structures::public::{ObjectType, Parameters};
use crate::structures::schemes::{KeyedHashScheme, Scheme};
use crate::structures::signature::{EccSignatureScheme, RsaSignatureScheme, Signature};
use crate::wire::{Result, equal_in_constant_time};

impl Object {
    /// Whether the object can sign at all.
    pub fn is_signing(&self) -> bool {
        self.has(ObjectAttributes::SIGN) && self.public.object_type() != ObjectType::SymmetricCipher
    }

    /// The scheme that the key was made for, null where it is free.
    fn own_scheme(&self) -> Scheme {
        match &self.public.parameters {
            Parameters::KeyedHash(KeyedHashScheme::Hmac(hash)) => Scheme::Hmac(*hash),
            Parameters::KeyedHash(_) | Parameters::SymmetricCipher(_) => Scheme::Null,
            parameters => parameters.asymmetric_scheme(),
        }
    }
}

/// The scheme to sign with, from what the caller asks for and what the key was made for: CryptSelectSignScheme().
///
/// # Errors
/// TPM_RC_SCHEME: they contradict each other, neither names one, or it is not for keys of this type.
pub fn select_scheme(key: &Object, wanted: Scheme) -> Result<Scheme> {
    let own = key.own_scheme();
    let selected = match (own, wanted) {
        (_, _) if key.public.object_type() == ObjectType::SymmetricCipher => None,
        (Scheme::Null, Scheme::Null) => None,
        (Scheme::Null, wanted) => Some(wanted),
        // The count of a commitment comes from the caller.
        (Scheme::EcDaa(..), Scheme::Null) => None,
        (own, Scheme::Null) => Some(own),
        (own, wanted) if own.to_wire() == wanted.to_wire() && own.hash() == wanted.hash() => Some(wanted),
        _ => None,
    };
    selected.filter(|scheme| suits(key.public.object_type(), *scheme)).ok_or(ResponseCode::SCHEME)
}

/// Whether keys of a type sign by a scheme.
const fn suits(object_type: ObjectType, scheme: Scheme) -> bool {
    match object_type {
        ObjectType::Rsa => matches!(scheme, Scheme::RsaSsa(_) | Scheme::RsaPss(_)),
        ObjectType::Ecc => matches!(scheme, Scheme::EcDsa(_) | Scheme::EcSchnorr(_) | Scheme::EcDaa(..)),
        ObjectType::KeyedHash => matches!(scheme, Scheme::Hmac(_)),
        ObjectType::SymmetricCipher => false,
    }
}

/// Signs a digest. `committed` is the scalar of an earlier TPM2_Commit, for ECDAA.
///
/// # Errors
/// TPM_RC_SCHEME: the scheme is not one of the key's type. TPM_RC_KEY: only the public area is loaded. TPM_RC_SIZE,
/// TPM_RC_VALUE: of the signature algorithm.
pub fn sign(
    key: &Object,
    scheme: Scheme,
    digest: &[u8],
    committed: Option<&SecretBytes>,
    random: &mut dyn Random,
) -> Result<Signature> {
    let sensitive = key.sensitive.as_ref().ok_or(ResponseCode::KEY)?;
    let private = sensitive.secret.as_bytes();
    match (key.public.object_type(), scheme) {
        (ObjectType::Rsa, Scheme::RsaSsa(hash) | Scheme::RsaPss(hash)) => {
            let is_pss = matches!(scheme, Scheme::RsaPss(_));
            let scheme = if is_pss { RsaSignatureScheme::Pss } else { RsaSignatureScheme::Ssa };
            let signature = rsa_private(key)?.sign(rsa_scheme(scheme, hash), digest, random)?;
            Ok(Signature::Rsa { scheme, hash, signature: Buffer(signature) })
        }
        (ObjectType::Ecc, scheme) => {
            let curve = ecc_public(&key.public)?.0.curve;
            let (kind, hash, signature) = match (scheme, committed) {
                (Scheme::EcDsa(hash), _) => {
                    (EccSignatureScheme::Dsa, hash, ecc::sign_ecdsa(curve, private, digest, random))
                }
                (Scheme::EcSchnorr(hash), _) => {
                    let signature = ecc::sign_schnorr(curve, private, hash, digest, random);
                    (EccSignatureScheme::Schnorr, hash, signature)
                }
                (Scheme::EcDaa(hash, _), Some(committed)) => {
                    let signature = ecc::sign_ecdaa(curve, private, committed, hash, digest, random);
                    (EccSignatureScheme::Daa, hash, signature)
                }
                (Scheme::EcDaa(..), None) => return Err(ResponseCode::VALUE),
                _ => return Err(ResponseCode::SCHEME),
            };
            let EccSignature { r, s } = signature.ok_or(ResponseCode::FAILURE)?;
            Ok(Signature::Ecc { scheme: kind, hash, r: Buffer(r), s: Buffer(s) })
        }
        (ObjectType::KeyedHash, Scheme::Hmac(hash)) => {
            let digest = hmac(hash, private, &[digest]).as_bytes().to_vec();
            Ok(Signature::Hmac(TaggedDigest { hash, digest }))
        }
        _ => Err(ResponseCode::SCHEME),
    }
}

const fn rsa_scheme(scheme: RsaSignatureScheme, hash: HashAlgorithm) -> RsaSignature {
    match scheme {
        RsaSignatureScheme::Ssa => RsaSignature::Rsassa(hash),
        RsaSignatureScheme::Pss => RsaSignature::Rsapss(hash),
    }
}

/// Checks a signature over a digest.
///
/// # Errors
/// TPM_RC_SCHEME: the signature is not one of the key's type. TPM_RC_SIGNATURE: it is wrong. TPM_RC_HANDLE: the key is an HMAC
/// key of which only the public area is loaded.
pub fn verify(key: &Object, digest: &[u8], signature: &Signature) -> Result<()> {
    let good = match (key.public.object_type(), signature) {
        (ObjectType::Rsa, Signature::Rsa { scheme, hash, signature }) => {
            rsa_public(&key.public)?.verify(rsa_scheme(*scheme, *hash), digest, signature.as_bytes())
        }
        (ObjectType::Ecc, Signature::Ecc { scheme, hash, r, s }) => {
            let (parameters, point) = ecc_public(&key.public)?;
            let (curve, point) = (parameters.curve, EccPoint::from(point));
            let numbers = EccSignature { r: r.as_bytes().to_vec(), s: s.as_bytes().to_vec() };
            match scheme {
                EccSignatureScheme::Dsa => ecc::verify_ecdsa(curve, &point, digest, &numbers),
                EccSignatureScheme::Schnorr => ecc::verify_schnorr(curve, &point, *hash, digest, &numbers),
                // An anonymous signature is for others to check.
                EccSignatureScheme::Daa => return Err(ResponseCode::SCHEME),
            }
        }
        (ObjectType::KeyedHash, Signature::Hmac(expected)) => {
            let sensitive = key.sensitive.as_ref().ok_or(ResponseCode::HANDLE)?;
            let actual = hmac(expected.hash, sensitive.secret.as_bytes(), &[digest]);
            equal_in_constant_time(actual.as_bytes(), &expected.digest)
        }
        _ => return Err(ResponseCode::SCHEME),
    };
    if good { Ok(()) } else { Err(ResponseCode::SIGNATURE) }
}
