//! Arguments that lie in guest memory: copied once, or written back, page by page through the ledger.

use crate::failure::Refusal;
use crate::guest_call::GuestCall;
use crate::ledger::GuestAddress;

use alloc::vec::Vec;
use core::ops::Range;
use snp_abi::address::{PAGE_LENGTH, page_offset};

/// A range of guest addresses; that they do not wrap is all that is known of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GuestRange {
    start: u64,
    bytes: usize,
}

impl GuestRange {
    /// # Errors
    /// If the range wraps.
    pub fn new(start: u64, bytes: usize) -> Result<Self, Refusal> {
        let length = u64::try_from(bytes).map_err(|_| Refusal::InvalidAddress)?;
        start.checked_add(length).ok_or(Refusal::InvalidAddress)?;
        Ok(Self { start, bytes })
    }

    /// A range within one page.
    ///
    /// # Errors
    /// If it crosses a page boundary.
    pub fn in_one_page(start: u64, bytes: usize) -> Result<Self, Refusal> {
        let offset = page_offset(start);
        match offset.checked_add(bytes) {
            Some(end) if end <= PAGE_LENGTH => Self::new(start, bytes),
            _ => Err(Refusal::InvalidParameter),
        }
    }

    /// Length of the range.
    pub fn bytes(self) -> usize {
        self.bytes
    }

    /// Address, offset in its page and part of the range, for each page.
    pub fn pages(self) -> impl Iterator<Item = (GuestAddress, usize, Range<usize>)> {
        let mut done = 0;
        core::iter::from_fn(move || {
            let left = self.bytes.checked_sub(done).filter(|left| *left > 0)?;
            let address = self.start.checked_add(u64::try_from(done).ok()?)?;
            let offset = page_offset(address);
            let count = PAGE_LENGTH.checked_sub(offset)?.min(left);
            let part = done..done.checked_add(count)?;
            done = part.end;
            Some((GuestAddress(address), offset, part))
        })
    }
}

/// A private buffer of zeros. That there is no room for it now ends by itself: calls of other vCPUs give theirs back.
pub(crate) fn zeroed(bytes: usize) -> Result<Vec<u8>, Refusal> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(bytes).map_err(|_| Refusal::Busy)?;
    buffer.resize(bytes, 0);
    Ok(buffer)
}

impl GuestCall<'_> {
    /// Copies guest memory into a private buffer of the range's length.
    pub(crate) fn read_guest(&mut self, range: GuestRange, bytes: &mut [u8]) -> Result<(), Refusal> {
        for (address, offset, part) in range.pages() {
            let place = bytes.get_mut(part).ok_or(Refusal::InvalidParameter)?;
            let machine = &mut *self.machine;
            self.svsm.ledger.with_guest_page(address, |page| machine.read(page, offset, place))??;
        }
        Ok(())
    }

    /// Copies a buffer of the range's length into guest memory.
    pub(crate) fn write_guest(&mut self, range: GuestRange, bytes: &[u8]) -> Result<(), Refusal> {
        for (address, offset, part) in range.pages() {
            let source = bytes.get(part).ok_or(Refusal::InvalidParameter)?;
            let machine = &mut *self.machine;
            self.svsm.ledger.with_guest_page(address, |page| machine.write(page, offset, source))??;
        }
        Ok(())
    }

    /// Whether the guest has every page of the range now; another vCPU may give one away a moment later.
    pub(crate) fn check_guest(&self, range: GuestRange) -> Result<(), Refusal> {
        range.pages().try_for_each(|(address, ..)| self.svsm.ledger.with_guest_page(address, |_| ()))
    }
}
