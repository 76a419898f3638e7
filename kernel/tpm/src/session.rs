//! Sessions: what is kept of them, and their slots. Part 1, section on sessions.

use alloc::vec::Vec;

use crate::crypto::hash::{Digest, HashAlgorithm};
use crate::response_code::ResponseCode;
use crate::structures::algorithms::SymmetricDefinition;
use crate::structures::buffers::DigestBuffer;
use crate::structures::handles::{Handle, HandleType};
use crate::structures::limits::{ACTIVE_SESSIONS, LOADED_SESSIONS};
use crate::undo::Shared;
use crate::wire::{Marshal, Reader, Result, Secret};

/// How far the context counter may run ahead of the oldest saved session: TPM_PT_CONTEXT_GAP_MAX.
pub const CONTEXT_GAP_MAX: u64 = 0xFFFF;

/// What limits a policy session to one command: Part 1 lets at most one of them be set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Constraint {
    #[default]
    None,
    /// TPM2_PolicyCpHash.
    CpHash(DigestBuffer),
    /// TPM2_PolicyNameHash, TPM2_PolicyDuplicationSelect.
    NameHash(DigestBuffer),
    /// TPM2_PolicyTemplate.
    TemplateHash(DigestBuffer),
    /// TPM2_PolicyParameters.
    ParametersHash(DigestBuffer),
}

impl Constraint {
    /// The digest that is set.
    pub const fn digest(&self) -> Option<&DigestBuffer> {
        match self {
            Self::None => None,
            Self::CpHash(digest)
            | Self::NameHash(digest)
            | Self::TemplateHash(digest)
            | Self::ParametersHash(digest) => Some(digest),
        }
    }
}

/// What a policy session has gathered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyState {
    pub digest: Digest,
    pub trial: bool,
    pub constraint: Constraint,
    /// TPM2_PolicyCommandCode, TPM2_PolicyDuplicationSelect.
    pub command_code: Option<u32>,
    /// TPM2_PolicyLocality: zero is any.
    pub locality: u8,
    /// When it ends, in milliseconds of Time.
    pub timeout: Option<u64>,
    /// The PCR update counter at TPM2_PolicyPCR.
    pub pcr_counter: Option<u32>,
    pub auth_value_needed: bool,
    pub password_needed: bool,
    pub physical_presence_needed: bool,
    /// TPM2_PolicyNvWritten.
    pub nv_written: Option<bool>,
}

impl PolicyState {
    pub const fn new(hash: HashAlgorithm, trial: bool) -> Self {
        Self {
            digest: Digest::zero(hash),
            trial,
            constraint: Constraint::None,
            command_code: None,
            locality: 0,
            timeout: None,
            pcr_counter: None,
            auth_value_needed: false,
            password_needed: false,
            physical_presence_needed: false,
            nv_written: None,
        }
    }
}

/// What an HMAC session is bound to: Name and authorization value at the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    pub entity: Secret,
    /// Failures count against dictionary attacks.
    pub dictionary_attack: bool,
    pub lockout: bool,
}

/// A loaded session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub hash: HashAlgorithm,
    pub nonce_tpm: DigestBuffer,
    pub key: Secret,
    pub symmetric: SymmetricDefinition,
    /// `None` for an HMAC session.
    pub policy: Option<PolicyState>,
    pub binding: Option<Binding>,
    /// The digest over audited commands, once it is an audit session.
    pub audit: Option<Digest>,
    /// Time when the nonce last rolled, and the epoch of that Time.
    pub started: u64,
    pub epoch: u32,
}

impl Session {
    /// The policy state of a policy or trial session: TPM_RC_HANDLE for an HMAC session, which unmarshalling rules out.
    pub const fn policy_mut(&mut self) -> Result<&mut PolicyState> {
        match &mut self.policy {
            Some(policy) => Ok(policy),
            None => Err(ResponseCode::HANDLE),
        }
    }

    /// Forgets what the policy gathered: TPM2_PolicyRestart, and each use.
    pub fn restart_policy(&mut self) {
        if let Some(policy) = &mut self.policy {
            *policy = PolicyState::new(self.hash, policy.trial);
        }
    }
}

/// One of the active sessions.
#[derive(Debug, Clone, Default)]
pub enum Slot {
    #[default]
    Free,
    Loaded(Shared<Session>),
    /// Its context was saved under this number of the context counter.
    Saved {
        context: u64,
        policy: bool,
    },
}

/// All active sessions.
#[derive(Debug, Clone)]
pub struct Sessions {
    slots: Vec<Slot>,
    /// Numbers the saved contexts of sessions.
    pub context_counter: u64,
    /// The session that alone was audited since it became exclusive.
    pub exclusive_audit: Option<Handle>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { slots: alloc::vec![Slot::Free; ACTIVE_SESSIONS], context_counter: 1, exclusive_audit: None }
    }
}

impl Sessions {
    pub fn slot(&self, handle: Handle) -> Option<&Slot> {
        self.slots.get(usize::try_from(handle.number()).ok()?)
    }

    pub fn slot_mut(&mut self, handle: Handle) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(handle.number()).ok()?)
    }

    /// The loaded session behind a handle, whatever its kind.
    pub fn get(&self, handle: Handle) -> Option<&Session> {
        match self.slot(handle)? {
            Slot::Loaded(session) => Some(session),
            Slot::Free | Slot::Saved { .. } => None,
        }
    }

    pub fn get_mut(&mut self, handle: Handle) -> Option<&mut Session> {
        match self.slot_mut(handle)? {
            Slot::Loaded(session) => Some(session),
            Slot::Free | Slot::Saved { .. } => None,
        }
    }

    /// How many sessions are loaded.
    pub fn loaded(&self) -> usize {
        self.slots.iter().filter(|slot| matches!(slot, Slot::Loaded(_))).count()
    }

    /// How many sessions are active: loaded or saved.
    pub fn active(&self) -> usize {
        self.slots.iter().filter(|slot| !matches!(slot, Slot::Free)).count()
    }

    /// Whether another session can be started: TPM_RC_SESSION_MEMORY, TPM_RC_SESSION_HANDLES.
    pub fn check_room(&self) -> Result<()> {
        let loaded = self.loaded();
        if loaded.saturating_add(1) == LOADED_SESSIONS && self.gap_is_full() {
            return Err(ResponseCode::CONTEXT_GAP);
        }
        if loaded >= LOADED_SESSIONS {
            return Err(ResponseCode::SESSION_MEMORY);
        }
        if self.active() >= ACTIVE_SESSIONS {
            return Err(ResponseCode::SESSION_HANDLES);
        }
        Ok(())
    }

    /// Puts a session into the first free slot.
    pub fn insert(&mut self, session: Session) -> Result<Handle> {
        let at = self.slots.iter().position(|slot| matches!(slot, Slot::Free));
        let at = at.ok_or(ResponseCode::SESSION_HANDLES)?;
        let first =
            if session.policy.is_some() { Handle::POLICY_SESSION_FIRST } else { Handle::HMAC_SESSION_FIRST };
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = Slot::Loaded(Shared::new(session));
        }
        Ok(Handle(first.0 | u32::try_from(at).unwrap_or(0)))
    }

    /// Ends a session, loaded or saved; tells whether there was one.
    pub fn flush(&mut self, handle: Handle) -> bool {
        if self.exclusive_audit.is_some_and(|exclusive| exclusive.number() == handle.number()) {
            self.exclusive_audit = None;
        }
        match self.slot_mut(handle) {
            None | Some(Slot::Free) => false,
            Some(slot) => {
                *slot = Slot::Free;
                true
            }
        }
    }

    /// The handles of all loaded or all saved sessions, as GetCapability lists them.
    pub fn handles(&self, saved: bool) -> Vec<Handle> {
        let numbered = (0_u32..).zip(&self.slots);
        numbered
            .filter_map(|(number, slot)| match slot {
                Slot::Loaded(session) if !saved => Some((number, session.policy.is_some())),
                // Saved ones are listed under the type of HMAC sessions, whatever they are: Part 2, 7.2, TPM_HT_SAVED_SESSION.
                Slot::Saved { .. } if saved => Some((number, false)),
                Slot::Free | Slot::Loaded(_) | Slot::Saved { .. } => None,
            })
            .map(|(number, policy)| {
                let first = if policy { Handle::POLICY_SESSION_FIRST } else { Handle::HMAC_SESSION_FIRST };
                Handle(first.0 | number)
            })
            .collect()
    }

    /// The smallest context number of a saved session.
    pub fn oldest_saved(&self) -> Option<u64> {
        let contexts = self.slots.iter().filter_map(|slot| match slot {
            Slot::Saved { context, .. } => Some(*context),
            Slot::Free | Slot::Loaded(_) => None,
        });
        contexts.min()
    }

    /// Whether the counter is so far ahead of the oldest saved session that another number would be mistaken for its own.
    pub fn gap_is_full(&self) -> bool {
        self.oldest_saved()
            .is_some_and(|oldest| self.context_counter.saturating_sub(oldest) > CONTEXT_GAP_MAX)
    }

    /// Whether the handle's type is the session's.
    pub fn kind_matches(session: &Session, handle: Handle) -> bool {
        session.policy.is_some() == (handle.kind() == HandleType::PolicySession)
    }
}

impl Sessions {
    /// Appends what survives a power cycle: the numbers of saved contexts.
    pub fn put_saved(&self, out: &mut Vec<u8>) {
        self.context_counter.marshal(out);
        let saved = (0_u32..).zip(&self.slots).filter_map(|(number, slot)| match slot {
            Slot::Saved { context, policy } => Some((number, *context, *policy)),
            Slot::Free | Slot::Loaded(_) => None,
        });
        let saved: Vec<_> = saved.collect();
        u32::try_from(saved.len()).unwrap_or(0).marshal(out);
        for (number, context, policy) in saved {
            number.marshal(out);
            context.marshal(out);
            policy.marshal(out);
        }
    }

    /// Takes in what survived.
    pub fn read_saved(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        let mut sessions = Self { context_counter: reader.read()?, ..Self::default() };
        for _ in 0..reader.read::<u32>()? {
            let number = Handle(reader.read()?);
            let (context, policy) = (reader.read()?, reader.read()?);
            let slot = sessions.slot_mut(number).ok_or(ResponseCode::VALUE)?;
            *slot = Slot::Saved { context, policy };
        }
        *self = sessions;
        Ok(())
    }

    /// A restart or resume: loaded sessions are gone, saved ones stay.
    pub fn drop_loaded(&mut self) {
        for slot in &mut self.slots {
            if matches!(slot, Slot::Loaded(_)) {
                *slot = Slot::Free;
            }
        }
        self.exclusive_audit = None;
    }
}
