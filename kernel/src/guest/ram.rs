//! All the RAM of a guest that expects to find it ready: validated, zeroed, granted, in 2 MiB pages where they fit.

use super::CannotStart;
use crate::platform::Platform;
use crate::setup::{Facts, svsm};
use snp_abi::address::{LARGE_PAGE_BYTES, PAGE_BYTES, PageSize};
use svsm_protocol::{Claim, GuestAccess, GuestAddress, Machine, PageState, Validation};

/// Provides every page that the guest does not have yet. Returns the bytes provided.
pub fn provide_all(platform: &mut Platform<'_>, facts: &Facts) -> Result<u64, CannotStart> {
    let mut bytes = 0;
    for range in &facts.memory {
        let mut address = range.start;
        while address < range.end {
            let room = range.end - address;
            let whole = address.is_multiple_of(LARGE_PAGE_BYTES) && room >= LARGE_PAGE_BYTES;
            let next = if whole { address + LARGE_PAGE_BYTES } else { next_boundary(address).min(range.end) };
            bytes += if whole && provide(platform, address, PageSize::Large)? {
                LARGE_PAGE_BYTES
            } else {
                provide_small(platform, address, next)?
            };
            address = next;
        }
    }
    Ok(bytes)
}

fn next_boundary(address: u64) -> u64 {
    (address / LARGE_PAGE_BYTES + 1) * LARGE_PAGE_BYTES
}

fn provide_small(platform: &mut Platform<'_>, start: u64, end: u64) -> Result<u64, CannotStart> {
    let mut bytes = 0;
    for address in (start..end).step_by(PAGE_BYTES as usize) {
        if provide(platform, address, PageSize::Small)? {
            bytes += PAGE_BYTES;
        }
    }
    Ok(bytes)
}

/// Provides one page; `false` if it is not the ledger's to give, or does not come in this size.
fn provide(platform: &mut Platform<'_>, address: u64, size: PageSize) -> Result<bool, CannotStart> {
    let ledger = &svsm().ledger;
    let Ok(claim) = ledger.claim(GuestAddress(address), size, PageState::Unvalidated) else {
        return Ok(false);
    };
    platform.request(claim.page(), size);
    match platform.pvalidate(claim.page(), size, true) {
        Ok(Validation::Changed) => {}
        Ok(Validation::SizeMismatch) => {
            ledger.settle(claim, PageState::Unvalidated);
            return Ok(false);
        }
        _ => return Err(CannotStart::Memory),
    }
    grant(platform, claim)?;
    Ok(true)
}

fn grant(platform: &mut Platform<'_>, claim: Claim) -> Result<(), CannotStart> {
    platform.zero(claim.page(), claim.size());
    platform.set_access(claim.page(), claim.size(), GuestAccess::Full).map_err(|_| CannotStart::Memory)?;
    svsm().ledger.settle(claim, PageState::Guest);
    Ok(())
}
