//! The guest's local APIC is QEMU's own; what it sends to other processors is filtered.
//!
//! INIT and SIPI would reset processors that run the monitor: they start vCPUs on the VMSAs that they were launched with, and end AP reset
//! hold, as KVM has it; most SNP guests start vCPUs through AP creation instead (OVMF sends them all the same). NMIs mean "leave the guest" to the monitor, so those of
//! the guest are injected by software.

use super::x2apic::is_register;
use crate::world::World;
use snp_abi::ghcb::page::GhcbField;

const APIC_BASE: u32 = 0x1b;
/// The processor is the one that boots.
const BOOT_PROCESSOR: u64 = 1 << 8;
/// Bits of the base register: x2APIC mode, APIC on, and the page's address.
const X2APIC_MODE: u64 = 1 << 10;
const ENABLED: u64 = 1 << 11;
const PAGE: u64 = 0xfee0_0000;
const XAPIC_ID: u64 = PAGE + 0x20;
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
        // The id is how QEMU finds the processor.
        if address == XAPIC_ID {
            return true;
        }
        if address != XAPIC_COMMAND_LOW {
            return false;
        }
        let destination = crate::physical::read_u32(XAPIC_COMMAND_HIGH) >> 24;
        let destination = if destination == 0xff { BROADCAST } else { destination };
        if self.filter_command(vcpu, value, destination) {
            return true;
        }
        if value & SHORTHAND != 0 {
            self.send_to_each(vcpu, value, destination);
            return true;
        }
        false
    }

    /// Handles an interrupt command that must not reach the device.
    pub(super) fn filter_command(&mut self, vcpu: usize, command: u32, destination: u32) -> bool {
        match command & DELIVERY_MODE {
            mode @ (MODE_INIT | MODE_STARTUP) => {
                if self.model.configuration.contract.follows_kvm {
                    self.start_vcpus(vcpu, mode, command, destination);
                }
                true
            }
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

    /// INIT and start-up IPIs stay in the plane of who sends them.
    fn start_vcpus(&mut self, vcpu: usize, mode: u32, command: u32, destination: u32) {
        let vmpl = self.model.vcpus[vcpu].current;
        for target in 0..self.model.vcpus.len() {
            if target == vcpu || !self.is_destination(vcpu, target, command, destination) {
                continue;
            }
            if mode == MODE_INIT {
                self.model.vcpus[target].initialise(vmpl);
                continue;
            }
            let page = self.model.vcpus[target].channels[vmpl.index()].registered;
            if self.model.vcpus[target].start_up(vmpl)
                && let Some(page) = page
            {
                self.memory.write(page + GhcbField::SwExitInfo2.offset() as u64, &1u64.to_le_bytes());
            }
            self.wake(target);
        }
    }

    pub(super) fn is_destination(
        &self,
        sender: usize,
        target: usize,
        command: u32,
        destination: u32,
    ) -> bool {
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
            APIC_BASE => {
                let mode = if self.devices.x2apic[vcpu].is_on { X2APIC_MODE } else { 0 };
                Some(PAGE | ENABLED | mode | boot_flag(vcpu))
            }
            _ if is_register(register) => self.read_x2apic(vcpu, register),
            _ => msr_constant(register),
        }
    }

    /// WRMSR of the guest through the host; `false` means #GP.
    pub fn write_msr(&mut self, vcpu: usize, register: u32, value: u64) -> bool {
        match register {
            APIC_BASE => self.write_apic_base(vcpu, value),
            _ if is_register(register) => self.write_x2apic(vcpu, register, value),
            _ => self.write_clock_msr(vcpu, register, value) || msr_constant(register).is_some(),
        }
    }
}

impl World {
    /// The APIC stays on and where it is, whatever the guest writes; from x2APIC mode there is no way back but through a reset or a
    /// disabled APIC (APM volume 2, 16.9).
    fn write_apic_base(&mut self, vcpu: usize, value: u64) -> bool {
        let state = &mut self.devices.x2apic[vcpu];
        match (value & X2APIC_MODE != 0, value & ENABLED != 0) {
            (true, false) => return false,
            (false, true) if state.is_on => return false,
            (wants, _) => state.is_on = wants,
        }
        true
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
