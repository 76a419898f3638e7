//! Compares our firmware's page ledger with the RMP when a run ends well: read from VMPL0's memory, as a debugger would.
//!
//! The layout is that of `kernel/svsm_protocol` (`Ledger::place`).

use crate::log;
use crate::translate;
use crate::world::World;
use core::mem::offset_of;
use snp_abi::address::{LARGE_PAGE_BYTES, PAGE_BYTES, PAGES_IN_LARGE_PAGE};
use snp_abi::rmp::Vmpl;
use snp_abi::vmsa::Vmsa;

const PAGES_IN_WORD: u64 = 16;
/// First address, end, number of the first word.
const SECTION_BYTES: u64 = 24;
/// More sections than any memory map has.
const MOST_SECTIONS: u64 = 256;

/// VMPL0's memory by its own page tables.
struct Memory {
    cr3: u64,
    levels: u32,
}

impl Memory {
    fn word(&self, world: &World, linear: u64) -> Option<u64> {
        translate::word(&world.memory, self.cr3, self.levels, linear)
    }
}

/// Compares all pages up to the first difference, which is reported; nothing happens where the ledger's place is not known.
pub fn compare(world: &mut World) {
    if world.settings.ledger == 0 {
        return;
    }
    match differs(world) {
        Some(Ok(pages)) => log!("the firmware's ledger agrees with the RMP about {pages} pages"),
        Some(Err(())) => {}
        None => log!("the firmware's ledger cannot be read"),
    }
}

/// How many pages were compared, or that one differs; none if the ledger cannot be read.
fn differs(world: &mut World) -> Option<Result<u64, ()>> {
    let vmsa = world.model.vcpus.first()?.vmsas[Vmpl::Vmpl0.index()]?;
    let register = |world: &World, offset: usize| world.memory.read_u64(vmsa + offset as u64);
    let cr3 = register(world, offset_of!(Vmsa, cr3))?;
    let levels = translate::levels(register(world, offset_of!(Vmsa, cr4))?);
    let memory = Memory { cr3, levels };
    let place = world.settings.ledger;
    let words = memory.word(world, place)?;
    let sections = memory.word(world, place + 8)?;
    let count = memory.word(world, place + 16)?.min(MOST_SECTIONS);
    let mut compared = 0;
    for section in (0..count).map(|number| sections + number * SECTION_BYTES) {
        let (start, end) = (memory.word(world, section)?, memory.word(world, section + 8)?);
        let first = memory.word(world, section + 16)?;
        for large in (start..end).step_by(LARGE_PAGE_BYTES as usize) {
            if !has_memory(world, large) {
                continue;
            }
            compared += PAGES_IN_LARGE_PAGE;
            let number = first + (large - start) / PAGE_BYTES / PAGES_IN_WORD;
            if !agrees(world, &memory, words + number * 8, large)? {
                return Some(Err(()));
            }
        }
    }
    Some(Ok(compared))
}

/// Compares the 2 MiB from an address on with the ledger's words.
fn agrees(world: &mut World, memory: &Memory, words: u64, start: u64) -> Option<bool> {
    for part in 0..PAGES_IN_LARGE_PAGE / PAGES_IN_WORD {
        let nibbles = memory.word(world, words + part * 8)?;
        for page in 0..PAGES_IN_WORD {
            let address = start + (part * PAGES_IN_WORD + page) * PAGE_BYTES;
            let recorded = (nibbles >> (4 * page)) as u8 & 0xf;
            if !world.model.compare_with_ledger(address, recorded, Vmpl::Vmpl2) {
                return Some(false);
            }
        }
    }
    Some(true)
}

/// Whether any of the 2 MiB at `start` is memory.
fn has_memory(world: &World, start: u64) -> bool {
    let end = start + LARGE_PAGE_BYTES;
    world.model.rmp.ranges().any(|range| range.start < end && start < range.start + range.bytes)
}
