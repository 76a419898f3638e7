//! A command's way through the TPM: header, mode, handles, authorization, dispatch, response. Part 1, section on the
//! command/response protocol; Part 3, section on command processing.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::authorization::area::Area;
use crate::authorization::checks::Subject;
use crate::authorization::encryption::{Direction, transform};
use crate::authorization::response::{AuditHashes, build, leaves_exclusive_audit};
use crate::command::{self, Command, CommandCode, IN_FAILURE, KEYS, NO_SESSIONS, NV, Role, UNSAVES};
use crate::crypto::random::{Drbg, INSTANTIATE_BYTES, RESEED_BYTES};
use crate::dispatch::handler;
use crate::mode::{Mode, is_refused_when_read_only};
use crate::platform::{Platform, StateChange};
use crate::request::Request;
use crate::response_code::ResponseCode;
use crate::self_test::Failure;
use crate::state::{Record, State};
use crate::structures::handles::Handle;
use crate::structures::limits::{HANDLES_IN_A_COMMAND, MAX_COMMAND_BYTES};
use crate::structures::tickets::tag;
use crate::wire::{Marshal, Reader, Result, Secret};

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
    platform: P,
    state: State,
    mode: Mode,
    /// Each record as it was last made durable.
    durable: BTreeMap<Record, Secret>,
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
        let state = State::manufacture(Drbg::instantiate(entropy.as_bytes(), b"Vouchsafe TPM"));
        let mut tpm = Self::assemble(platform, state, BTreeMap::new());
        tpm.commit().map_err(|_| ManufactureError::Commit)?;
        tpm.power_on();
        Ok(tpm)
    }

    pub(crate) const fn assemble(platform: P, state: State, durable: BTreeMap<Record, Secret>) -> Self {
        Self { platform, state, mode: Mode::AwaitingStartup, durable, hash_sequence: None }
    }

    pub(crate) const fn durable_records(&self) -> &BTreeMap<Record, Secret> {
        &self.durable
    }

    /// _TPM_Init: power was applied, or the platform was reset. TPM2_Startup is awaited.
    pub fn power_on(&mut self) {
        let now = self.platform.monotonic_milliseconds();
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
        &self.platform
    }

    /// The platform, to be changed.
    pub const fn platform_mut(&mut self) -> &mut P {
        &mut self.platform
    }

    /// Carries a command out at a locality and writes its response; answers the response's length.
    ///
    /// A response that does not fit into `response` is cut off. Nothing that `command` holds can make this panic.
    pub fn execute(&mut self, locality: u8, command: &[u8], response: &mut [u8]) -> usize {
        let answer = self.answer(locality, command);
        let length = answer.len().min(response.len());
        for (to, from) in response.iter_mut().zip(&answer) {
            *to = *from;
        }
        length
    }

    fn answer(&mut self, locality: u8, command: &[u8]) -> Vec<u8> {
        let now = self.platform.monotonic_milliseconds();
        self.tick(now);
        let result = self.run(locality, command);
        if self.state.failure.is_some() {
            self.mode = Mode::Failed;
        }
        // What a refused command changed on purpose, failed tries above all, is durable before its answer.
        let committed = self.commit();
        match (result, committed) {
            (Ok(answer), Ok(())) => answer,
            (Err(code), _) | (_, Err(code)) => failure(code),
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
            match self.platform.entropy(entropy.as_mut_bytes()) {
                Ok(()) => self.state.random.reseed(entropy.as_bytes(), &[]),
                Err(_) => {
                    self.state.failure = Some(Failure::Entropy);
                    self.mode = Mode::Failed;
                }
            }
        }
    }

    fn run(&mut self, locality: u8, bytes: &[u8]) -> Result<Vec<u8>> {
        let (with_sessions, code, rest) = parse_header(bytes)?;
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
        let snapshot = command.has(NV).then(|| self.state.clone());
        let answer = self.authorize_and_run(locality, &mut parsed)?;
        if command.has(UNSAVES) {
            self.state.invalidate_orderly();
        }
        if self.commit().is_err() {
            // What was not made durable did not happen.
            if let Some(before) = snapshot {
                self.state = before;
            }
            return Err(ResponseCode::NV_UNAVAILABLE);
        }
        if command.code == CommandCode::Startup {
            self.mode = Mode::Running;
        }
        Ok(answer)
    }

    fn authorize_and_run(&mut self, locality: u8, parsed: &mut Parsed<'_>) -> Result<Vec<u8>> {
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
        subject.authorize(&mut self.state, &mut self.platform, &mut area)?;
        let audits = AuditHashes::before(&subject, &self.state, &area);
        self.decrypt(&area, parameters.as_mut_bytes())?;
        let mut request = Request::new(&mut self.state, locality, parsed.handles, parameters.as_bytes());
        handler(command.code)(&mut request)?;
        let response_handle = request.response_handle;
        let mut response = core::mem::take(&mut request.response);
        let no_sessions = leaves_exclusive_audit(command);
        let sessions = build(&mut self.state, command.code, no_sessions, &mut area, audits, &mut response)?;
        let sessions = parsed.with_sessions.then_some(sessions.as_slice());
        Ok(success(response_handle, &response, sessions))
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

    /// Makes everything that was marked durable; what the platform refuses stays marked.
    fn commit(&mut self) -> Result<()> {
        if self.state.is_clean() {
            return Ok(());
        }
        let dirty = self.state.take_dirty();
        let records: Vec<(Record, Secret)> =
            dirty.iter().map(|record| (*record, self.state.record(*record))).collect();
        let changed = |(record, bytes): &&(Record, Secret)| match self.durable.get(record) {
            Some(durable) => durable != bytes,
            None => !bytes.is_empty(),
        };
        let changes: Vec<StateChange<'_>> = records
            .iter()
            .filter(changed)
            .map(|(record, bytes)| StateChange { record: record.to_wire(), bytes: bytes.as_bytes() })
            .collect();
        if !changes.is_empty() && self.platform.commit(&changes).is_err() {
            dirty.iter().for_each(|record| self.state.mark(*record));
            return Err(ResponseCode::NV_UNAVAILABLE);
        }
        for (record, bytes) in records {
            if record == Record::Clock {
                self.state.clock.durable_clock = self.state.clock.clock;
            }
            if bytes.is_empty() {
                self.durable.remove(&record);
            } else {
                self.durable.insert(record, bytes);
            }
        }
        Ok(())
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

fn parse_header(bytes: &[u8]) -> Result<(bool, u32, Reader<'_>)> {
    let mut reader = Reader::new(bytes);
    let with_sessions = match reader.read::<u16>()? {
        tag::NO_SESSIONS => false,
        tag::SESSIONS => true,
        _ => return Err(ResponseCode::BAD_TAG),
    };
    let size = reader.read::<u32>()? as usize;
    if size != bytes.len() || size > MAX_COMMAND_BYTES {
        return Err(ResponseCode::COMMAND_SIZE);
    }
    let code = reader.read()?;
    Ok((with_sessions, code, reader))
}

fn failure(code: ResponseCode) -> Vec<u8> {
    let tag = if code == ResponseCode::BAD_TAG { tag::RSP_COMMAND } else { tag::NO_SESSIONS };
    let mut out = tag.to_bytes();
    10_u32.marshal(&mut out);
    code.to_wire().marshal(&mut out);
    out
}

fn success(handle: Option<Handle>, parameters: &[u8], sessions: Option<&[u8]>) -> Vec<u8> {
    let mut body = Vec::new();
    if let Some(handle) = handle {
        handle.marshal(&mut body);
    }
    if sessions.is_some() {
        u32::try_from(parameters.len()).unwrap_or(u32::MAX).marshal(&mut body);
    }
    body.extend_from_slice(parameters);
    body.extend_from_slice(sessions.unwrap_or_default());
    let mut out = if sessions.is_some() { tag::SESSIONS } else { tag::NO_SESSIONS }.to_bytes();
    u32::try_from(body.len()).unwrap_or(u32::MAX).saturating_add(10).marshal(&mut out);
    0_u32.marshal(&mut out);
    out.extend_from_slice(&body);
    out
}
