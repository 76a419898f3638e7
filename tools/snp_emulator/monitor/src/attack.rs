//! Carries out the attack that the run was asked for (`model::attack`), and says when VMPL0 was lost.
//!
//! Without an attack nothing here does anything. The machine is the judge: under attack, VMPL0 may fetch code only from the pages
//! of the firmware that were launched with measured contents.

use crate::exits::{deliver_vc, intercepts};
use crate::finish::Verdict;
use crate::processor::Processor;
use crate::vmcb;
use crate::world::{Guard, World};
use crate::{console, log};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use model::Fault;
use model::attack::{Chosen, Kind};
use model::rmp::MemoryRange;
use model::vcpu::Run;
use snp_abi::address::PAGE_BYTES;
use snp_abi::ghcb::event::{EventInjection, EventKind};
use snp_abi::msr;
use snp_abi::rmp::Vmpl;

const VC_MSR: u64 = 0x7c;
const GS_BASE: u32 = 0xc000_0101;
const NMI: u8 = 2;
/// Exceptions that push an error code.
const WITH_ERROR_CODE: [u8; 10] = [8, 10, 11, 12, 13, 14, 17, 21, 29, 30];
const FIRST_INTERRUPT: u8 = 32;

/// What a vCPU goes on with when the launch VMSA has stopped.
#[derive(Clone, Copy)]
struct Kept {
    vmsa: Option<u64>,
    current: Vmpl,
    runnable: u8,
    run: Run,
}

/// How far an attack with a launch VMSA is.
#[derive(Clone, Copy)]
enum Stage {
    Waits,
    /// It is to be entered for the first time.
    Enters(Kept),
    Runs(Kept),
    Over,
}

/// The attack of a run, and the judge's knowledge.
pub struct Attack {
    chosen: Option<Chosen>,
    /// Launch VMSAs by vCPU, but for the first vCPU's, which has run.
    launch_vmsas: Vec<(usize, u64)>,
    /// Pages of the firmware's that were launched with measured contents.
    measured: BTreeSet<u64>,
    guest_entries: u64,
    stage: Stage,
    /// The next RDMSR is intercepted, after so many that pass.
    is_armed: bool,
    passing: u64,
    carried_out: u64,
}

impl Attack {
    /// No attack, or the chosen one.
    pub fn new(chosen: Option<Chosen>) -> Self {
        if let Some(register) = chosen.as_ref().and_then(|chosen| chosen.value("register")) {
            intercepts::watch_reads(register as u32);
        }
        let passing = chosen.as_ref().and_then(|chosen| chosen.value("skip")).unwrap_or(0);
        Self {
            passing,
            chosen,
            launch_vmsas: Vec::new(),
            measured: BTreeSet::new(),
            guest_entries: 0,
            stage: Stage::Waits,
            is_armed: true,
            carried_out: 0,
        }
    }

    /// Whether there is one.
    pub fn is_on(&self) -> bool {
        self.chosen.is_some()
    }

    fn value(&self, key: &str) -> Option<u64> {
        self.chosen.as_ref()?.value(key)
    }

    fn is(&self, kind: Kind) -> bool {
        self.chosen.as_ref().is_some_and(|chosen| chosen.kind() == kind)
    }

    /// The vCPU whose launch VMSA runs.
    fn target(&self) -> Option<usize> {
        let with_launch_vmsa = self.is(Kind::LaunchVmsaRuns) || self.is(Kind::LaunchVmsaInjected);
        self.value("vcpu").filter(|_| with_launch_vmsa).map(|vcpu| vcpu as usize)
    }
}

impl World {
    /// Notes a page that is launched with measured contents.
    pub fn note_measured(&mut self, page: u64) {
        let own = |range: &MemoryRange| page.wrapping_sub(range.start) < range.bytes;
        if self.attack.is_on() && self.settings.firmware.iter().any(own) {
            self.attack.measured.insert(page);
        }
    }

    /// Notes where the VMSA is with which a vCPU other than the first is launched.
    pub fn note_launch_vmsa(&mut self, vcpu: usize, place: u64) {
        self.attack.launch_vmsas.push((vcpu, place));
    }

    /// Counts an entry into the guest; wakes the vCPU that is to be attacked.
    pub fn count_guest_entry(&mut self) {
        self.attack.guest_entries += 1;
        if self.attack.value("after") == Some(self.attack.guest_entries)
            && let Some(target) = self.attack.target().filter(|target| *target < self.model.vcpus.len())
        {
            self.wake(target);
        }
    }

    /// Puts the launch VMSA in the place of what the vCPU runs, when its time has come.
    pub fn attack_vcpu(&mut self, vcpu: usize) {
        let due = self.attack.value("after").is_some_and(|after| self.attack.guest_entries >= after);
        if !due || self.attack.target() != Some(vcpu) || !matches!(self.attack.stage, Stage::Waits) {
            return;
        }
        let found = self.attack.launch_vmsas.iter().find(|(index, _)| *index == vcpu);
        let Some((_, launched)) = found.copied() else { return };
        let own = Vmpl::Vmpl0.index();
        let state = &mut self.model.vcpus[vcpu];
        self.attack.stage = Stage::Enters(Kept {
            vmsa: state.vmsas[own],
            current: state.current,
            runnable: state.runnable,
            run: state.runs[own],
        });
        self.attack.carried_out += 1;
        state.vmsas[own] = Some(launched);
        state.generations[own] += 1;
        state.current = Vmpl::Vmpl0;
        state.runnable |= 1;
        state.runs[own] = Run::Running;
        log!("attack: vCPU {vcpu} runs its launch VMSA");
    }

    /// The event for the first entry of a launch VMSA.
    pub fn attack_event(&mut self, vcpu: usize) -> Option<u64> {
        let Stage::Enters(kept) = self.attack.stage else { return None };
        if self.attack.target() != Some(vcpu) {
            return None;
        }
        self.attack.stage = Stage::Runs(kept);
        let vector = self.attack.value("vector")? as u8;
        let kind = match vector {
            NMI => EventKind::Nmi,
            0..FIRST_INTERRUPT => EventKind::Exception,
            _ => EventKind::Interrupt,
        };
        let error_code = WITH_ERROR_CODE.contains(&vector).then_some(0);
        Some(EventInjection { vector, kind, error_code }.encode())
    }

    /// A vCPU halts or shuts down. Where that is a launch VMSA, the host goes on with what the vCPU had; `false` otherwise.
    pub fn attack_stopped(&mut self, vcpu: usize, how: &str) -> bool {
        let Stage::Runs(kept) = self.attack.stage else { return false };
        if self.attack.target() != Some(vcpu) {
            return false;
        }
        log!("attack: the launch VMSA of vCPU {vcpu} {how}");
        self.attack.stage = Stage::Over;
        let own = Vmpl::Vmpl0.index();
        let state = &mut self.model.vcpus[vcpu];
        state.vmsas[own] = kept.vmsa;
        state.generations[own] += 1;
        state.current = kept.current;
        state.runnable = kept.runnable;
        // A HLT that ends without a reason is the host's right.
        state.runs[own] = if kept.run == Run::Halted { Run::Running } else { kept.run };
        true
    }

    /// Whether VMPL0 would execute something that is not the firmware's measured text.
    pub fn is_foreign_code(&self, vmpl: Vmpl, address: u64) -> bool {
        self.attack.is_on()
            && vmpl == Vmpl::Vmpl0
            && !self.attack.measured.contains(&(address & !(PAGE_BYTES - 1)))
    }

    /// What the host answers when VMPL0 asks for a register whose reading was intercepted. Asking is the fault.
    pub fn attack_answer(&mut self, vcpu: usize, register: u32) -> Option<u64> {
        let actor = self.model.actor(vcpu);
        let is_it = self.attack.is(Kind::MsrAnswered)
            && actor.vmpl == Vmpl::Vmpl0
            && self.attack.value("register") == Some(register.into());
        if !is_it {
            return None;
        }
        self.attack.is_armed = true;
        self.model.report(actor, Fault::AskedTheHost { register });
        self.attack.value("value")
    }

    /// Turns what ended a run under attack into what became of VMPL0.
    pub fn judge_attack(&self, verdict: Verdict) -> Verdict {
        let Some(chosen) = &self.attack.chosen else { return verdict };
        let held = match verdict {
            Verdict::Finished | Verdict::Terminated | Verdict::Dead | Verdict::HostEnded => true,
            Verdict::Violation | Verdict::Breach | Verdict::Failed => false,
            other => return other,
        };
        let word = if held { "held" } else { "lost" };
        console::line(
            "attack",
            format_args!(
                "{} carried out {} times: {word} ({})",
                chosen.name(),
                self.attack.carried_out,
                chosen.claim()
            ),
        );
        if held { Verdict::Held } else { Verdict::Lost }
    }
}

/// RDMSR of a register that the attack watches; `false` if it is not watched.
pub fn read_msr(cpu: &mut Processor, world: &mut Guard, register: u32) -> bool {
    if !world.attack.is(Kind::MsrAnswered) || world.attack.value("register") != Some(register.into()) {
        return false;
    }
    let field = match register {
        GS_BASE => vmcb::GS_BASE,
        msr::EFER => vmcb::EFER,
        _ => return false,
    };
    let own = cpu.vmpl == Vmpl::Vmpl0;
    if own && world.attack.passing > 0 {
        world.attack.passing -= 1;
    } else if own && core::mem::take(&mut world.attack.is_armed) {
        world.attack.carried_out += 1;
        deliver_vc(cpu, world, VC_MSR);
        return true;
    }
    let value = cpu.vmcb.read(field);
    cpu.vmcb.write(vmcb::RAX, value & 0xffff_ffff);
    cpu.registers.rdx = value >> 32;
    cpu.skip(2);
    true
}
