//! The first instructions of the kernel on each vCPU. They call `kernel_main` and `application_processor_main`,
//! which the program defines.

use core::arch::global_asm;

// stage2 jumps here with RSP = the boot stack's top and RDI = the hand-off record in the direct window; an
// application processor starts here by its VMSA, with RSP = its own stack's top. Neither returns.
global_asm!(
    ".section .text",
    ".globl kernel_entry",
    "kernel_entry:",
    "xor ebp, ebp",
    "call kernel_main",
    "ud2",
    "application_processor_entry:",
    "xor ebp, ebp",
    "call application_processor_main",
    "ud2",
);

// SAFETY: the entry code above defines this label; only its address is taken.
unsafe extern "C" {
    static application_processor_entry: u8;
}

/// Virtual address at which an application processor starts.
pub(crate) fn application_processor() -> u64 {
    &raw const application_processor_entry as u64
}
