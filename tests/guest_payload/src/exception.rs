//! Exceptions: #VC and #GP can be expected by a probe; everything else ends the payload.

use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicU64, Ordering};

const CODE_SELECTOR: u64 = 0x10;
const INTERRUPT_GATE: u64 = 0x8e;

const EXCEPTIONS: usize = 32;
/// The highest interrupt that this program asks for; the last gate.
pub const INTERRUPT_VECTOR: u64 = 0x40;
const GATES: usize = INTERRUPT_VECTOR as usize + 1;

/// Interrupts that came.
static INTERRUPTS: AtomicU64 = AtomicU64::new(0);

/// Interrupts that came so far.
pub fn interrupts() -> u64 {
    INTERRUPTS.load(Ordering::SeqCst)
}

/// Vector and error code of the last exception in a probe; 0 when there was none.
static CAUGHT: AtomicU64 = AtomicU64::new(0);

global_asm!(
    ".section .text",
    // A probe: does one access between probe_start and probe_end, so that the handler knows it.
    ".globl probe_read_u64, probe_write_u64",
    "probe_read_u64:",
    "mov rax, [rdi]",
    "probe_read_end:",
    "ret",
    "probe_write_u64:",
    "mov [rdi], rsi",
    "probe_write_end:",
    "ret",
    // All stubs push a vector; those without error code push a zero first.
    ".macro stub number, has_code",
    ".balign 16",
    ".if \\has_code == 0",
    "push 0",
    ".endif",
    "push \\number",
    "jmp exception_common",
    ".endm",
    ".balign 16",
    ".globl exception_stubs, interrupt_stub",
    "exception_stubs:",
    ".set n, 0",
    ".rept 32",
    ".if n == 8 || n == 10 || n == 11 || n == 12 || n == 13 || n == 14 || n == 17 || n == 21 || n == 29 || n == 30",
    "stub n, 1",
    ".else",
    "stub n, 0",
    ".endif",
    ".set n, n + 1",
    ".endr",
    "exception_common:",
    // stack: vector, code, rip, cs, rflags, rsp, ss
    "push rax",
    "push rcx",
    "mov rax, [rsp + 32]",
    "lea rcx, [rip + probe_read_u64]",
    "cmp rax, rcx",
    "je 2f",
    "lea rcx, [rip + probe_write_u64]",
    "cmp rax, rcx",
    "je 3f",
    "mov rdi, rsp",
    "and rsp, -16",
    "call {unexpected}",
    "ud2",
    "2:",
    "lea rcx, [rip + probe_read_end]",
    "jmp 4f",
    "3:",
    "lea rcx, [rip + probe_write_end]",
    "4:",
    "mov [rsp + 32], rcx",
    "mov rax, [rsp + 16]",
    "shl rax, 32",
    "or rax, [rsp + 24]",
    "mov [rip + {caught}], rax",
    "pop rcx",
    "pop rax",
    "add rsp, 16",
    "iretq",
    // An interrupt: counted, and ended by the case that asked for it.
    "interrupt_stub:",
    "inc qword ptr [rip + {interrupts}]",
    "iretq",
    interrupts = sym INTERRUPTS,
    unexpected = sym unexpected,
    caught = sym CAUGHT,
);

// SAFETY: defined above with the C calling convention.
unsafe extern "C" {
    fn probe_read_u64(address: u64) -> u64;
    fn probe_write_u64(address: u64, value: u64);
    static exception_stubs: u8;
    static interrupt_stub: u8;
}

extern "C" fn unexpected(stack: *const [u64; 7]) -> ! {
    // SAFETY: the stub passes its stack: two saved registers, vector, code, RIP, CS, RFLAGS.
    let [_, _, vector, code, rip, _, _] = unsafe { stack.read() };
    crate::serial::println!("payload: exception {vector} code {code:#x} rip {rip:#x}");
    crate::ghcb::exit(254)
}

#[repr(C, align(16))]
struct Table([[AtomicU64; 2]; GATES]);
static TABLE: Table = Table([const { [const { AtomicU64::new(0) }; 2] }; GATES]);

#[repr(C, packed)]
struct Pointer {
    limit: u16,
    base: u64,
}

/// Address and limit of the interrupt table, for other vCPUs.
pub fn table() -> (u64, u16) {
    (&raw const TABLE as u64, GATES as u16 * 16 - 1)
}

pub fn initialise() {
    for (vector, gate) in TABLE.0.iter().enumerate() {
        let handler = match vector {
            0..EXCEPTIONS => &raw const exception_stubs as u64 + 16 * vector as u64,
            _ => &raw const interrupt_stub as u64,
        };
        let low =
            handler & 0xffff | CODE_SELECTOR << 16 | INTERRUPT_GATE << 40 | (handler >> 16 & 0xffff) << 48;
        gate[0].store(low, Ordering::SeqCst);
        gate[1].store(handler >> 32, Ordering::SeqCst);
    }
    let (base, limit) = table();
    let pointer = Pointer { limit, base };
    // SAFETY: the table was just filled and lives for ever.
    unsafe { asm!("lidt [{}]", in(reg) &pointer, options(readonly, nostack)) };
}

/// An exception that a probe caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caught {
    pub vector: u32,
    pub code: u32,
}

fn take() -> Option<Caught> {
    let value = CAUGHT.swap(0, Ordering::SeqCst);
    (value != 0).then_some(Caught { vector: (value >> 32) as u32, code: value as u32 })
}

/// Reads memory that may fault.
pub fn probe_read(address: u64) -> Result<u64, Caught> {
    // SAFETY: a fault at the access is caught by the handler; any address may be read.
    let value = unsafe { probe_read_u64(address) };
    take().map_or(Ok(value), Err)
}

/// Writes memory that may fault.
pub fn probe_write(address: u64, value: u64) -> Result<(), Caught> {
    // SAFETY: as for `probe_read`; the caller names memory that is free.
    unsafe { probe_write_u64(address, value) };
    take().map_or(Ok(()), Err)
}

/// Ends this vCPU the hard way: an exception without an interrupt table.
pub fn triple_fault() {
    let pointer = Pointer { limit: 0, base: 0 };
    // SAFETY: nothing runs after this.
    unsafe { asm!("lidt [{}]", "ud2", in(reg) &pointer, options(readonly, nostack)) };
}
