//! A command's way through the TPM: header, mode, handles, authorization, dispatch, response. Part 1, section on the
//! command/response protocol; Part 3, section on command processing.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::authorization::area::Area;
use crate::authorization::checks::Subject;
use crate::authorization::encryption::{Direction, transform};
use crate::authorization::response::{AuditHashes, build, leaves_exclusive_audit};
use crate::command::{
    self, Command, CommandCode, IN_FAILURE, KEYS, NO_SESSIONS, RESPONSE_HANDLE, Role, UNSAVES,
};
use crate::crypto::random::{Drbg, INSTANTIATE_BYTES, RESEED_BYTES};
use crate::dispatch::handler;
use crate::mode::{Mode, is_refused_when_read_only};
use crate::platform::Platform;
use crate::request::Request;
use crate::response_code::ResponseCode;
use crate::self_test::Failure;
use crate::state::{Record, State};
use crate::storage::Storage;
use crate::structures::handles::Handle;
use crate::structures::limits::{HANDLES_IN_A_COMMAND, MAX_COMMAND_BYTES};
use crate::structures::tickets::{StartupType, tag};
use crate::wire::{Marshal, Reader, Result, Secret};
use zeroize::Zeroize;

/// Tag, size, code.
const HEADER_BYTES: usize = 10;

/// What cannot be made without entropy or durable memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManufactureError {
    /// The platform gave no entropy.
    Entropy,
    /// The platform did not make the first state durable.
    Commit,
}

/// A TPM with all its state.
pub struct Tpm<P: Platform> {
    storage: Storage<P>,
    state: State,
    mode: Mode,
    /// The response under way. It never grows, so that no copy of what it holds stays behind.
    response: Vec<u8>,
    /// _TPM_Hash_Start came and _TPM_Hash_End did not yet.
    hash_sequence: Option<Vec<crate::crypto::hash::Hasher>>,
}

/// The parts of a command behind its header.
struct Parsed<'a> {
    command: &'static Command,
    with_sessions: bool,
    handles: [Handle; HANDLES_IN_A_COMMAND],
    rest: Reader<'a>,
}

impl<P: Platform> Tpm<P> {
    /// A new TPM with fresh seeds, powered on and waiting for TPM2_Startup.
    ///
    /// # Errors
    /// The platform failed.
    pub fn manufacture(mut platform: P) -> core::result::Result<Self, ManufactureError> {
        let mut entropy = Secret::zeroed(INSTANTIATE_BYTES);
        platform.entropy(entropy.as_mut_bytes()).map_err(|_| ManufactureError::Entropy)?;
        let state = State::manufacture(
            Drbg::instantiate(entropy.as_bytes(), b"Vouchsafe TPM"),
            platform.buffer_bytes(),
        );
        let mut tpm = Self::assemble(platform, state, BTreeMap::new());
        tpm.storage.store(&mut tpm.state).map_err(|_| ManufactureError::Commit)?;
        tpm.power_on();
        Ok(tpm)
    }

    pub(crate) fn assemble(platform: P, state: State, durable: BTreeMap<Record, Secret>) -> Self {
        let storage = Storage::new(platform, durable);
        let response = Vec::with_capacity(state.buffers.response.max(MAX_COMMAND_BYTES));
        Self { storage, state, mode: Mode::AwaitingStartup, response, hash_sequence: None }
    }

    pub(crate) const fn durable_records(&self) -> &BTreeMap<Record, Secret> {
        self.storage.records()
    }

    /// _TPM_Init: power was applied, or the platform was reset. TPM2_Startup is awaited.
    pub fn power_on(&mut self) {
        let now = self.storage.platform.monotonic_milliseconds();
        self.state.clock.power_on(now);
        self.hash_sequence = None;
        // What was measured before the last startup says nothing about this one.
        self.state.pcrs.hcrtm_measured = false;
        self.state.failure = crate::self_test::run_at_power_on().err();
        self.state.keys_tested = false;
        self.mode = if self.state.failure.is_some() { Mode::Failed } else { Mode::AwaitingStartup };
    }

    /// The platform.
    pub const fn platform(&self) -> &P {
        &self.storage.platform
    }

    /// The platform, to be changed.
    pub const fn platform_mut(&mut self) -> &mut P {
        &mut self.storage.platform
    }

    /// Puts the TPM into failure mode until the next power-on: its machine found that something is wrong with it.
    pub fn fail(&mut self) {
        self.state.failure = Some(Failure::Machine);
        self.mode = Mode::Failed;
    }

    /// Carries a command out at a locality and writes its response; answers the response's length.
    ///
    /// A response that does not fit into `response` is cut off. Nothing that `command` holds can make this panic.
    pub fn execute(&mut self, locality: u8, command: &[u8], response: &mut [u8]) -> usize {
        let now = self.storage.platform.monotonic_milliseconds();
        self.tick(now);
        self.state.begin();
        let result = self.run(locality, command);
        if self.state.failure.is_some() {
            self.mode = Mode::Failed;
        }
        match self.make_durable(result) {
            // Nothing but TPM2_Startup succeeds before it.
            Ok(()) if self.mode == Mode::AwaitingStartup => self.mode = Mode::Running,
            Ok(()) => {}
            Err(code) => self.refuse(code),
        }
        let length = self.response.len().min(response.len());
        for (to, from) in response.iter_mut().zip(&self.response) {
            *to = *from;
        }
        self.forget_response();
        length
    }

    /// The end of each command: it is durable, or it did not happen.
    ///
    /// What changed before it, such as the clock, is made durable with it; a command that changes nothing durable itself does not
    /// fail where that is refused.
    fn make_durable(&mut self, result: Result<()>) -> Result<()> {
        self.keep_saved_state_true();
        let refused = self.storage.store(&mut self.state).is_err() && self.state.has_changed();
        if refused && !self.state.failed_try {
            self.state.undo();
        }
        self.state.end();
        if refused { Err(ResponseCode::NV_UNAVAILABLE) } else { result }
    }

    /// The response is a header with a response code.
    fn refuse(&mut self, code: ResponseCode) {
        self.forget_response();
        let tag = if code == ResponseCode::BAD_TAG { tag::RSP_COMMAND } else { tag::NO_SESSIONS };
        tag.marshal(&mut self.response);
        (HEADER_BYTES as u32).marshal(&mut self.response);
        code.to_wire().marshal(&mut self.response);
    }

    /// Wipes the response, which may hold what was unsealed.
    fn forget_response(&mut self) {
        self.response.as_mut_slice().zeroize();
        self.response.clear();
    }

    /// Whatever changed of what TPM2_Shutdown(STATE) saved ends the saved state: a resume must not bring the old values back.
    fn keep_saved_state_true(&mut self) {
        if self.mode == Mode::Running
            && self.state.orderly == Some(StartupType::State)
            && !self.state.is_marked(Record::Orderly)
            && !self.storage.is_durable(Record::Orderly, &self.state.record(Record::Orderly))
        {
            self.state.invalidate_orderly();
        }
    }

    fn tick(&mut self, now: u64) {
        let clock_is_due = self.state.clock.advance(now);
        let time = self.state.clock.time;
        if self.state.dictionary_attack.self_heal(time) {
            self.state.mark(Record::DictionaryAttack);
        }
        if clock_is_due {
            self.state.mark(Record::Clock);
        }
        if self.state.random.is_due_for_reseed() {
            let mut entropy = Secret::zeroed(RESEED_BYTES);
            match self.storage.platform.entropy(entropy.as_mut_bytes()) {
                Ok(()) => self.state.random.reseed(entropy.as_bytes(), &[]),
                Err(_) => {
                    self.state.failure = Some(Failure::Entropy);
                    self.mode = Mode::Failed;
                }
            }
        }
    }

    fn run(&mut self, locality: u8, bytes: &[u8]) -> Result<()> {
        let (with_sessions, code, rest) = parse_header(bytes, self.state.buffers.command)?;
        let command = command::find(code);
        if self.mode == Mode::Failed
            && (with_sessions || !command.is_some_and(|command| command.has(IN_FAILURE)))
        {
            return Err(ResponseCode::FAILURE);
        }
        let command = command.ok_or(ResponseCode::COMMAND_CODE)?;
        match (self.mode, command.code) {
            (Mode::AwaitingStartup, CommandCode::Startup) | (Mode::Failed, _) => {}
            (Mode::AwaitingStartup, _) | (Mode::Running, CommandCode::Startup) => {
                return Err(ResponseCode::INITIALIZE);
            }
            (Mode::Running, _) => {}
        }
        let mut parsed =
            Parsed { command, with_sessions, handles: [Handle::UNASSIGNED; HANDLES_IN_A_COMMAND], rest };
        parsed.read_handles(&self.state)?;
        let index = parsed.handles.iter().find_map(|handle| self.state.nv.indices.get(handle));
        let index = index.map(|index| index.public.attributes);
        if self.state.read_only && is_refused_when_read_only(command, index) {
            return Err(ResponseCode::READ_ONLY);
        }
        if command.has(KEYS) {
            self.state.test_keys()?;
        }
        self.authorize_and_run(locality, &mut parsed)?;
        if command.has(UNSAVES) {
            self.state.invalidate_orderly();
        }
        Ok(())
    }

    fn authorize_and_run(&mut self, locality: u8, parsed: &mut Parsed<'_>) -> Result<()> {
        let command = parsed.command;
        let count = command.handles.len();
        let handles = parsed.handles;
        let handles = handles.get(..count).unwrap_or_default();
        let area_bytes = parsed.take_area()?;
        let mut parameters = Secret::from(parsed.rest.rest());
        let mut area = Area::default();
        if let Some(bytes) = area_bytes {
            if command.has(NO_SESSIONS) {
                return Err(ResponseCode::AUTH_CONTEXT);
            }
            area = Area::parse(bytes, command, &self.state)?;
            area.associate(command, handles)?;
        } else if command.handles.iter().any(|(_, role)| *role != Role::None) {
            return Err(ResponseCode::AUTH_MISSING);
        }
        let subject = Subject { command, handles, parameters: parsed.rest.rest(), locality };
        subject.authorize(&mut self.state, &mut self.storage, &mut area)?;
        let audits = AuditHashes::before(&subject, &self.state, &area);
        self.decrypt(&area, parameters.as_mut_bytes())?;
        let layout = Layout::of(command, parsed.with_sessions);
        self.response.resize(layout.parameters_at, 0);
        let response = &mut self.response;
        let mut request =
            Request::new(&mut self.state, locality, parsed.handles, parameters.as_bytes(), response);
        handler(command.code)(&mut request)?;
        let handle = request.response_handle;
        let answered = self.response.get_mut(layout.parameters_at..).unwrap_or_default();
        let parameters_bytes = answered.len();
        let no_sessions = leaves_exclusive_audit(command);
        let sessions = build(&mut self.state, command.code, no_sessions, &mut area, audits, answered)?;
        if parsed.with_sessions {
            self.response.extend_from_slice(&sessions);
        }
        layout.fill_in(&mut self.response, handle, parameters_bytes);
        Ok(())
    }

    fn decrypt(&self, area: &Area, parameters: &mut [u8]) -> Result<()> {
        let Some(index) = area.decrypt else { return Ok(()) };
        let number = u32::try_from(index).unwrap_or(0).saturating_add(1);
        let Some(used) = area.sessions.get(index) else { return Ok(()) };
        let session = self.state.sessions.get(used.handle).ok_or(ResponseCode::HANDLE)?;
        let auth = used.authorizes.map_or_else(Secret::new, |entity| self.state.auth_value(entity));
        transform(session, Direction::Decrypt, used.nonce_caller.as_bytes(), &auth, parameters)
            .map_err(|code| code.session(number))
    }

    /// _TPM_Hash_Start: a dynamic root of trust begins to be measured.
    pub fn hash_start(&mut self) {
        self.hash_sequence =
            Some(crate::pcr::BANKS.iter().map(|hash| crate::crypto::hash::Hasher::new(*hash)).collect());
    }

    /// _TPM_Hash_Data: more of what is measured.
    pub fn hash_data(&mut self, data: &[u8]) {
        for hasher in self.hash_sequence.iter_mut().flatten() {
            hasher.update(data);
        }
    }

    /// _TPM_Hash_End: the dynamic PCRs are reset, and PCR 17 is extended with the measurement; before TPM2_Startup it is PCR 0.
    pub fn hash_end(&mut self) {
        let Some(hashers) = self.hash_sequence.take() else { return };
        let started = self.mode == Mode::Running;
        if started {
            self.state.invalidate_orderly();
        }
        self.state.pcrs.measure_root_of_trust(hashers, started);
        // Where this is refused, it is tried again with the next command, and no power cut brings the old state back: PCRs that a
        // dynamic root of trust resets are never saved.
        let _tried_again = self.storage.store(&mut self.state);
    }
}

impl<'a> Parsed<'a> {
    fn read_handles(&mut self, state: &State) -> Result<()> {
        for (number, ((kind, _), slot)) in (1..).zip(self.command.handles.iter().zip(&mut self.handles)) {
            *slot = kind.unmarshal(&mut self.rest).map_err(|code| code.handle(number))?;
        }
        for (index, handle) in (0..).zip(self.handles.iter().take(self.command.handles.len())) {
            state.check_loaded(*handle, index)?;
        }
        Ok(())
    }

    /// The bytes of the authorization area, where there is one: TPM_RC_SIZE when it is too small or too large.
    fn take_area(&mut self) -> Result<Option<&'a [u8]>> {
        const SMALLEST: usize = 9;
        if !self.with_sessions {
            return Ok(None);
        }
        let size = self.rest.read::<u32>()? as usize;
        if size < SMALLEST || size > self.rest.rest().len() {
            return Err(ResponseCode::SIZE);
        }
        self.rest.take(size).map(Some)
    }
}

fn parse_header(bytes: &[u8], most: usize) -> Result<(bool, u32, Reader<'_>)> {
    let mut reader = Reader::new(bytes);
    let with_sessions = match reader.read::<u16>()? {
        tag::NO_SESSIONS => false,
        tag::SESSIONS => true,
        _ => return Err(ResponseCode::BAD_TAG),
    };
    let size = reader.read::<u32>()? as usize;
    if size != bytes.len() || size > most {
        return Err(ResponseCode::COMMAND_SIZE);
    }
    let code = reader.read()?;
    Ok((with_sessions, code, reader))
}

/// Where the parts of a response are: header, handle, size of the parameters, parameters; sessions come last.
struct Layout {
    with_sessions: bool,
    handle_bytes: usize,
    parameters_at: usize,
}

impl Layout {
    fn of(command: &Command, with_sessions: bool) -> Self {
        let handle_bytes = if command.has(RESPONSE_HANDLE) { size_of::<u32>() } else { 0 };
        let size_bytes = if with_sessions { size_of::<u32>() } else { 0 };
        let parameters_at = HEADER_BYTES.saturating_add(handle_bytes).saturating_add(size_bytes);
        Self { with_sessions, handle_bytes, parameters_at }
    }

    /// Writes everything in front of the parameters.
    fn fill_in(&self, response: &mut [u8], handle: Option<Handle>, parameters_bytes: usize) {
        let size = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        let mut front = Vec::with_capacity(self.parameters_at);
        if self.with_sessions { tag::SESSIONS } else { tag::NO_SESSIONS }.marshal(&mut front);
        size(response.len()).marshal(&mut front);
        0_u32.marshal(&mut front);
        if self.handle_bytes != 0 {
            handle.unwrap_or(Handle::UNASSIGNED).marshal(&mut front);
        }
        if self.with_sessions {
            size(parameters_bytes).marshal(&mut front);
        }
        for (to, from) in response.iter_mut().zip(&front) {
            *to = *from;
        }
    }
}
