//! The privileged instructions that the monitor needs, one wrapper each.
//!
//! Wrappers are `unsafe fn` where the instruction can break what Rust takes for granted; reads of
//! counters and identification are safe. Source of the encodings: AMD APM volumes 2 and 3.

use core::arch::asm;
use core::arch::x86_64::{__cpuid_count, _rdtsc, CpuidResult};

/// Reads a byte from an I/O port.
///
/// # Safety
/// Reading the port must not have an effect on memory that Rust owns.
pub unsafe fn in_u8(port: u16) -> u8 {
    let value;
    // SAFETY: IN touches AL and DX only; the caller answers for the device.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nostack, preserves_flags)) };
    value
}

/// Reads two bytes from an I/O port.
///
/// # Safety
/// As for [`in_u8`].
pub unsafe fn in_u16(port: u16) -> u16 {
    let value;
    // SAFETY: IN touches AX and DX only; the caller answers for the device.
    unsafe { asm!("in ax, dx", in("dx") port, out("ax") value, options(nostack, preserves_flags)) };
    value
}

/// Reads four bytes from an I/O port.
///
/// # Safety
/// As for [`in_u8`].
pub unsafe fn in_u32(port: u16) -> u32 {
    let value;
    // SAFETY: IN touches EAX and DX only; the caller answers for the device.
    unsafe { asm!("in eax, dx", in("dx") port, out("eax") value, options(nostack, preserves_flags)) };
    value
}

/// Writes a byte to an I/O port.
///
/// # Safety
/// The write must not make a device change memory that Rust owns.
pub unsafe fn out_u8(port: u16, value: u8) {
    // SAFETY: OUT reads AL and DX only; the caller answers for the device.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nostack, preserves_flags)) };
}

/// Writes two bytes to an I/O port.
///
/// # Safety
/// As for [`out_u8`].
pub unsafe fn out_u16(port: u16, value: u16) {
    // SAFETY: OUT reads AX and DX only; the caller answers for the device.
    unsafe { asm!("out dx, ax", in("dx") port, in("ax") value, options(nostack, preserves_flags)) };
}

/// Writes four bytes to an I/O port.
///
/// # Safety
/// As for [`out_u8`].
pub unsafe fn out_u32(port: u16, value: u32) {
    // SAFETY: OUT reads EAX and DX only; the caller answers for the device.
    unsafe { asm!("out dx, eax", in("dx") port, in("eax") value, options(nostack, preserves_flags)) };
}

/// Writes a run of bytes to an I/O port with REP OUTSB.
///
/// # Safety
/// As for [`out_u8`].
pub unsafe fn out_bytes(port: u16, bytes: &[u8]) {
    // SAFETY: OUTSB reads `len` bytes from the slice, which is valid for that length; RSI and RCX are operands.
    unsafe {
        asm!("rep outsb", in("dx") port, inout("rsi") bytes.as_ptr() => _, inout("rcx") bytes.len() => _,
            options(nostack, preserves_flags, readonly));
    }
}

/// Writes a model-specific register.
///
/// # Safety
/// The new value must not change how memory that Rust owns is addressed or executed.
pub unsafe fn write_msr(register: u32, value: u64) {
    let (low, high) = (value as u32, (value >> 32) as u32);
    // SAFETY: WRMSR reads EAX, ECX and EDX; the caller answers for the effect.
    unsafe {
        asm!("wrmsr", in("ecx") register, in("eax") low, in("edx") high, options(nostack, preserves_flags))
    };
}

/// Reads the time-stamp counter; with `-icount shift=0` one tick is one instruction.
pub fn time_stamp() -> u64 {
    // SAFETY: RDTSC only writes EDX:EAX, and CR4.TSD is clear.
    unsafe { _rdtsc() }
}

/// Executes CPUID on the real (QEMU's) processor.
pub fn cpuid(leaf: u32, subleaf: u32) -> CpuidResult {
    __cpuid_count(leaf, subleaf)
}

/// Reads CR2.
pub fn read_cr2() -> u64 {
    let value;
    // SAFETY: reading CR2 has no side effect.
    unsafe { asm!("mov {}, cr2", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Reads CR3.
pub fn read_cr3() -> u64 {
    let value;
    // SAFETY: reading CR3 has no side effect.
    unsafe { asm!("mov {}, cr3", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Makes the APIC look again whether an interrupt waits, by writing the task priority that it has.
///
/// QEMU 10.0 changes its word of requests without a lock at every exit from a guest, and so can lose the request that another
/// thread makes at that moment: the vector waits in the APIC, and nothing says so until the next one arrives.
pub fn renew_interrupt_request() {
    // SAFETY: the priority stays what it is.
    unsafe { asm!("mov {0}, cr8", "mov cr8, {0}", out(reg) _, options(nomem, nostack, preserves_flags)) };
}

/// Writes CR8, the task priority.
pub fn write_cr8(value: u64) {
    // SAFETY: CR8 only holds back interrupts.
    unsafe { asm!("mov cr8, {}", in(reg) value & 0xf, options(nomem, nostack, preserves_flags)) };
}

/// Writes extended control register 0.
///
/// # Safety
/// The value must be one that the processor supports (bit 0 set).
pub unsafe fn write_xcr0(value: u64) {
    let (low, high) = (value as u32, (value >> 32) as u32);
    // SAFETY: XSETBV reads ECX and EDX:EAX; the caller answers for the value.
    unsafe {
        asm!("xsetbv", in("ecx") 0, in("eax") low, in("edx") high, options(nomem, nostack, preserves_flags))
    };
}

/// Reads extended control register 0.
pub fn read_xcr0() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: XGETBV touches EAX, ECX and EDX only; CR4.OSXSAVE is set at boot.
    unsafe {
        asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// Holds back interrupts and NMIs (global interrupt flag) until the next VMRUN or [`allow_events`].
pub fn hold_events() {
    // SAFETY: CLGI then STI: with GIF clear no event is taken; IF must be set for VMRUN to exit on interrupts.
    unsafe { asm!("clgi", "sti", options(nomem, nostack)) };
}

/// Ends [`hold_events`]: held NMIs and interrupts are taken at once, then interrupts are disabled.
pub fn allow_events() {
    // SAFETY: IF is set since `hold_events`, so STGI lets the stubs run, which touch their own stacks only.
    unsafe { asm!("stgi", "nop", "cli", options(nomem, nostack)) };
}

/// Stops this processor until an NMI.
pub fn halt_until_nmi() {
    // SAFETY: CLI and HLT touch no memory.
    unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
}

/// Stops this processor for good.
pub fn halt_forever() -> ! {
    loop {
        // SAFETY: CLI and HLT touch no memory; an NMI wakes the loop, which halts again.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}
