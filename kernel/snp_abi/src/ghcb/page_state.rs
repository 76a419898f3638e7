//! The page state change list in the GHCB's shared buffer (AMD 56421, "SNP page state change").

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::address::{FRAME_MASK, PageSize};
use crate::wire_enum::wire_enum;

wire_enum! {
    /// What a page shall become.
    pub enum PageOperation: u8 {
        /// Assigned to the guest.
        Private = 1,
        /// Owned by the host and visible to both.
        Shared = 2,
        /// Hint: split a 2 MiB RMP entry.
        Psmash = 3,
        /// Hint: join 512 RMP entries.
        Unsmash = 4,
    }
}

/// Entries that fit in the shared buffer.
pub const MAXIMUM_ENTRIES: usize = 253;

/// First 8 bytes of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PageStateHeader {
    /// Index of the entry in work; the host moves it on.
    pub current_entry: u16,
    /// Index of the *last* entry.
    pub end_entry: u16,
    /// Zero.
    pub reserved: u32,
}

impl PageStateHeader {
    /// Whether the host has gone through all entries.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.current_entry > self.end_entry
    }
}

/// One entry, as its 64-bit word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct PageStateWord(pub u64);

/// One entry, in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageStateEntry {
    /// Guest-physical address of the page, aligned to its size.
    pub address: u64,
    /// What it shall become.
    pub operation: PageOperation,
    /// Size of the page.
    pub size: PageSize,
    /// 4 KiB pages of this entry that are done: the host's progress, at most 4095.
    pub current_page: u16,
}

/// An entry word with an unknown operation, a reserved bit, or an address that its size does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidPageStateEntry;

impl PageStateEntry {
    const LARGE: u64 = 1 << 56;
    const RESERVED: u64 = 0xFE00_0000_0000_0000;

    /// A page on which nothing was done yet.
    #[must_use]
    pub const fn new(address: u64, operation: PageOperation, size: PageSize) -> Self {
        Self { address, operation, size, current_page: 0 }
    }

    /// The entry's word; address bits outside 51:12 are dropped.
    #[must_use]
    pub const fn encode(self) -> PageStateWord {
        PageStateWord(
            (self.current_page & 0xFFF) as u64
                | self.address & FRAME_MASK
                | (self.operation.to_wire() as u64) << 52
                | (self.size.to_wire() as u64) << 56,
        )
    }

    /// Reads an entry's word.
    ///
    /// # Errors
    /// If the operation does not exist, a reserved bit is set, or a 2 MiB page is not aligned.
    pub const fn decode(word: PageStateWord) -> Result<Self, InvalidPageStateEntry> {
        let PageStateWord(word) = word;
        let size = if word & Self::LARGE != 0 { PageSize::Large } else { PageSize::Small };
        let address = word & FRAME_MASK;
        if word & Self::RESERVED != 0 || !crate::address::is_aligned(address, size) {
            return Err(InvalidPageStateEntry);
        }
        let Some(operation) = PageOperation::from_wire((word >> 52) as u8 & 0xF) else {
            return Err(InvalidPageStateEntry);
        };
        Ok(Self { address, operation, size, current_page: word as u16 & 0xFFF })
    }
}

/// `SW_EXITINFO2` when the host could not finish the list: 0 means that it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageStateError {
    /// The header's indices are impossible.
    InvalidHeader,
    /// An entry is impossible.
    InvalidEntry,
    /// Anything else.
    Generic,
}

impl PageStateError {
    /// The information word (Linux `sev-common.h`, `VMGEXIT_PSC_ERROR_*`).
    #[must_use]
    pub const fn encode(self) -> u64 {
        match self {
            Self::InvalidHeader => 1 << 32 | 1,
            Self::InvalidEntry => 1 << 32 | 2,
            Self::Generic => 0x100 << 32,
        }
    }

    /// Reads the information word, `None` if it reports success. What is not in the table counts as generic.
    #[must_use]
    pub const fn decode(information: u64) -> Option<Self> {
        match information {
            0 => None,
            0x1_0000_0001 => Some(Self::InvalidHeader),
            0x1_0000_0002 => Some(Self::InvalidEntry),
            _ => Some(Self::Generic),
        }
    }
}

const _: () = assert!(size_of::<PageStateHeader>() == 8);
const _: () = assert!(size_of::<PageStateWord>() == 8);
const _: () = assert!(8 + MAXIMUM_ENTRIES * 8 == super::page::SHARED_BUFFER_BYTES);
