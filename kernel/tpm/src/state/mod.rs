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
use crate::platform::BufferBytes;
use crate::response_code::ResponseCode;
use crate::self_test::{self, Failure};
use crate::session::{Session, Sessions};
use crate::structures::handles::{Handle, HandleType};
use crate::structures::tickets::StartupType;
use crate::undo::Shared;
use crate::wire::Result;

pub use audit::CommandAudit;
pub use commitments::Commitments;
pub use records::Record;

/// Makes the state, and the snapshot that a refused command is taken back by, from one list of parts.
macro_rules! parts {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)+) => {
        /// The state of the TPM.
        #[derive(Debug)]
        pub struct State {
            $($(#[$doc])* pub $name: $type,)+
            pub nv: NvStore,
            /// Not taken back: what was drawn once is not drawn again.
            pub random: Drbg,
            /// Why the TPM goes into failure mode.
            pub failure: Option<Failure>,
            pub buffers: BufferBytes,
            /// A failed try was counted, which a refused commit does not take back.
            pub failed_try: bool,
            /// The records that the command under way changed, to be made durable before its response.
            changed: BTreeSet<Record>,
            /// Those that changed before, and that the platform did not take yet.
            pending: BTreeSet<Record>,
            before: Option<Snapshot>,
        }

        /// The parts as they were.
        #[derive(Debug, Clone)]
        struct Snapshot { $($name: $type,)+ }

        impl State {
            fn snapshot(&self) -> Snapshot {
                Snapshot { $($name: self.$name.clone(),)+ }
            }

            fn restore(&mut self, before: Snapshot) {
                $(self.$name = before.$name;)+
            }
        }
    };
}

parts! {
    hierarchies: Shared<Hierarchies>,
    dictionary_attack: DictionaryAttack,
    clock: Clock,
    pcrs: Shared<Pcrs>,
    objects: Shared<Slots>,
    sessions: Shared<Sessions>,
    audit: Shared<CommandAudit>,
    /// Commands that need physical presence by TPM2_PP_Commands.
    physical_presence: Shared<BTreeSet<u32>>,
    /// TPM2_SetAlgorithmSet.
    algorithm_set: u32,
    /// TPM2_ReadOnlyControl.
    read_only: bool,
    /// What the last TPM2_Shutdown saved; `None` once something changed since.
    orderly: Option<StartupType>,
    /// How this power cycle began.
    beginning: startup::Beginning,
    /// Whether this power cycle began after an orderly shutdown.
    was_orderly: bool,
    /// Whether what keys need has been tested in this power cycle.
    keys_tested: bool,
    commitments: Shared<Commitments>,
    /// Numbers the saved contexts of objects.
    object_context_counter: u64,
    /// A sequence that its completion has used up; it authorizes the response still.
    flush_after_response: Option<Handle>,
}

impl State {
    /// A TPM as it leaves the factory.
    pub fn manufacture(mut random: Drbg, buffers: BufferBytes) -> Self {
        let hierarchies = Hierarchies::manufacture(&mut random);
        let mut state = Self {
            hierarchies: Shared::new(hierarchies),
            dictionary_attack: DictionaryAttack::default(),
            clock: Clock::default(),
            pcrs: Shared::default(),
            nv: NvStore::default(),
            objects: Shared::default(),
            sessions: Shared::default(),
            audit: Shared::default(),
            random,
            physical_presence: Shared::new(default_physical_presence()),
            algorithm_set: 0,
            read_only: false,
            // As if it had been shut down: nothing was ever lost, and no Clock was ever reported.
            orderly: Some(StartupType::Clear),
            beginning: startup::Beginning::default(),
            was_orderly: false,
            keys_tested: false,
            failure: None,
            commitments: Shared::default(),
            object_context_counter: 0,
            flush_after_response: None,
            buffers,
            failed_try: false,
            changed: BTreeSet::new(),
            pending: BTreeSet::new(),
            before: None,
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
        self.changed.insert(record);
    }

    /// Says that something changed that a saved TPM2_Shutdown does not know of.
    pub fn invalidate_orderly(&mut self) {
        if self.orderly.take().is_some() {
            self.mark(Record::Orderly);
        }
    }

    /// A command begins, or what it did so far is not to be taken back.
    pub fn begin(&mut self) {
        self.end();
        self.failed_try = false;
        self.before = Some(self.snapshot());
    }

    /// A command is over: nothing is kept to take it back, and what it could not make durable waits.
    pub fn end(&mut self) {
        self.pending.append(&mut self.changed);
        self.nv.begin();
        self.before = None;
    }

    /// Takes the command under way back: what was not made durable did not happen.
    pub fn undo(&mut self) {
        if let Some(before) = self.before.take() {
            self.restore(before);
            self.nv.undo();
            self.changed.clear();
        }
    }

    /// Whether the command under way changed what has to be durable.
    pub fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Whether the command under way changed this record.
    pub fn is_marked(&self, record: Record) -> bool {
        self.changed.contains(&record)
    }

    /// Whether a failed try waits to be made durable: of what is under protection, or of an index with a PIN.
    pub fn has_uncounted_try(&self) -> bool {
        let counts = |record: &Record| matches!(record, Record::DictionaryAttack | Record::Entity(_));
        self.pending.iter().any(counts)
    }

    /// All records that wait to be made durable.
    pub fn changed(&self) -> impl Iterator<Item = Record> {
        self.changed.union(&self.pending).copied()
    }

    /// Everything that waited was made durable.
    pub fn settle(&mut self) {
        self.changed.clear();
        self.pending.clear();
    }

    /// Whether nothing waits to be made durable.
    pub fn is_clean(&self) -> bool {
        self.changed.is_empty() && self.pending.is_empty()
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
