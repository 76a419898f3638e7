//! VMRUN, with everything that it does not switch: general registers, FS/GS/TR and the clock around it.
//!
//! x87, SSE and AVX state stay in the processor: the monitor is compiled without them, and
//! [`crate::vector_state`] exchanges them when another VMPL or VMSA comes to run.

use core::arch::{asm, naked_asm};
use zerocopy::{FromBytes, IntoBytes};

/// The registers that VMRUN leaves to software, and the time-stamp counter at entry and exit.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes)]
pub struct Registers {
    pub rcx: u64,
    pub rdx: u64,
    pub rbx: u64,
    /// A VMSA has RSP elsewhere.
    pub reserved: u64,
    pub rbp: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    /// Time stamp just before the entry.
    pub entered_at: u64,
    /// Time stamp just behind the exit.
    pub left_at: u64,
}

/// Bytes of a VMSA from RCX (0x308) to R15.
const VMSA_BYTES: usize = 0x78;

impl Registers {
    /// The registers as a VMSA has them from byte 0x308 on.
    pub fn in_vmsa(&mut self) -> &mut [u8] {
        &mut self.as_mut_bytes()[..VMSA_BYTES]
    }

    /// Guest ticks of the last run: what lies between the two time stamps, less the monitor's own instructions there.
    pub fn guest_ticks(&self) -> u64 {
        self.left_at.wrapping_sub(self.entered_at).saturating_sub(SWITCH_INSTRUCTIONS)
    }
}

/// The monitor's own instructions between the two RDTSC of [`run`], VMRUN included: 4 after the first,
/// 14 loads, VMRUN, 15 stores, 1 move. The self-test (crate::self_test) checks it under icount.
pub const SWITCH_INSTRUCTIONS: u64 = 35;

/// Saves what [`run`] takes back at each exit into the page at `host`: it never changes once this processor has its tables.
///
/// # Safety
/// `host` must be the physical address of a page for this use alone; EFER.SVME must be set.
pub unsafe fn save_host(host: u64) {
    // SAFETY: VMSAVE writes the page in RAX only, which the caller gives away.
    unsafe { asm!("vmsave rax", in("rax") host, options(nostack, preserves_flags)) };
}

/// Runs the guest of the VMCB until its next exit.
///
/// # Safety
/// `vmcb` must be the physical address of a VMCB whose nested tables give the guest nothing of the
/// monitor's memory, `host` that of a page that [`save_host`] filled on this processor; GIF must be clear.
#[unsafe(naked)]
pub unsafe extern "C" fn run(vmcb: u64, registers: *mut Registers, host: u64) {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "push rdx",
        "push rdi",
        "push rsi",
        "mov rax, rdi",
        "vmload rax",
        "rdtsc",
        "shl rdx, 32",
        "or rax, rdx",
        "mov [rsi + 120], rax",
        "mov rax, rdi",
        "mov rbx, [rsi + 16]",
        "mov rcx, [rsi]",
        "mov rdx, [rsi + 8]",
        "mov rdi, [rsi + 48]",
        "mov rbp, [rsi + 32]",
        "mov r8, [rsi + 56]",
        "mov r9, [rsi + 64]",
        "mov r10, [rsi + 72]",
        "mov r11, [rsi + 80]",
        "mov r12, [rsi + 88]",
        "mov r13, [rsi + 96]",
        "mov r14, [rsi + 104]",
        "mov r15, [rsi + 112]",
        "mov rsi, [rsi + 40]",
        "vmrun rax",
        "mov rax, [rsp]",
        "mov [rax + 16], rbx",
        "mov [rax], rcx",
        "mov [rax + 8], rdx",
        "mov [rax + 40], rsi",
        "mov [rax + 48], rdi",
        "mov [rax + 32], rbp",
        "mov [rax + 56], r8",
        "mov [rax + 64], r9",
        "mov [rax + 72], r10",
        "mov [rax + 80], r11",
        "mov [rax + 88], r12",
        "mov [rax + 96], r13",
        "mov [rax + 104], r14",
        "mov [rax + 112], r15",
        "mov rbx, rax",
        "rdtsc",
        "shl rdx, 32",
        "or rax, rdx",
        "mov [rbx + 128], rax",
        "pop rsi",
        "pop rax",
        "vmsave rax",
        "pop rax",
        "vmload rax",
        "cld",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
    )
}
