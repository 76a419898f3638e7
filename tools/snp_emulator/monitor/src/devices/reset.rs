//! The guest's reset: ends the run, or is left to VMPL0, which starts its guest again. The platform is then as quiet as firmware
//! would find it, so that nothing of the last guest's interrupts or writes memory of the next one's.

use super::ports::{raw_input, raw_output};
use crate::finish::Verdict;
use crate::world::World;
use crate::{apic, console, instructions, interrupts, physical};

/// PCI configuration mechanism 1: address (enable, bus, device, function, register) and data.
const PCI_ADDRESS: u16 = 0xcf8;
const PCI_DATA: u16 = 0xcfc;
const PCI_ENABLE: u32 = 1 << 31;
const PCI_FUNCTIONS: u32 = 32 * 8;
const PCI_COMMAND: u32 = 4;
const PCI_ABSENT: u32 = 0xffff;
/// Command register: the device may read and write memory, and send message-signalled interrupts.
const BUS_MASTER: u32 = 1 << 2;
/// The I/O APIC's window, and the first redirection entry's low half in it (Intel 82093AA).
const IO_APIC_SELECT: u64 = 0xfec0_0000;
const IO_APIC_DATA: u64 = 0xfec0_0010;
const REDIRECTION: u32 = 0x10;
const REDIRECTIONS: u32 = 24;
const MASKED: u32 = 1 << 16;
/// Mask registers of the two interrupt controllers of the PC; interrupt enable register of serial port 1.
const PIC_MASKS: [u16; 2] = [0x21, 0xa1];
const SERIAL_INTERRUPTS: u16 = 0x3f9;

impl World {
    /// Quiets the APIC of this vCPU's processor, which runs this code, if the guest was reset since the last time: an APIC is
    /// nobody else's to reach.
    pub fn follow_reset(&mut self, vcpu: usize) {
        if self.devices.loud & 1 << vcpu != 0 {
            self.devices.loud &= !(1 << vcpu);
            apic::reset();
            self.devices.x2apic[vcpu] = Default::default();
            instructions::write_cr8(0);
            interrupts::forget_all(vcpu + 1);
        }
    }

    /// The guest asked for a reset, or cannot go on without one.
    pub fn reset(&mut self, vcpu: usize, by: &str) {
        console::line("reset", format_args!("requested through {by}"));
        let Some(left) = self.settings.resets.and_then(|resets| resets.checked_sub(1)) else {
            self.end(Verdict::Finished)
        };
        self.settings.resets = Some(left);
        // What they ran must be in their VMSAs before these are taken from them.
        self.shoot_down(vcpu);
        if !self.model.reset_guest() {
            self.end(Verdict::Finished);
        }
        quiet_devices();
        for target in 0..self.model.vcpus.len() {
            self.devices.loud |= 1 << target;
            if target != vcpu {
                self.wake(target);
            }
        }
    }
}

fn quiet_devices() {
    for function in 0..PCI_FUNCTIONS {
        let select = |register| raw_output(PCI_ADDRESS, 4, PCI_ENABLE | function << 8 | register);
        select(0);
        if raw_input(PCI_DATA, 4) & 0xffff == PCI_ABSENT {
            continue;
        }
        select(PCI_COMMAND);
        // The upper half is the status register, whose bits are cleared by ones.
        let command = raw_input(PCI_DATA, 2) & !BUS_MASTER;
        raw_output(PCI_DATA, 2, command);
    }
    for entry in 0..REDIRECTIONS {
        physical::write_u32(IO_APIC_SELECT, REDIRECTION + 2 * entry);
        physical::write_u32(IO_APIC_DATA, MASKED);
    }
    for port in PIC_MASKS {
        raw_output(port, 1, 0xff);
    }
    raw_output(SERIAL_INTERRUPTS, 1, 0);
}
