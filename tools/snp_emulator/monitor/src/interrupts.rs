//! The monitor's descriptor tables, and what it does with interrupts: it only remembers them.
//!
//! Devices and timers interrupt the processor that a guest's vCPU runs on. A stub notes the vector and
//! returns without an end-of-interrupt: the guest's own EOI reaches the real APIC. The vCPU loop
//! ([`crate::processor`]) injects what was noted. NMIs are the monitor's way to make another processor
//! leave the guest or HLT (`instructions::hold_events` closes the race before VMRUN; the stub
//! below closes the one before HLT).

use crate::{console, heap, instructions};
use core::arch::{asm, global_asm, naked_asm};
use core::cell::UnsafeCell;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// Processors that a machine can have: 8 vCPUs, and CPU 0, which never enters a guest.
pub const MAX_PROCESSORS: usize = 17;
const FIRST_EXTERNAL: usize = 32;
/// Vector of a virtual interrupt that only asks for an exit. QEMU can take a stale one in the monitor: it means nothing there.
pub const WINDOW_VECTOR: u8 = 31;
const NMI: usize = 2;
const KERNEL_CODE: u64 = 8;
const TASK_STATE: u16 = 0x18;
const STACK_BYTES: usize = 16 << 10;
/// Gate of type 64-bit interrupt gate, present.
const INTERRUPT_GATE: u64 = 0x8e;
const GS_BASE: u32 = 0xc000_0101;

/// What arrived at a processor; GS points to it, so that the stubs need one register.
#[repr(C)]
struct Pending {
    /// Vectors that were not injected yet: one bit each.
    vectors: [AtomicU64; 4],
    /// NMIs so far.
    nmis: AtomicU64,
    /// How often each vector was taken from the APIC and not injected yet.
    ///
    /// Counted, because each time put it into service, and only an injection makes the guest end that. A vector can be taken
    /// again before it is injected: the guest's end of another interrupt ends the highest in service, which may be this one.
    counts: [AtomicU8; 256],
}
const NMIS: usize = offset_of!(Pending, nmis);
const COUNTS: usize = offset_of!(Pending, counts);
static PENDING: [Pending; MAX_PROCESSORS] = [const {
    Pending {
        vectors: [const { AtomicU64::new(0) }; 4],
        nmis: AtomicU64::new(0),
        counts: [const { AtomicU8::new(0) }; 256],
    }
}; MAX_PROCESSORS];

global_asm!(
    ".section .text",
    ".balign 16",
    ".globl vector_stubs",
    "vector_stubs:",
    ".set vector, 0",
    ".rept 256",
    ".balign 16",
    "push rax",
    ".byte 0xb8",
    ".long vector",
    "jmp note_vector",
    ".set vector, vector + 1",
    ".endr",
    "note_vector:",
    "inc byte ptr gs:[rax + {counts}]",
    "lock bts qword ptr gs:[0], rax",
    "pop rax",
    "iretq",
    // HLT unless the byte at RDI is set; an NMI in between moves RIP to the end (nmi_stub).
    ".globl idle_start, idle_end",
    "idle_start:",
    "cmp byte ptr [rdi], 0",
    "jne idle_end",
    "sti",
    "hlt",
    "idle_end:",
    "cli",
    "ret",
    counts = const COUNTS,
);

// SAFETY: the assembly above defines the label, of which only the address is taken, and the function with this signature.
unsafe extern "C" {
    static vector_stubs: u8;
    fn idle_start(flag: *const AtomicU8);
}

#[unsafe(naked)]
extern "C" fn nmi_stub() {
    naked_asm!(
        "inc qword ptr gs:[{nmis}]",
        "push rax",
        "push rcx",
        "lea rax, [rip + idle_start]",
        "lea rcx, [rip + idle_end]",
        "cmp [rsp + 16], rax",
        "jb 2f",
        "cmp [rsp + 16], rcx",
        "jae 2f",
        "mov [rsp + 16], rcx",
        "2:",
        "pop rcx",
        "pop rax",
        "iretq",
        nmis = const NMIS,
    )
}

#[unsafe(naked)]
extern "C" fn window_stub() {
    naked_asm!("iretq")
}

#[unsafe(naked)]
extern "C" fn exception_stub<const VECTOR: u64>() {
    naked_asm!("push {vector}", "mov rdi, rsp", "and rsp, -16", "call {handler}", "ud2",
        vector = const VECTOR as i32, handler = sym exception)
}

extern "C" fn exception(frame: *const [u64; 6]) -> ! {
    // SAFETY: the stub passes the address of the vector it pushed, with the processor's frame above it.
    let frame = unsafe { frame.read() };
    console::emergency_line(
        "panic",
        format_args!(
            "monitor exception {} at stack {:x?} cr2 {:#x}",
            frame[0],
            &frame[1..],
            instructions::read_cr2()
        ),
    );
    crate::finish::fail()
}

#[repr(C, align(16))]
struct InterruptTable([[AtomicU64; 2]; 256]);
static TABLE: InterruptTable = InterruptTable([const { [const { AtomicU64::new(0) }; 2] }; 256]);

fn set_gate(vector: usize, handler: u64, stack: u64) {
    let low = handler & 0xffff
        | KERNEL_CODE << 16
        | stack << 32
        | INTERRUPT_GATE << 40
        | (handler >> 16 & 0xffff) << 48;
    TABLE.0[vector][0].store(low, Ordering::SeqCst);
    TABLE.0[vector][1].store(handler >> 32, Ordering::SeqCst);
}

/// Fills the interrupt table; once, before [`load_tables`].
pub fn prepare_table() {
    let first = &raw const vector_stubs as u64;
    for vector in FIRST_EXTERNAL..256 {
        set_gate(vector, first + 16 * vector as u64, 1);
    }
    macro_rules! exceptions {
        ($($vector:literal)*) => { $( set_gate($vector, exception_stub::<$vector> as *const () as u64, 1); )* };
    }
    exceptions!(0 1 3 4 5 6 7 8 9 10 11 12 13 14 16 17 18 19 20 21 28 29 30);
    set_gate(NMI, nmi_stub as *const () as u64, 2);
    set_gate(usize::from(WINDOW_VECTOR), window_stub as *const () as u64, 1);
}

/// Task state segment and descriptor table of one processor.
#[repr(C, align(16))]
struct ProcessorTables {
    task_state: UnsafeCell<[u32; 26]>,
    descriptors: UnsafeCell<[u64; 5]>,
}
// SAFETY: each element is written once, by its own processor, before the processor uses it.
unsafe impl Sync for ProcessorTables {}
static TABLES: [ProcessorTables; MAX_PROCESSORS] = [const {
    ProcessorTables { task_state: UnsafeCell::new([0; 26]), descriptors: UnsafeCell::new([0; 5]) }
}; MAX_PROCESSORS];

#[repr(C, packed)]
struct TablePointer {
    limit: u16,
    base: u64,
}

/// Gives this processor its GDT, TSS with two interrupt stacks, the interrupt table and its pending vectors.
pub fn load_tables(processor: usize) {
    let tables = &TABLES[processor];
    let mut state = [0u32; 26];
    for (slot, stack) in [(9, heap::permanent_stack(STACK_BYTES)), (11, heap::permanent_stack(STACK_BYTES))] {
        state[slot] = stack as u32;
        state[slot + 1] = (stack >> 32) as u32;
    }
    let base = tables.task_state.get() as u64;
    let descriptor = 103 | (base & 0xff_ffff) << 16 | 0x89 << 40 | (base >> 24 & 0xff) << 56;
    let descriptors = [0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff, descriptor, base >> 32];
    // SAFETY: only this processor touches its element, and not concurrently.
    unsafe { tables.task_state.get().write(state) };
    // SAFETY: as above.
    unsafe { tables.descriptors.get().write(descriptors) };
    let gdt = TablePointer { limit: 39, base: tables.descriptors.get() as u64 };
    let idt = TablePointer { limit: 4095, base: &raw const TABLE as u64 };
    // SAFETY: the new GDT has the same code and data segments at the same selectors as the boot GDT.
    unsafe { asm!("lgdt [{}]", in(reg) &gdt, options(readonly, nostack, preserves_flags)) };
    // SAFETY: the table was filled by `prepare_table` and lives for ever.
    unsafe { asm!("lidt [{}]", in(reg) &idt, options(readonly, nostack, preserves_flags)) };
    // SAFETY: the selector names the TSS descriptor just written.
    unsafe { asm!("ltr {:x}", in(reg) TASK_STATE, options(nostack, preserves_flags)) };
    // SAFETY: GS is used by the vector stubs only, as the base of this processor's pending vectors.
    unsafe { instructions::write_msr(GS_BASE, &raw const PENDING[processor] as u64) };
}

/// The highest vector that waits for injection on `processor`.
pub fn highest_pending(processor: usize) -> Option<u8> {
    let words = PENDING[processor].vectors.iter().enumerate().rev();
    words.map(|(index, word)| (index, word.load(Ordering::SeqCst))).find(|(_, word)| *word != 0).map(
        |(index, word)| {
            let vector = 64 * index + word.ilog2() as usize;
            vector as u8
        },
    )
}

fn bit(vector: u8) -> (usize, u64) {
    (usize::from(vector / 64), 1 << (vector % 64))
}

/// The vectors that wait for injection on `processor`.
pub fn all_pending(processor: usize) -> impl Iterator<Item = usize> {
    let counts = &PENDING[processor].counts;
    (FIRST_EXTERNAL..256).filter(|vector| counts[*vector].load(Ordering::SeqCst) != 0)
}

/// Counts a vector that is injected. By its own processor, which takes no interrupt meanwhile.
pub fn clear_pending(processor: usize, vector: u8) {
    let (word, bit) = bit(vector);
    let pending = &PENDING[processor];
    if pending.counts[usize::from(vector)].fetch_sub(1, Ordering::SeqCst) == 1 {
        pending.vectors[word].fetch_and(!bit, Ordering::SeqCst);
    }
}

/// Notes a vector that must be injected again, as it did not reach the guest.
pub fn set_pending(processor: usize, vector: u8) {
    let (word, bit) = bit(vector);
    PENDING[processor].counts[usize::from(vector)].fetch_add(1, Ordering::SeqCst);
    PENDING[processor].vectors[word].fetch_or(bit, Ordering::SeqCst);
}

/// Forgets every vector that was not injected yet. By its own processor.
pub fn forget_all(processor: usize) {
    let Pending { vectors, counts, .. } = &PENDING[processor];
    vectors.iter().for_each(|word| word.store(0, Ordering::SeqCst));
    counts.iter().for_each(|count| count.store(0, Ordering::SeqCst));
}

/// NMIs that a processor took so far.
pub fn nmis(processor: usize) -> u64 {
    PENDING[processor].nmis.load(Ordering::SeqCst)
}

/// Halts until an interrupt or NMI, unless `wake` is already set.
pub fn idle(wake: &AtomicU8) {
    instructions::renew_interrupt_request();
    // SAFETY: `idle_start` follows the C ABI, reads the flag and changes RFLAGS.IF only, back to 0.
    unsafe { idle_start(wake) };
}
