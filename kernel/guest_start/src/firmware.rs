//! UEFI firmware: its volume as measured, the sections that its metadata asks for, and the reset state.
//!
//! The memory outside of the volume and the sections stays unvalidated: the firmware validates what it finds in the
//! memory map. Section kinds: edk2 OvmfPkg/ResetVector/X64/OvmfSevMetadata.asm and IgvmMetadata.asm.

use crate::facts::{MemoryRange, VIDEO_MEMORY, VmFacts};
use crate::measured;
use crate::memory::{CannotStart, GuestMemory};
use crate::{ReadyGuest, Surroundings};
use alloc::vec::Vec;
use boot_handoff::{FirmwareGuest, FirmwareSection, GuestRecord};
use snp_abi::address::PAGE_BYTES;
use snp_abi::igvm_parameters::MemoryMapEntry;
use snp_abi::secrets::SecretsPage;
use snp_abi::vmsa::{Segment, SevFeatures, Vmsa};
use svsm_protocol::PageState;
use zerocopy::{FromZeros, IntoBytes};

const KIND_MEMORY: u32 = 1;
const KIND_SECRETS: u32 = 2;
const KIND_CPUID: u32 = 3;
const KIND_CALLING_AREA: u32 = 4;
const KIND_KERNEL_HASHES: u32 = 16;
const KIND_MEMORY_MAP: u32 = 0x101;
const KIND_VCPU_COUNT: u32 = 0x102;
/// Reset vector: CS base and selector, IP (APM volume 2, table 14-1).
const RESET_CS_BASE: u64 = 0xffff_0000;
const RESET_CS: u16 = 0xf000;
const RESET_IP: u64 = 0xfff0;
const REAL_MODE_CODE: u16 = 0x9b;
const FOUR_GIB: u64 = 1 << 32;

/// Grants the firmware what it asks for and prepares its first vCPU.
pub fn prepare(
    record: &GuestRecord,
    guest: &FirmwareGuest,
    surroundings: &mut Surroundings<'_>,
) -> Result<ReadyGuest, CannotStart> {
    let memory = &mut surroundings.memory;
    let (svsm, facts) = (memory.svsm, memory.facts);
    // The firmware measures itself, and what it starts.
    measured::start_tpm(svsm.vtpm.as_deref())?;
    for range in guest.pages.ranges() {
        let end = range.end().filter(|end| *end <= FOUR_GIB).ok_or(CannotStart::Image)?;
        let volume = MemoryRange { start: range.start, end };
        if !volume.overlaps(&facts.region) {
            // The volume lies where the memory map shows nothing: the image launched it, so it is memory.
            svsm.ledger.assign(memory.stopped, range.start, range.pages, PageState::Unvalidated)?;
        }
        memory.grant_launched(range.start, range.pages)?;
    }
    for section in guest.sections() {
        provide(memory, surroundings.secrets, record, guest, *section)?;
    }
    for section in guest.sections() {
        fill(memory, *section)?;
    }
    Ok(ReadyGuest { vmsa: reset_state(facts), calling_area: record.calling_area })
}

/// The pages of a section.
fn provide(
    memory: &mut GuestMemory<'_>,
    secrets: &dyn Fn(u64) -> SecretsPage,
    record: &GuestRecord,
    guest: &FirmwareGuest,
    section: FirmwareSection,
) -> Result<(), CannotStart> {
    let (start, pages) = (u64::from(section.start), u64::from(section.length) / PAGE_BYTES);
    match section.kind {
        KIND_MEMORY => memory.provide_zeroed(start, pages),
        KIND_SECRETS => memory.provide(start, secrets(record.calling_area).as_bytes(), PageState::Guest),
        KIND_CPUID => memory.provide(start, memory.facts.cpuid.as_bytes(), PageState::Guest),
        KIND_CALLING_AREA => memory.provide(start, &[], PageState::CallingArea),
        // With hashes the image launched the page; without, it must be there all the same.
        KIND_KERNEL_HASHES if guest.pages.ranges().iter().any(|range| range.contains(start)) => Ok(()),
        KIND_KERNEL_HASHES => memory.provide_zeroed(start, pages),
        // IGVM areas lie in memory that a section of kind 1 asks for.
        _ => Ok(()),
    }
}

/// What a section must hold besides zeros.
fn fill(memory: &mut GuestMemory<'_>, section: FirmwareSection) -> Result<(), CannotStart> {
    let (start, room) = (u64::from(section.start), section.length as usize);
    match section.kind {
        KIND_MEMORY_MAP => {
            let map = memory_map(memory.facts);
            let bytes = map.as_bytes();
            if bytes.len() > room {
                return Err(CannotStart::Memory);
            }
            memory.write(start, bytes)
        }
        KIND_VCPU_COUNT if room >= 4 => {
            let count = u32::try_from(memory.facts.apic_ids.len()).unwrap_or(u32::MAX);
            memory.write(start, &count.to_le_bytes())
        }
        _ => Ok(()),
    }
}

/// RAM as an IGVM loader describes it, which knows nothing of the PC's video memory: what begins below it begins at 0 and goes
/// on behind it. OVMF deals with the first MiB by itself, and takes the end of a shorter first range for the end of memory.
fn whole_ranges(facts: &VmFacts<'_>) -> Vec<MemoryRange> {
    let mut whole: Vec<MemoryRange> = Vec::new();
    for range in facts.memory {
        match whole.last_mut() {
            Some(last) if last.end == VIDEO_MEMORY.start && range.start == VIDEO_MEMORY.end => {
                last.end = range.end
            }
            _ => whole.push(*range),
        }
    }
    whole
}

/// RAM without the firmware's region.
fn memory_map(facts: &VmFacts<'_>) -> Vec<MemoryMapEntry> {
    let region = facts.region;
    let mut map = Vec::new();
    let mut push = |start: u64, end: u64| {
        if start < end {
            let mut entry = MemoryMapEntry::new_zeroed();
            entry.first_page = start / PAGE_BYTES;
            entry.page_count = end.saturating_sub(start) / PAGE_BYTES;
            map.push(entry);
        }
    };
    for range in whole_ranges(facts) {
        if range.overlaps(&region) {
            push(range.start, region.start);
            push(region.end, range.end);
        } else {
            push(range.start, range.end);
        }
    }
    map
}

/// The state after reset, at the reset vector.
fn reset_state(facts: &VmFacts<'_>) -> Vmsa {
    let features = SevFeatures::from_bits_retain(facts.sev_features);
    let mut vmsa = Vmsa::start_up(0, facts.vmpl, features);
    vmsa.cs = Segment::new(RESET_CS, REAL_MODE_CODE, 0xffff, RESET_CS_BASE);
    vmsa.rip = RESET_IP;
    // EDX holds the processor's signature after reset.
    vmsa.rdx = facts.signature().into();
    vmsa
}
