//! The services, made once for all vCPUs.

use crate::facts::{Facts, GUEST_VMPL};
use crate::secrets;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use hardware::termination::{Reason, terminate};
use hardware::{processors, region};
use spin::Once;
use svsm_protocol::{GuestVcpus, Ledger, OutOfMemory, PageState, Stopped, Svsm, Vtpm};

static SVSM: Once<Svsm> = Once::new();

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
static LEDGER_PLACE: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

fn services(facts: &Facts) -> Result<(Svsm, Stopped), OutOfMemory> {
    // Firmware volumes end at 4 GiB, whatever memory there is.
    let end = facts.memory.iter().map(|range| range.end).max().unwrap_or(0).max(1 << 32);
    let mut memory = Vec::new();
    memory.try_reserve_exact(facts.memory.len()).map_err(|_| OutOfMemory)?;
    memory.extend(facts.memory.iter().map(|range| (range.start, range.end)));
    let (ledger, stopped) = Ledger::new(ledger_words(end)?, &memory)?;
    ledger.assign(&stopped, region::start(), (region::end() - region::start()) >> 12, PageState::Own)?;
    let vcpus = GuestVcpus::new(&facts.apic_ids)?;
    let (channel, vtpm) = (secrets::channel(), vtpm());
    Ok((Svsm { ledger, vcpus, guest_vmpl: GUEST_VMPL.to_wire(), channel, vtpm }, stopped))
}

/// Memory for the ledger, for as long as the VM lives.
fn ledger_words(end: u64) -> Result<&'static mut [u64], OutOfMemory> {
    let count = Ledger::words(end)?;
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
