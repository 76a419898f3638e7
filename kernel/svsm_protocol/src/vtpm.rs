//! The VM's TPM, as the services need it. The engine is behind [`Vtpm`]. One vCPU uses it at a time; the others are told to call
//! again, so that a command that takes long (a key is made) holds up nobody's other calls.

use crate::failure::Refusal;
use alloc::vec::Vec;

/// Why the TPM did not run a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VtpmError {
    /// Another vCPU's command is running.
    Busy,
    /// The TPM cannot do this at all.
    Unavailable,
}

impl VtpmError {
    pub(crate) fn refusal(self) -> Refusal {
        match self {
            Self::Busy => Refusal::Busy,
            Self::Unavailable => Refusal::InvalidRequest,
        }
    }
}

/// The VM's TPM.
pub trait Vtpm: Send + Sync {
    /// Runs a command and returns the length of its response, at most that of the buffer.
    ///
    /// # Errors
    /// If the command was not run; nothing has changed then.
    fn execute(&self, locality: u8, command: &[u8], response: &mut [u8]) -> Result<usize, VtpmError>;

    /// TPMT_PUBLIC of the RSA-2048 endorsement key that the TPM was made with.
    ///
    /// # Errors
    /// If the key is not there yet, or cannot be made.
    fn endorsement_key(&self) -> Result<Vec<u8>, VtpmError>;

    /// What a reset of its machine is for a TPM (`_TPM_Init`): PCRs and sessions are gone, keys and NV stay, and it waits for
    /// TPM2_Startup.
    ///
    /// # Errors
    /// If a command is running; nothing has changed then.
    fn reset(&self) -> Result<(), VtpmError>;
}
