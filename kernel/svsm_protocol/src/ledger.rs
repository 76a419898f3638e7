//! The page ledger: who has each page of the VM, and in which role.
//!
//! Every change of the RMP for guest memory goes through here: a page is first claimed (nobody else gets it while
//! the instruction runs), then settled in its new state. The ledger holds what the guest was granted;
//! whether an unvalidated page is shared with the host is between guest and host.
//!
//! Memory: four bits for each page of the address ranges that can hold memory, set aside before a guest runs. Nothing is allocated
//! later, so that no request of a guest's can fail for want of memory. All zeros is a ledger in which the guest has nothing:
//! that is all the preparation that its memory needs.

use crate::failure::Refusal;
use alloc::vec::Vec;
use snp_abi::address::{LARGE_PAGE_BYTES, PAGE_BYTES, PageSize, is_aligned, page_of};
use spin::Mutex;

/// Highest guest-physical address that the ledger takes, exclusive (APM volume 2: 52 bits).
const ADDRESS_LIMIT: u64 = 1 << 52;
/// Pages that one word holds, four bits each, the lowest page in the lowest bits.
const PAGES_IN_WORD: u64 = 16;
/// Words of a 2 MiB page.
const WORDS_IN_LARGE_PAGE: usize = (LARGE_PAGE_BYTES / PAGE_BYTES / PAGES_IN_WORD) as usize;
/// A word in which each page is in state 1.
const EACH: u64 = 0x1111_1111_1111_1111;

/// State of one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PageState {
    /// Memory of the guest's that is not validated: unused, or shared with the host.
    Unvalidated = 0,
    /// No memory, or nothing the guest may ask for.
    Absent = 1,
    /// Validated and granted: the guest's ordinary private memory.
    Guest = 2,
    /// A vCPU changes it at this moment.
    Busy = 3,
    /// Private memory that is some vCPU's calling area.
    CallingArea = 4,
    /// A VMSA of a guest vCPU.
    Vmsa = 5,
    /// The firmware's.
    Own = 6,
    /// Neither the guest's nor given back: an RMP instruction was refused half way, or the host took a part. It holds nothing
    /// but zeros or what the guest had there, and the guest's next request finishes the work in either direction.
    Held = 7,
}

impl PageState {
    const ALL: [Self; 8] = [
        Self::Unvalidated,
        Self::Absent,
        Self::Guest,
        Self::Busy,
        Self::CallingArea,
        Self::Vmsa,
        Self::Own,
        Self::Held,
    ];

    fn from_nibble(nibble: u64) -> Self {
        let index = usize::try_from(nibble & 0xf).unwrap_or(0);
        Self::ALL.get(index).copied().unwrap_or(Self::Absent)
    }

    fn nibble(self) -> u64 {
        self as u64
    }

    /// Why the guest cannot have a page of this state for an operation that wants another.
    fn refusal(self) -> Refusal {
        match self {
            Self::Busy => Refusal::Busy,
            _ => Refusal::InvalidAddress,
        }
    }
}

/// A guest-physical address that a guest claims; nothing is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestAddress(pub u64);

/// A page that the ledger gave out: the holder may touch it until it is settled. Only the ledger makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestPage(u64);

impl GuestPage {
    /// Guest-physical address of the page.
    pub fn address(self) -> u64 {
        self.0
    }

    /// A page out of nowhere, for tests of what keeps pages.
    #[cfg(test)]
    pub(crate) fn for_test(address: u64) -> Self {
        Self(address)
    }
}

/// Pages that are claimed: their state is [`PageState::Busy`] until [`Ledger::settle`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a claim that is not settled keeps the page busy for ever"]
pub(crate) struct Claim {
    page: GuestPage,
    size: PageSize,
    from: PageState,
}

impl Claim {
    /// The claimed page.
    pub fn page(&self) -> GuestPage {
        self.page
    }

    /// Its size.
    pub fn size(&self) -> PageSize {
        self.size
    }

    /// The state that it was claimed from.
    pub fn from(&self) -> PageState {
        self.from
    }
}

/// Why pages cannot be claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClaimError {
    /// A page is in this other state.
    State(PageState),
    /// The small pages of a large page are in different states, all of which the guest may have.
    Mixed,
}

impl ClaimError {
    /// The refusal where the page's state alone decides.
    pub fn refusal(self) -> Refusal {
        match self {
            Self::State(state) => state.refusal(),
            Self::Mixed => Refusal::InvalidAddress,
        }
    }
}

/// No memory for what the firmware has to remember.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

/// Proof that no guest runs: what this value is asked for cannot happen behind a guest's back. The ledger comes with one, and a
/// guest that was stopped leaves one; letting a guest run uses it up.
#[derive(Debug)]
#[must_use = "without it no guest can be started"]
pub struct Stopped(());

impl Stopped {
    /// The proof that stopping a guest yields.
    pub(crate) fn guest_was_stopped() -> Self {
        Self(())
    }
}

/// A range of addresses: the first one, and the first one behind it.
pub type AddressRange = (u64, u64);

/// The ledger.
pub struct Ledger {
    pages: Mutex<Pages>,
    /// Where the addresses end that it knows.
    end: u64,
}

/// Addresses whose pages stand one behind the other in the ledger's words. The layout is for debuggers ([`Ledger::place`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
struct Section {
    /// Both are multiples of 2 MiB.
    start: u64,
    end: u64,
    /// Number of its first word.
    first: u64,
}

impl Section {
    fn words(&self) -> u64 {
        self.end.saturating_sub(self.start) / PAGE_BYTES / PAGES_IN_WORD
    }
}

/// What the lock guards.
struct Pages {
    words: &'static mut [u64],
    sections: Vec<Section>,
    /// What is memory; all else is absent.
    memory: Vec<AddressRange>,
}

/// Sections for all 2 MiB that these ranges touch.
fn sections(known: &[AddressRange]) -> Result<Vec<Section>, OutOfMemory> {
    let mut sections = Vec::new();
    sections.try_reserve_exact(known.len()).map_err(|_| OutOfMemory)?;
    for (start, end) in known.iter().map(|(start, end)| (*start, (*end).min(ADDRESS_LIMIT))) {
        if start < end {
            let start = start & !(LARGE_PAGE_BYTES - 1);
            sections.push(Section { start, end: end.next_multiple_of(LARGE_PAGE_BYTES), first: 0 });
        }
    }
    sections.sort_unstable_by_key(|section| section.start);
    sections.dedup_by(|next, last| {
        let joins = next.start <= last.end;
        if joins {
            last.end = last.end.max(next.end);
        }
        joins
    });
    let mut first = 0u64;
    for section in &mut sections {
        section.first = first;
        first = first.saturating_add(section.words());
    }
    Ok(sections)
}

impl Pages {
    fn is_memory(&self, address: u64) -> bool {
        self.memory.iter().any(|(start, end)| (*start..*end).contains(&address))
    }

    /// Word of an address, and the place of its page in the word.
    fn position(&self, address: u64) -> Option<(usize, u32)> {
        let section = self.sections.iter().find(|section| (section.start..section.end).contains(&address))?;
        let page = address.saturating_sub(section.start) / PAGE_BYTES;
        let word = usize::try_from(section.first.saturating_add(page / PAGES_IN_WORD)).ok()?;
        Some((word, ((page % PAGES_IN_WORD) as u32).saturating_mul(4)))
    }

    fn state(&self, address: u64) -> PageState {
        let Some((index, shift)) = self.position(address) else { return PageState::Absent };
        let Some(word) = self.words.get(index) else { return PageState::Absent };
        match PageState::from_nibble(word >> shift) {
            PageState::Unvalidated if !self.is_memory(address) => PageState::Absent,
            state => state,
        }
    }

    fn set(&mut self, address: u64, size: PageSize, state: PageState) {
        match size {
            PageSize::Small => {
                if let Some((index, shift)) = self.position(address)
                    && let Some(word) = self.words.get_mut(index)
                {
                    *word = *word & !(0xf << shift) | state.nibble() << shift;
                }
            }
            PageSize::Large => {
                if let Some(words) = self.large_mut(address) {
                    words.fill(EACH.wrapping_mul(state.nibble()));
                }
            }
        }
    }

    fn large_mut(&mut self, address: u64) -> Option<&mut [u64]> {
        let (index, _) = self.position(address)?;
        self.words.get_mut(index..)?.get_mut(..WORDS_IN_LARGE_PAGE)
    }

    /// The state of all pages of a large page, if it is one.
    fn uniform(&self, address: u64) -> Option<PageState> {
        let words = self.position(address).and_then(|(index, _)| self.words.get(index..));
        let words = words.and_then(|words| words.get(..WORDS_IN_LARGE_PAGE));
        let Some((first, others)) = words.and_then(<[u64]>::split_first) else {
            return Some(PageState::Absent);
        };
        let state = self.state(address);
        let same = *first == EACH.wrapping_mul(first & 0xf) && others.iter().all(|word| word == first);
        // What is memory and what is not looks the same in the words.
        let whole = state != PageState::Unvalidated && state != PageState::Absent
            || self.has_whole(address) == Some(state == PageState::Unvalidated);
        (same && whole).then_some(state)
    }

    /// Whether all of a large page is memory, or none of it; none if only a part is.
    fn has_whole(&self, address: u64) -> Option<bool> {
        let end = address.saturating_add(LARGE_PAGE_BYTES);
        let touching = self.memory.iter().find(|(start, stop)| *start < end && address < *stop);
        match touching {
            None => Some(false),
            Some((start, stop)) => (*start <= address && end <= *stop).then_some(true),
        }
    }

    /// Why a large page of several states cannot be claimed as one page.
    fn mixed(&self, address: u64) -> ClaimError {
        let pages = (address..address.saturating_add(LARGE_PAGE_BYTES)).step_by(PAGE_BYTES as usize);
        // A page that the guest can never have decides over one that it could.
        let mut worst = None;
        for state in pages.map(|page| self.state(page)) {
            match state {
                PageState::Unvalidated | PageState::Guest | PageState::Held => {}
                PageState::Busy if worst.is_none() => worst = Some(state),
                PageState::Busy => {}
                _ => worst = Some(state),
            }
        }
        worst.map_or(ClaimError::Mixed, ClaimError::State)
    }
}

impl Ledger {
    /// Words that a ledger needs for these ranges.
    ///
    /// # Errors
    /// If that is more than an address space holds.
    pub fn words(known: &[AddressRange]) -> Result<usize, OutOfMemory> {
        let words = sections(known)?.iter().map(Section::words).fold(0, u64::saturating_add);
        usize::try_from(words).map_err(|_| OutOfMemory)
    }

    /// A ledger that knows the addresses in `known`, and in which `memory` is what the guest may ask for. `words` are all 0, and as
    /// many as [`Self::words`] says.
    ///
    /// # Errors
    /// If there is no memory for its lists.
    pub fn new(
        words: &'static mut [u64],
        known: &[AddressRange],
        memory: &[AddressRange],
    ) -> Result<(Self, Stopped), OutOfMemory> {
        let sections = sections(known)?;
        let mut ranges = Vec::new();
        ranges.try_reserve_exact(memory.len()).map_err(|_| OutOfMemory)?;
        ranges.extend_from_slice(memory);
        let end = sections.last().map_or(0, |section| section.end);
        let pages = Mutex::new(Pages { words, sections, memory: ranges });
        Ok((Self { pages, end }, Stopped(())))
    }

    /// Where the ledger lies, for a debugger from outside, as the emulated machine is: the address of its words, that of its
    /// sections, and the number of these. A word has four bits for each of 16 pages, the lowest page in the lowest bits. A
    /// section is three words: first address, end, and number of its first word.
    pub fn place(&self) -> [u64; 3] {
        let pages = self.pages.lock();
        let address = |pointer: *const u8| pointer.addr() as u64;
        [
            address(pages.words.as_ptr().cast()),
            address(pages.sections.as_ptr().cast()),
            pages.sections.len() as u64,
        ]
    }

    /// Sets the state of a range of pages while no guest runs. What lies beyond the ledger's end is left out.
    ///
    /// # Errors
    /// If there is no memory for the list of ranges.
    pub fn assign(&self, _: &Stopped, start: u64, count: u64, state: PageState) -> Result<(), OutOfMemory> {
        let mut pages = self.pages.lock();
        let start = page_of(start);
        let end = start.saturating_add(count.saturating_mul(PAGE_BYTES)).min(self.end);
        if state == PageState::Unvalidated && start < end {
            pages.memory.try_reserve(1).map_err(|_| OutOfMemory)?;
            pages.memory.push((start, end));
        }
        let mut address = start;
        while address < end {
            let large =
                is_aligned(address, PageSize::Large) && end.saturating_sub(address) >= LARGE_PAGE_BYTES;
            let size = if large { PageSize::Large } else { PageSize::Small };
            pages.set(address, size, state);
            address = address.saturating_add(size.bytes());
        }
        Ok(())
    }

    /// A page of the firmware's own that it lends to the guest as its first VMSA; none for any other page.
    pub(crate) fn lent(&self, _: &Stopped, address: u64) -> Option<GuestPage> {
        self.in_state(address, PageState::Own)
    }

    /// A page that was made a calling area while no guest runs; none for any other page.
    pub(crate) fn first_calling_area(&self, _: &Stopped, address: u64) -> Option<GuestPage> {
        self.in_state(address, PageState::CallingArea)
    }

    fn in_state(&self, address: u64, state: PageState) -> Option<GuestPage> {
        let is_there = is_aligned(address, PageSize::Small) && self.state(GuestAddress(address)) == state;
        is_there.then_some(GuestPage(address))
    }

    /// Where the addresses end that the ledger knows.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// The state of all pages of the 2 MiB that hold an address, if it is one.
    pub(crate) fn uniform(&self, address: GuestAddress) -> Option<PageState> {
        self.pages.lock().uniform(address.0 & !(LARGE_PAGE_BYTES - 1))
    }

    /// State of the page that holds an address.
    pub fn state(&self, address: GuestAddress) -> PageState {
        self.pages.lock().state(address.0)
    }

    /// Takes a page that is in one of these states out of circulation. The address must be aligned to the size.
    pub(crate) fn claim(
        &self,
        address: GuestAddress,
        size: PageSize,
        from: &[PageState],
    ) -> Result<Claim, ClaimError> {
        if address.0 >= ADDRESS_LIMIT || !is_aligned(address.0, size) {
            return Err(ClaimError::State(PageState::Absent));
        }
        let mut pages = self.pages.lock();
        let state = match size {
            PageSize::Small => pages.state(address.0),
            PageSize::Large => pages.uniform(address.0).ok_or_else(|| pages.mixed(address.0))?,
        };
        let ignored =
            cfg!(feature = "fault_skip_ledger_check") && size == PageSize::Small && state == PageState::Vmsa;
        if !from.contains(&state) && !ignored {
            return Err(ClaimError::State(state));
        }
        pages.set(address.0, size, PageState::Busy);
        Ok(Claim { page: GuestPage(address.0), size, from: state })
    }

    /// Gives a claimed page its new state.
    pub(crate) fn settle(&self, claim: Claim, state: PageState) {
        self.pages.lock().set(claim.page.0, claim.size, state);
    }

    /// Ends the claim of a rescinded page whose [`Claim`] is gone: the page is the guest's, unvalidated.
    pub(crate) fn release(&self, address: GuestAddress, size: PageSize) {
        self.pages.lock().set(address.0, size, PageState::Unvalidated);
    }

    /// Changes the role of a page that the caller knows to be in a role already (VMSA or calling area).
    pub(crate) fn change_role(&self, page: GuestPage, to: PageState) {
        self.pages.lock().set(page.0, PageSize::Small, to);
    }

    /// Runs `access` on a page of the guest's ordinary memory; it stays the guest's until `access` returns, so
    /// `access` must be short.
    pub(crate) fn with_guest_page<R>(
        &self,
        address: GuestAddress,
        access: impl FnOnce(GuestPage) -> R,
    ) -> Result<R, Refusal> {
        let pages = self.pages.lock();
        match pages.state(address.0) {
            // A calling area is readable and writable for its guest too: arguments usually lie there.
            PageState::Guest | PageState::CallingArea => Ok(access(GuestPage(page_of(address.0)))),
            state => Err(state.refusal()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use std::boxed::Box;

    const FREE: &[PageState] = &[PageState::Unvalidated];

    fn ledger() -> Ledger {
        let memory = [(0, 8 << 20), (8 << 20, (10 << 20) + 0x1000)];
        let words = Ledger::words(&memory).unwrap();
        let words = Box::leak(std::vec![0; words].into_boxed_slice());
        let (ledger, stopped) = Ledger::new(words, &memory, &memory).unwrap();
        ledger.assign(&stopped, 4 << 20, 1024, PageState::Own).unwrap();
        ledger
    }

    #[test]
    fn a_claimed_page_is_busy_for_everybody_else() {
        let ledger = ledger();
        let claim = ledger.claim(GuestAddress(0x1000), PageSize::Small, FREE).unwrap();
        let second = ledger.claim(GuestAddress(0x1000), PageSize::Small, FREE);
        assert_eq!(second, Err(ClaimError::State(PageState::Busy)));
        ledger.settle(claim, PageState::Guest);
        assert_eq!(ledger.state(GuestAddress(0x1000)), PageState::Guest);
        assert_eq!(ledger.state(GuestAddress(0x2000)), PageState::Unvalidated);
    }

    #[test]
    fn own_pages_cannot_be_claimed_in_either_size() {
        let ledger = ledger();
        for size in [PageSize::Small, PageSize::Large] {
            let refused = ledger.claim(GuestAddress(4 << 20), size, FREE);
            assert_eq!(refused, Err(ClaimError::State(PageState::Own)));
        }
    }

    #[test]
    fn a_large_page_with_mixed_states_is_told_apart_from_a_foreign_one() {
        let ledger = ledger();
        let claim = ledger.claim(GuestAddress(0x3000), PageSize::Small, FREE).unwrap();
        ledger.settle(claim, PageState::Guest);
        let large = |ledger: &Ledger| ledger.claim(GuestAddress(0), PageSize::Large, FREE);
        assert_eq!(large(&ledger), Err(ClaimError::Mixed));
        ledger.change_role(GuestPage(0x3000), PageState::Vmsa);
        assert_eq!(large(&ledger), Err(ClaimError::State(PageState::Vmsa)));
    }

    #[test]
    fn addresses_outside_of_memory_are_absent() {
        let ledger = ledger();
        for address in [(10 << 20) + 0x1000, 12 << 20, 16 << 20, 1 << 40, 1 << 52, u64::MAX] {
            assert_eq!(ledger.state(GuestAddress(address)), PageState::Absent);
            let claim = ledger.claim(GuestAddress(address & !0xfff), PageSize::Small, FREE);
            assert_eq!(claim, Err(ClaimError::State(PageState::Absent)));
        }
        for large in [12 << 20, 14 << 20, 16 << 20] {
            let claim = ledger.claim(GuestAddress(large), PageSize::Large, FREE);
            assert_eq!(claim, Err(ClaimError::State(PageState::Absent)), "{large:#x}");
        }
    }

    #[test]
    fn a_large_page_that_is_memory_in_part_is_no_large_page() {
        let ledger = ledger();
        let claim = ledger.claim(GuestAddress(10 << 20), PageSize::Large, FREE);
        assert_eq!(claim, Err(ClaimError::State(PageState::Absent)));
        assert!(ledger.claim(GuestAddress(10 << 20), PageSize::Small, FREE).is_ok());
        assert!(ledger.claim(GuestAddress(8 << 20), PageSize::Large, FREE).is_ok());
    }

    #[test]
    fn a_terabyte_needs_128_mib() {
        assert_eq!(Ledger::words(&[(0, 1 << 40)]).unwrap() * size_of::<u64>(), 128 << 20);
    }

    #[test]
    fn holes_between_ranges_take_no_memory_and_overlapping_ranges_share_theirs() {
        let word = |known: &[AddressRange]| Ledger::words(known).unwrap() / WORDS_IN_LARGE_PAGE;
        assert_eq!(word(&[(0, 0xa_0000), (0xc_0000, 1 << 30), (0xff00_0000, 1 << 32)]), 512 + 8);
        assert_eq!(word(&[(0x10_0000, 0x40_0000), (0, 0x10_0000), (0x40_0000, 0x40_1000)]), 3);
        assert_eq!(word(&[(5, 5), (1 << 52, u64::MAX), (7, 3)]), 0);
    }
}
