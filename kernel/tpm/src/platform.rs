//! What the engine needs from whoever runs it.

use crate::structures::limits::MAX_COMMAND_BYTES;

/// A source of entropy that did not deliver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntropyFailure;

/// Durable memory that did not take the changes; what it held before it still holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitFailure;

/// A record that has a new value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateChange<'a> {
    /// Which record: stable between versions.
    pub record: u32,
    /// Its bytes; empty when it was removed.
    pub bytes: &'a [u8],
}

/// The sizes of the buffers for one command and one response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BufferBytes {
    /// The longest command.
    pub command: usize,
    /// The longest response.
    pub response: usize,
}

/// The machine around the TPM.
pub trait Platform {
    /// Fills with entropy of the hardware.
    ///
    /// # Errors
    /// The source did not deliver: the TPM goes into failure mode.
    fn entropy(&mut self, bytes: &mut [u8]) -> Result<(), EntropyFailure>;

    /// Milliseconds since any fixed point; never goes back while powered.
    fn monotonic_milliseconds(&mut self) -> u64;

    /// Makes changed records durable, all or none of them, before the response leaves.
    ///
    /// # Errors
    /// Nothing was made durable: the command answers TPM_RC_NV_UNAVAILABLE and has not happened.
    fn commit(&mut self, changes: &[StateChange<'_>]) -> Result<(), CommitFailure>;

    /// What passes between the TPM and its callers: announced, and longer commands are refused.
    fn buffer_bytes(&self) -> BufferBytes {
        BufferBytes { command: MAX_COMMAND_BYTES, response: MAX_COMMAND_BYTES }
    }

    /// Whether physical presence is asserted.
    fn physical_presence(&mut self) -> bool {
        false
    }
}
