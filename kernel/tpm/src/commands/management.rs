//! Management of the TPM by its platform: Part 3, chapter on miscellaneous management functions, and TPM2_ReadOnlyControl.

use alloc::vec::Vec;

use crate::command::{self, PHYSICAL_PRESENCE};
use crate::request::Request;
use crate::state::Record;
use crate::structures::buffers::read_list;
use crate::structures::limits::MAX_COMMAND_LIST;
use crate::wire::Result;

/// TPM2_PP_Commands (Part 3, 26.2). What cannot need physical presence is ignored, and so is this command itself, which always needs it.
pub fn pp_commands(request: &mut Request<'_>) -> Result<()> {
    let set: Vec<u32> = request.parameter_with(|reader| read_list(reader, MAX_COMMAND_LIST))?;
    let clear: Vec<u32> = request.parameter_with(|reader| read_list(reader, MAX_COMMAND_LIST))?;
    request.end_of_parameters()?;
    let can = |code: &u32| command::find(*code).is_some_and(|command| command.has(PHYSICAL_PRESENCE));
    request.state.physical_presence.extend(set.into_iter().filter(can));
    for code in clear.iter().filter(|code| can(code)) {
        request.state.physical_presence.remove(code);
    }
    request.state.mark(Record::Settings);
    Ok(())
}

/// TPM2_SetAlgorithmSet (Part 3, 26.3): the value is remembered and reported; all algorithms stay available.
pub fn set_algorithm_set(request: &mut Request<'_>) -> Result<()> {
    let algorithm_set: u32 = request.parameter()?;
    request.end_of_parameters()?;
    request.state.algorithm_set = algorithm_set;
    request.state.mark(Record::Settings);
    Ok(())
}

/// TPM2_ReadOnlyControl (Part 3, 24.9): until the next TPM2_Startup(CLEAR), nothing new is made or kept.
pub fn read_only_control(request: &mut Request<'_>) -> Result<()> {
    let read_only: bool = request.parameter()?;
    request.end_of_parameters()?;
    if request.state.read_only != read_only {
        request.state.read_only = read_only;
        request.state.invalidate_orderly();
    }
    Ok(())
}
