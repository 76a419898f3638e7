//! A machine of 8 MiB with two vCPUs, and memory that remembers what was scrambled.

use model::host_profiles::Host;
use model::instructions::{Completion, Operand};
use model::machine::Actor;
use model::rmp::{Entry, MemoryRange};
use model::{Configuration, Contents, Fault, Machine};
use snp_abi::address::PageSize;
use snp_abi::rmp::{Permissions, RmpAdjust, Vmpl};
use std::collections::{BTreeMap, BTreeSet};

pub const MIB: u64 = 1 << 20;
pub const PAGE: u64 = 0x1000;
/// A page of the first 2 MiB.
pub const SMALL: u64 = 0x5000;
/// A whole 2 MiB.
pub const LARGE: u64 = 2 * MIB;
/// No memory there.
pub const NOWHERE: u64 = 64 * MIB;

/// Contents of memory: bytes that were written, and pages that were scrambled since.
#[derive(Default)]
pub struct Memory {
    bytes: BTreeMap<u64, u8>,
    scrambled: BTreeSet<u64>,
}

impl Memory {
    /// What zeroing a page does.
    pub fn clear(&mut self, page: u64) {
        self.scrambled.remove(&page);
    }
}

impl Contents for Memory {
    fn scramble(&mut self, address: u64, bytes: u64) {
        self.scrambled.extend((address..address + bytes).step_by(0x1000));
    }

    fn is_scrambled(&self, address: u64) -> bool {
        self.scrambled.contains(&(address & !0xfff))
    }

    fn read(&self, address: u64, bytes: &mut [u8]) -> bool {
        for (at, byte) in (address..).zip(bytes) {
            *byte = self.bytes.get(&at).copied().unwrap_or(0);
        }
        true
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> bool {
        self.bytes.extend((address..).zip(bytes.iter().copied()));
        true
    }
}

/// Machine and memory.
pub struct Vm {
    pub machine: Machine,
    pub memory: Memory,
}

pub const fn actor(vmpl: Vmpl) -> Actor {
    Actor { vcpu: 0, vmpl }
}

pub const PARAVISOR: Actor = actor(Vmpl::Vmpl0);
pub const GUEST: Actor = actor(Vmpl::Vmpl2);

pub fn operand(address: u64, size: PageSize) -> Operand {
    Operand { address, size, private: true }
}

pub const RWX: Permissions = Permissions::READ_WRITE_EXECUTE;

impl Vm {
    pub fn new() -> Self {
        Self::with(false)
    }

    /// A forgiving machine whose memory starts private, or shared.
    pub fn with(memory_is_shared: bool) -> Self {
        Self::of(Host::Plain, memory_is_shared)
    }

    /// A machine of this host's, whose memory starts shared.
    pub fn on(host: Host) -> Self {
        Self::of(host, true)
    }

    fn of(host: Host, memory_is_shared: bool) -> Self {
        let configuration = Configuration {
            apic_ids: vec![0, 5],
            contract: host.profile().contract,
            memory_is_shared,
            large_pages: true,
            claims: true,
        };
        let mut machine = Machine::new(configuration, &[MemoryRange { start: 0, bytes: 8 * MIB }]);
        machine.vcpus.iter_mut().for_each(|vcpu| vcpu.has_run = true);
        Self { machine, memory: Memory::default() }
    }

    pub fn entry(&self, address: u64) -> Entry {
        *self.machine.rmp.entry(address).unwrap()
    }

    pub fn pvalidate(&mut self, address: u64, size: PageSize, validate: bool) -> Completion {
        self.machine.pvalidate(PARAVISOR, operand(address, size), validate, &mut self.memory)
    }

    /// RMPADJUST by VMPL0 without the VMSA attribute.
    pub fn grant(&mut self, address: u64, target: Vmpl, permissions: Permissions) -> Completion {
        let adjust = RmpAdjust { target, permissions, is_vmsa: false };
        self.adjust(PARAVISOR, operand(address, PageSize::Small), adjust.encode())
    }

    pub fn adjust(&mut self, actor: Actor, operand: Operand, attributes: u64) -> Completion {
        self.machine.rmpadjust(actor, operand, attributes, &self.memory)
    }

    /// A page that is validated, zeroed and granted to the guest, and that the guest has used.
    pub fn give(&mut self, address: u64) {
        self.pvalidate(address, PageSize::Small, true);
        self.memory.clear(address);
        self.grant(address, Vmpl::Vmpl2, RWX);
        self.machine.rmp.entry_mut(address).unwrap().mapped |= 1 << 2;
    }

    /// What was reported since the last call.
    pub fn faults(&mut self) -> Vec<Fault> {
        self.machine.take_violations().into_iter().map(|violation| violation.fault).collect()
    }
}
