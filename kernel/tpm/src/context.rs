//! Saved contexts: what is in them and how they are protected. Part 1, section on context management.
//!
//! A blob is encrypted and authenticated under the proof of its hierarchy; the authentication covers its sequence number, so
//! that an old context of a session is not loaded again, and the count of resets, so that none survives one.

use alloc::vec::Vec;

use crate::crypto::hash::{Digest, HashAlgorithm, Hasher};
use crate::crypto::hmac::{Hmac, hmac};
use crate::crypto::kdf::kdfa;
use crate::crypto::symmetric::{Aes, CipherMode};
use crate::object::{Loaded, Object, Sequence, SequenceState};
use crate::response_code::ResponseCode;
use crate::session::{Binding, Constraint, PolicyState, Session};
use crate::state::State;
use crate::state::records::{put_option, read_option, read_secret};
use crate::structures::buffers::DigestBuffer;
use crate::structures::handles::{Handle, HandleKind, HandleType};
use crate::structures::limits::{MAX_CONTEXT_DATA_BYTES, MAX_DIGEST_BYTES};
use crate::undo::Shared;
use crate::wire::{Marshal, Reader, Result, Secret, Unmarshal, equal_in_constant_time, put_sized};

const HASH: HashAlgorithm = HashAlgorithm::Sha512;
const KEY_BYTES: usize = 32;
const BLOCK_BITS: u32 = 128;

/// The handles that stand for objects in contexts: Part 2, TPMI_DH_SAVED.
pub const SAVED_OBJECT: Handle = Handle(0x8000_0000);
pub const SAVED_SEQUENCE: Handle = Handle(0x8000_0001);
pub const SAVED_STATE_CLEAR_OBJECT: Handle = Handle(0x8000_0002);

/// TPMS_CONTEXT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    pub sequence: u64,
    pub saved_handle: Handle,
    pub hierarchy: Handle,
    pub blob: Vec<u8>,
}

impl Unmarshal for Context {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self> {
        let sequence = reader.read()?;
        let saved_handle: Handle = reader.read()?;
        let saved = match saved_handle.kind() {
            HandleType::HmacSession | HandleType::PolicySession => true,
            _ => (SAVED_OBJECT..=SAVED_STATE_CLEAR_OBJECT).contains(&saved_handle),
        };
        if !saved {
            return Err(ResponseCode::VALUE);
        }
        let hierarchy = HandleKind::Hierarchy.unmarshal(reader)?;
        Ok(Self { sequence, saved_handle, hierarchy, blob: reader.sized(MAX_CONTEXT_DATA_BYTES)?.to_vec() })
    }
}

impl Marshal for Context {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.sequence.marshal(out);
        self.saved_handle.marshal(out);
        self.hierarchy.marshal(out);
        put_sized(out, &self.blob);
    }
}

impl Context {
    /// Encrypts and authenticates `contents`, which becomes the blob.
    pub fn protect(&mut self, state: &State, contents: &Secret) -> Result<()> {
        let mut body = contents.clone();
        let (aes, mut iv) = self.key(state)?;
        aes.encrypt(CipherMode::Cfb, &mut iv, body.as_mut_bytes()).map_err(|_| ResponseCode::FAILURE)?;
        let integrity = self.integrity(state, body.as_bytes());
        self.blob = Vec::new();
        put_sized(&mut self.blob, integrity.as_bytes());
        self.blob.extend_from_slice(body.as_bytes());
        Ok(())
    }

    /// The contents: TPM_RC_SIZE, TPM_RC_INTEGRITY for another blob than [`Self::protect`] made in this reset.
    pub fn open(&self, state: &State) -> Result<Secret> {
        let mut reader = Reader::new(&self.blob);
        let integrity = reader.sized(MAX_DIGEST_BYTES)?;
        if integrity.len() != HASH.digest_bytes() {
            return Err(ResponseCode::SIZE.parameter(1));
        }
        if !equal_in_constant_time(integrity, self.integrity(state, reader.rest()).as_bytes()) {
            return Err(ResponseCode::INTEGRITY.parameter(1));
        }
        let mut body = Secret::from(reader.rest());
        let (aes, mut iv) = self.key(state)?;
        aes.decrypt(CipherMode::Cfb, &mut iv, body.as_mut_bytes()).map_err(|_| ResponseCode::FAILURE)?;
        Ok(body)
    }

    fn key(&self, state: &State) -> Result<(Aes, [u8; 16])> {
        let proof = state.hierarchies.proof(self.hierarchy);
        let bits = BLOCK_BITS.saturating_add((KEY_BYTES as u32).saturating_mul(8));
        let (sequence, handle) = (self.sequence.to_be_bytes(), self.saved_handle.to_bytes());
        let stream = kdfa(HASH, proof, b"CONTEXT", &sequence, &handle, bits);
        let (key, iv) = stream.split_at_checked(KEY_BYTES).ok_or(ResponseCode::FAILURE)?;
        let aes = Aes::new(key).ok_or(ResponseCode::FAILURE)?;
        Ok((aes, iv.try_into().map_err(|_| ResponseCode::FAILURE)?))
    }

    fn integrity(&self, state: &State, body: &[u8]) -> Digest {
        let resets = state.clock.total_reset_count.to_be_bytes();
        let clears = state.clock.clear_count.to_be_bytes();
        let clears = if self.saved_handle == SAVED_STATE_CLEAR_OBJECT { &clears[..] } else { &[] };
        let (sequence, handle) = (self.sequence.to_be_bytes(), self.saved_handle.to_bytes());
        let proof = state.hierarchies.proof(self.hierarchy);
        hmac(HASH, proof, &[&resets, clears, body, &sequence, &handle])
    }
}

/// The contents of an object's or a sequence's context.
pub fn put_loaded(loaded: &Loaded) -> Secret {
    let mut out = Vec::new();
    match loaded {
        Loaded::Object(object) => object.marshal(&mut out),
        Loaded::Sequence(sequence) => put_sequence(sequence, &mut out),
    }
    Secret::from(out)
}

/// An object or a sequence from its contents.
pub fn read_loaded(saved_handle: Handle, contents: &Secret) -> Result<Loaded> {
    let mut reader = Reader::new(contents.as_bytes());
    if saved_handle == SAVED_SEQUENCE {
        read_sequence(&mut reader).map(|sequence| Loaded::Sequence(Shared::new(sequence)))
    } else {
        reader.read::<Object>().map(|object| Loaded::Object(Shared::new(object)))
    }
}

fn put_sequence(sequence: &Sequence, out: &mut Vec<u8>) {
    sequence.auth.marshal(out);
    match &sequence.state {
        SequenceState::Hash { hasher, beginning } => {
            out.push(0);
            put_hasher(hasher, out);
            put_sized(out, beginning);
        }
        SequenceState::Hmac(hmac) => {
            out.push(1);
            hmac.algorithm().marshal(out);
            put_sized(out, &hmac.export_state());
        }
        SequenceState::Event(hashers) => {
            out.push(2);
            out.push(u8::try_from(hashers.len()).unwrap_or(0));
            hashers.iter().for_each(|hasher| put_hasher(hasher, out));
        }
    }
}

fn put_hasher(hasher: &Hasher, out: &mut Vec<u8>) {
    hasher.algorithm().marshal(out);
    put_sized(out, &hasher.export_state());
}

fn read_sequence(reader: &mut Reader<'_>) -> Result<Sequence> {
    let auth = read_secret(reader)?;
    let state = match reader.read::<u8>()? {
        0 => SequenceState::Hash {
            hasher: read_hasher(reader)?,
            beginning: reader.sized(usize::from(u16::MAX))?.to_vec(),
        },
        1 => {
            let algorithm = reader.read()?;
            let state = reader.sized(usize::from(u16::MAX))?;
            SequenceState::Hmac(Hmac::import_state(algorithm, state).ok_or(ResponseCode::VALUE)?)
        }
        _ => {
            let count = reader.read::<u8>()?;
            SequenceState::Event((0..count).map(|_| read_hasher(reader)).collect::<Result<_>>()?)
        }
    };
    Ok(Sequence { auth, state })
}

fn read_hasher(reader: &mut Reader<'_>) -> Result<Hasher> {
    let algorithm = reader.read()?;
    Hasher::import_state(algorithm, reader.sized(usize::from(u16::MAX))?).ok_or(ResponseCode::VALUE)
}

/// A digest as contexts hold it.
struct StoredDigest(Digest);

impl Marshal for StoredDigest {
    fn marshal(&self, out: &mut Vec<u8>) {
        put_sized(out, self.0.as_bytes());
    }
}

impl Unmarshal for StoredDigest {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self> {
        Digest::from_slice(reader.sized(MAX_DIGEST_BYTES)?).map(Self).ok_or(ResponseCode::SIZE)
    }
}

impl Marshal for Session {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.hash.marshal(out);
        self.nonce_tpm.marshal(out);
        self.key.marshal(out);
        self.symmetric.marshal(out);
        put_option(out, self.policy.as_ref());
        put_option(out, self.binding.as_ref());
        put_option(out, self.audit.clone().map(StoredDigest).as_ref());
        self.started.marshal(out);
        self.epoch.marshal(out);
    }
}

impl Unmarshal for Session {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            hash: reader.read()?,
            nonce_tpm: reader.read()?,
            key: read_secret(reader)?,
            symmetric: reader.read()?,
            policy: read_option(reader)?,
            binding: read_option(reader)?,
            audit: read_option::<StoredDigest>(reader)?.map(|digest| digest.0),
            started: reader.read()?,
            epoch: reader.read()?,
        })
    }
}

impl Marshal for Binding {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.entity.marshal(out);
        self.dictionary_attack.marshal(out);
        self.lockout.marshal(out);
    }
}

impl Unmarshal for Binding {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self { entity: read_secret(reader)?, dictionary_attack: reader.read()?, lockout: reader.read()? })
    }
}

impl Marshal for PolicyState {
    fn marshal(&self, out: &mut Vec<u8>) {
        put_sized(out, self.digest.as_bytes());
        self.trial.marshal(out);
        let kind: u8 = match self.constraint {
            Constraint::None => 0,
            Constraint::CpHash(_) => 1,
            Constraint::NameHash(_) => 2,
            Constraint::TemplateHash(_) => 3,
            Constraint::ParametersHash(_) => 4,
        };
        kind.marshal(out);
        self.constraint.digest().cloned().unwrap_or_default().marshal(out);
        put_option(out, self.command_code.as_ref());
        self.locality.marshal(out);
        put_option(out, self.timeout.as_ref());
        put_option(out, self.pcr_counter.as_ref());
        self.auth_value_needed.marshal(out);
        self.password_needed.marshal(out);
        self.physical_presence_needed.marshal(out);
        put_option(out, self.nv_written.as_ref());
    }
}

impl Unmarshal for PolicyState {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            digest: reader.read::<StoredDigest>()?.0,
            trial: reader.read()?,
            constraint: read_constraint(reader)?,
            command_code: read_option(reader)?,
            locality: reader.read()?,
            timeout: read_option(reader)?,
            pcr_counter: read_option(reader)?,
            auth_value_needed: reader.read()?,
            password_needed: reader.read()?,
            physical_presence_needed: reader.read()?,
            nv_written: read_option(reader)?,
        })
    }
}

fn read_constraint(reader: &mut Reader<'_>) -> Result<Constraint> {
    let kind: u8 = reader.read()?;
    let digest: DigestBuffer = reader.read()?;
    match kind {
        0 => Ok(Constraint::None),
        1 => Ok(Constraint::CpHash(digest)),
        2 => Ok(Constraint::NameHash(digest)),
        3 => Ok(Constraint::TemplateHash(digest)),
        4 => Ok(Constraint::ParametersHash(digest)),
        _ => Err(ResponseCode::VALUE),
    }
}
