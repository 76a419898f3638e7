//! VMGEXIT: the MSR protocol goes to the model, events with a GHCB page are taken apart here.
//!
//! Source: GHCB specification (56421), chapter 4; answers as KVM gives them.

use super::events::{
    ap_creation, apic_id_list, cpuid, guest_request, io, mmio, msr, page_state_change, run_vmpl,
};
use crate::exits::deliver_vc;
use crate::finish::Verdict;
use crate::ghcb::Ghcb;
use crate::processor::Processor;
use crate::settings::Settings;
use crate::world::{Guard, World};
use crate::{console, instructions, log};
use model::hypervisor::MsrOutcome;
use model::vcpu::{GhcbPage, HostEnd, Run};
use snp_abi::cpuid::{CpuidQuery, CpuidRegisters};
use snp_abi::ghcb::event::{EventInjection, EventKind, ExitCode, HostAnswer, MalformedRequest};
use snp_abi::ghcb::page::GhcbField;
use snp_abi::ghcb::termination::Termination;
use snp_abi::ghcb::{HypervisorFeatures, USAGE_STANDARD};
use snp_abi::rmp::Vmpl;

/// #UD, as an exception to inject.
const INVALID_OPCODE: EventInjection =
    EventInjection { vector: 6, kind: EventKind::Exception, error_code: None };
/// DR7 after a reset.
const DR7_RESET: u64 = 0x400;
/// What a hypercall that KVM does not know returns (KVM_ENOSYS is 1000).
const NO_SUCH_CALL: u64 = -1000i64 as u64;
/// GUEST_EXITCODE of VMGEXIT.
const EXIT_CODE: u64 = 0x403;
const VMGEXIT_BYTES: u64 = 4;

/// What an event came to.
pub enum Outcome {
    /// Answer in the GHCB.
    Answer(HostAnswer),
    /// The answer is already in the GHCB, because the vCPU may run elsewhere next.
    Done,
}

impl Outcome {
    /// Done, with the second information word.
    pub fn done(information: u64) -> Self {
        Self::Answer(HostAnswer::Done { information })
    }

    pub fn malformed(reason: MalformedRequest) -> Self {
        Self::Answer(HostAnswer::Malformed(reason))
    }

    pub fn general_protection() -> Self {
        Self::Answer(HostAnswer::Exception(EventInjection::GENERAL_PROTECTION))
    }
}

/// Handles VMGEXIT.
pub fn handle(cpu: &mut Processor, world: &mut Guard) {
    cpu.skip(VMGEXIT_BYTES);
    cpu.set_exit_code(world, EXIT_CODE);
    let vcpu = cpu.vcpu;
    let before = world.model.vcpus[vcpu].current;
    let apic_id = world.model.vcpus[vcpu].apic_id;
    let outcome = {
        let World { model, settings, memory, .. } = &mut **world;
        model.vmgexit(vcpu, |query| guest_cpuid(settings, query, apic_id), memory)
    };
    match outcome {
        MsrOutcome::Answered(changed) => world.remove_converted(vcpu, changed),
        MsrOutcome::Page(address) => event(cpu, world, address),
        MsrOutcome::Switched => note_switch(cpu, world, before),
        MsrOutcome::Held => {}
        MsrOutcome::Terminated(reason) => terminated(cpu, world, reason),
        MsrOutcome::Ended(end) => world.host_ends(vcpu, end),
        MsrOutcome::Malformed => {
            world.judge();
            world.dead(vcpu, format_args!("malformed GHCB MSR request"));
        }
    }
}

/// CPUID as this guest sees it.
pub fn guest_cpuid(settings: &Settings, query: CpuidQuery, apic_id: u32) -> CpuidRegisters {
    let mut answer = settings.cpuid.answer(settings.vcpus as u32, apic_id, query, super::raw_cpuid);
    super::note_invlpgb(query, &mut answer);
    answer
}

pub fn note_switch(cpu: &Processor, world: &mut Guard, before: Vmpl) {
    let vcpu = cpu.vcpu;
    let now = world.model.vcpus[vcpu].current;
    if now == Vmpl::Vmpl0 {
        let code = cpu.vmcb.read(crate::vmcb::RAX);
        world.clock.call_starts(vcpu, code);
    } else if before == Vmpl::Vmpl0 {
        world.clock.call_ends(vcpu);
    }
}

fn terminated(cpu: &Processor, world: &mut Guard, reason: Termination) -> ! {
    cpu.dump("guest terminates");
    console::line(
        "terminated",
        format_args!(
            "VMPL{} of vCPU {} ended the guest with reason set {} code {}",
            cpu.vmpl.to_wire(),
            cpu.vcpu,
            reason.reason_set(),
            reason.reason_code()
        ),
    );
    if let Some(meaning) = reason.meaning() {
        log!("the reason means: {meaning}");
    }
    world.end(Verdict::Terminated)
}

/// A request in the GHCB page.
fn event(cpu: &mut Processor, world: &mut Guard, address: u64) {
    let follows_kvm = world.model.configuration.contract.follows_kvm;
    let found = world.model.ghcb_page(cpu.vcpu, address);
    let place = match found {
        GhcbPage::Usable(page) | GhcbPage::Unregistered(page) => world.memory.host(page),
        GhcbPage::Unreadable => None,
    };
    let Some(place) = place else {
        world.judge();
        if !follows_kvm {
            world.dead(cpu.vcpu, format_args!("the GHCB page cannot be used"));
        }
        // KVM resumes the guest and writes nothing (sev.c:4521).
        return;
    };
    let mut ghcb = Ghcb::new(place, address, follows_kvm);
    let outcome = match found {
        GhcbPage::Unregistered(_) => Outcome::malformed(MalformedRequest::NotRegistered),
        _ if follows_kvm && ghcb.usage() != USAGE_STANDARD => {
            Outcome::malformed(MalformedRequest::InvalidUsage)
        }
        _ => match request_words(&ghcb).map(exit_code) {
            Err(missing) => Outcome::malformed(missing),
            Ok(None) => Outcome::malformed(MalformedRequest::InvalidEvent),
            Ok(Some(code)) => dispatch(cpu, world, &mut ghcb, code).unwrap_or_else(Outcome::malformed),
        },
    };
    if let Outcome::Answer(answer) = outcome {
        if world.settings.trace {
            trace(cpu, &ghcb, answer);
        }
        ghcb.answer(answer);
    }
}

/// The three words that every event has; the first of them.
fn request_words(ghcb: &Ghcb) -> Result<u64, MalformedRequest> {
    ghcb.required(GhcbField::SwExitInfo1)?;
    ghcb.required(GhcbField::SwExitInfo2)?;
    ghcb.required(GhcbField::SwExitCode)
}

/// The exit code, of which all 64 bits count (sev.c:4600).
fn exit_code(word: u64) -> Option<ExitCode> {
    u32::try_from(word).ok().and_then(ExitCode::from_wire)
}

fn trace(cpu: &Processor, ghcb: &Ghcb, answer: HostAnswer) {
    let field = |field| ghcb.input(field).unwrap_or(0);
    console::line(
        "trace",
        format_args!(
            "vcpu {} vmpl {} event {:#x} info {:#x} {:#x} answer {answer:?}",
            cpu.vcpu,
            cpu.vmpl.to_wire(),
            field(GhcbField::SwExitCode),
            field(GhcbField::SwExitInfo1),
            field(GhcbField::SwExitInfo2)
        ),
    );
}

fn dispatch(
    cpu: &mut Processor,
    world: &mut Guard,
    ghcb: &mut Ghcb,
    code: ExitCode,
) -> Result<Outcome, MalformedRequest> {
    let first = ghcb.required(GhcbField::SwExitInfo1)?;
    let second = ghcb.required(GhcbField::SwExitInfo2)?;
    let vcpu = cpu.vcpu;
    let follows_kvm = world.model.configuration.contract.follows_kvm;
    let features = world.model.configuration.contract.features;
    Ok(match code {
        ExitCode::Cpuid => cpuid(world, vcpu, ghcb)?,
        ExitCode::Ioio => io(world, vcpu, ghcb, first, second)?,
        ExitCode::Msr => msr(world, vcpu, ghcb, first)?,
        ExitCode::MmioRead => mmio(world, vcpu, ghcb, first, second, false)?,
        ExitCode::MmioWrite => mmio(world, vcpu, ghcb, first, second, true)?,
        ExitCode::PageStateChange => page_state_change(world, vcpu, ghcb)?,
        ExitCode::ApCreation => ap_creation(world, vcpu, ghcb, first, second)?,
        ExitCode::HypervisorFeatures => Outcome::done(features.bits()),
        ExitCode::RunVmpl if features.contains(HypervisorFeatures::MULTI_VMPL) => {
            run_vmpl(cpu, world, ghcb, first)?
        }
        ExitCode::GuestRequest => guest_request(world, vcpu, ghcb, (first, second), None)?,
        ExitCode::ExtendedGuestRequest => {
            let data = (ghcb.required(GhcbField::Rax)?, ghcb.required(GhcbField::Rbx)?);
            guest_request(world, vcpu, ghcb, (first, second), Some(data))?
        }
        ExitCode::ApicIdList if features.contains(HypervisorFeatures::APIC_ID_LIST) => {
            apic_id_list(world, vcpu, ghcb, first)?
        }
        ExitCode::ApResetHold => {
            world.model.vcpus[vcpu].set_run(Run::Held);
            Outcome::done(u64::from(!follows_kvm))
        }
        ExitCode::Vmmcall if follows_kvm => {
            ghcb.required(GhcbField::Rax)?;
            ghcb.required(GhcbField::Cpl)?;
            // No hypercall is served: -KVM_ENOSYS.
            ghcb.output(GhcbField::Rax, NO_SUCH_CALL);
            Outcome::done(0)
        }
        ExitCode::Vmmcall => {
            deliver_vc(cpu, world, u64::from(ExitCode::Vmmcall.to_wire()));
            Outcome::done(0)
        }
        ExitCode::Terminate => {
            let reason = Termination::new((first & 0xf) as u8, (first >> 4) as u8);
            terminated(cpu, world, reason.ok_or(MalformedRequest::InvalidInput)?)
        }
        // KVM has no handler for RDTSC and stops the VM (svm.c:3340); it gives up where a guest does (sev.c:4600).
        ExitCode::Rdtsc if follows_kvm => {
            world.host_ends(vcpu, HostEnd::RunFailed("KVM_EXIT_INTERNAL_ERROR: nobody serves RDTSC"))
        }
        ExitCode::Rdtscp if follows_kvm => Outcome::Answer(HostAnswer::Exception(INVALID_OPCODE)),
        ExitCode::Unsupported if follows_kvm => {
            world.host_ends(vcpu, HostEnd::RunFailed("the guest met a #VC that it does not know"))
        }
        // Read of a counter: 0; debug registers, MONITOR and MWAIT: nothing to do.
        ExitCode::Rdpmc if follows_kvm => {
            ghcb.output(GhcbField::Rax, 0);
            ghcb.output(GhcbField::Rdx, 0);
            Outcome::done(0)
        }
        ExitCode::ReadDr7 if follows_kvm => {
            ghcb.output(GhcbField::Rax, DR7_RESET);
            Outcome::done(0)
        }
        ExitCode::WriteDr7 | ExitCode::Monitor | ExitCode::Mwait if follows_kvm => Outcome::done(0),
        ExitCode::ApJumpTable | ExitCode::NmiComplete | ExitCode::Wbinvd | ExitCode::Invd => Outcome::done(0),
        ExitCode::Rdtsc | ExitCode::Rdtscp => {
            let now = instructions::time_stamp();
            ghcb.output(GhcbField::Rax, now & 0xffff_ffff);
            ghcb.output(GhcbField::Rdx, now >> 32);
            Outcome::done(0)
        }
        _ => return Err(MalformedRequest::InvalidEvent),
    })
}
