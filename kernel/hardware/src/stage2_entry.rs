//! The first instructions of stage2; they call `stage2_main`, which the program defines.

use crate::termination::{REASON_SET, Reason};
use core::arch::global_asm;

/// What the entry code must know of the hand-off record, whose crate is none of ours: byte offsets.
/// stage2 asserts that they are right.
pub mod offsets {
    /// `Handoff::cpuid_page`.
    pub const CPUID_PAGE: usize = 0x50;
    /// `Handoff::page_tables.start`.
    pub const TABLES_START: usize = 0x78;
    /// `Handoff::page_tables.pages`.
    pub const TABLES_PAGES: usize = 0x80;
    /// `boot_handoff::DIRECT_WINDOW`.
    pub const DIRECT_WINDOW: u64 = 0xffff_8000_0000_0000;
}

/// The GHCB MSR value that ends the guest with one of our reasons.
const fn terminate(reason: Reason) -> u32 {
    0x100 | (REASON_SET as u32) << 12 | (reason as u32) << 16
}

/// What `stage2_main` returns, in RAX and RDX.
#[repr(C)]
pub struct Next {
    /// The kernel's entry, virtual.
    pub entry: u64,
    /// Its stack, virtual.
    pub stack: u64,
}

global_asm!(
    include_str!("stage2_entry.s"),
    cpuid_page = const offsets::CPUID_PAGE,
    tables_start = const offsets::TABLES_START,
    tables_pages = const offsets::TABLES_PAGES,
    direct_window = const offsets::DIRECT_WINDOW,
    terminate_cpuid = const terminate(Reason::CpuidPage),
    terminate_not_snp = const terminate(Reason::NotSnp),
);
