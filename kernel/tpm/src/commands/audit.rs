//! Command audit: Part 3, chapter of the same name.

use crate::call::{Call, Handler};
use crate::command_table::{self, CommandCode};
use crate::crypto::hash::HashAlgorithm;
use crate::response_code::ResponseCode;
use crate::state::Record;
use crate::structures::buffers::read_list;
use crate::structures::limits::MAX_COMMAND_LIST;
use crate::wire::Result;

/// The command of this chapter.
pub const HANDLERS: &[(CommandCode, Handler)] =
    &[(CommandCode::SetCommandCodeAuditStatus, set_command_code_audit_status)];

/// TPM2_SetCommandCodeAuditStatus: either another algorithm, or other commands.
fn set_command_code_audit_status(call: &mut Call<'_>) -> Result<()> {
    let algorithm: Option<HashAlgorithm> = call.parameter()?;
    let set = call.parameter_with(|reader| read_list::<u32>(reader, MAX_COMMAND_LIST))?;
    let clear = call.parameter_with(|reader| read_list::<u32>(reader, MAX_COMMAND_LIST))?;
    call.end_of_parameters()?;
    let audit = &mut call.state.audit;
    if let Some(algorithm) = algorithm.filter(|algorithm| *algorithm != audit.hash) {
        if !set.is_empty() || !clear.is_empty() {
            return Err(ResponseCode::VALUE.parameter(1));
        }
        audit.hash = algorithm;
        audit.digest = None;
        audit.skip_once = true;
    } else {
        // A shutdown cannot be audited, and this command is always.
        let auditable =
            |code: &u32| *code != CommandCode::Shutdown.to_wire() && command_table::find(*code).is_some();
        audit.commands.extend(set.into_iter().filter(auditable));
        let always = CommandCode::SetCommandCodeAuditStatus.to_wire();
        clear.iter().filter(|code| **code != always).for_each(|code| {
            audit.commands.remove(code);
        });
    }
    call.state.mark(Record::Audit);
    Ok(())
}
