//! The machine around a fuzzed TPM.

use tpm::crypto::hash::{HashAlgorithm, hash};
use tpm::{CommitFailure, EntropyFailure, Platform, StateChange};

/// Entropy comes from this. `tests/conformance/tpm_runner/server.py` has the same: a simulator that drew from it was sent the
/// seeds, so here they meet the same keys, handles, nonces and proofs.
const RECORDING_SEED: &[u8] = b"Vouchsafe fuzz corpus";
const BLOCK_BYTES: usize = 64;

/// Entropy that repeats from run to run as the simulator's `--seed-from` has it, a clock that steps, and memory that fails when
/// it is told to.
#[derive(Default)]
pub struct Machine {
    blocks: u64,
    milliseconds: u64,
    pub commits_fail: bool,
    pub presence: bool,
}

impl Platform for Machine {
    fn entropy(&mut self, bytes: &mut [u8]) -> Result<(), EntropyFailure> {
        let seed = hash(HashAlgorithm::Sha512, &[RECORDING_SEED]);
        for chunk in bytes.chunks_mut(BLOCK_BYTES) {
            self.blocks += 1;
            let block = hash(HashAlgorithm::Sha512, &[seed.as_bytes(), &self.blocks.to_be_bytes()]);
            chunk.copy_from_slice(&block.as_bytes()[..chunk.len()]);
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
