//! What the TPM is ready for: Part 1, section on operational states.

use crate::command_table::CommandCode;
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

impl Mode {
    /// Whether a command is served in failure mode: Part 3, TPM2_GetTestResult and TPM2_GetCapability.
    pub const fn serves_failed(code: u32) -> bool {
        code == CommandCode::GetTestResult.to_wire() || code == CommandCode::GetCapability.to_wire()
    }
}

/// Whether TPM2_ReadOnlyControl refuses a command on an index, if it is about one: Part 1, section on the read-only mode.
///
/// New objects, new NV memory and changes of what is durable are refused; an index whose contents end with the power cycle
/// anyway may be written.
pub fn is_refused_when_read_only(code: CommandCode, index: Option<NvAttributes>) -> bool {
    use CommandCode as C;
    let volatile = index.is_some_and(|attributes| {
        attributes.has(NvAttributes::ORDERLY) && attributes.has(NvAttributes::CLEAR_STCLEAR)
    });
    match code {
        C::NvWrite | C::NvExtend | C::NvSetBits | C::NvWriteLock | C::NvReadLock => !volatile,
        C::Create
        | C::CreateLoaded
        | C::CreatePrimary
        | C::Import
        | C::ObjectChangeAuth
        | C::EvictControl
        | C::NvDefineSpace
        | C::NvDefineSpace2
        | C::NvUndefineSpace
        | C::NvUndefineSpaceSpecial
        | C::NvIncrement
        | C::NvGlobalWriteLock
        | C::NvChangeAuth
        | C::Clear
        | C::ClearControl
        | C::ChangeEps
        | C::ChangePps
        | C::HierarchyChangeAuth
        | C::SetPrimaryPolicy
        | C::DictionaryAttackParameters
        | C::PpCommands
        | C::SetAlgorithmSet
        | C::SetCommandCodeAuditStatus
        | C::SetCapability
        | C::PcrAllocate
        | C::PcrSetAuthPolicy
        | C::ClockSet
        | C::ClockRateAdjust => true,
        _ => false,
    }
}
