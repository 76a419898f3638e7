//! Asymmetric keys between their structures and the mathematics.

use super::Object;
use crate::crypto::ecc::{self, EccPoint as Point};
use crate::crypto::random::Random;
use crate::crypto::rsa::{RsaFailure, RsaPrivateKey, RsaPublicKey};
use crate::response_code::ResponseCode;
use crate::structures::buffers::{Buffer, EccPoint};
use crate::structures::public::{EccParameters, Parameters, Public, RsaParameters, Unique};
use crate::structures::sensitive::Sensitive;
use crate::wire::{Result, Secret};

/// The response code of what RSA refuses; it has no number yet.
impl From<RsaFailure> for ResponseCode {
    fn from(failure: RsaFailure) -> Self {
        match failure {
            RsaFailure::Size => Self::SIZE,
            RsaFailure::Hash => Self::HASH,
            RsaFailure::Value => Self::VALUE,
            RsaFailure::Range => Self::RANGE,
            RsaFailure::Binding => Self::BINDING,
            // Whoever brought the key brought no two primes: no fault of the TPM, and no reason to stop.
            RsaFailure::Fault => Self::BINDING,
        }
    }
}

impl From<&Point> for EccPoint {
    fn from(point: &Point) -> Self {
        Self { x: Buffer::from(point.x.as_slice()), y: Buffer::from(point.y.as_slice()) }
    }
}

impl From<&EccPoint> for Point {
    fn from(point: &EccPoint) -> Self {
        Self { x: point.x.0.clone(), y: point.y.0.clone() }
    }
}

/// A prime and its modulus: TPM_RC_RANGE for an exponent.
pub fn generate_rsa(rsa: &RsaParameters, random: &mut dyn Random) -> Result<(Secret, Unique)> {
    let key = RsaPrivateKey::generate(u32::from(rsa.key_bits), rsa.exponent, random)?;
    let unique = Unique::Modulus(Buffer::from(key.public().modulus()));
    Ok((Secret::from(key.prime().as_slice()), unique))
}

/// A scalar and its point.
pub fn generate_ecc(ecc: &EccParameters, random: &mut dyn Random) -> Result<(Secret, Unique)> {
    let key = ecc::generate(ecc.curve, random);
    Ok((Secret::from(key.private.as_slice()), Unique::Point(EccPoint::from(&key.public))))
}

/// The public half of an RSA key: TPM_RC_KEY for another type.
pub fn rsa_public(public: &Public) -> Result<RsaPublicKey> {
    match (&public.parameters, &public.unique) {
        (Parameters::Rsa(rsa), Unique::Modulus(modulus)) => {
            RsaPublicKey::new(modulus.as_bytes(), rsa.exponent).ok_or(ResponseCode::KEY)
        }
        _ => Err(ResponseCode::KEY),
    }
}

/// The private half of an RSA key: TPM_RC_KEY for another type or without a sensitive area.
pub fn rsa_private(object: &Object) -> Result<RsaPrivateKey> {
    let sensitive = object.sensitive.as_ref().ok_or(ResponseCode::KEY)?;
    Ok(RsaPrivateKey::from_prime(&rsa_public(&object.public)?, sensitive.secret.as_bytes())?)
}

/// Curve and point of an ECC key: TPM_RC_KEY for another type.
pub fn ecc_public(public: &Public) -> Result<(EccParameters, &EccPoint)> {
    match (&public.parameters, &public.unique) {
        (Parameters::Ecc(ecc), Unique::Point(point)) => Ok((*ecc, point)),
        _ => Err(ResponseCode::KEY),
    }
}

/// Whether public and sensitive area belong together, and each is what its parameters say. The numbers say which parameter is to
/// blame.
pub fn validate_keys(
    public: &Public,
    sensitive: Option<&Sensitive>,
    blame_public: u32,
    blame_sensitive: u32,
) -> Result<()> {
    let digest_bytes = public.name_hash.map_or(0, |hash| hash.digest_bytes());
    if let Some(sensitive) = sensitive {
        if public.object_type() != sensitive.object_type {
            return Err(ResponseCode::TYPE.parameter(blame_sensitive));
        }
        if digest_bytes > 0 && sensitive.auth.len() > digest_bytes {
            return Err(ResponseCode::SIZE.parameter(blame_sensitive));
        }
    }
    match (&public.parameters, &public.unique) {
        (Parameters::Rsa(rsa), Unique::Modulus(modulus)) => {
            validate_rsa(rsa, modulus.as_bytes(), sensitive, blame_public, blame_sensitive)?;
        }
        (Parameters::Ecc(ecc), Unique::Point(point)) => {
            validate_ecc(public, *ecc, point, sensitive, blame_public)?;
        }
        (_, Unique::Digest(digest)) => {
            if digest_bytes > 0 && digest.len() != digest_bytes {
                return Err(ResponseCode::KEY.parameter(blame_public));
            }
            validate_symmetric(public, digest.as_bytes(), sensitive, blame_sensitive)?;
        }
        _ => return Err(ResponseCode::TYPE.parameter(blame_public)),
    }
    use crate::structures::attributes::ObjectAttributes as A;
    if let Some(sensitive) = sensitive
        && public.attributes.has(A::RESTRICTED)
        && public.attributes.has(A::DECRYPT)
        && digest_bytes > 0
        && (sensitive.seed.len() < digest_bytes / 2 || sensitive.seed.len() > digest_bytes)
    {
        return Err(ResponseCode::SIZE.parameter(blame_sensitive));
    }
    Ok(())
}

fn validate_rsa(
    rsa: &RsaParameters,
    modulus: &[u8],
    sensitive: Option<&Sensitive>,
    blame_public: u32,
    blame_sensitive: u32,
) -> Result<()> {
    const SMALLEST_EXPONENT: u32 = 7;
    let key_bytes = usize::from(rsa.key_bits / 8);
    let has_top_bit = |bytes: &[u8]| bytes.first().is_some_and(|first| *first >= 0x80);
    if modulus.len() != key_bytes || !has_top_bit(modulus) {
        return Err(ResponseCode::KEY.parameter(blame_public));
    }
    if rsa.exponent != 0 && rsa.exponent < SMALLEST_EXPONENT {
        return Err(ResponseCode::VALUE.parameter(blame_public));
    }
    if let Some(sensitive) = sensitive {
        let prime = sensitive.secret.as_bytes();
        if prime.len() != key_bytes / 2 || !has_top_bit(prime) {
            return Err(ResponseCode::KEY_SIZE.parameter(blame_sensitive));
        }
        let key = RsaPublicKey::new(modulus, rsa.exponent).ok_or(ResponseCode::BINDING)?;
        RsaPrivateKey::from_prime(&key, prime).map_err(|_| ResponseCode::BINDING)?;
    }
    Ok(())
}

fn validate_ecc(
    public: &Public,
    ecc: EccParameters,
    point: &EccPoint,
    sensitive: Option<&Sensitive>,
    blame_public: u32,
) -> Result<()> {
    let key_bytes = ecc.curve.bytes();
    let named = public.name_hash.is_some();
    let Some(sensitive) = sensitive else {
        if point.x.len() != key_bytes || point.y.len() != key_bytes {
            return Err(ResponseCode::KEY.parameter(blame_public));
        }
        if named && !ecc::is_on_curve(ecc.curve, point.x.as_bytes(), point.y.as_bytes()) {
            return Err(ResponseCode::ECC_POINT.parameter(blame_public));
        }
        return Ok(());
    };
    let scalar = sensitive.secret.as_bytes();
    if !ecc::is_private_key(ecc.curve, scalar) {
        return Err(ResponseCode::KEY_SIZE);
    }
    let computed = ecc::public_key(ecc.curve, scalar).ok_or(ResponseCode::KEY_SIZE)?;
    if named && EccPoint::from(&computed) != *point {
        return Err(ResponseCode::BINDING);
    }
    Ok(())
}

fn validate_symmetric(
    public: &Public,
    digest: &[u8],
    sensitive: Option<&Sensitive>,
    blame_sensitive: u32,
) -> Result<()> {
    let Some(sensitive) = sensitive else { return Ok(()) };
    if let Parameters::SymmetricCipher(Some(cipher)) = public.parameters
        && sensitive.secret.len() != cipher.key_bytes()
    {
        return Err(ResponseCode::KEY_SIZE.parameter(blame_sensitive));
    }
    if let Some(hash) = public.name_hash {
        if sensitive.seed.len() > hash.digest_bytes() {
            return Err(ResponseCode::KEY_SIZE.parameter(blame_sensitive));
        }
        let computed = super::protection::obfuscated_digest(hash, &sensitive.seed, &sensitive.secret);
        if computed.as_bytes() != digest {
            return Err(ResponseCode::BINDING);
        }
    }
    Ok(())
}
