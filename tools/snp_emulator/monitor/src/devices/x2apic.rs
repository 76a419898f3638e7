//! x2APIC mode for the guest, on processors whose APICs stay in xAPIC mode (`apic` says why): its registers are MSRs at 0x800 plus the
//! xAPIC register's number, and ids are wider. Source: AMD APM volume 2, 16.11 to 16.16.

use crate::apic;
use crate::world::World;

const FIRST: u32 = 0x800;
const LAST: u32 = 0x8ff;
const ID: u32 = 0x802;
const LOGICAL_ID: u32 = 0x80d;
const END_OF_INTERRUPT: u32 = 0x80b;
const COMMAND: u32 = 0x830;
const SELF: u32 = 0x83f;
const SHORTHAND: u32 = 3 << 18;
const SHORTHAND_SELF: u32 = 1 << 18;
const LOGICAL: u32 = 1 << 11;

/// Registers that can be read: id, version, task and processor priority, logical id, spurious vector, the three bit maps, errors, timer and
/// local vectors.
const READABLE: [(u32, u32); 8] = [
    (0x802, 0x803),
    (0x808, 0x808),
    (0x80a, 0x80a),
    (0x80d, 0x80d),
    (0x80f, 0x828),
    (0x830, 0x830),
    (0x832, 0x839),
    (0x83e, 0x83e),
];
/// Registers that can be written.
const WRITABLE: [(u32, u32); 7] = [
    (0x808, 0x808),
    (0x80b, 0x80b),
    (0x80f, 0x80f),
    (0x828, 0x828),
    (0x830, 0x830),
    (0x832, 0x838),
    (0x83e, 0x83f),
];

/// A vCPU's x2APIC state beyond its processor's registers.
#[derive(Clone, Copy, Default)]
pub struct X2apic {
    /// The guest turned x2APIC mode on.
    pub is_on: bool,
    command: u64,
}

/// Whether an MSR is in the range of x2APIC registers.
pub fn is_register(register: u32) -> bool {
    (FIRST..=LAST).contains(&register)
}

fn in_table(table: &[(u32, u32)], register: u32) -> bool {
    table.iter().any(|(first, last)| (*first..=*last).contains(&register))
}

/// Offset in the xAPIC page.
fn offset(register: u32) -> u64 {
    u64::from(register - FIRST) << 4
}

impl World {
    /// RDMSR of an x2APIC register; none means #GP.
    pub fn read_x2apic(&self, vcpu: usize, register: u32) -> Option<u64> {
        let state = self.devices.x2apic.get(vcpu).filter(|state| state.is_on)?;
        let id = self.model.vcpus[vcpu].apic_id;
        match register {
            ID => Some(id.into()),
            // Cluster and bit, made from the id.
            LOGICAL_ID => Some(u64::from(id >> 4 << 16 | 1 << (id & 15))),
            COMMAND => Some(state.command),
            _ => in_table(&READABLE, register).then(|| apic::read(offset(register)).into()),
        }
    }

    /// WRMSR of an x2APIC register; `false` means #GP.
    pub fn write_x2apic(&mut self, vcpu: usize, register: u32, value: u64) -> bool {
        if !self.devices.x2apic[vcpu].is_on || !in_table(&WRITABLE, register) {
            return false;
        }
        match register {
            COMMAND => {
                self.devices.x2apic[vcpu].command = value;
                self.send(vcpu, value as u32, (value >> 32) as u32);
            }
            SELF => self.send_to_each(vcpu, SHORTHAND_SELF | value as u32 & 0xff, 0),
            END_OF_INTERRUPT if value != 0 => return false,
            _ if value >> 32 != 0 => return false,
            _ => apic::write(offset(register), value as u32),
        }
        true
    }

    /// An interrupt command with a 32-bit destination.
    fn send(&mut self, vcpu: usize, command: u32, destination: u32) {
        if !self.filter_command(vcpu, command, destination) {
            self.send_to_each(vcpu, command, destination);
        }
    }

    /// Sends an interrupt to each vCPU that a command means, by its id. QEMU's APIC takes its own id for its place among the APICs where
    /// the command says "self" or "all but self", which it is not here: the spare processor would get it.
    pub(super) fn send_to_each(&self, vcpu: usize, command: u32, destination: u32) {
        for target in 0..self.model.vcpus.len() {
            if self.is_destination(vcpu, target, command, destination) {
                apic::command(self.model.vcpus[target].apic_id, command & !(SHORTHAND | LOGICAL));
            }
        }
    }
}
