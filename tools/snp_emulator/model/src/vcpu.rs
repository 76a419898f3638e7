//! vCPUs: which VMSA each VMPL of a vCPU runs, and how the host moves between them.
//!
//! Follows the SVSM hosts (KVM with multi-VMPL): a vCPU runs one VMPL at a time; which one, and what AP creation and RUN_VMPL change,
//! is the host's (`host_profiles::contract`). Sources: GHCB specification 4.1.14 (AP creation), APM volume 2, 15.36.12 (VMSA rules).

use crate::Contents;
use crate::machine::{Actor, Machine};
use crate::rmp::State;
use crate::violation::Fault;
use core::fmt;
use core::mem::offset_of;
use host_profiles::contract::{ApCreationRules, Levels};
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
    /// Got INIT, waits for the start-up IPI.
    Initialised,
}

/// A vCPU's GHCB state at one VMPL.
#[derive(Clone, Copy, Debug)]
pub struct Channel {
    /// The GHCB MSR.
    pub msr: u64,
    /// The page that was registered.
    pub registered: Option<u64>,
}

/// How the host cannot go on with the VM. The text is what QEMU says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostEnd {
    /// KVM_RUN fails.
    RunFailed(&'static str),
    /// VMRUN refuses the VMSA.
    EntryFailed(&'static str),
}

impl fmt::Display for HostEnd {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RunFailed(why) => write!(out, "error: kvm run failed Invalid argument ({why})"),
            Self::EntryFailed(why) => {
                write!(out, "KVM: entry failed, hardware error 0xffffffffffffffff ({why})")
            }
        }
    }
}

/// What RUN_VMPL comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// The level runs next, as far as the host can tell.
    Done,
    /// Refused: the vCPU goes on where it is.
    Refused,
    /// The host does not know the request.
    Unknown,
    /// The VM ends.
    Ends(HostEnd),
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
    /// What each level does, or would do when it is its turn.
    pub runs: [Run; VMPL_COUNT],
    /// Levels (bit n) that have asked to run and were not switched away from: the lowest one does.
    pub runnable: u8,
    /// Levels (bit n) that the host has made a plane for on this vCPU.
    pub planes: u8,
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
    /// How often in a row it repeated a request that the host does not know.
    pub unknown_requests: u32,
}

impl Vcpu {
    /// A vCPU without any VMSA.
    pub fn new(apic_id: u32) -> Self {
        Self {
            apic_id,
            vmsas: [None; VMPL_COUNT],
            current: Vmpl::Vmpl0,
            runs: [Run::Stopped; VMPL_COUNT],
            runnable: 1,
            planes: 1,
            channels: [Channel { msr: 0, registered: None }; VMPL_COUNT],
            generations: [0; VMPL_COUNT],
            has_run: false,
            inside: false,
            nmi_pending: false,
            unknown_requests: 0,
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

    /// What the current level does.
    pub fn run(&self) -> Run {
        self.runs[self.current.index()]
    }

    /// Sets what the current level does.
    pub fn set_run(&mut self, run: Run) {
        self.runs[self.current.index()] = run;
    }

    /// Makes `target` the level that runs, and the others wait until they are asked for.
    fn switch(&mut self, target: Vmpl) {
        self.current = target;
        self.runnable = 1 << target.index();
        self.planes |= self.runnable;
        self.runs[target.index()] = Run::Running;
    }

    /// The lowest plane that wants to run; VMPL0's where none does.
    fn schedule(&mut self) {
        self.current =
            LEVELS.into_iter().find(|level| self.runnable >> level.index() & 1 != 0).unwrap_or(Vmpl::Vmpl0);
    }

    /// An event of any plane ends HLT, and AP reset hold, of the one whose turn it is.
    fn rouse(&mut self) {
        if matches!(self.run(), Run::Halted | Run::Held) {
            self.set_run(Run::Running);
        }
    }

    /// INIT: a level that never ran waits for its start-up IPI now. One that runs goes on, as nothing of its state can be reset.
    pub fn initialise(&mut self, vmpl: Vmpl) {
        let level = vmpl.index();
        if self.vmsas[level].is_some() && self.runs[level] == Run::Stopped {
            self.runs[level] = Run::Initialised;
        }
    }

    /// Start-up IPI: the first one starts the VMSA as it stands, a later one ends AP reset hold. Says whether the level was held
    /// by an event of its GHCB page, which then shows why it goes on.
    pub fn start_up(&mut self, vmpl: Vmpl) -> bool {
        let level = vmpl.index();
        match self.runs[level] {
            Run::Initialised => self.runs[level] = Run::Running,
            Run::Held => {
                self.runs[level] = Run::Running;
                let channel = &mut self.channels[level];
                match Response::decode(channel.msr) {
                    Ok(Response::ApResetHold { .. }) => {
                        channel.msr = Response::ApResetHold { released: true }.encode();
                    }
                    _ => return true,
                }
            }
            Run::Running | Run::Halted | Run::Stopped => {}
        }
        false
    }

    /// The host has an event for VMPL0 that nobody called for: it runs again, behind its own request, before the level below does.
    pub fn interrupt_vmpl0(&mut self) {
        self.runnable |= 1;
        self.runs[0] = Run::Running;
        self.schedule();
    }
}

/// The levels in the order in which planes are looked at.
const LEVELS: [Vmpl; VMPL_COUNT] = [Vmpl::Vmpl0, Vmpl::Vmpl1, Vmpl::Vmpl2, Vmpl::Vmpl3];
/// Physical address bits of a vCPU by QEMU's default: AP creation refuses VMSAs beyond (sev.c, `page_address_valid`).
const MOST_ADDRESS_BITS: u32 = 40;

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

    /// What VMRUN checks: returns the VMSA page of the current level, or why the host ends the VM, which is reported where the guest
    /// is to blame.
    pub fn check_vmsa(&mut self, vcpu: usize, contents: &dyn Contents) -> Result<u64, HostEnd> {
        let actor = self.actor(vcpu);
        let Some(address) = self.vcpus[vcpu].vmsas[actor.vmpl.index()] else {
            return Err(match self.vcpus[vcpu].generations[actor.vmpl.index()] {
                0 => HostEnd::EntryFailed("the level never had a VMSA"),
                _ => HostEnd::RunFailed("the level's VMSA was destroyed"),
            });
        };
        match self.vmsa_flaw(actor, address, contents) {
            None => Err(HostEnd::RunFailed("there is no memory at the VMSA's address")),
            Some(Ok(())) => Ok(address),
            Some(Err(why)) => {
                self.report(actor, Fault::BadVmsa { address, why });
                Err(HostEnd::EntryFailed(why))
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

    /// RUN_VMPL: continues a vCPU at another level.
    pub fn run_vmpl(&mut self, vcpu: usize, target: Vmpl, contents: &dyn Contents) -> Switch {
        let levels = self.configuration.contract.levels;
        let state = &mut self.vcpus[vcpu];
        let vmsa = state.vmsas[target.index()];
        match levels {
            Levels::One => return Switch::Unknown,
            Levels::Planes => {
                let (from, to) = (state.current.index(), target.index());
                if state.planes >> to & 1 == 0 {
                    return Switch::Ends(HostEnd::RunFailed(
                        "RUN_VMPL names a level that this vCPU has no plane for: nobody created a VMSA for it",
                    ));
                }
                state.runs[to] = Run::Running;
                state.runnable = (state.runnable | 1 << to) & !(1 << from);
                state.schedule();
            }
            Levels::Vcpus if vmsa.is_none() => return Switch::Refused,
            Levels::Vcpus => state.switch(target),
            Levels::Kind => {
                let efer = vmsa.map_or(0, |vmsa| read_u64(contents, vmsa, offset_of!(Vmsa, efer)));
                if efer & EFER_SVME == 0 {
                    return Switch::Refused;
                }
                state.switch(target);
            }
        }
        self.statistics.vmpl_switches += 1;
        Switch::Done
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
        let rules = self.configuration.contract.ap_creation;
        let level = creation.vmpl.index();
        let may = match rules {
            ApCreationRules::Kind => creation.vmpl >= actor.vmpl,
            ApCreationRules::Mainline => level == 0,
            // VMPL0's VMSA is another vCPU's VMPL0 to replace; the other levels are anybody's (planes 57).
            ApCreationRules::Planes | ApCreationRules::Fork => {
                level != 0 || (actor.vmpl == Vmpl::Vmpl0 && actor.vcpu != target)
            }
        };
        if !may {
            return Err(MalformedRequest::InvalidInput);
        }
        if creation.request == ApCreationRequest::Destroy {
            self.destroy(target, creation.vmpl);
            return Ok(target);
        }
        // KVM refuses 2 MiB aligned VMSAs: an erratum makes hardware lock the whole 2 MiB.
        let aligned = vmsa.trailing_zeros() >= 12 && vmsa.trailing_zeros() < 21;
        if !aligned || vmsa >> MOST_ADDRESS_BITS != 0 {
            return Err(MalformedRequest::InvalidInput);
        }
        self.judge_features(creation.vmpl, vmsa, features, contents)?;
        let levels = self.configuration.contract.levels;
        let state = &mut self.vcpus[target];
        state.vmsas[level] = Some(vmsa);
        state.generations[level] += 1;
        state.planes |= 1 << level;
        let runs = creation.request == ApCreationRequest::Create;
        match levels {
            Levels::Planes | Levels::One => {
                // The level waits for RUN_VMPL; VMPL0, if it sleeps, has a reason to look.
                state.runs[level] = if runs { Run::Running } else { Run::Stopped };
                state.rouse();
            }
            Levels::Vcpus | Levels::Kind if runs => state.switch(creation.vmpl),
            Levels::Vcpus | Levels::Kind => {}
        }
        Ok(target)
    }

    /// RAX of AP creation, against what the VM, its level or the VMSA has.
    fn judge_features(
        &mut self,
        vmpl: Vmpl,
        vmsa: u64,
        features: u64,
        contents: &dyn Contents,
    ) -> Result<(), MalformedRequest> {
        let expected = match self.configuration.contract.ap_creation {
            ApCreationRules::Kind => {
                self.rmp.entry(vmsa).ok_or(MalformedRequest::InvalidInput)?;
                read_u64(contents, vmsa, offset_of!(Vmsa, sev_features))
            }
            ApCreationRules::Mainline => self.level_features[0].unwrap_or(features),
            ApCreationRules::Planes | ApCreationRules::Fork => {
                *self.level_features[vmpl.index()].get_or_insert(features)
            }
        };
        if features == expected { Ok(()) } else { Err(MalformedRequest::InvalidInput) }
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
        first.set_run(Run::Running);
        if waits {
            first.channels[own].msr = Response::RunVmpl { error: RUN_VMPL_GUEST_RESET }.encode();
            self.statistics.vmpl_switches += 1;
        }
        self.reset_pending = !waits;
        true
    }

    fn destroy(&mut self, target: usize, vmpl: Vmpl) {
        let levels = self.configuration.contract.levels;
        let state = &mut self.vcpus[target];
        state.vmsas[vmpl.index()] = None;
        state.generations[vmpl.index()] += 1;
        state.runs[vmpl.index()] = Run::Stopped;
        let is_plane = matches!(levels, Levels::Planes | Levels::One);
        if state.current == vmpl && vmpl != Vmpl::Vmpl0 && !is_plane {
            state.current = Vmpl::Vmpl0;
            state.runnable = 1;
            state.set_run(Run::Halted);
        }
    }

    /// The GHCB page that the current level of a vCPU named with the MSR. What cannot be used is reported.
    pub fn ghcb_page(&mut self, vcpu: usize, address: u64) -> GhcbPage {
        let follows_kvm = self.configuration.contract.follows_kvm;
        let is_registered = self.vcpus[vcpu].channel().registered == Some(address);
        let why = if !is_registered && !follows_kvm {
            "it is not registered"
        } else if self.rmp.entry(address).is_none() {
            "it has no memory"
        } else if !self.host_may_access(address, 4096) {
            "it is private memory"
        } else {
            return if is_registered { GhcbPage::Usable(address) } else { GhcbPage::Unregistered(address) };
        };
        let actor = self.actor(vcpu);
        self.report(actor, Fault::Ghcb { address, why });
        GhcbPage::Unreadable
    }
}

/// A GHCB page, as the host finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GhcbPage {
    /// Registered, and shared memory.
    Usable(u64),
    /// Shared memory that was not registered: the host says so in it (malformed request, 1).
    Unregistered(u64),
    /// The host cannot read it. KVM resumes the guest and writes nothing; others end it.
    Unreadable,
}
