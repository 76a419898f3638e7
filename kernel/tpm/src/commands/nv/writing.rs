//! What indices hold: TPM2_NV_Write, TPM2_NV_Increment, TPM2_NV_Extend, TPM2_NV_SetBits.

use crate::commands::nv::access::check_write;
use crate::crypto::hash::hash;
use crate::request::Request;
use crate::response_code::ResponseCode;
use crate::state::Record;
use crate::structures::attributes::NvAttributes;
use crate::structures::buffers::Buffer;
use crate::structures::limits::MAX_NV_BUFFER_BYTES;
use crate::structures::nv::NvType;
use crate::wire::{Result, Secret};

/// TPM2B_MAX_NV_BUFFER.
type NvBuffer = Buffer<MAX_NV_BUFFER_BYTES>;

/// Puts `bytes` into the index at `offset`, says that it is written, and remembers to make it durable.
fn put(request: &mut Request<'_>, offset: usize, bytes: &[u8]) -> Result<()> {
    let handle = request.handle(1);
    let index = super::index_mut(request, handle)?;
    for (to, from) in index.data.as_mut_bytes().iter_mut().skip(offset).zip(bytes) {
        *to = *from;
    }
    index.public.attributes = index.public.attributes.with(NvAttributes::WRITTEN, true);
    request.state.mark(Record::Entity(handle));
    Ok(())
}

/// TPM2_NV_Write (Part 3, 31.7).
pub fn nv_write(request: &mut Request<'_>) -> Result<()> {
    let data: NvBuffer = request.parameter()?;
    let offset: u16 = request.parameter()?;
    request.end_of_parameters()?;
    let index = check_write(request.state, request.handle(0), request.handle(1))?;
    if matches!(index.public.attributes.nv_type(), Some(NvType::Counter | NvType::Bits | NvType::Extend)) {
        return Err(ResponseCode::ATTRIBUTES);
    }
    let offset = usize::from(offset);
    let room = index.data.len().checked_sub(offset).ok_or(ResponseCode::VALUE.parameter(2))?;
    let partial = index.has(NvAttributes::WRITE_ALL) && data.len() < index.data.len();
    if data.len() > room || partial {
        return Err(ResponseCode::NV_RANGE);
    }
    put(request, offset, data.as_bytes())
}

/// TPM2_NV_Increment (Part 3, 31.8): a new counter starts above every counter that ever was.
pub fn nv_increment(request: &mut Request<'_>) -> Result<()> {
    request.end_of_parameters()?;
    let index = check_write(request.state, request.handle(0), request.handle(1))?;
    if !index.public.attributes.is(NvType::Counter) {
        return Err(ResponseCode::ATTRIBUTES.handle(2));
    }
    let written = index.has(NvAttributes::WRITTEN);
    let before = if written { index.number() } else { request.state.nv.max_counter };
    let value = before.saturating_add(1);
    request.state.nv.note_counter(value);
    put(request, 0, &value.to_be_bytes())
}

/// TPM2_NV_Extend (Part 3, 31.9).
pub fn nv_extend(request: &mut Request<'_>) -> Result<()> {
    let data: NvBuffer = request.parameter()?;
    request.end_of_parameters()?;
    let index = check_write(request.state, request.handle(0), request.handle(1))?;
    if !index.public.attributes.is(NvType::Extend) {
        return Err(ResponseCode::ATTRIBUTES.handle(2));
    }
    let nothing = Secret::zeroed(index.data.len());
    let before = if index.has(NvAttributes::WRITTEN) { &index.data } else { &nothing };
    let digest = hash(index.public.name_hash, &[before.as_bytes(), data.as_bytes()]);
    put(request, 0, digest.as_bytes())
}

/// TPM2_NV_SetBits (Part 3, 31.10).
pub fn nv_set_bits(request: &mut Request<'_>) -> Result<()> {
    let bits: u64 = request.parameter()?;
    request.end_of_parameters()?;
    let index = check_write(request.state, request.handle(0), request.handle(1))?;
    if !index.public.attributes.is(NvType::Bits) {
        return Err(ResponseCode::ATTRIBUTES.handle(2));
    }
    let before = if index.has(NvAttributes::WRITTEN) { index.number() } else { 0 };
    put(request, 0, &(before | bits).to_be_bytes())
}
