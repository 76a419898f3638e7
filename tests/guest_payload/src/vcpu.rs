//! Further vCPUs of this guest: VMSAs built here, work handed over through a mailbox.

use crate::check::Failure;
use crate::memory::{fresh_page, write};
use crate::raw;
use crate::{exception, ghcb, svsm};
use core::arch::global_asm;
use core::hint::spin_loop;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

pub const MOST: usize = 8;
/// VMSA offsets (APM volume 2, table B-4).
pub const VMSA_EFER: u64 = 0xd0;
pub const VMSA_FEATURES: u64 = 0x3b0;
const EFER: u64 = 1 << 8 | 1 << 10 | 1 << 11 | 1 << 12;
pub const SVME: u64 = 1 << 12;
/// Ticks to wait for a vCPU before the test says that it hangs.
const PATIENCE: u64 = 30_000_000_000;

static IDS: [AtomicU32; MOST] = [const { AtomicU32::new(u32::MAX) }; MOST];
static COUNT: AtomicUsize = AtomicUsize::new(1);

/// Work for a vCPU: a function, its argument, and the calling area to use.
struct Mailbox {
    work: AtomicU64,
    argument: AtomicU64,
    done: AtomicU64,
    result: AtomicU64,
}
static MAILBOXES: [Mailbox; MOST] = [const {
    Mailbox {
        work: AtomicU64::new(0),
        argument: AtomicU64::new(0),
        done: AtomicU64::new(0),
        result: AtomicU64::new(0),
    }
}; MOST];

#[repr(C, align(4096))]
struct Stacks([[u8; 16384]; MOST]);
static mut STACKS: Stacks = Stacks([[0; 16384]; MOST]);

global_asm!(".section .text", ".globl vcpu_entry", "vcpu_entry:", "call {main}", "ud2", main = sym vcpu_main);

// SAFETY: defined above.
unsafe extern "C" {
    static vcpu_entry: u8;
}

/// What a vCPU does: everything it is told, for ever.
extern "C" fn vcpu_main(number: u64, calling_area: u64) -> ! {
    let mailbox = &MAILBOXES[number as usize];
    loop {
        let work = mailbox.work.swap(0, Ordering::SeqCst);
        if work != 0 {
            // SAFETY: `start_work` stored a function of this type.
            let work: fn(u64, u64) -> u64 = unsafe { core::mem::transmute(work as *const ()) };
            let result = work(mailbox.argument.load(Ordering::SeqCst), calling_area);
            mailbox.result.store(result, Ordering::SeqCst);
            mailbox.done.store(1, Ordering::SeqCst);
        }
        spin_loop();
    }
}

/// Learns the APIC ids.
pub fn initialise() {
    let mut ids = [0; MOST];
    let count = ghcb::apic_ids(&mut ids).min(MOST);
    COUNT.store(count, Ordering::SeqCst);
    for (slot, id) in IDS.iter().zip(ids).take(count) {
        slot.store(id, Ordering::SeqCst);
    }
}

/// vCPUs of the machine, the boot vCPU included.
pub fn count() -> usize {
    COUNT.load(Ordering::SeqCst)
}

/// APIC id of a vCPU; the boot vCPU is number 0.
pub fn apic_id(number: usize) -> u32 {
    IDS[number].load(Ordering::SeqCst)
}

/// SEV_FEATURES of this guest.
pub fn features() -> u64 {
    raw::read_msr(0xc001_0131) >> 2
}

/// Two validated pages: a VMSA that runs `vcpu_main` as vCPU `number`, and its calling area.
pub struct Created {
    pub vmsa: u64,
    pub calling_area: u64,
}

/// Validates a fresh page.
pub fn private_page() -> u64 {
    let page = fresh_page();
    assert!(svsm::validate(page) == svsm::SUCCESS, "a fresh page cannot be validated");
    page
}

/// Makes the pages of a vCPU, without telling anybody.
pub fn prepare(number: usize) -> Created {
    let created = Created { vmsa: private_page(), calling_area: private_page() };
    fill_vmsa(created.vmsa, number, created.calling_area);
    created
}

fn segment(vmsa: u64, offset: u64, selector: u64, attributes: u64, limit: u64, base: u64) {
    write(vmsa + offset, selector | attributes << 16 | limit << 32);
    write(vmsa + offset + 8, base);
}

/// Writes the state of a vCPU that starts in 64-bit mode with this program's tables.
pub fn fill_vmsa(vmsa: u64, number: usize, calling_area: u64) {
    for offset in (0..4096).step_by(8) {
        write(vmsa + offset, 0);
    }
    for offset in [0x00, 0x20, 0x30, 0x40, 0x50] {
        segment(vmsa, offset, 0x18, 0xc93, 0xffff_ffff, 0);
    }
    segment(vmsa, 0x10, 0x10, 0xa9b, 0xffff_ffff, 0);
    segment(vmsa, 0x60, 0, 0, 31, gdt());
    segment(vmsa, 0x70, 0, 0x82, 0xffff, 0);
    let (idt, limit) = exception::table();
    segment(vmsa, 0x80, 0, 0, limit.into(), idt);
    segment(vmsa, 0x90, 0, 0x8b, 0xffff, 0);
    write(vmsa + 0xc8, 2 << 16);
    let stack = &raw const STACKS as u64 + (number as u64 + 1) * 16384 - 64;
    let registers = [
        (VMSA_EFER, EFER),
        (0x148, 1 << 5),
        (0x150, raw::read_cr3()),
        (0x158, 0x8000_0011),
        (0x160, 0x400),
        (0x168, 0xffff_0ff0),
        (0x170, 2),
        (0x178, &raw const vcpu_entry as u64),
        (0x1d8, stack),
        (0x268, 0x0007_0406_0007_0406),
        (0x330, calling_area),
        (0x338, number as u64),
        (VMSA_FEATURES, features()),
        (0x3e8, 1),
        (0x408, 0x1f80),
        (0x410, 0x37f),
    ];
    for (offset, value) in registers {
        write(vmsa + offset, value);
    }
}

/// The GDT that the firmware gave.
fn gdt() -> u64 {
    let mut pointer = [0u8; 10];
    // SAFETY: SGDT writes ten bytes.
    unsafe { core::arch::asm!("sgdt [{}]", in(reg) &mut pointer, options(nostack)) };
    u64::from_le_bytes([
        pointer[2], pointer[3], pointer[4], pointer[5], pointer[6], pointer[7], pointer[8], pointer[9],
    ])
}

/// CREATE_VCPU by the boot vCPU.
pub fn create(created: &Created, apic_id: u32) -> u64 {
    let (area, vmsa) = (svsm::boot_calling_area(), created.vmsa);
    svsm::call_from(area, svsm::CREATE_VCPU, vmsa, created.calling_area, apic_id.into()).rax
}

/// DELETE_VCPU by the boot vCPU.
pub fn delete(vmsa: u64) -> u64 {
    svsm::call(svsm::DELETE_VCPU, vmsa).rax
}

/// Creates and starts vCPU `number`.
pub fn start(number: usize) -> Created {
    let created = prepare(number);
    assert!(create(&created, apic_id(number)) == svsm::SUCCESS, "CREATE_VCPU fails for vCPU {number}");
    let run = ghcb::ap_creation(apic_id(number), 2, 1, created.vmsa, features());
    assert!(run, "the host does not start vCPU {number}");
    created
}

/// Stops a vCPU with the host and deletes it.
pub fn stop(number: usize, created: &Created) -> u64 {
    assert!(ghcb::ap_creation(apic_id(number), 2, 2, 0, 0), "the host does not stop vCPU {number}");
    delete(created.vmsa)
}

/// Hands work to a running vCPU.
pub fn start_work(number: usize, work: fn(u64, u64) -> u64, argument: u64) {
    let mailbox = &MAILBOXES[number];
    mailbox.done.store(0, Ordering::SeqCst);
    mailbox.argument.store(argument, Ordering::SeqCst);
    mailbox.work.store(work as *const () as u64, Ordering::SeqCst);
}

/// Whether a vCPU is done with its work.
pub fn has_finished(number: usize) -> bool {
    MAILBOXES[number].done.load(Ordering::SeqCst) != 0
}

/// Waits for the result of work.
pub fn result(number: usize) -> Result<u64, Failure> {
    let begin = raw::time_stamp();
    while !has_finished(number) {
        if raw::time_stamp().wrapping_sub(begin) > PATIENCE {
            return Err(Failure::new(format_args!("vCPU {number} does not answer")));
        }
        spin_loop();
    }
    Ok(MAILBOXES[number].result.load(Ordering::SeqCst))
}
