//! The paravirtual clock of the guest, and the machine's own measure of the TSC.

use super::ports::{raw_input, raw_output};
use crate::instructions;
use crate::world::World;
use model::Fault;
use model::kvm_clock::{
    self, MSR_ASYNC_FAULTS, MSR_PARAVIRTUAL_EOI, MSR_SYSTEM_TIME, MSR_WALL_CLOCK, SYSTEM_TIME_ENABLED, Scale,
};

/// ACPI PM timer of QEMU's q35: 24 bits at 3.579545 MHz.
const PM_TIMER: u16 = 0x608;
const PM_TIMER_HERTZ: u64 = 3_579_545;
const PM_TIMER_MASK: u32 = 0xff_ffff;
/// PM timer ticks to measure over: 10 ms.
const MEASURE: u32 = 35_795;
const CMOS_INDEX: u16 = 0x70;
const CMOS_DATA: u16 = 0x71;

/// The clock's facts, found once at start.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    scale: Scale,
    /// Frequency of the time-stamp counter.
    pub hertz: u64,
    started_at: u64,
    started_seconds: u32,
}

impl Clock {
    /// Measures the TSC and reads the time of day; the ACPI timer must be enabled.
    pub fn new() -> Self {
        let hertz = measure_hertz();
        let started_at = instructions::time_stamp();
        Self { scale: Scale::of_frequency(hertz), hertz, started_at, started_seconds: time_of_day() }
    }
}

fn pm_timer() -> u32 {
    raw_input(PM_TIMER, 4) & PM_TIMER_MASK
}

fn measure_hertz() -> u64 {
    let (first, begin) = (pm_timer(), instructions::time_stamp());
    loop {
        let (passed, now) = (pm_timer().wrapping_sub(first) & PM_TIMER_MASK, instructions::time_stamp());
        if passed >= MEASURE {
            return (now - begin) * PM_TIMER_HERTZ / u64::from(passed);
        }
    }
}

fn cmos(index: u8) -> u32 {
    raw_output(CMOS_INDEX, 1, index.into());
    let value = raw_input(CMOS_DATA, 1) & 0xff;
    // QEMU's clock counts in BCD unless software changes that.
    (value >> 4) * 10 + (value & 0xf)
}

fn time_of_day() -> u32 {
    let year = cmos(0x32) * 100 + cmos(9);
    kvm_clock::seconds_since_1970(year, cmos(8), cmos(7), cmos(4), cmos(2), cmos(0))
}

impl World {
    /// Writes of the clock's MSRs; `false` for other registers.
    pub fn write_clock_msr(&mut self, vcpu: usize, register: u32, value: u64) -> bool {
        let clock = self.devices.clock;
        match register {
            MSR_WALL_CLOCK => self.give(vcpu, value, &kvm_clock::wall_clock(clock.started_seconds)),
            MSR_SYSTEM_TIME if value & SYSTEM_TIME_ENABLED != 0 => {
                let structure = kvm_clock::system_time(clock.started_at, 0, clock.scale);
                self.give(vcpu, value & !SYSTEM_TIME_ENABLED, &structure);
            }
            MSR_SYSTEM_TIME => {}
            // Asynchronous page faults, steal time, paravirtual EOI: the guest may name its memory, and nothing is ever said there.
            MSR_ASYNC_FAULTS..=MSR_PARAVIRTUAL_EOI => {}
            _ => return false,
        }
        true
    }

    /// Writes into memory that the guest shares with the host.
    fn give(&mut self, vcpu: usize, address: u64, bytes: &[u8]) {
        if self.model.host_may_access(address, bytes.len() as u64) {
            self.memory.write(address, bytes);
        } else {
            let actor = self.model.actor(vcpu);
            self.model.report(actor, Fault::DeviceAccess { address });
        }
    }
}
