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
const WORDS_IN_LARGE_PAGE: u64 = PAGES_IN_LARGE_PAGE / PAGES_IN_WORD;
/// More words than any machine has: 512 GiB.
const MOST_WORDS: u64 = 1 << 23;

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
    let count = memory.word(world, place + 8)?;
    if count > MOST_WORDS {
        return None;
    }
    let mut compared = 0;
    for chunk in 0..count / WORDS_IN_LARGE_PAGE {
        if !has_memory(world, chunk * LARGE_PAGE_BYTES) {
            continue;
        }
        compared += PAGES_IN_LARGE_PAGE;
        for part in 0..WORDS_IN_LARGE_PAGE {
            let nibbles = memory.word(world, words + (chunk * WORDS_IN_LARGE_PAGE + part) * 8)?;
            for page in 0..PAGES_IN_WORD {
                let address = chunk * LARGE_PAGE_BYTES + (part * PAGES_IN_WORD + page) * PAGE_BYTES;
                let recorded = (nibbles >> (4 * page)) as u8 & 0xf;
                if !world.model.compare_with_ledger(address, recorded, Vmpl::Vmpl2) {
                    return Some(Err(()));
                }
            }
        }
    }
    Some(Ok(compared))
}

/// Whether any of the 2 MiB at `start` is memory.
fn has_memory(world: &World, start: u64) -> bool {
    let end = start + LARGE_PAGE_BYTES;
    world.model.rmp.ranges().any(|range| range.start < end && start < range.start + range.bytes)
}
