//! The guest's local APIC is QEMU's own; what it sends to other processors is filtered.
//!
//! INIT and SIPI would reset processors that run the monitor; SNP guests start vCPUs through AP
//! creation instead (OVMF sends them all the same). NMIs mean "leave the guest" to the monitor, so those of
//! the guest are injected by software.

use crate::instructions;
use crate::world::World;

const APIC_BASE: u32 = 0x1b;
/// The processor is the one that boots.
const BOOT_PROCESSOR: u64 = 1 << 8;
const X2APIC_FIRST: u32 = 0x800;
const X2APIC_LAST: u32 = 0x8ff;
const X2APIC_COMMAND: u32 = 0x830;
const XAPIC_COMMAND_LOW: u64 = 0xfee0_0300;
const XAPIC_COMMAND_HIGH: u64 = 0xfee0_0310;
const DELIVERY_MODE: u32 = 7 << 8;
const MODE_NMI: u32 = 4 << 8;
const MODE_INIT: u32 = 5 << 8;
const MODE_STARTUP: u32 = 6 << 8;
const SHORTHAND: u32 = 3 << 18;
const SHORTHAND_SELF: u32 = 1 << 18;
const SHORTHAND_ALL: u32 = 2 << 18;
const BROADCAST: u32 = 0xffff_ffff;
const LOGICAL: u32 = 1 << 11;

impl World {
    /// Handles a write to the APIC page that must not reach the device; `false` to let it through.
    pub fn filter_apic_page(&mut self, vcpu: usize, address: u64, value: u32) -> bool {
        if address != XAPIC_COMMAND_LOW {
            return false;
        }
        let destination = crate::physical::read_u32(XAPIC_COMMAND_HIGH) >> 24;
        let destination = if destination == 0xff { BROADCAST } else { destination };
        self.filter_command(vcpu, value, destination)
    }

    /// Handles an interrupt command that must not reach the device.
    fn filter_command(&mut self, vcpu: usize, command: u32, destination: u32) -> bool {
        match command & DELIVERY_MODE {
            MODE_INIT | MODE_STARTUP => true,
            MODE_NMI => {
                for target in 0..self.model.vcpus.len() {
                    if self.is_destination(vcpu, target, command, destination) {
                        self.model.vcpus[target].nmi_pending = true;
                        self.wake(target);
                    }
                }
                true
            }
            _ => false,
        }
    }

    fn is_destination(&self, sender: usize, target: usize, command: u32, destination: u32) -> bool {
        let id = self.model.vcpus[target].apic_id;
        match command & SHORTHAND {
            SHORTHAND_SELF => target == sender,
            SHORTHAND_ALL => true,
            0 if destination == BROADCAST => true,
            // Flat logical destinations have one bit a processor; x2APIC clusters have sixteen in the low half.
            0 if command & LOGICAL != 0 => destination >> 16 == id >> 4 && destination >> (id & 15) & 1 != 0,
            0 => destination == id,
            _ => target != sender,
        }
    }

    /// RDMSR of the guest through the host; none means #GP.
    pub fn read_msr(&mut self, vcpu: usize, register: u32) -> Option<u64> {
        match register {
            // The guest boots on its vCPU 0, whichever processor that is.
            APIC_BASE => {
                // SAFETY: APIC_BASE exists on QEMU's processor.
                let base = unsafe { instructions::read_msr(APIC_BASE) };
                Some((base & !BOOT_PROCESSOR) | boot_flag(vcpu))
            }
            // SAFETY: the x2APIC registers exist on QEMU's processor.
            X2APIC_FIRST..=X2APIC_LAST => Some(unsafe { instructions::read_msr(register) }),
            _ => msr_constant(register),
        }
    }

    /// WRMSR of the guest through the host; `false` means #GP.
    pub fn write_msr(&mut self, vcpu: usize, register: u32, value: u64) -> bool {
        match register {
            X2APIC_COMMAND if self.filter_command(vcpu, value as u32, (value >> 32) as u32) => true,
            APIC_BASE | X2APIC_FIRST..=X2APIC_LAST => {
                let value = if register == APIC_BASE { value & !BOOT_PROCESSOR } else { value };
                // SAFETY: the APIC raises interrupts, which the monitor only notes; its base stays where it is.
                unsafe { instructions::write_msr(register, value) };
                true
            }
            _ => self.write_clock_msr(vcpu, register, value) || msr_constant(register).is_some(),
        }
    }
}

fn boot_flag(vcpu: usize) -> u64 {
    if vcpu == 0 { BOOT_PROCESSOR } else { 0 }
}

/// MSRs that read as a constant and swallow writes, as KVM has them.
fn msr_constant(register: u32) -> Option<u64> {
    Some(match register {
        // Microcode revision, platform info, feature control, MTRR capability, misc enable, machine check.
        0x8b => 0x0100_0065,
        0xce | 0x3a | 0x1a0 | 0x179..=0x17b | 0x400..=0x47f => 0,
        0xfe => 0x508,
        // MTRRs: default type write-back, enabled.
        0x2ff => 0xc06,
        0x200..=0x20f | 0x250 | 0x258 | 0x259 | 0x268..=0x26f => 0,
        // Performance counters, HWCR, system configuration, TOM2, DE_CFG, IBS and friends.
        0xe7 | 0xe8 | 0xc1..=0xc4 | 0x186..=0x189 => 0,
        0xc001_0000..=0xc001_0007 | 0xc001_0010 | 0xc001_001f | 0xc001_0055 | 0xc001_0058 => 0,
        0xc001_0061..=0xc001_0063 | 0xc001_0071 | 0xc001_1020..=0xc001_102c => 0,
        // HWCR: the TSC counts at the P0 frequency.
        0xc001_0015 => 1 << 24,
        // P-state 0: enabled, so that Linux does not compute a frequency from zero.
        0xc001_0064 => 1 << 63,
        0x34 | 0x1b0 | 0x606 | 0x611 | 0x619 | 0x639 | 0x641 => 0,
        _ => return None,
    })
}
