//! Changes of ownership: page state change requests, and conversions that the host makes by itself.
//!
//! Follows KVM with guest memory: a private access to a shared page, and a shared access to a page
//! that was never validated, reach the host as faults, and the host converts the page.

use crate::Contents;
use crate::machine::{Actor, Changed, Machine};
use crate::rmp::{Entry, State};
use crate::violation::Fault;
use snp_abi::address::{PAGE_BYTES, PageSize, is_aligned};
use snp_abi::ghcb::page_state::{PageOperation, PageStateEntry, PageStateError, PageStateWord};

/// Why a page state change is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedChange {
    /// The address is not aligned to the page size, or has no memory.
    Address,
}

/// Operation of an entry's word.
fn is_known_operation(word: u64) -> bool {
    let operation = PageOperation::from_wire((word >> 52) as u8 & 0xf);
    matches!(operation, Some(PageOperation::Private | PageOperation::Shared))
}

/// An entry's word once all of its pages are done.
pub fn done(word: u64) -> u64 {
    let size = if word & LARGE_ENTRY != 0 { PageSize::Large } else { PageSize::Small };
    word & !0xfff | size.small_pages()
}

/// Page size in an entry's word.
const LARGE_ENTRY: u64 = 1 << 56;

impl Machine {
    /// A page state change that the guest asked for; returns the mappings to remove.
    pub fn change_page_state(
        &mut self,
        actor: Actor,
        address: u64,
        size: PageSize,
        operation: PageOperation,
        contents: &mut dyn Contents,
    ) -> Result<Option<Changed>, RefusedChange> {
        if !is_aligned(address, size) {
            return Err(RefusedChange::Address);
        }
        if self.rmp.entry(address).is_none() {
            // QEMU ignores what is to be shared where there is no memory (accel/kvm/kvm-all.c, kvm_convert_memory).
            let ignored = self.configuration.contract.follows_kvm && operation == PageOperation::Shared;
            return if ignored { Ok(None) } else { Err(RefusedChange::Address) };
        }
        if size == PageSize::Large && self.rmp.large(address).is_none() {
            return Err(RefusedChange::Address);
        }
        self.statistics.page_state_changes += 1;
        match operation {
            PageOperation::Private => Ok(self.make_private(address, size)),
            PageOperation::Shared => {
                if let Some(address) = self.stale.first_in(address, size.bytes()) {
                    self.report(actor, Fault::SharedBeforeFlush { address });
                }
                Ok(self.make_shared(address, size, contents))
            }
            PageOperation::Psmash => {
                self.smash(address);
                Ok(None)
            }
            PageOperation::Unsmash => {
                self.unsmash(address);
                Ok(None)
            }
        }
    }

    /// One entry of a list of page state changes, as its word; returns the mappings to remove.
    pub fn change_entry(
        &mut self,
        actor: Actor,
        word: u64,
        contents: &mut dyn Contents,
    ) -> Result<Option<Changed>, PageStateError> {
        let follows_kvm = self.configuration.contract.follows_kvm;
        if follows_kvm && !is_known_operation(word) {
            // Hints, and whatever else, count as done (sev.c:3882).
            return Ok(None);
        }
        let entry = PageStateEntry::decode(PageStateWord(word)).map_err(|_| PageStateError::InvalidEntry)?;
        if follows_kvm && u64::from(entry.current_page) > entry.size.small_pages() {
            return Err(PageStateError::InvalidEntry);
        }
        let PageStateEntry { address, size, operation, .. } = entry;
        let failure = if follows_kvm { PageStateError::Generic } else { PageStateError::InvalidEntry };
        self.change_page_state(actor, address, size, operation, contents).map_err(|_| failure)
    }

    /// Assigns what is not the guest's yet; pages that already are keep their state.
    fn make_private(&mut self, address: u64, size: PageSize) -> Option<Changed> {
        let whole_large = size == PageSize::Large
            && self.configuration.large_pages
            && self
                .rmp
                .large(address)
                .is_some_and(|entries| entries.iter().all(|entry| !entry.is(State::ASSIGNED)));
        let entry_size = if whole_large { PageSize::Large } else { PageSize::Small };
        let mut any = false;
        for page in 0..size.small_pages() {
            let page = address + page * PAGE_BYTES;
            if let Some(entry) = self.rmp.entry_mut(page).filter(|entry| !entry.is(State::ASSIGNED)) {
                *entry = Entry::assigned(entry_size);
                any = true;
            }
        }
        // Shared mappings of the pages must go; nothing private was cached.
        any.then_some(Changed { address, size })
    }

    fn make_shared(&mut self, address: u64, size: PageSize, contents: &mut dyn Contents) -> Option<Changed> {
        // A part of a large entry cannot be given away alone.
        if size == PageSize::Small {
            self.smash(address);
        }
        let mut any = false;
        for page in 0..size.small_pages() {
            let page = address + page * PAGE_BYTES;
            if let Some(entry) = self.rmp.entry_mut(page).filter(|entry| entry.is(State::ASSIGNED)) {
                *entry = Entry::SHARED;
                contents.scramble(page, PAGE_BYTES);
                any = true;
            }
        }
        any.then_some(Changed { address, size })
    }

    /// Joins 512 small entries with the same state, as UNSMASH asks; nothing happens where they differ.
    fn unsmash(&mut self, address: u64) {
        if !self.uniform(address) {
            return;
        }
        for entry in self.rmp.large_mut(address).into_iter().flatten() {
            if entry.is(State::ASSIGNED) {
                entry.state.insert(State::LARGE);
            }
        }
    }

    /// The host assigns a page because the guest accessed it as private.
    pub(crate) fn assign_for_access(&mut self, address: u64) {
        let page = address & !(PAGE_BYTES - 1);
        if self.rmp.entry(page).is_none_or(|entry| entry.is(State::ASSIGNED)) {
            return;
        }
        self.statistics.implicit_conversions += 1;
        self.make_private(page, PageSize::Small);
    }

    /// The host takes a page back because the guest accessed it as shared before it was ever validated.
    pub(crate) fn share_for_access(&mut self, address: u64, contents: &mut dyn Contents) -> Option<Changed> {
        self.statistics.implicit_conversions += 1;
        self.make_shared(address & !(PAGE_BYTES - 1), PageSize::Small, contents)
    }
}
