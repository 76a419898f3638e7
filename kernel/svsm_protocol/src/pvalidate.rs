//! PVALIDATE: a list of pages that the guest wants to own, or to give back. Source: AMD 58019, chapter 6.
//!
//! A page that the guest gets is validated, zeroed, granted: in this order, because the host may have put any old
//! page of the VM there. A page that the guest gives back is first taken from it, then rescinded; it
//! counts as given back when every vCPU's translations are flushed.

use crate::failure::{Failure, Fatal, Refusal};
use crate::ledger::{Claim, ClaimError, GuestAddress, Ledger, PageState};
use crate::machine::{GuestAccess, Machine, Validation};
use crate::serve::Request;
use snp_abi::address::{PAGE_LENGTH, page_offset};
use snp_abi::rmp::RmpStatus;
use snp_abi::svsm::core_protocol::{PvalidateEntry, PvalidateHeader};
use zerocopy::{FromZeros, IntoBytes};

const HEADER_BYTES: usize = size_of::<PvalidateHeader>();
const ENTRY_BYTES: usize = 8;
/// Entries that fit a page behind the header.
const MOST_ENTRIES: usize = (PAGE_LENGTH - HEADER_BYTES) / ENTRY_BYTES;
/// Small pages that one call zeroes at most; a longer list is continued by the next call.
const MOST_PAGES: u64 = 16 * 512;

/// The list, copied once.
struct List {
    place: GuestAddress,
    next: usize,
    entries: [u64; MOST_ENTRIES],
    count: usize,
    /// Entries whose pages were taken from the guest and still have to be flushed: one bit each.
    rescinded: [u64; MOST_ENTRIES.div_ceil(64)],
}

impl List {
    fn mark_rescinded(&mut self) {
        if let Some(word) = self.rescinded.get_mut(self.next / 64) {
            *word |= 1 << (self.next % 64);
        }
    }

    fn has_rescinded(&self) -> bool {
        self.rescinded.iter().any(|word| *word != 0)
    }

    fn is_rescinded(&self, index: usize) -> bool {
        self.rescinded.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 != 0)
    }
}

/// PVALIDATE: RCX is the address of the list.
pub fn pvalidate(request: &mut Request<'_>) -> Result<(), Failure> {
    let mut list = read_list(request)?;
    let outcome = work(request, &mut list);
    finish_rescinded(request, &mut list);
    write_next(request, &list)?;
    outcome
}

/// Works through the list; `list.next` is the first entry that is not done.
fn work(request: &mut Request<'_>, list: &mut List) -> Result<(), Failure> {
    let mut pages = 0u64;
    while list.next < list.count {
        let word = list.entries.get(list.next).copied().unwrap_or_default();
        let entry = PvalidateEntry::decode(word).map_err(|_| Refusal::InvalidParameter)?;
        if entry.validate {
            pages = pages.saturating_add(entry.size.small_pages());
        }
        if pages > MOST_PAGES {
            return Err(Refusal::Incomplete.into());
        }
        let mut changed = carry_out(request, entry, list);
        if matches!(changed, Err(Failure::Refusal(Refusal::Busy))) && list.has_rescinded() {
            // The page may be one that this list rescinded a moment ago.
            finish_rescinded(request, list);
            changed = carry_out(request, entry, list);
        }
        match changed {
            Ok(()) => {}
            Err(Failure::Refusal(Refusal::NoChange)) if entry.ignore_no_change => {}
            Err(failure) => return Err(failure),
        }
        list.next = list.next.saturating_add(1);
    }
    Ok(())
}

fn carry_out(request: &mut Request<'_>, entry: PvalidateEntry, list: &mut List) -> Result<(), Failure> {
    if entry.validate {
        return validate(request, entry);
    }
    rescind(request, entry)?;
    list.mark_rescinded();
    Ok(())
}

fn read_list(request: &mut Request<'_>) -> Result<List, Refusal> {
    let place = GuestAddress(request.arguments.rcx);
    let offset = page_offset(place.0);
    let room = PAGE_LENGTH.saturating_sub(offset);
    if !place.0.is_multiple_of(8) || room < HEADER_BYTES {
        return Err(Refusal::InvalidParameter);
    }
    let machine = &mut *request.machine;
    let mut entries = [0u64; MOST_ENTRIES];
    let header = request.svsm.ledger.with_guest_page(place, |page| {
        let mut header = PvalidateHeader::new_zeroed();
        machine.read(page, offset, header.as_mut_bytes());
        let fits = room.saturating_sub(HEADER_BYTES) / ENTRY_BYTES;
        let (count, next) = (usize::from(header.entries), usize::from(header.next));
        if count == 0 || next >= count || count > fits {
            return Err(Refusal::InvalidParameter);
        }
        // Only the entries that are left are read; the guest's memory is not looked at again.
        let wanted = entries.get_mut(next..count).ok_or(Refusal::InvalidParameter)?;
        let start = HEADER_BYTES.saturating_add(next.saturating_mul(ENTRY_BYTES));
        machine.read(page, offset.saturating_add(start), wanted.as_mut_bytes());
        Ok(header)
    })??;
    let rescinded = [0; MOST_ENTRIES.div_ceil(64)];
    Ok(List { place, next: header.next.into(), entries, count: header.entries.into(), rescinded })
}

/// Flushes all vCPUs' translations once for many pages; only then the pages count as given back.
fn finish_rescinded(request: &mut Request<'_>, list: &mut List) {
    if !list.has_rescinded() {
        return;
    }
    request.machine.flush_translations();
    for (_, word) in list.entries.iter().enumerate().filter(|(index, _)| list.is_rescinded(*index)) {
        if let Ok(entry) = PvalidateEntry::decode(*word) {
            request.svsm.ledger.release(GuestAddress(entry.address), entry.size);
        }
    }
    list.rescinded.fill(0);
}

fn write_next(request: &mut Request<'_>, list: &List) -> Result<(), Failure> {
    let offset = page_offset(list.place.0);
    let at = offset.saturating_add(core::mem::offset_of!(PvalidateHeader, next));
    let next = u16::try_from(list.next).unwrap_or(u16::MAX);
    let machine = &mut *request.machine;
    // The page may have been rescinded by the list itself: then there is nobody to tell.
    let _ =
        request.svsm.ledger.with_guest_page(list.place, |page| machine.write(page, at, &next.to_le_bytes()));
    Ok(())
}

fn claim(request: &Request<'_>, entry: PvalidateEntry, from: PageState) -> Result<Claim, Refusal> {
    let already = if entry.validate { PageState::Guest } else { PageState::Unvalidated };
    request.svsm.ledger.claim(GuestAddress(entry.address), entry.size, from).map_err(|error| match error {
        ClaimError::State(state) if state == already => Refusal::NoChange,
        // The guest goes on with small pages, as it does when the RMP says so.
        ClaimError::Mixed => Refusal::Pvalidate(RmpStatus::FailSizeMismatch),
        other => other.refusal(),
    })
}

fn validate(request: &mut Request<'_>, entry: PvalidateEntry) -> Result<(), Failure> {
    let claim = claim(request, entry, PageState::Unvalidated)?;
    let (page, size) = (claim.page(), claim.size());
    match request.machine.pvalidate(page, size, true)? {
        Validation::Changed => {}
        Validation::Unchanged => return Err(Fatal::DoubleMapping.into()),
        Validation::SizeMismatch => {
            request.svsm.ledger.settle(claim, PageState::Unvalidated);
            return Err(Refusal::Pvalidate(RmpStatus::FailSizeMismatch).into());
        }
    }
    zero(request.machine, &claim);
    request.machine.set_access(page, size, GuestAccess::Full)?;
    request.svsm.ledger.settle(claim, PageState::Guest);
    Ok(())
}

fn zero(machine: &mut dyn Machine, claim: &Claim) {
    machine.zero(claim.page(), claim.size());
}

/// Takes a page from the guest; it stays claimed until [`finish_rescinded`] has flushed the translations.
fn rescind(request: &mut Request<'_>, entry: PvalidateEntry) -> Result<(), Failure> {
    let claim = claim(request, entry, PageState::Guest)?;
    if rescind_claimed(&request.svsm.ledger, request.machine, claim)? {
        Ok(())
    } else {
        Err(Refusal::Pvalidate(RmpStatus::FailSizeMismatch).into())
    }
}

/// Takes a page from the guest that it has, and rescinds it; it stays claimed until translations were flushed. `false` if the RMP
/// holds a large page as small ones: the guest has it as before, then.
pub(crate) fn rescind_claimed(
    ledger: &Ledger,
    machine: &mut dyn Machine,
    claim: Claim,
) -> Result<bool, Fatal> {
    let (page, size) = (claim.page(), claim.size());
    machine.set_access(page, size, GuestAccess::None)?;
    match machine.pvalidate(page, size, false)? {
        Validation::Changed => Ok(true),
        Validation::Unchanged => Err(Fatal::DoubleMapping),
        Validation::SizeMismatch => {
            machine.set_access(page, size, GuestAccess::Full)?;
            ledger.settle(claim, PageState::Guest);
            Ok(false)
        }
    }
}
