//! Messages between guest and PSP: header, nonce, authenticated part, payloads (AMD 56860, "guest messages").
//!
//! The cipher is AES-256-GCM under a VMPCK; it is not applied here. Whoever seals a message must never use one
//! sequence number for two plaintexts: when the host asks for another try, the identical ciphertext is sent again.

use core::mem::offset_of;

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use crate::rmp::Vmpl;
use crate::wire_enum::wire_enum;

/// Bytes of the header.
pub const HEADER_BYTES: usize = 0x60;
/// Bytes that a payload can have: header and payload share a page.
pub const MAXIMUM_PAYLOAD_BYTES: usize = 0x1000 - HEADER_BYTES;
/// Bytes of the GCM tag, the first of the 32 that the header keeps for it.
pub const TAG_BYTES: usize = 16;
/// Bytes of the GCM nonce.
pub const NONCE_BYTES: usize = 12;
/// Offset of the header's authenticated part.
pub const AUTHENTICATED_OFFSET: usize = 0x30;
/// Bytes of the header's authenticated part.
pub const AUTHENTICATED_BYTES: usize = 0x30;

const ALGORITHM_AES_256_GCM: u8 = 1;
const HEADER_VERSION: u8 = 1;
/// Message version that all payloads here belong to.
pub const MESSAGE_VERSION: u8 = 1;

wire_enum! {
    /// Kind of a message; a response is its request plus one.
    pub enum MessageType: u8 {
        /// Check a CPUID table.
        CpuidRequest = 1,
        /// Checked CPUID table.
        CpuidResponse = 2,
        /// Derive a key.
        KeyRequest = 3,
        /// Derived key.
        KeyResponse = 4,
        /// Ask for an attestation report.
        ReportRequest = 5,
        /// Attestation report.
        ReportResponse = 6,
        /// Migration agent: export.
        ExportRequest = 7,
        /// Migration agent: export.
        ExportResponse = 8,
        /// Migration agent: import.
        ImportRequest = 9,
        /// Migration agent: import.
        ImportResponse = 10,
        /// Migration agent: absorb.
        AbsorbRequest = 11,
        /// Migration agent: absorb.
        AbsorbResponse = 12,
        /// Migration agent: set the VM root key.
        RootKeyRequest = 13,
        /// Migration agent: VM root key set.
        RootKeyResponse = 14,
        /// Ask for the secure TSC's parameters.
        TscInformationRequest = 17,
        /// Secure TSC's parameters.
        TscInformationResponse = 18,
    }
}

impl MessageType {
    /// The message that answers this request, `None` for a response.
    #[must_use]
    pub const fn response(self) -> Option<Self> {
        match self.to_wire() {
            number if number % 2 == 1 => Self::from_wire(number.wrapping_add(1)),
            _ => None,
        }
    }
}

/// The header.
#[derive(Debug, Clone, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct MessageHeader {
    /// GCM tag in the first 16 bytes, zeros after it.
    pub tag: [u8; 32],
    /// Sequence number.
    pub sequence_number: u64,
    reserved_0x28: [u8; 8],
    /// 1 for AES-256-GCM.
    pub algorithm: u8,
    /// 1.
    pub header_version: u8,
    /// 0x60.
    pub header_size: u16,
    /// [`MessageType`].
    pub message_type: u8,
    /// Version of the payload's structure.
    pub message_version: u8,
    /// Bytes of the payload.
    pub message_size: u16,
    reserved_0x38: [u8; 4],
    /// Number of the key.
    pub vmpck: u8,
    reserved_0x3d: [u8; 35],
}

/// What a message must be to be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpectedMessage {
    /// Kind of message.
    pub message_type: MessageType,
    /// The key's number.
    pub vmpck: Vmpl,
    /// The sequence number.
    pub sequence_number: u64,
}

/// Why a header was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidHeader {
    /// Cipher, header version or header size are none that this code knows.
    Format,
    /// A message of another kind or payload version.
    Type,
    /// Sealed with another key.
    Key,
    /// An old or future message.
    SequenceNumber,
    /// The payload does not fit in its page.
    Size,
}

impl MessageHeader {
    /// Header of a message that is about to be sealed, tag still zero; `None` if the payload is too long.
    #[must_use]
    pub fn new(message: ExpectedMessage, payload_bytes: usize) -> Option<Self> {
        if payload_bytes > MAXIMUM_PAYLOAD_BYTES {
            return None;
        }
        let mut header = Self::new_zeroed();
        header.sequence_number = message.sequence_number;
        header.algorithm = ALGORITHM_AES_256_GCM;
        header.header_version = HEADER_VERSION;
        header.header_size = HEADER_BYTES as u16;
        header.message_type = message.message_type.to_wire();
        header.message_version = MESSAGE_VERSION;
        header.message_size = payload_bytes as u16;
        header.vmpck = message.vmpck.to_wire();
        Some(header)
    }

    /// Checks a received header (a private copy) before its payload is opened; returns the payload's length.
    ///
    /// # Errors
    /// The first thing that is not as expected.
    pub fn check(&self, expected: ExpectedMessage) -> Result<usize, InvalidHeader> {
        let format = (self.algorithm, self.header_version, usize::from(self.header_size));
        if format != (ALGORITHM_AES_256_GCM, HEADER_VERSION, HEADER_BYTES) {
            return Err(InvalidHeader::Format);
        }
        let kind = (self.message_type, self.message_version);
        if kind != (expected.message_type.to_wire(), MESSAGE_VERSION) {
            return Err(InvalidHeader::Type);
        }
        if self.vmpck != expected.vmpck.to_wire() {
            return Err(InvalidHeader::Key);
        }
        if self.sequence_number != expected.sequence_number {
            return Err(InvalidHeader::SequenceNumber);
        }
        match usize::from(self.message_size) {
            size if size <= MAXIMUM_PAYLOAD_BYTES => Ok(size),
            _ => Err(InvalidHeader::Size),
        }
    }

    /// The part that GCM authenticates besides the payload: bytes 0x30 to 0x5F.
    #[must_use]
    pub fn authenticated(&self) -> &[u8] {
        self.as_bytes().get(AUTHENTICATED_OFFSET..).unwrap_or_default()
    }

    /// The GCM nonce of this message.
    #[must_use]
    pub const fn nonce(&self) -> [u8; NONCE_BYTES] {
        nonce(self.sequence_number)
    }
}

/// The GCM nonce for a sequence number: its 8 bytes, then 4 zeros.
#[must_use]
pub const fn nonce(sequence_number: u64) -> [u8; NONCE_BYTES] {
    let [a, b, c, d, e, f, g, h] = sequence_number.to_le_bytes();
    [a, b, c, d, e, f, g, h, 0, 0, 0, 0]
}

wire_enum! {
    /// Status in a response payload.
    pub enum MessageStatus: u32 {
        /// The request was served.
        Success = 0,
        /// A field of the request is invalid.
        InvalidParameters = 0x16,
        /// The key selection is invalid.
        InvalidKeySelection = 0x27,
    }
}

wire_enum! {
    /// Which key signs a report.
    pub enum KeySelection: u32 {
        /// VLEK if one is loaded, VCEK otherwise.
        Default = 0,
        /// The chip's key.
        Vcek = 1,
        /// The cloud's key.
        Vlek = 2,
    }
}

/// Payload of [`MessageType::ReportRequest`].
#[derive(Debug, Clone, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ReportRequest {
    /// Goes into the report as it is.
    pub report_data: [u8; 64],
    /// Level that the report shall name; not above the key's.
    pub vmpl: u32,
    /// [`KeySelection`] in bits 1:0.
    pub key_selection: u32,
    reserved: [u8; 24],
}

impl ReportRequest {
    /// A request for a report about a level, signed with the default key.
    #[must_use]
    pub const fn new(report_data: [u8; 64], vmpl: Vmpl) -> Self {
        let key_selection = KeySelection::Default.to_wire();
        Self { report_data, vmpl: vmpl.to_wire() as u32, key_selection, reserved: [0; 24] }
    }
}

/// Start of [`MessageType::ReportResponse`]; the report follows.
#[derive(Debug, Clone, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ReportResponseHeader {
    /// [`MessageStatus`].
    pub status: u32,
    /// Bytes of the report.
    pub report_size: u32,
    reserved: [u8; 24],
}

impl ReportResponseHeader {
    /// Start of a response.
    #[must_use]
    pub const fn new(status: MessageStatus, report_size: u32) -> Self {
        Self { status: status.to_wire(), report_size, reserved: [0; 24] }
    }
}

/// Payload of [`MessageType::KeyRequest`], message version 1.
#[derive(Debug, Clone, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct KeyRequest {
    /// Bit 0: 0 derives from VCEK or VLEK, 1 from the VM root key.
    pub root_key_select: u32,
    /// Zero.
    pub reserved: u32,
    /// What goes into the derivation: policy, image id, family id, measurement, guest SVN, TCB (bits 0 to 5).
    pub guest_field_select: u64,
    /// Level, not above the key's.
    pub vmpl: u32,
    /// Guest SVN, not above the ID block's.
    pub guest_svn: u32,
    /// TCB version, not above the committed one.
    pub tcb_version: u64,
}

/// Payload of [`MessageType::KeyResponse`]. No `Debug`: it holds a key.
#[derive(Clone, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct KeyResponse {
    /// [`MessageStatus`].
    pub status: u32,
    reserved: [u8; 28],
    /// The key.
    pub derived_key: [u8; 32],
}

/// Payload bytes of [`MessageType::TscInformationRequest`], all zero.
pub const TSC_INFORMATION_REQUEST_BYTES: usize = 128;

/// Payload of [`MessageType::TscInformationResponse`].
#[derive(Debug, Clone, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TscInformationResponse {
    /// [`MessageStatus`].
    pub status: u32,
    reserved_0x04: u32,
    /// For the VMSA's `tsc_scale`.
    pub tsc_scale: u64,
    /// For the VMSA's `tsc_offset`.
    pub tsc_offset: u64,
    /// By how much the TSC is slower than nominal, in 1/100000.
    pub tsc_factor: u32,
    reserved_0x1c: [u8; 100],
}

const _: () = {
    assert!(size_of::<MessageHeader>() == HEADER_BYTES);
    assert!(offset_of!(MessageHeader, sequence_number) == 0x20);
    assert!(offset_of!(MessageHeader, algorithm) == 0x30);
    assert!(offset_of!(MessageHeader, header_version) == 0x31);
    assert!(offset_of!(MessageHeader, header_size) == 0x32);
    assert!(offset_of!(MessageHeader, message_type) == 0x34);
    assert!(offset_of!(MessageHeader, message_version) == 0x35);
    assert!(offset_of!(MessageHeader, message_size) == 0x36);
    assert!(offset_of!(MessageHeader, vmpck) == 0x3C);
    assert!(size_of::<ReportRequest>() == 0x60);
    assert!(offset_of!(ReportRequest, vmpl) == 0x40);
    assert!(size_of::<ReportResponseHeader>() == 0x20);
    assert!(size_of::<KeyRequest>() == 0x20);
    assert!(offset_of!(KeyRequest, guest_field_select) == 0x08);
    assert!(offset_of!(KeyRequest, vmpl) == 0x10);
    assert!(offset_of!(KeyRequest, tcb_version) == 0x18);
    assert!(size_of::<KeyResponse>() == 0x40);
    assert!(offset_of!(KeyResponse, derived_key) == 0x20);
    assert!(size_of::<TscInformationResponse>() == 128);
    assert!(offset_of!(TscInformationResponse, tsc_factor) == 0x18);
};
