//! Steps that somebody else authorizes: TPM2_PolicySigned, TPM2_PolicySecret and the ticket that either leaves.

use crate::command::CommandCode;
use crate::commands::object::TICKET_HASH;
use crate::crypto::hash::hash;
use crate::object::protection::ticket_digest;
use crate::object::signing::verify;
use crate::request::Request;
use crate::response_code::ResponseCode;
use crate::session::Constraint;
use crate::state::State;
use crate::structures::buffers::{Buffer, DigestBuffer, Name};
use crate::structures::handles::Handle;
use crate::structures::nv::NvType;
use crate::structures::signature::Signature;
use crate::structures::tickets::{Ticket, tag};
use crate::wire::{Result, equal_in_constant_time, put_sized};

use super::{extend_by_name, policy_of};

/// Set in the timeout buffer of a ticket that ends with a TPM reset or restart.
const EXPIRES_ON_RESET: u64 = 1 << 63;
const MILLISECONDS: u64 = 1000;

/// TPM2B_TIMEOUT.
type Timeout = Buffer<8>;

/// What TPM2_PolicySigned and TPM2_PolicySecret have in common.
struct Terms {
    nonce: DigestBuffer,
    cp_hash: DigestBuffer,
    reference: DigestBuffer,
    expiration: i32,
}

impl Terms {
    fn take(request: &mut Request<'_>) -> Result<Self> {
        Ok(Self {
            nonce: request.parameter()?,
            cp_hash: request.parameter()?,
            reference: request.parameter()?,
            expiration: request.parameter()?,
        })
    }

    /// When the authorization ends, in milliseconds of Time; zero is never.
    fn timeout(&self, started: u64, now: u64) -> u64 {
        if self.expiration == 0 {
            return 0;
        }
        let interval = u64::from(self.expiration.unsigned_abs()).saturating_mul(MILLISECONDS);
        // Without a nonce the seconds are absolute; the fraction keeps them from ending early.
        let from = if self.nonce.is_empty() { now % MILLISECONDS } else { started };
        from.saturating_add(interval)
    }
}

/// Which parameters an error of the checks is about.
struct Blame {
    cp_hash: u32,
    expiration: u32,
}

/// PolicyParameterChecks() of Part 3, but for the nonce.
fn check_limits(
    request: &mut Request<'_>,
    session: Handle,
    timeout: u64,
    cp_hash: &DigestBuffer,
    blame: &Blame,
) -> Result<()> {
    let (now, epoch) = (request.state.clock.time, request.state.clock.epoch);
    let session = request.state.policy_session(session)?;
    if timeout != 0 && (timeout < now || session.epoch != epoch) {
        return Err(ResponseCode::EXPIRED.parameter(blame.expiration));
    }
    if !cp_hash.is_empty() {
        if cp_hash.len() != session.hash.digest_bytes() {
            return Err(ResponseCode::SIZE.parameter(blame.cp_hash));
        }
        let before = &session.policy_mut()?.constraint;
        if *before != Constraint::None && *before != Constraint::CpHash(cp_hash.clone()) {
            return Err(ResponseCode::CPHASH);
        }
    }
    Ok(())
}

/// Checks the terms against a session; returns the timeout.
fn check_terms(request: &mut Request<'_>, session: Handle, terms: &Terms) -> Result<u64> {
    let now = request.state.clock.time;
    let loaded = request.state.policy_session(session)?;
    let timeout = terms.timeout(loaded.started, now);
    if !terms.nonce.is_empty() && terms.nonce != loaded.nonce_tpm {
        return Err(ResponseCode::NONCE.parameter(1));
    }
    check_limits(request, session, timeout, &terms.cp_hash, &Blame { cp_hash: 2, expiration: 4 })?;
    Ok(timeout)
}

/// Extends the policy and narrows the session: Part 3, PolicyContextUpdate().
fn update(
    state: &mut State,
    session: Handle,
    code: CommandCode,
    name: &Name,
    terms: (&DigestBuffer, &DigestBuffer),
    timeout: u64,
) -> Result<()> {
    let (cp_hash, reference) = terms;
    let (algorithm, policy) = policy_of(state, session)?;
    extend_by_name(algorithm, policy, code, name, reference);
    if !cp_hash.is_empty() {
        policy.constraint = Constraint::CpHash(cp_hash.clone());
    }
    if timeout != 0 {
        policy.timeout = Some(policy.timeout.map_or(timeout, |before| before.min(timeout)));
    }
    Ok(())
}

/// The ticket over an authorization, and the timeout that the caller has to bring with it.
fn auth_ticket(
    state: &State,
    kind: (u16, Handle),
    timeout: u64,
    expires_on_reset: bool,
    terms: (&DigestBuffer, &DigestBuffer),
    name: &Name,
) -> Ticket {
    let (tag, hierarchy) = kind;
    let mut contents = tag.to_be_bytes().to_vec();
    put_sized(&mut contents, terms.0.as_bytes());
    put_sized(&mut contents, terms.1.as_bytes());
    put_sized(&mut contents, name.as_bytes());
    contents.extend_from_slice(&timeout.to_be_bytes());
    if timeout != 0 {
        contents.extend_from_slice(&state.clock.epoch.to_be_bytes());
        if expires_on_reset {
            contents.extend_from_slice(&state.clock.total_reset_count.to_be_bytes());
        }
    }
    let digest = ticket_digest(TICKET_HASH, state.hierarchies.proof(hierarchy), &[&contents]);
    Ticket { tag, hierarchy, digest: DigestBuffer::from(digest.as_bytes()) }
}

/// Answers with timeout and ticket: both empty unless the caller asked for a ticket by a negative expiration.
fn answer_ticket(
    request: &mut Request<'_>,
    terms: &Terms,
    kind: (u16, Handle),
    name: &Name,
    timeout: Option<u64>,
) {
    let (bytes, ticket) = match timeout {
        Some(timeout) => {
            let expires_on_reset = terms.nonce.is_empty();
            let timeout = timeout & !EXPIRES_ON_RESET;
            let ticket = auth_ticket(
                request.state,
                kind,
                timeout,
                expires_on_reset,
                (&terms.cp_hash, &terms.reference),
                name,
            );
            let flag = if expires_on_reset { EXPIRES_ON_RESET } else { 0 };
            (Timeout::from(&(timeout | flag).to_be_bytes()[..]), ticket)
        }
        None => (Timeout::new(), Ticket::null(kind.0)),
    };
    request.answer(&bytes);
    request.answer(&ticket);
}

/// TPM2_PolicySigned (Part 3, 23.3).
pub fn policy_signed(request: &mut Request<'_>) -> Result<()> {
    let (key, session) = (request.handle(0), request.handle(1));
    let terms = Terms::take(request)?;
    let signature = request.parameter_with(Signature::unmarshal_present)?;
    request.end_of_parameters()?;
    let trial = policy_of(request.state, session)?.1.trial;
    let mut timeout = 0;
    if !trial {
        timeout = check_terms(request, session, &terms)?;
        let algorithm = signature.hash().ok_or(ResponseCode::SCHEME.parameter(5))?;
        let expiration = terms.expiration.to_be_bytes();
        let parts =
            [terms.nonce.as_bytes(), &expiration, terms.cp_hash.as_bytes(), terms.reference.as_bytes()];
        let digest = hash(algorithm, &parts);
        verify(request.state.key(key, 0)?, digest.as_bytes(), &signature)
            .map_err(|code| code.parameter(5))?;
    }
    let name = request.state.name(key);
    let hierarchy = request.state.hierarchy_of(key);
    update(
        request.state,
        session,
        CommandCode::PolicySigned,
        &name,
        (&terms.cp_hash, &terms.reference),
        timeout,
    )?;
    let ticket = (terms.expiration < 0 && !trial).then_some(timeout);
    answer_ticket(request, &terms, (tag::AUTH_SIGNED, hierarchy), &name, ticket);
    Ok(())
}

/// TPM2_PolicySecret (Part 3, 23.4): the engine has checked the secret.
pub fn policy_secret(request: &mut Request<'_>) -> Result<()> {
    let (entity, session) = (request.handle(0), request.handle(1));
    let terms = Terms::take(request)?;
    request.end_of_parameters()?;
    let trial = policy_of(request.state, session)?.1.trial;
    let timeout = if trial { 0 } else { check_terms(request, session, &terms)? };
    let name = request.state.name(entity);
    let hierarchy = request.state.hierarchy_of(entity);
    update(
        request.state,
        session,
        CommandCode::PolicySecret,
        &name,
        (&terms.cp_hash, &terms.reference),
        timeout,
    )?;
    // A ticket would let a PIN be used more often than its index allows.
    let counted = request
        .state
        .nv
        .indices
        .get(&entity)
        .is_some_and(|index| index.public.attributes.is(NvType::PinPass));
    let ticket = (terms.expiration < 0 && !trial && !counted).then_some(timeout);
    answer_ticket(request, &terms, (tag::AUTH_SECRET, hierarchy), &name, ticket);
    Ok(())
}

/// TPM2_PolicyTicket (Part 3, 23.5).
pub fn policy_ticket(request: &mut Request<'_>) -> Result<()> {
    let session = request.handle(0);
    let timeout: Timeout = request.parameter()?;
    let cp_hash: DigestBuffer = request.parameter()?;
    let reference: DigestBuffer = request.parameter()?;
    let name: Name = request.parameter()?;
    let ticket = request.parameter_with(Ticket::unmarshal_auth)?;
    request.end_of_parameters()?;
    if policy_of(request.state, session)?.1.trial {
        return Err(ResponseCode::ATTRIBUTES.handle(1));
    }
    let timeout = timeout.as_bytes().try_into().map(u64::from_be_bytes);
    let timeout = timeout.map_err(|_| ResponseCode::SIZE.parameter(1))?;
    let expires_on_reset = timeout & EXPIRES_ON_RESET != 0;
    let timeout = timeout & !EXPIRES_ON_RESET;
    check_limits(request, session, timeout, &cp_hash, &Blame { cp_hash: 2, expiration: 1 })?;
    let kind = (ticket.tag, ticket.hierarchy);
    let expected = auth_ticket(request.state, kind, timeout, expires_on_reset, (&cp_hash, &reference), &name);
    if !equal_in_constant_time(expected.digest.as_bytes(), ticket.digest.as_bytes()) {
        return Err(ResponseCode::TICKET.parameter(5));
    }
    let code =
        if ticket.tag == tag::AUTH_SIGNED { CommandCode::PolicySigned } else { CommandCode::PolicySecret };
    update(request.state, session, code, &name, (&cp_hash, &reference), timeout)
}
