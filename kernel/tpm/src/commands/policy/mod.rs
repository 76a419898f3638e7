//! Policies: Part 3, chapter on enhanced authorization.
//!
//! Each command adds one step to a policy session's digest, after it has checked what the step says; a trial session
//! only computes the digest. `proofs` holds the steps that somebody else authorizes (a signature, a secret, a ticket),
//! `comparisons` those that compare something the TPM knows, this file the rest.

pub mod comparisons;
pub mod proofs;

use alloc::vec::Vec;

use crate::command::{self, CommandCode};
use crate::commands::object::TICKET_HASH;
use crate::crypto::hash::{Digest, HashAlgorithm, hash};
use crate::object::protection::ticket_digest;
use crate::request::Request;
use crate::response_code::ResponseCode;
use crate::session::{Constraint, PolicyState, Session};
use crate::state::State;
use crate::structures::attributes::Locality;
use crate::structures::buffers::{DigestBuffer, DigestList, Name};
use crate::structures::handles::Handle;
use crate::structures::pcr_selection::PcrSelectionList;
use crate::structures::tickets::{Ticket, tag};
use crate::wire::{Marshal, Reader, Result, equal_in_constant_time};

/// Most digests of TPM2_PolicyOR come with at least two branches: fewer would be no choice.
const LEAST_BRANCHES: usize = 2;
/// Localities below are bits, from here on numbers: Part 2, TPMA_LOCALITY.
const EXTENDED_LOCALITIES: u8 = 32;

/// The hash algorithm and the policy state of the session behind a handle.
fn policy_of(state: &mut State, handle: Handle) -> Result<(HashAlgorithm, &mut PolicyState)> {
    let session: &mut Session = state.policy_session(handle)?;
    let algorithm = session.hash;
    Ok((algorithm, session.policy_mut()?))
}

/// Extends a policy digest by a command and what it says.
fn extend(algorithm: HashAlgorithm, policy: &mut PolicyState, code: CommandCode, parts: &[&[u8]]) {
    let code = code.to_wire().to_be_bytes();
    let mut all: Vec<&[u8]> = alloc::vec![policy.digest.as_bytes(), &code];
    all.extend_from_slice(parts);
    let digest = hash(algorithm, &all);
    policy.digest = digest;
}

/// Extends a policy digest by the name of who authorizes, and then by a reference: Part 3, PolicyUpdate().
fn extend_by_name(
    algorithm: HashAlgorithm,
    policy: &mut PolicyState,
    code: CommandCode,
    name: &Name,
    reference: &DigestBuffer,
) {
    extend(algorithm, policy, code, &[name.as_bytes()]);
    let digest = hash(algorithm, &[policy.digest.as_bytes(), reference.as_bytes()]);
    policy.digest = digest;
}

/// TPM2_PolicyOR (Part 3, 23.6): the digest so far must be one of the branches.
pub fn policy_or(request: &mut Request<'_>) -> Result<()> {
    let branches = request.parameter_with(|reader| DigestList::unmarshal_at_least(reader, LEAST_BRANCHES))?;
    request.end_of_parameters()?;
    let (algorithm, policy) = policy_of(request.state, request.handle(0))?;
    let is_branch =
        |branch: &DigestBuffer| equal_in_constant_time(branch.as_bytes(), policy.digest.as_bytes());
    if !policy.trial && !branches.0.iter().any(is_branch) {
        return Err(ResponseCode::VALUE.parameter(1));
    }
    policy.digest = Digest::zero(algorithm);
    let branches: Vec<&[u8]> = branches.0.iter().map(DigestBuffer::as_bytes).collect();
    extend(algorithm, policy, CommandCode::PolicyOr, &branches);
    Ok(())
}

/// TPM2_PolicyPCR (Part 3, 23.7).
pub fn policy_pcr(request: &mut Request<'_>) -> Result<()> {
    let expected: DigestBuffer = request.parameter()?;
    let selection: PcrSelectionList = request.parameter()?;
    request.end_of_parameters()?;
    let algorithm = request.state.policy_session(request.handle(0))?.hash;
    let selection = request.state.pcrs.filter(&selection);
    let counter = request.state.pcrs.update_counter;
    let mut digest = DigestBuffer::from(request.state.pcrs.digest(algorithm, &selection).as_bytes());
    let (_, policy) = policy_of(request.state, request.handle(0))?;
    if policy.trial {
        if !expected.is_empty() {
            digest = expected;
        }
    } else {
        if policy.pcr_counter.is_some_and(|checked| checked != counter) {
            return Err(ResponseCode::PCR_CHANGED);
        }
        if !expected.is_empty() && !equal_in_constant_time(expected.as_bytes(), digest.as_bytes()) {
            return Err(ResponseCode::VALUE.parameter(1));
        }
        policy.pcr_counter = Some(counter);
    }
    extend(algorithm, policy, CommandCode::PolicyPcr, &[&selection.to_bytes(), digest.as_bytes()]);
    Ok(())
}

/// TPM2_PolicyLocality (Part 3, 23.8): localities can only become fewer.
pub fn policy_locality(request: &mut Request<'_>) -> Result<()> {
    let Locality(wanted) = request.parameter()?;
    request.end_of_parameters()?;
    let refused = ResponseCode::RANGE.parameter(1);
    let (algorithm, policy) = policy_of(request.state, request.handle(0))?;
    let remaining = match (policy.locality, wanted) {
        (_, 0) => return Err(refused),
        (0, wanted) => wanted,
        (before, wanted) if before < EXTENDED_LOCALITIES && wanted < EXTENDED_LOCALITIES => before & wanted,
        (before, wanted) if before == wanted => wanted,
        _ => 0,
    };
    if remaining == 0 {
        return Err(refused);
    }
    policy.locality = remaining;
    extend(algorithm, policy, CommandCode::PolicyLocality, &[&[wanted]]);
    Ok(())
}

/// TPM2_PolicyCommandCode (Part 3, 23.11).
pub fn policy_command_code(request: &mut Request<'_>) -> Result<()> {
    let code: u32 = request.parameter()?;
    request.end_of_parameters()?;
    let (algorithm, policy) = policy_of(request.state, request.handle(0))?;
    if policy.command_code.is_some_and(|before| before != code) {
        return Err(ResponseCode::VALUE.parameter(1));
    }
    if command::find(code).is_none() {
        return Err(ResponseCode::POLICY_CC.parameter(1));
    }
    policy.command_code = Some(code);
    extend(algorithm, policy, CommandCode::PolicyCommandCode, &[&code.to_be_bytes()]);
    Ok(())
}

/// TPM2_PolicyPhysicalPresence (Part 3, 23.12).
pub fn policy_physical_presence(request: &mut Request<'_>) -> Result<()> {
    request.end_of_parameters()?;
    let (algorithm, policy) = policy_of(request.state, request.handle(0))?;
    policy.physical_presence_needed = true;
    extend(algorithm, policy, CommandCode::PolicyPhysicalPresence, &[]);
    Ok(())
}

/// A digest that limits a session to one command: TPM_RC_SIZE where it is none of the session's algorithm.
fn check_digest_size(algorithm: HashAlgorithm, digest: &DigestBuffer) -> Result<()> {
    if digest.len() == algorithm.digest_bytes() { Ok(()) } else { Err(ResponseCode::SIZE.parameter(1)) }
}

/// Sets a constraint where none is set; the same one again only where `repeatable`.
fn constrain(policy: &mut PolicyState, constraint: Constraint, repeatable: bool) -> Result<()> {
    let free = policy.constraint == Constraint::None || (repeatable && policy.constraint == constraint);
    if !free {
        return Err(ResponseCode::CPHASH);
    }
    policy.constraint = constraint;
    Ok(())
}

/// TPM2_PolicyCpHash (Part 3, 23.13).
pub fn policy_cp_hash(request: &mut Request<'_>) -> Result<()> {
    let digest: DigestBuffer = request.parameter()?;
    request.end_of_parameters()?;
    let (algorithm, policy) = policy_of(request.state, request.handle(0))?;
    check_digest_size(algorithm, &digest)?;
    constrain(policy, Constraint::CpHash(digest.clone()), true)?;
    extend(algorithm, policy, CommandCode::PolicyCpHash, &[digest.as_bytes()]);
    Ok(())
}

/// TPM2_PolicyNameHash (Part 3, 23.14).
pub fn policy_name_hash(request: &mut Request<'_>) -> Result<()> {
    let digest: DigestBuffer = request.parameter()?;
    request.end_of_parameters()?;
    let (algorithm, policy) = policy_of(request.state, request.handle(0))?;
    check_digest_size(algorithm, &digest)?;
    constrain(policy, Constraint::NameHash(digest.clone()), false)?;
    extend(algorithm, policy, CommandCode::PolicyNameHash, &[digest.as_bytes()]);
    Ok(())
}

/// TPM2_PolicyParameters (Part 3, 23.24).
pub fn policy_parameters(request: &mut Request<'_>) -> Result<()> {
    let digest: DigestBuffer = request.parameter()?;
    request.end_of_parameters()?;
    let (algorithm, policy) = policy_of(request.state, request.handle(0))?;
    check_digest_size(algorithm, &digest)?;
    constrain(policy, Constraint::ParametersHash(digest.clone()), false)?;
    extend(algorithm, policy, CommandCode::PolicyParameters, &[digest.as_bytes()]);
    Ok(())
}

/// TPM2_PolicyTemplate (Part 3, 23.21): here the constraint is looked at before the size.
pub fn policy_template(request: &mut Request<'_>) -> Result<()> {
    let digest: DigestBuffer = request.parameter()?;
    request.end_of_parameters()?;
    let (algorithm, policy) = policy_of(request.state, request.handle(0))?;
    let constraint = Constraint::TemplateHash(digest.clone());
    match &policy.constraint {
        Constraint::None => {}
        before @ Constraint::TemplateHash(_) if *before == constraint => {}
        Constraint::TemplateHash(_) => return Err(ResponseCode::VALUE.parameter(1)),
        _ => return Err(ResponseCode::CPHASH),
    }
    check_digest_size(algorithm, &digest)?;
    policy.constraint = constraint;
    extend(algorithm, policy, CommandCode::PolicyTemplate, &[digest.as_bytes()]);
    Ok(())
}

/// TPM2_PolicyDuplicationSelect (Part 3, 23.15).
pub fn policy_duplication_select(request: &mut Request<'_>) -> Result<()> {
    let object: Name = request.parameter()?;
    let new_parent: Name = request.parameter()?;
    let include_object: bool = request.parameter()?;
    request.end_of_parameters()?;
    let (algorithm, policy) = policy_of(request.state, request.handle(0))?;
    if policy.constraint != Constraint::None {
        return Err(ResponseCode::CPHASH);
    }
    if policy.command_code.is_some() {
        return Err(ResponseCode::COMMAND_CODE);
    }
    let names = hash(algorithm, &[object.as_bytes(), new_parent.as_bytes()]);
    policy.constraint = Constraint::NameHash(DigestBuffer::from(names.as_bytes()));
    policy.command_code = Some(CommandCode::Duplicate.to_wire());
    let included = if include_object { object.as_bytes() } else { &[] };
    let parts = [included, new_parent.as_bytes(), &[u8::from(include_object)]];
    extend(algorithm, policy, CommandCode::PolicyDuplicationSelect, &parts);
    Ok(())
}

/// TPM2_PolicyAuthorize (Part 3, 23.16): a policy that a key has approved of becomes one that names only the key.
pub fn policy_authorize(request: &mut Request<'_>) -> Result<()> {
    let approved: DigestBuffer = request.parameter()?;
    let reference: DigestBuffer = request.parameter()?;
    let key_name: Name = request.parameter()?;
    let ticket = request.parameter_with(Ticket::unmarshal_verified)?;
    request.end_of_parameters()?;
    let key_hash = name_hash(&key_name).map_err(|code| code.parameter(3))?;
    let (_, policy) = policy_of(request.state, request.handle(0))?;
    if !policy.trial {
        if !equal_in_constant_time(policy.digest.as_bytes(), approved.as_bytes()) {
            return Err(ResponseCode::VALUE.parameter(1));
        }
        let signed = hash(key_hash, &[approved.as_bytes(), reference.as_bytes()]);
        let expected = verified_ticket(request.state, ticket.hierarchy, signed.as_bytes(), &key_name);
        if !equal_in_constant_time(expected.digest.as_bytes(), ticket.digest.as_bytes()) {
            return Err(ResponseCode::VALUE.parameter(4));
        }
    }
    let (algorithm, policy) = policy_of(request.state, request.handle(0))?;
    policy.digest = Digest::zero(algorithm);
    extend_by_name(algorithm, policy, CommandCode::PolicyAuthorize, &key_name, &reference);
    Ok(())
}

/// The hash algorithm of a Name: TPM_RC_SIZE or TPM_RC_HASH where it is none of an object.
fn name_hash(name: &Name) -> Result<HashAlgorithm> {
    let mut reader = Reader::new(name.as_bytes());
    let number: u16 = reader.read().map_err(|_| ResponseCode::SIZE)?;
    let algorithm = HashAlgorithm::from_wire(number).ok_or(ResponseCode::HASH)?;
    if reader.rest().len() == algorithm.digest_bytes() { Ok(algorithm) } else { Err(ResponseCode::SIZE) }
}

/// The ticket of TPM2_VerifySignature: that a key's signature over a digest was good.
pub fn verified_ticket(state: &State, hierarchy: Handle, digest: &[u8], key_name: &Name) -> Ticket {
    let tag = tag::VERIFIED;
    let parts = [&tag.to_be_bytes()[..], digest, key_name.as_bytes()];
    let digest = ticket_digest(TICKET_HASH, state.hierarchies.proof(hierarchy), &parts);
    Ticket { tag, hierarchy, digest: DigestBuffer::from(digest.as_bytes()) }
}

/// TPM2_PolicyAuthValue (Part 3, 23.17).
pub fn policy_auth_value(request: &mut Request<'_>) -> Result<()> {
    request.end_of_parameters()?;
    let (algorithm, policy) = policy_of(request.state, request.handle(0))?;
    (policy.auth_value_needed, policy.password_needed) = (true, false);
    extend(algorithm, policy, CommandCode::PolicyAuthValue, &[]);
    Ok(())
}

/// TPM2_PolicyPassword (Part 3, 23.18): the digest is that of TPM2_PolicyAuthValue.
pub fn policy_password(request: &mut Request<'_>) -> Result<()> {
    request.end_of_parameters()?;
    let (algorithm, policy) = policy_of(request.state, request.handle(0))?;
    (policy.auth_value_needed, policy.password_needed) = (false, true);
    extend(algorithm, policy, CommandCode::PolicyAuthValue, &[]);
    Ok(())
}

/// TPM2_PolicyGetDigest (Part 3, 23.19).
pub fn policy_get_digest(request: &mut Request<'_>) -> Result<()> {
    request.end_of_parameters()?;
    let (_, policy) = policy_of(request.state, request.handle(0))?;
    let digest = DigestBuffer::from(policy.digest.as_bytes());
    request.answer(&digest);
    Ok(())
}

/// TPM2_PolicyNvWritten (Part 3, 23.20).
pub fn policy_nv_written(request: &mut Request<'_>) -> Result<()> {
    let written: bool = request.parameter()?;
    request.end_of_parameters()?;
    let (algorithm, policy) = policy_of(request.state, request.handle(0))?;
    if policy.nv_written.is_some_and(|before| before != written) {
        return Err(ResponseCode::VALUE.parameter(1));
    }
    policy.nv_written = Some(written);
    extend(algorithm, policy, CommandCode::PolicyNvWritten, &[&[u8::from(written)]]);
    Ok(())
}
