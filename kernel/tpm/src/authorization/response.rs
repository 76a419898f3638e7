//! The authorization area of a response: new nonces, encryption, audit, HMACs. Part 1, section on the response.

use alloc::vec::Vec;

use super::area::{Area, Used};
use super::checks::Subject;
use super::encryption::{Direction, transform};
use crate::command::{CommandCode, NO_SESSIONS};
use crate::crypto::hash::{Digest, HashAlgorithm, hash};
use crate::crypto::hmac::Hmac;
use crate::crypto::random::Random;
use crate::state::{Record, State};
use crate::structures::attributes::SessionAttributes;
use crate::wire::{Marshal, Result, Secret, put_sized};

/// cpHashes taken before the command changed what they are about: of the audit session, and of the command audit.
#[derive(Debug, Clone, Default)]
pub struct AuditHashes {
    pub session: Option<Digest>,
    pub command: Option<Digest>,
}

impl AuditHashes {
    /// Takes the hashes that auditing will need.
    pub fn before(subject: &Subject<'_>, state: &State, area: &Area) -> Self {
        let audit = area.sessions.iter().find(|used| used.has(SessionAttributes::AUDIT));
        let session = audit.and_then(|used| state.sessions.get(used.handle));
        let audited = state.audit.commands.contains(&subject.command.code.to_wire());
        Self {
            session: session.map(|session| subject.cp_hash(state, session.hash)),
            command: audited.then(|| subject.cp_hash(state, state.audit.hash)),
        }
    }
}

/// Finishes a command that succeeded: audits it, and writes the authorization area behind `parameters`.
pub fn build(
    state: &mut State,
    code: CommandCode,
    attributes_no_sessions: bool,
    area: &mut Area,
    audits: AuditHashes,
    parameters: &mut [u8],
) -> Result<Vec<u8>> {
    for used in area.sessions.iter().filter(|used| !used.is_password()) {
        if let Some(session) = state.sessions.get_mut(used.handle) {
            state.random.fill(&mut session.nonce_tpm.0);
        }
    }
    encrypt(state, area, parameters)?;
    let rp_hash = |algorithm: HashAlgorithm, parameters: &[u8]| {
        hash(algorithm, &[&0_u32.to_be_bytes(), &code.to_wire().to_be_bytes(), parameters])
    };
    audit_session(state, area, attributes_no_sessions, audits.session, |algorithm| {
        rp_hash(algorithm, parameters)
    });
    audit_command(state, code, audits.command, |algorithm| rp_hash(algorithm, parameters));
    let mut out = Vec::new();
    for used in &area.sessions {
        respond(state, used, &mut out, |algorithm| rp_hash(algorithm, parameters));
    }
    if let Some(sequence) = state.flush_after_response.take() {
        state.objects.remove(sequence);
    }
    Ok(out)
}

fn encrypt(state: &State, area: &Area, parameters: &mut [u8]) -> Result<()> {
    let Some(used) = area.encrypt.and_then(|index| area.sessions.get(index)) else { return Ok(()) };
    let Some(session) = state.sessions.get(used.handle) else { return Ok(()) };
    let auth = used.auth_value_after(state);
    transform(session, Direction::Encrypt, used.nonce_caller.as_bytes(), &auth, parameters)
}

fn audit_session(
    state: &mut State,
    area: &mut Area,
    no_sessions: bool,
    cp_hash: Option<Digest>,
    rp_hash: impl Fn(HashAlgorithm) -> Digest,
) {
    let used = area.sessions.iter_mut().find(|used| used.has(SessionAttributes::AUDIT));
    let (Some(used), Some(cp_hash)) = (used, cp_hash) else {
        if !no_sessions {
            state.sessions.exclusive_audit = None;
        }
        return;
    };
    let handle = used.handle;
    let was_exclusive = state.sessions.exclusive_audit == Some(handle);
    let Some(session) = state.sessions.get_mut(handle) else { return };
    let algorithm = session.hash;
    let running = session.audit.take().filter(|_| !used.has(SessionAttributes::AUDIT_RESET));
    let exclusive = running.is_none() || was_exclusive;
    let old = running.unwrap_or_else(|| Digest::zero(algorithm));
    session.audit =
        Some(hash(algorithm, &[old.as_bytes(), cp_hash.as_bytes(), rp_hash(algorithm).as_bytes()]));
    state.sessions.exclusive_audit = exclusive.then_some(handle);
    used.attributes = used.attributes.with(SessionAttributes::AUDIT_EXCLUSIVE, exclusive);
}

fn audit_command(
    state: &mut State,
    code: CommandCode,
    cp_hash: Option<Digest>,
    rp_hash: impl Fn(HashAlgorithm) -> Digest,
) {
    if core::mem::take(&mut state.audit.skip_once) {
        return;
    }
    let audited = state.audit.commands.contains(&code.to_wire());
    let (Some(cp_hash), true) = (cp_hash, audited) else { return };
    let algorithm = state.audit.hash;
    let old = match state.audit.digest.take() {
        Some(digest) => digest,
        None => {
            state.audit.counter = state.audit.counter.saturating_add(1);
            state.mark(Record::Audit);
            Digest::zero(algorithm)
        }
    };
    let parts = [old.as_bytes(), cp_hash.as_bytes(), &rp_hash(algorithm)];
    state.audit.digest = Some(hash(algorithm, &parts));
}

/// One session's part: nonce, attributes, HMAC.
fn respond(state: &mut State, used: &Used, out: &mut Vec<u8>, rp_hash: impl Fn(HashAlgorithm) -> Digest) {
    if used.is_password() {
        put_sized(out, &[]);
        used.attributes.with(SessionAttributes::CONTINUE_SESSION, true).marshal(out);
        put_sized(out, &[]);
        return;
    }
    let auth = if used.include_auth { used.auth_value_after(state) } else { Secret::new() };
    let (time, epoch) = (state.clock.time, state.clock.epoch);
    let continues = used.has(SessionAttributes::CONTINUE_SESSION);
    if let Some(session) = state.sessions.get_mut(used.handle) {
        let nonce_tpm = session.nonce_tpm.clone();
        let key = session.key.followed_by(&auth);
        let by_password = session.policy.as_ref().is_some_and(|policy| policy.password_needed);
        let hmac = if by_password || (key.is_empty() && used.auth.is_empty()) {
            None
        } else {
            let mut hmac = Hmac::new(session.hash, key.as_bytes());
            hmac.update(rp_hash(session.hash).as_bytes());
            hmac.update(nonce_tpm.as_bytes());
            hmac.update(used.nonce_caller.as_bytes());
            hmac.update(&[used.attributes.0]);
            Some(hmac.finish())
        };
        if continues {
            session.restart_policy();
            session.started = time;
            session.epoch = epoch;
        }
        nonce_tpm.marshal(out);
        used.attributes.marshal(out);
        put_sized(out, hmac.as_ref().map_or(&[][..], |hmac| hmac.as_bytes()));
    }
    if !continues {
        state.sessions.flush(used.handle);
    }
}

/// Whether commands with these attributes leave the exclusive audit session alone.
pub const fn leaves_exclusive_audit(command: &crate::command::Command) -> bool {
    command.has(NO_SESSIONS)
}
