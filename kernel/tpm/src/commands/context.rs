//! Contexts of objects and sessions: Part 3, chapter on context management.

use crate::call::{Call, Handler};
use crate::command_table::CommandCode;
use crate::response_code::ResponseCode;
use crate::structures::handles::{HandleKind, HandleType};
use crate::wire::Result;

pub const HANDLERS: &[(CommandCode, Handler)] = &[(CommandCode::FlushContext, flush_context)];

/// TPM2_FlushContext: the handle is a parameter, so that it may be of a session whose context is saved.
fn flush_context(call: &mut Call<'_>) -> Result<()> {
    let handle = call.parameter_with(|reader| HandleKind::Context.unmarshal(reader))?;
    call.end_of_parameters()?;
    let gone = match handle.kind() {
        HandleType::Transient => call.state.objects.remove(handle).is_some(),
        _ => call.state.sessions.flush(handle),
    };
    if gone { Ok(()) } else { Err(ResponseCode::HANDLE.parameter(1)) }
}
