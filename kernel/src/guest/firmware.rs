//! UEFI firmware: its volume as measured, the sections that its metadata asks for, and the reset state.
//!
//! The memory outside of the volume and the sections stays unvalidated: the firmware validates what it finds in the
//! memory map. Section kinds: edk2 OvmfPkg/ResetVector/X64/OvmfSevMetadata.asm and IgvmMetadata.asm.

use super::{CannotStart, Start, memory};
use crate::platform::Platform;
use crate::setup::{self, Facts, GUEST_VMPL, MemoryRange, VIDEO_MEMORY, svsm};
use alloc::vec::Vec;
use boot_handoff::{FirmwareGuest, FirmwareSection, GuestRecord};
use hardware::cpu::Cpu;
use hardware::{cpuid, region};
use snp_abi::address::PAGE_BYTES;
use snp_abi::igvm_parameters::MemoryMapEntry;
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
    cpu: &mut Cpu,
    record: &GuestRecord,
    guest: &FirmwareGuest,
    facts: &Facts,
) -> Result<Start, CannotStart> {
    let platform = &mut Platform::new(cpu);
    let ledger = &svsm().ledger;
    for range in guest.pages.ranges() {
        let end = range.end().filter(|end| *end <= FOUR_GIB).ok_or(CannotStart::Image)?;
        if !region::overlaps(range.start, end - range.start) {
            // The volume lies where the memory map shows nothing: the image launched it, so it is memory.
            ledger
                .assign(range.start, range.pages, PageState::Unvalidated)
                .map_err(|_| CannotStart::Memory)?;
        }
        memory::grant_launched(platform, range.start, range.pages)?;
    }
    for section in guest.sections() {
        provide(platform, record, guest, *section)?;
    }
    for section in guest.sections() {
        fill(platform, facts, *section)?;
    }
    Ok(Start { vmsa: reset_state(), calling_area: record.calling_area })
}

/// The pages of a section.
fn provide(
    platform: &mut Platform<'_>,
    record: &GuestRecord,
    guest: &FirmwareGuest,
    section: FirmwareSection,
) -> Result<(), CannotStart> {
    let (start, pages) = (u64::from(section.start), u64::from(section.length) / PAGE_BYTES);
    match section.kind {
        KIND_MEMORY => memory::provide_zeroed(platform, start, pages),
        KIND_SECRETS => {
            let secrets = setup::guest_secrets(record.calling_area);
            memory::provide(platform, start, secrets.as_bytes(), PageState::Guest)
        }
        KIND_CPUID => {
            let page = cpuid::page().ok_or(CannotStart::Image)?;
            memory::provide(platform, start, page.as_bytes(), PageState::Guest)
        }
        KIND_CALLING_AREA => memory::provide(platform, start, &[], PageState::CallingArea),
        // With hashes the image launched the page; without, it must be there all the same.
        KIND_KERNEL_HASHES if guest.pages.ranges().iter().any(|range| range.contains(start)) => Ok(()),
        KIND_KERNEL_HASHES => memory::provide_zeroed(platform, start, pages),
        // IGVM areas lie in memory that a section of kind 1 asks for.
        _ => Ok(()),
    }
}

/// What a section must hold besides zeros.
fn fill(platform: &mut Platform<'_>, facts: &Facts, section: FirmwareSection) -> Result<(), CannotStart> {
    let (start, room) = (u64::from(section.start), section.length as usize);
    match section.kind {
        KIND_MEMORY_MAP => {
            let map = memory_map(facts);
            let bytes = map.as_bytes();
            if bytes.len() > room {
                return Err(CannotStart::Memory);
            }
            memory::write_bytes(platform, start, bytes);
        }
        KIND_VCPU_COUNT if room >= 4 => {
            memory::write_bytes(platform, start, &(facts.apic_ids.len() as u32).to_le_bytes());
        }
        _ => {}
    }
    Ok(())
}

/// RAM as an IGVM loader describes it, which knows nothing of the PC's video memory: what begins below it begins at 0 and goes
/// on behind it. OVMF deals with the first MiB by itself, and takes the end of a shorter first range for the end of memory.
fn whole_ranges(facts: &Facts) -> Vec<MemoryRange> {
    let mut whole: Vec<MemoryRange> = Vec::new();
    for range in &facts.memory {
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
fn memory_map(facts: &Facts) -> Vec<MemoryMapEntry> {
    let mut map = Vec::new();
    let mut push = |start: u64, end: u64| {
        if start < end {
            let mut entry = MemoryMapEntry::new_zeroed();
            entry.first_page = start / PAGE_BYTES;
            entry.page_count = (end - start) / PAGE_BYTES;
            map.push(entry);
        }
    };
    for MemoryRange { start, end } in whole_ranges(facts) {
        let overlaps = start < region::end() && region::start() < end;
        if overlaps {
            push(start, region::start());
            push(region::end(), end);
        } else {
            push(start, end);
        }
    }
    map
}

/// The state after reset, at the reset vector.
fn reset_state() -> Vmsa {
    let features = SevFeatures::from_bits_retain(cpuid::sev_features());
    let mut vmsa = Vmsa::start_up(0, GUEST_VMPL, features);
    vmsa.cs = Segment::new(RESET_CS, REAL_MODE_CODE, 0xffff, RESET_CS_BASE);
    vmsa.rip = RESET_IP;
    // EDX holds the processor's signature after reset.
    vmsa.rdx = cpuid::query(1, 0).eax.into();
    vmsa
}
