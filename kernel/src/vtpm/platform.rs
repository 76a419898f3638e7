//! What the TPM engine needs of the machine: entropy, a clock, and no durable memory.
//!
//! The processor's generators have failed before (AMD's bulletin on RDSEED of 2025), so their words are not used alone: each is
//! combined with a stream that follows from VMPCK0, which the security processor's own generator made for this launch, and
//! which only VMPL0 knows. Both would have to fail.

use crate::secrets::{self, SEED_BYTES};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use hardware::entropy::{Entropy, EntropyFailure};
use hardware::{cpuid, instructions};
use sha2::{Digest, Sha512};
use tpm::{BufferBytes, CommitFailure, Platform, StateChange};
use zeroize::Zeroizing;

/// Timing leaf of hypervisors: EAX is the frequency of the TSC in kHz.
const TIMING_LEAF: u32 = 0x4000_0010;
/// Used where no leaf says better. The TPM's time is the host's in any case: it never goes back, and proves nothing else.
const ASSUMED_KILOHERTZ: u64 = 2_000_000;

/// Bytes of a SHA-512.
const BLOCK_BYTES: usize = 64;

/// The entropy that a TPM was made from. No `Debug`: every secret of the TPM follows from it.
pub struct BirthEntropy(Zeroizing<Vec<u8>>);

/// What is done with entropy besides giving it out.
enum Memory {
    /// Nothing.
    Off,
    /// It is noted.
    Recording(Zeroizing<Vec<u8>>),
    /// What was noted is given out again, in the same order, before there is any new.
    Replaying(Zeroizing<Vec<u8>>),
}

/// A stream of SHA-512 over a secret and a counter, which no two platforms have in common. No `Debug`: it holds the secret.
struct Share {
    secret: Zeroizing<[u8; SEED_BYTES]>,
    number: u64,
    used: u64,
}

/// Platforms so far.
static PLATFORMS: AtomicU64 = AtomicU64::new(0);

impl Share {
    fn new() -> Self {
        Self { secret: secrets::seed(), number: PLATFORMS.fetch_add(1, Ordering::Relaxed), used: 0 }
    }

    /// Adds the stream's next bytes to these.
    fn combine(&mut self, bytes: &mut [u8]) {
        for part in bytes.chunks_mut(BLOCK_BYTES) {
            // All parts have fixed lengths.
            let hash = Sha512::new().chain_update(&self.secret[..]).chain_update(self.number.to_le_bytes());
            let block = Zeroizing::new(<[u8; BLOCK_BYTES]>::from(
                hash.chain_update(self.used.to_le_bytes()).finalize(),
            ));
            self.used += 1;
            part.iter_mut().zip(block.iter()).for_each(|(byte, other)| *byte ^= other);
        }
    }
}

/// The platform of one TPM.
pub struct TpmPlatform {
    entropy: Entropy,
    /// The security processor's share.
    share: Share,
    memory: Memory,
    kilohertz: u64,
    /// The latest time that was given out: TSCs of two vCPUs may differ.
    latest: u64,
}

impl TpmPlatform {
    fn new(memory: Memory) -> Result<Self, EntropyFailure> {
        let told = u64::from(cpuid::query(TIMING_LEAF, 0).eax);
        let kilohertz = if told == 0 { ASSUMED_KILOHERTZ } else { told };
        Ok(Self { entropy: Entropy::new()?, share: Share::new(), memory, kilohertz, latest: 0 })
    }

    /// A platform that notes the entropy it gives, until [`Self::finish_recording`].
    pub fn recording() -> Result<Self, EntropyFailure> {
        Self::new(Memory::Recording(Zeroizing::new(Vec::new())))
    }

    /// A platform that gives the same entropy again.
    pub fn replaying(birth: &BirthEntropy) -> Result<Self, EntropyFailure> {
        Self::new(Memory::Replaying(birth.0.clone()))
    }

    /// Ends the recording.
    pub fn finish_recording(&mut self) -> BirthEntropy {
        match core::mem::replace(&mut self.memory, Memory::Off) {
            Memory::Recording(noted) | Memory::Replaying(noted) => BirthEntropy(noted),
            Memory::Off => BirthEntropy(Zeroizing::new(Vec::new())),
        }
    }
}

impl Platform for TpmPlatform {
    fn entropy(&mut self, bytes: &mut [u8]) -> Result<(), tpm::EntropyFailure> {
        if let Memory::Replaying(noted) = &mut self.memory
            && let Some(first) = noted.get(..bytes.len())
        {
            bytes.copy_from_slice(first);
            noted.drain(..bytes.len());
            return Ok(());
        }
        self.entropy.fill(bytes).map_err(|EntropyFailure| tpm::EntropyFailure)?;
        self.share.combine(bytes);
        if let Memory::Recording(noted) = &mut self.memory {
            noted.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn monotonic_milliseconds(&mut self) -> u64 {
        let now = instructions::time_stamp() / self.kilohertz;
        self.latest = self.latest.max(now);
        self.latest
    }

    /// What a page holds of a command behind its request, locality and length, and of a response behind its length (SVSM
    /// specification, vTPM protocol).
    fn buffer_bytes(&self) -> BufferBytes {
        const PAGE_BYTES: usize = 4096;
        BufferBytes { command: PAGE_BYTES - 9, response: PAGE_BYTES - 4 }
    }

    /// State lives as long as the VM does; the memory that holds it is as durable as the VM.
    fn commit(&mut self, _: &[StateChange<'_>]) -> Result<(), CommitFailure> {
        Ok(())
    }
}
