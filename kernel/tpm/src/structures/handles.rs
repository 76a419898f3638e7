//! Handles and their interface types: Part 2, sections 7 and 9.

use alloc::vec::Vec;

use super::limits::{ACTIVE_SESSIONS, LOADED_OBJECTS, PCR_COUNT};
use crate::response_code::ResponseCode;
use crate::wire::{Marshal, Reader, Result, Unmarshal};

/// TPM_HANDLE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(pub u32);

/// TPM_HT: what the first octet of a handle says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandleType {
    Pcr,
    NvIndex,
    HmacSession,
    PolicySession,
    Permanent,
    Transient,
    Persistent,
    Other,
}

impl Handle {
    pub const OWNER: Self = Self(0x4000_0001);
    pub const NULL: Self = Self(0x4000_0007);
    pub const UNASSIGNED: Self = Self(0x4000_0008);
    pub const PASSWORD: Self = Self(0x4000_0009);
    pub const LOCKOUT: Self = Self(0x4000_000A);
    pub const ENDORSEMENT: Self = Self(0x4000_000B);
    pub const PLATFORM: Self = Self(0x4000_000C);
    pub const PLATFORM_NV: Self = Self(0x4000_000D);

    pub const HMAC_SESSION_FIRST: Self = Self(0x0200_0000);
    pub const POLICY_SESSION_FIRST: Self = Self(0x0300_0000);
    pub const TRANSIENT_FIRST: Self = Self(0x8000_0000);
    pub const PLATFORM_PERSISTENT_FIRST: Self = Self(0x8180_0000);

    /// The permanent handles that this TPM has, in order.
    pub const PERMANENT: &'static [Self] = &[
        Self::OWNER,
        Self::NULL,
        Self::PASSWORD,
        Self::LOCKOUT,
        Self::ENDORSEMENT,
        Self::PLATFORM,
        Self::PLATFORM_NV,
    ];

    pub const fn kind(self) -> HandleType {
        match self.0 >> 24 {
            0x00 => HandleType::Pcr,
            0x01 => HandleType::NvIndex,
            0x02 => HandleType::HmacSession,
            0x03 => HandleType::PolicySession,
            0x40 => HandleType::Permanent,
            0x80 => HandleType::Transient,
            0x81 => HandleType::Persistent,
            _ => HandleType::Other,
        }
    }

    /// The handle without its first octet.
    pub const fn number(self) -> u32 {
        self.0 & 0x00FF_FFFF
    }

    /// Whether the handle can be of an HMAC or a policy session.
    pub const fn is_session(self) -> bool {
        matches!(self.kind(), HandleType::HmacSession | HandleType::PolicySession)
            && (self.number() as usize) < ACTIVE_SESSIONS
    }

    pub const fn is_null(self) -> bool {
        self.0 == Self::NULL.0
    }
}

impl Marshal for Handle {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.0.marshal(out);
    }
}

impl Unmarshal for Handle {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self(reader.read()?))
    }
}

/// The interface type of a handle in a command's handle area.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandleKind {
    /// TPMI_DH_OBJECT.
    Object,
    /// TPMI_DH_OBJECT+.
    ObjectOrNull,
    /// TPMI_DH_PARENT+: an object or a hierarchy.
    ParentOrHierarchy,
    /// TPMI_DH_ENTITY.
    Entity,
    /// TPMI_DH_ENTITY+.
    EntityOrNull,
    /// TPMI_DH_PCR.
    Pcr,
    /// TPMI_DH_PCR+.
    PcrOrNull,
    /// TPMI_DH_CONTEXT.
    Context,
    /// TPMI_SH_HMAC.
    HmacSession,
    /// TPMI_SH_POLICY.
    PolicySession,
    /// TPMI_RH_HIERARCHY+ as the reference reads it: owner, platform, endorsement or null.
    Hierarchy,
    /// TPMI_RH_BASE_HIERARCHY: owner, platform or endorsement.
    BaseHierarchy,
    /// TPMI_RH_HIERARCHY_AUTH: owner, platform, endorsement or lockout.
    HierarchyAuth,
    /// TPMI_RH_HIERARCHY_POLICY: the same handles.
    HierarchyPolicy,
    /// TPMI_RH_PLATFORM.
    Platform,
    /// TPMI_RH_ENDORSEMENT.
    Endorsement,
    /// TPMI_RH_PROVISION: owner or platform.
    Provision,
    /// TPMI_RH_CLEAR: lockout or platform.
    Clear,
    /// TPMI_RH_LOCKOUT.
    Lockout,
    /// TPMI_RH_NV_AUTH: owner, platform or an NV index.
    NvAuth,
    /// TPMI_RH_NV_INDEX.
    NvIndex,
}

impl HandleKind {
    /// Reads a handle of this kind: TPM_RC_VALUE for one that cannot be of this kind.
    pub fn unmarshal(self, reader: &mut Reader<'_>) -> Result<Handle> {
        let handle: Handle = reader.read()?;
        if self.admits(handle) { Ok(handle) } else { Err(ResponseCode::VALUE) }
    }

    /// Whether a handle can be of this kind.
    pub fn admits(self, handle: Handle) -> bool {
        let kind = handle.kind();
        // TRANSIENT_LAST and the sessions' last handles follow from the number of slots.
        let transient = kind == HandleType::Transient && (handle.number() as usize) < LOADED_OBJECTS;
        let object = transient || kind == HandleType::Persistent;
        let pcr = kind == HandleType::Pcr && (handle.0 as usize) < PCR_COUNT;
        let session = handle.is_session();
        let base_hierarchy = matches!(handle, Handle::OWNER | Handle::PLATFORM | Handle::ENDORSEMENT);
        let entity =
            object || pcr || kind == HandleType::NvIndex || base_hierarchy || handle == Handle::LOCKOUT;
        match self {
            Self::Object => object,
            Self::ObjectOrNull => object || handle.is_null(),
            Self::ParentOrHierarchy => object || base_hierarchy || handle.is_null(),
            Self::Entity => entity,
            Self::EntityOrNull => entity || handle.is_null(),
            Self::Pcr => pcr,
            Self::PcrOrNull => pcr || handle.is_null(),
            Self::Context => session || transient,
            Self::HmacSession => session && kind == HandleType::HmacSession,
            Self::PolicySession => session && kind == HandleType::PolicySession,
            Self::Hierarchy => base_hierarchy || handle.is_null(),
            Self::BaseHierarchy => base_hierarchy,
            Self::HierarchyAuth | Self::HierarchyPolicy => base_hierarchy || handle == Handle::LOCKOUT,
            Self::Platform => handle == Handle::PLATFORM,
            Self::Endorsement => handle == Handle::ENDORSEMENT,
            Self::Provision => matches!(handle, Handle::OWNER | Handle::PLATFORM),
            Self::Clear => matches!(handle, Handle::LOCKOUT | Handle::PLATFORM),
            Self::Lockout => handle == Handle::LOCKOUT,
            Self::NvAuth => matches!(handle, Handle::OWNER | Handle::PLATFORM) || kind == HandleType::NvIndex,
            Self::NvIndex => kind == HandleType::NvIndex,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_of_another_kind_is_a_value_error() {
        let read = |kind: HandleKind, handle: u32| kind.unmarshal(&mut Reader::new(&handle.to_be_bytes()));
        assert_eq!(read(HandleKind::Pcr, 23), Ok(Handle(23)));
        assert_eq!(read(HandleKind::Pcr, 24), Err(ResponseCode::VALUE));
        assert_eq!(read(HandleKind::Object, 0x4000_0007), Err(ResponseCode::VALUE));
        assert_eq!(read(HandleKind::ObjectOrNull, 0x4000_0007), Ok(Handle::NULL));
        assert_eq!(read(HandleKind::Clear, 0x4000_0001), Err(ResponseCode::VALUE));
        assert_eq!(
            HandleKind::Object.unmarshal(&mut Reader::new(&[0x80, 0, 0])),
            Err(ResponseCode::INSUFFICIENT)
        );
    }
}
