//! Command audit: which commands are audited, and the digest over them. Part 1, section on command audit.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::command::{ALWAYS_AUDITED, COMMANDS};
use crate::crypto::hash::{Digest, HashAlgorithm};
use crate::wire::{Marshal, Reader, Result, Unmarshal};

/// The audit of commands.
#[derive(Debug, Clone)]
pub struct CommandAudit {
    pub hash: HashAlgorithm,
    /// Counts audit logs.
    pub counter: u64,
    pub commands: BTreeSet<u32>,
    /// The digest of the running log, none before its first command.
    pub digest: Option<Digest>,
    /// TPM2_SetCommandCodeAuditStatus changed the algorithm: this command is in no log.
    pub skip_once: bool,
}

impl Default for CommandAudit {
    fn default() -> Self {
        Self {
            hash: HashAlgorithm::Sha256,
            counter: 0,
            commands: always_audited(),
            digest: None,
            skip_once: false,
        }
    }
}

impl Marshal for CommandAudit {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.hash.marshal(out);
        self.counter.marshal(out);
        put_codes(out, &self.commands);
    }
}

impl Unmarshal for CommandAudit {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            hash: reader.read()?,
            counter: reader.read()?,
            commands: read_codes(reader)?,
            digest: None,
            skip_once: false,
        })
    }
}

fn always_audited() -> BTreeSet<u32> {
    let rows = COMMANDS.iter().filter(|command| command.has(ALWAYS_AUDITED));
    rows.map(|command| command.code.to_wire()).collect()
}

/// Appends a set of command codes.
pub fn put_codes(out: &mut Vec<u8>, codes: &BTreeSet<u32>) {
    u32::try_from(codes.len()).unwrap_or(u32::MAX).marshal(out);
    codes.iter().for_each(|code| code.marshal(out));
}

/// Reads a set of command codes.
pub fn read_codes(reader: &mut Reader<'_>) -> Result<BTreeSet<u32>> {
    let count = reader.read::<u32>()?;
    (0..count).map(|_| reader.read::<u32>()).collect()
}
