//! Non-volatile storage: Part 3, chapter of the same name.
//!
//! `definition` makes and removes indices, `writing` changes what they hold, this file reads, locks and re-authorizes.

pub mod access;
pub mod definition;
pub mod writing;

use crate::nv::NvIndex;
use crate::request::Request;
use crate::response_code::ResponseCode;
use crate::state::Record;
use crate::structures::attributes::NvAttributes;
use crate::structures::buffers::Auth;
use crate::structures::handles::Handle;
use crate::structures::limits::MAX_NV_BUFFER_BYTES;
use crate::wire::{Result, put_sized_structure};
use access::{check_read, check_write};

/// The index behind a handle that the engine has found to be there.
fn index_mut<'a>(request: &'a mut Request<'_>, handle: Handle) -> Result<&'a mut NvIndex> {
    request.state.nv.indices.get_mut(handle).ok_or(ResponseCode::HANDLE)
}

/// The index behind a handle that the engine has found to be there, to be read.
fn index<'a>(request: &'a Request<'_>, handle: Handle) -> Result<&'a NvIndex> {
    request.state.nv.indices.get(&handle).ok_or(ResponseCode::HANDLE)
}

/// Sets an attribute of an index, and remembers to make it durable.
fn set_attribute(request: &mut Request<'_>, handle: Handle, attribute: NvAttributes) -> Result<()> {
    let index = index_mut(request, handle)?;
    index.public.attributes = index.public.attributes.with(attribute, true);
    request.state.mark(Record::Entity(handle));
    Ok(())
}

/// TPM2_NV_ReadPublic (Part 3, 31.6).
pub fn nv_read_public(request: &mut Request<'_>) -> Result<()> {
    request.end_of_parameters()?;
    let handle = request.handle(0);
    let public = index(request, handle)?.public.clone();
    put_sized_structure(request.response, &public);
    let name = request.state.name(handle);
    request.answer(&name);
    Ok(())
}

/// TPM2_NV_Read (Part 3, 31.13).
pub fn nv_read(request: &mut Request<'_>) -> Result<()> {
    let size: u16 = request.parameter()?;
    let offset: u16 = request.parameter()?;
    request.end_of_parameters()?;
    let index = check_read(request.state, request.handle(0), request.handle(1))?;
    if usize::from(size) > MAX_NV_BUFFER_BYTES {
        return Err(ResponseCode::VALUE.parameter(1));
    }
    let rest = index.data.as_bytes().get(usize::from(offset)..).ok_or(ResponseCode::VALUE.parameter(2))?;
    let bytes = rest.get(..usize::from(size)).ok_or(ResponseCode::NV_RANGE)?.to_vec();
    request.answer_sized(&bytes);
    Ok(())
}

/// TPM2_NV_WriteLock (Part 3, 31.11): locking a locked index again is no error.
pub fn nv_write_lock(request: &mut Request<'_>) -> Result<()> {
    request.end_of_parameters()?;
    let handle = request.handle(1);
    match check_write(request.state, request.handle(0), handle) {
        Err(code) if code == ResponseCode::NV_LOCKED => return Ok(()),
        Err(code) => return Err(code),
        Ok(index) if !index.has(NvAttributes::WRITE_DEFINE) && !index.has(NvAttributes::WRITE_STCLEAR) => {
            return Err(ResponseCode::ATTRIBUTES.handle(2));
        }
        Ok(_) => {}
    }
    set_attribute(request, handle, NvAttributes::WRITE_LOCKED)
}

/// TPM2_NV_GlobalWriteLock (Part 3, 31.12).
pub fn nv_global_write_lock(request: &mut Request<'_>) -> Result<()> {
    request.end_of_parameters()?;
    let open =
        |index: &NvIndex| index.has(NvAttributes::GLOBAL_LOCK) && !index.has(NvAttributes::WRITE_LOCKED);
    let indices = request.state.nv.indices.iter();
    let locked: alloc::vec::Vec<Handle> =
        indices.filter(|(_, index)| open(index)).map(|(handle, _)| *handle).collect();
    for handle in locked {
        set_attribute(request, handle, NvAttributes::WRITE_LOCKED)?;
    }
    Ok(())
}

/// TPM2_NV_ReadLock (Part 3, 31.14): an index need not have been written to be locked.
pub fn nv_read_lock(request: &mut Request<'_>) -> Result<()> {
    request.end_of_parameters()?;
    let handle = request.handle(1);
    match check_read(request.state, request.handle(0), handle) {
        Err(code) if code == ResponseCode::NV_LOCKED => return Ok(()),
        Err(code) if code != ResponseCode::NV_UNINITIALIZED => return Err(code),
        Ok(_) | Err(_) => {}
    }
    if !index(request, handle)?.has(NvAttributes::READ_STCLEAR) {
        return Err(ResponseCode::ATTRIBUTES.handle(2));
    }
    set_attribute(request, handle, NvAttributes::READ_LOCKED)
}

/// TPM2_NV_ChangeAuth (Part 3, 31.15).
pub fn nv_change_auth(request: &mut Request<'_>) -> Result<()> {
    let auth: Auth = request.parameter()?;
    request.end_of_parameters()?;
    let handle = request.handle(0);
    let auth = auth.0.without_trailing_zeros();
    let index = index_mut(request, handle)?;
    if auth.len() > index.public.name_hash.digest_bytes() {
        return Err(ResponseCode::SIZE.parameter(1));
    }
    index.auth = auth;
    request.state.mark(Record::Entity(handle));
    Ok(())
}
