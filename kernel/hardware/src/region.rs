//! The firmware's own region of memory: where it lies, and how it is reached.
//!
//! The image's page tables map all of it at `DIRECT_WINDOW + physical address`. Everything outside of the region is the
//! guest's or the host's and is only reached through [`crate::window`].

use crate::termination::{Reason, terminate};
use core::sync::atomic::{AtomicU64, Ordering};

/// Virtual address of physical address 0 in the window on the region.
pub const DIRECT_WINDOW: u64 = 0xffff_8000_0000_0000;

static START: AtomicU64 = AtomicU64::new(0);
static END: AtomicU64 = AtomicU64::new(0);
static C_BIT: AtomicU64 = AtomicU64::new(0);

/// Sets the facts, once, before anything else of this crate is used.
pub(crate) fn initialise(start: u64, end: u64, c_bit_position: u32) {
    START.store(start, Ordering::SeqCst);
    END.store(end, Ordering::SeqCst);
    C_BIT.store(1u64.checked_shl(c_bit_position).unwrap_or(0), Ordering::SeqCst);
}

/// First physical address.
pub fn start() -> u64 {
    START.load(Ordering::Relaxed)
}

/// First physical address behind the region.
pub fn end() -> u64 {
    END.load(Ordering::Relaxed)
}

/// Whether any of `bytes` bytes from a physical address belongs to the firmware; true as well for a range that wraps.
pub fn overlaps(address: u64, bytes: u64) -> bool {
    address.checked_add(bytes).is_none_or(|range_end| address < end() && start() < range_end)
}

/// The bit of a page table entry that makes a mapping private.
pub fn c_bit() -> u64 {
    C_BIT.load(Ordering::Relaxed)
}

/// Virtual address of the firmware's own memory; anything else ends the firmware.
pub(crate) fn virtual_address(physical: u64) -> u64 {
    if physical < start() || physical >= end() {
        terminate(Reason::Handoff);
    }
    DIRECT_WINDOW | physical
}
