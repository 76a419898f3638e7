//! Flushing the translations of all processors, by INVLPGB and TLBSYNC.
//!
//! No VMM is known to set the CPUID bit of these instructions in a guest's CPUID page (KVM does not know it, QEMU has no name for
//! it), although every processor with SNP executes them in such a guest. So the instruction is tried: #UD has a recovery point, and
//! means that the firmware cannot keep its promise to flush before a page changes hands. There is no other way to reach processors that
//! run a guest: VMPL0 receives no interrupts. Sources: AMD APM volume 3, INVLPGB and TLBSYNC; volume 2, table B-1.

use crate::termination::{Reason, terminate};
use core::arch::global_asm;

// RAX: bit 2, the ASID in EDX limits the flush; bit 3, global entries go too. No address, no PCID. EDX: ASID 0 and PCID 0: in a
// guest, hardware puts the guest's own ASID there. ECX: no range. TLBSYNC twice, because one may complete too early on some Zen 5
// processors (erratum 1718); once more costs little where it is not needed.
global_asm!(
    ".section .text",
    "translations_flush:",
    "mov eax, 0xc",
    "xor ecx, ecx",
    "xor edx, edx",
    "translations_guarded:",
    ".byte 0x0f, 0x01, 0xfe",
    ".byte 0x0f, 0x01, 0xff",
    ".byte 0x0f, 0x01, 0xff",
    "translations_guarded_end:",
    "mov eax, 1",
    "ret",
    "translations_missing:",
    "xor eax, eax",
    "ret",
);

// SAFETY: the assembly above defines these labels; of all but the function only the address is taken.
unsafe extern "C" {
    fn translations_flush() -> u64;
    static translations_guarded: u8;
    static translations_guarded_end: u8;
    static translations_missing: u8;
}

/// Flushes all translations of this VM, on all processors, and waits until that is done. Ends the firmware where the
/// processor cannot: the first call is at start, when exceptions have their handlers.
pub fn flush() {
    // SAFETY: RAX, RCX, RDX and flags change, which a call may; flushing translations is always sound.
    if unsafe { translations_flush() } == 0 {
        terminate(Reason::NoInvlpgb);
    }
}

/// Where to go on after #UD at this address; none where #UD is not expected.
pub(crate) fn recovery(rip: u64) -> Option<u64> {
    let guarded = &raw const translations_guarded as u64..&raw const translations_guarded_end as u64;
    guarded.contains(&rip).then_some(&raw const translations_missing as u64)
}
