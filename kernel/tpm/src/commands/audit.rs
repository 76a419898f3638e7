//! Command audit: Part 3, chapter of the same name.

use crate::command::{self, ALWAYS_AUDITED, NEVER_AUDITED};
use crate::crypto::hash::HashAlgorithm;
use crate::request::Request;
use crate::response_code::ResponseCode;
use crate::state::Record;
use crate::structures::buffers::read_list;
use crate::structures::limits::MAX_COMMAND_LIST;
use crate::wire::Result;

/// TPM2_SetCommandCodeAuditStatus (Part 3, 21.2): either another algorithm, or other commands.
pub fn set_command_code_audit_status(request: &mut Request<'_>) -> Result<()> {
    let algorithm: Option<HashAlgorithm> = request.parameter()?;
    let set = request.parameter_with(|reader| read_list::<u32>(reader, MAX_COMMAND_LIST))?;
    let clear = request.parameter_with(|reader| read_list::<u32>(reader, MAX_COMMAND_LIST))?;
    request.end_of_parameters()?;
    let audit = &mut request.state.audit;
    if let Some(algorithm) = algorithm.filter(|algorithm| *algorithm != audit.hash) {
        if !set.is_empty() || !clear.is_empty() {
            return Err(ResponseCode::VALUE.parameter(1));
        }
        audit.hash = algorithm;
        audit.digest = None;
        audit.skip_once = true;
    } else {
        let is = |code: &u32, attribute| command::find(*code).is_some_and(|command| command.has(attribute));
        let known = |code: &u32| command::find(*code).is_some();
        audit.commands.extend(set.into_iter().filter(|code| known(code) && !is(code, NEVER_AUDITED)));
        clear.iter().filter(|code| !is(code, ALWAYS_AUDITED)).for_each(|code| {
            audit.commands.remove(code);
        });
    }
    request.state.mark(Record::Audit);
    Ok(())
}
