//! Non-volatile storage: Part 3, chapter of the same name.
//!
//! `definition` makes and removes indices, `writing` changes what they hold, this file reads, locks and re-authorizes.

mod definition;
mod writing;

use crate::call::{Call, Handler};
use crate::command_table::CommandCode;
use crate::nv::NvIndex;
use crate::nv::access::{check_read, check_write};
use crate::response_code::ResponseCode;
use crate::state::Record;
use crate::structures::attributes::NvAttributes;
use crate::structures::buffers::Auth;
use crate::structures::handles::Handle;
use crate::structures::limits::MAX_NV_BUFFER_BYTES;
use crate::wire::{Result, put_sized_structure};

/// The commands of this chapter.
pub const HANDLERS: &[(CommandCode, Handler)] = &[
    (CommandCode::NvDefineSpace, definition::define_space),
    (CommandCode::NvDefineSpace2, definition::define_space_2),
    (CommandCode::NvUndefineSpace, definition::undefine_space),
    (CommandCode::NvUndefineSpaceSpecial, definition::undefine_space_special),
    (CommandCode::NvReadPublic, read_public),
    (CommandCode::NvReadPublic2, definition::read_public_2),
    (CommandCode::NvWrite, writing::write),
    (CommandCode::NvIncrement, writing::increment),
    (CommandCode::NvExtend, writing::extend),
    (CommandCode::NvSetBits, writing::set_bits),
    (CommandCode::NvWriteLock, write_lock),
    (CommandCode::NvGlobalWriteLock, global_write_lock),
    (CommandCode::NvRead, read),
    (CommandCode::NvReadLock, read_lock),
    (CommandCode::NvChangeAuth, change_auth),
];

/// The index behind a handle that the engine has found to be there.
fn index_mut<'a>(call: &'a mut Call<'_>, handle: Handle) -> Result<&'a mut NvIndex> {
    call.state.nv.indices.get_mut(&handle).ok_or(ResponseCode::HANDLE)
}

/// Sets an attribute of an index, and remembers to make it durable.
fn set_attribute(call: &mut Call<'_>, handle: Handle, attribute: NvAttributes) -> Result<()> {
    let index = index_mut(call, handle)?;
    index.public.attributes = index.public.attributes.with(attribute, true);
    call.state.mark(Record::Entity(handle));
    Ok(())
}

/// TPM2_NV_ReadPublic.
fn read_public(call: &mut Call<'_>) -> Result<()> {
    call.end_of_parameters()?;
    let handle = call.handle(0);
    let public = index_mut(call, handle)?.public.clone();
    put_sized_structure(&mut call.response, &public);
    let name = call.state.name(handle);
    call.answer(&name);
    Ok(())
}

/// TPM2_NV_Read.
fn read(call: &mut Call<'_>) -> Result<()> {
    let size: u16 = call.parameter()?;
    let offset: u16 = call.parameter()?;
    call.end_of_parameters()?;
    let index = check_read(call.state, call.handle(0), call.handle(1))?;
    if usize::from(size) > MAX_NV_BUFFER_BYTES {
        return Err(ResponseCode::VALUE.parameter(1));
    }
    let rest = index.data.get(usize::from(offset)..).ok_or(ResponseCode::VALUE.parameter(2))?;
    let bytes = rest.get(..usize::from(size)).ok_or(ResponseCode::NV_RANGE)?.to_vec();
    call.answer_sized(&bytes);
    Ok(())
}

/// TPM2_NV_WriteLock: locking a locked index again is no error.
fn write_lock(call: &mut Call<'_>) -> Result<()> {
    call.end_of_parameters()?;
    let handle = call.handle(1);
    match check_write(call.state, call.handle(0), handle) {
        Err(code) if code == ResponseCode::NV_LOCKED => return Ok(()),
        Err(code) => return Err(code),
        Ok(index) if !index.has(NvAttributes::WRITE_DEFINE) && !index.has(NvAttributes::WRITE_STCLEAR) => {
            return Err(ResponseCode::ATTRIBUTES.handle(2));
        }
        Ok(_) => {}
    }
    set_attribute(call, handle, NvAttributes::WRITE_LOCKED)
}

/// TPM2_NV_GlobalWriteLock.
fn global_write_lock(call: &mut Call<'_>) -> Result<()> {
    call.end_of_parameters()?;
    let open =
        |index: &NvIndex| index.has(NvAttributes::GLOBAL_LOCK) && !index.has(NvAttributes::WRITE_LOCKED);
    let indices = call.state.nv.indices.iter();
    let locked: alloc::vec::Vec<Handle> =
        indices.filter(|(_, index)| open(index)).map(|(handle, _)| *handle).collect();
    for handle in locked {
        set_attribute(call, handle, NvAttributes::WRITE_LOCKED)?;
    }
    Ok(())
}

/// TPM2_NV_ReadLock: an index need not have been written to be locked.
fn read_lock(call: &mut Call<'_>) -> Result<()> {
    call.end_of_parameters()?;
    let handle = call.handle(1);
    match check_read(call.state, call.handle(0), handle) {
        Err(code) if code == ResponseCode::NV_LOCKED => return Ok(()),
        Err(code) if code != ResponseCode::NV_UNINITIALIZED => return Err(code),
        Ok(_) | Err(_) => {}
    }
    if !index_mut(call, handle)?.has(NvAttributes::READ_STCLEAR) {
        return Err(ResponseCode::ATTRIBUTES.handle(2));
    }
    set_attribute(call, handle, NvAttributes::READ_LOCKED)
}

/// TPM2_NV_ChangeAuth.
fn change_auth(call: &mut Call<'_>) -> Result<()> {
    let auth: Auth = call.parameter()?;
    call.end_of_parameters()?;
    let handle = call.handle(0);
    let auth = auth.0.without_trailing_zeros();
    let index = index_mut(call, handle)?;
    if auth.len() > index.public.name_hash.digest_bytes() {
        return Err(ResponseCode::SIZE.parameter(1));
    }
    index.auth = auth;
    call.state.mark(Record::Entity(handle));
    Ok(())
}
