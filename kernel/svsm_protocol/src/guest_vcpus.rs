//! The guest's vCPUs: which VMSAs and calling areas each has, and which one is being served.
//!
//! A vCPU may have a few VMSAs at a time: Linux and OVMF create the next one before they delete the last. Which
//! one runs is between guest and host; the one whose calling area has a call pending is the one that called. When Linux
//! replugs a CPU, both VMSAs have the same calling area: a page may be that of several VMSAs of one vCPU.

use crate::failure::{Failure, Refusal};
use crate::ledger::{GuestPage, OutOfMemory};
use alloc::vec::Vec;
use core::hint::spin_loop;
use core::sync::atomic::{AtomicBool, Ordering};
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

type Entries = [Option<Entry>; CONTEXTS];

/// How many VMSAs have this calling area.
fn users(entries: &Entries, calling_area: GuestPage) -> usize {
    entries.iter().flatten().filter(|entry| entry.context.calling_area == calling_area).count()
}

struct Slot {
    apic_id: u32,
    /// Newest first; holes are at the end.
    entries: Mutex<Entries>,
}

/// The page at an address, if it is the calling area of a VMSA. One that is only being made does not count: if it is not made,
/// its calling area becomes ordinary memory again.
fn area(entries: &Entries, address: u64) -> Option<GuestPage> {
    let made = entries.iter().flatten().filter(|entry| entry.phase != Phase::Preparing);
    made.map(|entry| entry.context.calling_area).find(|area| area.address() == address)
}

/// All vCPUs of the VM, fixed at start.
pub struct GuestVcpus {
    slots: Vec<Slot>,
    /// No call is served: the guest is being reset.
    closed: AtomicBool,
}

impl GuestVcpus {
    /// vCPUs with these APIC ids, none of which has a VMSA yet; a vCPU's number is its place in the list.
    pub fn new(apic_ids: &[u32]) -> Result<Self, OutOfMemory> {
        let mut slots = Vec::new();
        slots.try_reserve_exact(apic_ids.len()).map_err(|_| OutOfMemory)?;
        slots.extend(apic_ids.iter().map(|id| Slot { apic_id: *id, entries: Mutex::new([None; CONTEXTS]) }));
        Ok(Self { slots, closed: AtomicBool::new(false) })
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
    pub(crate) fn add(&self, vcpu: usize, context: VcpuContext) -> Result<(), Refusal> {
        self.insert(vcpu, Entry { context, phase: Phase::Ready }, |_| true)
    }

    /// The page at an address, if it is at this moment the calling area of a VMSA that a vCPU has.
    pub(crate) fn area(&self, vcpu: usize, address: u64) -> Option<GuestPage> {
        area(&self.slots.get(vcpu)?.entries.lock(), address)
    }

    /// Takes a vCPU's place for a VMSA that is about to be made; [`Self::confirm`] or [`Self::cancel`] follows. The place
    /// comes first because a finished VMSA may run at once, and then cannot be taken back.
    pub(crate) fn reserve(&self, vcpu: usize, context: VcpuContext) -> Result<(), Refusal> {
        self.insert(vcpu, Entry { context, phase: Phase::Preparing }, |_| true)
    }

    /// As [`Self::reserve`], for a VMSA with the calling area of another; refused if that one is gone.
    pub(crate) fn reserve_sharing(&self, vcpu: usize, context: VcpuContext) -> Result<(), Refusal> {
        let address = context.calling_area.address();
        self.insert(vcpu, Entry { context, phase: Phase::Preparing }, |entries| {
            area(entries, address).is_some()
        })
    }

    fn insert(
        &self,
        vcpu: usize,
        entry: Entry,
        is_allowed: impl FnOnce(&Entries) -> bool,
    ) -> Result<(), Refusal> {
        let slot = self.slots.get(vcpu).ok_or(Refusal::InvalidParameter)?;
        let mut entries = slot.entries.lock();
        if entries.last().is_some_and(Option::is_some) {
            return Err(Refusal::InvalidRequest);
        }
        if !is_allowed(&entries) {
            return Err(Refusal::InvalidAddress);
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

    /// The reserved place's VMSA was not made; returns whether its calling area is still that of another one.
    pub(crate) fn cancel(&self, vcpu: usize, context: &VcpuContext) -> bool {
        self.replace(vcpu, context, None)
    }

    /// Gives the VMSA that is served another calling area; returns whether the old one is still that of another one.
    pub(crate) fn move_area(&self, context: &VcpuContext, new: GuestPage) -> bool {
        let moved = VcpuContext { calling_area: new, ..*context };
        let entry = Entry { context: moved, phase: Phase::Serving };
        (0..self.slots.len()).any(|vcpu| self.replace(vcpu, context, Some(entry)))
    }

    /// Changes the entry of a VMSA; returns whether the calling area that it had is still that of another one.
    fn replace(&self, vcpu: usize, context: &VcpuContext, new: Option<Entry>) -> bool {
        let Some(slot) = self.slots.get(vcpu) else { return false };
        let mut entries = slot.entries.lock();
        for place in entries.iter_mut() {
            if place.is_some_and(|entry| entry.context.vmsa == context.vmsa) {
                *place = new;
            }
        }
        entries.sort_by_key(Option::is_none);
        users(&entries, context.calling_area) > 0
    }

    /// Takes a VMSA out if `give_back` succeeds, which runs while no call can come from this vCPU, and learns whether the
    /// VMSA's calling area is that of another one, too; refused while a call is served that came from the VMSA.
    pub(crate) fn remove(
        &self,
        vmsa: u64,
        give_back: impl FnOnce(&VcpuContext, bool) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        for slot in &self.slots {
            let mut entries = slot.entries.lock();
            let all = *entries;
            let found = entries.iter_mut().find(|e| e.is_some_and(|e| e.context.vmsa.address() == vmsa));
            let Some(place) = found else { continue };
            match *place {
                Some(Entry { context, phase: Phase::Ready }) => {
                    give_back(&context, users(&all, context.calling_area) > 1)?;
                }
                _ => return Err(Refusal::Busy.into()),
            }
            *place = None;
            entries.sort_by_key(Option::is_none);
            return Ok(());
        }
        Err(Refusal::InvalidParameter.into())
    }

    /// The first context, newest first, that `is_calling` chooses, who can ask whether the calling area is that of
    /// another one, too; it is served until [`Self::finish`].
    pub(crate) fn start(
        &self,
        vcpu: usize,
        mut is_calling: impl FnMut(&VcpuContext, &dyn Fn() -> bool) -> bool,
    ) -> Option<VcpuContext> {
        let mut entries = self.slots.get(vcpu)?.entries.lock();
        if self.closed.load(Ordering::SeqCst) {
            return None;
        }
        let ready = entries.iter().flatten().filter(|entry| entry.phase == Phase::Ready);
        let mut calling = ready
            .map(|entry| entry.context)
            .filter(|context| is_calling(context, &|| users(&entries, context.calling_area) > 1));
        let context = calling.next()?;
        let mut places = entries.iter_mut().flatten();
        places.find(|entry| entry.context.vmsa == context.vmsa)?.phase = Phase::Serving;
        Some(context)
    }

    /// Lets no call start any more, and waits until those that are served have ended. The caller must not be serving one itself.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        for slot in &self.slots {
            // Calls look at the flag with the lock held: what is not being served now will not be.
            while slot.entries.lock().iter().flatten().any(|entry| entry.phase == Phase::Serving) {
                spin_loop();
            }
        }
    }

    /// Lets calls start again.
    pub(crate) fn open(&self) {
        self.closed.store(false, Ordering::SeqCst);
    }

    /// Takes all VMSAs out, one after the other, for as long as `give_back` succeeds. After [`Self::close`].
    pub(crate) fn remove_all(
        &self,
        mut give_back: impl FnMut(&VcpuContext) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        for slot in &self.slots {
            for place in slot.entries.lock().iter_mut() {
                if let Some(entry) = place {
                    give_back(&entry.context)?;
                    *place = None;
                }
            }
        }
        Ok(())
    }

    /// Ends the service of a context; its calling area may have moved meanwhile.
    pub(crate) fn finish(&self, vcpu: usize, context: &VcpuContext) {
        let Some(slot) = self.slots.get(vcpu) else { return };
        let mut entries = slot.entries.lock();
        let mut places = entries.iter_mut().flatten();
        if let Some(entry) = places.find(|entry| entry.context.vmsa == context.vmsa) {
            *entry = Entry { context: *context, phase: Phase::Ready };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(vmsa: u64, calling_area: u64) -> VcpuContext {
        VcpuContext { vmsa: GuestPage::for_test(vmsa), calling_area: GuestPage::for_test(calling_area) }
    }

    fn registry() -> GuestVcpus {
        let registry = GuestVcpus::new(&[7, 9]).unwrap();
        registry.add(1, context(0x1000, 0x2000)).unwrap();
        registry
    }

    /// Removes a VMSA; returns whether its calling area was shared.
    fn remove(registry: &GuestVcpus, vmsa: u64) -> bool {
        let mut shared = None;
        registry
            .remove(vmsa, |_, is_shared| {
                shared = Some(is_shared);
                Ok(())
            })
            .unwrap();
        shared.unwrap()
    }

    #[test]
    fn a_calling_area_is_shared_only_among_the_vmsas_of_one_vcpu() {
        let registry = registry();
        assert_eq!(registry.reserve_sharing(0, context(0x3000, 0x2000)), Err(Refusal::InvalidAddress));
        assert_eq!(registry.reserve_sharing(1, context(0x3000, 0x2000)), Ok(()));
    }

    #[test]
    fn the_calling_area_of_a_vmsa_that_is_being_made_cannot_be_shared() {
        let registry = registry();
        registry.reserve(1, context(0x3000, 0x4000)).unwrap();
        assert_eq!(registry.area(1, 0x4000), None);
        assert_eq!(registry.reserve_sharing(1, context(0x5000, 0x4000)), Err(Refusal::InvalidAddress));
    }

    #[test]
    fn a_shared_calling_area_stays_one_until_its_last_vmsa_is_gone() {
        let registry = registry();
        let second = context(0x3000, 0x2000);
        registry.reserve_sharing(1, second).unwrap();
        registry.confirm(1, &second);
        assert!(remove(&registry, 0x1000), "0x3000 still has it");
        assert!(!remove(&registry, 0x3000));
        assert_eq!(registry.area(1, 0x2000), None);
    }

    #[test]
    fn a_vmsa_that_is_not_made_after_all_may_be_the_last_with_its_calling_area() {
        let registry = registry();
        let second = context(0x3000, 0x2000);
        registry.reserve_sharing(1, second).unwrap();
        assert!(remove(&registry, 0x1000));
        assert!(!registry.cancel(1, &second), "nobody has it any more");
    }

    #[test]
    fn moving_away_from_a_shared_calling_area_leaves_it_to_the_other() {
        let registry = registry();
        let (first, second) = (context(0x1000, 0x2000), context(0x3000, 0x2000));
        registry.reserve_sharing(1, second).unwrap();
        registry.confirm(1, &second);
        assert!(registry.move_area(&second, GuestPage::for_test(0x4000)));
        assert!(!registry.move_area(&first, GuestPage::for_test(0x5000)));
    }
}
