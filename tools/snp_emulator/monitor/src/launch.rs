//! Loads the image: the launcher's plan is carried out the way QEMU/KVM and the security processor do it.

use crate::exits;
use crate::finish::{self, Verdict};
use crate::log;
use crate::settings::Settings;
use crate::world::World;
use alloc::vec::Vec;
use model::plan::{Command, Parameter};
use model::rmp::MemoryRange;
use snp_abi::address::PAGE_BYTES;
use snp_abi::cpuid::CpuidQuery;
use snp_abi::id_block::{IdAuthentication, IdBlock};
use snp_abi::launch::{KVM_VMSA_ADDRESS, LaunchDigest, PageType};
use snp_abi::policy::GuestPolicy;
use snp_abi::psp_status::PspStatus;
use snp_abi::rmp::Vmpl;
use zerocopy::{FromBytes, IntoBytes};

/// Carries out the plan; returns the launch digest.
pub fn load(world: &mut World, plan: &[Command<'_>]) -> LaunchDigest {
    add_memory(world, plan);
    start(world, plan);
    let mut digest = LaunchDigest::new();
    for command in plan {
        match command {
            Command::Parameter { parameter, address, length } => {
                write_parameter(world, *parameter, *address, *length);
            }
            Command::Pages { page_type, address, length, data } => {
                load_pages(world, &mut digest, *page_type, *address, *length, data);
            }
            Command::Vmsa { .. } | Command::Policy(_) | Command::IdBlock { .. } | Command::HostData(_) => {}
        }
    }
    for command in plan {
        if let Command::Vmsa { index, address, data } = command {
            load_vmsa(world, &mut digest, *index, *address, data);
        }
    }
    finish(world, plan, &digest);
    digest
}

/// SNP_LAUNCH_START, with the policy.
fn start(world: &mut World, plan: &[Command<'_>]) {
    let policy = plan.iter().find_map(|command| match command {
        Command::Policy(policy) => Some(*policy),
        _ => None,
    });
    let started = world.psp.launch_start(GuestPolicy(policy.unwrap_or_default()));
    started.unwrap_or_else(|status| refused("policy", status));
}

/// SNP_LAUNCH_FINISH, with the ID block if there is one.
fn finish(world: &mut World, plan: &[Command<'_>], digest: &LaunchDigest) {
    let identity = plan.iter().find_map(|command| match command {
        Command::IdBlock { data, author_key } => {
            let (block, rest) = IdBlock::read_from_prefix(data).ok()?;
            Some((block, IdAuthentication::read_from_bytes(rest).ok()?, *author_key))
        }
        _ => None,
    });
    let identity = identity.as_ref().map(|(block, auth, author_key)| (block, auth, *author_key));
    let finished = world.psp.launch_finish(digest.bytes(), identity);
    finished.unwrap_or_else(|status| refused("ID block", status));
}

fn refused(what: &str, status: PspStatus) -> ! {
    log!("the security processor refuses to launch the image: {what}: {status:?} ({:#x})", status.to_wire());
    finish::verdict(Verdict::Refused)
}

/// Pages outside of RAM get memory of their own, as QEMU gives them.
fn add_memory(world: &mut World, plan: &[Command<'_>]) {
    let mut missing: Vec<MemoryRange> = Vec::new();
    for command in plan {
        let (start, bytes) = match command {
            Command::Pages { address, length, .. } => (*address, *length),
            Command::Vmsa { index, address, .. } => (vmsa_place(*index, *address), PAGE_BYTES),
            _ => continue,
        };
        if world.memory.host(start).is_some() {
            continue;
        }
        match missing.last_mut().filter(|last| last.start + last.bytes == start) {
            Some(last) => last.bytes += bytes,
            None => missing.push(MemoryRange { start, bytes }),
        }
    }
    for range in missing {
        world.memory.add(range);
        world.model.rmp.add(range);
    }
}

fn load_pages(
    world: &mut World,
    digest: &mut LaunchDigest,
    page_type: u32,
    address: u64,
    length: u64,
    data: &[u8],
) {
    let page_type = PageType::from_wire(page_type as u8).expect("the launcher knows the page types");
    for page in (0..length).step_by(PAGE_BYTES as usize) {
        let at = address + page;
        if !world.model.launch_page(at, false) {
            log!("the image loads a page at {at:#x}, where there is no memory");
            finish::verdict(Verdict::Refused);
        }
        let mut contents = [0; PAGE_BYTES as usize];
        match page_type {
            // What a parameter wrote there before stays.
            PageType::Unmeasured if data.is_empty() => {
                world.memory.read(at, &mut contents);
                world.scrub_unwritten_parameter(at, &mut contents);
            }
            PageType::Cpuid => contents = cpuid_page(world),
            PageType::Secrets => contents = world.psp.secrets_page(),
            _ => {
                let part = data.get(page as usize..).unwrap_or(&[]);
                let count = part.len().min(contents.len());
                contents[..count].copy_from_slice(&part[..count]);
            }
        }
        if page_type == PageType::Normal {
            world.note_measured(at);
        }
        world.memory.write(at, &contents);
        digest.add_page(page_type, at, &contents);
    }
}

fn cpuid_page(world: &World) -> [u8; PAGE_BYTES as usize] {
    let mut page = world.settings.cpuid.page(world.settings.vcpus as u32, exits::raw_cpuid);
    for row in &mut page.entries {
        exits::note_invlpgb(CpuidQuery { leaf: row.leaf, subleaf: row.subleaf }, &mut row.registers);
    }
    let mut bytes = [0; PAGE_BYTES as usize];
    bytes.copy_from_slice(page.as_bytes());
    bytes
}

/// Fills a parameter area, as the loader of the host does.
fn write_parameter(world: &mut World, parameter: Parameter, address: u64, length: u64) {
    let bytes = match parameter {
        Parameter::VpCount => (world.model.vcpus.len() as u32).to_le_bytes().to_vec(),
        Parameter::EnvironmentInfo => u32::from(world.settings.memory_is_shared).to_le_bytes().to_vec(),
        Parameter::MemoryMap => memory_map(&world.settings),
        Parameter::Madt => world.devices.madt().unwrap_or(&[]).to_vec(),
    };
    if bytes.len() as u64 > length || !world.memory.write(address, &bytes) {
        log!("the image's area for {parameter:?} at {address:#x} is too small, or outside of memory");
        finish::verdict(Verdict::Refused);
    }
    world.parameters.push((address, bytes.len() as u64));
}

/// Type of a row of the IGVM memory map that is memory.
const MEMORY: u16 = 0;

/// IGVM memory map entries: first page, pages, type, flags, reserved.
fn memory_map(settings: &Settings) -> Vec<u8> {
    let ram = settings.ram.iter().map(|range| (range.start / PAGE_BYTES, range.bytes / PAGE_BYTES, MEMORY));
    let mut rows: Vec<_> = ram.collect();
    if settings.host.loader.reserved_rows {
        rows.extend(host_profiles::memory::RESERVED);
        rows.sort_unstable();
    }
    let mut map = Vec::new();
    for (first, pages, kind) in rows {
        map.extend_from_slice(&first.to_le_bytes());
        map.extend_from_slice(&pages.to_le_bytes());
        map.extend_from_slice(&u64::from(kind).to_le_bytes());
    }
    map
}

/// Where the VMSAs that KVM makes for a launch are kept: in its own memory, at addresses that no guest can name.
const LAUNCH_VMSAS: u64 = 1 << 62;

/// Where the VMSA of vCPU `index` is kept that is launched at this address.
fn vmsa_place(index: u32, address: u64) -> u64 {
    if address == KVM_VMSA_ADDRESS { LAUNCH_VMSAS + u64::from(index) * PAGE_BYTES } else { address }
}

/// KVM measures all VMSAs at the end, in the order of the vCPUs. The vCPU that boots runs the first one; the others can be started on
/// theirs by INIT and a start-up IPI, as they stand, at VMPL0.
fn load_vmsa(world: &mut World, digest: &mut LaunchDigest, index: u32, address: u64, data: &[u8]) {
    let mut contents = [0; PAGE_BYTES as usize];
    contents.copy_from_slice(data);
    digest.add_page(PageType::Vmsa, address, &contents);
    let place = vmsa_place(index, address);
    assert!(world.model.launch_page(place, true), "there is no memory for the VMSA at {address:#x}");
    world.memory.write(place, &contents);
    let Some(vcpu) = world.model.vcpus.get_mut(index as usize) else { return };
    vcpu.vmsas[Vmpl::Vmpl0.index()] = Some(place);
    if index != 0 {
        world.note_launch_vmsa(index as usize, place);
    } else {
        vcpu.set_run(model::vcpu::Run::Running);
        let features = world.vmsa_word(0, core::mem::offset_of!(snp_abi::vmsa::Vmsa, sev_features));
        world.model.level_features[0] = Some(features);
    }
}

impl World {
    /// An unmeasured page holds what the parameters wrote and zeros, not what the memory had before.
    fn scrub_unwritten_parameter(&self, page: u64, contents: &mut [u8; PAGE_BYTES as usize]) {
        for (offset, byte) in contents.iter_mut().enumerate() {
            let at = page + offset as u64;
            if !self.parameters.iter().any(|(start, length)| at.wrapping_sub(*start) < *length) {
                *byte = 0;
            }
        }
    }
}

/// Says what was launched.
pub fn announce(digest: &LaunchDigest) {
    let mut hex = alloc::string::String::new();
    for byte in digest.bytes() {
        hex.push_str(&alloc::format!("{byte:02x}"));
    }
    log!("launch digest {hex}");
}
