//! Signing and signature verification: Part 3, chapter of the same name.

use crate::commands::object::TICKET_HASH;
use crate::commands::policy::verified_ticket;
use crate::crypto::hash::HashAlgorithm;
use crate::object::protection::ticket_digest;
use crate::object::signing::{self, select_scheme, verify};
use crate::request::Request;
use crate::response_code::ResponseCode;
use crate::state::State;
use crate::structures::attributes::ObjectAttributes;
use crate::structures::buffers::DigestBuffer;
use crate::structures::handles::Handle;
use crate::structures::schemes::Scheme;
use crate::structures::signature::Signature;
use crate::structures::tickets::{Ticket, tag};
use crate::wire::{Result, equal_in_constant_time};

/// TPM2_VerifySignature (Part 3, 20.1).
pub fn verify_signature(request: &mut Request<'_>) -> Result<()> {
    let digest: DigestBuffer = request.parameter()?;
    let signature = request.parameter_with(Signature::unmarshal_present)?;
    request.end_of_parameters()?;
    let handle = request.handle(0);
    let key = request.state.object(handle).filter(|key| key.has(ObjectAttributes::SIGN));
    let key = key.ok_or(ResponseCode::ATTRIBUTES.handle(1))?;
    verify(key, digest.as_bytes(), &signature).map_err(|code| code.parameter(2))?;
    let nameless = key.public.name_hash.is_none();
    let (hierarchy, name) = (key.hierarchy, key.name.clone());
    let ticket = if hierarchy.is_null() || nameless {
        Ticket::null(tag::VERIFIED)
    } else {
        verified_ticket(request.state, hierarchy, digest.as_bytes(), &name)
    };
    request.answer(&ticket);
    Ok(())
}

/// TPMT_TK_HASHCHECK: that the TPM hashed something that does not begin like a structure of its own.
pub fn hash_check_ticket(
    state: &State,
    hierarchy: Handle,
    algorithm: HashAlgorithm,
    digest: &[u8],
) -> Ticket {
    let tag = tag::HASHCHECK;
    let parts = [&tag.to_be_bytes()[..], &algorithm.to_wire().to_be_bytes(), digest];
    let digest = ticket_digest(TICKET_HASH, state.hierarchies.proof(hierarchy), &parts);
    Ticket { tag, hierarchy, digest: DigestBuffer::from(digest.as_bytes()) }
}

/// TPM2_Sign (Part 3, 20.2).
pub fn sign(request: &mut Request<'_>) -> Result<()> {
    let digest: DigestBuffer = request.parameter()?;
    let wanted = request.parameter_with(Scheme::unmarshal_signing)?;
    let validation = request.parameter_with(Ticket::unmarshal_hash_check)?;
    request.end_of_parameters()?;
    let handle = request.handle(0);
    let key = request.state.object(handle).filter(|key| key.is_signing());
    let key = key.ok_or(ResponseCode::KEY.handle(1))?;
    if key.has(ObjectAttributes::X509_SIGN) {
        return Err(ResponseCode::ATTRIBUTES.handle(1));
    }
    let scheme = select_scheme(key, wanted).map_err(|code| code.parameter(2))?;
    let algorithm = scheme.hash().ok_or(ResponseCode::SCHEME.parameter(2))?;
    if !validation.digest.is_empty() || key.has(ObjectAttributes::RESTRICTED) {
        let expected = hash_check_ticket(request.state, validation.hierarchy, algorithm, digest.as_bytes());
        if !equal_in_constant_time(expected.digest.as_bytes(), validation.digest.as_bytes()) {
            return Err(ResponseCode::TICKET.parameter(3));
        }
    } else if digest.len() != algorithm.digest_bytes() {
        return Err(ResponseCode::SIZE.parameter(1));
    }
    let signature = sign_with(request, handle, scheme, digest.as_bytes())?;
    request.answer(&signature);
    Ok(())
}

/// Signs with a loaded key; uses up the commitment of an anonymous signature.
pub fn sign_with(
    request: &mut Request<'_>,
    handle: Handle,
    scheme: Scheme,
    digest: &[u8],
) -> Result<Signature> {
    let mut random = request.state.random.clone();
    let key = request.state.key(handle, 0)?;
    let committed = match scheme {
        Scheme::EcDaa(_, count) => {
            Some(request.state.commitments.scalar(key, count).ok_or(ResponseCode::VALUE)?)
        }
        _ => None,
    };
    let signature = signing::sign(key, scheme, digest, committed.as_ref(), &mut random)?;
    request.state.random = random;
    if let Scheme::EcDaa(_, count) = scheme {
        request.state.commitments.end(count);
    }
    Ok(signature)
}
