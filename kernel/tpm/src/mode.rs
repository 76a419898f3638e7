//! What the TPM is ready for: Part 1, section on operational states.

use crate::command::{Command, NOT_READ_ONLY, READ_ONLY_IF_VOLATILE};
use crate::structures::attributes::NvAttributes;

/// The operational state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A self test failed or the platform gave no entropy: only what tells about it is served, until power-on.
    Failed,
    /// Only TPM2_Startup is served.
    AwaitingStartup,
    Running,
}

/// Whether TPM2_ReadOnlyControl refuses a command on an index, if it is about one: Part 1, section on the read-only mode.
pub fn is_refused_when_read_only(command: &Command, index: Option<NvAttributes>) -> bool {
    let volatile = index.is_some_and(|attributes| {
        attributes.has(NvAttributes::ORDERLY) && attributes.has(NvAttributes::CLEAR_STCLEAR)
    });
    command.has(NOT_READ_ONLY) || (command.has(READ_ONLY_IF_VOLATILE) && !volatile)
}
