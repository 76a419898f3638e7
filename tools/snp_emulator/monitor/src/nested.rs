//! Nested page tables: guest-physical (with the C-bit as bit 51) to host-physical, five levels; and the same with four
//! for devices, as the tables of the IOMMU look alike.
//!
//! One [`NestedTables`] per VMPL serves every vCPU. Entries are made when a guest first touches a
//! page and the model allows it, and removed when the model says that the page changed. QEMU flushes
//! its TLB on every VMRUN and VMEXIT, so removing an entry and making every other processor leave the
//! guest (`crate::shootdown`) is enough.

use crate::heap;
use alloc::vec::Vec;

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/// Levels of the tables for vCPUs, which reach the C-bit.
const LEVELS: u32 = 5;
/// Level of a leaf that maps 4 KiB.
const SMALL_LEVEL: u32 = 1;
/// Level of a leaf that maps 2 MiB.
const LARGE_LEVEL: u32 = 2;

/// Size of one mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapSize {
    /// 4 KiB.
    Small,
    /// 2 MiB.
    Large,
}

/// What a mapping allows. QEMU's nested tables have no finer grain than this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Writes are allowed.
    pub write: bool,
    /// Instruction fetches are allowed.
    pub execute: bool,
}

/// The nested tables of one VMPL.
pub struct NestedTables {
    levels: u32,
    root: u64,
    spare: Vec<u64>,
}

fn index(guest: u64, level: u32) -> u64 {
    guest >> (12 + 9 * (level - 1)) & 511
}

fn read_entry(table: u64, index: u64) -> u64 {
    // SAFETY: `table` is a frame that `NestedTables` took from the heap for good, `index` is below 512.
    unsafe { ((table + index * 8) as *const u64).read_volatile() }
}

fn write_entry(table: u64, index: u64, entry: u64) {
    // SAFETY: as for `read_entry`.
    unsafe { ((table + index * 8) as *mut u64).write_volatile(entry) };
}

fn leaf_entry(host: u64, rights: Rights) -> u64 {
    let mut entry = host | PRESENT | USER;
    if rights.write {
        entry |= WRITABLE;
    }
    if !rights.execute {
        entry |= NO_EXECUTE;
    }
    entry
}

impl NestedTables {
    /// Makes empty tables for vCPUs.
    pub fn new() -> Self {
        Self::with_levels(LEVELS)
    }

    /// Makes empty tables of this height.
    pub fn with_levels(levels: u32) -> Self {
        Self { levels, root: heap::frame(1), spare: Vec::new() }
    }

    /// Physical address of the top table, for the VMCB.
    pub fn root(&self) -> u64 {
        self.root
    }

    /// Maps one page; what was mapped there before is replaced.
    pub fn map(&mut self, guest: u64, host: u64, size: MapSize, rights: Rights) {
        match size {
            MapSize::Small => self.set_leaf(guest, SMALL_LEVEL, leaf_entry(host, rights)),
            MapSize::Large => self.set_leaf(guest, LARGE_LEVEL, leaf_entry(host, rights) | LARGE),
        }
    }

    /// Maps small pages of the 2 MiB at `guest`, given by number and host address; what was mapped there before is replaced.
    pub fn map_some(&mut self, guest: u64, pages: impl Iterator<Item = (u64, u64)>, rights: Rights) {
        let table = self.table_of(guest, SMALL_LEVEL);
        for (number, host) in pages {
            write_entry(table, number % 512, leaf_entry(host, rights));
        }
    }

    /// The table that holds the leaf of `guest` at this level; made where there is none.
    fn table_of(&mut self, guest: u64, leaf: u32) -> u64 {
        (leaf + 1..=self.levels).rev().fold(self.root, |table, level| self.table_below(table, guest, level))
    }

    fn set_leaf(&mut self, guest: u64, leaf: u32, entry: u64) {
        let table = self.table_of(guest, leaf);
        let slot = index(guest, leaf);
        let old = read_entry(table, slot);
        write_entry(table, slot, entry);
        if leaf == LARGE_LEVEL && old & PRESENT != 0 && old & LARGE == 0 {
            self.retire(old & ADDRESS);
        }
    }

    /// The table that the entry of `guest` at `level` points to; made, or split from a large page, where needed.
    fn table_below(&mut self, table: u64, guest: u64, level: u32) -> u64 {
        let slot = index(guest, level);
        let old = read_entry(table, slot);
        if old & PRESENT != 0 && old & LARGE == 0 {
            return old & ADDRESS;
        }
        let new = self.spare.pop().unwrap_or_else(|| heap::frame(1));
        if old & PRESENT != 0 {
            for part in 0..512 {
                write_entry(new, part, (old & !LARGE) + (part << 12));
            }
        }
        write_entry(table, slot, new | PRESENT | WRITABLE | USER);
        new
    }

    fn retire(&mut self, table: u64) {
        for part in 0..512 {
            write_entry(table, part, 0);
        }
        self.spare.push(table);
    }

    /// Removes the mappings of one page (and with `Large` of all 512 small ones); says whether there was any.
    pub fn unmap(&mut self, guest: u64, size: MapSize) -> bool {
        let Some((table, level)) = self.lowest_table(guest) else { return false };
        let slot = index(guest, level);
        let old = read_entry(table, slot);
        match (size, level) {
            (_, LARGE_LEVEL) if old & PRESENT == 0 => false,
            // A large mapping goes as a whole: the rest of it faults in again.
            (_, LARGE_LEVEL) => {
                write_entry(table, slot, 0);
                true
            }
            (MapSize::Small, _) => {
                write_entry(table, slot, 0);
                old & PRESENT != 0
            }
            (MapSize::Large, _) => {
                let mut present = false;
                for part in 0..512 {
                    present |= read_entry(table, part) & PRESENT != 0;
                    write_entry(table, part, 0);
                }
                present
            }
        }
    }

    /// The table that holds the leaf of `guest`: at level 1, or at level 2 where no small table exists.
    fn lowest_table(&self, guest: u64) -> Option<(u64, u32)> {
        let mut table = self.root;
        for level in (LARGE_LEVEL..=self.levels).rev() {
            let entry = read_entry(table, index(guest, level));
            if level == LARGE_LEVEL && (entry & PRESENT == 0 || entry & LARGE != 0) {
                return Some((table, LARGE_LEVEL));
            }
            if entry & PRESENT == 0 {
                return None;
            }
            table = entry & ADDRESS;
        }
        Some((table, SMALL_LEVEL))
    }
}
