//! Drives a TPM by bytes, as its users do.
#![allow(dead_code, reason = "each suite uses a part of it")]

pub mod keys;
mod oracle;

use tpm::{CommitFailure, EntropyFailure, Platform, StateChange, Tpm};

/// A platform in memory, whose failures a test can order.
#[derive(Default)]
pub struct FakePlatform {
    pub milliseconds: u64,
    pub physical_presence: bool,
    pub refuse_commits: bool,
    pub refuse_entropy: bool,
    /// Each record as it is durable.
    pub records: std::collections::BTreeMap<u32, Vec<u8>>,
    /// How many bytes were made durable since the beginning.
    pub committed_bytes: usize,
    entropy: u64,
}

impl Platform for FakePlatform {
    fn entropy(&mut self, bytes: &mut [u8]) -> Result<(), EntropyFailure> {
        if self.refuse_entropy {
            return Err(EntropyFailure);
        }
        for byte in bytes {
            self.entropy = self.entropy.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = (self.entropy >> 56) as u8;
        }
        Ok(())
    }

    fn monotonic_milliseconds(&mut self) -> u64 {
        self.milliseconds
    }

    fn commit(&mut self, changes: &[StateChange<'_>]) -> Result<(), CommitFailure> {
        if self.refuse_commits {
            return Err(CommitFailure);
        }
        for change in changes {
            self.committed_bytes += change.bytes.len();
            if change.bytes.is_empty() {
                self.records.remove(&change.record);
            } else {
                self.records.insert(change.record, change.bytes.to_vec());
            }
        }
        Ok(())
    }

    fn physical_presence(&mut self) -> bool {
        self.physical_presence
    }
}

/// What a successful command answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The handle area, for commands that answer with a handle.
    pub handle: u32,
    pub parameters: Vec<u8>,
    /// The authorization area.
    pub sessions: Vec<u8>,
}

impl Answer {
    /// The TPM2B at `at` in the parameters, without its size.
    pub fn sized(&self, at: usize) -> &[u8] {
        let size = usize::from(u16::from_be_bytes([self.parameters[at], self.parameters[at + 1]]));
        &self.parameters[at + 2..at + 2 + size]
    }

    /// All parameters that are TPM2Bs, from the front on.
    pub fn all_sized(&self) -> Vec<Vec<u8>> {
        let mut at = 0;
        let mut all = Vec::new();
        while at + 2 <= self.parameters.len() {
            let size = usize::from(u16::from_be_bytes([self.parameters[at], self.parameters[at + 1]]));
            let Some(bytes) = self.parameters.get(at + 2..at + 2 + size) else { break };
            all.push(bytes.to_vec());
            at += 2 + size;
        }
        all
    }
}

/// A TPM and the locality that commands come from.
pub struct Driver {
    pub tpm: Tpm<FakePlatform>,
    pub locality: u8,
}

impl Driver {
    /// Manufactured and powered, before TPM2_Startup.
    pub fn manufactured() -> Self {
        Self { tpm: Tpm::manufacture(FakePlatform::default()).expect("the fake platform works"), locality: 0 }
    }

    /// After TPM2_Startup(CLEAR).
    pub fn started() -> Self {
        let mut driver = Self::manufactured();
        driver.startup_clear();
        driver
    }

    pub fn startup_clear(&mut self) {
        self.command(0x144).u16(0).run().expect("TPM2_Startup(CLEAR)");
    }

    /// Begins a command.
    pub fn command(&mut self, code: u32) -> CommandBuilder<'_> {
        CommandBuilder {
            driver: self,
            code,
            handles: Vec::new(),
            sessions: Vec::new(),
            parameters: Vec::new(),
        }
    }

    /// Sends raw bytes; answers raw bytes. Another reader has to understand both.
    pub fn raw(&mut self, command: &[u8]) -> Vec<u8> {
        let mut response = vec![0; 4096];
        let length = self.tpm.execute(self.locality, command, &mut response);
        response.truncate(length);
        oracle::judge(command, &response);
        response
    }
}

/// A command in the making.
pub struct CommandBuilder<'a> {
    driver: &'a mut Driver,
    code: u32,
    handles: Vec<u8>,
    sessions: Vec<u8>,
    parameters: Vec<u8>,
}

impl CommandBuilder<'_> {
    pub fn handle(mut self, handle: u32) -> Self {
        self.handles.extend(handle.to_be_bytes());
        self
    }

    /// Authorizes the next handle by its authorization value.
    pub fn password(self, auth: &[u8]) -> Self {
        self.session(0x4000_0009, &[], 1, auth)
    }

    /// Appends a session as it is.
    pub fn session(mut self, handle: u32, nonce: &[u8], attributes: u8, auth: &[u8]) -> Self {
        self.sessions.extend(handle.to_be_bytes());
        put_sized(&mut self.sessions, nonce);
        self.sessions.push(attributes);
        put_sized(&mut self.sessions, auth);
        self
    }

    pub fn u8(mut self, value: u8) -> Self {
        self.parameters.push(value);
        self
    }

    pub fn u16(mut self, value: u16) -> Self {
        self.parameters.extend(value.to_be_bytes());
        self
    }

    pub fn u32(mut self, value: u32) -> Self {
        self.parameters.extend(value.to_be_bytes());
        self
    }

    pub fn u64(mut self, value: u64) -> Self {
        self.parameters.extend(value.to_be_bytes());
        self
    }

    /// Appends a TPM2B.
    pub fn sized(mut self, bytes: &[u8]) -> Self {
        put_sized(&mut self.parameters, bytes);
        self
    }

    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.parameters.extend(bytes);
        self
    }

    /// The command's bytes.
    pub fn build(&self) -> Vec<u8> {
        let mut body = self.handles.clone();
        if !self.sessions.is_empty() {
            body.extend(u32::try_from(self.sessions.len()).unwrap().to_be_bytes());
            body.extend(&self.sessions);
        }
        body.extend(&self.parameters);
        let tag: u16 = if self.sessions.is_empty() { 0x8001 } else { 0x8002 };
        let mut command = tag.to_be_bytes().to_vec();
        command.extend(u32::try_from(body.len() + 10).unwrap().to_be_bytes());
        command.extend(self.code.to_be_bytes());
        command.extend(body);
        command
    }

    /// Sends it: the answer, or the response code.
    pub fn run(self) -> Result<Answer, u32> {
        const WITH_HANDLE: [u32; 9] = [0x131, 0x157, 0x15B, 0x161, 0x167, 0x176, 0x186, 0x191, 0x1A9];
        let command = self.build();
        let response = self.driver.raw(&command);
        let word = |at: usize| u32::from_be_bytes(response[at..at + 4].try_into().unwrap());
        assert_eq!(word(2) as usize, response.len(), "the response says its size");
        let code = word(6);
        if code != 0 {
            assert_eq!(response.len(), 10, "a failure is a header alone");
            return Err(code);
        }
        let mut at = 10;
        let mut handle = 0;
        if WITH_HANDLE.contains(&self.code) {
            handle = word(at);
            at += 4;
        }
        let mut end = response.len();
        if response[..2] == [0x80, 0x02] {
            let size = word(at) as usize;
            at += 4;
            end = at + size;
        }
        Ok(Answer { handle, parameters: response[at..end].to_vec(), sessions: response[end..].to_vec() })
    }
}

/// Appends a TPM2B.
pub fn put_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(u16::try_from(bytes.len()).unwrap().to_be_bytes());
    out.extend(bytes);
}

/// A TPM2B.
pub fn sized(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_sized(&mut out, bytes);
    out
}
