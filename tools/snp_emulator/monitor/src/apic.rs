//! The local APIC of the processor that runs this code: real hardware, shared with the guest.
//!
//! The guest decides between xAPIC and x2APIC mode; the monitor only sends INIT, SIPI and NMI and
//! leaves every register as the guest programmed it. Source: AMD APM volume 2, chapter 16.

use crate::{instructions, physical};

const APIC_BASE: u32 = 0x1b;
const X2APIC_ENABLED: u64 = 1 << 10;
const XAPIC_PAGE: u64 = 0xfee0_0000;
const X2APIC_FIRST: u32 = 0x800;
const SPURIOUS_VECTOR: u64 = 0xf0;
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

/// Software-enables this processor's APIC, as firmware would have.
pub fn enable() {
    if !x2apic() {
        let value = physical::read_u32(XAPIC_PAGE + SPURIOUS_VECTOR);
        physical::write_u32(XAPIC_PAGE + SPURIOUS_VECTOR, value | SOFTWARE_ENABLE | 0xff);
    }
}
