//! Start-up and shutdown: Part 3, chapter on start-up.

use crate::request::Request;
use crate::response_code::ResponseCode;
use crate::state::Record;
use crate::state::startup::Start;
use crate::structures::tickets::StartupType;
use crate::wire::Result;

/// TPM2_Startup (Part 3, 9.3): the mode has been checked by the engine.
pub fn startup(request: &mut Request<'_>) -> Result<()> {
    let kind: StartupType = request.parameter()?;
    request.end_of_parameters()?;
    // Only localities 0 and 3 start a TPM up: Part 3, TPM2_Startup.
    if !matches!(request.locality, 0 | 3) {
        return Err(ResponseCode::LOCALITY);
    }
    let start = match (kind, request.state.orderly) {
        (StartupType::State, Some(StartupType::State)) => Start::Resume,
        (StartupType::State, _) => return Err(ResponseCode::VALUE.parameter(1)),
        (StartupType::Clear, Some(StartupType::State)) => Start::Restart,
        (StartupType::Clear, _) => Start::Reset,
    };
    let locality = request.locality;
    let beginning = request.state.beginning_at(locality);
    if start == Start::Resume {
        if beginning.measured != request.state.beginning.measured {
            return Err(ResponseCode::VALUE.parameter(1));
        }
        if beginning.at_locality_3 != request.state.beginning.at_locality_3 {
            return Err(ResponseCode::LOCALITY);
        }
    }
    request.state.start_up(start, locality);
    Ok(())
}

/// TPM2_Shutdown (Part 3, 9.4).
pub fn shutdown(request: &mut Request<'_>) -> Result<()> {
    let kind: StartupType = request.parameter()?;
    request.end_of_parameters()?;
    // A new PCR allocation has to come into force by a reset.
    if kind == StartupType::State && request.state.pcrs.next_allocation.is_some() {
        return Err(ResponseCode::TYPE.parameter(1));
    }
    request.state.orderly = Some(kind);
    request.state.mark(Record::Orderly);
    request.state.mark(Record::Clock);
    Ok(())
}
