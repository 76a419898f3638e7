//! What the services need of the machine below them: a handful of operations on guest pages.

use crate::failure::{Failure, Fatal, Refusal};
use crate::ledger::GuestPage;
use snp_abi::address::{PAGE_LENGTH, PageSize};
use snp_abi::ghcb::guest_request::GuestRequestOutcome;
use snp_abi::rmp::RmpStatus;

/// A page with a sealed message.
pub type MessagePage = [u8; PAGE_LENGTH];

/// What the guest's VMPL may do with a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuestAccess {
    /// Nothing.
    None,
    /// Read, write and execute.
    Full,
    /// Read; the page is a VMSA.
    Vmsa,
}

/// What a change of validation changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validation {
    /// The RMP says now what it was told to.
    Changed,
    /// The RMP already said so.
    Unchanged,
}

/// The page is not validated any more: the guest gave it to the host without rescinding it, or the host took it. Nothing can be
/// said of what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost;

impl From<Lost> for Refusal {
    fn from(Lost: Lost) -> Self {
        Self::InvalidAddress
    }
}

impl From<Lost> for Failure {
    fn from(lost: Lost) -> Self {
        Self::Refusal(lost.into())
    }
}

/// Why an RMP instruction did not do what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RmpError {
    /// The page is a VMSA that runs, or another processor changes its entry at this moment. A small page is as it was; of a
    /// large one some small pages may have changed.
    InUse,
    /// The RMP holds the 2 MiB page as small pages, and PVALIDATE does not go on with those. Nothing has changed.
    SizeMismatch,
    /// As [`Lost`]; of a large page that is true for some small one.
    Lost,
    /// A status that the state of the page makes impossible.
    Status(Option<RmpStatus>),
}

impl RmpError {
    /// What it is for a caller that asked for a small page and can leave everything as it is.
    pub(crate) fn failure(self) -> Failure {
        match self {
            Self::InUse => Refusal::Busy.into(),
            Self::Lost => Refusal::InvalidAddress.into(),
            Self::SizeMismatch => Fatal::RmpStatus(Some(RmpStatus::FailSizeMismatch)).into(),
            Self::Status(status) => Fatal::RmpStatus(status).into(),
        }
    }
}

/// The machine, from one vCPU's point of view.
///
/// A [`GuestPage`] proves that the ledger let the caller have the page, so none of these can be
/// refused for whose page it is. What the ledger cannot know is whether the host still has the page validated: a guest may have
/// given it away, so that every access may find it lost.
pub trait Machine {
    /// Copies bytes out of a page; `offset + bytes.len()` is at most 4096.
    ///
    /// # Errors
    /// If the page is lost; the bytes are then worth nothing.
    fn read(&mut self, page: GuestPage, offset: usize, bytes: &mut [u8]) -> Result<(), Lost>;

    /// Copies bytes into a page; `offset + bytes.len()` is at most 4096.
    ///
    /// # Errors
    /// If the page is lost.
    fn write(&mut self, page: GuestPage, offset: usize, bytes: &[u8]) -> Result<(), Lost>;

    /// Reads words at these offsets, each a multiple of 8, in their order.
    ///
    /// # Errors
    /// As [`Self::read`].
    fn read_words(&mut self, page: GuestPage, offsets: &[usize], words: &mut [u64]) -> Result<(), Lost> {
        offsets.iter().zip(words).try_for_each(|(offset, word)| {
            let mut bytes = [0; 8];
            self.read(page, *offset, &mut bytes)?;
            *word = u64::from_le_bytes(bytes);
            Ok(())
        })
    }

    /// Writes words at these offsets, each a multiple of 8, in their order.
    ///
    /// # Errors
    /// As [`Self::write`].
    fn write_words(&mut self, page: GuestPage, words: &[(usize, u64)]) -> Result<(), Lost> {
        words.iter().try_for_each(|(offset, word)| self.write(page, *offset, &word.to_le_bytes()))
    }

    /// Asks the host for a page that VMPL0 itself is about to validate for the guest, where memory is the host's at first.
    fn request(&mut self, page: GuestPage, size: PageSize);

    /// Asks the host for a page that the guest may have shared with it; one that is private already stays as it is.
    fn take_back(&mut self, page: GuestPage, size: PageSize);

    /// Fills a page of either size with zeros.
    ///
    /// # Errors
    /// If a part of it is lost.
    fn zero(&mut self, page: GuestPage, size: PageSize) -> Result<(), Lost>;

    /// Validates or rescinds a page.
    ///
    /// # Errors
    /// If it was not done.
    fn pvalidate(&mut self, page: GuestPage, size: PageSize, validate: bool) -> Result<Validation, RmpError>;

    /// Sets what the guest's VMPL may do with a page; a large one that the RMP holds as small ones is done piece by piece.
    ///
    /// # Errors
    /// If it was not done.
    fn set_access(&mut self, page: GuestPage, size: PageSize, access: GuestAccess) -> Result<(), RmpError>;

    /// Flushes all translations of the guest on all vCPUs, and waits for it.
    fn flush_translations(&mut self);

    /// Hands a sealed message to the host for the security processor; with `certificates` as an extended request, for which
    /// the slice is the room offered. Where the host says that it is answered, `response` and `certificates` are private
    /// copies of what it left. None if the host refuses the event itself.
    fn guest_request(
        &mut self,
        request: &MessagePage,
        response: &mut MessagePage,
        certificates: Option<&mut [u8]>,
    ) -> Option<GuestRequestOutcome>;
}
