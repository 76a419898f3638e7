//! Everything that a running TPM knows, and which records of it are durable.

pub mod audit;
pub mod commitments;
pub mod entity;
pub mod records;
pub mod startup;

use alloc::collections::BTreeSet;

use crate::clock::Clock;
use crate::command::{COMMANDS, PHYSICAL_PRESENCE_REQUIRED};
use crate::crypto::random::Drbg;
use crate::dictionary_attack::DictionaryAttack;
use crate::hierarchy::Hierarchies;
use crate::nv::NvStore;
use crate::object::{Loaded, Object, Sequence, Slots};
use crate::pcr::Pcrs;
use crate::response_code::ResponseCode;
use crate::self_test::{self, Failure};
use crate::session::{Session, Sessions};
use crate::structures::handles::{Handle, HandleType};
use crate::structures::tickets::StartupType;
use crate::wire::Result;

pub use audit::CommandAudit;
pub use commitments::Commitments;
pub use records::Record;

/// The state of the TPM.
#[derive(Debug, Clone)]
pub struct State {
    pub hierarchies: Hierarchies,
    pub dictionary_attack: DictionaryAttack,
    pub clock: Clock,
    pub pcrs: Pcrs,
    pub nv: NvStore,
    pub objects: Slots,
    pub sessions: Sessions,
    pub audit: CommandAudit,
    pub random: Drbg,
    /// Commands that need physical presence by TPM2_PP_Commands.
    pub physical_presence: BTreeSet<u32>,
    /// TPM2_SetAlgorithmSet.
    pub algorithm_set: u32,
    /// TPM2_ReadOnlyControl.
    pub read_only: bool,
    /// What the last TPM2_Shutdown saved; `None` once something changed since.
    pub orderly: Option<StartupType>,
    /// How this power cycle began.
    pub beginning: startup::Beginning,
    /// Whether this power cycle began after an orderly shutdown.
    pub was_orderly: bool,
    /// Whether what keys need has been tested in this power cycle.
    pub keys_tested: bool,
    /// Why the TPM goes into failure mode.
    pub failure: Option<Failure>,
    pub commitments: Commitments,
    /// Numbers the saved contexts of objects.
    pub object_context_counter: u64,
    /// A sequence that its completion has used up; it authorizes the response still.
    pub flush_after_response: Option<Handle>,
    dirty: BTreeSet<Record>,
}

impl State {
    /// A TPM as it leaves the factory.
    pub fn manufacture(mut random: Drbg) -> Self {
        let hierarchies = Hierarchies::manufacture(&mut random);
        let mut state = Self {
            hierarchies,
            dictionary_attack: DictionaryAttack::default(),
            clock: Clock::default(),
            pcrs: Pcrs::default(),
            nv: NvStore::default(),
            objects: Slots::default(),
            sessions: Sessions::default(),
            audit: CommandAudit::default(),
            random,
            physical_presence: default_physical_presence(),
            algorithm_set: 0,
            read_only: false,
            orderly: None,
            beginning: startup::Beginning::default(),
            was_orderly: false,
            keys_tested: false,
            failure: None,
            commitments: Commitments::default(),
            object_context_counter: 0,
            flush_after_response: None,
            dirty: BTreeSet::new(),
        };
        Record::FIXED.iter().for_each(|record| state.mark(*record));
        state
    }

    /// Tests what keys need, once in a power cycle. Most of what firmware asks for before a guest runs needs none.
    pub fn test_keys(&mut self) -> Result<()> {
        if self.keys_tested { Ok(()) } else { self.judge_test(self_test::run_before_first_key()) }
    }

    /// Notes how a test ended that included what keys need.
    pub fn judge_test(&mut self, tested: core::result::Result<(), Failure>) -> Result<()> {
        match tested {
            Ok(()) => {
                self.keys_tested = true;
                Ok(())
            }
            Err(failed) => {
                self.failure = Some(failed);
                Err(ResponseCode::FAILURE)
            }
        }
    }

    /// Says that a record changed and has to be made durable before the response.
    pub fn mark(&mut self, record: Record) {
        self.dirty.insert(record);
    }

    /// Says that something changed that a saved TPM2_Shutdown does not know of.
    pub fn invalidate_orderly(&mut self) {
        if self.orderly.take().is_some() {
            self.mark(Record::Orderly);
        }
    }

    /// The records to be made durable, taken.
    pub fn take_dirty(&mut self) -> BTreeSet<Record> {
        core::mem::take(&mut self.dirty)
    }

    /// Whether nothing waits to be made durable.
    pub fn is_clean(&self) -> bool {
        self.dirty.is_empty()
    }

    /// What a transient handle refers to, object or sequence.
    pub fn loaded(&self, handle: Handle) -> Option<&Loaded> {
        self.objects.get(handle)
    }

    /// The object behind a transient or persistent handle; not a sequence.
    pub fn object(&self, handle: Handle) -> Option<&Object> {
        match handle.kind() {
            HandleType::Transient => match self.objects.get(handle)? {
                Loaded::Object(object) => Some(object),
                Loaded::Sequence(_) => None,
            },
            HandleType::Persistent => self.nv.persistent.get(&handle),
            _ => None,
        }
    }

    /// The object behind the command's handle at `index`, counted from zero: a sequence is a TPM_RC_TYPE with its number.
    pub fn key(&self, handle: Handle, index: u32) -> Result<&Object> {
        self.object(handle).ok_or(ResponseCode::TYPE.handle(index.saturating_add(1)))
    }

    /// The sequence behind a transient handle.
    pub fn sequence_mut(&mut self, handle: Handle) -> Option<&mut Sequence> {
        match self.objects.get_mut(handle)? {
            Loaded::Sequence(sequence) => Some(sequence),
            Loaded::Object(_) => None,
        }
    }

    /// The policy or trial session behind a handle that the engine has checked.
    pub fn policy_session(&mut self, handle: Handle) -> Result<&mut Session> {
        self.sessions.get_mut(handle).ok_or(ResponseCode::HANDLE)
    }
}

/// The commands that need physical presence from the factory: TPM2_PP_Commands itself, which cannot be taken off.
fn default_physical_presence() -> BTreeSet<u32> {
    let required = COMMANDS.iter().filter(|command| command.has(PHYSICAL_PRESENCE_REQUIRED));
    required.map(|command| command.code.to_wire()).collect()
}
