//! The services, made once for all vCPUs.

use crate::facts::{Facts, GUEST_VMPL};
use crate::secrets;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use hardware::termination::{Reason, terminate};
use hardware::{processors, region};
use spin::Once;
use svsm_protocol::{AddressRange, GuestVcpus, Ledger, OutOfMemory, PageState, Stopped, Svsm, Vtpm};

static SVSM: Once<Svsm> = Once::new();
/// Where the volumes of UEFI firmware lie, in no memory map: they end at 4 GiB.
const FIRMWARE_VOLUMES: AddressRange = ((1 << 32) - (32 << 20), 1 << 32);

/// The services.
pub fn svsm() -> &'static Svsm {
    SVSM.get().unwrap_or_else(|| terminate(Reason::Panic))
}

#[cfg(feature = "vtpm")]
fn vtpm() -> Option<Box<dyn Vtpm>> {
    Some(crate::vtpm::manufacture())
}

#[cfg(not(feature = "vtpm"))]
fn vtpm() -> Option<Box<dyn Vtpm>> {
    None
}

/// Makes the ledger and the list of vCPUs, and with them the services; no guest runs yet.
pub fn install(facts: &Facts) -> Stopped {
    let (svsm, stopped) = services(facts).unwrap_or_else(|OutOfMemory| terminate(Reason::OutOfMemory));
    let svsm = SVSM.call_once(|| svsm);
    for (word, value) in LEDGER_PLACE.iter().zip(svsm.ledger.place()) {
        word.store(value, Ordering::Relaxed);
    }
    stopped
}

/// What [`Ledger::place`] says: the emulated machine finds it by this name, and compares the ledger with the RMP when a run ends.
#[used]
static LEDGER_PLACE: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

fn services(facts: &Facts) -> Result<(Svsm, Stopped), OutOfMemory> {
    let mut ranges = Vec::new();
    ranges.try_reserve_exact(facts.memory.len() + 1).map_err(|_| OutOfMemory)?;
    ranges.extend(facts.memory.iter().map(|range| (range.start, range.end)));
    let memory = ranges.len();
    ranges.push(FIRMWARE_VOLUMES);
    let memory = ranges.get(..memory).unwrap_or_default();
    let (ledger, stopped) = Ledger::new(ledger_words(Ledger::words(&ranges)?)?, &ranges, memory)?;
    ledger.assign(&stopped, region::start(), (region::end() - region::start()) >> 12, PageState::Own)?;
    let vcpus = GuestVcpus::new(&facts.apic_ids)?;
    let (channel, vtpm) = (secrets::channel(), vtpm());
    Ok((Svsm { ledger, vcpus, guest_vmpl: GUEST_VMPL.to_wire(), channel, vtpm }, stopped))
}

/// Memory for the ledger, for as long as the VM lives.
fn ledger_words(count: usize) -> Result<&'static mut [u64], OutOfMemory> {
    let mut words = Vec::new();
    words.try_reserve_exact(count).map_err(|_| OutOfMemory)?;
    words.resize(count, 0);
    Ok(words.leak())
}

/// Starts every other vCPU at VMPL0; each waits for a guest of its own.
pub fn start_processors(facts: &Facts) {
    for (index, apic_id) in facts.apic_ids.iter().enumerate().skip(1) {
        match processors::start(index, *apic_id) {
            Ok(()) => {}
            Err(processors::StartError::OutOfMemory) => terminate(Reason::OutOfMemory),
            Err(processors::StartError::Vmsa) => terminate(Reason::PermissionChange),
            Err(processors::StartError::Host) => terminate(Reason::ApCreation),
        }
    }
}
