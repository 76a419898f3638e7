//! The host's side of each event of the GHCB page: arguments are checked here, decisions are the model's.
//!
//! Source: GHCB specification (56421), chapter 4; refusals as KVM has them, by line of Linux 7.3-rc7 `arch/x86/kvm/svm/sev.c`.

use super::vmgexit::{Outcome, guest_cpuid, note_switch};
use crate::ghcb::Ghcb;
use crate::processor::Processor;
use crate::world::{Guard, World};
use model::Fault;
use model::guest_request::RequestPages;
use model::vcpu::{HostEnd, Switch};
use snp_abi::address::PAGE_BYTES;
use snp_abi::cpuid::CpuidQuery;
use snp_abi::ghcb::ap_creation::{ApCreation, ApCreationRequest};
use snp_abi::ghcb::event::{HostAnswer, IoInformation, MSR_WRITE, MalformedRequest};
use snp_abi::ghcb::page::{GhcbField, SHARED_BUFFER_BYTES};
use snp_abi::ghcb::page_state::PageStateError;
use snp_abi::rmp::Vmpl;

/// IO information: the three size bits.
const IO_SIZES: u64 = 0x70;
/// INT_MAX: a string instruction may repeat as often (sev.c, `sev_es_string_io`).
const MOST_REPEATS: u64 = 0x7fff_ffff;
/// Of a list of page state changes: header, and one entry.
const HEADER_BYTES: u64 = 8;
const ENTRY_BYTES: u64 = 8;

pub fn cpuid(world: &Guard, vcpu: usize, ghcb: &mut Ghcb) -> Result<Outcome, MalformedRequest> {
    let query = CpuidQuery {
        leaf: ghcb.required(GhcbField::Rax)? as u32,
        subleaf: ghcb.required(GhcbField::Rcx)? as u32,
    };
    let out = guest_cpuid(&world.settings, query, world.model.vcpus[vcpu].apic_id);
    ghcb.output(GhcbField::Rax, out.eax.into());
    ghcb.output(GhcbField::Rbx, out.ebx.into());
    ghcb.output(GhcbField::Rcx, out.ecx.into());
    ghcb.output(GhcbField::Rdx, out.edx.into());
    Ok(Outcome::done(0))
}

pub fn io(
    world: &mut Guard,
    vcpu: usize,
    ghcb: &mut Ghcb,
    first: u64,
    count: u64,
) -> Result<Outcome, MalformedRequest> {
    let world = &mut **world;
    let follows_kvm = world.model.configuration.contract.follows_kvm;
    if follows_kvm && first & IO_SIZES == 0 {
        return Ok(Outcome::done(0));
    }
    let request = IoInformation::decode(first).map_err(|_| MalformedRequest::InvalidInput)?;
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
    if follows_kvm && count > MOST_REPEATS {
        world.host_ends(vcpu, HostEnd::RunFailed("a string instruction repeats more than 2^31 - 1 times"));
    }
    let bytes = count.checked_mul(size.into()).ok_or(MalformedRequest::InvalidInput)?;
    if bytes == 0 {
        return Ok(Outcome::done(0));
    }
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

/// Host address of the scratch area: KVM wants it in the GHCB page (sev.c:3638), others in shared memory of the guest.
fn scratch(world: &World, ghcb: &Ghcb, bytes: u64) -> Result<u64, MalformedRequest> {
    let address = ghcb.required(GhcbField::SwScratch)?;
    if world.model.configuration.contract.follows_kvm {
        return ghcb.in_shared_buffer(address, bytes).ok_or(MalformedRequest::InvalidScratchArea);
    }
    if bytes > PAGE_BYTES || !world.model.host_may_access(address, bytes) {
        return Err(MalformedRequest::InvalidScratchArea);
    }
    world.memory.host(address).ok_or(MalformedRequest::InvalidScratchArea)
}

pub fn msr(world: &mut Guard, vcpu: usize, ghcb: &mut Ghcb, write: u64) -> Result<Outcome, MalformedRequest> {
    let register = ghcb.required(GhcbField::Rcx)? as u32;
    let world = &mut **world;
    if write == MSR_WRITE {
        let value = ghcb.required(GhcbField::Rax)? & 0xffff_ffff | ghcb.required(GhcbField::Rdx)? << 32;
        return Ok(match world.write_msr(vcpu, register, value) {
            true => Outcome::done(0),
            false => Outcome::general_protection(),
        });
    }
    let answer = world.attack_answer(vcpu, register).or_else(|| world.read_msr(vcpu, register));
    let Some(value) = answer else { return Ok(Outcome::general_protection()) };
    ghcb.output(GhcbField::Rax, value & 0xffff_ffff);
    ghcb.output(GhcbField::Rdx, value >> 32);
    Ok(Outcome::done(0))
}

pub fn mmio(
    world: &mut Guard,
    vcpu: usize,
    ghcb: &Ghcb,
    address: u64,
    bytes: u64,
    write: bool,
) -> Result<Outcome, MalformedRequest> {
    let follows_kvm = world.model.configuration.contract.follows_kvm;
    if bytes == 0 && follows_kvm {
        return Ok(Outcome::done(0));
    }
    let is_memory = world.memory.host(address).is_some();
    let allowed = if follows_kvm { bytes <= 8 } else { matches!(bytes, 1 | 2 | 4 | 8) && !is_memory };
    if !allowed {
        return Err(MalformedRequest::InvalidInput);
    }
    let buffer = scratch(world, ghcb, bytes)?;
    let mut value = [0; 8];
    let part = &mut value[..bytes as usize];
    if is_memory {
        copy_memory(world, address, buffer, part, write);
        return Ok(Outcome::done(0));
    }
    if write {
        crate::physical::read_bytes(buffer, part);
        write_device(world, vcpu, address, part);
    } else {
        read_device(world, address, part);
        crate::physical::write_bytes(buffer, part);
    }
    Ok(Outcome::done(0))
}

/// MMIO on memory is memory as the host sees it: of a private page, nothing.
fn copy_memory(world: &mut World, address: u64, buffer: u64, part: &mut [u8], write: bool) {
    let is_shared = world.model.host_may_access(address, part.len() as u64);
    if write {
        crate::physical::read_bytes(buffer, part);
        if is_shared {
            world.memory.write(address, part);
        }
        return;
    }
    if is_shared {
        world.memory.read(address, part);
    }
    crate::physical::write_bytes(buffer, part);
}

/// KVM splits what is no power of two into accesses of 4, 2 and 1 bytes.
fn device_parts(length: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut at = 0;
    core::iter::from_fn(move || {
        let size = [8, 4, 2, 1].into_iter().find(|size| *size <= length - at)?;
        at += size;
        Some((at - size, size))
    })
}

fn read_device(world: &mut World, address: u64, part: &mut [u8]) {
    for (at, size) in device_parts(part.len()) {
        let value = world.device_read(address + at as u64, size as u64).to_le_bytes();
        part[at..at + size].copy_from_slice(&value[..size]);
    }
}

fn write_device(world: &mut World, vcpu: usize, address: u64, part: &[u8]) {
    for (at, size) in device_parts(part.len()) {
        let mut value = [0; 8];
        value[..size].copy_from_slice(&part[at..at + size]);
        world.device_write(vcpu, address + at as u64, size as u64, u64::from_le_bytes(value));
    }
}

pub fn page_state_change(world: &mut Guard, vcpu: usize, ghcb: &Ghcb) -> Result<Outcome, MalformedRequest> {
    let address = ghcb.required(GhcbField::SwScratch)?;
    // As many entries as fit behind the header, from where the list is (sev.c:3882).
    let room = match world.model.configuration.contract.follows_kvm {
        true => ghcb.room_behind(address).ok_or(MalformedRequest::InvalidScratchArea)?,
        false => SHARED_BUFFER_BYTES as u64,
    };
    let list = scratch(world, ghcb, room.max(HEADER_BYTES))?;
    let entries = (room - HEADER_BYTES.min(room)) / ENTRY_BYTES;
    let current = crate::physical::read_u16(list);
    let end = crate::physical::read_u16(list + 2);
    if u64::from(end) >= entries {
        return Ok(Outcome::done(PageStateError::InvalidHeader.encode()));
    }
    for index in current..=end {
        let at = list + HEADER_BYTES + ENTRY_BYTES * u64::from(index);
        if let Err(error) = change_entry(world, vcpu, at) {
            return Ok(Outcome::done(error.encode()));
        }
        crate::physical::write_u16(list, index + 1);
    }
    Ok(Outcome::done(0))
}

/// Carries out one entry of a list, and notes in it how many pages are done.
fn change_entry(world: &mut Guard, vcpu: usize, at: u64) -> Result<(), PageStateError> {
    let word = crate::physical::read_u64(at);
    let follows_kvm = world.model.configuration.contract.follows_kvm;
    let actor = world.model.actor(vcpu);
    let changed = {
        let world = &mut **world;
        world.model.change_entry(actor, word, &mut world.memory)?
    };
    world.remove_converted(vcpu, changed);
    if follows_kvm {
        crate::physical::write_u64(at, model::conversion::done(word));
    }
    Ok(())
}

pub fn ap_creation(
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

pub fn run_vmpl(
    cpu: &Processor,
    world: &mut Guard,
    ghcb: &mut Ghcb,
    target: u64,
) -> Result<Outcome, MalformedRequest> {
    // The low half names the level.
    let target = u8::try_from(target & 0xffff_ffff)
        .ok()
        .and_then(Vmpl::from_wire)
        .ok_or(MalformedRequest::InvalidInput)?;
    let before = world.model.vcpus[cpu.vcpu].current;
    let switch = {
        let world = &mut **world;
        world.model.run_vmpl(cpu.vcpu, target, &world.memory)
    };
    match switch {
        Switch::Done => {}
        Switch::Refused | Switch::Unknown => return Err(MalformedRequest::InvalidInput),
        Switch::Ends(HostEnd::RunFailed(_)) => return Err(MalformedRequest::InvalidInput),
        Switch::Ends(end) => world.host_ends(cpu.vcpu, end),
    }
    ghcb.answer(HostAnswer::Done { information: 0 });
    note_switch(cpu, world, before);
    Ok(Outcome::Done)
}

/// A message to the security processor; an extended one has data pages for certificates.
pub fn guest_request(
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

pub fn apic_id_list(
    world: &mut Guard,
    vcpu: usize,
    ghcb: &mut Ghcb,
    address: u64,
) -> Result<Outcome, MalformedRequest> {
    let pages = ghcb.required(GhcbField::Rax)?;
    if pages == 0 || !world.model.configuration.contract.follows_kvm {
        ghcb.output(GhcbField::Rax, 1);
    }
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
