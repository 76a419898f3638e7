//! The kernel's page tables: those that the image brought along, and what is added to them at run time.
//!
//! All vCPUs share them. Tables are reached through the direct window. Source: AMD APM volume 2, 5.3.

use crate::frames::{Frame, OutOfMemory};
use crate::instructions;
use crate::region;
use crate::translations;
use core::arch::asm;
use snp_abi::address::FRAME_MASK;
use spin::Mutex;
use x86_64::structures::paging::PageTableFlags;

/// Guards changes of the tables' structure; entries of windows belong to their vCPU.
static TABLES: Mutex<()> = Mutex::new(());

const ENTRIES: u64 = 512;
const LEVELS: u32 = 4;

/// What a mapping is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mapping {
    /// The firmware's own data: private, readable and writable.
    Private,
    /// A page that the host reads and writes: C-bit clear.
    Shared,
}

impl Mapping {
    fn entry(self, physical: u64) -> u64 {
        let flags = PageTableFlags::PRESENT
            | PageTableFlags::WRITABLE
            | PageTableFlags::NO_EXECUTE
            | PageTableFlags::ACCESSED
            | PageTableFlags::DIRTY;
        let c_bit = match self {
            Self::Private => region::c_bit(),
            Self::Shared => 0,
        };
        physical | c_bit | flags.bits()
    }
}

/// Physical address of the top table, as CR3 has it, with the C-bit.
pub(crate) fn root() -> u64 {
    let value: u64;
    // SAFETY: reading CR3 has no side effect.
    unsafe { asm!("mov {}, cr3", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

fn table_address(entry: u64) -> u64 {
    entry & FRAME_MASK & !region::c_bit()
}

/// The place of an entry: a virtual address in the direct window.
fn slot(table: u64, virtual_address: u64, level: u32) -> *mut u64 {
    let index = virtual_address >> (12 + 9 * (level - 1)) & (ENTRIES - 1);
    (region::virtual_address(table) + index * 8) as *mut u64
}

fn read(slot: *mut u64) -> u64 {
    // SAFETY: `slot` lies in a page table in the direct window, which is mapped for ever.
    unsafe { slot.read_volatile() }
}

fn write(slot: *mut u64, entry: u64) {
    // SAFETY: as for `read`; what the new entry maps is the caller's argument.
    unsafe { slot.write_volatile(entry) };
}

/// The slot of a virtual address at a level; missing tables are made.
fn slot_of(virtual_address: u64, wanted: u32) -> Result<*mut u64, OutOfMemory> {
    let _guard = TABLES.lock();
    let mut table = table_address(root());
    for level in (wanted + 1..=LEVELS).rev() {
        let slot = slot(table, virtual_address, level);
        let entry = read(slot);
        if entry & PageTableFlags::PRESENT.bits() == 0 {
            let frame = Frame::allocate()?;
            let flags = PageTableFlags::PRESENT | PageTableFlags::WRITABLE;
            table = frame.physical();
            write(slot, table | region::c_bit() | flags.bits());
        } else {
            table = table_address(entry);
        }
    }
    Ok(slot(table, virtual_address, wanted))
}

/// Maps one 4 KiB page.
///
/// # Safety
/// The virtual address must be unused, and the frame the caller's alone under this mapping.
pub(crate) unsafe fn map(virtual_address: u64, physical: u64, mapping: Mapping) -> Result<(), OutOfMemory> {
    let slot = slot_of(virtual_address, 1)?;
    write(slot, mapping.entry(physical));
    instructions::invlpg(virtual_address);
    Ok(())
}

/// An entry of the tables that one vCPU changes as it likes: a window.
#[derive(Debug)]
pub(crate) struct WindowEntry {
    slot: *mut u64,
    virtual_address: u64,
    large: bool,
}

// SAFETY: the entry is its owner's alone; moving the owner to another vCPU before it runs is what start-up does.
unsafe impl Send for WindowEntry {}

impl WindowEntry {
    /// Prepares the entry for a virtual address that nothing else uses.
    pub(crate) fn new(virtual_address: u64, large: bool) -> Result<Self, OutOfMemory> {
        let level = if large { 2 } else { 1 };
        Ok(Self { slot: slot_of(virtual_address, level)?, virtual_address, large })
    }

    /// Points the window at a page outside of the firmware's region; returns where it shows.
    pub(crate) fn show(&mut self, physical: u64) -> u64 {
        let large = if self.large { PageTableFlags::HUGE_PAGE.bits() } else { 0 };
        write(self.slot, Mapping::Private.entry(physical) | large);
        instructions::invlpg(self.virtual_address);
        self.virtual_address
    }

    /// Where the window shows.
    pub(crate) fn virtual_address(&self) -> u64 {
        self.virtual_address
    }
}

/// Removes the mapping of the top-level entry that holds a virtual address: stage2's identity mapping.
///
/// # Safety
/// Nothing under that entry may be in use.
pub(crate) unsafe fn drop_top_entry(virtual_address: u64) {
    let _guard = TABLES.lock();
    write(slot(table_address(root()), virtual_address, LEVELS), 0);
    translations::flush();
}
