//! Guest memory: the arena of pages that tests use up, and mappings of shared pages.
//!
//! The firmware left low memory mapped one to one with the C-bit set. A shared page is reached through a second
//! address: the same page plus `SHARED_ALIAS`, mapped without the C-bit by tables of our own.

use crate::boot::{Boot, read_u64};
use crate::raw;
use crate::{ghcb, host};
use core::sync::atomic::{AtomicU64, Ordering};

/// Memory that is not validated when the payload starts: tests take pages from here.
const ARENA_START: u64 = 0x0200_0000;
const ARENA_END: u64 = 0x0600_0000;
/// Virtual distance of the shared view.
const SHARED_ALIAS: u64 = 1 << 38;
const C_BIT_MASK: u64 = 1 << 51;
const LARGE: u64 = 2 << 20;
const PAGE: u64 = 4096;
const PRESENT_WRITABLE: u64 = 3;
const LARGE_LEAF: u64 = 1 << 7;

static NEXT: AtomicU64 = AtomicU64::new(ARENA_START);
static NEXT_LARGE: AtomicU64 = AtomicU64::new(ARENA_END);

/// Page tables of the shared view, and of 4 KiB mappings for RMP instructions.
#[repr(C, align(4096))]
struct Table([AtomicU64; 512]);
static DIRECTORY: Table = Table([const { AtomicU64::new(0) }; 512]);

/// Adds the shared view to the tables that the firmware made.
pub fn initialise(boot: &Boot) {
    let arena = boot.ram.iter().any(|ram| ram.start <= ARENA_START && ARENA_END <= ram.end);
    assert!(arena, "the memory map has no room for the tests");
    let top = raw::read_cr3() & 0x0007_ffff_ffff_f000;
    assert!(read_u64(top) & C_BIT_MASK != 0, "the firmware's page tables are not private");
    let slot = SHARED_ALIAS >> 39 & 511;
    assert!(slot == 0, "the shared view shares its top entry with low memory");
    let directories = read_u64(top) & 0x0007_ffff_ffff_f000;
    // The shared view of the first GiB: entry 256 of the second level table.
    let entry = directories + (SHARED_ALIAS >> 30 & 511) * 8;
    for (index, place) in DIRECTORY.0.iter().enumerate() {
        place.store((index as u64) << 21 | LARGE_LEAF | PRESENT_WRITABLE, Ordering::SeqCst);
    }
    let table = &raw const DIRECTORY as u64;
    // SAFETY: the second level table is the firmware's gift to this guest; the entry was empty.
    unsafe { (entry as *mut u64).write_volatile(table | C_BIT_MASK | PRESENT_WRITABLE) };
    raw::invlpg(SHARED_ALIAS);
}

/// The shared view of a page.
pub fn shared_view(address: u64) -> u64 {
    address + SHARED_ALIAS
}

/// A small page that was never used; not at a 2 MiB boundary.
pub fn fresh_page() -> u64 {
    let mut page = NEXT.fetch_add(PAGE, Ordering::SeqCst);
    if page.is_multiple_of(LARGE) {
        page = NEXT.fetch_add(PAGE, Ordering::SeqCst);
    }
    assert!(page < NEXT_LARGE.load(Ordering::SeqCst), "out of test pages");
    if host::memory_is_shared() {
        assert!(ghcb::change_state(page, 1), "the host does not make a page private");
    }
    page
}

/// A large page that was never used.
pub fn fresh_large_page() -> u64 {
    let page = NEXT_LARGE.fetch_sub(LARGE, Ordering::SeqCst) - LARGE;
    assert!(page > NEXT.load(Ordering::SeqCst), "out of large test pages");
    if host::memory_is_shared() {
        assert!(ghcb::make_large_page_private(page), "the host does not make a large page private");
    }
    page
}

pub fn read(address: u64) -> u64 {
    // SAFETY: the caller names memory that this guest may read.
    unsafe { (address as *const u64).read_volatile() }
}

pub fn write(address: u64, value: u64) {
    // SAFETY: the caller names memory that this guest may write and that is free for it.
    unsafe { (address as *mut u64).write_volatile(value) };
}

/// Whether a page holds zeros only.
pub fn is_zero(page: u64, bytes: u64) -> bool {
    (page..page + bytes).step_by(8).all(|address| read(address) == 0)
}
