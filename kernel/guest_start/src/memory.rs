//! Guest memory that the firmware prepares before the guest runs: the same way through the ledger as a guest's own request.

use crate::facts::VmFacts;
use snp_abi::address::{LARGE_PAGE_BYTES, PAGE_BYTES, PAGE_LENGTH, PageSize};
use svsm_protocol::{Fatal, Machine, NotDone, NotGiven, OutOfMemory, PageState, Refusal, Stopped, Svsm};

/// Why a guest cannot be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CannotStart {
    /// The memory that it needs is not there, or not free.
    Memory,
    /// A blob is missing, too long or short, or does not have the measured hash.
    Blob,
    /// The kernel is not one that this firmware can start, or the record is none of ours.
    Image,
    /// The TPM did not take a measurement: a guest whose start is not in the PCRs could measure what it likes.
    Measurement,
    /// Host or processor broke the contract.
    Fatal(Fatal),
}

impl From<Fatal> for CannotStart {
    fn from(fatal: Fatal) -> Self {
        Self::Fatal(fatal)
    }
}

impl From<NotGiven> for CannotStart {
    fn from(error: NotGiven) -> Self {
        match error {
            NotGiven::NotDone(NotDone::Fatal(fatal)) => Self::Fatal(fatal),
            NotGiven::NotFree | NotGiven::NotDone(NotDone::SizeMismatch | NotDone::InUse | NotDone::Lost) => {
                Self::Memory
            }
        }
    }
}

/// The guest does not have the memory.
impl From<Refusal> for CannotStart {
    fn from(_: Refusal) -> Self {
        Self::Memory
    }
}

impl From<OutOfMemory> for CannotStart {
    fn from(_: OutOfMemory) -> Self {
        Self::Memory
    }
}

/// The guest's memory while no guest runs.
pub struct GuestMemory<'a> {
    /// The VM.
    pub facts: &'a VmFacts<'a>,
    /// The services, whose ledger knows each page.
    pub svsm: &'a Svsm,
    /// The proof that no guest runs.
    pub stopped: &'a Stopped,
    /// The vCPU that prepares the guest.
    pub machine: &'a mut dyn Machine,
}

impl GuestMemory<'_> {
    /// Validates, zeroes, fills and grants one page; it ends in `state`.
    ///
    /// # Errors
    /// If the page is not free, or does not become the guest's.
    pub fn provide(&mut self, address: u64, contents: &[u8], state: PageState) -> Result<(), CannotStart> {
        let place = (address, PageSize::Small);
        Ok(self.svsm.provide(self.stopped, self.machine, place, contents, state)?)
    }

    /// Validates, zeroes and grants pages.
    ///
    /// # Errors
    /// As [`Self::provide`].
    pub fn provide_zeroed(&mut self, start: u64, pages: u64) -> Result<(), CannotStart> {
        addresses(start, pages).try_for_each(|address| self.provide(address, &[], PageState::Guest))
    }

    /// Grants pages that were launched with measured contents, as they are.
    ///
    /// # Errors
    /// If a page is not free, or the machine's answer is none.
    pub fn grant_launched(&mut self, start: u64, pages: u64) -> Result<(), CannotStart> {
        for address in addresses(start, pages) {
            self.svsm.grant_launched(self.stopped, self.machine, address)?;
        }
        Ok(())
    }

    /// Provides all the RAM that the guest does not have yet, in 2 MiB pages where they fit. Returns the bytes provided.
    ///
    /// # Errors
    /// If the machine's answer to a page is none.
    pub fn provide_all(&mut self) -> Result<u64, CannotStart> {
        let mut bytes = 0u64;
        for range in self.facts.memory {
            let mut address = range.start;
            while address < range.end {
                let room = range.end.saturating_sub(address);
                let whole = address.is_multiple_of(LARGE_PAGE_BYTES) && room >= LARGE_PAGE_BYTES;
                let next = next_boundary(address).min(range.end);
                let provided = if whole && self.provide_free(address, PageSize::Large)? {
                    LARGE_PAGE_BYTES
                } else {
                    self.provide_small(address, next)?
                };
                bytes = bytes.saturating_add(provided);
                address = next;
            }
        }
        Ok(bytes)
    }

    fn provide_small(&mut self, start: u64, end: u64) -> Result<u64, CannotStart> {
        let mut bytes = 0u64;
        for address in (start..end).step_by(PAGE_LENGTH) {
            if self.provide_free(address, PageSize::Small)? {
                bytes = bytes.saturating_add(PAGE_BYTES);
            }
        }
        Ok(bytes)
    }

    /// Provides one page; `false` if it is not the ledger's to give, or does not come in this size.
    fn provide_free(&mut self, address: u64, size: PageSize) -> Result<bool, CannotStart> {
        match self.svsm.provide(self.stopped, self.machine, (address, size), &[], PageState::Guest) {
            Ok(()) => Ok(true),
            Err(NotGiven::NotFree | NotGiven::NotDone(NotDone::SizeMismatch)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Copies bytes into memory that the guest was given already.
    ///
    /// # Errors
    /// If the guest does not have all of it.
    pub fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), CannotStart> {
        Ok(self.svsm.fill(self.stopped, self.machine, address, bytes)?)
    }

    /// Copies bytes out of memory that the guest was given already.
    ///
    /// # Errors
    /// If the guest does not have all of it.
    pub fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), CannotStart> {
        Ok(self.svsm.look_at(self.stopped, self.machine, address, bytes)?)
    }
}

fn addresses(start: u64, pages: u64) -> impl Iterator<Item = u64> {
    (0..pages).map(move |page| start.saturating_add(page.saturating_mul(PAGE_BYTES)))
}

fn next_boundary(address: u64) -> u64 {
    (address / LARGE_PAGE_BYTES).saturating_add(1).saturating_mul(LARGE_PAGE_BYTES)
}
