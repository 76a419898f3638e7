//! VMGEXIT: the MSR protocol goes to the model, events with a GHCB page are taken apart here.
//!
//! Source: GHCB specification (56421), chapter 4; answers as KVM gives them.

use crate::exits::deliver_vc;
use crate::finish::Verdict;
use crate::ghcb::Ghcb;
use crate::processor::Processor;
use crate::world::{Guard, World};
use crate::{console, instructions, log};
use model::Fault;
use model::guest_request::RequestPages;
use model::hypervisor::MsrOutcome;
use model::vcpu::Run;
use snp_abi::address::PAGE_BYTES;
use snp_abi::cpuid::{CpuidQuery, CpuidRegisters};
use snp_abi::ghcb::ap_creation::{ApCreation, ApCreationRequest};
use snp_abi::ghcb::event::{
    EventInjection, ExitCode, HostAnswer, IoInformation, MSR_WRITE, MalformedRequest,
};
use snp_abi::ghcb::page::GhcbField;
use snp_abi::ghcb::page_state::{MAXIMUM_ENTRIES, PageStateEntry, PageStateError, PageStateWord};
use snp_abi::ghcb::termination::Termination;
use snp_abi::rmp::Vmpl;

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

    fn malformed(reason: MalformedRequest) -> Self {
        Self::Answer(HostAnswer::Malformed(reason))
    }

    fn general_protection() -> Self {
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
        let world = &mut **world;
        world.model.vmgexit(vcpu, |query| guest_cpuid(query, apic_id), &mut world.memory)
    };
    match outcome {
        MsrOutcome::Answered(changed) => world.remove_converted(vcpu, changed),
        MsrOutcome::Page(address) => event(cpu, world, address),
        MsrOutcome::Switched => note_switch(cpu, world, before),
        MsrOutcome::Held => {}
        MsrOutcome::Terminated(reason) => terminated(cpu, world, reason),
        MsrOutcome::Malformed => {
            world.judge();
            world.dead(vcpu, format_args!("malformed GHCB MSR request"));
        }
    }
}

/// CPUID as this guest sees it.
pub fn guest_cpuid(query: CpuidQuery, apic_id: u32) -> CpuidRegisters {
    model::cpuid::filter(query, super::raw_cpuid(query), apic_id)
}

fn note_switch(cpu: &Processor, world: &mut Guard, before: Vmpl) {
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
    let page = world.model.ghcb_page(cpu.vcpu, address).and_then(|page| world.memory.host(page));
    let Some(page) = page else {
        world.judge();
        world.dead(cpu.vcpu, format_args!("the GHCB page cannot be used"));
    };
    let mut ghcb = Ghcb::new(page);
    let outcome = match ghcb.input(GhcbField::SwExitCode).map(|code| ExitCode::from_wire(code as u32)) {
        None => Outcome::malformed(MalformedRequest::MissingInput),
        Some(None) => Outcome::malformed(MalformedRequest::InvalidEvent),
        Some(Some(code)) => dispatch(cpu, world, &mut ghcb, code).unwrap_or_else(Outcome::malformed),
    };
    if let Outcome::Answer(answer) = outcome {
        if world.settings.trace {
            trace(cpu, &ghcb, answer);
        }
        ghcb.answer(answer);
    }
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
    Ok(match code {
        ExitCode::Cpuid => cpuid(world, vcpu, ghcb)?,
        ExitCode::Ioio => io(world, vcpu, ghcb, first, second)?,
        ExitCode::Msr => msr(world, vcpu, ghcb, first)?,
        ExitCode::MmioRead => mmio(world, vcpu, ghcb, first, second, false)?,
        ExitCode::MmioWrite => mmio(world, vcpu, ghcb, first, second, true)?,
        ExitCode::PageStateChange => page_state_change(world, vcpu, ghcb)?,
        ExitCode::ApCreation => ap_creation(world, vcpu, ghcb, first, second)?,
        ExitCode::HypervisorFeatures => Outcome::done(world.model.configuration.features.bits()),
        ExitCode::RunVmpl => run_vmpl(cpu, world, ghcb, first)?,
        ExitCode::GuestRequest => guest_request(world, vcpu, ghcb, (first, second), None)?,
        ExitCode::ExtendedGuestRequest => {
            let data = (ghcb.required(GhcbField::Rax)?, ghcb.required(GhcbField::Rbx)?);
            guest_request(world, vcpu, ghcb, (first, second), Some(data))?
        }
        ExitCode::ApicIdList => apic_id_list(world, vcpu, ghcb, first)?,
        ExitCode::ApResetHold => {
            world.model.vcpus[vcpu].run = Run::Held;
            Outcome::done(1)
        }
        ExitCode::Vmmcall => {
            deliver_vc(cpu, world, u64::from(ExitCode::Vmmcall.to_wire()));
            Outcome::done(0)
        }
        ExitCode::Terminate => {
            let reason = Termination::new((first & 0xf) as u8, (first >> 4) as u8);
            terminated(cpu, world, reason.ok_or(MalformedRequest::InvalidInput)?)
        }
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

fn cpuid(world: &Guard, vcpu: usize, ghcb: &mut Ghcb) -> Result<Outcome, MalformedRequest> {
    let query = CpuidQuery {
        leaf: ghcb.required(GhcbField::Rax)? as u32,
        subleaf: ghcb.required(GhcbField::Rcx)? as u32,
    };
    let out = guest_cpuid(query, world.model.vcpus[vcpu].apic_id);
    ghcb.output(GhcbField::Rax, out.eax.into());
    ghcb.output(GhcbField::Rbx, out.ebx.into());
    ghcb.output(GhcbField::Rcx, out.ecx.into());
    ghcb.output(GhcbField::Rdx, out.edx.into());
    Ok(Outcome::done(0))
}

fn io(
    world: &mut Guard,
    vcpu: usize,
    ghcb: &mut Ghcb,
    first: u64,
    count: u64,
) -> Result<Outcome, MalformedRequest> {
    let request = IoInformation::decode(first).map_err(|_| MalformedRequest::InvalidInput)?;
    let world = &mut **world;
    let size = request.size.bytes();
    if !request.is_string {
        let input = if request.is_input { 0 } else { ghcb.required(GhcbField::Rax)? };
        let output = world.port_access(vcpu, request.port, size, (!request.is_input).then_some(input as u32));
        if request.is_input {
            ghcb.output(GhcbField::Rax, output.into());
        }
        return Ok(Outcome::done(0));
    }
    let count = if request.is_repeated { count } else { 1 };
    let bytes = count.checked_mul(size.into()).ok_or(MalformedRequest::InvalidInput)?;
    let buffer = scratch(world, ghcb, bytes)?;
    for at in (buffer..buffer + bytes).step_by(size.into()) {
        if request.is_input {
            let value = world.port_access(vcpu, request.port, size, None);
            crate::physical::write_bytes(at, &value.to_le_bytes()[..usize::from(size)]);
        } else {
            let mut value = [0; 4];
            crate::physical::read_bytes(at, &mut value[..usize::from(size)]);
            world.port_access(vcpu, request.port, size, Some(u32::from_le_bytes(value)));
        }
    }
    Ok(Outcome::done(0))
}

/// Host address of the scratch area: it must be shared memory of the guest.
fn scratch(world: &World, ghcb: &Ghcb, bytes: u64) -> Result<u64, MalformedRequest> {
    let address = ghcb.required(GhcbField::SwScratch)?;
    if bytes > PAGE_BYTES || !world.model.host_may_access(address, bytes) {
        return Err(MalformedRequest::InvalidScratchArea);
    }
    world.memory.host(address).ok_or(MalformedRequest::InvalidScratchArea)
}

fn msr(world: &mut Guard, vcpu: usize, ghcb: &mut Ghcb, write: u64) -> Result<Outcome, MalformedRequest> {
    let register = ghcb.required(GhcbField::Rcx)? as u32;
    let world = &mut **world;
    if write == MSR_WRITE {
        let value = ghcb.required(GhcbField::Rax)? & 0xffff_ffff | ghcb.required(GhcbField::Rdx)? << 32;
        return Ok(match world.write_msr(vcpu, register, value) {
            true => Outcome::done(0),
            false => Outcome::general_protection(),
        });
    }
    let Some(value) = world.read_msr(vcpu, register) else { return Ok(Outcome::general_protection()) };
    ghcb.output(GhcbField::Rax, value & 0xffff_ffff);
    ghcb.output(GhcbField::Rdx, value >> 32);
    Ok(Outcome::done(0))
}

fn mmio(
    world: &mut Guard,
    vcpu: usize,
    ghcb: &Ghcb,
    address: u64,
    bytes: u64,
    write: bool,
) -> Result<Outcome, MalformedRequest> {
    if !matches!(bytes, 1 | 2 | 4 | 8) || world.memory.host(address).is_some() {
        return Err(MalformedRequest::InvalidInput);
    }
    let buffer = scratch(world, ghcb, bytes)?;
    let mut value = [0; 8];
    if write {
        crate::physical::read_bytes(buffer, &mut value[..bytes as usize]);
        world.device_write(vcpu, address, bytes, u64::from_le_bytes(value));
    } else {
        value = world.device_read(address, bytes).to_le_bytes();
        crate::physical::write_bytes(buffer, &value[..bytes as usize]);
    }
    Ok(Outcome::done(0))
}

fn page_state_change(world: &mut Guard, vcpu: usize, ghcb: &Ghcb) -> Result<Outcome, MalformedRequest> {
    let bytes = 8 + 8 * MAXIMUM_ENTRIES as u64;
    let list = scratch(world, ghcb, bytes)?;
    let current = crate::physical::read_u16(list);
    let end = crate::physical::read_u16(list + 2);
    if usize::from(end) >= MAXIMUM_ENTRIES {
        return Ok(Outcome::done(PageStateError::InvalidHeader.encode()));
    }
    let actor = world.model.actor(vcpu);
    for index in current..=end {
        let at = list + 8 + 8 * u64::from(index);
        let entry = PageStateEntry::decode(PageStateWord(crate::physical::read_u64(at)));
        let changed = {
            let world = &mut **world;
            entry.ok().and_then(|entry| {
                let PageStateEntry { address, size, operation, .. } = entry;
                world.model.change_page_state(actor, address, size, operation, &mut world.memory).ok()
            })
        };
        let Some(changed) = changed else {
            return Ok(Outcome::done(PageStateError::InvalidEntry.encode()));
        };
        world.remove_converted(vcpu, changed);
        crate::physical::write_u16(list, index + 1);
    }
    Ok(Outcome::done(0))
}

fn ap_creation(
    world: &mut Guard,
    vcpu: usize,
    ghcb: &Ghcb,
    first: u64,
    vmsa: u64,
) -> Result<Outcome, MalformedRequest> {
    let creation = ApCreation::decode(first).map_err(|_| MalformedRequest::InvalidInput)?;
    let features =
        if creation.request == ApCreationRequest::Destroy { 0 } else { ghcb.required(GhcbField::Rax)? };
    if let Some(target) = world.model.vcpu_by_apic_id(creation.apic_id) {
        // Its state must be in its VMSA before the VMSA is replaced.
        world.stop(vcpu, target);
    }
    let actor = world.model.actor(vcpu);
    let target = {
        let world = &mut **world;
        world.model.create_ap(actor, creation, vmsa, features, &world.memory)?
    };
    if target != vcpu {
        world.wake(target);
    }
    Ok(Outcome::done(0))
}

fn run_vmpl(
    cpu: &Processor,
    world: &mut Guard,
    ghcb: &mut Ghcb,
    target: u64,
) -> Result<Outcome, MalformedRequest> {
    let target = u8::try_from(target).ok().and_then(Vmpl::from_wire).ok_or(MalformedRequest::InvalidInput)?;
    let before = world.model.vcpus[cpu.vcpu].current;
    let switched = {
        let world = &mut **world;
        world.model.run_vmpl(cpu.vcpu, target, &world.memory)
    };
    if !switched {
        return Err(MalformedRequest::InvalidInput);
    }
    ghcb.answer(HostAnswer::Done { information: 0 });
    note_switch(cpu, world, before);
    Ok(Outcome::Done)
}

/// A message to the security processor; an extended one has data pages for certificates.
fn guest_request(
    world: &mut Guard,
    vcpu: usize,
    ghcb: &mut Ghcb,
    (request, response): (u64, u64),
    data: Option<(u64, u64)>,
) -> Result<Outcome, MalformedRequest> {
    let pages = RequestPages { request, response, data };
    let answer = {
        let World { model, psp, host, memory, .. } = &mut **world;
        model.guest_request(vcpu, pages, (psp, host), memory)?
    };
    if let Some(needed) = answer.pages_needed {
        ghcb.output(GhcbField::Rbx, needed);
    }
    Ok(Outcome::done(answer.outcome.encode()))
}

fn apic_id_list(
    world: &mut Guard,
    vcpu: usize,
    ghcb: &mut Ghcb,
    address: u64,
) -> Result<Outcome, MalformedRequest> {
    let pages = ghcb.required(GhcbField::Rax)?;
    ghcb.output(GhcbField::Rax, 1);
    if pages == 0 {
        return Ok(Outcome::done(0));
    }
    if !world.model.host_may_access(address, PAGE_BYTES) {
        let actor = world.model.actor(vcpu);
        world.model.report(actor, Fault::DeviceAccess { address });
        return Err(MalformedRequest::InvalidInput);
    }
    let ids = world.model.apic_ids();
    world.memory.write(address, &(ids.len() as u32).to_le_bytes());
    for (index, id) in ids.iter().enumerate() {
        world.memory.write(address + 4 + 4 * index as u64, &id.to_le_bytes());
    }
    Ok(Outcome::done(0))
}
