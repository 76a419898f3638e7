//! Sequences of commands to one TPM: built from its own command table, with handles and sessions that it gave out, and bent.
//!
//! After each command the response must be whole; after each sequence the state must export, import and still serve.
#![no_main]

use fuzz::Choices;
use libfuzzer_sys::fuzz_target;
use tpm::{CommitFailure, EntropyFailure, Platform, StateChange, Tpm};

const MAXIMUM_COMMANDS: usize = 40;
const BUFFER_BYTES: usize = 4096;
const HEADER_BYTES: usize = 10;

const NO_SESSIONS: u16 = 0x8001;
const SESSIONS: u16 = 0x8002;
const PASSWORD_SESSION: u32 = 0x4000_0009;

const STARTUP: u32 = 0x144;
const GET_CAPABILITY: u32 = 0x17A;

/// Entropy that repeats from run to run, a clock that steps, and memory that fails when the fuzzer says so.
#[derive(Default)]
struct Machine {
    drawn: u64,
    milliseconds: u64,
    commits_fail: bool,
    presence: bool,
}

impl Platform for Machine {
    fn entropy(&mut self, bytes: &mut [u8]) -> Result<(), EntropyFailure> {
        for byte in bytes {
            self.drawn =
                self.drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (self.drawn >> 56) as u8;
        }
        Ok(())
    }

    fn monotonic_milliseconds(&mut self) -> u64 {
        self.milliseconds += 7;
        self.milliseconds
    }

    fn commit(&mut self, _: &[StateChange<'_>]) -> Result<(), CommitFailure> {
        if self.commits_fail { Err(CommitFailure) } else { Ok(()) }
    }

    fn physical_presence(&mut self) -> bool {
        self.presence
    }
}

/// Handles that always mean something: hierarchies, null, lockout, platform, PCRs, an NV index, a persistent object.
const HANDLES: &[u32] = &[
    0x4000_0001,
    0x4000_0007,
    0x4000_000A,
    0x4000_000B,
    0x4000_000C,
    0,
    7,
    16,
    23,
    0x0100_0001,
    0x8100_0001,
    0x8000_0000,
    0x0200_0000,
    0x0300_0000,
];

/// Parameters that commands take as they are: code, and the bytes behind the authorization area.
#[rustfmt::skip]
const PARAMETERS: &[(u32, &[u8])] = &[
    // Clear, hierarchy control and authorizations
    (0x121, b"\x40\x00\x00\x01\x00"), (0x127, b"\x00"), (0x129, b"\x00\x04auth"), (0x12E, b"\x00\x00\x00\x10"),
    // EvictControl, NV_DefineSpace (ordinary, counter, extend, PIN), NV_Write, NV_Read, NV_SetBits, NV_Extend
    (0x120, b"\x81\x00\x00\x01"),
    (0x12A, b"\x00\x00\x00\x0e\x01\x00\x00\x01\x00\x0b\x00\x06\x00\x06\x00\x00\x00\x20"),
    (0x12A, b"\x00\x00\x00\x0e\x01\x00\x00\x02\x00\x0b\x00\x06\x00\x16\x00\x00\x00\x08"),
    (0x12A, b"\x00\x00\x00\x0e\x01\x00\x00\x03\x00\x0b\x00\x06\x00\x46\x00\x00\x00\x20"),
    (0x12A, b"\x00\x00\x00\x0e\x01\x00\x00\x04\x00\x0b\x00\x02\x00\x96\x00\x00\x00\x08"),
    (0x137, b"\x00\x04data\x00\x00"), (0x14E, b"\x00\x08\x00\x00"), (0x135, b"\x00\x00\x00\x00\x00\x00\x00\x01"),
    (0x136, b"\x00\x04data"), (0x13B, b"\x00\x02xy"), (0x184, b"\x00\x00\x00\x10\x00\x08\x00\x00"),
    // CreatePrimary, Create: P-256 storage key, sealed data, HMAC key, AES key, P-256 signing key
    (0x131, b"\x00\x04\x00\x00\x00\x00\x00\x1a\x00\x23\x00\x0b\x00\x03\x04\x72\x00\x00\x00\x06\x00\x80\x00\x43\x00\x10\x00\x03\x00\x10\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
    (0x131, b"\x00\x04\x00\x00\x00\x00\x00\x16\x00\x23\x00\x0b\x00\x04\x00\x72\x00\x00\x00\x10\x00\x10\x00\x03\x00\x10\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
    (0x131, b"\x00\x04\x00\x00\x00\x00\x00\x12\x00\x25\x00\x0b\x00\x03\x04\x72\x00\x00\x00\x06\x00\x80\x00\x43\x00\x00\x00\x00\x00\x00\x00\x00"),
    (0x153, b"\x00\x0c\x00\x00\x00\x08\x73\x65\x63\x72\x65\x74\x21\x21\x00\x0e\x00\x08\x00\x0b\x00\x00\x00\x52\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00\x00\x00"),
    (0x153, b"\x00\x04\x00\x00\x00\x00\x00\x10\x00\x08\x00\x0b\x00\x04\x00\x72\x00\x00\x00\x05\x00\x0b\x00\x00\x00\x00\x00\x00\x00\x00"),
    (0x153, b"\x00\x04\x00\x00\x00\x00\x00\x12\x00\x25\x00\x0b\x00\x06\x00\x72\x00\x00\x00\x06\x00\x80\x00\x43\x00\x00\x00\x00\x00\x00\x00\x00"),
    (0x191, b"\x00\x04\x00\x00\x00\x00\x00\x12\x00\x25\x00\x0b\x00\x06\x00\x72\x00\x00\x00\x06\x00\x80\x00\x43\x00\x00"),
    // Sessions: HMAC, policy, trial
    (0x176, b"\x00\x10\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x00\x00\x00\x00\x10\x00\x0b"),
    (0x176, b"\x00\x10\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x00\x00\x01\x00\x06\x00\x80\x00\x43\x00\x0b"),
    (0x176, b"\x00\x10\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x00\x00\x03\x00\x10\x00\x04"),
    // Signing, verifying, quoting, certifying
    (0x15D, b"\x00\x20\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x00\x18\x00\x0b\x80\x24\x40\x00\x00\x07\x00\x00"),
    (0x158, b"\x00\x02ab\x00\x18\x00\x0b\x00\x00\x00\x01\x00\x0b\x03\xff\x00\x00"), (0x148, b"\x00\x02ab\x00\x10"),
    // Random, hashes, sequences, HMAC
    (0x17B, b"\x00\x20"), (0x146, b"\x00\x04stir"), (0x17D, b"\x00\x04data\x00\x0b\x40\x00\x00\x07"),
    (0x186, b"\x00\x00\x00\x0b"), (0x186, b"\x00\x00\x00\x10"), (0x15B, b"\x00\x00\x00\x10"), (0x15C, b"\x00\x04data"),
    (0x13E, b"\x00\x04data\x40\x00\x00\x07"), (0x185, b"\x00\x04data"), (0x155, b"\x00\x04data\x00\x10"),
    (0x164, b"\x00\x00\x43\x00\x10\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x00\x04data"),
    // PCRs
    (0x182, b"\x00\x00\x00\x01\x00\x0b\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11\x11"),
    (0x13C, b"\x00\x04data"), (0x17E, b"\x00\x00\x00\x01\x00\x0b\x03\xff\xff\xff"), (0x13D, b""),
    (0x12B, b"\x00\x00\x00\x01\x00\x0d\x03\xff\xff\xff"),
    // Policies
    (0x17F, b"\x00\x00\x00\x00\x00\x01\x00\x0b\x03\x01\x00\x00"), (0x16C, b"\x00\x00\x01\x5e"), (0x16F, b"\x01"),
    (0x171, b"\x00\x00\x00\x02\x00\x02ab\x00\x02cd"), (0x151, b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
    (0x16D, b"\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x03"), (0x18F, b"\x01"),
    (0x149, b"\x00\x04data\x00\x00\x00\x00"), (0x163, b""), (0x18E, b"\x00\x03"), (0x178, b"\x00\x03"),
    // Management
    (0x143, b"\x01"), (0x142, b"\x00\x00\x00\x01\x00\x0b"), (0x144, b"\x00\x00"), (0x144, b"\x00\x01"), (0x145, b"\x00\x00"),
    (0x145, b"\x00\x01"), (0x17A, b"\x00\x00\x00\x06\x00\x00\x01\x00\x00\x00\x00\x7f"), (0x165, b"\x80\x00\x00\x00"),
    (0x128, b"\x00\x00\x00\x00\x00\x10\x00\x00"), (0x130, b"\x01"), (0x13A, b"\x00\x00\x00\x05\x00\x00\x00\x0a\x00\x00\x00\x0a"),
    (0x140, b"\x00\x0b\x00\x00\x00\x01\x00\x00\x01\x7b\x00\x00\x00\x00"), (0x12D, b"\x00\x00\x00\x00\x00\x00\x00\x00"),
];

/// The TPM under test and what was learnt about it.
struct Session {
    tpm: Tpm<Machine>,
    /// TPMA_CC of every command.
    commands: Vec<u32>,
    /// Handles that it gave out.
    handles: Vec<u32>,
    /// Answers' parameters, which later commands may take (private and public areas, contexts, tickets).
    answers: Vec<Vec<u8>>,
}

impl Session {
    fn new() -> Self {
        let Ok(mut tpm) = Tpm::manufacture(Machine::default()) else { panic!("manufacturing failed") };
        tpm.power_on();
        let mut session = Self { tpm, commands: Vec::new(), handles: Vec::new(), answers: Vec::new() };
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
        let code = number(6);
        if code != 0 {
            assert_eq!(length, HEADER_BYTES, "a failure says no more than its code");
            return None;
        }
        Some(response[HEADER_BYTES..length].to_vec())
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

fuzz_target!(|bytes: &[u8]| {
    let mut choices = Choices::new(bytes);
    let mut session = Session::new();
    for _ in 0..MAXIMUM_COMMANDS {
        if choices.is_empty() {
            break;
        }
        match choices.byte() {
            0 => session.tpm.power_on(),
            1 => session.tpm.hash_start(),
            2 => session.tpm.hash_data(choices.taken().as_slice()),
            3 => session.tpm.hash_end(),
            4 => session.tpm.platform_mut().commits_fail ^= true,
            5 => session.tpm.platform_mut().presence ^= true,
            6 => {
                let raw = choices.taken();
                session.run(0, &raw);
            }
            kind => {
                let built = session.build(&mut choices);
                let locality = if kind < 16 { kind % 5 } else { 0 };
                if let Some(response) = session.run(locality, &built)
                    && built.len() >= HEADER_BYTES
                {
                    session.learn(&built, response);
                }
            }
        }
    }
    let blob = session.tpm.export_state();
    let Ok(mut revived) = Tpm::import_state(Machine::default(), &blob) else {
        panic!("an exported state is refused")
    };
    revived.power_on();
    let mut response = [0; BUFFER_BYTES];
    revived.execute(0, &command(NO_SESSIONS, STARTUP, b"\0\0"), &mut response);
    assert_eq!(response[6..10], [0; 4], "a revived TPM starts");
    let _ = Tpm::import_state(Machine::default(), bytes);
});
