//! The page ledger: who has each page of the VM, and in which role.
//!
//! Every change of the RMP for guest memory goes through here: a page is first claimed (nobody else gets it while
//! the instruction runs), then settled in its new state. The ledger holds what the guest was granted;
//! whether an unvalidated page is shared with the host is between guest and host.
//!
//! Memory: 16 bytes for each 2 MiB, and 256 more where the 2 MiB hold pages of different state.

use crate::failure::Refusal;
use alloc::boxed::Box;
use alloc::vec::Vec;
use snp_abi::address::{LARGE_PAGE_BYTES, PAGE_BYTES, PAGES_IN_LARGE_PAGE, PageSize, is_aligned, page_of};
use spin::Mutex;

/// Highest guest-physical address that the ledger takes, exclusive (APM volume 2: 52 bits).
const ADDRESS_LIMIT: u64 = 1 << 52;

/// Number of the last small page in a chunk.
const LAST_PAGE: usize = PAGES_IN_LARGE_PAGE as usize - 1;

/// State of one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PageState {
    /// No memory, or nothing the guest may ask for.
    Absent = 0,
    /// Memory of the guest's that is not validated: unused, or shared with the host.
    Unvalidated = 1,
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
}

impl PageState {
    const ALL: [Self; 7] =
        [Self::Absent, Self::Unvalidated, Self::Guest, Self::Busy, Self::CallingArea, Self::Vmsa, Self::Own];

    fn from_nibble(nibble: u8) -> Self {
        Self::ALL.get(usize::from(nibble)).copied().unwrap_or(Self::Absent)
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

/// A page that the ledger gave out: the holder may touch it until it is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestPage(u64);

impl GuestPage {
    /// Guest-physical address of the page.
    pub fn address(self) -> u64 {
        self.0
    }

    /// A page that the firmware made a VMSA or calling area for the guest's first vCPU.
    pub fn prepared_at_boot(address: u64) -> Self {
        Self(page_of(address))
    }
}

/// Pages that are claimed: their state is [`PageState::Busy`] until [`Ledger::settle`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a claim that is not settled keeps the page busy for ever"]
pub struct Claim {
    page: GuestPage,
    size: PageSize,
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
}

/// Why pages cannot be claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimError {
    /// A page is in this other state.
    State(PageState),
    /// The small pages of a large page are in different states, one of them the wanted one.
    Mixed,
    /// No memory for the ledger's own bookkeeping.
    OutOfMemory,
}

impl ClaimError {
    /// The refusal where the page's state alone decides.
    pub fn refusal(self) -> Refusal {
        match self {
            Self::State(state) => state.refusal(),
            Self::Mixed => Refusal::InvalidAddress,
            Self::OutOfMemory => Refusal::InvalidRequest,
        }
    }
}

/// The ledger's memory is exhausted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

/// Two pages a byte.
type Nibbles = [u8; PAGES_IN_LARGE_PAGE as usize / 2];

/// The pages of 2 MiB. The layout is for debuggers ([`Ledger::place`]).
#[repr(C)]
struct Chunk {
    /// State of all pages, where they are not split.
    state: PageState,
    split: Option<Box<Nibbles>>,
}

impl Chunk {
    const fn of(state: PageState) -> Self {
        Self { state, split: None }
    }

    fn state(&self, page: usize) -> PageState {
        let Some(nibbles) = &self.split else { return self.state };
        let byte = nibbles.get(page / 2).copied().unwrap_or(0);
        PageState::from_nibble(if page.is_multiple_of(2) { byte & 0xf } else { byte >> 4 })
    }

    /// Sets one page; splits the chunk where it must.
    fn set(&mut self, page: usize, state: PageState) -> Result<(), OutOfMemory> {
        if self.split.is_none() {
            if self.state == state {
                return Ok(());
            }
            self.split = Some(split(self.state)?);
        }
        if let Some(byte) = self.split.as_mut().and_then(|nibbles| nibbles.get_mut(page / 2)) {
            *byte = if page.is_multiple_of(2) {
                *byte & 0xf0 | state as u8
            } else {
                *byte & 0xf | (state as u8) << 4
            };
        }
        Ok(())
    }

    /// The state of all pages, if it is one.
    fn uniform(&self) -> Option<PageState> {
        let Some(nibbles) = &self.split else { return Some(self.state) };
        let first = self.state(0);
        let both = first as u8 | (first as u8) << 4;
        nibbles.iter().all(|byte| *byte == both).then_some(first)
    }
}

fn split(state: PageState) -> Result<Box<Nibbles>, OutOfMemory> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(size_of::<Nibbles>()).map_err(|_| OutOfMemory)?;
    bytes.resize(size_of::<Nibbles>(), state as u8 | (state as u8) << 4);
    bytes.into_boxed_slice().try_into().map_err(|_| OutOfMemory)
}

/// The ledger.
pub struct Ledger {
    chunks: Mutex<Vec<Chunk>>,
}

/// Chunk and page numbers of an address.
fn position(address: u64) -> (usize, usize) {
    let chunk = usize::try_from(address / LARGE_PAGE_BYTES).unwrap_or(usize::MAX);
    (chunk, ((address / PAGE_BYTES) % PAGES_IN_LARGE_PAGE) as usize)
}

impl Ledger {
    /// A ledger for addresses below `end` in which nothing is memory yet.
    pub fn new(end: u64) -> Result<Self, OutOfMemory> {
        let count =
            usize::try_from(end.min(ADDRESS_LIMIT).div_ceil(LARGE_PAGE_BYTES)).map_err(|_| OutOfMemory)?;
        let mut chunks = Vec::new();
        chunks.try_reserve_exact(count).map_err(|_| OutOfMemory)?;
        chunks.resize_with(count, || Chunk::of(PageState::Absent));
        Ok(Self { chunks: Mutex::new(chunks) })
    }

    /// Where the ledger lies, for a debugger from outside, as the emulated machine is: address and number of chunks. A chunk is
    /// 16 bytes for 2 MiB: at 0 the state of all its pages, at 8 the address of 256 bytes with four bits for each page (the
    /// lower page in the lower bits), or 0 where the pages are in one state.
    pub fn place(&self) -> [u64; 2] {
        let chunks = self.chunks.lock();
        [chunks.as_ptr().addr() as u64, chunks.len() as u64]
    }

    /// Sets the state of a range of pages while the firmware starts, before any guest runs. What lies beyond
    /// the ledger's end is left out.
    pub fn assign(&self, start: u64, pages: u64, state: PageState) -> Result<(), OutOfMemory> {
        let mut chunks = self.chunks.lock();
        let mut address = page_of(start);
        let mut left = pages;
        while left > 0 {
            let (index, page) = position(address);
            let Some(chunk) = chunks.get_mut(index) else { return Ok(()) };
            let whole = is_aligned(address, PageSize::Large) && left >= PAGES_IN_LARGE_PAGE;
            let done = if whole {
                *chunk = Chunk::of(state);
                PAGES_IN_LARGE_PAGE
            } else {
                chunk.set(page, state)?;
                1
            };
            address = address.saturating_add(done.saturating_mul(PAGE_BYTES));
            left = left.saturating_sub(done);
        }
        Ok(())
    }

    /// Where the addresses end that the ledger knows.
    pub(crate) fn end(&self) -> u64 {
        (self.chunks.lock().len() as u64).saturating_mul(LARGE_PAGE_BYTES)
    }

    /// The state of all pages of the 2 MiB that hold an address, if it is one.
    pub(crate) fn uniform(&self, address: GuestAddress) -> Option<PageState> {
        let (index, _) = position(address.0);
        self.chunks.lock().get(index).map_or(Some(PageState::Absent), Chunk::uniform)
    }

    /// State of the page that holds an address.
    pub fn state(&self, address: GuestAddress) -> PageState {
        let (index, page) = position(address.0);
        self.chunks.lock().get(index).map_or(PageState::Absent, |chunk| chunk.state(page))
    }

    /// Takes a page that is in state `from` out of circulation. The address must be aligned to the size.
    pub fn claim(&self, address: GuestAddress, size: PageSize, from: PageState) -> Result<Claim, ClaimError> {
        if address.0 >= ADDRESS_LIMIT || !is_aligned(address.0, size) {
            return Err(ClaimError::State(PageState::Absent));
        }
        let (index, page) = position(address.0);
        let mut chunks = self.chunks.lock();
        let chunk = chunks.get_mut(index).ok_or(ClaimError::State(PageState::Absent))?;
        match size {
            PageSize::Small => {
                let state = chunk.state(page);
                let ignored = cfg!(feature = "fault_skip_ledger_check") && state == PageState::Vmsa;
                if state != from && !ignored {
                    return Err(ClaimError::State(state));
                }
                chunk.set(page, PageState::Busy).map_err(|OutOfMemory| ClaimError::OutOfMemory)?;
            }
            PageSize::Large => {
                match chunk.uniform() {
                    Some(state) if state == from => {}
                    Some(state) => return Err(ClaimError::State(state)),
                    None => return Err(mixed(chunk, from)),
                }
                *chunk = Chunk::of(PageState::Busy);
            }
        }
        Ok(Claim { page: GuestPage(address.0), size })
    }

    /// Gives a claimed page its new state.
    pub fn settle(&self, claim: Claim, state: PageState) {
        self.set(claim.page, claim.size, state);
    }

    /// Ends the claim of a rescinded page whose [`Claim`] is gone: the page is the guest's, unvalidated.
    pub(crate) fn release(&self, address: GuestAddress, size: PageSize) {
        self.set(GuestPage(address.0), size, PageState::Unvalidated);
    }

    fn set(&self, page: GuestPage, size: PageSize, state: PageState) {
        let (index, number) = position(page.0);
        let mut chunks = self.chunks.lock();
        let Some(chunk) = chunks.get_mut(index) else { return };
        match size {
            PageSize::Large => *chunk = Chunk::of(state),
            PageSize::Small => {
                // A page that is claimed alone lies in a chunk that is split already, or is wholly busy: no allocation can fail.
                let _ = chunk.set(number, state);
                // Guests work through memory upwards: when the last page of a chunk is done, the chunk may be one again.
                // Pages with a role keep their own entries, so that the end of the role needs no allocation.
                if number == LAST_PAGE
                    && matches!(state, PageState::Guest | PageState::Unvalidated)
                    && let Some(state) = chunk.uniform()
                {
                    *chunk = Chunk::of(state);
                }
            }
        }
    }

    /// Changes the role of a page that the caller knows to be in a role already (VMSA or calling area).
    pub fn change_role(&self, page: GuestPage, to: PageState) {
        self.set(page, PageSize::Small, to);
    }

    /// Runs `access` on a page of the guest's ordinary memory; it stays the guest's until `access` returns, so
    /// `access` must be short.
    pub fn with_guest_page<R>(
        &self,
        address: GuestAddress,
        access: impl FnOnce(GuestPage) -> R,
    ) -> Result<R, Refusal> {
        let (index, page) = position(address.0);
        let chunks = self.chunks.lock();
        match chunks.get(index).map_or(PageState::Absent, |chunk| chunk.state(page)) {
            // A calling area is readable and writable for its guest too: arguments usually lie there.
            PageState::Guest | PageState::CallingArea => Ok(access(GuestPage(page_of(address.0)))),
            state => Err(state.refusal()),
        }
    }
}

/// Why a chunk of several states cannot be claimed as one page.
fn mixed(chunk: &Chunk, from: PageState) -> ClaimError {
    let pages = PAGES_IN_LARGE_PAGE as usize;
    let others = (0..pages).map(|page| chunk.state(page)).filter(|state| *state != from);
    // A page that the guest can never have decides over one that it could.
    let mut worst = None;
    for state in others {
        match state {
            PageState::Unvalidated | PageState::Guest => {}
            PageState::Busy if worst.is_none() => worst = Some(state),
            PageState::Busy => {}
            _ => worst = Some(state),
        }
    }
    worst.map_or(ClaimError::Mixed, ClaimError::State)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Ledger {
        let ledger = Ledger::new(16 << 20).unwrap();
        ledger.assign(0, 4096, PageState::Unvalidated).unwrap();
        ledger.assign(4 << 20, 1024, PageState::Own).unwrap();
        ledger
    }

    #[test]
    fn a_claimed_page_is_busy_for_everybody_else() {
        let ledger = ledger();
        let claim = ledger.claim(GuestAddress(0x1000), PageSize::Small, PageState::Unvalidated).unwrap();
        let second = ledger.claim(GuestAddress(0x1000), PageSize::Small, PageState::Unvalidated);
        assert_eq!(second, Err(ClaimError::State(PageState::Busy)));
        ledger.settle(claim, PageState::Guest);
        assert_eq!(ledger.state(GuestAddress(0x1000)), PageState::Guest);
        assert_eq!(ledger.state(GuestAddress(0x2000)), PageState::Unvalidated);
    }

    #[test]
    fn own_pages_cannot_be_claimed_in_either_size() {
        let ledger = ledger();
        for size in [PageSize::Small, PageSize::Large] {
            let refused = ledger.claim(GuestAddress(4 << 20), size, PageState::Unvalidated);
            assert_eq!(refused, Err(ClaimError::State(PageState::Own)));
        }
    }

    #[test]
    fn a_large_page_with_mixed_states_is_told_apart_from_a_foreign_one() {
        let ledger = ledger();
        let claim = ledger.claim(GuestAddress(0x3000), PageSize::Small, PageState::Unvalidated).unwrap();
        ledger.settle(claim, PageState::Guest);
        let large = |ledger: &Ledger| ledger.claim(GuestAddress(0), PageSize::Large, PageState::Unvalidated);
        assert_eq!(large(&ledger), Err(ClaimError::Mixed));
        ledger.change_role(GuestPage(0x3000), PageState::Vmsa);
        assert_eq!(large(&ledger), Err(ClaimError::State(PageState::Vmsa)));
    }

    #[test]
    fn addresses_outside_of_memory_are_absent() {
        let ledger = ledger();
        for address in [16 << 20, 1 << 40, 1 << 52, u64::MAX] {
            assert_eq!(ledger.state(GuestAddress(address)), PageState::Absent);
            let claim = ledger.claim(GuestAddress(address & !0xfff), PageSize::Small, PageState::Unvalidated);
            assert_eq!(claim, Err(ClaimError::State(PageState::Absent)));
        }
    }

    #[test]
    fn a_chunk_that_becomes_uniform_again_gives_its_memory_back() {
        let ledger = ledger();
        for page in 0..512 {
            let claim =
                ledger.claim(GuestAddress(page << 12), PageSize::Small, PageState::Unvalidated).unwrap();
            ledger.settle(claim, PageState::Guest);
        }
        let chunk = &ledger.chunks.lock()[0];
        assert!(chunk.split.is_none() && chunk.state == PageState::Guest);
    }
}
