//! PVALIDATE requests that must be refused, and leave everything as it was.

use crate::boot::Boot;
use crate::check::{Check, expect_eq};
use crate::exception::{self, Caught};
use crate::ghcb;
use crate::memory::{fresh_large_page, fresh_page, read, shared_view, write};
use crate::svsm::{self, call, entry, list_next, pvalidate, write_list};
use crate::vcpu::private_page;

const PAGE: u64 = 4096;
const NOT_VALIDATED: Caught = Caught { vector: 29, code: 0x404 };

/// The entry is refused with `result`, and NEXT stays at it.
fn refused(word: u64, result: u64) -> Check {
    expect_eq!(pvalidate(&[word]).rax, result, "result for entry {:#x}", word);
    expect_eq!(list_next(svsm::boot_calling_area() + 8), 0, "NEXT for entry {:#x}", word);
    Ok(())
}

/// The page is unvalidated still: validating it works.
fn still_unvalidated(page: u64) -> Check {
    expect_eq!(exception::probe_read(page), Err(NOT_VALIDATED), "read of {:#x}", page);
    expect_eq!(svsm::validate(page), svsm::SUCCESS, "validation afterwards");
    Ok(())
}

/// The page is the guest's still, with its contents.
fn still_private(page: u64, value: u64) -> Check {
    expect_eq!(exception::probe_read(page), Ok(value), "read of {:#x}", page);
    expect_eq!(pvalidate(&[entry(page, false, true, false)]).rax, svsm::NO_CHANGE, "validation afterwards");
    Ok(())
}

pub fn double_validation_is_reported(_: &Boot) -> Check {
    let page = private_page();
    write(page, 0x42);
    refused(entry(page, false, true, false), svsm::NO_CHANGE)?;
    still_private(page, 0x42)
}

pub fn rescinding_an_unvalidated_page_is_reported(_: &Boot) -> Check {
    let page = fresh_page();
    refused(entry(page, false, false, false), svsm::NO_CHANGE)?;
    still_unvalidated(page)
}

pub fn page_size_2_and_3_are_refused(_: &Boot) -> Check {
    let page = fresh_page();
    for size in [2, 3] {
        refused(page | 1 << 2 | size, svsm::INVALID_PARAMETER)?;
    }
    still_unvalidated(page)
}

pub fn reserved_bits_of_an_entry_are_refused(_: &Boot) -> Check {
    let page = fresh_page();
    for bit in 4..12 {
        refused(page | 1 << 2 | 1 << bit, svsm::INVALID_PARAMETER)?;
    }
    still_unvalidated(page)
}

pub fn unaligned_large_page_is_refused(_: &Boot) -> Check {
    let page = fresh_page();
    refused(entry(page, true, true, false), svsm::INVALID_PARAMETER)?;
    still_unvalidated(page)
}

pub fn large_page_over_small_ones_is_a_size_mismatch(_: &Boot) -> Check {
    let page = fresh_large_page();
    expect_eq!(svsm::validate(page + 3 * PAGE), svsm::SUCCESS, "small page");
    write(page + 3 * PAGE, 0x33);
    refused(entry(page, true, true, false), svsm::SIZE_MISMATCH)?;
    still_private(page + 3 * PAGE, 0x33)?;
    still_unvalidated(page)
}

pub fn large_page_on_a_host_with_small_ones_is_a_size_mismatch(_: &Boot) -> Check {
    let page = fresh_large_page();
    refused(entry(page, true, true, false), svsm::SIZE_MISMATCH)?;
    // What Linux does then: the same memory in small pages.
    for part in [0, 1, 511] {
        still_unvalidated(page + part * PAGE)?;
    }
    Ok(())
}

pub fn large_rescind_over_mixed_pages_is_a_size_mismatch(_: &Boot) -> Check {
    let page = fresh_large_page();
    expect_eq!(pvalidate(&[entry(page, true, true, false)]).rax, svsm::SUCCESS, "validate");
    expect_eq!(svsm::rescind(page + PAGE), svsm::SUCCESS, "rescind a part");
    write(page, 0x44);
    refused(entry(page, true, false, false), svsm::SIZE_MISMATCH)?;
    still_private(page, 0x44)
}

pub fn svsm_memory_cannot_be_validated(boot: &Boot) -> Check {
    for page in [boot.svsm_base, boot.svsm_base + 0x5000, boot.svsm_base + boot.svsm_size - PAGE] {
        refused(entry(page, false, true, false), svsm::INVALID_ADDRESS)?;
        refused(entry(page, false, true, true), svsm::INVALID_ADDRESS)?;
    }
    Ok(())
}

pub fn svsm_memory_cannot_be_rescinded(boot: &Boot) -> Check {
    for page in [boot.svsm_base, boot.svsm_base + 0x5000, boot.svsm_base + boot.svsm_size - PAGE] {
        refused(entry(page, false, false, false), svsm::INVALID_ADDRESS)?;
    }
    Ok(())
}

pub fn svsm_memory_cannot_be_validated_as_large_page(boot: &Boot) -> Check {
    refused(entry(boot.svsm_base, true, true, false), svsm::INVALID_ADDRESS)?;
    refused(entry(boot.svsm_base, true, false, false), svsm::INVALID_ADDRESS)
}

pub fn address_without_memory_is_refused(_: &Boot) -> Check {
    for page in [0xfec0_0000, 0xfee0_0000, 1 << 40] {
        refused(entry(page, false, true, false), svsm::INVALID_ADDRESS)?;
        refused(entry(page, true, true, false), svsm::INVALID_ADDRESS)?;
    }
    Ok(())
}

pub fn video_memory_is_refused(_: &Boot) -> Check {
    for page in [0xa_0000, 0xb_8000, 0xb_f000] {
        refused(entry(page, false, true, false), svsm::INVALID_ADDRESS)?;
    }
    Ok(())
}

pub fn address_beyond_52_bits_is_refused(_: &Boot) -> Check {
    for page in [1 << 52, 1 << 63, !0xfff] {
        refused(entry(page, false, true, false), svsm::INVALID_ADDRESS)?;
    }
    Ok(())
}

pub fn calling_area_cannot_be_rescinded(_: &Boot) -> Check {
    refused(entry(svsm::boot_calling_area(), false, false, false), svsm::INVALID_ADDRESS)
}

pub fn vmsa_of_the_boot_vcpu_cannot_be_rescinded(boot: &Boot) -> Check {
    // It lies in the SVSM's memory: every page there must be refused, whichever it is.
    for page in (boot.svsm_base..boot.svsm_base + boot.svsm_size).step_by(16 * PAGE as usize) {
        refused(entry(page, false, false, false), svsm::INVALID_ADDRESS)?;
    }
    Ok(())
}

pub fn unaligned_list_is_refused(_: &Boot) -> Check {
    let area = svsm::boot_calling_area();
    for offset in [1, 2, 4, 7] {
        expect_eq!(
            call(svsm::PVALIDATE, area + 8 + offset).rax,
            svsm::INVALID_PARAMETER,
            "offset {}",
            offset
        );
    }
    Ok(())
}

pub fn list_that_crosses_a_page_is_refused(_: &Boot) -> Check {
    let page = fresh_page();
    let list = private_page() + PAGE - 16;
    write_list(list, 0, &[entry(page, false, true, false)]);
    // Two entries, of which the second would lie in the next page.
    write(list, 2);
    expect_eq!(call(svsm::PVALIDATE, list).rax, svsm::INVALID_PARAMETER, "result");
    still_unvalidated(page)
}

pub fn list_without_entries_is_refused(_: &Boot) -> Check {
    let list = svsm::boot_calling_area() + 8;
    write(list, 0);
    expect_eq!(call(svsm::PVALIDATE, list).rax, svsm::INVALID_PARAMETER, "result");
    Ok(())
}

pub fn next_behind_the_last_entry_is_refused(_: &Boot) -> Check {
    let page = fresh_page();
    let list = svsm::boot_calling_area() + 8;
    for next in [1, 2, 0xffff] {
        write_list(list, next, &[entry(page, false, true, false)]);
        expect_eq!(call(svsm::PVALIDATE, list).rax, svsm::INVALID_PARAMETER, "NEXT {}", next);
    }
    still_unvalidated(page)
}

pub fn too_many_entries_are_refused(_: &Boot) -> Check {
    let page = fresh_page();
    let list = svsm::boot_calling_area() + 8;
    for count in [511, 512, 0xffff] {
        write_list(list, 0, &[entry(page, false, true, false)]);
        write(list, count);
        expect_eq!(call(svsm::PVALIDATE, list).rax, svsm::INVALID_PARAMETER, "{} entries", count);
    }
    still_unvalidated(page)
}

pub fn list_in_svsm_memory_is_refused(boot: &Boot) -> Check {
    for address in [boot.svsm_base, boot.svsm_base + 0x7000, boot.svsm_base + boot.svsm_size - 64] {
        expect_eq!(call(svsm::PVALIDATE, address).rax, svsm::INVALID_ADDRESS, "list at {:#x}", address);
    }
    Ok(())
}

pub fn list_in_unvalidated_memory_is_refused(_: &Boot) -> Check {
    let page = fresh_page();
    expect_eq!(call(svsm::PVALIDATE, page).rax, svsm::INVALID_ADDRESS, "result");
    still_unvalidated(page)
}

pub fn list_in_shared_memory_is_refused(_: &Boot) -> Check {
    let (list, page) = (private_page(), fresh_page());
    ghcb::share(list);
    write_list(shared_view(list), 0, &[entry(page, false, true, false)]);
    expect_eq!(call(svsm::PVALIDATE, list).rax, svsm::INVALID_ADDRESS, "result");
    expect_eq!(read(shared_view(list)), 1, "list header");
    still_unvalidated(page)
}

pub fn failing_entry_stops_the_list_there(boot: &Boot) -> Check {
    let (first, last) = (fresh_page(), fresh_page());
    let entries = [
        entry(first, false, true, false),
        entry(boot.svsm_base, false, true, false),
        entry(last, false, true, false),
    ];
    expect_eq!(pvalidate(&entries).rax, svsm::INVALID_ADDRESS, "result");
    expect_eq!(list_next(svsm::boot_calling_area() + 8), 1, "NEXT");
    expect_eq!(exception::probe_read(first), Ok(0), "page before");
    still_unvalidated(last)
}
