//! NV index public areas: Part 2, section 13.

use alloc::vec::Vec;

use super::attributes::NvAttributes;
use super::buffers::DigestBuffer;
use super::handles::{Handle, HandleKind};
use super::limits::MAX_NV_INDEX_BYTES;
use crate::crypto::hash::HashAlgorithm;
use crate::response_code::ResponseCode;
use crate::wire::{Marshal, Reader, Result, Unmarshal};

/// TPM_NT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NvType {
    Ordinary,
    Counter,
    Bits,
    Extend,
    PinFail,
    PinPass,
}

impl NvAttributes {
    /// TPMA_NV_TPM_NT, `None` for a reserved type.
    pub const fn nv_type(self) -> Option<NvType> {
        match (self.0 >> 4) & 0xF {
            0x0 => Some(NvType::Ordinary),
            0x1 => Some(NvType::Counter),
            0x2 => Some(NvType::Bits),
            0x4 => Some(NvType::Extend),
            0x8 => Some(NvType::PinFail),
            0x9 => Some(NvType::PinPass),
            _ => None,
        }
    }

    /// Whether the type is `nv_type`.
    pub fn is(self, nv_type: NvType) -> bool {
        self.nv_type() == Some(nv_type)
    }
}

/// TPMS_NV_PUBLIC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NvPublic {
    pub index: Handle,
    pub name_hash: HashAlgorithm,
    pub attributes: NvAttributes,
    pub policy: DigestBuffer,
    pub data_bytes: u16,
}

impl NvPublic {
    /// TPM2B_NV_PUBLIC.
    pub fn unmarshal_sized(reader: &mut Reader<'_>) -> Result<Self> {
        reader.sized_structure(Self::unmarshal)
    }
}

impl Unmarshal for NvPublic {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self> {
        let index = HandleKind::NvIndex.unmarshal(reader)?;
        let name_hash = reader.read()?;
        let attributes = reader.read()?;
        let policy = reader.read()?;
        let data_bytes = reader.read::<u16>()?;
        if usize::from(data_bytes) > MAX_NV_INDEX_BYTES {
            return Err(ResponseCode::SIZE);
        }
        Ok(Self { index, name_hash, attributes, policy, data_bytes })
    }
}

impl Marshal for NvPublic {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.index.marshal(out);
        self.name_hash.marshal(out);
        self.attributes.marshal(out);
        self.policy.marshal(out);
        self.data_bytes.marshal(out);
    }
}
