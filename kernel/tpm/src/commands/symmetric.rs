//! Symmetric primitives: Part 3, chapter of the same name.

use crate::commands::signing::hash_check_ticket;
use crate::crypto::hash::{self, HashAlgorithm};
use crate::crypto::hmac::{self};
use crate::crypto::symmetric::{Aes, BLOCK_BYTES, CipherMode};
use crate::object::Object;
use crate::request::Request;
use crate::response_code::ResponseCode;
use crate::state::State;
use crate::structures::attestation::GENERATED;
use crate::structures::attributes::ObjectAttributes;
use crate::structures::buffers::Buffer;
use crate::structures::handles::{Handle, HandleKind};
use crate::structures::limits::{MAX_BUFFER_BYTES, MAX_SYMMETRIC_BLOCK_BYTES};
use crate::structures::public::Parameters;
use crate::structures::schemes::KeyedHashScheme;
use crate::structures::tickets::{Ticket, tag};
use crate::wire::{Result, Secret, put_sized};

/// TPM2B_MAX_BUFFER.
pub type MaxBuffer = Buffer<MAX_BUFFER_BYTES>;
/// TPM2B_IV.
type Iv = Buffer<MAX_SYMMETRIC_BLOCK_BYTES>;

/// What both commands take, in different orders.
struct Operation {
    decrypt: bool,
    mode: Option<CipherMode>,
    iv: Iv,
    data: MaxBuffer,
}

/// The numbers of the parameters that errors are about.
struct Numbers {
    mode: u32,
    iv: u32,
    data: u32,
}

/// TPM2_EncryptDecrypt (Part 3, 15.2).
pub fn encrypt_decrypt(request: &mut Request<'_>) -> Result<()> {
    let (decrypt, mode) = (request.parameter()?, request.parameter()?);
    let (iv, data) = (request.parameter()?, request.parameter()?);
    request.end_of_parameters()?;
    run(request, &Operation { decrypt, mode, iv, data }, &Numbers { mode: 2, iv: 3, data: 4 })
}

/// TPM2_EncryptDecrypt2 (Part 3, 15.3): the data comes first, so that a session can encrypt it.
pub fn encrypt_decrypt_2(request: &mut Request<'_>) -> Result<()> {
    let data = request.parameter()?;
    let (decrypt, mode, iv) = (request.parameter()?, request.parameter()?, request.parameter()?);
    request.end_of_parameters()?;
    run(request, &Operation { decrypt, mode, iv, data }, &Numbers { mode: 3, iv: 4, data: 1 })
}

fn run(request: &mut Request<'_>, operation: &Operation, numbers: &Numbers) -> Result<()> {
    let key = request.state.object(request.handle(0)).ok_or(ResponseCode::KEY.handle(1))?;
    let Parameters::SymmetricCipher(Some(cipher)) = key.public.parameters else {
        return Err(ResponseCode::KEY.handle(1));
    };
    let direction = if operation.decrypt { ObjectAttributes::DECRYPT } else { ObjectAttributes::SIGN };
    if key.has(ObjectAttributes::RESTRICTED) || !key.has(direction) {
        return Err(ResponseCode::ATTRIBUTES.handle(1));
    }
    let mode = match (cipher.mode, operation.mode) {
        (Some(own), Some(wanted)) if own != wanted => None,
        (Some(own), _) => Some(own),
        (None, wanted) => wanted,
    };
    let mode = mode.ok_or(ResponseCode::MODE.parameter(numbers.mode))?;
    let iv_bytes = if mode == CipherMode::Ecb { 0 } else { BLOCK_BYTES };
    if operation.iv.len() != iv_bytes {
        return Err(ResponseCode::SIZE.parameter(numbers.iv));
    }
    if mode.needs_whole_blocks() && !operation.data.len().is_multiple_of(BLOCK_BYTES) {
        return Err(ResponseCode::SIZE.parameter(numbers.data));
    }
    let secret = key.sensitive.as_ref().ok_or(ResponseCode::KEY.handle(1))?;
    let aes = Aes::new(secret.secret.as_bytes()).ok_or(ResponseCode::FAILURE)?;
    let mut iv = [0; BLOCK_BYTES];
    for (to, from) in iv.iter_mut().zip(operation.iv.as_bytes()) {
        *to = *from;
    }
    let mut data = Secret::from(operation.data.as_bytes());
    let bytes = data.as_mut_bytes();
    let done =
        if operation.decrypt { aes.decrypt(mode, &mut iv, bytes) } else { aes.encrypt(mode, &mut iv, bytes) };
    done.map_err(|_| ResponseCode::SIZE.parameter(numbers.data))?;
    put_sized(request.response, data.as_bytes());
    request.answer_sized(iv.get(..iv_bytes).unwrap_or_default());
    Ok(())
}

/// Whether data of the caller cannot be taken for a structure of the TPM's: it is long enough to tell, and begins otherwise.
pub fn is_safe_for_a_ticket(beginning: &[u8]) -> bool {
    beginning.first_chunk().is_some_and(|first| u32::from_be_bytes(*first) != GENERATED)
}

/// The ticket of a digest that the TPM computed, where one is wanted and safe.
pub fn ticket_for(
    state: &State,
    hierarchy: Handle,
    algorithm: HashAlgorithm,
    digest: &[u8],
    safe: bool,
) -> Ticket {
    if hierarchy.is_null() || !safe {
        return Ticket::null(tag::HASHCHECK);
    }
    hash_check_ticket(state, hierarchy, algorithm, digest)
}

/// TPM2_Hash (Part 3, 15.4).
pub fn hash(request: &mut Request<'_>) -> Result<()> {
    let data: MaxBuffer = request.parameter()?;
    let algorithm: HashAlgorithm = request.parameter()?;
    let hierarchy = request.parameter_with(|reader| HandleKind::Hierarchy.unmarshal(reader))?;
    request.end_of_parameters()?;
    let digest = hash::hash(algorithm, &[data.as_bytes()]);
    // Data that is too short to begin like a structure of the TPM's is safe here: all of it is seen.
    let short = data.len() < size_of::<u32>();
    let safe = short || is_safe_for_a_ticket(data.as_bytes());
    let ticket = ticket_for(request.state, hierarchy, algorithm, digest.as_bytes(), safe);
    request.answer_sized(digest.as_bytes());
    request.answer(&ticket);
    Ok(())
}

/// The algorithm of an HMAC with a key: the key's own, or the caller's; `parameter` is the number of the caller's.
///
/// # Errors
/// TPM_RC_TYPE, TPM_RC_ATTRIBUTES, TPM_RC_KEY: it is no unrestricted HMAC key. TPM_RC_VALUE: there is no algorithm, or two.
pub fn hmac_algorithm(key: &Object, wanted: Option<HashAlgorithm>, parameter: u32) -> Result<HashAlgorithm> {
    let Parameters::KeyedHash(scheme) = key.public.parameters else {
        return Err(ResponseCode::TYPE.handle(1));
    };
    if key.has(ObjectAttributes::RESTRICTED) {
        return Err(ResponseCode::ATTRIBUTES.handle(1));
    }
    if !key.has(ObjectAttributes::SIGN) {
        return Err(ResponseCode::KEY.handle(1));
    }
    let algorithm = match (scheme, wanted) {
        (KeyedHashScheme::Hmac(own), None) => Some(own),
        (KeyedHashScheme::Hmac(own), Some(wanted)) => Some(own).filter(|own| *own == wanted),
        (_, wanted) => wanted,
    };
    algorithm.ok_or(ResponseCode::VALUE.parameter(parameter))
}

/// TPM2_HMAC (Part 3, 15.5).
pub fn hmac(request: &mut Request<'_>) -> Result<()> {
    let data: MaxBuffer = request.parameter()?;
    let wanted: Option<HashAlgorithm> = request.parameter()?;
    request.end_of_parameters()?;
    let key = request.state.key(request.handle(0), 0)?;
    let algorithm = hmac_algorithm(key, wanted, 2)?;
    let secret = key.sensitive.as_ref().ok_or(ResponseCode::KEY.handle(1))?;
    let digest = hmac::hmac(algorithm, secret.secret.as_bytes(), &[data.as_bytes()]);
    request.answer_sized(digest.as_bytes());
    Ok(())
}
