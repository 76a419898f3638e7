//! PVALIDATE as guests use it.

use crate::boot::Boot;
use crate::check::{Check, expect_eq};
use crate::exception::{self, Caught};
use crate::ghcb;
use crate::memory::{fresh_large_page, fresh_page, is_zero, read, shared_view, write};
use crate::svsm::{self, call, entry, list_next, pvalidate, write_list};
use crate::vcpu::private_page;

const PAGE: u64 = 4096;
const LARGE: u64 = 2 << 20;
const NOT_VALIDATED: Caught = Caught { vector: 29, code: 0x404 };

pub fn small_page_is_validated_and_zeroed(_: &Boot) -> Check {
    let page = fresh_page();
    expect_eq!(svsm::validate(page), svsm::SUCCESS, "result");
    expect_eq!(list_next(svsm::boot_calling_area() + 8), 1, "NEXT");
    expect_eq!(is_zero(page, PAGE), true, "page is zero");
    write(page, 0x1234);
    expect_eq!(read(page), 0x1234, "value");
    Ok(())
}

pub fn small_page_is_rescinded(_: &Boot) -> Check {
    let page = private_page();
    write(page, 0x5678);
    expect_eq!(svsm::rescind(page), svsm::SUCCESS, "result");
    expect_eq!(exception::probe_read(page), Err(NOT_VALIDATED), "read");
    Ok(())
}

pub fn rescinded_page_can_be_shared_and_taken_back_zeroed(_: &Boot) -> Check {
    let page = private_page();
    write(page, 0x9abc);
    ghcb::share(page);
    write(shared_view(page), 0xdef0);
    expect_eq!(read(shared_view(page)), 0xdef0, "shared value");
    expect_eq!(ghcb::change_state(page, 1), true, "private again");
    expect_eq!(svsm::validate(page), svsm::SUCCESS, "result");
    expect_eq!(is_zero(page, PAGE), true, "page is zero");
    Ok(())
}

pub fn large_page_is_validated_and_zeroed(_: &Boot) -> Check {
    let page = fresh_large_page();
    expect_eq!(pvalidate(&[entry(page, true, true, false)]).rax, svsm::SUCCESS, "result");
    expect_eq!(is_zero(page, LARGE), true, "page is zero");
    Ok(())
}

pub fn large_page_is_rescinded_as_a_whole(_: &Boot) -> Check {
    let page = fresh_large_page();
    expect_eq!(pvalidate(&[entry(page, true, true, false)]).rax, svsm::SUCCESS, "validate");
    write(page + 0x1000, 1);
    expect_eq!(pvalidate(&[entry(page, true, false, false)]).rax, svsm::SUCCESS, "rescind");
    for offset in [0, 0x1000, LARGE - PAGE] {
        expect_eq!(exception::probe_read(page + offset), Err(NOT_VALIDATED), "read at {:#x}", offset);
    }
    Ok(())
}

pub fn large_page_can_be_rescinded_in_parts(_: &Boot) -> Check {
    let page = fresh_large_page();
    expect_eq!(pvalidate(&[entry(page, true, true, false)]).rax, svsm::SUCCESS, "validate");
    write(page, 7);
    expect_eq!(svsm::rescind(page + 5 * PAGE), svsm::SUCCESS, "rescind a part");
    expect_eq!(exception::probe_read(page + 5 * PAGE), Err(NOT_VALIDATED), "read the part");
    expect_eq!(exception::probe_read(page), Ok(7), "read the rest");
    expect_eq!(svsm::validate(page + 5 * PAGE), svsm::SUCCESS, "validate the part");
    Ok(())
}

/// A list of fresh pages, written at `list`.
fn fresh_list<const N: usize>() -> [u64; N] {
    [(); N].map(|()| entry(fresh_page(), false, true, false))
}

pub fn batch_of_256_small_pages(_: &Boot) -> Check {
    let entries = fresh_list::<256>();
    expect_eq!(pvalidate(&entries).rax, svsm::SUCCESS, "result");
    expect_eq!(list_next(svsm::boot_calling_area() + 8), 256, "NEXT");
    for entry in [entries[0], entries[100], entries[255]] {
        expect_eq!(is_zero(entry & !0xfff, PAGE), true, "page is zero");
    }
    Ok(())
}

pub fn batch_of_510_entries_fills_the_calling_area(_: &Boot) -> Check {
    let entries = fresh_list::<510>();
    expect_eq!(pvalidate(&entries).rax, svsm::SUCCESS, "result");
    expect_eq!(list_next(svsm::boot_calling_area() + 8), 510, "NEXT");
    Ok(())
}

pub fn list_is_resumed_at_its_next_index(_: &Boot) -> Check {
    let entries = fresh_list::<3>();
    let list = svsm::boot_calling_area() + 8;
    write_list(list, 2, &entries);
    expect_eq!(call(svsm::PVALIDATE, list).rax, svsm::SUCCESS, "result");
    expect_eq!(list_next(list), 3, "NEXT");
    expect_eq!(exception::probe_read(entries[0] & !0xfff), Err(NOT_VALIDATED), "first page");
    expect_eq!(exception::probe_read(entries[2] & !0xfff), Ok(0), "last page");
    Ok(())
}

pub fn list_may_lie_in_any_private_page(_: &Boot) -> Check {
    let list = private_page() + 0x100;
    write_list(list, 0, &fresh_list::<2>());
    expect_eq!(call(svsm::PVALIDATE, list).rax, svsm::SUCCESS, "result");
    expect_eq!(list_next(list), 2, "NEXT");
    Ok(())
}

pub fn list_may_end_at_the_end_of_its_page(_: &Boot) -> Check {
    let list = private_page() + PAGE - 16;
    write_list(list, 0, &fresh_list::<1>());
    expect_eq!(call(svsm::PVALIDATE, list).rax, svsm::SUCCESS, "result");
    Ok(())
}

pub fn no_change_can_be_ignored(_: &Boot) -> Check {
    let page = private_page();
    write(page, 0x77);
    let answer = pvalidate(&[entry(page, false, true, true)]);
    expect_eq!(answer.rax, svsm::SUCCESS, "result");
    expect_eq!(read(page), 0x77, "contents");
    Ok(())
}

pub fn rescinding_an_unvalidated_page_can_be_ignored(_: &Boot) -> Check {
    expect_eq!(pvalidate(&[entry(fresh_page(), false, false, true)]).rax, svsm::SUCCESS, "result");
    Ok(())
}

pub fn validate_and_rescind_in_one_list(_: &Boot) -> Check {
    let (old, new) = (private_page(), fresh_page());
    let entries = [entry(old, false, false, false), entry(new, false, true, false)];
    expect_eq!(pvalidate(&entries).rax, svsm::SUCCESS, "result");
    expect_eq!(exception::probe_read(old), Err(NOT_VALIDATED), "old page");
    expect_eq!(exception::probe_read(new), Ok(0), "new page");
    Ok(())
}

pub fn long_list_of_large_pages_is_finished_in_steps(_: &Boot) -> Check {
    let page = fresh_large_page();
    let mut entries = [entry(page, true, true, false); 40];
    for (index, entry) in entries.iter_mut().enumerate() {
        // The same page validated and rescinded again and again: work enough for more than one call.
        *entry = svsm::entry(page, true, index % 2 == 0, false);
    }
    let list = svsm::boot_calling_area() + 8;
    write_list(list, 0, &entries);
    let mut calls = 0;
    loop {
        let answer = call(svsm::PVALIDATE, list);
        calls += 1;
        if answer.rax != svsm::INCOMPLETE || calls > 20 {
            expect_eq!(answer.rax, svsm::SUCCESS, "result after {} calls", calls);
            break;
        }
    }
    expect_eq!(calls > 1, true, "more than one call");
    expect_eq!(list_next(list), 40, "NEXT");
    Ok(())
}
