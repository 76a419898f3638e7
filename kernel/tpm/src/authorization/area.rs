//! The authorization area of a command: Part 1, section on the authorization area; Part 2, section 10.13.

use alloc::vec::Vec;

use crate::command::{Command, DECRYPT, ENCRYPT, Role};
use crate::response_code::ResponseCode;
use crate::session::Sessions;
use crate::state::State;
use crate::structures::algorithms::SymmetricDefinition;
use crate::structures::attributes::SessionAttributes;
use crate::structures::buffers::{Auth, DigestBuffer};
use crate::structures::handles::{Handle, HandleType};
use crate::structures::limits::SESSIONS_IN_A_COMMAND;
use crate::wire::{Reader, Result, Secret};

/// One session of a command.
#[derive(Debug, Clone)]
pub struct Used {
    pub handle: Handle,
    pub nonce_caller: DigestBuffer,
    pub attributes: SessionAttributes,
    /// A password or an HMAC.
    pub auth: Secret,
    /// The entity that it authorizes.
    pub authorizes: Option<Handle>,
    /// Whether the entity's authorization value is part of the HMAC key.
    pub include_auth: bool,
}

impl Used {
    pub const fn is_password(&self) -> bool {
        self.handle.0 == Handle::PASSWORD.0
    }

    /// The authorization value that the response goes by: the new one where the command changed it, none of an index that it
    /// deleted. A sequence that the command ends is still there.
    pub fn auth_value_after(&self, state: &State) -> Secret {
        self.authorizes.map_or_else(Secret::new, |entity| state.auth_value(entity))
    }

    pub const fn has(&self, attributes: SessionAttributes) -> bool {
        self.attributes.has(attributes)
    }
}

/// The sessions of a command, checked for form.
#[derive(Debug, Clone, Default)]
pub struct Area {
    pub sessions: Vec<Used>,
    /// Which of them decrypts the first parameter, and which encrypts the first response parameter.
    pub decrypt: Option<usize>,
    pub encrypt: Option<usize>,
    audit: bool,
}

impl Area {
    /// Reads the sessions, which fill `bytes`.
    pub fn parse(bytes: &[u8], command: &Command, state: &State) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let mut area = Self::default();
        while !reader.is_empty() {
            let index = u32::try_from(area.sessions.len()).unwrap_or(u32::MAX);
            let number = index.saturating_add(1);
            if area.sessions.len() == SESSIONS_IN_A_COMMAND {
                return Err(ResponseCode::SIZE.session(number));
            }
            let used = read_session(&mut reader).map_err(|code| code.session(number))?;
            area.admit(used, index, command, state).map_err(|code| code.session(number))?;
        }
        Ok(area)
    }

    fn admit(&mut self, used: Used, index: u32, command: &Command, state: &State) -> Result<()> {
        if used.is_password() {
            if used.attributes.with(SessionAttributes::CONTINUE_SESSION, false)
                != SessionAttributes::default()
            {
                return Err(ResponseCode::ATTRIBUTES);
            }
            if !used.nonce_caller.is_empty() {
                return Err(ResponseCode::NONCE);
            }
            self.sessions.push(used);
            return Ok(());
        }
        let session = state.sessions.get(used.handle).ok_or(ResponseCode::reference_session(index))?;
        let seen = self.sessions.iter().any(|other| other.handle == used.handle);
        if !Sessions::kind_matches(session, used.handle) || seen {
            return Err(ResponseCode::HANDLE);
        }
        let at = self.sessions.len();
        if used.has(SessionAttributes::DECRYPT) {
            check_encryption(command.has(DECRYPT), self.decrypt, session.symmetric)?;
            self.decrypt = Some(at);
        }
        if used.has(SessionAttributes::ENCRYPT) {
            check_encryption(command.has(ENCRYPT), self.encrypt, session.symmetric)?;
            self.encrypt = Some(at);
        }
        if used.has(SessionAttributes::AUDIT) {
            if self.audit || used.handle.kind() == HandleType::PolicySession {
                return Err(ResponseCode::ATTRIBUTES);
            }
            let continues = session.audit.is_some() && !used.has(SessionAttributes::AUDIT_RESET);
            let exclusive = state.sessions.exclusive_audit == Some(used.handle);
            if continues && used.has(SessionAttributes::AUDIT_EXCLUSIVE) && !exclusive {
                return Err(ResponseCode::EXCLUSIVE);
            }
            self.audit = true;
        }
        self.sessions.push(used);
        Ok(())
    }

    /// Says which session authorizes which handle: TPM_RC_AUTH_MISSING when there are too few.
    pub fn associate(&mut self, command: &Command, handles: &[Handle]) -> Result<()> {
        for (index, handle) in handles.iter().enumerate() {
            if command.role(index) != Role::None {
                let session = self.sessions.get_mut(index).ok_or(ResponseCode::AUTH_MISSING)?;
                session.authorizes = Some(*handle);
            }
        }
        Ok(())
    }
}

fn check_encryption(allowed: bool, taken: Option<usize>, symmetric: SymmetricDefinition) -> Result<()> {
    if !allowed || taken.is_some() {
        return Err(ResponseCode::ATTRIBUTES);
    }
    if symmetric == SymmetricDefinition::Null { Err(ResponseCode::SYMMETRIC) } else { Ok(()) }
}

fn read_session(reader: &mut Reader<'_>) -> Result<Used> {
    let handle: Handle = reader.read()?;
    if !handle.is_session() && handle != Handle::PASSWORD {
        return Err(ResponseCode::VALUE);
    }
    let nonce_caller = reader.read()?;
    let attributes = reader.read()?;
    let auth: Auth = reader.read()?;
    Ok(Used { handle, nonce_caller, attributes, auth: auth.0, authorizes: None, include_auth: false })
}
