//! What image and host handed over, read once and checked: memory map and vCPUs.

use alloc::vec::Vec;
use boot_handoff::{Handoff, PageRange, Parameters};
use core::mem::offset_of;
use guest_start::host_description::{self, MAXIMUM_VCPUS};
use guest_start::{MemoryRange, VmFacts};
use hardware::boot::{Layout, copy_page};
use hardware::cpu::Cpu;
use hardware::termination::{Reason, terminate};
use hardware::{cpu, cpuid, region};
use log::LevelFilter;
use snp_abi::acpi::Madt;
use snp_abi::igvm_parameters::{MAXIMUM_MEMORY_MAP_ENTRIES, MemoryMapEntry};
use snp_abi::rmp::Vmpl;
use zerocopy::{FromBytes, FromZeros};

/// Level at which the guest runs.
pub const GUEST_VMPL: Vmpl = Vmpl::Vmpl2;
/// The heap's part of the region: without the vTPM one 2 MiB page holds it, the other one is the TPM's, twice over while the
/// endorsement key is made.
const HEAP_BYTES: u64 = if cfg!(feature = "vtpm") { 4 << 20 } else { 2 << 20 };

/// What the host told.
pub struct Facts {
    /// RAM of the VM, in order.
    pub memory: Vec<MemoryRange>,
    /// APIC ids, that of the boot vCPU first.
    pub apic_ids: Vec<u32>,
}

impl Facts {
    /// The VM as the start of a guest needs to know it.
    pub fn of_vm(&self) -> VmFacts<'_> {
        VmFacts {
            memory: &self.memory,
            apic_ids: &self.apic_ids,
            region: own_region(),
            c_bit: region::c_bit(),
            cpuid: cpuid::page().unwrap_or_else(|| terminate(Reason::CpuidPage)),
            sev_features: cpuid::sev_features(),
            vmpl: GUEST_VMPL,
        }
    }
}

/// The part of the record that the hardware layer needs.
pub fn layout(handoff: &Handoff) -> Layout {
    let range = |range: Option<PageRange>| range.and_then(|range| Some((range.start, range.end()?)));
    let Some(region) = range(Some(handoff.region)) else { terminate(Reason::Handoff) };
    let Some(free) = range(handoff.free()) else { terminate(Reason::Handoff) };
    Layout {
        region,
        cpuid_page: handoff.cpuid_page,
        free,
        environment: handoff.parameters_page.saturating_add(offset_of!(Parameters, environment) as u64),
        stage2: handoff.stage2.start,
        heap_bytes: HEAP_BYTES,
        log_level: match handoff.log_level {
            0 => LevelFilter::Off,
            1 => LevelFilter::Error,
            2 => LevelFilter::Warn,
            3 => LevelFilter::Info,
            4 => LevelFilter::Debug,
            _ => LevelFilter::Trace,
        },
    }
}

/// Reads memory map and vCPU list.
pub fn read(handoff: &Handoff, cpu: &mut Cpu) -> Facts {
    let page = copy_page(handoff.parameters_page);
    let Ok((parameters, _)) = Parameters::read_from_prefix(&page) else { terminate(Reason::Handoff) };
    let count = parameters.vcpu_count;
    if handoff.launch_vcpus != 0 && count != handoff.launch_vcpus {
        log::error!(
            "{count} vCPUs, but the image has registers for {}: see `igvm-image vcpus`",
            handoff.launch_vcpus
        );
        terminate(Reason::Processors);
    }
    let memory = memory(handoff).unwrap_or_else(|| terminate(Reason::MemoryMap));
    let apic_ids = apic_ids(handoff, cpu, count).unwrap_or_else(|| terminate(Reason::Processors));
    Facts { memory, apic_ids }
}

fn memory(handoff: &Handoff) -> Option<Vec<MemoryRange>> {
    let page = copy_page(handoff.memory_map_page);
    let mut entries = [MemoryMapEntry::new_zeroed(); MAXIMUM_MEMORY_MAP_ENTRIES];
    for (entry, bytes) in entries.iter_mut().zip(page.chunks_exact(size_of::<MemoryMapEntry>())) {
        *entry = MemoryMapEntry::read_from_bytes(bytes).ok()?;
    }
    host_description::memory(&entries, own_region())
}

/// The firmware's region.
fn own_region() -> MemoryRange {
    MemoryRange { start: region::start(), end: region::end() }
}

/// The APIC ids: from the MADT if the image asked for one, else from the host's list; this vCPU's own first.
fn apic_ids(handoff: &Handoff, cpu: &mut Cpu, count: u32) -> Option<Vec<u32>> {
    let own = own_apic_id()?;
    let madt = copy_page(handoff.madt_page);
    let parsed = if handoff.madt_page == 0 { None } else { Madt::parse(&madt).ok() };
    match parsed {
        Some(madt) => host_description::apic_ids(own, madt.apic_ids(), count),
        None if count > 1 => listed_apic_ids(cpu, own, count),
        None => host_description::apic_ids(own, core::iter::empty(), count),
    }
}

/// What the host says this vCPU's APIC id is; a lie only hurts the VM's ability to start.
fn own_apic_id() -> Option<u32> {
    let leaf = cpu::with_ghcb(|ghcb| ghcb.cpuid(0xb, 0))?.ok()?;
    Some(leaf[3])
}

fn listed_apic_ids(cpu: &mut Cpu, own: u32, count: u32) -> Option<Vec<u32>> {
    let page = cpu.share_page().ok()?;
    cpu::with_ghcb(|ghcb| ghcb.apic_ids(&page))?.ok()?;
    let word = |index: usize| (page.read_word(index / 2 * 8) >> (32 * (index % 2))) as u32;
    let listed = (word(0) as usize).min(MAXIMUM_VCPUS);
    host_description::apic_ids(own, (1..=listed).map(word), count)
}
