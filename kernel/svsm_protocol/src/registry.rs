//! The guest's vCPUs: which VMSAs and calling areas each has, and which one is being served.
//!
//! A vCPU may have a few VMSAs at a time: Linux and OVMF create the next one before they delete the last. Which
//! one runs is between guest and host; the one whose calling area has a call pending is the one that called.

use crate::failure::{Failure, Refusal};
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

/// What happens with a VMSA at this moment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It is being made: nobody may call from it or delete it yet.
    Preparing,
    /// The guest runs it, or may.
    Ready,
    /// A call that came from it is served.
    Serving,
}

#[derive(Clone, Copy)]
struct Entry {
    context: VcpuContext,
    phase: Phase,
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

    /// Gives a vCPU one more VMSA, which is complete.
    pub fn add(&self, vcpu: usize, context: VcpuContext) -> Result<(), Refusal> {
        self.insert(vcpu, Entry { context, phase: Phase::Ready })
    }

    /// Takes a vCPU's place for a VMSA that is about to be made; [`Self::confirm`] or [`Self::cancel`] follows. The place
    /// comes first because a finished VMSA may run at once, and then cannot be taken back.
    pub(crate) fn reserve(&self, vcpu: usize, context: VcpuContext) -> Result<(), Refusal> {
        self.insert(vcpu, Entry { context, phase: Phase::Preparing })
    }

    fn insert(&self, vcpu: usize, entry: Entry) -> Result<(), Refusal> {
        let slot = self.slots.get(vcpu).ok_or(Refusal::InvalidParameter)?;
        let mut entries = slot.entries.lock();
        if entries.last().is_some_and(Option::is_some) {
            return Err(Refusal::InvalidRequest);
        }
        entries.rotate_right(1);
        if let Some(first) = entries.first_mut() {
            *first = Some(entry);
        }
        Ok(())
    }

    /// The reserved place's VMSA is complete.
    pub(crate) fn confirm(&self, vcpu: usize, context: &VcpuContext) {
        self.replace(vcpu, context, Some(Entry { context: *context, phase: Phase::Ready }));
    }

    /// The reserved place's VMSA was not made.
    pub(crate) fn cancel(&self, vcpu: usize, context: &VcpuContext) {
        self.replace(vcpu, context, None);
    }

    fn replace(&self, vcpu: usize, context: &VcpuContext, new: Option<Entry>) {
        let Some(slot) = self.slots.get(vcpu) else { return };
        let mut entries = slot.entries.lock();
        for place in entries.iter_mut() {
            if place.is_some_and(|entry| entry.context.vmsa == context.vmsa) {
                *place = new;
            }
        }
        entries.sort_by_key(Option::is_none);
    }

    /// Takes a VMSA out if `give_back` succeeds, which runs while no call can come from this vCPU; refused while a call is
    /// served that came from the VMSA.
    pub(crate) fn remove(
        &self,
        vmsa: u64,
        give_back: impl FnOnce(&VcpuContext) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        for slot in &self.slots {
            let mut entries = slot.entries.lock();
            let found = entries.iter_mut().find(|e| e.is_some_and(|e| e.context.vmsa.address() == vmsa));
            let Some(place) = found else { continue };
            match *place {
                Some(Entry { context, phase: Phase::Ready }) => give_back(&context)?,
                _ => return Err(Refusal::Busy.into()),
            }
            *place = None;
            entries.sort_by_key(Option::is_none);
            return Ok(());
        }
        Err(Refusal::InvalidParameter.into())
    }

    /// The first context, newest first, that `is_calling` chooses; it is served until [`Self::finish`].
    pub(crate) fn start(
        &self,
        vcpu: usize,
        mut is_calling: impl FnMut(&VcpuContext) -> bool,
    ) -> Option<VcpuContext> {
        let mut entries = self.slots.get(vcpu)?.entries.lock();
        let mut ready = entries.iter_mut().flatten().filter(|entry| entry.phase == Phase::Ready);
        let entry = ready.find(|entry| is_calling(&entry.context))?;
        entry.phase = Phase::Serving;
        Some(entry.context)
    }

    /// Ends the service of a context; its calling area may have moved meanwhile.
    pub(crate) fn finish(&self, vcpu: usize, context: &VcpuContext) {
        self.replace(vcpu, context, Some(Entry { context: *context, phase: Phase::Ready }));
    }
}
