//! The local APIC of the processor that runs this code: real hardware, shared with the guest.
//!
//! The guest decides between xAPIC and x2APIC mode; the monitor only sends INIT, SIPI and NMI and
//! leaves every register as the guest programmed it. Source: AMD APM volume 2, chapter 16.

use crate::{instructions, physical};

const APIC_BASE: u32 = 0x1b;
const X2APIC_ENABLED: u64 = 1 << 10;
const ENABLED: u64 = 1 << 11;
const XAPIC_PAGE: u64 = 0xfee0_0000;
const X2APIC_FIRST: u32 = 0x800;
const SPURIOUS_VECTOR: u64 = 0xf0;
const END_OF_INTERRUPT: u64 = 0xb0;
const TASK_PRIORITY: u64 = 0x80;
const IN_SERVICE: u64 = 0x100;
const REQUESTED: u64 = 0x200;
const TIMER_LEFT: u64 = 0x390;
const TIMER_VECTOR: u64 = 0x320;
const TIMER_COUNT: u64 = 0x380;
const MASKED: u32 = 1 << 16;
const COMMAND_LOW: u64 = 0x300;
const COMMAND_HIGH: u64 = 0x310;
const SOFTWARE_ENABLE: u32 = 0x100;
/// Interrupt command register: delivery mode INIT / start-up / NMI, level assert.
const MODE_INIT: u32 = 0x4500;
const MODE_STARTUP: u32 = 0x4600;
const MODE_NMI: u32 = 0x4400;

fn x2apic() -> bool {
    // SAFETY: APIC_BASE exists on every processor that QEMU emulates.
    unsafe { instructions::read_msr(APIC_BASE) & X2APIC_ENABLED != 0 }
}

fn command(destination: u32, command: u32) {
    if x2apic() {
        let value = u64::from(destination) << 32 | u64::from(command);
        // SAFETY: the interrupt command register exists in x2APIC mode; INIT, SIPI and NMI go to processors that run the monitor.
        unsafe { instructions::write_msr(X2APIC_FIRST + (COMMAND_LOW >> 4) as u32, value) };
    } else {
        // The guest may be between its two writes: its high half must survive.
        let saved = physical::read_u32(XAPIC_PAGE + COMMAND_HIGH);
        physical::write_u32(XAPIC_PAGE + COMMAND_HIGH, destination << 24);
        physical::write_u32(XAPIC_PAGE + COMMAND_LOW, command);
        physical::write_u32(XAPIC_PAGE + COMMAND_HIGH, saved);
    }
}

/// Resets another processor.
pub fn send_init(destination: u32) {
    command(destination, MODE_INIT);
}

/// Starts another processor at page `vector` in real mode.
pub fn send_startup(destination: u32, vector: u8) {
    command(destination, MODE_STARTUP | u32::from(vector));
}

/// Makes another processor leave the guest, or HLT.
pub fn send_nmi(destination: u32) {
    command(destination, MODE_NMI);
}

fn read(register: u64) -> u32 {
    if x2apic() {
        // SAFETY: callers name registers that exist in both modes and have no side effect.
        unsafe { instructions::read_msr(X2APIC_FIRST + (register >> 4) as u32) as u32 }
    } else {
        physical::read_u32(XAPIC_PAGE + register)
    }
}

fn write(register: u64, value: u32) {
    if x2apic() {
        // SAFETY: as for `read`; they end or mask interrupts of the guest's.
        unsafe { instructions::write_msr(X2APIC_FIRST + (register >> 4) as u32, value.into()) };
    } else {
        physical::write_u32(XAPIC_PAGE + register, value);
    }
}

/// Makes this processor's APIC what a reset leaves, as far as a guest can tell: no timer, nothing in service, as whoever served it is
/// gone, and xAPIC mode. Linux takes another way where it finds x2APIC mode on.
pub fn reset() {
    write(TIMER_VECTOR, MASKED);
    write(TIMER_COUNT, 0);
    for _ in 0..256 {
        if (0..8).all(|word| read(IN_SERVICE + word * 0x10) == 0) {
            break;
        }
        write(END_OF_INTERRUPT, 0);
    }
    if x2apic() {
        // SAFETY: the register exists (`x2apic`).
        let base = unsafe { instructions::read_msr(APIC_BASE) } & !X2APIC_ENABLED;
        // SAFETY: the only way out of x2APIC mode leads through a disabled APIC (APM volume 2, 16.9); nobody sends meanwhile, as
        // senders hold the world's lock, which the caller has.
        unsafe { instructions::write_msr(APIC_BASE, base & !ENABLED) };
        // SAFETY: as above.
        unsafe { instructions::write_msr(APIC_BASE, base) };
    }
    enable();
}

/// What this processor's APIC is doing, for messages.
pub struct State {
    /// Vectors in service, a bit each.
    pub in_service: [u32; 8],
    /// Vectors that wait for the processor, a bit each.
    pub requested: [u32; 8],
    /// The priority below which they wait.
    pub task_priority: u32,
    /// The timer's entry in the local vector table.
    pub timer_vector: u32,
    /// What is left of the timer's count.
    pub timer_left: u32,
}

/// Looks at this processor's APIC.
pub fn state() -> State {
    let words = |first| core::array::from_fn(|word| read(first + 0x10 * word as u64));
    State {
        in_service: words(IN_SERVICE),
        requested: words(REQUESTED),
        task_priority: read(TASK_PRIORITY),
        timer_vector: read(TIMER_VECTOR),
        timer_left: read(TIMER_LEFT),
    }
}

/// Software-enables this processor's APIC, as firmware would have.
pub fn enable() {
    if !x2apic() {
        let value = physical::read_u32(XAPIC_PAGE + SPURIOUS_VECTOR);
        physical::write_u32(XAPIC_PAGE + SPURIOUS_VECTOR, value | SOFTWARE_ENABLE | 0xff);
    }
}
