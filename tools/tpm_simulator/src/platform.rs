//! The engine's platform here: the operating system's entropy and clock, a file for what is durable, and a switch for
//! physical presence.

use crate::machine::Engine;
use crate::random::Source;
use crate::state_file::{StateFile, StateFileError};
use std::path::Path;
use std::time::Instant;
use tpm::{CommitFailure, EntropyFailure, Platform, StateChange, Tpm};

/// What surrounds one engine.
pub struct SimulatedPlatform {
    source: Source,
    started: Instant,
    state: StateFile,
    presence: bool,
    /// Whether the storage has power.
    powered: bool,
}

impl SimulatedPlatform {
    /// A platform that was just built.
    pub fn new(source: Source, state: StateFile) -> Self {
        Self { source, started: Instant::now(), state, presence: false, powered: true }
    }
}

impl Platform for SimulatedPlatform {
    fn entropy(&mut self, bytes: &mut [u8]) -> Result<(), EntropyFailure> {
        self.source.fill(bytes).map_err(|error| {
            eprintln!("tpm-simulator: {error}");
            EntropyFailure
        })
    }

    fn monotonic_milliseconds(&mut self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn commit(&mut self, changes: &[StateChange<'_>]) -> Result<(), CommitFailure> {
        if !self.powered {
            return Err(CommitFailure);
        }
        self.state.commit(changes.iter().map(|change| (change.record, change.bytes))).map_err(|error| {
            eprintln!(
                "tpm-simulator: the state cannot be written: {error}; free space or mend the permissions"
            );
            CommitFailure
        })
    }

    fn physical_presence(&mut self) -> bool {
        self.presence
    }
}

/// Why there is no TPM.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The state's file cannot be used.
    #[error(transparent)]
    File(#[from] StateFileError),
    /// The records in the file make no state.
    #[error("the TPM state cannot be taken in: {0}; restore the file, or remove it to start a new TPM")]
    State(tpm::StateError),
    /// A new TPM could not be made.
    #[error(
        "a new TPM cannot be made ({0:?}); look at the folder of --state: is it writable, and is there space?"
    )]
    Manufacture(tpm::ManufactureError),
    /// TPM2_PCR_Allocate was refused.
    #[error("the TPM refuses these --pcr-banks ({0:02x?}); name at least one bank")]
    Banks(Vec<u8>),
}

/// The TPM of a state file, or a new one, which has these banks of PCRs where they are named.
pub fn build(
    source: Source,
    state: Option<&Path>,
    banks: Option<&[Bank]>,
) -> Result<Tpm<SimulatedPlatform>, BuildError> {
    let (file, blob) = match state {
        Some(path) => StateFile::open(path)?,
        None => (StateFile::in_memory(), None),
    };
    let platform = SimulatedPlatform::new(source, file);
    match blob {
        Some(blob) => Tpm::import_state(platform, &blob).map_err(BuildError::State),
        None => {
            let mut tpm = Tpm::manufacture(platform).map_err(BuildError::Manufacture)?;
            if let Some(banks) = banks {
                allocate(&mut tpm, banks)?;
            }
            Ok(tpm)
        }
    }
}

/// A bank of PCRs, by its hash algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Bank {
    /// SHA-1
    Sha1,
    /// SHA-256
    Sha256,
    /// SHA-384
    Sha384,
    /// SHA-512
    Sha512,
}

/// Every bank with its TPM_ALG_ID.
const BANKS: [(Bank, u8); 4] =
    [(Bank::Sha1, 0x04), (Bank::Sha256, 0x0B), (Bank::Sha384, 0x0C), (Bank::Sha512, 0x0D)];

/// TPM2_PCR_Allocate of all PCRs in these banks and none in the others, as firmware does it; in force when the power comes on.
fn allocate(tpm: &mut Tpm<SimulatedPlatform>, banks: &[Bank]) -> Result<(), BuildError> {
    const STARTUP: [u8; 12] = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0];
    const SHUTDOWN: [u8; 12] = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x45, 0, 0];
    let mut command = vec![0x80, 2, 0, 0, 0, 55, 0, 0, 1, 0x2B, 0x40, 0, 0, 0x0C];
    command.extend([0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 4]);
    for (bank, algorithm) in BANKS {
        let bits = if banks.contains(&bank) { 0xFF } else { 0 };
        command.extend([0, algorithm, 3, bits, bits, bits]);
    }
    for command in [&STARTUP[..], &command, &SHUTDOWN] {
        let mut response = [0; 64];
        let length = tpm.execute(0, command, &mut response);
        if response.get(6..10) != Some(&[0; 4]) {
            let response = response.get(..length).unwrap_or_default();
            return Err(BuildError::Banks(response.to_vec()));
        }
    }
    tpm.power_on();
    Ok(())
}

impl Engine for Tpm<SimulatedPlatform> {
    fn power_on(&mut self) {
        Self::power_on(self);
    }

    fn execute(&mut self, locality: u8, command: &[u8], response: &mut [u8]) -> usize {
        Self::execute(self, locality, command, response)
    }

    fn hash_start(&mut self) {
        Self::hash_start(self);
    }

    fn hash_data(&mut self, data: &[u8]) {
        Self::hash_data(self, data);
    }

    fn hash_end(&mut self) {
        Self::hash_end(self);
    }

    fn assert_physical_presence(&mut self, asserted: bool) {
        self.platform_mut().presence = asserted;
    }

    fn power_storage(&mut self, powered: bool) {
        self.platform_mut().powered = powered;
    }

    fn fail(&mut self) {
        Self::fail(self);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STARTUP: [u8; 12] = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0];
    const GET_RANDOM: [u8; 12] = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7b, 0, 16];

    fn answer(tpm: &mut Tpm<SimulatedPlatform>, command: &[u8]) -> Vec<u8> {
        let mut response = vec![0; crate::wire::BUFFER_BYTES];
        let length = Engine::execute(tpm, 0, command, &mut response);
        response.truncate(length);
        response
    }

    #[test]
    fn the_same_seed_makes_the_same_tpm() {
        let random = |seed: &[u8]| {
            let mut tpm = build(Source::seeded(seed), None, None).unwrap();
            answer(&mut tpm, &STARTUP);
            answer(&mut tpm, &GET_RANDOM)
        };
        assert_eq!(random(b"a"), random(b"a"));
        assert_ne!(random(b"a"), random(b"b"));
    }

    #[test]
    fn a_new_tpm_has_the_banks_that_are_asked_for() {
        let mut tpm = build(Source::seeded(b"a"), None, Some(&[Bank::Sha1, Bank::Sha512])).unwrap();
        assert_eq!(answer(&mut tpm, &STARTUP)[6..10], [0; 4]);
        let capability = [0x80, 1, 0, 0, 0, 22, 0, 0, 1, 0x7a, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 9];
        let banks = answer(&mut tpm, &capability);
        let selected: Vec<&[u8]> = banks[19..].chunks(6).map(|bank| &bank[1..4]).collect();
        assert_eq!(selected, [[4, 3, 0xFF], [11, 3, 0], [12, 3, 0], [13, 3, 0xFF]]);
        assert!(build(Source::seeded(b"a"), None, Some(&[])).is_err());
    }

    #[test]
    fn a_tpm_comes_back_from_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let blob = build(Source::System, Some(&path), None).unwrap().export_state();
        assert_eq!(build(Source::System, Some(&path), None).unwrap().export_state(), blob);
    }

    #[test]
    fn a_folder_that_is_not_there_is_named_as_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let error =
            build(Source::System, Some(&folder.path().join("gone").join("state")), None).err().unwrap();
        assert!(error.to_string().contains("there is no folder"));
    }
}
