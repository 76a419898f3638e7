//! Credentials for a key that lives beside another: TPM2_MakeCredential and TPM2_ActivateCredential of Part 3's chapter on
//! object commands. Part 1, section on credential protection.

use crate::call::{Call, Handler};
use crate::command_table::CommandCode;
use crate::object::Object;
use crate::object::protection::Protector;
use crate::object::secret_sharing::{decrypt, encrypt};
use crate::response_code::ResponseCode;
use crate::structures::attributes::ObjectAttributes;
use crate::structures::buffers::{DigestBuffer, Name};
use crate::structures::limits::{MAX_ENCRYPTED_SECRET_BYTES, MAX_ID_OBJECT_BYTES};
use crate::wire::{Marshal, Reader, Result, put_sized};

/// The commands.
pub const HANDLERS: &[(CommandCode, Handler)] =
    &[(CommandCode::MakeCredential, make_credential), (CommandCode::ActivateCredential, activate_credential)];

/// What the seed of a credential is derived for.
const IDENTITY: &[u8] = b"IDENTITY";

/// Whether a key can receive credentials: asymmetric, restricted, for decryption.
fn receives_credentials(key: &Object) -> bool {
    key.public.is_asymmetric() && key.has(ObjectAttributes::DECRYPT) && key.has(ObjectAttributes::RESTRICTED)
}

/// TPM2_MakeCredential.
fn make_credential(call: &mut Call<'_>) -> Result<()> {
    let credential: DigestBuffer = call.parameter()?;
    let name: Name = call.parameter()?;
    call.end_of_parameters()?;
    let mut random = call.state.random.clone();
    let key = call.state.key(call.handle(0), 0)?;
    if !receives_credentials(key) {
        return Err(ResponseCode::TYPE.handle(1));
    }
    if credential.len() > key.public.name_hash.map_or(0, |hash| hash.digest_bytes()) {
        return Err(ResponseCode::SIZE.parameter(1));
    }
    let (seed, secret) = encrypt(key, IDENTITY, &mut random)?;
    let blob = Protector::with_seed(key, seed.as_bytes())?.wrap(&name, &credential.to_bytes(), None)?;
    call.state.random = random;
    call.answer_sized(&blob);
    call.answer_sized(&secret);
    Ok(())
}

/// TPM2_ActivateCredential.
fn activate_credential(call: &mut Call<'_>) -> Result<()> {
    let blob = call.parameter_with(|reader| reader.sized(MAX_ID_OBJECT_BYTES))?;
    let secret = call.parameter_with(|reader| reader.sized(MAX_ENCRYPTED_SECRET_BYTES))?;
    call.end_of_parameters()?;
    let mut random = call.state.random.clone();
    let name = call.state.key(call.handle(0), 0)?.name.clone();
    let key = call.state.key(call.handle(1), 1)?;
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
    call.state.random = random;
    put_sized(&mut call.response, credential.as_bytes());
    Ok(())
}
