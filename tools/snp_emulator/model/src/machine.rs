//! The machine as one value: memory ownership, vCPUs and what happened so far.

use crate::rmp::{Entry, MemoryRange, Rmp, State};
use crate::stale::{Cause, Stale};
use crate::statistics::Statistics;
use crate::vcpu::Vcpu;
use crate::violation::{Fault, Kind, Violation};
use alloc::vec::Vec;
use host_profiles::Contract;
use snp_abi::address::{LARGE_PAGE_BYTES, PageSize};
use snp_abi::rmp::{VMPL_COUNT, Vmpl};

/// What kind of machine this is.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// APIC ids of the vCPUs, the first being the one that boots.
    pub apic_ids: Vec<u32>,
    /// How the host behaves.
    pub contract: Contract,
    /// Memory starts shared: the guest must ask for each page before it validates it.
    pub memory_is_shared: bool,
    /// The host backs memory with 2 MiB pages where it can.
    pub large_pages: bool,
    /// The guest is judged by the claims of this project's threat model too.
    pub claims: bool,
}

/// Who does something: a vCPU at a VMPL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Actor {
    /// vCPU number.
    pub vcpu: usize,
    /// Level it runs at.
    pub vmpl: Vmpl,
}

/// Pages whose nested mappings the shell must remove before anybody runs again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Guest-physical address of the first page.
    pub address: u64,
    /// One page of this size.
    pub size: PageSize,
}

/// The machine.
pub struct Machine {
    /// What kind of machine this is.
    pub configuration: Configuration,
    /// Page ownership.
    pub rmp: Rmp,
    /// Translations that should have been flushed.
    pub stale: Stale,
    /// The vCPUs, in the order of `Configuration::apic_ids`.
    pub vcpus: Vec<Vcpu>,
    /// SEV_FEATURES by VMPL, as the launch and the first AP creation at the level fixed them.
    pub level_features: [Option<u64>; VMPL_COUNT],
    /// What was counted.
    pub statistics: Statistics,
    /// The guest was reset, and VMPL0 of the first vCPU does not know it yet.
    pub reset_pending: bool,
    violations: Vec<Violation>,
}

impl Machine {
    /// A machine with `ram`, before anything is loaded: the pages are the guest's, unvalidated, or shared.
    pub fn new(configuration: Configuration, ram: &[MemoryRange]) -> Self {
        let vcpus = configuration.apic_ids.iter().map(|id| Vcpu::new(*id)).collect();
        let mut machine = Self {
            rmp: Rmp::new(ram),
            stale: Stale::default(),
            vcpus,
            level_features: [None; VMPL_COUNT],
            statistics: Statistics::default(),
            reset_pending: false,
            violations: Vec::new(),
            configuration,
        };
        for range in ram {
            if !machine.configuration.memory_is_shared {
                machine.assign_range(*range);
            }
        }
        machine
    }

    /// Adds memory in the state that all memory has at the start.
    pub fn add_memory(&mut self, range: MemoryRange) {
        self.rmp.add(range);
        if !self.configuration.memory_is_shared {
            self.assign_range(range);
        }
    }

    fn assign_range(&mut self, range: MemoryRange) {
        let mut address = range.start;
        while address < range.start + range.bytes {
            let large = self.configuration.large_pages && self.rmp.large(address).is_some();
            let size = if large { PageSize::Large } else { PageSize::Small };
            if let Some(entries) = self.rmp.pages_mut(address, size) {
                entries.fill(Entry::assigned(size));
            }
            address += size.bytes();
        }
    }

    /// Notes a reliance on what hardware forbids.
    pub fn report(&mut self, actor: Actor, fault: Fault) {
        match fault.kind() {
            Kind::Breach if !self.configuration.claims => return,
            Kind::Breach | Kind::Fault => self.statistics.violations += 1,
            Kind::Advice => self.statistics.advice += 1,
        }
        self.violations.push(Violation { vcpu: actor.vcpu, vmpl: actor.vmpl, fault });
    }

    /// Takes what was reported since the last call.
    pub fn take_violations(&mut self) -> Vec<Violation> {
        core::mem::take(&mut self.violations)
    }

    /// Whether anything was reported since [`Self::take_violations`].
    pub fn has_violations(&self) -> bool {
        !self.violations.is_empty()
    }

    /// The vCPUs that may have anything in a TLB, as a bit mask.
    pub(crate) fn started_vcpus(&self) -> u32 {
        let started = self.vcpus.iter().enumerate().filter(|(_, vcpu)| vcpu.has_run);
        started.fold(0, |mask, (index, _)| mask | 1 << index)
    }

    /// Ends the cached translations of a page for `vmpls` (bit n), whose rights shrank; they stay stale until a flush.
    pub(crate) fn unmap(&mut self, address: u64, size: PageSize, vmpls: u8, cause: Cause) -> Option<Changed> {
        let entries = self.rmp.pages_mut(address, size)?;
        let mapped = entries.iter().fold(0, |mask, entry| mask | entry.mapped) & vmpls;
        entries.iter_mut().for_each(|entry| entry.mapped &= !vmpls);
        let vcpus = self.started_vcpus();
        self.stale.note(address, size.small_pages(), vcpus, mapped, cause);
        (mapped != 0).then_some(Changed { address, size })
    }

    /// INVLPGB and TLBSYNC, or what the host does on behalf of the guest: nobody holds old translations any more.
    pub fn flush_all(&mut self) {
        self.statistics.flushes += 1;
        self.stale.flush_all();
    }

    /// Splits the 2 MiB RMP entry around `address`, as a host does when a guest works on a part of it.
    pub(crate) fn smash(&mut self, address: u64) {
        if self.rmp.entry(address).is_some_and(|entry| entry.is(State::LARGE)) {
            self.statistics.smashes += 1;
            self.rmp.smash(address);
        }
    }

    /// Whether the 2 MiB page around `address` can be one mapping: all of it is RAM with the same rights.
    pub(crate) fn uniform(&self, address: u64) -> bool {
        self.rmp.uniform(address & !(LARGE_PAGE_BYTES - 1))
    }
}
