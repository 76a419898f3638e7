//! What an IGVM loader writes into parameter pages: memory map, environment, number of vCPUs (IGVM specification;
//! `igvm_defs` 0.5). All of it is the host's word, not measured.

use core::mem::offset_of;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::address::PAGE_BYTES;
use crate::wire_enum::wire_enum;

wire_enum! {
    /// Kind of a memory map entry.
    pub enum MemoryKind: u16 {
        /// RAM.
        Memory = 0,
        /// Reserved by the platform.
        PlatformReserved = 1,
        /// Persistent memory.
        Persistent = 2,
        /// RAM that the host protects for a higher level.
        Vtl2Protectable = 3,
        /// RAM for a special purpose.
        SpecificPurpose = 4,
        /// RAM that the guest shall not see.
        Hidden = 5,
    }
}

/// One entry of the memory map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct MemoryMapEntry {
    /// Number of the first 4 KiB page.
    pub first_page: u64,
    /// Number of 4 KiB pages; zero ends the map.
    pub page_count: u64,
    /// [`MemoryKind`].
    pub kind: u16,
    /// Flags, none of which matter here.
    pub flags: u16,
    /// Zero.
    pub reserved: u32,
}

/// Entries that fit in one page.
pub const MAXIMUM_MEMORY_MAP_ENTRIES: usize = 0x1000 / size_of::<MemoryMapEntry>();

/// A range of the memory map in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryRange {
    /// First address.
    pub start: u64,
    /// Bytes, a multiple of 4 KiB, never zero.
    pub length: u64,
    /// What the host says it is, `None` for a kind that this code does not know.
    pub kind: Option<MemoryKind>,
}

/// An entry that reaches beyond the address space; its position is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidMemoryMap(pub usize);

/// The ranges of a memory map, a private copy of the parameter page; ends at the first entry without pages.
///
/// # Errors
/// Yields [`InvalidMemoryMap`] for an entry whose end does not fit in 52 bits; overlaps are not looked for.
pub fn memory_ranges(
    entries: &[MemoryMapEntry],
) -> impl Iterator<Item = Result<MemoryRange, InvalidMemoryMap>> {
    entries.iter().take_while(|entry| entry.page_count != 0).enumerate().map(|(index, entry)| {
        let end = entry.first_page.checked_add(entry.page_count);
        if end.is_none_or(|end| end > 1 << 40) {
            return Err(InvalidMemoryMap(index));
        }
        Ok(MemoryRange {
            start: entry.first_page.wrapping_mul(PAGE_BYTES),
            length: entry.page_count.wrapping_mul(PAGE_BYTES),
            kind: MemoryKind::from_wire(entry.kind),
        })
    })
}

/// Environment information: bit 0 says that memory not in the file is shared when the guest starts.
pub const ENVIRONMENT_MEMORY_IS_SHARED: u32 = 1;

const _: () = {
    assert!(size_of::<MemoryMapEntry>() == 24);
    assert!(offset_of!(MemoryMapEntry, page_count) == 8);
    assert!(offset_of!(MemoryMapEntry, kind) == 16);
    assert!(offset_of!(MemoryMapEntry, flags) == 18);
};
