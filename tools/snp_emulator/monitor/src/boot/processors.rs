//! Starts the other processors of the machine with INIT and SIPI.

use crate::{apic, heap, instructions, physical};
use core::hint::spin_loop;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Where the real-mode trampoline runs; the SIPI vector is this page's number. It is the guest's memory
/// later, so all processors are started before the guest is loaded.
const TRAMPOLINE: u64 = 0x8000;
const STACK_BYTES: usize = 64 << 10;
/// TSC ticks to wait for a processor before the machine gives up (QEMU's TSC runs at about 1 GHz).
const START_TICKS: u64 = 20_000_000_000;
const INIT_TICKS: u64 = 1_000_000;

// SAFETY: entry.s defines these: the two labels by address only, the three words 8-byte aligned in .data.
unsafe extern "C" {
    static ap_trampoline_start: u8;
    static ap_trampoline_end: u8;
    static ap_cr3: AtomicU64;
    static ap_stack: AtomicU64;
    static ap_index: AtomicU64;
}

static ARRIVED: AtomicBool = AtomicBool::new(false);

/// Starts processors 1 to `count - 1`, one after the other; each ends up in [`crate::processor_main`].
pub fn start_others(count: usize) {
    let start = &raw const ap_trampoline_start as u64;
    let mut code = [0u8; 256];
    let length = (&raw const ap_trampoline_end as u64 - start) as usize;
    physical::read_bytes(start, &mut code[..length]);
    physical::write_bytes(TRAMPOLINE, &code[..length]);
    for index in 1..count {
        start_one(index);
    }
}

fn start_one(index: usize) {
    // The trampoline's variables lie in .boot, in what will be the guest's memory: they are written as such.
    physical::write_u64(&raw const ap_cr3 as u64, instructions::read_cr3());
    physical::write_u64(&raw const ap_stack as u64, heap::permanent_stack(STACK_BYTES));
    physical::write_u64(&raw const ap_index as u64, index as u64);
    ARRIVED.store(false, Ordering::SeqCst);
    apic::send_init(index as u32);
    wait_ticks(INIT_TICKS);
    apic::send_startup(index as u32, (TRAMPOLINE >> 12) as u8);
    let begin = instructions::time_stamp();
    while !ARRIVED.load(Ordering::SeqCst) {
        assert!(instructions::time_stamp() - begin < START_TICKS, "processor {index} did not start");
        spin_loop();
    }
}

fn wait_ticks(ticks: u64) {
    let begin = instructions::time_stamp();
    while instructions::time_stamp() - begin < ticks {
        spin_loop();
    }
}

#[unsafe(no_mangle)]
extern "C" fn application_processor_main(index: u64) -> ! {
    ARRIVED.store(true, Ordering::SeqCst);
    crate::processor_main(index as usize)
}
