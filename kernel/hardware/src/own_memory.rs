//! Memory of the firmware's own region that was not launched: made the guest's, validated, zeroed.

use crate::instructions;
use crate::msr_protocol;
use crate::termination::{Reason, terminate};
use snp_abi::address::{PAGE_BYTES, PageSize};
use snp_abi::ghcb::page_state::PageOperation;
use snp_abi::rmp::RmpStatus;

/// Validates one page of the firmware's own, which must never have been validated before: a page that
/// was is one that the host maps twice, and ends the firmware.
///
/// # Safety
/// The virtual address must map the page as private and writable; nothing may lie there.
pub unsafe fn validate(virtual_address: u64, size: PageSize) -> Result<(), PageSize> {
    // SAFETY: the page is unused so far; the caller answers for the mapping.
    match unsafe { instructions::pvalidate(virtual_address, size, true) } {
        (Some(RmpStatus::Success), false) => Ok(()),
        (Some(RmpStatus::FailSizeMismatch), _) if size == PageSize::Large => Err(PageSize::Small),
        _ => terminate(Reason::OwnPageValidation),
    }
}

/// Validates a range, in 2 MiB pages where alignment and host allow it. With `shared`, the host is asked for each page first.
///
/// # Safety
/// `window + address` must map each page of the range as private and writable; nothing may lie there.
pub unsafe fn validate_range(window: u64, start: u64, end: u64, shared: bool) {
    let mut address = start;
    while address < end {
        let large = address.is_multiple_of(PageSize::Large.bytes())
            && end - address >= PageSize::Large.bytes()
            && !shared;
        // SAFETY: the caller answers for the mapping.
        if large && unsafe { validate(window + address, PageSize::Large) }.is_ok() {
            address += PageSize::Large.bytes();
            continue;
        }
        if shared {
            // SAFETY: the page is unused.
            unsafe { msr_protocol::change_page_state(address, PageOperation::Private) };
        }
        // SAFETY: the caller answers for the mapping.
        if unsafe { validate(window + address, PageSize::Small) }.is_err() {
            terminate(Reason::OwnPageValidation);
        }
        address += PAGE_BYTES;
    }
}
