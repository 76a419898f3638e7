//! Sequences of commands to one TPM: recorded, or built from its own command table with handles and sessions that it gave out,
//! and bent.
//!
//! After each command the response must be whole; after each sequence the state must export, import and still serve. The fuzz
//! target `tpm_execute` lets the fuzzer choose; `fuzz_smoke.rs` replays the seeds.

#[path = "../../../../tests/fuzz/src/lib.rs"]
pub mod choices;
mod machine;
mod parameters;
pub mod seeds;

use choices::Choices;
use machine::Machine;
use parameters::{HANDLES, PARAMETERS};
use tpm::Tpm;
use tpm::crypto::hash::{HashAlgorithm, hash};

const MAXIMUM_COMMANDS: usize = 64;
const BUFFER_BYTES: usize = 4096;
const HEADER_BYTES: usize = 10;

const NO_SESSIONS: u16 = 0x8001;
const SESSIONS: u16 = 0x8002;
const PASSWORD_SESSION: u32 = 0x4000_0009;

const STARTUP: u32 = 0x144;
const GET_CAPABILITY: u32 = 0x17A;

/// What a byte between two commands asks for; a greater one is a command that is made up.
pub mod step {
    pub const POWER_ON: u8 = 0;
    pub const HASH_START: u8 = 1;
    pub const HASH_DATA: u8 = 2;
    pub const HASH_END: u8 = 3;
    pub const COMMITS_FAIL: u8 = 4;
    pub const PRESENCE: u8 = 5;
    /// A locality, a number of bytes (two bytes), and a command as it is.
    pub const COMMAND: u8 = 6;
}

/// The TPM under test and what was learnt about it.
struct Session {
    tpm: Tpm<Machine>,
    /// TPMA_CC of every command.
    commands: Vec<u32>,
    /// Handles that it gave out.
    handles: Vec<u32>,
    /// Answers' parameters, which later commands may take (private and public areas, contexts, tickets).
    answers: Vec<Vec<u8>>,
    outcome: Outcome,
}

impl Session {
    fn new() -> Self {
        let Ok(mut tpm) = Tpm::manufacture(Machine::default()) else { panic!("manufacturing failed") };
        tpm.power_on();
        let mut session = Self {
            tpm,
            commands: Vec::new(),
            handles: Vec::new(),
            answers: Vec::new(),
            outcome: Outcome::default(),
        };
        assert!(session.run(0, &command(NO_SESSIONS, STARTUP, b"\0\0")).is_some());
        let list = session.run(0, &command(NO_SESSIONS, GET_CAPABILITY, b"\0\0\0\x02\0\0\0\0\0\0\x01\0"));
        let rows = list.unwrap_or_default();
        session.commands = rows
            .get(9..)
            .unwrap_or_default()
            .chunks_exact(4)
            .map(|row| u32::from_be_bytes([row[0], row[1], row[2], row[3]]))
            .collect();
        assert!(session.commands.len() > 20, "GetCapability lists the commands");
        session
    }

    /// Runs a command; what is behind the header of its response, when it succeeded.
    fn run(&mut self, locality: u8, command: &[u8]) -> Option<Vec<u8>> {
        let mut response = [0xA5; BUFFER_BYTES];
        let length = self.tpm.execute(locality, command, &mut response);
        assert!((HEADER_BYTES..=BUFFER_BYTES).contains(&length), "{length} bytes for {command:02x?}");
        let number = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|index| response[at + index]));
        assert_eq!(number(2) as usize, length, "the size of the response to {command:02x?}");
        self.outcome.note(command);
        self.outcome.note(&response[..length]);
        let code = number(6);
        if code != 0 {
            assert_eq!(length, HEADER_BYTES, "a failure says no more than its code");
            return None;
        }
        Some(response[HEADER_BYTES..length].to_vec())
    }

    /// Runs a command and remembers what it gave.
    fn send(&mut self, locality: u8, command: &[u8]) {
        self.outcome.commands += 1;
        if let Some(response) = self.run(locality, command) {
            self.outcome.successes += 1;
            self.learn(command, response);
        }
    }

    /// A command that the choices make up.
    fn build(&mut self, choices: &mut Choices<'_>) -> Vec<u8> {
        let (code, parameters) = match choices.byte() % 4 {
            0 => (*choices.one_of(&self.commands) & 0xFFFF, choices.taken()),
            1 if !self.answers.is_empty() => {
                (*choices.one_of(&self.commands) & 0xFFFF, choices.one_of(&self.answers).clone())
            }
            _ => {
                let (code, parameters) = choices.one_of(PARAMETERS);
                (*code, parameters.to_vec())
            }
        };
        let attributes = self.commands.iter().find(|row| *row & 0xFFFF == code).copied().unwrap_or(0);
        let mut body = Vec::new();
        for _ in 0..attributes >> 25 & 7 {
            body.extend_from_slice(&self.handle(choices).to_be_bytes());
        }
        let sessions = choices.byte();
        let tag = if sessions & 3 == 0 { NO_SESSIONS } else { SESSIONS };
        if tag == SESSIONS {
            let area = self.authorizations(usize::from(sessions & 3), choices);
            body.extend_from_slice(&u32::try_from(area.len()).unwrap_or(0).to_be_bytes());
            body.extend_from_slice(&area);
        }
        body.extend_from_slice(&parameters);
        let mut bytes = command(tag, code, &body);
        for _ in 0..choices.byte() % 4 {
            let at = usize::from(choices.word()) % bytes.len();
            bytes[at] = choices.byte();
        }
        bytes.truncate(BUFFER_BYTES);
        bytes
    }

    fn handle(&self, choices: &mut Choices<'_>) -> u32 {
        if self.handles.is_empty() || choices.byte() & 1 == 0 {
            *choices.one_of(HANDLES)
        } else {
            *choices.one_of(&self.handles)
        }
    }

    /// Password sessions with an empty value mostly, sometimes another session with a nonce.
    fn authorizations(&self, count: usize, choices: &mut Choices<'_>) -> Vec<u8> {
        let mut area = Vec::new();
        for _ in 0..count {
            let flags = choices.byte();
            if flags & 0x18 == 0 {
                area.extend_from_slice(&self.handle(choices).to_be_bytes());
                area.extend_from_slice(&[0, 4, 1, 2, 3, 4, flags, 0, 0]);
            } else {
                area.extend_from_slice(&PASSWORD_SESSION.to_be_bytes());
                area.extend_from_slice(&[0, 0, flags & 1, 0, 0]);
            }
        }
        area
    }

    /// Remembers what a response gave.
    fn learn(&mut self, command: &[u8], response: Vec<u8>) {
        let code = u32::from_be_bytes([command[6], command[7], command[8], command[9]]);
        let attributes = self.commands.iter().find(|row| *row & 0xFFFF == code).copied().unwrap_or(0);
        if attributes >> 28 & 1 == 1
            && let Some(handle) = response.first_chunk()
        {
            self.handles.push(u32::from_be_bytes(*handle));
        }
        let parameters =
            if command[..2] == SESSIONS.to_be_bytes() { response.get(4..) } else { Some(&response[..]) };
        self.answers.push(parameters.unwrap_or_default().to_vec());
    }
}

fn command(tag: u16, code: u32, body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(HEADER_BYTES + body.len()).unwrap_or(u32::MAX);
    [&tag.to_be_bytes()[..], &size.to_be_bytes(), &code.to_be_bytes(), body].concat()
}

/// How many commands of a sequence a TPM carried out, of how many, and a hash over all of them with their answers.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    pub commands: usize,
    pub successes: usize,
    pub digest: u32,
}

impl Outcome {
    fn note(&mut self, bytes: &[u8]) {
        let digest = hash(HashAlgorithm::Sha256, &[&self.digest.to_be_bytes(), bytes]);
        self.digest = digest.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
    }
}

/// Runs the sequence that `bytes` ask for.
///
/// # Panics
/// The TPM broke a promise.
pub fn run(bytes: &[u8]) -> Outcome {
    let mut choices = Choices::new(bytes);
    let mut session = Session::new();
    for _ in 0..MAXIMUM_COMMANDS {
        if choices.is_empty() {
            break;
        }
        match choices.byte() {
            step::POWER_ON => session.tpm.power_on(),
            step::HASH_START => session.tpm.hash_start(),
            step::HASH_DATA => session.tpm.hash_data(choices.taken().as_slice()),
            step::HASH_END => session.tpm.hash_end(),
            step::COMMITS_FAIL => session.tpm.platform_mut().commits_fail ^= true,
            step::PRESENCE => session.tpm.platform_mut().presence ^= true,
            step::COMMAND => {
                let locality = choices.byte();
                let count = usize::from(choices.word());
                let command = choices.take(count).to_vec();
                session.send(locality, &command);
            }
            kind => {
                let built = session.build(&mut choices);
                session.send(if kind < 16 { kind % 5 } else { 0 }, &built);
            }
        }
    }
    let outcome = session.outcome;
    let blob = session.tpm.export_state();
    let Ok(mut revived) = Tpm::import_state(Machine::default(), &blob) else {
        panic!("an exported state is refused")
    };
    revived.power_on();
    let mut response = [0; BUFFER_BYTES];
    revived.execute(0, &command(NO_SESSIONS, STARTUP, b"\0\0"), &mut response);
    assert_eq!(response[6..10], [0; 4], "a revived TPM starts");
    let _ = Tpm::import_state(Machine::default(), bytes);
    outcome
}
