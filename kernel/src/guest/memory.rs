//! Guest memory that the firmware prepares before the guest runs: the same way through the ledger as a guest's own request.

use super::CannotStart;
use crate::platform::Platform;
use crate::setup::svsm;
use core::ops::Range;
use hardware::termination::{Reason, terminate};
use snp_abi::address::{PAGE_BYTES, PAGE_LENGTH, PageSize};
use svsm_protocol::{GuestAccess, GuestAddress, GuestPage, Machine, PageState, Validation};

/// Validates, zeroes, fills and grants one page; it ends in `state`.
pub fn provide(
    platform: &mut Platform<'_>,
    address: u64,
    contents: &[u8],
    state: PageState,
) -> Result<(), CannotStart> {
    let ledger = &svsm().ledger;
    let claim = ledger.claim(GuestAddress(address), PageSize::Small, PageState::Unvalidated);
    let claim = claim.map_err(|_| CannotStart::Memory)?;
    let page = claim.page();
    platform.request(page, PageSize::Small);
    match platform.pvalidate(page, PageSize::Small, true) {
        Ok(Validation::Changed) => {}
        _ => return Err(CannotStart::Memory),
    }
    platform.zero(page, PageSize::Small);
    platform.write(page, 0, contents.get(..PAGE_LENGTH).unwrap_or(contents));
    platform.set_access(page, PageSize::Small, GuestAccess::Full).map_err(|_| CannotStart::Memory)?;
    ledger.settle(claim, state);
    Ok(())
}

/// Copies bytes into memory that the guest was given already.
pub fn write_bytes(platform: &mut Platform<'_>, address: u64, bytes: &[u8]) {
    in_pages(address, bytes.len(), |page, offset, range| {
        platform.write(page, offset, bytes.get(range).unwrap_or_default());
    });
}

/// Copies bytes out of memory that the guest was given already.
pub fn read_bytes(platform: &mut Platform<'_>, address: u64, bytes: &mut [u8]) {
    in_pages(address, bytes.len(), |page, offset, range| {
        platform.read(page, offset, bytes.get_mut(range).unwrap_or_default());
    });
}

/// Splits a range at page boundaries. No guest runs yet, so pages that it has stay its own.
fn in_pages(address: u64, length: usize, mut each: impl FnMut(GuestPage, usize, Range<usize>)) {
    let mut done = 0;
    while done < length {
        let at = address + done as u64;
        let offset = (at % PAGE_BYTES) as usize;
        let count = (PAGE_LENGTH - offset).min(length - done);
        let found = svsm().ledger.with_guest_page(GuestAddress(at), |page| page);
        let Ok(page) = found else { terminate(Reason::GuestImage) };
        each(page, offset, done..done + count);
        done += count;
    }
}

/// Validates, zeroes and grants pages.
pub fn provide_zeroed(platform: &mut Platform<'_>, start: u64, pages: u64) -> Result<(), CannotStart> {
    (0..pages).try_for_each(|page| provide(platform, start + page * PAGE_BYTES, &[], PageState::Guest))
}

/// Grants pages that were launched with measured contents, as they are.
pub fn grant_launched(platform: &mut Platform<'_>, start: u64, pages: u64) -> Result<(), CannotStart> {
    let ledger = &svsm().ledger;
    for address in (0..pages).map(|page| start + page * PAGE_BYTES) {
        let claim = ledger.claim(GuestAddress(address), PageSize::Small, PageState::Unvalidated);
        let claim = claim.map_err(|_| CannotStart::Memory)?;
        let granted = platform.set_access(claim.page(), PageSize::Small, GuestAccess::Full);
        granted.map_err(|_| CannotStart::Memory)?;
        ledger.settle(claim, PageState::Guest);
    }
    Ok(())
}
