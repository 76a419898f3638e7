//! The design's invariants as checks: of the whole VM after a call, and of single operations while one runs.

use crate::memory::Page;
use crate::vm::{Answer, BOOT_VMSA, Call, END, GUEST, Host, LEDGER_END, Place, REGION, REGION_END, Vm};
use core::mem::offset_of;
use model::Contents;
use model::rmp::{Entry, State};
use snp_abi::address::{PAGE_BYTES, PageSize, page_of};
use snp_abi::rmp::{Permissions, Vmpl};
use snp_abi::svsm::core_protocol::PvalidateEntry;
use snp_abi::vmsa::Vmsa;
use svsm_protocol::{GuestAddress, PageState, Svsm};

fn pages(end: u64) -> impl Iterator<Item = u64> {
    (0..end).step_by(PAGE_BYTES as usize)
}

/// Every invariant that shows in the state of the VM.
pub fn check(vm: &Vm) {
    let mut host = vm.lock();
    let violations = host.model.take_violations();
    assert!(violations.is_empty(), "the machine reports: {}", violations[0].fault);
    for page in pages(LEDGER_END) {
        let state = vm.svsm.ledger.state(GuestAddress(page));
        let entry = host.model.rmp.entry(page).copied();
        check_page(&host, page, state, entry);
    }
}

/// The ledger and the RMP tell the same of a page.
fn check_page(host: &Host, page: u64, state: PageState, entry: Option<Entry>) {
    assert_ne!(state, PageState::Busy, "{page:#x} stayed busy after the call");
    if host.given_away.contains(&page) {
        return;
    }
    let Some(entry) = entry else {
        assert_eq!(state, PageState::Absent, "{page:#x} has no memory");
        return;
    };
    let validated = entry.is(State::ASSIGNED | State::VALIDATED);
    let had = entry.permissions(GUEST);
    let vmsa = entry.is(State::VMSA);
    let nothing = Permissions::empty();
    match state {
        PageState::Unvalidated => {
            assert_eq!((validated, had, vmsa), (false, nothing, false), "unvalidated {page:#x}");
            let stale = host.model.stale.first_in(page, PAGE_BYTES);
            assert_eq!(stale, None, "{page:#x} counts as given back before it was flushed");
        }
        PageState::Guest | PageState::CallingArea => {
            let all = Permissions::READ_WRITE_EXECUTE;
            assert_eq!((validated, had, vmsa), (true, all, false), "{state:?} {page:#x}");
        }
        PageState::Vmsa => {
            assert_eq!((validated, had, vmsa), (true, Permissions::READ, true), "VMSA {page:#x}");
        }
        PageState::Own => check_own_page(page, &entry),
        // Some of it may be granted; what counts is that it is nothing but the guest's own memory.
        PageState::Held => assert_eq!((validated, vmsa), (true, false), "held {page:#x}"),
        PageState::Absent | PageState::Busy => panic!("{page:#x} is memory and {state:?}"),
    }
    let own_right = entry.permissions(Vmpl::Vmpl3);
    assert_eq!(own_right, nothing, "VMPL3 was granted {page:#x}");
}

/// A page of the firmware's is granted to nobody; the VMSA that it lends to the first vCPU can be read, and no more.
fn check_own_page(page: u64, entry: &Entry) {
    assert!((REGION..REGION_END).contains(&page));
    assert!(entry.is(State::ASSIGNED | State::VALIDATED), "own page {page:#x} was rescinded");
    let lent = if page == BOOT_VMSA { Permissions::READ } else { Permissions::empty() };
    assert!(lent.contains(entry.permissions(GUEST)), "own page {page:#x} was granted");
    assert!(page == BOOT_VMSA || !entry.is(State::VMSA), "own page {page:#x} became a VMSA");
}

/// The services touch validated memory only, and of the firmware's own pages only the VMSA that is lent.
pub fn check_touch(host: &Host, page: u64, write: bool) {
    let entry = host.model.rmp.entry(page).expect("the services touch memory");
    assert!(entry.is(State::ASSIGNED | State::VALIDATED), "{page:#x} touched before it was validated");
    let own = (REGION..REGION_END).contains(&page);
    assert!(!own || page == BOOT_VMSA, "own page {page:#x} touched for a guest (write: {write})");
}

/// A page is validated at most once: between two validations lies a rescission.
pub fn count_validation(host: &mut Host, address: u64, size: PageSize, validate: bool) {
    let first = (address / PAGE_BYTES) as usize;
    for count in &mut host.validations[first..first + size.small_pages() as usize] {
        *count += if validate { 1 } else { -1 };
        assert!((0..=1).contains(count), "{address:#x} validated {count} times");
    }
}

/// While translations are to be flushed, their pages are out of everybody's reach.
pub fn check_unflushed_pages_are_busy(host: &Host, svsm: &Svsm) {
    for page in pages(END).filter(|page| host.model.stale.first_in(*page, PAGE_BYTES).is_some()) {
        let state = svsm.ledger.state(GuestAddress(page));
        let out_of_reach = matches!(state, PageState::Busy | PageState::Vmsa | PageState::Own);
        assert!(out_of_reach, "{page:#x} is {state:?} and was not flushed");
    }
}

/// Everything that a refused call must leave as it was.
pub struct Snapshot {
    ledger: Vec<PageState>,
    rmp: Vec<Option<(State, [Permissions; 4])>>,
    memory: Vec<Page>,
    list: Vec<u64>,
}

/// The bits of an entry that say whose the page is; the host may split large pages whenever it wants.
fn ownership(entry: &Entry) -> (State, [Permissions; 4]) {
    (entry.state & (State::ASSIGNED | State::VALIDATED | State::VMSA), entry.permissions)
}

impl Snapshot {
    /// The VM as it is before a call; the guest has used all of its memory.
    pub fn of(vm: &Vm) -> Self {
        let mut host = vm.lock();
        host.touch_everything();
        let ledger = pages(END).map(|page| vm.svsm.ledger.state(GuestAddress(page))).collect();
        let rmp = pages(END).map(|page| host.model.rmp.entry(page).map(ownership)).collect();
        let memory = pages(END).map(|page| host.memory.page(page).unwrap().clone()).collect();
        Self { ledger, rmp, memory, list: Vec::new() }
    }

    /// Asserts that a refused call left no trace, but for its answer and what a list had done before it was refused.
    pub fn check_refused(mut self, vm: &Vm, place: Place, call: Call, answer: Answer) {
        // The attestation protocol answers with the sizes that it needs when it refuses.
        let registers = (answer.rcx, answer.rdx, answer.r8) == (call.rcx, call.rdx, call.r8);
        assert!(registers || call.rax >> 32 == 1, "registers changed: {call:x?} {answer:x?}");
        let done = if call.rax == 1 { self.done_entries(vm, call.rcx) } else { Vec::new() };
        let is_done = |page: u64| done.iter().any(|range| range.contains(&page));
        let answered = [place.vmsa, place.calling_area, page_of(call.rcx)];
        let host = vm.lock();
        for (number, page) in pages(END).enumerate().filter(|(_, page)| !is_done(*page)) {
            let state = vm.svsm.ledger.state(GuestAddress(page));
            assert_eq!(state, self.ledger[number], "ledger of {page:#x} after {call:x?} {answer:x?}");
            let rmp = host.model.rmp.entry(page).map(ownership);
            assert_eq!(rmp, self.rmp[number], "RMP of {page:#x} after {call:x?} {answer:x?}");
            let same = *host.memory.page(page).unwrap() == self.memory[number];
            assert!(same || answered.contains(&page), "memory at {page:#x} after {call:x?} {answer:x?}");
        }
        drop(host);
        self.check_answered_pages(vm, place, call);
    }

    /// The pages that hold the answer changed there only.
    fn check_answered_pages(&self, vm: &Vm, place: Place, call: Call) {
        let host = vm.lock();
        let vmsa = place.vmsa;
        let written = [
            (vmsa + offset_of!(Vmsa, rax) as u64, 8),
            (place.calling_area, 1),
            (call.rcx.wrapping_add(2), if call.rax == 1 { 2 } else { 0 }),
        ];
        for page in [vmsa, place.calling_area] {
            let mut before = [0; PAGE_BYTES as usize];
            self.memory[(page / PAGE_BYTES) as usize].read(&mut before);
            let mut after = before;
            host.memory.read(page, &mut after);
            for (at, (old, new)) in (page..).zip(before.iter().zip(&after)) {
                let ours = written.iter().any(|(start, bytes)| (*start..start + bytes).contains(&at))
                    || is_argument(at.wrapping_sub(vmsa))
                    || self.list.contains(&page);
                assert!(ours || old == new, "byte {at:#x} changed by a refused call {call:x?}");
            }
        }
    }

    /// The entries of a PVALIDATE list that were carried out although a later one was refused.
    fn done_entries(&mut self, vm: &Vm, list: u64) -> Vec<core::ops::Range<u64>> {
        let Some(page) = self.memory.get((list / PAGE_BYTES) as usize).filter(|_| list.is_multiple_of(8))
        else {
            return Vec::new();
        };
        let mut bytes = [0; PAGE_BYTES as usize];
        page.read(&mut bytes);
        let offset = (list % PAGE_BYTES) as usize;
        let half = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
        let first = half(offset + 2);
        // A list that took its own page away from itself could not write its index any more.
        let lost = vm.svsm.ledger.state(GuestAddress(list)) == PageState::Unvalidated;
        let next = if lost { half(offset) } else { (vm.lock().memory.read_u64(list) >> 16) as u16 as usize };
        let words = bytes[offset..].as_chunks::<8>().0;
        let entries = words.iter().skip(1 + first).take(next.saturating_sub(first));
        let entries = entries.filter_map(|word| PvalidateEntry::decode(u64::from_le_bytes(*word)).ok());
        let done: Vec<_> = entries.map(|entry| entry.address..entry.address + entry.size.bytes()).collect();
        self.list = done.iter().map(|range| range.start).collect();
        done
    }
}

/// Argument registers are rewritten with the same values; the test writes them before the snapshot is compared.
fn is_argument(offset: u64) -> bool {
    [offset_of!(Vmsa, rcx), offset_of!(Vmsa, rdx), offset_of!(Vmsa, r8)]
        .iter()
        .any(|register| (*register as u64..*register as u64 + 8).contains(&offset))
}
