//! What indices hold: TPM2_NV_Write, TPM2_NV_Increment, TPM2_NV_Extend, TPM2_NV_SetBits.

use crate::call::Call;
use crate::crypto::hash::hash;
use crate::nv::access::check_write;
use crate::response_code::ResponseCode;
use crate::state::Record;
use crate::structures::attributes::NvAttributes;
use crate::structures::buffers::Buffer;
use crate::structures::limits::MAX_NV_BUFFER_BYTES;
use crate::structures::nv::NvType;
use crate::wire::Result;

/// TPM2B_MAX_NV_BUFFER.
type NvBuffer = Buffer<MAX_NV_BUFFER_BYTES>;

/// Puts `bytes` into the index at `offset`, says that it is written, and remembers to make it durable.
fn put(call: &mut Call<'_>, offset: usize, bytes: &[u8]) -> Result<()> {
    let handle = call.handle(1);
    let index = super::index_mut(call, handle)?;
    for (to, from) in index.data.iter_mut().skip(offset).zip(bytes) {
        *to = *from;
    }
    index.public.attributes = index.public.attributes.with(NvAttributes::WRITTEN, true);
    call.state.mark(Record::Entity(handle));
    Ok(())
}

/// TPM2_NV_Write.
pub fn write(call: &mut Call<'_>) -> Result<()> {
    let data: NvBuffer = call.parameter()?;
    let offset: u16 = call.parameter()?;
    call.end_of_parameters()?;
    let index = check_write(call.state, call.handle(0), call.handle(1))?;
    if matches!(index.public.attributes.nv_type(), Some(NvType::Counter | NvType::Bits | NvType::Extend)) {
        return Err(ResponseCode::ATTRIBUTES);
    }
    let offset = usize::from(offset);
    let room = index.data.len().checked_sub(offset).ok_or(ResponseCode::VALUE.parameter(2))?;
    let partial = index.has(NvAttributes::WRITE_ALL) && data.len() < index.data.len();
    if data.len() > room || partial {
        return Err(ResponseCode::NV_RANGE);
    }
    put(call, offset, data.as_bytes())
}

/// TPM2_NV_Increment: a new counter starts above every counter that ever was.
pub fn increment(call: &mut Call<'_>) -> Result<()> {
    call.end_of_parameters()?;
    let index = check_write(call.state, call.handle(0), call.handle(1))?;
    if !index.public.attributes.is(NvType::Counter) {
        return Err(ResponseCode::ATTRIBUTES.handle(2));
    }
    let written = index.has(NvAttributes::WRITTEN);
    let before = if written { index.number() } else { call.state.nv.greatest_counter() };
    put(call, 0, &before.saturating_add(1).to_be_bytes())
}

/// TPM2_NV_Extend.
pub fn extend(call: &mut Call<'_>) -> Result<()> {
    let data: NvBuffer = call.parameter()?;
    call.end_of_parameters()?;
    let index = check_write(call.state, call.handle(0), call.handle(1))?;
    if !index.public.attributes.is(NvType::Extend) {
        return Err(ResponseCode::ATTRIBUTES.handle(2));
    }
    let nothing = alloc::vec![0; index.data.len()];
    let before = if index.has(NvAttributes::WRITTEN) { &index.data } else { &nothing };
    let digest = hash(index.public.name_hash, &[before, data.as_bytes()]);
    put(call, 0, digest.as_bytes())
}

/// TPM2_NV_SetBits.
pub fn set_bits(call: &mut Call<'_>) -> Result<()> {
    let bits: u64 = call.parameter()?;
    call.end_of_parameters()?;
    let index = check_write(call.state, call.handle(0), call.handle(1))?;
    if !index.public.attributes.is(NvType::Bits) {
        return Err(ResponseCode::ATTRIBUTES.handle(2));
    }
    let before = if index.has(NvAttributes::WRITTEN) { index.number() } else { 0 };
    put(call, 0, &(before | bits).to_be_bytes())
}
