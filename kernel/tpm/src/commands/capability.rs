//! What the TPM can do and what state it is in: Part 3, chapter on capability commands.

use crate::call::{Call, Handler};
use crate::command_table::{CommandCode, implemented};
use crate::structures::capability::Capability;
use crate::wire::Result;

pub const HANDLERS: &[(CommandCode, Handler)] = &[(CommandCode::GetCapability, get_capability)];

/// TPM2_GetCapability.
fn get_capability(call: &mut Call<'_>) -> Result<()> {
    let capability: Capability = call.parameter()?;
    let property: u32 = call.parameter()?;
    let count: u32 = call.parameter()?;
    call.end_of_parameters()?;
    let _ = (property, count);
    let list: alloc::vec::Vec<u32> = implemented().map(crate::command_table::Command::tpma_cc).collect();
    call.answer(&false);
    call.answer(&capability.to_wire());
    crate::structures::buffers::put_list(&mut call.response, &list);
    Ok(())
}
