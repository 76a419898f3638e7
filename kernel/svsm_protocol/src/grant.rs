//! The one door for guest memory: how a page becomes the guest's, and how it stops being that.
//!
//! A page that the guest gets is validated, zeroed, granted: in this order, because the host may have put any old page of the VM
//! there. A page that the guest gives back is first taken from it, then rescinded; it counts as given back when every vCPU's
//! translations are flushed. PVALIDATE, the start of a guest and its reset all go through here.

use crate::failure::{Failure, Fatal, Refusal};
use crate::ledger::{Claim, GuestPage, Ledger, PageState};
use crate::machine::{GuestAccess, Lost, Machine, RmpError, Validation};
use snp_abi::address::{PAGE_LENGTH, PageSize};
use snp_abi::rmp::RmpStatus;

/// States from which a page can become the guest's.
pub(crate) const GRANTABLE: &[PageState] = &[PageState::Unvalidated, PageState::Held];
/// States from which a page can be given back.
pub(crate) const RESCINDABLE: &[PageState] = &[PageState::Guest, PageState::Held];

/// Why a page did not change hands. Its claim has ended, but for what is fatal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotDone {
    /// The RMP holds the large page as small ones; they are as they were.
    SizeMismatch,
    /// An entry was in use. The same request, made again, goes on.
    InUse,
    /// The host has the page, or a part of it.
    Lost,
    /// Host or processor broke the contract.
    Fatal(Fatal),
}

impl NotDone {
    /// The answer to the guest that asked for it, or the end.
    pub(crate) fn failure(self) -> Failure {
        match self {
            Self::SizeMismatch => Refusal::Pvalidate(RmpStatus::FailSizeMismatch).into(),
            Self::InUse => Refusal::Busy.into(),
            Self::Lost => Refusal::InvalidAddress.into(),
            Self::Fatal(fatal) => fatal.into(),
        }
    }
}

impl From<RmpError> for NotDone {
    fn from(error: RmpError) -> Self {
        match error {
            RmpError::InUse => Self::InUse,
            RmpError::SizeMismatch => Self::SizeMismatch,
            RmpError::Lost => Self::Lost,
            RmpError::Status(status) => Self::Fatal(Fatal::RmpStatus(status)),
        }
    }
}

impl From<Lost> for NotDone {
    fn from(Lost: Lost) -> Self {
        Self::Lost
    }
}

/// Validates, zeroes, fills and grants a page that was claimed from [`GRANTABLE`]; it ends in `state`.
pub(crate) fn grant(
    ledger: &Ledger,
    machine: &mut dyn Machine,
    claim: Claim,
    contents: &[u8],
    state: PageState,
) -> Result<(), NotDone> {
    let (page, size) = (claim.page(), claim.size());
    if claim.from() == PageState::Unvalidated
        && let Err(error) = validate(machine, page, size)
    {
        // Of a page that is lost in the middle of it nobody knows whether it was validated; it must not be twice.
        let state = if error == NotDone::Lost { PageState::Held } else { PageState::Unvalidated };
        ledger.settle(claim, state);
        return Err(error);
    }
    let granted = fill_and_open(machine, page, size, contents);
    // Whatever stood in the way, a part may be granted already, and nothing but zeros and the contents is in it.
    ledger.settle(claim, if granted.is_ok() { state } else { PageState::Held });
    granted
}

fn validate(machine: &mut dyn Machine, page: GuestPage, size: PageSize) -> Result<(), NotDone> {
    match machine.pvalidate(page, size, true)? {
        Validation::Changed => Ok(()),
        // The ledger knows that it was not validated: the host maps one page of memory at two addresses.
        Validation::Unchanged => Err(NotDone::Fatal(Fatal::DoubleMapping)),
    }
}

fn fill_and_open(
    machine: &mut dyn Machine,
    page: GuestPage,
    size: PageSize,
    contents: &[u8],
) -> Result<(), NotDone> {
    machine.zero(page, size)?;
    if !contents.is_empty() {
        machine.write(page, 0, contents.get(..PAGE_LENGTH).unwrap_or(contents))?;
    }
    Ok(machine.set_access(page, size, GuestAccess::Full)?)
}

/// Grants a claimed page that was launched with measured contents, as it is.
pub(crate) fn grant_launched(
    ledger: &Ledger,
    machine: &mut dyn Machine,
    claim: Claim,
) -> Result<(), NotDone> {
    let granted = machine.set_access(claim.page(), claim.size(), GuestAccess::Full);
    let state = if granted.is_ok() { PageState::Guest } else { claim.from() };
    ledger.settle(claim, state);
    Ok(granted?)
}

/// Takes a page that was claimed from [`RESCINDABLE`] from the guest, and rescinds it. It stays claimed until translations were
/// flushed and the caller releases it.
///
/// A page that is lost does not count as rescinded: that it is not validated is what the host shows at this moment, and who
/// validates it anew on the host's word has two pages of memory for one address.
pub(crate) fn rescind(ledger: &Ledger, machine: &mut dyn Machine, claim: Claim) -> Result<(), NotDone> {
    let (page, size) = (claim.page(), claim.size());
    if let Err(error) = machine.set_access(page, size, GuestAccess::None) {
        let untouched = size == PageSize::Small && error != RmpError::Lost;
        let state = if untouched { claim.from() } else { PageState::Held };
        ledger.settle(claim, state);
        return Err(if error == RmpError::Lost { lost(size) } else { error.into() });
    }
    let error = match machine.pvalidate(page, size, false) {
        Ok(Validation::Changed) => return Ok(()),
        Ok(Validation::Unchanged) | Err(RmpError::Lost) => lost(size),
        Err(error) => error.into(),
    };
    let was_open = claim.from() == PageState::Guest;
    let state = match error {
        NotDone::SizeMismatch if was_open => reopen(machine, page, size),
        _ => PageState::Held,
    };
    ledger.settle(claim, state);
    Err(error)
}

/// Of a large page some part is lost: the guest finds out which by asking for the small ones.
fn lost(size: PageSize) -> NotDone {
    match size {
        PageSize::Small => NotDone::Lost,
        PageSize::Large => NotDone::SizeMismatch,
    }
}

/// How often a page is offered back to the guest whose entry is in use: no VMSA runs there, and who works on an entry needs it for
/// a few instructions only.
const TRIES: usize = 1000;

/// Gives a page back to the guest that stays its own after all; the state that it is in then. Where that is "held", PVALIDATE gives
/// it back.
pub(crate) fn reopen(machine: &mut dyn Machine, page: GuestPage, size: PageSize) -> PageState {
    let mut tries = (0..TRIES).map(|_| machine.set_access(page, size, GuestAccess::Full));
    match tries.find(|opened| *opened != Err(RmpError::InUse)) {
        Some(Ok(())) => PageState::Guest,
        Some(Err(_)) | None => PageState::Held,
    }
}
