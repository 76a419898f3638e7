//! Places everything in the SVSM region and writes the hand-off record; order and meaning are `boot_handoff`'s.

use std::collections::BTreeMap;

use boot_handoff::{
    BOOT_STACK, DIRECT_WINDOW, GuestRecord, Handoff, KernelSegment, MAGIC, MAXIMUM_SEGMENTS, PageRange,
    REGION_ALIGNMENT, VERSION, permission,
};
use zerocopy::{FromZeros, IntoBytes};

use crate::elf::{ElfPage, LoadedElf};
use crate::page_tables::{Access, MappingError, PageTables};

/// Bytes of a page.
const PAGE: u64 = 0x1000;
/// Pages of the boot stack.
const BOOT_STACK_PAGES: u64 = 32;
/// Bytes of a large page; the region is a multiple of it.
const LARGE_PAGE: u64 = 0x20_0000;

/// What a page of the region is launched as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegionPage {
    /// Measured content.
    Content(Box<[u8; PAGE as usize]>),
    /// Measured zeros.
    Zeros,
    /// The CPUID page.
    Cpuid,
    /// The secrets page.
    Secrets,
}

/// The region, laid out.
#[derive(Debug)]
pub struct Layout {
    /// The record.
    pub handoff: Handoff,
    /// Where the record lies.
    pub handoff_page: u64,
    /// stage2's entry.
    pub entry: u32,
    /// Pages to launch, by address; parameter pages are not among them.
    pub pages: BTreeMap<u64, RegionPage>,
    /// The page tables, for whoever wants to walk them.
    pub page_tables: PageTables,
}

/// What the image's maker chooses.
#[derive(Debug, Clone)]
pub struct RegionOptions {
    /// First address of the region.
    pub base: u64,
    /// Bytes of the region.
    pub size: u64,
    /// Whether there is a page for the MADT.
    pub with_madt: bool,
    /// Log level for the record.
    pub log_level: u32,
}

/// Why a layout is impossible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// Base or size of the region.
    #[error(
        "the region {base:#x} + {size:#x} must be 2 MiB aligned, not empty, start above 0 and end below 4 GiB"
    )]
    Region {
        /// Its base.
        base: u64,
        /// Its size.
        size: u64,
    },
    /// stage2 must start the region.
    #[error("stage2 starts at {actual:#x}, not at the region's base {base:#x}; link it there or as PIE")]
    Stage2Start {
        /// Where it is linked.
        actual: u64,
        /// Where it must be.
        base: u64,
    },
    /// stage2 starts without paging.
    #[error("stage2's entry {0:#x} is not below 4 GiB")]
    Stage2Entry(u64),
    /// The kernel must be linked into the upper half, clear of window and stack.
    #[error("kernel page {0:#x} is not in the upper half of the address space above the direct window")]
    KernelAddress(u64),
    /// Too many runs of kernel pages.
    #[error("the kernel has {0} runs of pages with equal permissions, more than the record holds")]
    Segments(usize),
    /// The region is too small.
    #[error("the programs need {needed:#x} bytes, the region has {size:#x}")]
    TooSmall {
        /// Bytes needed.
        needed: u64,
        /// Bytes there.
        size: u64,
    },
    /// A page is wanted at two virtual places or one is impossible.
    #[error(transparent)]
    Mapping(#[from] MappingError),
}

/// Hands out pages from the region's start on.
struct Cursor(u64);

impl Cursor {
    fn take(&mut self, pages: u64) -> PageRange {
        let start = self.0;
        self.0 += pages * PAGE;
        PageRange { start, pages }
    }

    fn page(&mut self) -> u64 {
        self.take(1).start
    }
}

impl Layout {
    /// Lays the region out.
    ///
    /// # Errors
    /// If the programs do not fit in the region or are linked at impossible addresses.
    pub fn new(
        options: &RegionOptions,
        stage2: &LoadedElf,
        kernel: &LoadedElf,
        guest: GuestRecord,
    ) -> Result<Self, LayoutError> {
        let RegionOptions { base, size, .. } = *options;
        let aligned = base.is_multiple_of(REGION_ALIGNMENT) && size.is_multiple_of(REGION_ALIGNMENT);
        if !aligned || base == 0 || size == 0 || base.checked_add(size).is_none_or(|end| end > 1 << 32) {
            return Err(LayoutError::Region { base, size });
        }
        check_programs(options, stage2, kernel)?;
        // The number of tables decides where the kernel lies, and where it lies may decide the number of tables.
        let mut table_count = 1;
        loop {
            let mut layout = Self::with_table_count(options, stage2, kernel, guest.clone(), table_count)?;
            layout.map(stage2, kernel)?;
            if layout.page_tables.len() as u64 == table_count {
                layout.fill(stage2, kernel);
                return Ok(layout);
            }
            table_count = layout.page_tables.len() as u64;
        }
    }

    fn with_table_count(
        options: &RegionOptions,
        stage2: &LoadedElf,
        kernel: &LoadedElf,
        guest: GuestRecord,
        table_count: u64,
    ) -> Result<Self, LayoutError> {
        let RegionOptions { base, size, with_madt, log_level } = *options;
        let mut cursor = Cursor(base);
        let mut handoff = Handoff::new_zeroed();
        (handoff.magic, handoff.version, handoff.log_level) = (MAGIC, VERSION, log_level);
        handoff.launch_vcpus = 1;
        handoff.region = PageRange { start: base, pages: size / PAGE };
        let last = stage2.pages.last_key_value().map_or(base, |(address, _)| *address);
        handoff.stage2 = cursor.take((last - base) / PAGE + 1);
        handoff.cpuid_page = cursor.page();
        handoff.secrets_page = cursor.page();
        handoff.parameters_page = cursor.page();
        handoff.memory_map_page = cursor.page();
        handoff.madt_page = if with_madt { cursor.page() } else { 0 };
        let handoff_page = cursor.page();
        handoff.page_tables = cursor.take(table_count);

        let (with_content, without): (Vec<_>, Vec<_>) =
            kernel.pages.iter().partition(|(_, page)| page.content.is_some());
        let mut segments = place_runs(&with_content, &mut cursor);
        handoff.launched = range(base, cursor.0);
        let validated_start = cursor.0;
        segments.extend(place_runs(&without, &mut cursor));
        handoff.boot_stack = cursor.take(BOOT_STACK_PAGES);
        handoff.stage2_validates = range(validated_start, cursor.0);
        if cursor.0 - base > size {
            return Err(LayoutError::TooSmall { needed: cursor.0 - base, size });
        }
        if segments.len() > MAXIMUM_SEGMENTS {
            return Err(LayoutError::Segments(segments.len()));
        }
        handoff.segments[..segments.len()].copy_from_slice(&segments);
        handoff.segment_count = segments.len() as u32;
        handoff.kernel_entry = kernel.entry;
        handoff.kernel_stack_top = BOOT_STACK + BOOT_STACK_PAGES * PAGE;
        handoff.guest = guest;
        let page_tables = PageTables::new(handoff.page_tables.start);
        // Checked before: stage2's entry is below 4 GiB.
        let entry = stage2.entry as u32;
        Ok(Self { handoff, handoff_page, entry, pages: BTreeMap::new(), page_tables })
    }

    /// Maps stage2 one to one, the kernel, the boot stack, and the direct window over the whole region.
    fn map(&mut self, stage2: &LoadedElf, kernel: &LoadedElf) -> Result<(), LayoutError> {
        let handoff = &self.handoff;
        let tables = &mut self.page_tables;
        for (address, page) in &stage2.pages {
            tables.map(*address, *address, access(page))?;
        }
        for (address, page) in &kernel.pages {
            let physical = physical_of(handoff.segments(), *address).unwrap_or_default();
            tables.map(*address, physical, access(page))?;
        }
        for page in 0..BOOT_STACK_PAGES {
            let (address, physical) = (BOOT_STACK + page * PAGE, handoff.boot_stack.start + page * PAGE);
            tables.map(address, physical, Access::READ_WRITE)?;
        }
        let validated = handoff.launched.pages + handoff.stage2_validates.pages;
        for page in 0..validated {
            let physical = handoff.region.start + page * PAGE;
            tables.map(
                DIRECT_WINDOW + physical,
                physical,
                window_access(handoff, self.handoff_page, physical),
            )?;
        }
        // The rest of the last 2 MiB in small pages, what follows in large ones.
        let mut page = validated;
        while page < handoff.region.pages {
            let physical = handoff.region.start + page * PAGE;
            if physical.is_multiple_of(LARGE_PAGE) {
                tables.map_large(DIRECT_WINDOW + physical, physical)?;
                page += LARGE_PAGE / PAGE;
            } else {
                tables.map(DIRECT_WINDOW + physical, physical, Access::READ_WRITE)?;
                page += 1;
            }
        }
        Ok(())
    }

    /// Collects the pages to launch.
    fn fill(&mut self, stage2: &LoadedElf, kernel: &LoadedElf) {
        let handoff = &self.handoff;
        for page in 0..handoff.stage2.pages {
            let address = handoff.stage2.start + page * PAGE;
            let content = stage2.pages.get(&address).and_then(|page| page.content.clone());
            self.pages.insert(address, content.map_or(RegionPage::Zeros, RegionPage::Content));
        }
        self.pages.insert(handoff.cpuid_page, RegionPage::Cpuid);
        self.pages.insert(handoff.secrets_page, RegionPage::Secrets);
        let mut record = Box::new([0; PAGE as usize]);
        record[..size_of::<Handoff>()].copy_from_slice(handoff.as_bytes());
        self.pages.insert(self.handoff_page, RegionPage::Content(record));
        for (table, address) in
            self.page_tables.pages().zip((handoff.page_tables.start..).step_by(PAGE as usize))
        {
            self.pages.insert(address, RegionPage::Content(table));
        }
        for (address, page) in &kernel.pages {
            let physical = physical_of(handoff.segments(), *address);
            if let (Some(physical), Some(content)) = (physical, &page.content) {
                self.pages.insert(physical, RegionPage::Content(content.clone()));
            }
        }
    }
}

fn check_programs(
    options: &RegionOptions,
    stage2: &LoadedElf,
    kernel: &LoadedElf,
) -> Result<(), LayoutError> {
    let RegionOptions { base, size, .. } = *options;
    let first = stage2.pages.first_key_value().map_or(0, |(address, _)| *address);
    if first != base {
        return Err(LayoutError::Stage2Start { actual: first, base });
    }
    let span = stage2.pages.last_key_value().map_or(0, |(address, _)| address - first);
    if span >= size {
        return Err(LayoutError::TooSmall { needed: span, size });
    }
    if stage2.entry >= 1 << 32 {
        return Err(LayoutError::Stage2Entry(stage2.entry));
    }
    // Anything below the boot stack is the direct window's.
    match kernel.pages.keys().find(|address| **address < BOOT_STACK + BOOT_STACK_PAGES * PAGE) {
        Some(address) => Err(LayoutError::KernelAddress(*address)),
        None => Ok(()),
    }
}

/// Gives physical pages to virtual ones in order; neighbours with equal permissions become one run.
fn place_runs(pages: &[(&u64, &ElfPage)], cursor: &mut Cursor) -> Vec<KernelSegment> {
    let mut runs: Vec<KernelSegment> = Vec::new();
    for (address, page) in pages {
        let permissions = (if page.writable { permission::WRITE } else { 0 })
            | (if page.executable { permission::EXECUTE } else { 0 });
        let physical = cursor.take(1);
        match runs.last_mut() {
            Some(run)
                if run.permissions == permissions
                    && run.virtual_start + run.physical.pages * PAGE == **address =>
            {
                run.physical.pages += 1;
            }
            _ => runs.push(KernelSegment { virtual_start: **address, physical, permissions, reserved: 0 }),
        }
    }
    runs
}

fn physical_of(segments: &[KernelSegment], address: u64) -> Option<u64> {
    segments.iter().find_map(|segment| {
        let offset = address.checked_sub(segment.virtual_start)?;
        (offset < segment.physical.pages * PAGE).then_some(segment.physical.start + offset)
    })
}

fn access(page: &ElfPage) -> Access {
    Access { write: page.writable, execute: page.executable }
}

/// The direct window is never executable, and not writable where code, constants or the record lie.
fn window_access(handoff: &Handoff, handoff_page: u64, physical: u64) -> Access {
    let constant = handoff
        .segments()
        .iter()
        .any(|run| run.permissions & permission::WRITE == 0 && run.physical.contains(physical));
    if constant || physical == handoff_page || physical == handoff.cpuid_page {
        Access::READ
    } else {
        Access::READ_WRITE
    }
}

fn range(start: u64, end: u64) -> PageRange {
    PageRange { start, pages: (end - start) / PAGE }
}
