//! Objects: Part 3, chapter on object commands.
//!
//! `creating` makes objects, `loading` loads them, `credentials` has those of one key for another, this file the rest.

pub mod creating;
pub mod credentials;
pub mod loading;

use crate::crypto::hash::HashAlgorithm;
use crate::object::protection::{Protector, ticket_digest};
use crate::object::qualified_name;
use crate::request::Request;
use crate::response_code::ResponseCode;
use crate::state::State;
use crate::structures::attributes::ObjectAttributes;
use crate::structures::buffers::{Auth, DigestBuffer, Name};
use crate::structures::handles::Handle;
use crate::structures::tickets::{Ticket, tag};
use crate::wire::{Marshal, Result};

/// What keys tickets and contexts: SHA-512 keeps the strength of every proof.
pub const TICKET_HASH: HashAlgorithm = HashAlgorithm::Sha512;

/// TPMT_TK_CREATION: proves that the TPM made the object with this creation data.
pub fn creation_ticket(state: &State, hierarchy: Handle, name: &Name, digest: &DigestBuffer) -> Ticket {
    let proof = state.hierarchies.proof(hierarchy);
    let parts = [&tag::CREATION.to_be_bytes()[..], name.as_bytes(), digest.as_bytes()];
    let digest = ticket_digest(TICKET_HASH, proof, &parts);
    Ticket { tag: tag::CREATION, hierarchy, digest: DigestBuffer::from(digest.as_bytes()) }
}

/// TPM2_ReadPublic (Part 3, 12.4).
pub fn read_public(request: &mut Request<'_>) -> Result<()> {
    request.end_of_parameters()?;
    // A sequence has no public area: Part 3 answers TPM_RC_SEQUENCE.
    let object = request.state.object(request.handle(0)).ok_or(ResponseCode::SEQUENCE)?;
    let (public, name, qualified) =
        (object.public.clone(), object.name.clone(), object.qualified_name.clone());
    public.marshal_sized(request.response);
    request.answer(&name);
    request.answer(&qualified);
    Ok(())
}

/// TPM2_Unseal (Part 3, 12.7).
pub fn unseal(request: &mut Request<'_>) -> Result<()> {
    use crate::structures::public::ObjectType;
    request.end_of_parameters()?;
    let object = request.state.key(request.handle(0), 0)?;
    if object.public.object_type() != ObjectType::KeyedHash {
        return Err(ResponseCode::TYPE.handle(1));
    }
    let used = [ObjectAttributes::DECRYPT, ObjectAttributes::SIGN, ObjectAttributes::RESTRICTED];
    if used.iter().any(|attribute| object.has(*attribute)) {
        return Err(ResponseCode::ATTRIBUTES.handle(1));
    }
    let data = object.sensitive.as_ref().map(|sensitive| sensitive.secret.clone()).unwrap_or_default();
    data.marshal(request.response);
    Ok(())
}

/// TPM2_ObjectChangeAuth (Part 3, 12.8).
pub fn object_change_auth(request: &mut Request<'_>) -> Result<()> {
    let auth: Auth = request.parameter()?;
    request.end_of_parameters()?;
    let (handle, parent_handle): (Handle, Handle) = (request.handle(0), request.handle(1));
    let object = request.state.key(handle, 0)?;
    let name_hash = object.public.name_hash.ok_or(ResponseCode::HASH.handle(1))?;
    let auth = auth.0.without_trailing_zeros();
    if auth.len() > name_hash.digest_bytes() {
        return Err(ResponseCode::SIZE.parameter(1));
    }
    let expected =
        qualified_name(request.state.qualified_name(parent_handle).as_bytes(), &object.name, Some(name_hash));
    if expected != object.qualified_name {
        return Err(ResponseCode::TYPE.handle(2));
    }
    let parent = request.state.key(parent_handle, 1)?;
    let mut sensitive = object.sensitive.clone().ok_or(ResponseCode::AUTH_UNAVAILABLE)?;
    sensitive.auth = auth;
    let mut random = request.state.random.clone();
    let private = Protector::parent(parent)
        .and_then(|protector| protector.wrap_sensitive(&object.name, name_hash, &sensitive, &mut random))
        .map_err(|code| if code == ResponseCode::TYPE { code.handle(2) } else { code })?;
    request.state.random = random;
    request.answer_sized(&private);
    Ok(())
}
