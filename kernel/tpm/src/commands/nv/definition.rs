//! How indices come and go: TPM2_NV_DefineSpace, TPM2_NV_UndefineSpace and their variants.

use alloc::vec::Vec;

use crate::nv::NvIndex;
use crate::request::Request;
use crate::response_code::ResponseCode;
use crate::state::Record;
use crate::structures::attributes::NvAttributes as A;
use crate::structures::buffers::Auth;
use crate::structures::handles::Handle;
use crate::structures::limits::{MAX_NV_BUFFER_BYTES, MAX_NV_INDEX_BYTES};
use crate::structures::nv::{NvPublic, NvType};
use crate::wire::{Marshal, Reader, Result, Secret, put_sized_structure};

/// Octets of counters, bit fields and PINs.
const NUMBER_BYTES: u16 = 8;
/// What memory that was never written reads as.
const ERASED: u8 = 0xFF;
/// TPM_HT_NV_INDEX, TPM_HT_EXTERNAL_NV, TPM_HT_PERMANENT_NV: the handle types of a TPMT_NV_PUBLIC_2.
const NV_INDEX: u8 = 0x01;
const EXTERNAL_NV: u8 = 0x11;
const PERMANENT_NV: u8 = 0x12;

/// TPM2_NV_DefineSpace (Part 3, 31.3).
pub fn nv_define_space(request: &mut Request<'_>) -> Result<()> {
    let auth: Auth = request.parameter()?;
    let public = request.parameter_with(NvPublic::unmarshal_sized)?;
    request.end_of_parameters()?;
    define(request, &auth, public)
}

/// TPM2_NV_DefineSpace2 (Part 3, 31.17): of the handle types only that of TPM2_NV_DefineSpace has indices here.
pub fn nv_define_space_2(request: &mut Request<'_>) -> Result<()> {
    let auth: Auth = request.parameter()?;
    let public = request.parameter_with(|reader| reader.sized_structure(unmarshal_public_2))?;
    request.end_of_parameters()?;
    define(request, &auth, public)
}

/// TPMT_NV_PUBLIC_2 of an index: TPM_RC_HANDLE for the types without indices, TPM_RC_SELECTOR for what is no type.
fn unmarshal_public_2(reader: &mut Reader<'_>) -> Result<NvPublic> {
    match reader.read::<u8>()? {
        NV_INDEX => reader.read(),
        EXTERNAL_NV | PERMANENT_NV => Err(ResponseCode::HANDLE),
        _ => Err(ResponseCode::SELECTOR),
    }
}

fn define(request: &mut Request<'_>, auth: &Auth, public: NvPublic) -> Result<()> {
    let creator = request.handle(0);
    if !public.policy.is_empty() && public.policy.len() != public.name_hash.digest_bytes() {
        return Err(ResponseCode::SIZE.parameter(2));
    }
    let auth = auth.0.without_trailing_zeros();
    if auth.len() > public.name_hash.digest_bytes() {
        return Err(ResponseCode::SIZE.parameter(1));
    }
    if creator == Handle::PLATFORM && !request.state.hierarchies.platform_nv_enabled {
        return Err(ResponseCode::HIERARCHY.handle(1));
    }
    let nv_type = public.attributes.nv_type().ok_or(ResponseCode::ATTRIBUTES.parameter(2))?;
    check_size(&public, nv_type).map_err(|code| code.parameter(2))?;
    check_attributes(&public, nv_type).map_err(|code| code.parameter(2))?;
    let platform = creator == Handle::PLATFORM;
    if public.attributes.has(A::PLATFORM_CREATE) != platform {
        return Err(ResponseCode::ATTRIBUTES.handle(1));
    }
    if public.attributes.has(A::POLICY_DELETE) && !platform {
        return Err(ResponseCode::ATTRIBUTES.parameter(2));
    }
    if usize::from(public.data_bytes) > MAX_NV_BUFFER_BYTES && public.attributes.has(A::WRITE_ALL) {
        return Err(ResponseCode::SIZE.parameter(2));
    }
    if request.state.nv.indices.contains_key(&public.index) {
        return Err(ResponseCode::NV_DEFINED);
    }
    if NvIndex::needed_bytes(&public) > request.state.nv.free_bytes() {
        return Err(ResponseCode::NV_SPACE);
    }
    let handle = public.index;
    let erased = if nv_type == NvType::Ordinary { ERASED } else { 0 };
    let data = Secret::from(alloc::vec![erased; usize::from(public.data_bytes)]);
    request.state.nv.indices.insert(handle, NvIndex { public, auth, data });
    request.state.mark(Record::Entity(handle));
    Ok(())
}

fn check_size(public: &NvPublic, nv_type: NvType) -> Result<()> {
    let fits = match nv_type {
        NvType::Ordinary => usize::from(public.data_bytes) <= MAX_NV_INDEX_BYTES,
        NvType::Extend => usize::from(public.data_bytes) == public.name_hash.digest_bytes(),
        NvType::Counter | NvType::Bits | NvType::PinFail | NvType::PinPass => {
            public.data_bytes == NUMBER_BYTES
        }
    };
    if fits { Ok(()) } else { Err(ResponseCode::SIZE) }
}

/// Which attributes go together: Part 3, TPM2_NV_DefineSpace.
fn check_attributes(public: &NvPublic, nv_type: NvType) -> Result<()> {
    let attributes = public.attributes;
    let any = |bits: &[A]| bits.iter().any(|bit| attributes.has(*bit));
    let is_pin = matches!(nv_type, NvType::PinFail | NvType::PinPass);
    let refused = (nv_type == NvType::Counter && attributes.has(A::CLEAR_STCLEAR))
        || (nv_type == NvType::PinFail && !attributes.has(A::NO_DA))
        || (is_pin && any(&[A::AUTH_WRITE, A::GLOBAL_LOCK, A::WRITE_DEFINE]))
        || any(&[A::WRITTEN, A::WRITE_LOCKED, A::READ_LOCKED])
        || !any(&[A::OWNER_READ, A::PP_READ, A::AUTH_READ, A::POLICY_READ])
        || !any(&[A::OWNER_WRITE, A::PP_WRITE, A::AUTH_WRITE, A::POLICY_WRITE])
        || (attributes.has(A::CLEAR_STCLEAR) && attributes.has(A::WRITE_DEFINE));
    if refused { Err(ResponseCode::ATTRIBUTES) } else { Ok(()) }
}

/// TPM2_NV_UndefineSpace (Part 3, 31.4).
pub fn nv_undefine_space(request: &mut Request<'_>) -> Result<()> {
    request.end_of_parameters()?;
    let (owner, handle) = (request.handle(0), request.handle(1));
    let index = super::index(request, handle)?;
    if index.has(A::POLICY_DELETE) {
        return Err(ResponseCode::ATTRIBUTES.handle(2));
    }
    if owner == Handle::OWNER && index.has(A::PLATFORM_CREATE) {
        return Err(ResponseCode::NV_AUTHORIZATION);
    }
    request.state.undefine(handle);
    Ok(())
}

/// TPM2_NV_UndefineSpaceSpecial (Part 3, 31.5): the index's policy has been checked.
pub fn nv_undefine_space_special(request: &mut Request<'_>) -> Result<()> {
    request.end_of_parameters()?;
    let handle = request.handle(0);
    if !super::index(request, handle)?.has(A::POLICY_DELETE) {
        return Err(ResponseCode::ATTRIBUTES.handle(1));
    }
    request.state.undefine(handle);
    Ok(())
}

/// TPM2_NV_ReadPublic2 (Part 3, 31.18).
pub fn nv_read_public_2(request: &mut Request<'_>) -> Result<()> {
    struct Public2(NvPublic);
    impl Marshal for Public2 {
        fn marshal(&self, out: &mut Vec<u8>) {
            NV_INDEX.marshal(out);
            self.0.marshal(out);
        }
    }
    request.end_of_parameters()?;
    let handle = request.handle(0);
    let public = super::index(request, handle)?.public.clone();
    put_sized_structure(request.response, &Public2(public));
    let name = request.state.name(handle);
    request.answer(&name);
    Ok(())
}
