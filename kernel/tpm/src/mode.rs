//! What the TPM is ready for: Part 1, section on operational states.

use crate::command_table::CommandCode;

/// The operational state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A self test failed or the platform gave no entropy: only what tells about it is served, until power-on.
    Failed,
    /// Only TPM2_Startup is served.
    AwaitingStartup,
    Running,
}

impl Mode {
    /// Whether a command is served in failure mode: Part 3, TPM2_GetTestResult and TPM2_GetCapability.
    pub const fn serves_failed(code: u32) -> bool {
        code == CommandCode::GetTestResult.to_wire() || code == CommandCode::GetCapability.to_wire()
    }
}
