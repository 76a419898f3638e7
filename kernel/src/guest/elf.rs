//! A bare-metal guest whose pages are in the image. It gets its own pages and the boot area; the rest of
//! memory it validates by itself.

use super::boot_area::BootArea;
use super::measured::Measured;
use super::{CannotStart, Start, long_mode, memory};
use crate::platform::Platform;
use crate::setup::{Facts, GUEST_VMPL};
use boot_handoff::ElfGuest;
use hardware::cpu::Cpu;

/// Grants the guest's pages and prepares its first vCPU.
pub fn prepare(
    cpu: &mut Cpu,
    guest: &ElfGuest,
    facts: &Facts,
    mut measured: Measured,
) -> Result<Start, CannotStart> {
    let area = BootArea::place(facts)?;
    let mut platform = Platform::new(cpu);
    for range in guest.pages.ranges() {
        memory::grant_launched(&mut platform, range.start, range.pages)?;
    }
    for range in guest.zeroed.ranges() {
        memory::provide_zeroed(&mut platform, range.start, range.pages)?;
    }
    area.fill(&mut platform, area.parameters(facts, None), &[], measured.finish())?;
    Ok(Start { vmsa: long_mode::vmsa(&area, guest.entry, GUEST_VMPL), calling_area: area.calling_area() })
}
