//! The guest's vCPUs: which VMSAs and calling areas each has, and which one is being served.
//!
//! A vCPU may have a few VMSAs at a time: Linux and OVMF create the next one before they delete the last. Which
//! one runs is between guest and host; the one whose calling area has a call pending is the one that called.

use crate::failure::Refusal;
use crate::ledger::{GuestPage, OutOfMemory};
use alloc::vec::Vec;
use spin::Mutex;

/// VMSAs that one vCPU may have at a time.
const CONTEXTS: usize = 4;

/// One way for a vCPU to run the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VcpuContext {
    /// The VMSA.
    pub vmsa: GuestPage,
    /// The calling area.
    pub calling_area: GuestPage,
}

#[derive(Clone, Copy)]
struct Entry {
    context: VcpuContext,
    serving: bool,
}

struct Slot {
    apic_id: u32,
    /// Newest first; holes are at the end.
    entries: Mutex<[Option<Entry>; CONTEXTS]>,
}

/// All vCPUs of the VM, fixed at start.
pub struct Registry {
    slots: Vec<Slot>,
}

impl Registry {
    /// vCPUs with these APIC ids, none of which has a VMSA yet; a vCPU's number is its place in the list.
    pub fn new(apic_ids: &[u32]) -> Result<Self, OutOfMemory> {
        let mut slots = Vec::new();
        slots.try_reserve_exact(apic_ids.len()).map_err(|_| OutOfMemory)?;
        slots.extend(apic_ids.iter().map(|id| Slot { apic_id: *id, entries: Mutex::new([None; CONTEXTS]) }));
        Ok(Self { slots })
    }

    /// How many vCPUs there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Number of the vCPU with this APIC id.
    pub fn by_apic_id(&self, apic_id: u32) -> Option<usize> {
        self.slots.iter().position(|slot| slot.apic_id == apic_id)
    }

    /// Gives a vCPU one more VMSA.
    pub fn add(&self, vcpu: usize, context: VcpuContext) -> Result<(), Refusal> {
        let slot = self.slots.get(vcpu).ok_or(Refusal::InvalidParameter)?;
        let mut entries = slot.entries.lock();
        if entries.last().is_some_and(Option::is_some) {
            return Err(Refusal::InvalidRequest);
        }
        entries.rotate_right(1);
        if let Some(first) = entries.first_mut() {
            *first = Some(Entry { context, serving: false });
        }
        Ok(())
    }

    /// Whether a vCPU has room for one more VMSA.
    pub fn has_room(&self, vcpu: usize) -> bool {
        self.slots.get(vcpu).is_some_and(|slot| slot.entries.lock().last().is_some_and(Option::is_none))
    }

    /// Takes a VMSA out; refused while a call that came from it is served.
    pub fn remove(&self, vmsa: u64) -> Result<(usize, VcpuContext), Refusal> {
        for (vcpu, slot) in self.slots.iter().enumerate() {
            let mut entries = slot.entries.lock();
            let found =
                entries.iter_mut().find(|entry| entry.is_some_and(|e| e.context.vmsa.address() == vmsa));
            let Some(place) = found else { continue };
            return match *place {
                Some(entry) if !entry.serving => {
                    *place = None;
                    entries.sort_unstable_by_key(Option::is_none);
                    Ok((vcpu, entry.context))
                }
                _ => Err(Refusal::Busy),
            };
        }
        Err(Refusal::InvalidParameter)
    }

    /// The first context, newest first, that `is_calling` chooses; it is served until [`Self::finish`].
    pub(crate) fn start(
        &self,
        vcpu: usize,
        mut is_calling: impl FnMut(&VcpuContext) -> bool,
    ) -> Option<VcpuContext> {
        let mut entries = self.slots.get(vcpu)?.entries.lock();
        let entry = entries.iter_mut().flatten().find(|entry| is_calling(&entry.context))?;
        entry.serving = true;
        Some(entry.context)
    }

    /// Ends the service of a context; its calling area may have moved meanwhile.
    pub(crate) fn finish(&self, vcpu: usize, context: &VcpuContext) {
        let Some(slot) = self.slots.get(vcpu) else { return };
        for entry in slot.entries.lock().iter_mut().flatten() {
            if entry.context.vmsa == context.vmsa {
                *entry = Entry { context: *context, serving: false };
            }
        }
    }
}
