//! What the services need of the machine below them: a handful of operations on guest pages.

use crate::failure::Fatal;
use crate::ledger::GuestPage;
use crate::psp_channel::MessagePage;
use snp_abi::address::PageSize;
use snp_abi::ghcb::guest_request::GuestRequestOutcome;

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

/// Result of an attempt to take a page's VMSA role away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessChange {
    /// Done.
    Done,
    /// The page is a VMSA that runs at this moment.
    InUse,
}

/// Result of a change of validation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validation {
    /// Done.
    Changed,
    /// The RMP already said so.
    Unchanged,
    /// The RMP holds the 2 MiB page as small pages.
    SizeMismatch,
}

/// The machine, from one vCPU's point of view.
///
/// A [`GuestPage`] proves that the ledger let the caller have the page, so none of these can be
/// refused for whose page it is; what fails is the machine's fault.
pub trait Machine {
    /// Copies bytes out of a page; `offset + bytes.len()` is at most 4096.
    fn read(&mut self, page: GuestPage, offset: usize, bytes: &mut [u8]);
    /// Copies bytes into a page; `offset + bytes.len()` is at most 4096.
    fn write(&mut self, page: GuestPage, offset: usize, bytes: &[u8]);
    /// Asks the host for a page that VMPL0 itself is about to validate for the guest, where memory is the host's at first.
    fn request(&mut self, page: GuestPage, size: PageSize);
    /// Asks the host for a page that the guest may have shared with it; one that is private already stays as it is.
    fn take_back(&mut self, page: GuestPage, size: PageSize);
    /// Fills a page of either size with zeros.
    fn zero(&mut self, page: GuestPage, size: PageSize);
    /// Validates or rescinds a page.
    fn pvalidate(&mut self, page: GuestPage, size: PageSize, validate: bool) -> Result<Validation, Fatal>;
    /// Sets what the guest's VMPL may do with a page.
    fn set_access(
        &mut self,
        page: GuestPage,
        size: PageSize,
        access: GuestAccess,
    ) -> Result<AccessChange, Fatal>;
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
