//! Sessions: Part 3, chapter on session commands.

use crate::authorization::checks::bound_entity;
use crate::crypto::hash::HashAlgorithm;
use crate::crypto::kdf::kdfa;
use crate::crypto::random::Random;
use crate::nv::NvIndex;
use crate::object::secret_sharing;
use crate::request::Request;
use crate::response_code::ResponseCode;
use crate::session::{Binding, PolicyState, Session};
use crate::state::State;
use crate::structures::algorithms::{CipherMode, SymmetricDefinition};
use crate::structures::attributes::ObjectAttributes;
use crate::structures::buffers::DigestBuffer;
use crate::structures::capability::SessionType;
use crate::structures::handles::Handle;
use crate::structures::limits::MAX_ENCRYPTED_SECRET_BYTES;
use crate::wire::{Result, Secret};

/// A nonce of fewer bytes is refused: Part 1, section on nonces.
const SMALLEST_NONCE_BYTES: usize = 16;

/// TPM2_StartAuthSession (Part 3, 11.1).
pub fn start_auth_session(request: &mut Request<'_>) -> Result<()> {
    let (tpm_key, bind) = (request.handle(0), request.handle(1));
    let nonce_caller: DigestBuffer = request.parameter()?;
    let encrypted_salt = request.parameter_with(|reader| reader.sized(MAX_ENCRYPTED_SECRET_BYTES))?;
    let session_type: SessionType = request.parameter()?;
    let symmetric: SymmetricDefinition = request.parameter()?;
    let hash: HashAlgorithm = request.parameter()?;
    request.end_of_parameters()?;

    if nonce_caller.len() < SMALLEST_NONCE_BYTES || nonce_caller.len() > hash.digest_bytes() {
        return Err(ResponseCode::SIZE.parameter(1));
    }
    let salt = match (tpm_key.is_null(), encrypted_salt.is_empty()) {
        (true, true) => Secret::new(),
        (true, false) => return Err(ResponseCode::VALUE.parameter(2)),
        (false, _) => salt(request, tpm_key, encrypted_salt)?,
    };
    check_bind(request.state, bind)?;
    if let SymmetricDefinition::Aes(cipher) = symmetric
        && cipher.mode != Some(CipherMode::Cfb)
    {
        return Err(ResponseCode::MODE.parameter(4));
    }
    request.state.sessions.check_room()?;

    let mut nonce_tpm = DigestBuffer::from(alloc::vec![0; nonce_caller.len()].as_slice());
    request.state.random.fill(&mut nonce_tpm.0);
    let auth = if bind.is_null() { Secret::new() } else { request.state.auth_value(bind) };
    let key = session_key(hash, &auth.followed_by(&salt), &nonce_tpm, &nonce_caller, tpm_key, bind);
    let policy = match session_type {
        SessionType::Hmac => None,
        SessionType::Policy => Some(PolicyState::new(hash, false)),
        SessionType::Trial => Some(PolicyState::new(hash, true)),
    };
    let binding = (!bind.is_null() && policy.is_none()).then(|| Binding {
        entity: bound_entity(request.state, bind),
        dictionary_attack: !request.state.is_exempt_from_dictionary_attack(bind),
        lockout: bind == Handle::LOCKOUT,
    });
    let (started, epoch) = (request.state.clock.time, request.state.clock.epoch);
    let session = Session {
        hash,
        nonce_tpm: nonce_tpm.clone(),
        key,
        symmetric,
        policy,
        binding,
        audit: None,
        started,
        epoch,
    };
    request.response_handle = Some(request.state.sessions.insert(session)?);
    request.answer(&nonce_tpm);
    Ok(())
}

/// The session key: none where nothing secret went into it.
fn session_key(
    hash: HashAlgorithm,
    secret: &Secret,
    nonce_tpm: &DigestBuffer,
    nonce_caller: &DigestBuffer,
    tpm_key: Handle,
    bind: Handle,
) -> Secret {
    if tpm_key.is_null() && bind.is_null() {
        return Secret::new();
    }
    let bits = u32::try_from(hash.digest_bytes()).unwrap_or(0).saturating_mul(8);
    let key = kdfa(hash, secret.as_bytes(), b"ATH", nonce_tpm.as_bytes(), nonce_caller.as_bytes(), bits);
    Secret::from(key.as_slice())
}

/// What a session can be bound to: neither an object of which only the public area is loaded, nor a PIN index.
fn check_bind(state: &State, bind: Handle) -> Result<()> {
    let public_only = state.object(bind).is_some_and(|object| object.sensitive.is_none());
    let pin = state.nv.indices.get(&bind).is_some_and(NvIndex::is_pin);
    if public_only || pin { Err(ResponseCode::HANDLE.handle(2)) } else { Ok(()) }
}

/// The salt that the caller encrypted to a decryption key.
fn salt(request: &mut Request<'_>, tpm_key: Handle, encrypted: &[u8]) -> Result<Secret> {
    let key = request.state.object(tpm_key).ok_or(ResponseCode::KEY.handle(1))?;
    if !key.public.is_asymmetric() {
        return Err(ResponseCode::KEY.handle(1));
    }
    if encrypted.is_empty() {
        return Err(ResponseCode::VALUE.parameter(2));
    }
    if key.sensitive.is_none() {
        return Err(ResponseCode::HANDLE.handle(1));
    }
    if !key.has(ObjectAttributes::DECRYPT) {
        return Err(ResponseCode::ATTRIBUTES.handle(1));
    }
    let mut blinding = request.state.random.clone();
    let salt = secret_sharing::decrypt(key, b"SECRET", encrypted, &mut blinding)
        .map_err(|_| ResponseCode::VALUE.parameter(2))?;
    request.state.random = blinding;
    Ok(salt)
}

/// TPM2_PolicyRestart (Part 3, 11.2).
pub fn policy_restart(request: &mut Request<'_>) -> Result<()> {
    request.end_of_parameters()?;
    let (time, epoch) = (request.state.clock.time, request.state.clock.epoch);
    let session = request.state.policy_session(request.handle(0))?;
    session.restart_policy();
    session.started = time;
    session.epoch = epoch;
    Ok(())
}
