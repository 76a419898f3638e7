//! The instructions that Rust does not have, one wrapper each.
//!
//! Every register that an instruction touches is an operand, and none of the wrappers claims that memory
//! stays as it was: VMGEXIT, PVALIDATE and RMPADJUST change what memory holds or who may touch it.
//! Sources: AMD APM volume 3 (24594); GHCB specification (56421) for VMGEXIT.

use core::arch::asm;
use snp_abi::address::PageSize;
use snp_abi::rmp::{RmpAdjust, RmpStatus};

/// EAX of an RMP instruction; `None` for a code that no manual knows.
pub type Completion = Option<RmpStatus>;

/// PVALIDATE: says whether the page at a virtual address is the guest's. Returns the status, and whether
/// the RMP already said so (carry). Lines of a page that was just validated do not outlive it in any cache.
///
/// # Safety
/// Validating: the address must map the page as private, and nothing may rely on what the page held. Rescinding: nothing
/// may touch the page any more.
pub unsafe fn pvalidate(virtual_address: u64, size: PageSize, validate: bool) -> (Completion, bool) {
    let status: u64;
    let carry: u8;
    // SAFETY: F2 0F 01 FF takes RAX, ECX and EDX and changes RAX and the flags; the caller answers for the page.
    unsafe {
        asm!(
            ".byte 0xf2, 0x0f, 0x01, 0xff",
            "setc {carry}",
            carry = out(reg_byte) carry,
            inout("rax") virtual_address => status,
            in("rcx") u64::from(size.to_wire()),
            in("rdx") u64::from(validate),
            options(nostack),
        );
    }
    let status = RmpStatus::from_wire(status as u32);
    if validate && status == Some(RmpStatus::Success) {
        // SAFETY: the page is validated, and mapped as the caller promised.
        unsafe { evict_lines(virtual_address, size.bytes()) };
    }
    (status, carry != 0)
}

/// Reads the first and the last byte of each small page with the guest's key: affected processors then evict every line of
/// the page that the host left in a cache (CVE-2024-36331; Linux and edk2 do the same after PVALIDATE). CPUID 0x8000001F EBX
/// bit 31 says where it is not needed; two reads cost less than asking.
///
/// # Safety
/// The range must be validated, and mapped as private.
unsafe fn evict_lines(virtual_address: u64, bytes: u64) {
    // SAFETY: reads only, of pages that the caller answers for.
    unsafe {
        asm!(
            "2:",
            "mov {byte}, byte ptr [{page}]",
            "mov {byte}, byte ptr [{page} + 0xfff]",
            "add {page}, 0x1000",
            "cmp {page}, {end}",
            "jb 2b",
            byte = out(reg_byte) _,
            page = inout(reg) virtual_address => _,
            end = in(reg) virtual_address + bytes,
            options(nostack, readonly),
        );
    }
}

/// RMPADJUST: sets what a lower VMPL may do with the page at a virtual address, and whether it is a VMSA.
///
/// # Safety
/// Granting hands the page's contents to the lower VMPL: nothing of VMPL0's may lie there.
pub unsafe fn rmpadjust(virtual_address: u64, size: PageSize, adjust: RmpAdjust) -> Completion {
    let status: u64;
    // SAFETY: F3 0F 01 FE takes RAX, RCX and RDX and changes RAX and the flags; the caller answers for the page.
    unsafe {
        asm!(
            ".byte 0xf3, 0x0f, 0x01, 0xfe",
            inout("rax") virtual_address => status,
            in("rcx") u64::from(size.to_wire()),
            in("rdx") adjust.encode(),
            options(nostack),
        );
    }
    RmpStatus::from_wire(status as u32)
}

/// VMGEXIT: hands the vCPU to the host.
///
/// # Safety
/// The GHCB MSR must hold a request whose effects the caller answers for.
pub unsafe fn vmgexit() {
    // SAFETY: REP VMMCALL changes no register in an SNP guest; the caller answers for the request.
    unsafe { asm!(".byte 0xf3, 0x0f, 0x01, 0xd9", options(nostack)) };
}

/// INVLPG: flushes one address on this processor.
pub fn invlpg(virtual_address: u64) {
    // SAFETY: flushing translations is always sound.
    unsafe { asm!("invlpg [{}]", in(reg) virtual_address, options(nostack, preserves_flags)) };
}

/// Reads a model-specific register.
///
/// # Safety
/// The register must exist for an SNP guest. A host that intercepts the access ends the firmware: #VC serves no register.
pub unsafe fn read_msr(register: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: RDMSR touches EAX, ECX and EDX only.
    unsafe {
        asm!("rdmsr", in("ecx") register, out("eax") low, out("edx") high, options(nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// Writes a model-specific register.
///
/// # Safety
/// The new value must not change how memory that Rust uses is addressed.
pub unsafe fn write_msr(register: u32, value: u64) {
    let (low, high) = (value as u32, (value >> 32) as u32);
    // SAFETY: WRMSR reads EAX, ECX and EDX; the caller answers for the effect.
    unsafe {
        asm!("wrmsr", in("ecx") register, in("eax") low, in("edx") high, options(nostack, preserves_flags))
    };
}

/// Stops the vCPU until the host has something for it; interrupts stay disabled.
pub fn halt() {
    // SAFETY: HLT touches nothing; with interrupts disabled only the host's decision ends it.
    unsafe { asm!("hlt", options(nomem, nostack, preserves_flags)) };
}

/// RDTSC.
pub fn time_stamp() -> u64 {
    // SAFETY: RDTSC only writes EDX:EAX.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Fills `bytes` (a multiple of 8) at a virtual address with zeros.
///
/// # Safety
/// The range must be mapped writable, and nothing of Rust's may lie there.
pub unsafe fn zero(virtual_address: u64, bytes: u64) {
    // SAFETY: STOSQ writes RCX qwords from RDI on; the caller answers for the range. The direction flag is
    // clear by the ABI.
    unsafe {
        asm!("rep stosq", inout("rdi") virtual_address => _, inout("rcx") bytes / 8 => _, in("rax") 0u64,
            options(nostack, preserves_flags));
    }
}

/// Copies `bytes` bytes between two virtual addresses.
///
/// # Safety
/// Both ranges must be mapped, must not overlap, and the target must hold nothing that Rust relies on, unless the
/// caller owns it exclusively. The source may change meanwhile.
pub unsafe fn copy(source: u64, target: u64, bytes: usize) {
    // SAFETY: MOVSQ and MOVSB move RCX units each; the caller answers for the ranges.
    unsafe {
        asm!("rep movsq", "mov rcx, {rest}", "rep movsb", rest = in(reg) bytes % 8,
            inout("rsi") source => _, inout("rdi") target => _, inout("rcx") bytes / 8 => _,
            options(nostack, preserves_flags));
    }
}
