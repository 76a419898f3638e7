//! SVSM calls (58019, chapter 5): registers, calling area, and the way to VMPL0.

use crate::raw::{self, GHCB_MSR, RAN_VMPL, RUN_VMPL0};
use core::arch::asm;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

pub const SUCCESS: u64 = 0;
pub const INCOMPLETE: u64 = 0x8000_0000;
pub const UNSUPPORTED_PROTOCOL: u64 = 0x8000_0001;
pub const UNSUPPORTED_CALL: u64 = 0x8000_0002;
pub const INVALID_ADDRESS: u64 = 0x8000_0003;
pub const INVALID_PARAMETER: u64 = 0x8000_0005;
pub const INVALID_REQUEST: u64 = 0x8000_0006;
pub const BUSY: u64 = 0x8000_0007;
pub const SIZE_MISMATCH: u64 = 0x8000_1006;
pub const NO_CHANGE: u64 = 0x8000_1010;

pub const REMAP_CA: u64 = 0;
pub const PVALIDATE: u64 = 1;
pub const CREATE_VCPU: u64 = 2;
pub const DELETE_VCPU: u64 = 3;
pub const DEPOSIT_MEM: u64 = 4;
pub const WITHDRAW_MEM: u64 = 5;
pub const QUERY_PROTOCOL: u64 = 6;
pub const CONFIGURE_VTOM: u64 = 7;

/// Calling area of the boot vCPU.
static BOOT_CALLING_AREA: AtomicU64 = AtomicU64::new(0);

pub fn set_boot_calling_area(address: u64) {
    BOOT_CALLING_AREA.store(address, Ordering::SeqCst);
}

pub fn boot_calling_area() -> u64 {
    BOOT_CALLING_AREA.load(Ordering::SeqCst)
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub r8: u64,
    pub r9: u64,
    /// The calling area's flag was cleared.
    pub served: bool,
}

/// A call with all registers, through this calling area.
pub fn call_from(calling_area: u64, rax: u64, rcx: u64, rdx: u64, r8: u64) -> Answer {
    // SAFETY: the calling area is a page of this guest's; its first byte is only ever accessed like this.
    let pending = unsafe { &*(calling_area as *const AtomicU8) };
    pending.store(1, Ordering::SeqCst);
    let mut answer = switch(rax, rcx, rdx, r8);
    answer.served = pending.swap(0, Ordering::SeqCst) == 0;
    answer
}

/// A switch to VMPL0 without touching any calling area.
pub fn switch(rax: u64, rcx: u64, rdx: u64, r8: u64) -> Answer {
    raw::write_msr(GHCB_MSR, RUN_VMPL0);
    let mut answer = Answer { rax, rcx, rdx, r8, r9: 0x99, served: false };
    // SAFETY: VMPL0 changes the five registers only.
    unsafe {
        asm!(".byte 0xf3, 0x0f, 0x01, 0xd9",
            inout("rax") answer.rax, inout("rcx") answer.rcx, inout("rdx") answer.rdx,
            inout("r8") answer.r8, inout("r9") answer.r9, options(nostack));
    }
    let msr = raw::read_msr(GHCB_MSR);
    assert!(msr & 0xfff == RAN_VMPL && msr >> 32 == 0, "the host did not run VMPL0: {msr:#x}");
    answer
}

/// A call from the boot vCPU with one argument.
pub fn call(rax: u64, rcx: u64) -> Answer {
    call_from(boot_calling_area(), rax, rcx, 0, 0)
}

/// Builds a PVALIDATE entry.
pub const fn entry(address: u64, large: bool, validate: bool, ignore: bool) -> u64 {
    address | large as u64 | (validate as u64) << 2 | (ignore as u64) << 3
}

/// Writes a PVALIDATE list (header and entries) at an address.
pub fn write_list(address: u64, next: u16, entries: &[u64]) {
    // SAFETY: the caller names memory of this guest's that is free for the list.
    unsafe { (address as *mut u64).write_volatile(entries.len() as u64 | u64::from(next) << 16) };
    for (place, entry) in (address + 8..).step_by(8).zip(entries) {
        // SAFETY: as above.
        unsafe { (place as *mut u64).write_volatile(*entry) };
    }
}

/// The NEXT index of a list.
pub fn list_next(address: u64) -> u16 {
    // SAFETY: as for `write_list`.
    unsafe { ((address + 2) as *const u16).read_volatile() }
}

/// PVALIDATE of a list in the calling area's buffer.
pub fn pvalidate_from(calling_area: u64, entries: &[u64]) -> Answer {
    write_list(calling_area + 8, 0, entries);
    call_from(calling_area, PVALIDATE, calling_area + 8, 0, 0)
}

/// PVALIDATE by the boot vCPU, repeated while it is incomplete.
pub fn pvalidate(entries: &[u64]) -> Answer {
    let area = boot_calling_area();
    write_list(area + 8, 0, entries);
    loop {
        let answer = call_from(area, PVALIDATE, area + 8, 0, 0);
        if answer.rax != INCOMPLETE {
            return answer;
        }
    }
}

/// Validates one small page.
pub fn validate(address: u64) -> u64 {
    pvalidate(&[entry(address, false, true, false)]).rax
}

/// Rescinds one small page.
pub fn rescind(address: u64) -> u64 {
    pvalidate(&[entry(address, false, false, false)]).rax
}
