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
}

impl SimulatedPlatform {
    /// A platform that was just built.
    pub fn new(source: Source, state: StateFile) -> Self {
        Self { source, started: Instant::now(), state, presence: false }
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
}

/// The TPM of a state file, or a new one.
pub fn build(source: Source, state: Option<&Path>) -> Result<Tpm<SimulatedPlatform>, BuildError> {
    let (file, blob) = match state {
        Some(path) => StateFile::open(path)?,
        None => (StateFile::in_memory(), None),
    };
    let platform = SimulatedPlatform::new(source, file);
    match blob {
        Some(blob) => Tpm::import_state(platform, &blob).map_err(BuildError::State),
        None => Tpm::manufacture(platform).map_err(BuildError::Manufacture),
    }
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
            let mut tpm = build(Source::seeded(seed), None).unwrap();
            answer(&mut tpm, &STARTUP);
            answer(&mut tpm, &GET_RANDOM)
        };
        assert_eq!(random(b"a"), random(b"a"));
        assert_ne!(random(b"a"), random(b"b"));
    }

    #[test]
    fn a_tpm_comes_back_from_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let blob = build(Source::System, Some(&path)).unwrap().export_state();
        assert_eq!(build(Source::System, Some(&path)).unwrap().export_state(), blob);
    }

    #[test]
    fn a_folder_that_is_not_there_is_named_as_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let error = build(Source::System, Some(&folder.path().join("gone").join("state"))).err().unwrap();
        assert!(error.to_string().contains("there is no folder"));
    }
}
