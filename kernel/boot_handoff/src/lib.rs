//! The record that `igvm-image` writes into a measured page for stage2 and the kernel.
//!
//! It says where everything in the SVSM region lies, so that neither program computes or searches what was known when
//! the image was built. The page is part of the launch digest: whoever trusts the measurement trusts the record, and
//! reading it checks only that both sides speak the same version.
//!
//! # The region
//!
//! `[base, base + size)`, 2 MiB aligned, in this order:
//!
//! 1. stage2 (all of its memory, zeroed parts included), entered at its ELF entry in 32-bit protected mode;
//! 2. the CPUID page, the secrets page;
//! 3. the parameter pages: [`Parameters`], memory map, MADT (if the image asks for one);
//! 4. this record;
//! 5. the page tables, the root first;
//! 6. the kernel's pages with content. Here ends what was launched: all of the above is validated already;
//! 7. the kernel's pages without content and its boot stack: stage2 validates and zeroes them;
//! 8. the rest, which the kernel validates as it needs it.
//!
//! # Who passes what
//!
//! The image's VMSA carries the record's physical address in ESI when stage2 starts. stage2 sets the C-bit in every
//! present entry of the page tables (they are written without it, because its position is known only at run time),
//! loads the root, and enters the kernel at [`Handoff::kernel_entry`] with RSP = [`Handoff::kernel_stack_top`] and
//! RDI = the record's address in the direct window.
//!
//! # Virtual memory
//!
//! The tables map stage2 at its physical address (with its own permissions; the kernel drops that mapping), the
//! kernel's segments with their own permissions, the boot stack with an unmapped page below it, and everything that is
//! validated when the kernel starts once more at [`DIRECT_WINDOW`] + physical address: never executable, and writable
//! only where no kernel code or constant, record or CPUID page lies. The window's tables reach at least 16 pages
//! further (if the region does), so that the kernel can map its first free pages before it has made a table. No page
//! is writable and executable. Accessed and dirty bits are set.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod guest;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub use guest::{
    BlobDigest, ElfGuest, FirmwareGuest, FirmwareSection, Guest, GuestKind, GuestPages, GuestRecord,
    LinuxGuest, MAXIMUM_FIRMWARE_SECTIONS, MAXIMUM_GUEST_RANGES,
};

/// `VOUCHSAF`, the record's first 8 bytes.
pub const MAGIC: [u8; 8] = *b"VOUCHSAF";
/// Layout version; each change of the layout gets a new one.
pub const VERSION: u32 = 2;

/// Where the region lies unless the image says otherwise.
pub const DEFAULT_REGION_BASE: u64 = 0x0800_0000;
/// How large the region is unless the image says otherwise.
pub const DEFAULT_REGION_SIZE: u64 = 0x0100_0000;
/// Base and size of the region are multiples of this.
pub const REGION_ALIGNMENT: u64 = 0x20_0000;

/// Virtual address at which physical address 0 would be seen: the first byte of the upper half.
pub const DIRECT_WINDOW: u64 = 0xFFFF_8000_0000_0000;
/// Virtual address of the boot stack's first page; the page below is not mapped.
pub const BOOT_STACK: u64 = 0xFFFF_FF80_0000_1000;

/// Segments that a kernel may have.
pub const MAXIMUM_SEGMENTS: usize = 8;

/// A range of 4 KiB pages in physical memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PageRange {
    /// Address of the first page.
    pub start: u64,
    /// Number of pages; zero if the range is empty.
    pub pages: u64,
}

impl PageRange {
    /// The address behind the last page, `None` if it does not fit in 64 bits.
    #[must_use]
    pub const fn end(self) -> Option<u64> {
        match self.pages.checked_mul(0x1000) {
            Some(bytes) => self.start.checked_add(bytes),
            None => None,
        }
    }

    /// Whether the range holds that address.
    #[must_use]
    pub const fn contains(self, address: u64) -> bool {
        match self.end() {
            Some(end) => self.start <= address && address < end,
            None => false,
        }
    }
}

/// What the tables allow for a kernel segment.
pub mod permission {
    /// Writable.
    pub const WRITE: u32 = 1 << 0;
    /// Executable; never together with [`WRITE`].
    pub const EXECUTE: u32 = 1 << 1;
}

/// A run of kernel pages that are contiguous both in virtual and in physical memory. A segment whose tail has no
/// content appears as two runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct KernelSegment {
    /// Virtual address of the first page.
    pub virtual_start: u64,
    /// The physical pages.
    pub physical: PageRange,
    /// See [`permission`].
    pub permissions: u32,
    /// Zero.
    pub reserved: u32,
}

/// The first parameter page, filled by the loader: the host's word, not measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Parameters {
    /// Number of vCPUs.
    pub vcpu_count: u32,
    /// IGVM environment information.
    pub environment: u32,
}

/// The record. Every address is physical unless its name says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Handoff {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// [`VERSION`].
    pub version: u32,
    /// How much the kernel logs: 0 nothing, 1 errors, to 5 everything.
    pub log_level: u32,
    /// The whole region.
    pub region: PageRange,
    /// Pages that were launched: validated before the first instruction. Starts at the region's base.
    pub launched: PageRange,
    /// Pages that stage2 validates and zeroes. Starts where [`Handoff::launched`] ends.
    pub stage2_validates: PageRange,
    /// stage2 itself. It stays as it is: launch VMSAs of other vCPUs lead to its first instructions.
    pub stage2: PageRange,
    /// CPUID page.
    pub cpuid_page: u64,
    /// Secrets page.
    pub secrets_page: u64,
    /// [`Parameters`].
    pub parameters_page: u64,
    /// IGVM memory map.
    pub memory_map_page: u64,
    /// ACPI MADT, 0 if the image has none.
    pub madt_page: u64,
    /// Page tables; the first page is the root.
    pub page_tables: PageRange,
    /// Virtual address of the kernel's entry.
    pub kernel_entry: u64,
    /// Virtual address behind the boot stack.
    pub kernel_stack_top: u64,
    /// The boot stack's pages.
    pub boot_stack: PageRange,
    /// Where the kernel's pages lie.
    pub segments: [KernelSegment; MAXIMUM_SEGMENTS],
    /// Runs in [`Handoff::segments`].
    pub segment_count: u32,
    /// vCPUs for which the image has registers: with any other number the firmware ends. 0 where the host launches none but the first,
    /// so that the number does not matter.
    pub launch_vcpus: u32,
    /// What runs at VMPL2.
    pub guest: GuestRecord,
}

/// Why a page is not a record that this program understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidHandoff {
    /// Shorter than the record.
    Length,
    /// Another magic.
    Magic,
    /// Another layout; its version is given.
    Version(u32),
    /// A count is larger than its table.
    Count,
    /// An unknown kind of guest; its number is given.
    GuestKind(u32),
}

impl Handoff {
    /// Reads the record at the start of its page.
    ///
    /// # Errors
    /// If magic or version differ, or a count or kind is impossible.
    pub fn parse(page: &[u8]) -> Result<&Self, InvalidHandoff> {
        let (handoff, _) = Self::ref_from_prefix(page).map_err(|_| InvalidHandoff::Length)?;
        if handoff.magic != MAGIC {
            return Err(InvalidHandoff::Magic);
        }
        if handoff.version != VERSION {
            return Err(InvalidHandoff::Version(handoff.version));
        }
        if handoff.segment_count as usize > MAXIMUM_SEGMENTS {
            return Err(InvalidHandoff::Count);
        }
        handoff.guest.decode()?;
        Ok(handoff)
    }

    /// The kernel's runs of pages.
    #[must_use]
    pub fn segments(&self) -> &[KernelSegment] {
        self.segments.get(..self.segment_count as usize).unwrap_or_default()
    }

    /// The part of the region that nobody has validated yet when the kernel starts.
    #[must_use]
    pub fn free(&self) -> Option<PageRange> {
        let start = self.stage2_validates.end()?;
        let bytes = self.region.end()?.checked_sub(start)?;
        Some(PageRange { start, pages: bytes >> 12 })
    }
}

const _: () = assert!(size_of::<Handoff>() <= 0x1000, "the record has one page");
