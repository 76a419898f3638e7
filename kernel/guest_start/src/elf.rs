//! A bare-metal guest whose pages are in the image. It gets its own pages and the boot area; the rest of memory it validates by
//! itself.

use crate::boot_area::BootArea;
use crate::long_mode;
use crate::measured::Measured;
use crate::memory::CannotStart;
use crate::surroundings::{ReadyGuest, Surroundings};
use boot_handoff::{ElfGuest, GuestRecord};

/// Grants the guest's pages and prepares its first vCPU.
pub fn prepare(
    record: &GuestRecord,
    guest: &ElfGuest,
    surroundings: &mut Surroundings<'_>,
) -> Result<ReadyGuest, CannotStart> {
    let memory = &mut surroundings.memory;
    let (svsm, facts) = (memory.svsm, memory.facts);
    let mut measured = Measured::start(svsm.vtpm.as_deref(), record)?;
    let area = BootArea::place(facts)?;
    for range in guest.pages.ranges() {
        memory.grant_launched(range.start, range.pages)?;
    }
    for range in guest.zeroed.ranges() {
        memory.provide_zeroed(range.start, range.pages)?;
    }
    let parameters = area.parameters(facts, None);
    area.fill(memory, surroundings.secrets, parameters, &[], measured.finish()?)?;
    Ok(ReadyGuest {
        vmsa: long_mode::vmsa(area.structures(), guest.entry, facts),
        calling_area: area.calling_area(),
    })
}
