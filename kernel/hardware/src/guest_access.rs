//! Accesses to guest memory that may find nothing there.
//!
//! A guest can give a page to the host without telling VMPL0, and the host can take one. Whoever touches such a page gets #VC with
//! the code "page not validated". The functions here end in that case with an error instead of the firmware: all their code lies
//! between two labels, the handler knows these labels, and sends whatever it interrupted there to a third one, which returns
//! the error. So the functions must neither push anything nor call anything.

use crate::instructions::Completion;
use core::arch::global_asm;
use snp_abi::address::PageSize;
use snp_abi::rmp::{RmpAdjust, RmpStatus};

/// The page is not validated: the host has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotValidated;

/// What the functions return for [`NotValidated`]; no instruction has this status.
const FAULTED: u32 = u32::MAX;

global_asm!(
    ".section .text",
    "guest_access_start:",
    // RDI target, RSI source, RDX bytes.
    "guest_access_copy:",
    "mov rcx, rdx",
    "shr rcx, 3",
    "rep movsq",
    "mov ecx, edx",
    "and ecx, 7",
    "rep movsb",
    "xor eax, eax",
    "ret",
    // RDI target, RSI quadwords.
    "guest_access_zero:",
    "mov rcx, rsi",
    "xor eax, eax",
    "rep stosq",
    "ret",
    // RDI source, RSI place for the quadword.
    "guest_access_load:",
    "mov rax, [rdi]",
    "mov [rsi], rax",
    "xor eax, eax",
    "ret",
    // RDI target, RSI quadword.
    "guest_access_store:",
    "mov [rdi], rsi",
    "xor eax, eax",
    "ret",
    // RDI first page, RSI end: the first and the last byte of each page.
    "guest_access_evict:",
    "2:",
    "mov al, [rdi]",
    "mov al, [rdi + 0xfff]",
    "add rdi, 0x1000",
    "cmp rdi, rsi",
    "jb 2b",
    "xor eax, eax",
    "ret",
    // RDI page, RSI size, RDX validate, RCX place for the carry flag.
    "guest_access_pvalidate:",
    "mov r8, rcx",
    "mov rax, rdi",
    "mov rcx, rsi",
    ".byte 0xf2, 0x0f, 0x01, 0xff",
    "setc [r8]",
    "ret",
    // RDI page, RSI size, RDX attributes.
    "guest_access_rmpadjust:",
    "mov rax, rdi",
    "mov rcx, rsi",
    ".byte 0xf3, 0x0f, 0x01, 0xfe",
    "ret",
    "guest_access_end:",
    "guest_access_faulted:",
    "mov eax, {faulted}",
    "ret",
    faulted = const FAULTED,
);

// SAFETY: defined above, with these operands, in the order of the System V calling convention; none of them touches a register
// that the convention preserves.
unsafe extern "sysv64" {
    static guest_access_start: u8;
    static guest_access_end: u8;
    static guest_access_faulted: u8;
    fn guest_access_copy(target: u64, source: u64, bytes: u64) -> u32;
    fn guest_access_zero(target: u64, words: u64) -> u32;
    fn guest_access_load(source: u64, place: *mut u64) -> u32;
    fn guest_access_store(target: u64, word: u64) -> u32;
    fn guest_access_evict(start: u64, end: u64) -> u32;
    fn guest_access_pvalidate(page: u64, size: u64, validate: u64, carry: *mut u8) -> u32;
    fn guest_access_rmpadjust(page: u64, size: u64, attributes: u64) -> u32;
}

/// Where an access goes on that found a page that is not validated; none if the instruction is no access of this module.
pub(crate) fn landing(rip: u64) -> Option<u64> {
    let (start, end) = (&raw const guest_access_start as u64, &raw const guest_access_end as u64);
    (start..end).contains(&rip).then_some(&raw const guest_access_faulted as u64)
}

fn done(status: u32) -> Result<(), NotValidated> {
    if status == FAULTED { Err(NotValidated) } else { Ok(()) }
}

/// As [`crate::instructions::copy`].
///
/// # Safety
/// Both ranges must be mapped and must not overlap; the target must hold nothing that Rust relies on, unless the caller owns it
/// exclusively.
pub(crate) unsafe fn copy(source: u64, target: u64, bytes: usize) -> Result<(), NotValidated> {
    // SAFETY: the caller answers for the ranges.
    done(unsafe { guest_access_copy(target, source, bytes as u64) })
}

/// As [`crate::instructions::zero`].
///
/// # Safety
/// The range must be mapped writable, and nothing of Rust's may lie there.
pub(crate) unsafe fn zero(target: u64, bytes: u64) -> Result<(), NotValidated> {
    // SAFETY: the caller answers for the range.
    done(unsafe { guest_access_zero(target, bytes / 8) })
}

/// Reads a quadword.
///
/// # Safety
/// It must be mapped.
pub(crate) unsafe fn load(source: u64) -> Result<u64, NotValidated> {
    let mut word = 0;
    // SAFETY: the caller answers for the source, the place is this function's.
    done(unsafe { guest_access_load(source, &raw mut word) })?;
    Ok(word)
}

/// Writes a quadword.
///
/// # Safety
/// It must be mapped writable, and nothing of Rust's may lie there.
pub(crate) unsafe fn store(target: u64, word: u64) -> Result<(), NotValidated> {
    // SAFETY: the caller answers for the target.
    done(unsafe { guest_access_store(target, word) })
}

/// As [`crate::instructions::pvalidate`].
///
/// # Safety
/// As there.
pub(crate) unsafe fn pvalidate(
    page: u64,
    size: PageSize,
    validate: bool,
) -> Result<(Completion, bool), NotValidated> {
    let mut carry = 0;
    // SAFETY: the caller answers for the page, the place of the flag is this function's.
    let code = unsafe {
        guest_access_pvalidate(page, u64::from(size.to_wire()), u64::from(validate), &raw mut carry)
    };
    done(code)?;
    let status = RmpStatus::from_wire(code);
    if validate && status == Some(RmpStatus::Success) {
        // SAFETY: only reads; the caller answers for the mapping.
        done(unsafe { guest_access_evict(page, page + size.bytes()) })?;
    }
    Ok((status, carry != 0))
}

/// As [`crate::instructions::rmpadjust`].
///
/// # Safety
/// As there.
pub(crate) unsafe fn rmpadjust(
    page: u64,
    size: PageSize,
    adjust: RmpAdjust,
) -> Result<Completion, NotValidated> {
    // SAFETY: the caller answers for the page.
    let code = unsafe { guest_access_rmpadjust(page, u64::from(size.to_wire()), adjust.encode()) };
    done(code)?;
    Ok(RmpStatus::from_wire(code))
}
