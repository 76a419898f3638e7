//! VMRUN, with everything that it does not switch: general registers, FS/GS/TR and the clock around it.
//!
//! x87, SSE and AVX state stay in the processor: the monitor is compiled without them, and
//! [`crate::vector_state`] exchanges them when another VMPL or VMSA comes to run.

use core::arch::naked_asm;

/// The registers that VMRUN leaves to software, and the time-stamp counter at entry and exit.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Registers {
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rbp: u64,
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
    /// The registers in the order of a VMSA; index 3 is RSP's place, which a VMSA has elsewhere.
    fn in_vmsa_order(&mut self) -> [Option<&mut u64>; VMSA_BYTES / 8] {
        [
            Some(&mut self.rcx),
            Some(&mut self.rdx),
            Some(&mut self.rbx),
            None,
            Some(&mut self.rbp),
            Some(&mut self.rsi),
            Some(&mut self.rdi),
            Some(&mut self.r8),
            Some(&mut self.r9),
            Some(&mut self.r10),
            Some(&mut self.r11),
            Some(&mut self.r12),
            Some(&mut self.r13),
            Some(&mut self.r14),
            Some(&mut self.r15),
        ]
    }

    /// Takes the registers from a VMSA's bytes 0x308 to 0x37F.
    pub fn load_vmsa(&mut self, bytes: &[u8; VMSA_BYTES]) {
        let (words, _) = bytes.as_chunks::<8>();
        for (register, word) in self.in_vmsa_order().into_iter().zip(words) {
            if let Some(register) = register {
                *register = u64::from_le_bytes(*word);
            }
        }
    }

    /// The registers as a VMSA has them.
    pub fn to_vmsa(mut self) -> [u8; VMSA_BYTES] {
        let mut bytes = [0; VMSA_BYTES];
        let (words, _) = bytes.as_chunks_mut::<8>();
        for (register, word) in self.in_vmsa_order().into_iter().zip(words) {
            *word = register.map_or([0; 8], |register| register.to_le_bytes());
        }
        bytes
    }

    /// Guest ticks of the last run: what lies between the two time stamps, less the monitor's own instructions there.
    pub fn guest_ticks(&self) -> u64 {
        self.left_at.wrapping_sub(self.entered_at).saturating_sub(SWITCH_INSTRUCTIONS)
    }
}

/// The monitor's own instructions between the two RDTSC of [`run`], VMRUN included: 4 after the first,
/// 14 loads, VMRUN, 15 stores, 1 move. The self-test (crate::self_test) checks it under icount.
pub const SWITCH_INSTRUCTIONS: u64 = 35;

/// Runs the guest of the VMCB until its next exit.
///
/// # Safety
/// `vmcb` must be the physical address of a VMCB whose nested tables give the guest nothing of the
/// monitor's memory, `host` that of a page for the host's state; GIF must be clear.
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
        "mov rax, rdx",
        "vmsave rax",
        "mov rax, rdi",
        "vmload rax",
        "rdtsc",
        "shl rdx, 32",
        "or rax, rdx",
        "mov [rsi + 112], rax",
        "mov rax, rdi",
        "mov rbx, [rsi]",
        "mov rcx, [rsi + 8]",
        "mov rdx, [rsi + 16]",
        "mov rdi, [rsi + 32]",
        "mov rbp, [rsi + 40]",
        "mov r8, [rsi + 48]",
        "mov r9, [rsi + 56]",
        "mov r10, [rsi + 64]",
        "mov r11, [rsi + 72]",
        "mov r12, [rsi + 80]",
        "mov r13, [rsi + 88]",
        "mov r14, [rsi + 96]",
        "mov r15, [rsi + 104]",
        "mov rsi, [rsi + 24]",
        "vmrun rax",
        "mov rax, [rsp]",
        "mov [rax], rbx",
        "mov [rax + 8], rcx",
        "mov [rax + 16], rdx",
        "mov [rax + 24], rsi",
        "mov [rax + 32], rdi",
        "mov [rax + 40], rbp",
        "mov [rax + 48], r8",
        "mov [rax + 56], r9",
        "mov [rax + 64], r10",
        "mov [rax + 72], r11",
        "mov [rax + 80], r12",
        "mov [rax + 88], r13",
        "mov [rax + 96], r14",
        "mov [rax + 104], r15",
        "mov rbx, rax",
        "rdtsc",
        "shl rdx, 32",
        "or rax, rdx",
        "mov [rbx + 120], rax",
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
