//! Who may read and write an index: Part 3, NvReadAccessChecks() and NvWriteAccessChecks().

use crate::nv::NvIndex;
use crate::response_code::ResponseCode;
use crate::state::State;
use crate::structures::attributes::NvAttributes;
use crate::structures::handles::Handle;
use crate::wire::Result;

/// The index, if it may be read with the authorization of `authorizer`.
///
/// # Errors
/// TPM_RC_NV_LOCKED, TPM_RC_NV_AUTHORIZATION, and last TPM_RC_NV_UNINITIALIZED.
pub fn check_read(state: &State, authorizer: Handle, handle: Handle) -> Result<&NvIndex> {
    let index = state.nv.indices.get(&handle).ok_or(ResponseCode::HANDLE)?;
    if index.has(NvAttributes::READ_LOCKED) {
        return Err(ResponseCode::NV_LOCKED);
    }
    let allowed = match authorizer {
        Handle::OWNER => index.has(NvAttributes::OWNER_READ),
        Handle::PLATFORM => index.has(NvAttributes::PP_READ),
        _ => authorizer == handle,
    };
    if !allowed {
        return Err(ResponseCode::NV_AUTHORIZATION);
    }
    if index.has(NvAttributes::WRITTEN) { Ok(index) } else { Err(ResponseCode::NV_UNINITIALIZED) }
}

/// The index, if it may be written with the authorization of `authorizer`.
///
/// # Errors
/// TPM_RC_NV_LOCKED, TPM_RC_NV_AUTHORIZATION.
pub fn check_write(state: &State, authorizer: Handle, handle: Handle) -> Result<&NvIndex> {
    let index = state.nv.indices.get(&handle).ok_or(ResponseCode::HANDLE)?;
    if index.has(NvAttributes::WRITE_LOCKED) {
        return Err(ResponseCode::NV_LOCKED);
    }
    let allowed = match authorizer {
        Handle::OWNER => index.has(NvAttributes::OWNER_WRITE),
        Handle::PLATFORM => index.has(NvAttributes::PP_WRITE),
        _ => authorizer == handle,
    };
    if allowed { Ok(index) } else { Err(ResponseCode::NV_AUTHORIZATION) }
}
