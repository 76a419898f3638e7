//! vCPUs: which VMSA each VMPL of a vCPU runs, and how the host moves between them.
//!
//! Follows the SVSM hosts (KVM with multi-VMPL): a vCPU runs one VMPL at a time; AP creation installs a VMSA
//! and makes the vCPU run it. Sources: GHCB specification 4.1.14 (AP creation), APM volume 2, 15.36.12 (VMSA rules).

use crate::Contents;
use crate::machine::{Actor, Machine};
use crate::rmp::State;
use crate::violation::Fault;
use core::mem::offset_of;
use snp_abi::address::PageSize;
use snp_abi::ghcb::ap_creation::{ApCreation, ApCreationRequest};
use snp_abi::ghcb::event::MalformedRequest;
use snp_abi::ghcb::msr_protocol::{RUN_VMPL_GUEST_RESET, Response};
use snp_abi::rmp::{VMPL_COUNT, Vmpl};
use snp_abi::vmsa::{SevFeatures, Vmsa, start::EFER_SVME};

/// What a vCPU does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// No VMSA to run.
    Stopped,
    /// Runs its current VMPL.
    Running,
    /// HLT: waits for an interrupt.
    Halted,
    /// AP reset hold: waits for a start-up IPI or AP creation.
    Held,
}

/// A vCPU's GHCB state at one VMPL.
#[derive(Clone, Copy, Debug)]
pub struct Channel {
    /// The GHCB MSR.
    pub msr: u64,
    /// The page that was registered.
    pub registered: Option<u64>,
}

/// One vCPU.
#[derive(Clone, Debug)]
pub struct Vcpu {
    /// Its APIC id.
    pub apic_id: u32,
    /// VMSA page by VMPL.
    pub vmsas: [Option<u64>; VMPL_COUNT],
    /// Level that runs, or would.
    pub current: Vmpl,
    /// What it does.
    pub run: Run,
    /// GHCB state by VMPL; it survives AP creation.
    pub channels: [Channel; VMPL_COUNT],
    /// Counts replacements of each level's VMSA, so that a processor notices that its state is no longer wanted.
    pub generations: [u64; VMPL_COUNT],
    /// It ran at least once, so its TLB may hold something.
    pub has_run: bool,
    /// It is inside VMRUN at this moment.
    pub inside: bool,
    /// An NMI waits to be injected.
    pub nmi_pending: bool,
}

impl Vcpu {
    /// A vCPU without any VMSA.
    pub fn new(apic_id: u32) -> Self {
        Self {
            apic_id,
            vmsas: [None; VMPL_COUNT],
            current: Vmpl::Vmpl0,
            run: Run::Stopped,
            channels: [Channel { msr: 0, registered: None }; VMPL_COUNT],
            generations: [0; VMPL_COUNT],
            has_run: false,
            inside: false,
            nmi_pending: false,
        }
    }

    /// The VMSA that VMRUN uses at this moment.
    pub fn running_vmsa(&self) -> Option<u64> {
        self.vmsas[self.current.index()].filter(|_| self.inside)
    }

    /// GHCB state of the current level.
    pub fn channel(&mut self) -> &mut Channel {
        &mut self.channels[self.current.index()]
    }
}

fn read_u64(contents: &dyn Contents, address: u64, offset: usize) -> u64 {
    let mut bytes = [0; 8];
    contents.read(address + offset as u64, &mut bytes);
    u64::from_le_bytes(bytes)
}

impl Machine {
    /// The vCPU with this APIC id.
    pub fn vcpu_by_apic_id(&self, apic_id: u32) -> Option<usize> {
        self.vcpus.iter().position(|vcpu| vcpu.apic_id == apic_id)
    }

    /// The first VMSA of any vCPU that lies in this page; with `running`, only those inside VMRUN count.
    pub(crate) fn vmsa_in(&self, address: u64, size: PageSize, running: bool) -> Option<u64> {
        let inside = |vmsa: &u64| vmsa.wrapping_sub(address) < size.bytes();
        self.vcpus.iter().find_map(|vcpu| {
            let known = vcpu.vmsas.iter().flatten().copied().filter(|_| !running);
            known.chain(vcpu.running_vmsa()).find(inside)
        })
    }

    /// Who runs on a vCPU.
    pub fn actor(&self, vcpu: usize) -> Actor {
        Actor { vcpu, vmpl: self.vcpus[vcpu].current }
    }

    /// What VMRUN checks: returns the VMSA page of the current level, or reports why it cannot run.
    pub fn check_vmsa(&mut self, vcpu: usize, contents: &dyn Contents) -> Option<u64> {
        let actor = self.actor(vcpu);
        let address = self.vcpus[vcpu].vmsas[actor.vmpl.index()]?;
        let why = self.vmsa_flaw(actor, address, contents)?;
        match why {
            Ok(()) => Some(address),
            Err(why) => {
                self.report(actor, Fault::BadVmsa { address, why });
                None
            }
        }
    }

    fn vmsa_flaw(
        &self,
        actor: Actor,
        address: u64,
        contents: &dyn Contents,
    ) -> Option<Result<(), &'static str>> {
        let entry = self.rmp.entry(address)?;
        let mut vmpl = [0];
        contents.read(address + offset_of!(Vmsa, vmpl) as u64, &mut vmpl);
        let efer = read_u64(contents, address, offset_of!(Vmsa, efer));
        let features = read_u64(contents, address, offset_of!(Vmsa, sev_features));
        Some(if !entry.is(State::ASSIGNED | State::VALIDATED) {
            Err("the page is not validated guest memory")
        } else if !entry.is(State::VMSA) {
            Err("the page has no VMSA attribute")
        } else if vmpl[0] != actor.vmpl.to_wire() {
            Err("its VMPL field names another level")
        } else if efer & EFER_SVME == 0 {
            Err("EFER.SVME is 0")
        } else if features & SevFeatures::SNP_ACTIVE.bits() == 0 {
            Err("SEV_FEATURES lacks SNP")
        } else {
            Ok(())
        })
    }

    /// Continues a vCPU at another level; `false` if that level has no VMSA that can run.
    pub fn run_vmpl(&mut self, vcpu: usize, target: Vmpl, contents: &dyn Contents) -> bool {
        let state = &mut self.vcpus[vcpu];
        let Some(address) = state.vmsas[target.index()] else { return false };
        if read_u64(contents, address, offset_of!(Vmsa, efer)) & EFER_SVME == 0 {
            return false;
        }
        state.current = target;
        state.run = Run::Running;
        self.statistics.vmpl_switches += 1;
        true
    }

    /// SNP AP creation, create or destroy; the target must be outside VMRUN. Returns the vCPU that it concerns.
    pub fn create_ap(
        &mut self,
        actor: Actor,
        creation: ApCreation,
        vmsa: u64,
        features: u64,
        contents: &dyn Contents,
    ) -> Result<usize, MalformedRequest> {
        let target = self.vcpu_by_apic_id(creation.apic_id).ok_or(MalformedRequest::InvalidInput)?;
        if creation.vmpl < actor.vmpl {
            return Err(MalformedRequest::InvalidInput);
        }
        let level = creation.vmpl.index();
        if creation.request == ApCreationRequest::Destroy {
            self.destroy(target, creation.vmpl);
            return Ok(target);
        }
        // KVM refuses 2 MiB aligned VMSAs: an erratum makes hardware lock the whole 2 MiB.
        let aligned = vmsa.trailing_zeros() >= 12 && vmsa.trailing_zeros() < 21;
        if !aligned || self.rmp.entry(vmsa).is_none() {
            return Err(MalformedRequest::InvalidInput);
        }
        if read_u64(contents, vmsa, offset_of!(Vmsa, sev_features)) != features {
            return Err(MalformedRequest::InvalidInput);
        }
        let state = &mut self.vcpus[target];
        state.vmsas[level] = Some(vmsa);
        state.generations[level] += 1;
        if creation.request == ApCreationRequest::Create {
            state.current = creation.vmpl;
            state.run = Run::Running;
        }
        Ok(target)
    }

    /// The host stops every vCPU of the guest, all of which must be outside VMRUN, and tells VMPL0 of the first vCPU: at once where
    /// it waits for its guest, else when it wants to run one next. `false`, and nothing is done, where VMPL0 has no vCPU or there
    /// is no level below it.
    pub fn reset_guest(&mut self) -> bool {
        let own = Vmpl::Vmpl0.index();
        let Some(first) = self.vcpus.first() else { return false };
        if first.vmsas[own].is_none()
            || self.vcpus.iter().all(|vcpu| vcpu.vmsas[own + 1..].iter().all(Option::is_none))
        {
            return false;
        }
        let waits = first.current != Vmpl::Vmpl0;
        let initial = self.initial_msr();
        for target in 0..self.vcpus.len() {
            for vmpl in [Vmpl::Vmpl1, Vmpl::Vmpl2, Vmpl::Vmpl3] {
                self.destroy(target, vmpl);
                self.vcpus[target].channels[vmpl.index()] = Channel { msr: initial, registered: None };
            }
            self.vcpus[target].nmi_pending = false;
        }
        let first = &mut self.vcpus[0];
        first.run = Run::Running;
        if waits {
            first.channels[own].msr = Response::RunVmpl { error: RUN_VMPL_GUEST_RESET }.encode();
            self.statistics.vmpl_switches += 1;
        }
        self.reset_pending = !waits;
        true
    }

    fn destroy(&mut self, target: usize, vmpl: Vmpl) {
        let state = &mut self.vcpus[target];
        state.vmsas[vmpl.index()] = None;
        state.generations[vmpl.index()] += 1;
        if state.current == vmpl {
            state.current = Vmpl::Vmpl0;
            state.run = if vmpl == Vmpl::Vmpl0 { Run::Stopped } else { Run::Halted };
        }
    }

    /// The GHCB page that the current level of a vCPU named with the MSR; reported and refused unless it is registered and shared.
    pub fn ghcb_page(&mut self, vcpu: usize, address: u64) -> Option<u64> {
        let actor = self.actor(vcpu);
        let why = if self.vcpus[vcpu].channel().registered != Some(address) {
            "it is not registered"
        } else if self.rmp.entry(address).is_none() {
            "it has no memory"
        } else if !self.host_may_access(address, 4096) {
            "it is private memory"
        } else {
            return Some(address);
        };
        self.report(actor, Fault::Ghcb { address, why });
        None
    }
}
