//! Windows into guest memory: one page at a time, copies only.
//!
//! The pages that a window shows are written by guests at any time, so nothing here ever makes a
//! reference into one. A window refuses the firmware's own region, so that no address of a guest's choosing can
//! reach it; frames that the firmware lends to the guest (its first VMSA) are the listed exception.

use crate::cpu;
use crate::frames::{self, OutOfMemory};
use crate::guest_access::{self, NotValidated};
use crate::page_tables::WindowEntry;
use crate::region;
use crate::termination::{Reason, terminate};
use core::sync::atomic::{AtomicU64, Ordering};
use snp_abi::address::{PAGE_BYTES, PAGE_LENGTH, PageSize, is_aligned};
use snp_abi::ghcb::page_state::PageOperation;
use snp_abi::rmp::{RmpAdjust, RmpStatus};

/// Frames of the region that play a part for the guest.
static LENT: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];

/// Opens a frame of the firmware's own to windows, because it is a VMSA of the guest's.
pub(crate) fn lend(physical: u64) -> Result<(), OutOfMemory> {
    let free = LENT.iter().find(|slot| slot.load(Ordering::SeqCst) == 0).ok_or(OutOfMemory)?;
    free.store(physical, Ordering::SeqCst);
    Ok(())
}

fn is_lent(address: u64) -> bool {
    LENT.iter().any(|slot| slot.load(Ordering::Relaxed) == address)
}

/// Why a window does not show a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowError {
    /// The page lies in the firmware's own region, or is not aligned.
    NotGuestMemory,
    /// The host has it.
    NotValidated(NotValidated),
}

impl From<NotValidated> for WindowError {
    fn from(error: NotValidated) -> Self {
        Self::NotValidated(error)
    }
}

/// Small windows of a vCPU: a call's arguments, its calling area and its VMSA stay in one each.
pub(crate) const SMALL_WINDOWS: usize = 4;

/// One vCPU's windows.
///
/// A window stays open until it is needed for another page: what it showed last is what the next call needs, too. What it may show
/// is decided anew for each access. A page that is rescinded meanwhile cannot be reached through it: the flush that follows each
/// rescission is for VMPL0's translations, too, and no new one can be made for a page that is not validated.
#[derive(Debug)]
pub struct Window {
    small: [(WindowEntry, Option<u64>); SMALL_WINDOWS],
    /// The small window that the next new page gets.
    next: usize,
    large: WindowEntry,
}

impl Window {
    /// Windows at virtual addresses that nothing else uses: [`SMALL_WINDOWS`] pages from `small` on, and `large`.
    pub(crate) fn new(small: u64, large: u64) -> Result<Self, OutOfMemory> {
        let entry = |number: u64| Ok((WindowEntry::new(small + number * PAGE_BYTES, false)?, None));
        let small = [entry(0)?, entry(1)?, entry(2)?, entry(3)?];
        Ok(Self { small, next: 0, large: WindowEntry::new(large, true)? })
    }

    fn show(&mut self, address: u64, size: PageSize) -> Result<u64, WindowError> {
        match size {
            PageSize::Small => self.show_small(address),
            PageSize::Large => self.show_large(address),
        }
    }

    fn show_small(&mut self, address: u64) -> Result<u64, WindowError> {
        let own = region::overlaps(address, PAGE_BYTES) && !is_lent(address);
        if own || !is_aligned(address, PageSize::Small) {
            return Err(WindowError::NotGuestMemory);
        }
        let shown = self.small.iter().find(|(_, shown)| *shown == Some(address));
        if let Some((entry, _)) = shown {
            return Ok(entry.virtual_address());
        }
        let (entry, shown) = &mut self.small[self.next];
        self.next = (self.next + 1) % SMALL_WINDOWS;
        *shown = Some(address);
        Ok(entry.show(address))
    }

    fn show_large(&mut self, address: u64) -> Result<u64, WindowError> {
        if region::overlaps(address, PageSize::Large.bytes()) || !is_aligned(address, PageSize::Large) {
            return Err(WindowError::NotGuestMemory);
        }
        Ok(self.large.show(address))
    }

    /// Copies bytes out of a page.
    pub fn read(&mut self, page: u64, offset: usize, bytes: &mut [u8]) -> Result<(), WindowError> {
        check_offset(offset, bytes.len())?;
        let place = self.show(page, PageSize::Small)? + offset as u64;
        // SAFETY: the window shows a whole page, the range lies in it, and the slice is the caller's.
        Ok(unsafe { guest_access::copy(place, bytes.as_mut_ptr() as u64, bytes.len()) }?)
    }

    /// Copies bytes into a page.
    pub fn write(&mut self, page: u64, offset: usize, bytes: &[u8]) -> Result<(), WindowError> {
        check_offset(offset, bytes.len())?;
        let place = self.show(page, PageSize::Small)? + offset as u64;
        // SAFETY: as for `read`; the page holds nothing of Rust's, because it is not the firmware's.
        Ok(unsafe { guest_access::copy(bytes.as_ptr() as u64, place, bytes.len()) }?)
    }

    /// Reads quadwords at these offsets in a page.
    pub fn read_words(&mut self, page: u64, offsets: &[usize], words: &mut [u64]) -> Result<(), WindowError> {
        let place = self.show(page, PageSize::Small)?;
        let read = offsets.iter().zip(words).try_for_each(|(offset, word)| {
            // SAFETY: the window shows a whole page, and the masked offset lies in it.
            *word = unsafe { guest_access::load(place + word_offset(*offset)) }?;
            Ok::<(), NotValidated>(())
        });
        Ok(read?)
    }

    /// Writes quadwords at these offsets in a page, in their order.
    pub fn write_words(&mut self, page: u64, words: &[(usize, u64)]) -> Result<(), WindowError> {
        let place = self.show(page, PageSize::Small)?;
        // SAFETY: as for `read_words`; the page holds nothing of Rust's, because it is not the firmware's.
        let store = |(offset, word): &(usize, u64)| unsafe {
            guest_access::store(place + word_offset(*offset), *word)
        };
        let written = words.iter().try_for_each(store);
        Ok(written?)
    }

    /// Asks the host for a page that is about to be validated, where memory is the host's at first.
    pub fn request(&mut self, page: u64, size: PageSize) -> Result<(), WindowError> {
        if frames::memory_is_shared() { self.take_back(page, size) } else { Ok(()) }
    }

    /// Asks the host for a page that may be shared with it.
    pub fn take_back(&mut self, page: u64, size: PageSize) -> Result<(), WindowError> {
        if region::overlaps(page, size.bytes()) || !is_aligned(page, size) {
            return Err(WindowError::NotGuestMemory);
        }
        // SAFETY: the page is outside of the firmware's region, where Rust has everything.
        let asked =
            cpu::with_ghcb(|ghcb| unsafe { ghcb.change_page_state(page, PageOperation::Private, size) });
        match asked {
            Some(Ok(())) => Ok(()),
            _ => terminate(Reason::PageStateChange),
        }
    }

    /// Fills a page with zeros.
    pub fn zero(&mut self, page: u64, size: PageSize) -> Result<(), WindowError> {
        let place = self.show(page, size)?;
        // SAFETY: the window shows the whole page, which holds nothing of Rust's.
        Ok(unsafe { guest_access::zero(place, size.bytes()) }?)
    }

    /// PVALIDATE on a guest page.
    pub fn pvalidate(
        &mut self,
        page: u64,
        size: PageSize,
        validate: bool,
    ) -> Result<(Option<RmpStatus>, bool), WindowError> {
        let place = self.show(page, size)?;
        // SAFETY: the page is not the firmware's; nothing of Rust's depends on it.
        Ok(unsafe { guest_access::pvalidate(place, size, validate) }?)
    }

    /// RMPADJUST on a guest page.
    pub fn rmpadjust(
        &mut self,
        page: u64,
        size: PageSize,
        adjust: RmpAdjust,
    ) -> Result<Option<RmpStatus>, WindowError> {
        let place = self.show(page, size)?;
        // SAFETY: the page is not the firmware's, or is lent to the guest: granting it reveals nothing.
        Ok(unsafe { guest_access::rmpadjust(place, size, adjust) }?)
    }
}

/// An offset at which a quadword lies in its page.
fn word_offset(offset: usize) -> u64 {
    (offset & (PAGE_LENGTH - size_of::<u64>())) as u64
}

fn check_offset(offset: usize, length: usize) -> Result<(), WindowError> {
    match offset.checked_add(length) {
        Some(end) if end <= PAGE_LENGTH => Ok(()),
        _ => Err(WindowError::NotGuestMemory),
    }
}

const _: () = assert!(PAGE_LENGTH as u64 == PAGE_BYTES);
