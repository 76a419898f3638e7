//! Platform configuration registers: Part 3, chapter on integrity collection.

use crate::call::{Call, Handler};
use crate::command_table::CommandCode;
use crate::pcr::{Pcrs, allows, attributes};
use crate::response_code::ResponseCode;
use crate::structures::buffers::{DigestBuffer, DigestList, DigestValues};
use crate::structures::limits::MAX_DIGEST_LIST;
use crate::structures::pcr_selection::{PcrSelection, PcrSelectionList};
use crate::wire::Result;

pub const HANDLERS: &[(CommandCode, Handler)] =
    &[(CommandCode::PcrExtend, pcr_extend), (CommandCode::PcrRead, pcr_read)];

/// TPM2_PCR_Extend.
fn pcr_extend(call: &mut Call<'_>) -> Result<()> {
    let digests: DigestValues = call.parameter()?;
    call.end_of_parameters()?;
    let handle = call.handle(0);
    if handle.is_null() {
        return Ok(());
    }
    let pcr = Pcrs::number(handle);
    if !allows(attributes(pcr).extend_localities, call.locality) {
        return Err(ResponseCode::LOCALITY);
    }
    for digest in &digests.0 {
        call.state.pcrs.extend(digest.hash, pcr, &digest.digest);
    }
    Ok(())
}

/// TPM2_PCR_Read: as many of the selected PCRs as one list of digests holds.
fn pcr_read(call: &mut Call<'_>) -> Result<()> {
    let selection: PcrSelectionList = call.parameter()?;
    call.end_of_parameters()?;
    let pcrs = &call.state.pcrs;
    let mut read = PcrSelectionList::default();
    let mut digests = DigestList::default();
    for wanted in &selection.0 {
        let mut selected = PcrSelection::none(wanted.hash);
        for pcr in wanted.pcrs() {
            if let Some(value) = pcrs.value(wanted.hash, pcr).filter(|_| digests.0.len() < MAX_DIGEST_LIST) {
                digests.0.push(DigestBuffer::from(value.as_bytes()));
                selected.set(pcr, true);
            }
        }
        read.0.push(selected);
    }
    let counter = pcrs.update_counter;
    call.answer(&counter);
    call.answer(&read);
    call.answer(&digests);
    Ok(())
}
