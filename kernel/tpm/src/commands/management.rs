//! Management of the TPM by its platform: Part 3, chapter on miscellaneous management functions, and TPM2_ReadOnlyControl.

use alloc::vec::Vec;

use crate::call::{Call, Handler};
use crate::command_table::{CommandCode, PHYSICAL_PRESENCE, implemented};
use crate::state::Record;
use crate::structures::buffers::read_list;
use crate::structures::limits::MAX_COMMAND_LIST;
use crate::wire::Result;

pub const HANDLERS: &[(CommandCode, Handler)] = &[
    (CommandCode::PpCommands, pp_commands),
    (CommandCode::SetAlgorithmSet, set_algorithm_set),
    (CommandCode::ReadOnlyControl, read_only_control),
];

/// TPM2_PP_Commands. What cannot need physical presence is ignored, and so is this command itself, which always needs it.
fn pp_commands(call: &mut Call<'_>) -> Result<()> {
    let set: Vec<u32> = call.parameter_with(|reader| read_list(reader, MAX_COMMAND_LIST))?;
    let clear: Vec<u32> = call.parameter_with(|reader| read_list(reader, MAX_COMMAND_LIST))?;
    call.end_of_parameters()?;
    let can = |code: &u32| {
        implemented().any(|command| command.code.to_wire() == *code && command.has(PHYSICAL_PRESENCE))
    };
    call.state.physical_presence.extend(set.into_iter().filter(can));
    for code in clear.iter().filter(|code| can(code)) {
        call.state.physical_presence.remove(code);
    }
    call.state.mark(Record::Settings);
    Ok(())
}

/// TPM2_SetAlgorithmSet: the value is remembered and reported; all algorithms stay available.
fn set_algorithm_set(call: &mut Call<'_>) -> Result<()> {
    let algorithm_set: u32 = call.parameter()?;
    call.end_of_parameters()?;
    call.state.algorithm_set = algorithm_set;
    call.state.mark(Record::Settings);
    Ok(())
}

/// TPM2_ReadOnlyControl: until the next TPM2_Startup(CLEAR), nothing new is made or kept.
fn read_only_control(call: &mut Call<'_>) -> Result<()> {
    let read_only: bool = call.parameter()?;
    call.end_of_parameters()?;
    if call.state.read_only != read_only {
        call.state.read_only = read_only;
        call.state.invalidate_orderly();
    }
    Ok(())
}
