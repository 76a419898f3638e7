//! Policies: Part 3, chapter on enhanced authorization.
//!
//! Each command adds one step to a policy session's digest, after it has checked what the step says; a trial session
//! only computes the digest. `proofs` holds the steps that somebody else authorizes (a signature, a secret, a ticket),
//! `comparisons` those that compare something the TPM knows, this file the rest.

mod comparisons;
mod proofs;

use alloc::vec::Vec;

use crate::call::{Call, Handler};
use crate::command_table::{self, CommandCode};
use crate::commands::objects::TICKET_HASH;
use crate::crypto::hash::{Digest, HashAlgorithm, hash};
use crate::object::protection::ticket_digest;
use crate::response_code::ResponseCode;
use crate::session::{Constraint, PolicyState, Session};
use crate::state::State;
use crate::structures::attributes::Locality;
use crate::structures::buffers::{DigestBuffer, DigestList, Name};
use crate::structures::handles::Handle;
use crate::structures::pcr_selection::PcrSelectionList;
use crate::structures::tickets::{Ticket, tag};
use crate::wire::{Marshal, Reader, Result, equal_in_constant_time};

/// The commands of this chapter.
pub const HANDLERS: &[(CommandCode, Handler)] = &[
    (CommandCode::PolicySigned, proofs::policy_signed),
    (CommandCode::PolicySecret, proofs::policy_secret),
    (CommandCode::PolicyTicket, proofs::policy_ticket),
    (CommandCode::PolicyOr, policy_or),
    (CommandCode::PolicyPcr, policy_pcr),
    (CommandCode::PolicyLocality, policy_locality),
    (CommandCode::PolicyNv, comparisons::policy_nv),
    (CommandCode::PolicyCounterTimer, comparisons::policy_counter_timer),
    (CommandCode::PolicyCommandCode, policy_command_code),
    (CommandCode::PolicyPhysicalPresence, policy_physical_presence),
    (CommandCode::PolicyCpHash, policy_cp_hash),
    (CommandCode::PolicyNameHash, policy_name_hash),
    (CommandCode::PolicyDuplicationSelect, policy_duplication_select),
    (CommandCode::PolicyAuthorize, policy_authorize),
    (CommandCode::PolicyAuthValue, policy_auth_value),
    (CommandCode::PolicyPassword, policy_password),
    (CommandCode::PolicyGetDigest, policy_get_digest),
    (CommandCode::PolicyNvWritten, policy_nv_written),
    (CommandCode::PolicyTemplate, policy_template),
    (CommandCode::PolicyCapability, comparisons::policy_capability),
    (CommandCode::PolicyAuthorizeNv, comparisons::policy_authorize_nv),
    (CommandCode::PolicyParameters, policy_parameters),
];

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

/// TPM2_PolicyOR: the digest so far must be one of the branches.
fn policy_or(call: &mut Call<'_>) -> Result<()> {
    let branches = call.parameter_with(|reader| DigestList::unmarshal_at_least(reader, LEAST_BRANCHES))?;
    call.end_of_parameters()?;
    let (algorithm, policy) = policy_of(call.state, call.handle(0))?;
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

/// TPM2_PolicyPCR.
fn policy_pcr(call: &mut Call<'_>) -> Result<()> {
    let expected: DigestBuffer = call.parameter()?;
    let selection: PcrSelectionList = call.parameter()?;
    call.end_of_parameters()?;
    let algorithm = call.state.policy_session(call.handle(0))?.hash;
    let selection = call.state.pcrs.filter(&selection);
    let counter = call.state.pcrs.update_counter;
    let mut digest = DigestBuffer::from(call.state.pcrs.digest(algorithm, &selection).as_bytes());
    let (_, policy) = policy_of(call.state, call.handle(0))?;
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

/// TPM2_PolicyLocality: localities can only become fewer.
fn policy_locality(call: &mut Call<'_>) -> Result<()> {
    let Locality(wanted) = call.parameter()?;
    call.end_of_parameters()?;
    let refused = ResponseCode::RANGE.parameter(1);
    let (algorithm, policy) = policy_of(call.state, call.handle(0))?;
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

/// TPM2_PolicyCommandCode.
fn policy_command_code(call: &mut Call<'_>) -> Result<()> {
    let code: u32 = call.parameter()?;
    call.end_of_parameters()?;
    let (algorithm, policy) = policy_of(call.state, call.handle(0))?;
    if policy.command_code.is_some_and(|before| before != code) {
        return Err(ResponseCode::VALUE.parameter(1));
    }
    if command_table::find(code).is_none() {
        return Err(ResponseCode::POLICY_CC.parameter(1));
    }
    policy.command_code = Some(code);
    extend(algorithm, policy, CommandCode::PolicyCommandCode, &[&code.to_be_bytes()]);
    Ok(())
}

/// TPM2_PolicyPhysicalPresence.
fn policy_physical_presence(call: &mut Call<'_>) -> Result<()> {
    call.end_of_parameters()?;
    let (algorithm, policy) = policy_of(call.state, call.handle(0))?;
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

/// TPM2_PolicyCpHash.
fn policy_cp_hash(call: &mut Call<'_>) -> Result<()> {
    let digest: DigestBuffer = call.parameter()?;
    call.end_of_parameters()?;
    let (algorithm, policy) = policy_of(call.state, call.handle(0))?;
    check_digest_size(algorithm, &digest)?;
    constrain(policy, Constraint::CpHash(digest.clone()), true)?;
    extend(algorithm, policy, CommandCode::PolicyCpHash, &[digest.as_bytes()]);
    Ok(())
}

/// TPM2_PolicyNameHash.
fn policy_name_hash(call: &mut Call<'_>) -> Result<()> {
    let digest: DigestBuffer = call.parameter()?;
    call.end_of_parameters()?;
    let (algorithm, policy) = policy_of(call.state, call.handle(0))?;
    check_digest_size(algorithm, &digest)?;
    constrain(policy, Constraint::NameHash(digest.clone()), false)?;
    extend(algorithm, policy, CommandCode::PolicyNameHash, &[digest.as_bytes()]);
    Ok(())
}

/// TPM2_PolicyParameters.
fn policy_parameters(call: &mut Call<'_>) -> Result<()> {
    let digest: DigestBuffer = call.parameter()?;
    call.end_of_parameters()?;
    let (algorithm, policy) = policy_of(call.state, call.handle(0))?;
    check_digest_size(algorithm, &digest)?;
    constrain(policy, Constraint::ParametersHash(digest.clone()), false)?;
    extend(algorithm, policy, CommandCode::PolicyParameters, &[digest.as_bytes()]);
    Ok(())
}

/// TPM2_PolicyTemplate: here the constraint is looked at before the size.
fn policy_template(call: &mut Call<'_>) -> Result<()> {
    let digest: DigestBuffer = call.parameter()?;
    call.end_of_parameters()?;
    let (algorithm, policy) = policy_of(call.state, call.handle(0))?;
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

/// TPM2_PolicyDuplicationSelect.
fn policy_duplication_select(call: &mut Call<'_>) -> Result<()> {
    let object: Name = call.parameter()?;
    let new_parent: Name = call.parameter()?;
    let include_object: bool = call.parameter()?;
    call.end_of_parameters()?;
    let (algorithm, policy) = policy_of(call.state, call.handle(0))?;
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

/// TPM2_PolicyAuthorize: a policy that a key has approved of becomes one that names only the key.
fn policy_authorize(call: &mut Call<'_>) -> Result<()> {
    let approved: DigestBuffer = call.parameter()?;
    let reference: DigestBuffer = call.parameter()?;
    let key_name: Name = call.parameter()?;
    let ticket = call.parameter_with(Ticket::unmarshal_verified)?;
    call.end_of_parameters()?;
    let (_, policy) = policy_of(call.state, call.handle(0))?;
    if !policy.trial {
        if !equal_in_constant_time(policy.digest.as_bytes(), approved.as_bytes()) {
            return Err(ResponseCode::VALUE.parameter(1));
        }
        check_approval(call.state, &approved, &reference, &key_name, &ticket)?;
    }
    let (algorithm, policy) = policy_of(call.state, call.handle(0))?;
    policy.digest = Digest::zero(algorithm);
    extend_by_name(algorithm, policy, CommandCode::PolicyAuthorize, &key_name, &reference);
    Ok(())
}

/// The ticket must be that of the key's signature over policy and reference.
fn check_approval(
    state: &State,
    approved: &DigestBuffer,
    reference: &DigestBuffer,
    key_name: &Name,
    ticket: &Ticket,
) -> Result<()> {
    let number: u16 = Reader::new(key_name.as_bytes()).read().map_err(|code| code.parameter(3))?;
    let algorithm = HashAlgorithm::from_wire(number).ok_or(ResponseCode::HASH.parameter(3))?;
    let signed = hash(algorithm, &[approved.as_bytes(), reference.as_bytes()]);
    let expected = verified_ticket(state, ticket.hierarchy, signed.as_bytes(), key_name);
    if equal_in_constant_time(expected.digest.as_bytes(), ticket.digest.as_bytes()) {
        Ok(())
    } else {
        Err(ResponseCode::VALUE.parameter(4))
    }
}

/// The ticket of TPM2_VerifySignature: that a key's signature over a digest was good.
pub fn verified_ticket(state: &State, hierarchy: Handle, digest: &[u8], key_name: &Name) -> Ticket {
    let tag = tag::VERIFIED;
    let parts = [&tag.to_be_bytes()[..], digest, key_name.as_bytes()];
    let digest = ticket_digest(TICKET_HASH, state.hierarchies.proof(hierarchy), &parts);
    Ticket { tag, hierarchy, digest: DigestBuffer::from(digest.as_bytes()) }
}

/// TPM2_PolicyAuthValue.
fn policy_auth_value(call: &mut Call<'_>) -> Result<()> {
    call.end_of_parameters()?;
    let (algorithm, policy) = policy_of(call.state, call.handle(0))?;
    (policy.auth_value_needed, policy.password_needed) = (true, false);
    extend(algorithm, policy, CommandCode::PolicyAuthValue, &[]);
    Ok(())
}

/// TPM2_PolicyPassword: the digest is that of TPM2_PolicyAuthValue.
fn policy_password(call: &mut Call<'_>) -> Result<()> {
    call.end_of_parameters()?;
    let (algorithm, policy) = policy_of(call.state, call.handle(0))?;
    (policy.auth_value_needed, policy.password_needed) = (false, true);
    extend(algorithm, policy, CommandCode::PolicyAuthValue, &[]);
    Ok(())
}

/// TPM2_PolicyGetDigest.
fn policy_get_digest(call: &mut Call<'_>) -> Result<()> {
    call.end_of_parameters()?;
    let (_, policy) = policy_of(call.state, call.handle(0))?;
    let digest = DigestBuffer::from(policy.digest.as_bytes());
    call.answer(&digest);
    Ok(())
}

/// TPM2_PolicyNvWritten.
fn policy_nv_written(call: &mut Call<'_>) -> Result<()> {
    let written: bool = call.parameter()?;
    call.end_of_parameters()?;
    let (algorithm, policy) = policy_of(call.state, call.handle(0))?;
    if policy.nv_written.is_some_and(|before| before != written) {
        return Err(ResponseCode::VALUE.parameter(1));
    }
    policy.nv_written = Some(written);
    extend(algorithm, policy, CommandCode::PolicyNvWritten, &[&[u8::from(written)]]);
    Ok(())
}
