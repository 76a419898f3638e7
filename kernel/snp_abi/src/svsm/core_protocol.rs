//! Structures of the core protocol: the PVALIDATE list and the protocol query (AMD 58019, chapter 6).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::ResultCode;
use crate::address::{PageSize, is_aligned};
use crate::rmp::RmpStatus;

/// Version of the core protocol.
pub const VERSION: u32 = 1;

/// First 8 bytes of a PVALIDATE list, which is 8-byte aligned and lies in one page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PvalidateHeader {
    /// Entries in the list.
    pub entries: u16,
    /// Index of the first entry that is not done.
    pub next: u16,
    /// Zero.
    pub reserved: u32,
}

/// Entries that fit in the calling area's buffer.
pub const MAXIMUM_ENTRIES_IN_CALLING_AREA: usize =
    (super::CALLING_AREA_BUFFER_BYTES - size_of::<PvalidateHeader>()) / 8;

/// One entry of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PvalidateEntry {
    /// Guest-physical address.
    pub address: u64,
    /// Size of the page.
    pub size: PageSize,
    /// Validate rather than rescind.
    pub validate: bool,
    /// "Nothing changed" is no error.
    pub ignore_no_change: bool,
}

/// Why an entry is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidPvalidateEntry {
    /// The page size is a reserved one.
    PageSize,
    /// A reserved bit is set.
    ReservedBits,
    /// The address is not aligned to the page size.
    Alignment,
}

impl PvalidateEntry {
    const VALIDATE: u64 = 1 << 2;
    const IGNORE_NO_CHANGE: u64 = 1 << 3;
    const RESERVED: u64 = 0xFF0;

    /// The entry's word; bits 11:0 of the address are dropped.
    #[must_use]
    pub const fn encode(self) -> u64 {
        self.address & !0xFFF
            | self.size.to_wire() as u64
            | if self.validate { Self::VALIDATE } else { 0 }
            | if self.ignore_no_change { Self::IGNORE_NO_CHANGE } else { 0 }
    }

    /// Reads an entry's word.
    ///
    /// # Errors
    /// If a reserved bit or page size is used, or a 2 MiB page is not aligned.
    pub const fn decode(word: u64) -> Result<Self, InvalidPvalidateEntry> {
        if word & Self::RESERVED != 0 {
            return Err(InvalidPvalidateEntry::ReservedBits);
        }
        let Some(size) = PageSize::from_wire(word as u8 & 0b11) else {
            return Err(InvalidPvalidateEntry::PageSize);
        };
        let address = word & !0xFFF;
        if !is_aligned(address, size) {
            return Err(InvalidPvalidateEntry::Alignment);
        }
        Ok(Self {
            address,
            size,
            validate: word & Self::VALIDATE != 0,
            ignore_no_change: word & Self::IGNORE_NO_CHANGE != 0,
        })
    }
}

/// The code for "the RMP entry had that state already" (CF set) without `ignore_no_change`.
pub const PVALIDATE_NO_CHANGE: ResultCode = ResultCode::ProtocolSpecific(0x10);

/// The code for a failed PVALIDATE: the instruction's own, `None` for success.
#[must_use]
pub const fn pvalidate_failure(status: RmpStatus) -> Option<ResultCode> {
    match status {
        RmpStatus::Success => None,
        failure => Some(ResultCode::ProtocolSpecific(failure.to_wire() as u16)),
    }
}

/// RCX of QUERY_PROTOCOL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProtocolQuery {
    /// The protocol asked about.
    pub protocol: u32,
    /// The version asked about.
    pub version: u32,
}

impl ProtocolQuery {
    /// RCX.
    #[must_use]
    pub const fn encode(self) -> u64 {
        (self.protocol as u64) << 32 | self.version as u64
    }

    /// From RCX.
    #[must_use]
    pub const fn decode(rcx: u64) -> Self {
        Self { protocol: (rcx >> 32) as u32, version: rcx as u32 }
    }
}

/// RCX on return from QUERY_PROTOCOL: 0 if the version is not served, else highest and lowest version.
#[must_use]
pub const fn protocol_versions(served: Option<(u32, u32)>) -> u64 {
    match served {
        Some((maximum, minimum)) => (maximum as u64) << 32 | minimum as u64,
        None => 0,
    }
}

/// RCX bit 0 of CONFIGURE_VTOM: query only.
pub const CONFIGURE_VIRTUAL_TOM_QUERY: u64 = 1;

const _: () = {
    assert!(size_of::<PvalidateHeader>() == 8);
    assert!(MAXIMUM_ENTRIES_IN_CALLING_AREA == 510);
};
