//! The local APIC of the processor that runs this code: real hardware, shared with the guest.
//!
//! It stays in xAPIC mode for ever, and a guest that wants x2APIC mode gets it from `devices::x2apic`: QEMU knows a processor in
//! x2APIC mode by a number that cannot be changed, and in xAPIC mode by its id register, which can. So vCPU n has APIC id n, as on real
//! hosts, although the processor that stays outside of the guest is QEMU's first. Source: AMD APM volume 2, chapter 16.

use crate::physical;

const PAGE: u64 = 0xfee0_0000;
const ID: u64 = 0x20;
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

/// APIC id of the processor that never enters a guest: no vCPU's.
pub const SPARE_ID: u8 = 0xfe;

/// Sends an interrupt command to the processors that `destination` names (8 bits).
pub fn command(destination: u32, command: u32) {
    // The guest may be between its two writes: its high half must survive.
    let saved = read(COMMAND_HIGH);
    write(COMMAND_HIGH, destination << 24);
    write(COMMAND_LOW, command);
    write(COMMAND_HIGH, saved);
}

/// Gives this processor's APIC an id.
pub fn set_id(id: u8) {
    write(ID, u32::from(id) << 24);
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

/// Reads a register of this processor's APIC.
pub fn read(register: u64) -> u32 {
    physical::read_u32(PAGE + register)
}

/// Writes a register of this processor's APIC.
pub fn write(register: u64, value: u32) {
    physical::write_u32(PAGE + register, value);
}

/// Makes this processor's APIC what a reset leaves, as far as a guest can tell: no timer, nothing in service, as whoever served it is
/// gone.
pub fn reset() {
    write(TIMER_VECTOR, MASKED);
    write(TIMER_COUNT, 0);
    for _ in 0..256 {
        if (0..8).all(|word| read(IN_SERVICE + word * 0x10) == 0) {
            break;
        }
        write(END_OF_INTERRUPT, 0);
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
    write(SPURIOUS_VECTOR, read(SPURIOUS_VECTOR) | SOFTWARE_ENABLE | 0xff);
}
