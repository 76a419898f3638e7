//! Signing and signature verification: Part 3, chapter of the same name.

use crate::call::{Call, Handler};
use crate::command_table::CommandCode;
use crate::commands::authorization::verified_ticket;
use crate::commands::objects::TICKET_HASH;
use crate::crypto::hash::HashAlgorithm;
use crate::object::protection::ticket_digest;
use crate::object::signing::{select_scheme, sign, verify};
use crate::response_code::ResponseCode;
use crate::state::State;
use crate::structures::attributes::ObjectAttributes;
use crate::structures::buffers::DigestBuffer;
use crate::structures::handles::Handle;
use crate::structures::schemes::Scheme;
use crate::structures::signature::Signature;
use crate::structures::tickets::{Ticket, tag};
use crate::wire::{Result, equal_in_constant_time};

/// The commands of this chapter.
pub const HANDLERS: &[(CommandCode, Handler)] =
    &[(CommandCode::VerifySignature, verify_signature), (CommandCode::Sign, sign_digest)];

/// TPM2_VerifySignature.
fn verify_signature(call: &mut Call<'_>) -> Result<()> {
    let digest: DigestBuffer = call.parameter()?;
    let signature = call.parameter_with(Signature::unmarshal_present)?;
    call.end_of_parameters()?;
    let handle = call.handle(0);
    let key = call.state.object(handle).filter(|key| key.has(ObjectAttributes::SIGN));
    let key = key.ok_or(ResponseCode::ATTRIBUTES.handle(1))?;
    verify(key, digest.as_bytes(), &signature).map_err(|code| code.parameter(2))?;
    let nameless = key.public.name_hash.is_none();
    let (hierarchy, name) = (key.hierarchy, key.name.clone());
    let ticket = if hierarchy.is_null() || nameless {
        Ticket::null(tag::VERIFIED)
    } else {
        verified_ticket(call.state, hierarchy, digest.as_bytes(), &name)
    };
    call.answer(&ticket);
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

/// TPM2_Sign.
fn sign_digest(call: &mut Call<'_>) -> Result<()> {
    let digest: DigestBuffer = call.parameter()?;
    let wanted = call.parameter_with(Scheme::unmarshal_signing)?;
    let validation = call.parameter_with(Ticket::unmarshal_hash_check)?;
    call.end_of_parameters()?;
    let handle = call.handle(0);
    let key = call.state.object(handle).filter(|key| key.is_signing());
    let key = key.ok_or(ResponseCode::KEY.handle(1))?;
    if key.has(ObjectAttributes::X509_SIGN) {
        return Err(ResponseCode::ATTRIBUTES.handle(1));
    }
    let scheme = select_scheme(key, wanted).map_err(|code| code.parameter(2))?;
    let algorithm = scheme.hash().ok_or(ResponseCode::SCHEME.parameter(2))?;
    if !validation.digest.is_empty() || key.has(ObjectAttributes::RESTRICTED) {
        let expected = hash_check_ticket(call.state, validation.hierarchy, algorithm, digest.as_bytes());
        if !equal_in_constant_time(expected.digest.as_bytes(), validation.digest.as_bytes()) {
            return Err(ResponseCode::TICKET.parameter(3));
        }
    } else if digest.len() != algorithm.digest_bytes() {
        return Err(ResponseCode::SIZE.parameter(1));
    }
    let signature = sign_with(call, handle, scheme, digest.as_bytes())?;
    call.answer(&signature);
    Ok(())
}

/// Signs with a loaded key; uses up the commitment of an anonymous signature.
pub fn sign_with(call: &mut Call<'_>, handle: Handle, scheme: Scheme, digest: &[u8]) -> Result<Signature> {
    let mut random = call.state.random.clone();
    let key = call.state.key(handle, 0)?;
    let committed = match scheme {
        Scheme::EcDaa(_, count) => {
            Some(call.state.commitments.scalar(key, count).ok_or(ResponseCode::VALUE)?)
        }
        _ => None,
    };
    let signature = sign(key, scheme, digest, committed.as_ref(), &mut random)?;
    call.state.random = random;
    if let Scheme::EcDaa(_, count) = scheme {
        call.state.commitments.end(count);
    }
    Ok(signature)
}
