//! Asymmetric primitives: Part 3, chapter of the same name.

use alloc::vec::Vec;

use crate::commands::symmetric::MaxBuffer;
use crate::crypto::ecc::{self, EccCurve, EccPoint as Point};
use crate::crypto::hash::hash;
use crate::crypto::kdf::kdf2;
use crate::crypto::rsa::RsaEncryption;
use crate::object::Object;
use crate::object::asymmetric::{ecc_public, rsa_private, rsa_public};
use crate::request::Request;
use crate::response_code::ResponseCode;
use crate::structures::algorithms::Curve;
use crate::structures::attestation::Data;
use crate::structures::attributes::ObjectAttributes;
use crate::structures::buffers::{Buffer, DigestBuffer, EccPoint};
use crate::structures::limits::MAX_RSA_KEY_BYTES;
use crate::structures::public::ObjectType;
use crate::structures::schemes::{Kdf, KdfScheme, Scheme};
use crate::wire::{Marshal, Result, equal_in_constant_time, put_sized, put_sized_structure};

/// TPM2B_PUBLIC_KEY_RSA.
type RsaBuffer = Buffer<MAX_RSA_KEY_BYTES>;

/// Message, scheme and label of both RSA commands.
fn rsa_parameters(request: &mut Request<'_>) -> Result<(RsaBuffer, Scheme, Data)> {
    let message = request.parameter()?;
    let scheme = request.parameter_with(Scheme::unmarshal_rsa_decrypt)?;
    let label = request.parameter()?;
    request.end_of_parameters()?;
    Ok((message, scheme, label))
}

/// The scheme of an encryption: the key's, or the caller's: CryptRsaSelectScheme().
fn select_rsa_scheme(key: &Object, wanted: Scheme, label: &Data) -> Result<Scheme> {
    if label.as_bytes().last().is_some_and(|last| *last != 0) {
        return Err(ResponseCode::VALUE.parameter(3));
    }
    match (key.public.parameters.asymmetric_scheme(), wanted) {
        (Scheme::Null, wanted) => Ok(wanted),
        (own, Scheme::Null) => Ok(own),
        (own, wanted) if own == wanted => Ok(wanted),
        _ => Err(ResponseCode::SCHEME.parameter(2)),
    }
}

fn rsa_encryption(scheme: Scheme, label: &Data) -> Result<RsaEncryption<'_>> {
    match scheme {
        Scheme::Null => Ok(RsaEncryption::Raw),
        Scheme::RsaEs => Ok(RsaEncryption::Rsaes),
        Scheme::Oaep(hash) => Ok(RsaEncryption::Oaep { hash, label: label.as_bytes() }),
        _ => Err(ResponseCode::SCHEME),
    }
}

/// TPM2_RSA_Encrypt (Part 3, 14.2).
pub fn rsa_encrypt(request: &mut Request<'_>) -> Result<()> {
    let (message, wanted, label) = rsa_parameters(request)?;
    let mut random = request.state.random.clone();
    let key = request.state.object(request.handle(0)).ok_or(ResponseCode::KEY.handle(1))?;
    if key.public.object_type() != ObjectType::Rsa {
        return Err(ResponseCode::KEY.handle(1));
    }
    if !key.has(ObjectAttributes::DECRYPT) {
        return Err(ResponseCode::ATTRIBUTES.handle(1));
    }
    let scheme = select_rsa_scheme(key, wanted, &label)?;
    let encryption = rsa_encryption(scheme, &label)?;
    let encrypted = rsa_public(&key.public)?.encrypt(encryption, message.as_bytes(), &mut random)?;
    request.state.random = random;
    request.answer_sized(&encrypted);
    Ok(())
}

/// TPM2_RSA_Decrypt (Part 3, 14.3).
pub fn rsa_decrypt(request: &mut Request<'_>) -> Result<()> {
    let (encrypted, wanted, label) = rsa_parameters(request)?;
    let mut random = request.state.random.clone();
    let key = request.state.object(request.handle(0)).ok_or(ResponseCode::KEY.handle(1))?;
    if key.public.object_type() != ObjectType::Rsa {
        return Err(ResponseCode::KEY.handle(1));
    }
    if key.has(ObjectAttributes::RESTRICTED) || !key.has(ObjectAttributes::DECRYPT) {
        return Err(ResponseCode::ATTRIBUTES.handle(1));
    }
    let scheme = select_rsa_scheme(key, wanted, &label)?;
    let encryption = rsa_encryption(scheme, &label)?;
    let message = rsa_private(key)?.decrypt(encryption, encrypted.as_bytes(), &mut random)?;
    request.state.random = random;
    put_sized(request.response, &message);
    Ok(())
}

/// TPM2_ECDH_KeyGen (Part 3, 14.4).
pub fn ecdh_key_gen(request: &mut Request<'_>) -> Result<()> {
    request.end_of_parameters()?;
    let key = request.state.object(request.handle(0)).ok_or(ResponseCode::KEY.handle(1))?;
    let (parameters, own) = ecc_public(&key.public).map_err(|code| code.handle(1))?;
    let own = Point::from(own);
    let ephemeral = ecc::generate(parameters.curve, &mut request.state.random);
    let z = ecc::multiply(parameters.curve, &ephemeral.private, &own).ok_or(ResponseCode::KEY.handle(1))?;
    put_sized_structure(request.response, &EccPoint::from(&z));
    put_sized_structure(request.response, &EccPoint::from(&ephemeral.public));
    Ok(())
}

/// An unrestricted decryption key on a curve: its curve and scalar.
fn exchange_key(key: &Object) -> Result<(EccCurve, &[u8])> {
    let (parameters, _) = ecc_public(&key.public).map_err(|code| code.handle(1))?;
    if key.has(ObjectAttributes::RESTRICTED) || !key.has(ObjectAttributes::DECRYPT) {
        return Err(ResponseCode::ATTRIBUTES.handle(1));
    }
    let sensitive = key.sensitive.as_ref().ok_or(ResponseCode::KEY.handle(1))?;
    Ok((parameters.curve, sensitive.secret.as_bytes()))
}

/// TPM2_ECDH_ZGen (Part 3, 14.5).
pub fn ecdh_z_gen(request: &mut Request<'_>) -> Result<()> {
    let point = request.parameter_with(EccPoint::unmarshal_sized)?;
    request.end_of_parameters()?;
    let key = request.state.object(request.handle(0)).ok_or(ResponseCode::KEY.handle(1))?;
    let (curve, scalar) = exchange_key(key)?;
    if !matches!(key.public.parameters.asymmetric_scheme(), Scheme::Null | Scheme::Ecdh(_)) {
        return Err(ResponseCode::SCHEME.handle(1));
    }
    let z = ecc::multiply(curve, scalar, &(&point).into()).ok_or(ResponseCode::ECC_POINT.parameter(1))?;
    put_sized_structure(request.response, &EccPoint::from(&z));
    Ok(())
}

/// TPM2_ECC_Parameters (Part 3, 14.6): TPMS_ALGORITHM_DETAIL_ECC.
pub fn ecc_parameters(request: &mut Request<'_>) -> Result<()> {
    let curve: Curve = request.parameter()?;
    request.end_of_parameters()?;
    request.answer(&curve);
    request.answer(&curve.bits());
    let hash = match curve {
        EccCurve::P256 => crate::crypto::hash::HashAlgorithm::Sha256,
        EccCurve::P384 => crate::crypto::hash::HashAlgorithm::Sha384,
        EccCurve::P521 => crate::crypto::hash::HashAlgorithm::Sha512,
    };
    request.answer(&Some(KdfScheme { kdf: Kdf::Sp80056a, hash }));
    request.answer(&Scheme::Null);
    let constants = curve.parameters();
    for number in
        [constants.p, constants.a, constants.b, constants.g_x, constants.g_y, constants.n, constants.h]
    {
        request.answer_sized(number);
    }
    Ok(())
}

/// TPMI_ECC_KEY_EXCHANGE.
struct Exchange(u16);

impl crate::wire::Unmarshal for Exchange {
    fn unmarshal(reader: &mut crate::wire::Reader<'_>) -> Result<Self> {
        use crate::structures::algorithms::id;
        match reader.read()? {
            number @ (id::ECDH | id::ECMQV) => Ok(Self(number)),
            _ => Err(ResponseCode::SCHEME),
        }
    }
}

/// TPM2_ZGen_2Phase (Part 3, 14.7): ECDH with a static and an ephemeral key on either side. Part 1, annex C.6.
pub fn z_gen_2_phase(request: &mut Request<'_>) -> Result<()> {
    let static_b = request.parameter_with(EccPoint::unmarshal_sized)?;
    let ephemeral_b = request.parameter_with(EccPoint::unmarshal_sized)?;
    let Exchange(wanted) = request.parameter()?;
    let counter: u16 = request.parameter()?;
    request.end_of_parameters()?;
    let key = request.state.object(request.handle(0)).ok_or(ResponseCode::KEY.handle(1))?;
    let (curve, scalar) = exchange_key(key)?;
    let own = key.public.parameters.asymmetric_scheme();
    let is_ecdh = wanted == crate::structures::algorithms::id::ECDH;
    if !is_ecdh || (!own.is_null() && own.to_wire() != wanted) {
        return Err(ResponseCode::SCHEME.parameter(3));
    }
    for (point, number) in [(&static_b, 1), (&ephemeral_b, 2)] {
        if !ecc::is_on_curve(curve, point.x.as_bytes(), point.y.as_bytes()) {
            return Err(ResponseCode::ECC_POINT.parameter(number));
        }
    }
    let ephemeral = request.state.commitments.scalar_of(counter, curve, &[]);
    let ephemeral = ephemeral.ok_or(ResponseCode::VALUE.parameter(4))?;
    let z1 = ecc::multiply(curve, scalar, &(&static_b).into()).ok_or(ResponseCode::NO_RESULT)?;
    let z2 = ecc::multiply(curve, &ephemeral, &(&ephemeral_b).into()).ok_or(ResponseCode::NO_RESULT)?;
    request.state.commitments.end(counter);
    put_sized_structure(request.response, &EccPoint::from(&z1));
    put_sized_structure(request.response, &EccPoint::from(&z2));
    Ok(())
}

/// The scheme of TPM2_ECC_Encrypt and TPM2_ECC_Decrypt, whose only mask generation function is KDF2.
fn encryption_scheme(key: &Object, wanted: Option<KdfScheme>, parameter: u32) -> Result<KdfScheme> {
    let own = ecc_public(&key.public).map_err(|code| code.handle(1))?.0.kdf;
    let scheme = match (own, wanted) {
        (Some(own), Some(wanted)) if own != wanted => None,
        (own, wanted) => wanted.or(own),
    };
    scheme.filter(|scheme| scheme.kdf == Kdf::Iso18033).ok_or(ResponseCode::SCHEME.parameter(parameter))
}

/// The mask over a message, and the check value over both: ISO/IEC 18033-2.
fn mask(scheme: KdfScheme, z: &Point, message: &[u8]) -> Vec<u8> {
    let mut masked = alloc::vec![0; message.len()];
    kdf2(scheme.hash, &[z.x.as_slice(), z.y.as_slice()].concat(), &mut masked);
    for (mask, byte) in masked.iter_mut().zip(message) {
        *mask ^= byte;
    }
    masked
}

fn check_value(scheme: KdfScheme, z: &Point, message: &[u8]) -> DigestBuffer {
    DigestBuffer::from(hash(scheme.hash, &[&z.x, message, &z.y]).as_bytes())
}

/// TPM2_ECC_Encrypt (Part 3, 14.8).
pub fn ecc_encrypt(request: &mut Request<'_>) -> Result<()> {
    let message: MaxBuffer = request.parameter()?;
    let wanted: Option<KdfScheme> = request.parameter()?;
    request.end_of_parameters()?;
    let key = request.state.object(request.handle(0)).ok_or(ResponseCode::KEY.handle(1))?;
    let (parameters, own) = ecc_public(&key.public).map_err(|code| code.handle(1))?;
    if !key.has(ObjectAttributes::DECRYPT) {
        return Err(ResponseCode::ATTRIBUTES.handle(1));
    }
    let scheme = encryption_scheme(key, wanted, 2)?;
    let own = Point::from(own);
    let ephemeral = ecc::generate(parameters.curve, &mut request.state.random);
    let z = ecc::multiply(parameters.curve, &ephemeral.private, &own).ok_or(ResponseCode::KEY.handle(1))?;
    put_sized_structure(request.response, &EccPoint::from(&ephemeral.public));
    request.answer_sized(&mask(scheme, &z, message.as_bytes()));
    check_value(scheme, &z, message.as_bytes()).marshal(request.response);
    Ok(())
}

/// TPM2_ECC_Decrypt (Part 3, 14.9).
pub fn ecc_decrypt(request: &mut Request<'_>) -> Result<()> {
    let point = request.parameter_with(EccPoint::unmarshal_sized)?;
    let masked: MaxBuffer = request.parameter()?;
    let expected: DigestBuffer = request.parameter()?;
    let wanted: Option<KdfScheme> = request.parameter()?;
    request.end_of_parameters()?;
    let key = request.state.object(request.handle(0)).ok_or(ResponseCode::KEY.handle(1))?;
    let (curve, scalar) = exchange_key(key)?;
    let scheme = encryption_scheme(key, wanted, 4)?;
    let z = ecc::multiply(curve, scalar, &(&point).into()).ok_or(ResponseCode::ECC_POINT.parameter(1))?;
    let message = crate::wire::Secret::from(mask(scheme, &z, masked.as_bytes()));
    let actual = check_value(scheme, &z, message.as_bytes());
    if !equal_in_constant_time(actual.as_bytes(), expected.as_bytes()) {
        return Err(ResponseCode::VALUE.parameter(3));
    }
    put_sized(request.response, message.as_bytes());
    Ok(())
}
