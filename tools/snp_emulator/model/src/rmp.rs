//! The reverse map table: who owns each page, whether the guest validated it, and what each VMPL may do with it.
//!
//! One entry for each 4 KiB of guest memory. An entry's page size is kept in all 512 entries of a
//! 2 MiB page. Source: AMD APM volume 2, section 15.36.

use alloc::vec;
use alloc::vec::Vec;
use bitflags::bitflags;
use snp_abi::address::{LARGE_PAGE_BYTES, PAGE_BYTES, PAGES_IN_LARGE_PAGE, PageSize};
use snp_abi::rmp::{Permissions, VMPL_COUNT, Vmpl};

bitflags! {
    /// State of one page.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct State: u8 {
        /// The page is the guest's (private).
        const ASSIGNED = 1;
        /// The guest validated it.
        const VALIDATED = 2;
        /// The page may be run as a VMSA.
        const VMSA = 4;
        /// The entry is part of a 2 MiB page.
        const LARGE = 8;
        /// Validated by the guest and not granted to a lower VMPL since: the contents may be what validation found.
        const FRESH = 16;
    }
}

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Ownership and validation.
    pub state: State,
    /// Permission masks by VMPL.
    pub permissions: [Permissions; VMPL_COUNT],
    /// VMPLs (bit n) that may have a translation of the page cached.
    pub mapped: u8,
}

impl Entry {
    /// A page of the host's: shared.
    pub const SHARED: Self =
        Self { state: State::empty(), permissions: [Permissions::empty(); VMPL_COUNT], mapped: 0 };

    /// A page newly assigned to the guest: VMPL0 may do everything, nobody else anything.
    pub fn assigned(size: PageSize) -> Self {
        let size = if size == PageSize::Large { State::LARGE } else { State::empty() };
        let nothing = Permissions::empty();
        let permissions = [Permissions::READ_WRITE_EXECUTE, nothing, nothing, nothing];
        Self { state: State::ASSIGNED | size, permissions, mapped: 0 }
    }

    /// Whether the page has all bits of `state`.
    pub fn is(&self, state: State) -> bool {
        self.state.contains(state)
    }

    /// The page's size as the RMP has it.
    pub fn size(&self) -> PageSize {
        if self.is(State::LARGE) { PageSize::Large } else { PageSize::Small }
    }

    /// What `vmpl` may do with the page.
    pub fn permissions(&self, vmpl: Vmpl) -> Permissions {
        self.permissions[vmpl.index()]
    }

    /// The part that must agree for two pages to be one mapping.
    pub(crate) fn same_rights(&self, other: &Self) -> bool {
        let mask = State::ASSIGNED | State::VALIDATED | State::VMSA;
        self.state & mask == other.state & mask && self.permissions == other.permissions
    }
}

/// A range of guest-physical memory that is RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryRange {
    /// First byte; page aligned.
    pub start: u64,
    /// Length in bytes; a multiple of the page size.
    pub bytes: u64,
}

struct Section {
    range: MemoryRange,
    first: usize,
}

/// The table.
pub struct Rmp {
    sections: Vec<Section>,
    entries: Vec<Entry>,
}

impl Rmp {
    /// A table in which all of `ranges` is shared.
    pub fn new(ranges: &[MemoryRange]) -> Self {
        let mut sections = Vec::new();
        let mut first = 0;
        for range in ranges {
            sections.push(Section { range: *range, first });
            first += (range.bytes / PAGE_BYTES) as usize;
        }
        Self { sections, entries: vec![Entry::SHARED; first] }
    }

    /// The ranges of RAM.
    pub fn ranges(&self) -> impl Iterator<Item = MemoryRange> + '_ {
        self.sections.iter().map(|section| section.range)
    }

    fn index(&self, address: u64) -> Option<usize> {
        let section = self
            .sections
            .iter()
            .find(|section| address.wrapping_sub(section.range.start) < section.range.bytes)?;
        Some(section.first + ((address - section.range.start) / PAGE_BYTES) as usize)
    }

    /// The entry of the page that holds `address`; none where there is no RAM.
    pub fn entry(&self, address: u64) -> Option<&Entry> {
        self.index(address).and_then(|index| self.entries.get(index))
    }

    /// As [`Self::entry`], to change.
    pub fn entry_mut(&mut self, address: u64) -> Option<&mut Entry> {
        self.index(address).and_then(|index| self.entries.get_mut(index))
    }

    /// The 512 entries of the 2 MiB page at `address`; none unless it is aligned and all RAM.
    pub fn large(&self, address: u64) -> Option<&[Entry]> {
        let first = self.large_index(address)?;
        self.entries.get(first..first + PAGES_IN_LARGE_PAGE as usize)
    }

    /// As [`Self::large`], to change.
    pub fn large_mut(&mut self, address: u64) -> Option<&mut [Entry]> {
        let first = self.large_index(address)?;
        self.entries.get_mut(first..first + PAGES_IN_LARGE_PAGE as usize)
    }

    fn large_index(&self, address: u64) -> Option<usize> {
        if !address.is_multiple_of(LARGE_PAGE_BYTES) {
            return None;
        }
        let first = self.index(address)?;
        let last = self.index(address + LARGE_PAGE_BYTES - PAGE_BYTES)?;
        (last == first + PAGES_IN_LARGE_PAGE as usize - 1).then_some(first)
    }

    /// Whether all pages of the 2 MiB around `address` have the same owner, validation and rights.
    pub fn uniform(&self, address: u64) -> bool {
        let Some(entries) = self.large(address & !(LARGE_PAGE_BYTES - 1)) else { return false };
        entries.iter().all(|entry| entry.same_rights(&entries[0]))
    }

    /// Entries of small or large pages from `address`, to change.
    pub fn pages_mut(&mut self, address: u64, size: PageSize) -> Option<&mut [Entry]> {
        match size {
            PageSize::Large => self.large_mut(address),
            PageSize::Small => self.entry_mut(address).map(core::slice::from_mut),
        }
    }

    /// Adds a range of memory, shared like the rest at first.
    pub fn add(&mut self, range: MemoryRange) {
        self.sections.push(Section { range, first: self.entries.len() });
        let pages = (range.bytes / PAGE_BYTES) as usize;
        self.entries.resize(self.entries.len() + pages, Entry::SHARED);
    }

    /// Splits a 2 MiB page into small ones (PSMASH); its rights stay.
    pub fn smash(&mut self, address: u64) {
        if let Some(entries) = self.large_mut(address & !(LARGE_PAGE_BYTES - 1)) {
            entries.iter_mut().for_each(|entry| entry.state.remove(State::LARGE));
        }
    }
}
