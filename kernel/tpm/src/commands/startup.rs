//! Start-up and shutdown: Part 3, chapter on start-up.

use crate::call::{Call, Handler};
use crate::command_table::CommandCode;
use crate::response_code::ResponseCode;
use crate::state::Record;
use crate::state::startup::Start;
use crate::structures::tickets::StartupType;
use crate::wire::Result;

pub const HANDLERS: &[(CommandCode, Handler)] =
    &[(CommandCode::Startup, startup), (CommandCode::Shutdown, shutdown)];

/// TPM2_Startup: the mode has been checked by the engine.
fn startup(call: &mut Call<'_>) -> Result<()> {
    let kind: StartupType = call.parameter()?;
    call.end_of_parameters()?;
    // Only localities 0 and 3 start a TPM up: Part 3, TPM2_Startup.
    if !matches!(call.locality, 0 | 3) {
        return Err(ResponseCode::LOCALITY);
    }
    let start = match (kind, call.state.orderly) {
        (StartupType::State, Some(StartupType::State)) => Start::Resume,
        (StartupType::State, _) => return Err(ResponseCode::VALUE.parameter(1)),
        (StartupType::Clear, Some(StartupType::State)) => Start::Restart,
        (StartupType::Clear, _) => Start::Reset,
    };
    let locality = call.locality;
    let beginning = call.state.beginning_at(locality);
    if start == Start::Resume {
        if beginning.measured != call.state.beginning.measured {
            return Err(ResponseCode::VALUE.parameter(1));
        }
        if beginning.at_locality_3 != call.state.beginning.at_locality_3 {
            return Err(ResponseCode::LOCALITY);
        }
    }
    call.state.start_up(start, locality);
    Ok(())
}

/// TPM2_Shutdown.
fn shutdown(call: &mut Call<'_>) -> Result<()> {
    let kind: StartupType = call.parameter()?;
    call.end_of_parameters()?;
    // A new PCR allocation has to come into force by a reset.
    if kind == StartupType::State && call.state.pcrs.next_allocation.is_some() {
        return Err(ResponseCode::TYPE.parameter(1));
    }
    call.state.orderly = Some(kind);
    call.state.mark(Record::Orderly);
    call.state.mark(Record::Clock);
    Ok(())
}
