//! Instructions and the GHCB MSR protocol, raw.

use core::arch::asm;

/// GHCB MSR.
pub const GHCB_MSR: u32 = 0xc001_0130;
/// MSR protocol requests and answers used here.
pub const REGISTER_GHCB: u64 = 0x012;
pub const REGISTERED_GHCB: u64 = 0x013;
pub const PAGE_STATE_CHANGE: u64 = 0x014;
pub const PAGE_STATE_CHANGED: u64 = 0x015;
pub const RUN_VMPL0: u64 = 0x016;
pub const RAN_VMPL: u64 = 0x017;
pub const TERMINATE: u64 = 0x100;

pub fn read_msr(register: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reading the MSRs of this program has no effect on memory.
    unsafe { asm!("rdmsr", in("ecx") register, out("eax") low, out("edx") high, options(nostack)) };
    u64::from(high) << 32 | u64::from(low)
}

pub fn write_msr(register: u32, value: u64) {
    // SAFETY: only the GHCB MSR is written, which does not change addressing.
    unsafe {
        asm!("wrmsr", in("ecx") register, in("eax") value as u32, in("edx") (value >> 32) as u32, options(nostack));
    }
}

pub fn vmgexit() {
    // SAFETY: the host answers in the MSR or the GHCB, which are read with volatile accesses.
    unsafe { asm!(".byte 0xf3, 0x0f, 0x01, 0xd9", options(nostack)) };
}

/// One request of the MSR protocol.
pub fn msr_request(value: u64) -> u64 {
    write_msr(GHCB_MSR, value);
    vmgexit();
    read_msr(GHCB_MSR)
}

/// RMPADJUST; returns EAX.
pub fn rmpadjust(address: u64, size: u64, attributes: u64) -> u64 {
    let status;
    // SAFETY: what the instruction may change is what the test is about.
    unsafe {
        asm!(".byte 0xf3, 0x0f, 0x01, 0xfe", inout("rax") address => status, in("rcx") size, in("rdx") attributes,
            options(nostack));
    }
    status
}

/// PVALIDATE; returns EAX and the carry flag.
pub fn pvalidate(address: u64, size: u64, validate: u64) -> (u64, bool) {
    let (status, carry): (u64, u8);
    // SAFETY: as for `rmpadjust`.
    unsafe {
        asm!(".byte 0xf2, 0x0f, 0x01, 0xff", "setc {carry}", carry = out(reg_byte) carry,
            inout("rax") address => status, in("rcx") size, in("rdx") validate, options(nostack));
    }
    (status, carry != 0)
}

/// RMPQUERY for a VMPL; returns EAX, the permission mask and the page size.
pub fn rmpquery(address: u64, vmpl: u64) -> (u64, u64, u64) {
    let (status, attributes, size): (u64, u64, u64);
    // SAFETY: the instruction only reads the RMP.
    unsafe {
        asm!(".byte 0xf3, 0x0f, 0x01, 0xfd", inout("rax") address => status, inout("rdx") vmpl => attributes,
            out("rcx") size, options(nostack));
    }
    (status, attributes >> 8 & 0xff, size)
}

pub fn invlpg(address: u64) {
    // SAFETY: flushing translations is always sound.
    unsafe { asm!("invlpg [{}]", in(reg) address, options(nostack)) };
}

pub fn read_cr3() -> u64 {
    let value;
    // SAFETY: reading CR3 has no side effect.
    unsafe { asm!("mov {}, cr3", out(reg) value, options(nomem, nostack)) };
    value
}

pub fn time_stamp() -> u64 {
    // SAFETY: RDTSC only writes EDX:EAX.
    unsafe { core::arch::x86_64::_rdtsc() }
}
