//! Call numbers, queries, and the calling convention.

use crate::boot::Boot;
use crate::check::{Check, expect_eq};
use crate::memory::{fresh_page, read};
use crate::svsm::{self, Answer, call, call_from};
use core::sync::atomic::{AtomicU8, Ordering};

fn query(protocol: u64, version: u64) -> Answer {
    call(svsm::QUERY_PROTOCOL, protocol << 32 | version)
}

pub fn core_protocol_version_1_is_served(_: &Boot) -> Check {
    let answer = query(0, 1);
    expect_eq!(answer.served, true, "served");
    expect_eq!(answer.rax, svsm::SUCCESS, "result");
    expect_eq!(answer.rcx, 1 << 32 | 1, "versions");
    Ok(())
}

pub fn core_protocol_version_0_is_not_served(_: &Boot) -> Check {
    let answer = query(0, 0);
    expect_eq!((answer.rax, answer.rcx), (svsm::SUCCESS, 0), "result and versions");
    Ok(())
}

pub fn core_protocol_version_2_is_not_served(_: &Boot) -> Check {
    let answer = query(0, 2);
    expect_eq!((answer.rax, answer.rcx), (svsm::SUCCESS, 0), "result and versions");
    Ok(())
}

pub fn unknown_protocol_is_not_served(_: &Boot) -> Check {
    for protocol in [3, 4, 0x7fff_ffff, 0xffff_ffff] {
        let answer = query(protocol, 1);
        expect_eq!((answer.rax, answer.rcx), (svsm::SUCCESS, 0), "protocol {:#x}", protocol);
    }
    Ok(())
}

pub fn unknown_protocol_is_refused(_: &Boot) -> Check {
    for protocol in [3u64, 4, 99] {
        expect_eq!(call(protocol << 32, 0).rax, svsm::UNSUPPORTED_PROTOCOL, "protocol {}", protocol);
    }
    Ok(())
}

pub fn unknown_call_is_refused(_: &Boot) -> Check {
    for number in [8u64, 9, 0x100] {
        expect_eq!(call(number, 0).rax, svsm::UNSUPPORTED_CALL, "call {}", number);
    }
    Ok(())
}

pub fn huge_protocol_and_call_numbers_are_refused(_: &Boot) -> Check {
    expect_eq!(call(u64::MAX, 0).rax, svsm::UNSUPPORTED_PROTOCOL, "all ones");
    expect_eq!(call(0xffff_ffff, 0).rax, svsm::UNSUPPORTED_CALL, "largest core call");
    Ok(())
}

pub fn deposit_memory_is_not_offered(_: &Boot) -> Check {
    expect_eq!(call(svsm::DEPOSIT_MEM, fresh_page()).rax, svsm::UNSUPPORTED_CALL, "DEPOSIT_MEM");
    Ok(())
}

pub fn withdraw_memory_is_not_offered(_: &Boot) -> Check {
    expect_eq!(call(svsm::WITHDRAW_MEM, fresh_page()).rax, svsm::UNSUPPORTED_CALL, "WITHDRAW_MEM");
    Ok(())
}

pub fn virtual_tom_query_says_no(_: &Boot) -> Check {
    let answer = call(svsm::CONFIGURE_VTOM, 1);
    expect_eq!((answer.rax, answer.rcx), (svsm::SUCCESS, 0), "result and support");
    Ok(())
}

pub fn setting_a_virtual_tom_is_refused(_: &Boot) -> Check {
    expect_eq!(call(svsm::CONFIGURE_VTOM, 1 << 40).rax, svsm::INVALID_REQUEST, "CONFIGURE_VTOM");
    Ok(())
}

pub fn switch_without_pending_flag_changes_nothing(_: &Boot) -> Check {
    let answer = svsm::switch(svsm::QUERY_PROTOCOL, 1, 0x1234, 0x5678);
    let same = Answer { rax: svsm::QUERY_PROTOCOL, rcx: 1, rdx: 0x1234, r8: 0x5678, r9: 0x99, served: false };
    expect_eq!(answer, same, "registers");
    Ok(())
}

pub fn pending_flag_other_than_one_is_not_served(_: &Boot) -> Check {
    // SAFETY: the calling area is this guest's; its first byte is only accessed atomically.
    let pending = unsafe { &*(svsm::boot_calling_area() as *const AtomicU8) };
    pending.store(2, Ordering::SeqCst);
    let answer = svsm::switch(svsm::QUERY_PROTOCOL, 1, 0, 0);
    expect_eq!(pending.swap(0, Ordering::SeqCst), 2, "flag");
    expect_eq!(answer.rax, svsm::QUERY_PROTOCOL, "RAX");
    Ok(())
}

pub fn refused_call_keeps_the_argument_registers(_: &Boot) -> Check {
    let area = svsm::boot_calling_area();
    let before = read(area + 8);
    let answer = call_from(area, 77 << 32, 0x11, 0x22, 0x33);
    expect_eq!(answer.rax, svsm::UNSUPPORTED_PROTOCOL, "result");
    expect_eq!((answer.rcx, answer.rdx, answer.r8, answer.r9), (0x11, 0x22, 0x33, 0x99), "registers");
    expect_eq!(read(area + 8), before, "calling area buffer");
    Ok(())
}
