//! REMAP_CA.

use crate::boot::Boot;
use crate::check::{Check, expect_eq};
use crate::ghcb;
use crate::memory::{fresh_page, read, write};
use crate::svsm::{self, boot_calling_area, call, call_from, set_boot_calling_area};
use crate::vcpu::private_page;

/// Moves the boot vCPU's calling area.
fn remap(page: u64) -> u64 {
    let result = call(svsm::REMAP_CA, page).rax;
    if result == svsm::SUCCESS {
        set_boot_calling_area(page);
    }
    result
}

/// The refused page is not a calling area, the old one still is.
fn refused(page: u64, result: u64) -> Check {
    expect_eq!(remap(page), result, "remap to {:#x}", page);
    expect_eq!(call(svsm::QUERY_PROTOCOL, 1).served, true, "old calling area");
    Ok(())
}

pub fn calling_area_moves(_: &Boot) -> Check {
    let old = boot_calling_area();
    let new = private_page();
    expect_eq!(remap(new), svsm::SUCCESS, "remap");
    expect_eq!(call(svsm::QUERY_PROTOCOL, 1).served, true, "new calling area");
    expect_eq!(call_from(old, svsm::QUERY_PROTOCOL, 1, 0, 0).served, false, "old calling area");
    Ok(())
}

pub fn new_calling_area_starts_clear(_: &Boot) -> Check {
    let new = private_page();
    write(new, u64::MAX);
    expect_eq!(remap(new), svsm::SUCCESS, "remap");
    expect_eq!(read(new), 0, "first eight bytes");
    Ok(())
}

pub fn old_calling_area_is_ordinary_memory_again(_: &Boot) -> Check {
    let old = boot_calling_area();
    expect_eq!(remap(private_page()), svsm::SUCCESS, "remap");
    expect_eq!(svsm::rescind(old), svsm::SUCCESS, "rescind the old one");
    expect_eq!(svsm::rescind(boot_calling_area()), svsm::INVALID_ADDRESS, "rescind the new one");
    Ok(())
}

pub fn remap_to_the_same_page_is_accepted(_: &Boot) -> Check {
    expect_eq!(remap(boot_calling_area()), svsm::SUCCESS, "remap");
    expect_eq!(call(svsm::QUERY_PROTOCOL, 1).served, true, "calling area");
    Ok(())
}

pub fn unaligned_calling_area_is_refused(_: &Boot) -> Check {
    refused(private_page() + 8, svsm::INVALID_PARAMETER)
}

pub fn calling_area_in_svsm_memory_is_refused(boot: &Boot) -> Check {
    refused(boot.svsm_base + 0x1000, svsm::INVALID_ADDRESS)
}

pub fn calling_area_in_unvalidated_memory_is_refused(_: &Boot) -> Check {
    refused(fresh_page(), svsm::INVALID_ADDRESS)
}

pub fn calling_area_in_shared_memory_is_refused(_: &Boot) -> Check {
    let page = private_page();
    ghcb::share(page);
    refused(page, svsm::INVALID_ADDRESS)
}
