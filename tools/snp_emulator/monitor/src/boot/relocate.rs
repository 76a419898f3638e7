//! Moves the running image to the monitor's own memory and gives it page tables there.

use super::OwnMemory;
use core::arch::naked_asm;
use core::sync::atomic::{AtomicU64, Ordering};

/// Where link.ld puts the image: virtual = physical + this, before the move.
const HIGH_HALF: u64 = 0xffff_ffff_8000_0000;
const PRESENT_WRITABLE: u64 = 3;
const LARGE: u64 = 0x80;
const LARGE_PAGE: u64 = 2 << 20;

#[repr(C, align(4096))]
struct Table([AtomicU64; 512]);

impl Table {
    const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; 512])
    }
    fn set(&self, index: usize, entry: u64) {
        self.0[index].store(entry, Ordering::SeqCst);
    }
}

static LEVEL5: Table = Table::new();
static LEVEL4: Table = Table::new();
/// One to one, 512 GiB each: all of memory, and what 64-bit PCI registers can be placed at. Firmware puts them at the end of what
/// 40 or 46 address bits reach.
static IDENTITY: [Table; IDENTITY_TABLES] = [const { Table::new() }; IDENTITY_TABLES];
const IDENTITY_TABLES: usize = (crate::physical::MAPPED_BYTES / TABLE_BYTES) as usize;
const TABLE_BYTES: u64 = 512 << 30;
static HIGH_LEVEL3: Table = Table::new();
static HIGH_LEVEL2: Table = Table::new();

// SAFETY: the linker script defines these labels; only their addresses are taken.
unsafe extern "C" {
    static image_start: u8;
    static image_end: u8;
}

/// The continuation on the moved image.
type Continue = extern "C" fn(u64, u64, u64) -> !;

/// Copies the image to `own.start` plus its offset in a 2 MiB page, switches to page tables in the copy and continues.
pub fn to_top(own: OwnMemory, next: Continue) -> ! {
    let start = &raw const image_start as u64;
    let end = &raw const image_end as u64;
    let source = start - HIGH_HALF;
    let offset = source % LARGE_PAGE;
    let target = own.start + offset;
    assert!(target + (end - start) <= own.end, "the monitor's memory is too small for its image");
    build_tables(own.start - (source - offset), end);
    let moved = |address: u64| address - start + target;
    let root = moved(&raw const LEVEL5 as u64);
    // SAFETY: source and target do not overlap (the target is the launcher's reserve at the end of
    // memory), both are identity mapped, and the tables built above map the copy at the addresses in use.
    unsafe {
        copy_and_switch(source, target, end - start, root, next, own.start, own.end, target + (end - start))
    }
}

/// The identity map of boot/entry.s, longer, and the high half shifted by `shift` bytes of physical memory.
fn build_tables(shift: u64, end: u64) {
    let shifted = |table: &Table| table as *const Table as u64 - HIGH_HALF + shift;
    for (number, table) in IDENTITY.iter().enumerate() {
        for index in 0..512 {
            table.set(index, (number as u64 * 512 + index as u64) << 30 | LARGE | PRESENT_WRITABLE);
        }
        LEVEL4.set(number, shifted(table) | PRESENT_WRITABLE);
    }
    let pages = (end - HIGH_HALF).div_ceil(LARGE_PAGE);
    for index in 0..pages {
        HIGH_LEVEL2.set(index as usize, (index * LARGE_PAGE + shift) | LARGE | PRESENT_WRITABLE);
    }
    HIGH_LEVEL3.set(510, shifted(&HIGH_LEVEL2) | PRESENT_WRITABLE);
    LEVEL4.set(511, shifted(&HIGH_LEVEL3) | PRESENT_WRITABLE);
    LEVEL5.set(0, shifted(&LEVEL4) | PRESENT_WRITABLE);
    LEVEL5.set(511, shifted(&LEVEL4) | PRESENT_WRITABLE);
}

/// Copies `length` bytes, loads `root` into CR3 and calls `next(own start, own end, image end)`.
///
/// # Safety
/// The ranges must not overlap and the tables at `root` must map the copy at the image's virtual addresses.
#[unsafe(naked)]
unsafe extern "C" fn copy_and_switch(
    source: u64,
    target: u64,
    length: u64,
    root: u64,
    next: Continue,
    own_start: u64,
    own_end: u64,
    moved_end: u64,
) -> ! {
    // Everything stays in registers over the switch.
    naked_asm!(
        "mov r11, rcx",        // root
        "mov r10, [rsp + 8]",  // own_end
        "mov rax, [rsp + 16]", // moved_end
        "xchg rdi, rsi",       // MOVSB: RSI source, RDI target
        "mov rcx, rdx",
        "rep movsb",
        "mov cr3, r11",
        "mov rdi, r9", // own_start
        "mov rsi, r10",
        "mov rdx, rax",
        "call r8",
        "ud2",
    )
}
