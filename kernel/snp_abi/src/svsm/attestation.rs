//! Structures of the attestation protocol: operation, services manifest (AMD 58019, chapter 7, tables 11 to 13).

use core::mem::offset_of;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, little_endian};

use crate::guid::Guid;

/// Version of the attestation protocol.
pub const VERSION: u32 = 1;

/// A buffer of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct BufferLocation {
    /// Guest-physical address.
    pub address: u64,
    /// Bytes.
    pub length: u32,
    /// Zero.
    pub reserved: u32,
}

/// The nonce's place; its length field has 16 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct NonceLocation {
    /// Guest-physical address.
    pub address: u64,
    /// Bytes.
    pub length: u16,
    /// Zero.
    pub reserved: [u8; 6],
}

/// Argument of ATTEST_SERVICES.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct AttestServices {
    /// Where the report goes.
    pub report: BufferLocation,
    /// What makes the report fresh.
    pub nonce: NonceLocation,
    /// Where the manifest goes.
    pub manifest: BufferLocation,
    /// Where the certificates go; length 0 if none are wanted.
    pub certificates: BufferLocation,
}

/// Argument of ATTEST_SINGLE_SERVICE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct AttestSingleService {
    /// As for all services.
    pub buffers: AttestServices,
    /// The service.
    pub service: Guid,
    /// Wanted version of its manifest.
    pub manifest_version: u32,
    /// Zero.
    pub reserved: u32,
}

/// Names the services manifest.
pub const SERVICES_MANIFEST: Guid = Guid::new(0x6384_9ebb, 0x3d92, 0x4670, 0xa1ff, 0x58f9_c94b_87bb);
/// Names the vTPM service.
pub const VTPM_SERVICE: Guid = Guid::new(0xc476_f1eb, 0x0123, 0x45a5, 0x9641, 0xb4e7_dde5_bfe3);
/// Names the UEFI variable service.
pub const UEFI_MANAGEMENT_MODE_SERVICE: Guid =
    Guid::new(0xa445_3a59, 0x9e1b, 0x4787, 0xa033, 0x1986_d6ad_be55);

/// Start of the services manifest; entries and the services' own manifests follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ManifestHeader {
    /// [`SERVICES_MANIFEST`].
    pub guid: Guid,
    /// Bytes of the whole manifest.
    pub length: little_endian::U32,
    /// Number of entries.
    pub entries: little_endian::U32,
}

/// One service of the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ManifestEntry {
    /// The service.
    pub guid: Guid,
    /// Offset of its manifest from the start of the services manifest.
    pub offset: little_endian::U32,
    /// Bytes of its manifest.
    pub length: little_endian::U32,
}

const _: () = {
    assert!(size_of::<AttestServices>() == 0x40);
    assert!(offset_of!(AttestServices, nonce) == 0x10);
    assert!(offset_of!(AttestServices, manifest) == 0x20);
    assert!(offset_of!(AttestServices, certificates) == 0x30);
    assert!(offset_of!(NonceLocation, length) == 8);
    assert!(size_of::<AttestSingleService>() == 0x58);
    assert!(offset_of!(AttestSingleService, service) == 0x40);
    assert!(offset_of!(AttestSingleService, manifest_version) == 0x50);
    assert!(size_of::<ManifestHeader>() == 0x18);
    assert!(size_of::<ManifestEntry>() == 24);
};
