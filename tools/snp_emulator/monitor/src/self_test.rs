//! What the monitor leans on in QEMU, tried at start-up with a guest of a few instructions.
//!
//! QEMU promises none of it in a document, and versions differ; a machine on another QEMU would fail in ways that look like
//! faults of the firmware. Processor 1 runs the table of probes before any image is loaded; the first one that comes
//! out differently ends the run, and the launcher names the version.

use crate::instructions;
use crate::nested::{MapSize, NestedTables, Rights};
use crate::translate::C_BIT;
use crate::vmcb::{self, SAVE_AREA_BYTES, Vmcb};
use crate::world_switch::{self, Registers};
use crate::{apic, console, exits, finish, heap, interrupts};
use core::hint::spin_loop;
use core::sync::atomic::{AtomicBool, Ordering};
use snp_abi::vmsa::{Segment, SegmentAttributes, Vmsa};
use zerocopy::{FromZeros, IntoBytes};

/// Guest-physical pages of the probe guest; all are mapped at their C-bit alias, `DATA` at the plain one too.
const CODE: u64 = 0x1000;
const TOP_TABLE: u64 = 0x2000;
const SECOND_TABLE: u64 = 0x3000;
const DATA: u64 = 0x4000;
const READ_ONLY: u64 = 0x5000;
/// A page that is mapped nowhere, and an offset in it.
const MISSING: u64 = 0x6008;
/// Where the guest sees its memory once more, without the C-bit.
const SHARED_VIEW: u64 = 1 << 30;
const PRIVATE_MARK: u64 = 0x7072_6976_6174_6521;
const SHARED_MARK: u64 = 0x7368_6172_6564_2121;

const PRESENT_WRITABLE: u64 = 3;
const LARGE_LEAF: u64 = 1 << 7;
const RFLAGS_INTERRUPT: u64 = 1 << 9;
/// V_IRQ at the highest priority, V_IGN_TPR, V_INTR_MASKING.
const VIRTUAL_INTERRUPT: u64 =
    1 << 8 | 0xf << 16 | 1 << 20 | 1 << 24 | (interrupts::WINDOW_VECTOR as u64) << 32;
/// An external interrupt with vector 0x40.
const INJECTED_INTERRUPT: u64 = 1 << 31 | 0x40;
const EXIT_VIRTUAL_INTERRUPT: u64 = 0x64;
const EXIT_NMI: u64 = 0x61;
const EXIT_HLT: u64 = 0x78;
const EXIT_SHUTDOWN: u64 = 0x7f;

/// One instruction that must come to the monitor in a certain way.
struct Probe {
    what: &'static str,
    code: &'static [u8],
    /// RDI of the guest.
    operand: u64,
    exit: u64,
    /// EXITINFO1 and EXITINFO2, where they matter.
    information: [Option<u64>; 2],
    /// Bytes from the start of the code to RIP.
    rip: u64,
}

const fn exits(what: &'static str, code: &'static [u8], exit: u64) -> Probe {
    Probe { what, code, operand: 0, exit, information: [None; 2], rip: 0 }
}

const fn faults(what: &'static str, code: &'static [u8], operand: u64, first: u64, second: u64) -> Probe {
    Probe { what, code, operand, exit: 0x400, information: [Some(first), Some(second)], rip: 0 }
}

/// Exit codes and fault information: AMD APM volume 2, appendix C and 15.25.6.
const PROBES: &[Probe] = &[
    exits("VMRUN enters a guest, and HLT leaves it", HALT, EXIT_HLT),
    exits("PVALIDATE is an invalid opcode", &[0xf2, 0x0f, 0x01, 0xff], 0x46),
    exits("RMPADJUST is an invalid opcode", &[0xf3, 0x0f, 0x01, 0xfe], 0x46),
    exits("RMPQUERY is an invalid opcode", &[0xf3, 0x0f, 0x01, 0xfd], 0x46),
    exits("INVLPGB is an invalid opcode", &[0x0f, 0x01, 0xfe], 0x46),
    exits("TLBSYNC is an invalid opcode", &[0x0f, 0x01, 0xff], 0x46),
    exits("VMGEXIT exits as VMMCALL", &[0xf3, 0x0f, 0x01, 0xd9], 0x81),
    exits("CPUID exits", &[0x0f, 0xa2], 0x72),
    exits("WBINVD exits", &[0x0f, 0x09], 0x89),
    exits("MOV to CR8 exits", &[0x44, 0x0f, 0x22, 0xc0], 0x18),
    exits("MOV to CR0 exits", &[0x0f, 0x22, 0xc0], 0x10),
    Probe {
        information: [Some(0), None],
        rip: 5,
        ..exits("RDMSR of the GHCB register exits", &[0xb9, 0x30, 0x01, 0x01, 0xc0, 0x0f, 0x32], 0x7c)
    },
    Probe {
        information: [Some(1), None],
        rip: 5,
        ..exits("WRMSR of the GHCB register exits", &[0xb9, 0x30, 0x01, 0x01, 0xc0, 0x0f, 0x30], 0x7c)
    },
    Probe {
        information: [None, Some(CODE + 1)],
        ..exits("IN exits and names the next instruction", &[0xec], 0x7b)
    },
    faults("a read faults at its exact address", &[0x48, 0x8b, 0x07], MISSING, 1 << 32 | 4, C_BIT | MISSING),
    faults("a write faults at its exact address", &[0x48, 0x89, 0x07], MISSING, 1 << 32 | 6, C_BIT | MISSING),
    faults(
        "an access without the C-bit faults at the plain address",
        &[0x48, 0x8b, 0x07],
        SHARED_VIEW + MISSING,
        1 << 32 | 4,
        MISSING,
    ),
    faults(
        "a write to a read-only page faults",
        &[0x48, 0x89, 0x07],
        READ_ONLY,
        1 << 32 | 7,
        C_BIT | READ_ONLY,
    ),
];

/// `MOV RAX, [RDI]`; `MOV RBX, [RSI]`; `HLT`.
const READ_BOTH_VIEWS: &[u8] = &[0x48, 0x8b, 0x07, 0x48, 0x8b, 0x1e, 0xf4];
const SPIN: &[u8] = &[0xeb, 0xfe];
const HALT: &[u8] = &[0xf4];
const NOP: u8 = 0x90;
/// Instructions of the guest whose length is counted.
const COUNTED: usize = 200;

/// The guest spins until an NMI; processor 0 sends it ([`send_kicks`]).
static SPINS: AtomicBool = AtomicBool::new(false);
static DONE: AtomicBool = AtomicBool::new(false);

/// Runs all probes on this processor; does not return when one fails.
pub fn run(is_counted: bool) {
    let mut guest = Guest::new();
    for probe in PROBES {
        guest.check(probe);
    }
    guest.check_views();
    guest.check_interrupts();
    if is_counted {
        guest.check_count();
    }
    SPINS.store(true, Ordering::SeqCst);
    guest.start(SPIN, 0, 0);
    guest.expect("an NMI ends a guest that spins", EXIT_NMI);
    DONE.store(true, Ordering::SeqCst);
}

/// Processor 0's part: NMIs for the guest that spins, until the test is over.
pub fn send_kicks(processor: u32) {
    while !SPINS.load(Ordering::SeqCst) {
        spin_loop();
    }
    while !DONE.load(Ordering::SeqCst) {
        apic::send_nmi(processor);
        let begin = instructions::time_stamp();
        while !DONE.load(Ordering::SeqCst) && instructions::time_stamp() - begin < KICK_TICKS {
            spin_loop();
        }
    }
}

/// Ticks between two NMIs.
const KICK_TICKS: u64 = 1_000_000;

fn failed(what: &str, text: core::fmt::Arguments<'_>) -> ! {
    console::line("self-test", format_args!("{what}: {text}"));
    finish::fail()
}

/// The probe guest: 64-bit code in one page, under nested tables of its own.
struct Guest {
    vmcb: Vmcb,
    registers: Registers,
    host_state: u64,
    code: u64,
}

fn write_word(frame: u64, index: u64, value: u64) {
    // SAFETY: the frames come from `heap::frame`, are this module's for good, and the index lies inside.
    unsafe { ((frame + index % 512 * 8) as *mut u64).write_volatile(value) };
}

impl Guest {
    fn new() -> Self {
        let frames = [(); 6].map(|()| heap::frame(1));
        let [code, top, second, private, shared, read_only] = frames;
        write_word(top, 0, SECOND_TABLE | C_BIT | PRESENT_WRITABLE);
        // The same memory twice: private from 0 on, shared from `SHARED_VIEW` on.
        write_word(second, 0, C_BIT | LARGE_LEAF | PRESENT_WRITABLE);
        write_word(second, SHARED_VIEW >> 30, LARGE_LEAF | PRESENT_WRITABLE);
        write_word(private, 0, PRIVATE_MARK);
        write_word(shared, 0, SHARED_MARK);
        let mut tables = NestedTables::new();
        let all = Rights { write: true, execute: true };
        for (guest, host) in [(CODE, code), (TOP_TABLE, top), (SECOND_TABLE, second), (DATA, private)] {
            tables.map(guest | C_BIT, host, MapSize::Small, all);
        }
        tables.map(DATA, shared, MapSize::Small, all);
        tables.map(READ_ONLY | C_BIT, read_only, MapSize::Small, Rights { write: false, execute: true });
        let mut vmcb = Vmcb::new();
        exits::intercepts::apply(&mut vmcb, 0);
        vmcb.write(vmcb::NESTED_CR3, tables.root());
        exits::intercepts::enable_svm(heap::frame(1));
        let host_state = heap::frame(1);
        // SAFETY: the page is this guest's for good, and SVM was enabled above.
        unsafe { world_switch::save_host(host_state) };
        Self { vmcb, registers: Registers::default(), host_state, code }
    }

    /// Runs code until its first exit.
    fn start(&mut self, code: &[u8], operand: u64, other: u64) {
        for (offset, byte) in code.iter().enumerate() {
            // SAFETY: the code page is this guest's; all codes are shorter than a page.
            unsafe { ((self.code + offset as u64) as *mut u8).write_volatile(*byte) };
        }
        self.registers = Registers { rdi: operand, rsi: other, ..Registers::default() };
        *self.vmcb.save_area() = state();
        self.vmcb.write(vmcb::EVENT_INJECTION, 0);
        self.vmcb.write(vmcb::INTERRUPT_SHADOW, 0);
        self.vmcb.write(vmcb::VIRTUAL_INTERRUPT, 1 << 24);
        self.enter();
    }

    fn enter(&mut self) {
        instructions::hold_events();
        // SAFETY: the nested tables map the frames of `new` only, the other pages are this guest's, GIF is clear.
        unsafe { world_switch::run(self.vmcb.address(), &raw mut self.registers, self.host_state) };
        instructions::allow_events();
    }

    fn expect(&self, what: &str, exit: u64) {
        let found = self.vmcb.read(vmcb::EXIT_CODE);
        if found != exit {
            failed(what, format_args!("exit {found:#x} instead of {exit:#x}"));
        }
    }

    fn check(&mut self, probe: &Probe) {
        self.start(probe.code, probe.operand, 0);
        self.expect(probe.what, probe.exit);
        let found = [self.vmcb.read(vmcb::EXIT_INFO_1), self.vmcb.read(vmcb::EXIT_INFO_2)];
        for (found, wanted) in found.iter().zip(probe.information) {
            if wanted.is_some_and(|wanted| wanted != *found) {
                let wanted = probe.information;
                failed(probe.what, format_args!("information {found:#x} instead of {wanted:#x?}"));
            }
        }
        let rip = self.vmcb.read(vmcb::RIP);
        if rip != CODE + probe.rip {
            failed(probe.what, format_args!("RIP {rip:#x} instead of {:#x}", CODE + probe.rip));
        }
    }

    /// The C-bit tells two memories apart.
    fn check_views(&mut self) {
        let what = "private and shared aliases reach different memory";
        self.start(READ_BOTH_VIEWS, DATA, SHARED_VIEW + DATA);
        self.expect(what, EXIT_HLT);
        let found = (self.vmcb.read(vmcb::RAX), self.registers.rbx);
        if found != (PRIVATE_MARK, SHARED_MARK) {
            failed(what, format_args!("read {found:x?}"));
        }
    }

    /// A virtual interrupt waits while the guest does not take interrupts, and exits when it does; an injected one is
    /// delivered at once: the guest has no interrupt table, so that delivery ends in a shutdown.
    fn check_interrupts(&mut self) {
        let open = 2 | RFLAGS_INTERRUPT;
        for (flags, window, event, exit, what) in [
            (2, VIRTUAL_INTERRUPT, 0, EXIT_HLT, "a virtual interrupt waits for the guest's interrupt flag"),
            (open, VIRTUAL_INTERRUPT, 0, EXIT_VIRTUAL_INTERRUPT, "a virtual interrupt exits"),
            (open, 1 << 24, INJECTED_INTERRUPT, EXIT_SHUTDOWN, "an injected interrupt is delivered"),
        ] {
            self.start(HALT, 0, 0);
            *self.vmcb.save_area() = state();
            self.vmcb.write(vmcb::RFLAGS, flags);
            self.vmcb.write(vmcb::VIRTUAL_INTERRUPT, window);
            self.vmcb.write(vmcb::EVENT_INJECTION, event);
            self.enter();
            self.expect(what, exit);
        }
    }

    /// With counted instructions, a guest's ticks are its instructions.
    fn check_count(&mut self) {
        let what = "one tick is one instruction of the guest";
        let mut code = [NOP; COUNTED + 1];
        code[COUNTED] = HALT[0];
        self.start(HALT, 0, 0);
        let none = self.registers.guest_ticks();
        self.start(&code, 0, 0);
        let all = self.registers.guest_ticks();
        // Whether the instruction that exits counts is QEMU's affair.
        if all.wrapping_sub(none) != COUNTED as u64 || none > 1 {
            failed(what, format_args!("{COUNTED} instructions took {all} ticks, none {none}"));
        }
    }
}

/// 64-bit mode at ring 0, at the start of the code page.
fn state() -> [u8; SAVE_AREA_BYTES] {
    let segment = |attributes| {
        let mut segment = Segment::new_zeroed();
        segment.attributes = SegmentAttributes(attributes);
        segment.limit = u32::MAX;
        segment
    };
    let mut vmsa = Vmsa::new_zeroed();
    vmsa.cs = segment(0xa9b);
    let data = segment(0xc93);
    (vmsa.ss, vmsa.ds, vmsa.es) = (data, data, data);
    vmsa.tr = segment(0x08b);
    vmsa.efer = 0x1500;
    vmsa.cr0 = 0x8000_0031;
    vmsa.cr3 = TOP_TABLE | C_BIT;
    vmsa.cr4 = 0x20;
    vmsa.dr6 = 0xffff_0ff0;
    vmsa.dr7 = 0x400;
    vmsa.rflags = 2;
    vmsa.rip = CODE;
    let mut bytes = [0; SAVE_AREA_BYTES];
    bytes.copy_from_slice(&vmsa.as_bytes()[..SAVE_AREA_BYTES]);
    bytes
}
