//! Framing of the vTPM protocol: one buffer of a page for command and response (AMD 58019, chapter 8; framing of the
//! TCG reference simulator).

use core::mem::offset_of;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, little_endian};

/// Version of the vTPM protocol.
pub const VERSION: u32 = 1;

/// Platform command: run a TPM command.
pub const SEND_COMMAND: u32 = 8;
/// RCX of VTPM_QUERY for a vTPM that knows [`SEND_COMMAND`] only.
pub const SUPPORTED_COMMANDS: u64 = 1 << SEND_COMMAND;

/// Bytes of the buffer.
pub const BUFFER_BYTES: usize = 0x1000;

/// Start of a request; the TPM command follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct CommandHeader {
    /// Platform command.
    pub command: little_endian::U32,
    /// Locality.
    pub locality: u8,
    /// Bytes of the TPM command.
    pub length: little_endian::U32,
}

/// Start of a response; the TPM response follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ResponseHeader {
    /// Bytes of the TPM response.
    pub length: little_endian::U32,
}

/// Longest TPM command.
pub const MAXIMUM_COMMAND_BYTES: usize = BUFFER_BYTES - size_of::<CommandHeader>();
/// Longest TPM response.
pub const MAXIMUM_RESPONSE_BYTES: usize = BUFFER_BYTES - size_of::<ResponseHeader>();

const _: () = {
    assert!(size_of::<CommandHeader>() == 9);
    assert!(offset_of!(CommandHeader, length) == 5);
    assert!(size_of::<ResponseHeader>() == 4);
};
