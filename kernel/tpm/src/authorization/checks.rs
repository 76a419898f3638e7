//! Whether a command's sessions authorize its handles: Part 1, sections on authorization and on policies.

use super::area::{Area, Used};
use crate::command::{
    CREATES, Command, CommandCode, NV_WRITE_OPERATION, PHYSICAL_PRESENCE, PHYSICAL_PRESENCE_REQUIRED, Role,
};
use crate::crypto::hash::{Digest, HashAlgorithm, Hasher, hash};
use crate::crypto::hmac::Hmac;
use crate::object::Loaded;
use crate::pcr::{AUTH_GROUP, Pcrs};
use crate::response_code::ResponseCode;
use crate::session::{Constraint, PolicyState};
use crate::state::{Record, State};
use crate::storage::Witness;
use crate::structures::attributes::{NvAttributes, ObjectAttributes, SessionAttributes};
use crate::structures::buffers::DigestBuffer;
use crate::structures::handles::{Handle, HandleType};
use crate::structures::nv::NvType;
use crate::wire::{Marshal, Reader, Result, Secret, equal_in_constant_time};

/// A command as the authorization checks see it.
pub struct Subject<'a> {
    pub command: &'static Command,
    pub handles: &'a [Handle],
    /// The parameters as they came, encrypted or not.
    pub parameters: &'a [u8],
    pub locality: u8,
}

impl Subject<'_> {
    /// cpHash: Part 1, section on the command parameter hash.
    pub fn cp_hash(&self, state: &State, algorithm: HashAlgorithm) -> Digest {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(&self.command.code.to_wire().to_be_bytes());
        for handle in self.handles {
            hasher.update(state.name(*handle).as_bytes());
        }
        hasher.update(self.parameters);
        hasher.finish()
    }

    fn name_hash(&self, state: &State, algorithm: HashAlgorithm) -> Digest {
        let mut hasher = Hasher::new(algorithm);
        for handle in self.handles {
            hasher.update(state.name(*handle).as_bytes());
        }
        hasher.finish()
    }

    /// The hash of the second parameter of the commands that create.
    fn template_hash(&self, algorithm: HashAlgorithm) -> Option<Digest> {
        if !self.command.has(CREATES) {
            return None;
        }
        let mut reader = Reader::new(self.parameters);
        reader.sized(usize::from(u16::MAX)).ok()?;
        let template = reader.sized(usize::from(u16::MAX)).ok()?;
        Some(hash(algorithm, &[template]))
    }

    /// The hash of the command without its handles: TPM2_PolicyParameters.
    fn parameters_hash(&self, algorithm: HashAlgorithm) -> Digest {
        hash(algorithm, &[&self.command.code.to_wire().to_be_bytes(), self.parameters])
    }

    /// Checks all sessions in their order. Failed ones change dictionary attack counters and PINs.
    pub fn authorize(&self, state: &mut State, witness: &mut dyn Witness, area: &mut Area) -> Result<()> {
        for index in 0..area.sessions.len() {
            let number = u32::try_from(index).unwrap_or(0).saturating_add(1);
            let Some(used) = area.sessions.get(index).cloned() else { continue };
            let include_auth = self
                .authorize_one(state, witness, area, index, &used)
                .map_err(|code| code.session(number))?;
            if let Some(used) = area.sessions.get_mut(index) {
                used.include_auth = include_auth;
            }
        }
        Ok(())
    }

    fn authorize_one(
        &self,
        state: &mut State,
        witness: &mut dyn Witness,
        area: &Area,
        index: usize,
        used: &Used,
    ) -> Result<bool> {
        if used.is_password() && used.authorizes.is_none() {
            return Err(ResponseCode::HANDLE);
        }
        if let Some(session) = state.sessions.get(used.handle).filter(|_| !used.is_password()) {
            if session.policy.as_ref().is_some_and(|policy| policy.trial) {
                return Err(ResponseCode::ATTRIBUTES);
            }
            if let Some(binding) = session.binding.as_ref().filter(|binding| binding.dictionary_attack) {
                check_lockout(state, binding.lockout)?;
                before_a_try(state, witness)?;
            }
        }
        match used.authorizes {
            Some(entity) => self.authorize_entity(state, witness, area, index, used, entity),
            None => {
                let purposes =
                    SessionAttributes::AUDIT.0 | SessionAttributes::ENCRYPT.0 | SessionAttributes::DECRYPT.0;
                if used.attributes.0 & purposes == 0 {
                    return Err(ResponseCode::ATTRIBUTES);
                }
                self.check_hmac(state, area, index, used, false)?;
                Ok(false)
            }
        }
    }

    fn authorize_entity(
        &self,
        state: &mut State,
        witness: &mut dyn Witness,
        area: &Area,
        index: usize,
        used: &Used,
        entity: Handle,
    ) -> Result<bool> {
        let code = self.command.code.to_wire();
        let presence = self.command.has(PHYSICAL_PRESENCE) || self.command.has(PHYSICAL_PRESENCE_REQUIRED);
        let required = presence && state.physical_presence.contains(&code);
        if entity == Handle::PLATFORM && required && !witness.physical_presence() {
            return Err(ResponseCode::PP);
        }
        let session = if used.is_password() { None } else { state.sessions.get(used.handle) };
        let policy = session.and_then(|session| session.policy.clone());
        let include_auth = match (&policy, session) {
            (_, None) => true,
            (Some(policy), _) => policy.auth_value_needed || policy.password_needed,
            (None, Some(session)) => {
                let bound = session.binding.as_ref().filter(|_| session.audit.is_none());
                bound.is_none_or(|binding| binding.entity != bound_entity(state, entity))
            }
        };
        if include_auth && !state.is_exempt_from_dictionary_attack(entity) {
            check_lockout(state, entity == Handle::LOCKOUT)?;
        }
        match &policy {
            None => {
                if self.needs_policy(state, index, entity) {
                    return Err(ResponseCode::AUTH_TYPE);
                }
                if !self.auth_value_available(state, index, entity) {
                    return Err(ResponseCode::AUTH_UNAVAILABLE);
                }
            }
            Some(policy) => {
                if !self.policy_available(state, index, entity) {
                    return Err(ResponseCode::AUTH_UNAVAILABLE);
                }
                self.check_policy(state, witness, index, used, entity, policy)?;
            }
        }
        if include_auth {
            if !state.is_exempt_from_dictionary_attack(entity) {
                before_a_try(state, witness)?;
            }
            count_try(state, witness, entity)?;
        }
        let by_password = used.is_password() || policy.as_ref().is_some_and(|policy| policy.password_needed);
        let result = if by_password {
            if used.auth.without_trailing_zeros() == state.auth_value(entity) {
                Ok(())
            } else {
                Err(register_failure(state, used, include_auth))
            }
        } else {
            self.check_hmac(state, area, index, used, include_auth)
        };
        if include_auth && result.is_ok() {
            count_success(state, entity);
        }
        result.map(|()| include_auth)
    }

    fn needs_policy(&self, state: &State, index: usize, entity: Handle) -> bool {
        match (self.command.role(index), entity.kind()) {
            (Role::Dup, _) => true,
            (Role::Admin, HandleType::Transient | HandleType::Persistent) => {
                state.object(entity).is_some_and(|object| object.has(ObjectAttributes::ADMIN_WITH_POLICY))
            }
            (Role::Admin, _) => true,
            (_, HandleType::Pcr) => {
                AUTH_GROUP.contains(&Pcrs::number(entity)) && state.pcrs.policy.hash.is_some()
            }
            _ => false,
        }
    }

    fn auth_value_available(&self, state: &State, index: usize, entity: Handle) -> bool {
        match entity.kind() {
            HandleType::Permanent | HandleType::Pcr => true,
            HandleType::Transient | HandleType::Persistent => {
                if matches!(state.loaded(entity), Some(Loaded::Sequence(_))) {
                    return true;
                }
                let Some(object) = state.object(entity) else { return false };
                let admin = self.command.role(index) == Role::Admin;
                object.sensitive.is_some()
                    && (object.has(ObjectAttributes::USER_WITH_AUTH)
                        || (admin && !object.has(ObjectAttributes::ADMIN_WITH_POLICY)))
            }
            HandleType::NvIndex => {
                let Some(nv_index) = state.nv.indices.get(&entity) else { return false };
                if self.command.has(NV_WRITE_OPERATION) {
                    nv_index.has(NvAttributes::AUTH_WRITE)
                } else if nv_index.is_pin() {
                    let (count, limit) = nv_index.pin();
                    nv_index.has(NvAttributes::WRITTEN) && count < limit
                } else {
                    nv_index.has(NvAttributes::AUTH_READ)
                }
            }
            _ => false,
        }
    }

    fn policy_available(&self, state: &State, index: usize, entity: Handle) -> bool {
        match entity.kind() {
            HandleType::Permanent => !state.auth_policy(entity).digest.is_empty(),
            HandleType::Transient | HandleType::Persistent => {
                state.object(entity).is_some_and(|object| object.sensitive.is_some())
            }
            HandleType::NvIndex => {
                let Some(nv_index) = state.nv.indices.get(&entity) else { return false };
                let by_role = self.needs_policy(state, index, entity);
                let attribute = if self.command.has(NV_WRITE_OPERATION) {
                    NvAttributes::POLICY_WRITE
                } else {
                    NvAttributes::POLICY_READ
                };
                !nv_index.public.policy.is_empty() && (by_role || nv_index.has(attribute))
            }
            HandleType::Pcr => AUTH_GROUP.contains(&Pcrs::number(entity)),
            _ => false,
        }
    }

    fn check_policy(
        &self,
        state: &State,
        witness: &mut dyn Witness,
        index: usize,
        used: &Used,
        entity: Handle,
        policy: &PolicyState,
    ) -> Result<()> {
        let session = state.sessions.get(used.handle).ok_or(ResponseCode::HANDLE)?;
        let secret = self.command.code == CommandCode::PolicySecret;
        if secret && !policy.password_needed && !policy.auth_value_needed {
            return Err(ResponseCode::MODE);
        }
        if policy.pcr_counter.is_some_and(|counter| counter != state.pcrs.update_counter) {
            return Err(ResponseCode::PCR_CHANGED);
        }
        let expected = state.auth_policy(entity);
        let same = equal_in_constant_time(policy.digest.as_bytes(), expected.digest.as_bytes());
        if !same || expected.hash != Some(session.hash) {
            return Err(ResponseCode::POLICY_FAIL);
        }
        let expired = policy.timeout.is_some_and(|timeout| timeout < state.clock.time);
        if expired || (policy.timeout.is_some() && session.epoch != state.clock.epoch) {
            return Err(ResponseCode::EXPIRED);
        }
        match policy.command_code {
            Some(code) if code != self.command.code.to_wire() => return Err(ResponseCode::POLICY_CC),
            None if matches!(self.command.role(index), Role::Admin | Role::Dup) => {
                return Err(ResponseCode::POLICY_FAIL);
            }
            _ => {}
        }
        if policy.locality != 0 && !locality_allowed(policy.locality, self.locality) {
            return Err(ResponseCode::LOCALITY);
        }
        if policy.physical_presence_needed && !witness.physical_presence() {
            return Err(ResponseCode::PP);
        }
        self.check_constraint(state, session.hash, &policy.constraint)?;
        if let Some(written) = policy.nv_written {
            let nv_index = state.nv.indices.get(&entity).ok_or(ResponseCode::POLICY_FAIL)?;
            if nv_index.has(NvAttributes::WRITTEN) != written {
                return Err(ResponseCode::POLICY_FAIL);
            }
        }
        Ok(())
    }

    fn check_constraint(&self, state: &State, hash: HashAlgorithm, constraint: &Constraint) -> Result<()> {
        let is = |digest: &DigestBuffer, actual: Option<Digest>| {
            actual.is_some_and(|actual| equal_in_constant_time(actual.as_bytes(), digest.as_bytes()))
        };
        let met = match constraint {
            Constraint::None => true,
            Constraint::CpHash(digest) => is(digest, Some(self.cp_hash(state, hash))),
            Constraint::NameHash(digest) => is(digest, Some(self.name_hash(state, hash))),
            Constraint::TemplateHash(digest) => is(digest, self.template_hash(hash)),
            Constraint::ParametersHash(digest) => is(digest, Some(self.parameters_hash(hash))),
        };
        if met { Ok(()) } else { Err(ResponseCode::POLICY_FAIL) }
    }

    fn check_hmac(
        &self,
        state: &mut State,
        area: &Area,
        index: usize,
        used: &Used,
        include_auth: bool,
    ) -> Result<()> {
        let session = state.sessions.get(used.handle).ok_or(ResponseCode::HANDLE)?;
        let auth = if include_auth {
            used.authorizes.map_or_else(Secret::new, |entity| state.auth_value(entity))
        } else {
            Secret::new()
        };
        let key = session.key.followed_by(&auth);
        if key.is_empty() && used.auth.is_empty() {
            return Ok(());
        }
        let mut hmac = Hmac::new(session.hash, key.as_bytes());
        hmac.update(self.cp_hash(state, session.hash).as_bytes());
        hmac.update(used.nonce_caller.as_bytes());
        hmac.update(session.nonce_tpm.as_bytes());
        if index == 0 && used.authorizes.is_some() {
            let encrypt = area.encrypt.filter(|encrypt| Some(*encrypt) != area.decrypt);
            for other in [area.decrypt, encrypt].into_iter().flatten().filter(|other| *other != index) {
                let other = area.sessions.get(other).and_then(|other| state.sessions.get(other.handle));
                hmac.update(other.map_or(&[][..], |other| other.nonce_tpm.as_bytes()));
            }
        }
        hmac.update(&[used.attributes.0]);
        if equal_in_constant_time(hmac.finish().as_bytes(), used.auth.as_bytes()) {
            Ok(())
        } else {
            Err(register_failure(state, used, include_auth))
        }
    }
}

/// Name and authorization value: what a session is bound to.
pub fn bound_entity(state: &State, entity: Handle) -> Secret {
    let mut bound = state.name(entity).as_bytes().to_vec();
    state.auth_value(entity).marshal(&mut bound);
    Secret::from(bound)
}

fn check_lockout(state: &State, of_lockout: bool) -> Result<()> {
    let locked = if of_lockout {
        !state.dictionary_attack.lockout_auth_enabled
    } else {
        state.dictionary_attack.is_locked_out()
    };
    if locked { Err(ResponseCode::LOCKOUT) } else { Ok(()) }
}

/// Counts a failed authorization where it is protected, and says so by its code.
fn register_failure(state: &mut State, used: &Used, include_auth: bool) -> ResponseCode {
    let exempt = used.authorizes.is_none_or(|entity| state.is_exempt_from_dictionary_attack(entity));
    let binding = state.sessions.get(used.handle).filter(|_| !used.is_password());
    let binding = binding.and_then(|session| session.binding.as_ref());
    let bound = binding.is_some_and(|binding| binding.dictionary_attack);
    let bound_to_lockout = binding.is_some_and(|binding| binding.lockout);
    if !bound && (exempt || !include_auth) {
        return ResponseCode::BAD_AUTH;
    }
    let of_lockout = bound_to_lockout || used.authorizes == Some(Handle::LOCKOUT);
    let now = state.clock.time;
    state.dictionary_attack.register_failure(of_lockout, now);
    state.mark(Record::DictionaryAttack);
    state.failed_try = true;
    ResponseCode::AUTH_FAIL
}

/// Guesses are not free while nobody counts them: a protected value is checked only when no failed try waits to be made durable,
/// and after it is durable that protected values are used in this power cycle, so that a power cut hides no try either.
fn before_a_try(state: &mut State, witness: &mut dyn Witness) -> Result<()> {
    if !state.dictionary_attack.in_use {
        state.dictionary_attack.in_use = true;
        state.mark(Record::DictionaryAttack);
        // A shutdown before would say that nothing was tried since.
        state.invalidate_orderly();
    } else if !state.has_uncounted_try() {
        return Ok(());
    }
    witness.commit(state)
}

/// Counts a try of a PIN fail index before it is made; success takes it back.
fn count_try(state: &mut State, witness: &mut dyn Witness, entity: Handle) -> Result<()> {
    if pin_type(state, entity) != Some(NvType::PinFail) {
        return Ok(());
    }
    change_pin(state, entity, |count| count.saturating_add(1));
    witness.commit(state)
}

/// A PIN fail index forgets failures at a success; a PIN pass index counts successes.
fn count_success(state: &mut State, entity: Handle) {
    match pin_type(state, entity) {
        Some(NvType::PinFail) => change_pin(state, entity, |_| 0),
        Some(NvType::PinPass) => change_pin(state, entity, |count| count.saturating_add(1)),
        _ => {}
    }
}

/// The type of a PIN index that is written.
fn pin_type(state: &State, entity: Handle) -> Option<NvType> {
    let index = state.nv.indices.get(&entity)?;
    index.public.attributes.nv_type().filter(|_| index.is_pin() && index.has(NvAttributes::WRITTEN))
}

fn change_pin(state: &mut State, entity: Handle, change: impl Fn(u32) -> u32) {
    if let Some(index) = state.nv.indices.get_mut(entity) {
        let (count, _) = index.pin();
        index.set_pin_count(change(count));
        state.mark(Record::Entity(entity));
    }
}

fn locality_allowed(allowed: u8, locality: u8) -> bool {
    match locality {
        0..=4 => allowed <= 31 && allowed & (1 << locality) != 0,
        5..=31 => false,
        _ => allowed == locality,
    }
}
