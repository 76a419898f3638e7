//! Credentials for a key that lives beside another: TPM2_MakeCredential and TPM2_ActivateCredential of Part 3's chapter on
//! object commands. Part 1, section on credential protection.

use crate::object::Object;
use crate::object::protection::Protector;
use crate::object::secret_sharing::{decrypt, encrypt};
use crate::request::Request;
use crate::response_code::ResponseCode;
use crate::structures::attributes::ObjectAttributes;
use crate::structures::buffers::{DigestBuffer, Name};
use crate::structures::limits::{MAX_ENCRYPTED_SECRET_BYTES, MAX_ID_OBJECT_BYTES};
use crate::wire::{Marshal, Reader, Result, put_sized};

/// What the seed of a credential is derived for.
const IDENTITY: &[u8] = b"IDENTITY";

/// Whether a key can receive credentials: asymmetric, restricted, for decryption.
fn receives_credentials(key: &Object) -> bool {
    key.public.is_asymmetric() && key.has(ObjectAttributes::DECRYPT) && key.has(ObjectAttributes::RESTRICTED)
}

/// TPM2_MakeCredential (Part 3, 12.6).
pub fn make_credential(request: &mut Request<'_>) -> Result<()> {
    let credential: DigestBuffer = request.parameter()?;
    let name: Name = request.parameter()?;
    request.end_of_parameters()?;
    let mut random = request.state.random.clone();
    let key = request.state.key(request.handle(0), 0)?;
    if !receives_credentials(key) {
        return Err(ResponseCode::TYPE.handle(1));
    }
    if credential.len() > key.public.name_hash.map_or(0, |hash| hash.digest_bytes()) {
        return Err(ResponseCode::SIZE.parameter(1));
    }
    let (seed, secret) = encrypt(key, IDENTITY, &mut random)?;
    let blob = Protector::with_seed(key, seed.as_bytes())?.wrap(&name, &credential.to_bytes(), None)?;
    request.state.random = random;
    request.answer_sized(&blob);
    request.answer_sized(&secret);
    Ok(())
}

/// TPM2_ActivateCredential (Part 3, 12.5).
pub fn activate_credential(request: &mut Request<'_>) -> Result<()> {
    let blob = request.parameter_with(|reader| reader.sized(MAX_ID_OBJECT_BYTES))?;
    let secret = request.parameter_with(|reader| reader.sized(MAX_ENCRYPTED_SECRET_BYTES))?;
    request.end_of_parameters()?;
    let mut random = request.state.random.clone();
    let name = request.state.key(request.handle(0), 0)?.name.clone();
    let key = request.state.key(request.handle(1), 1)?;
    if !receives_credentials(key) {
        return Err(ResponseCode::TYPE.handle(2));
    }
    let seed = decrypt(key, IDENTITY, secret, &mut random).map_err(|code| code.parameter(2))?;
    let opened = Protector::with_seed(key, seed.as_bytes())?.unwrap(&name, blob, false);
    let opened = opened.map_err(|code| code.parameter(1))?;
    let mut reader = Reader::new(opened.as_bytes());
    let credential: DigestBuffer = reader.read().map_err(|code| code.parameter(1))?;
    if !reader.is_empty() {
        return Err(ResponseCode::SIZE.parameter(1));
    }
    request.state.random = random;
    put_sized(request.response, credential.as_bytes());
    Ok(())
}
