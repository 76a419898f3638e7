//! PVALIDATE: a list of pages that the guest wants to own, or to give back. Source: AMD 58019, chapter 6.
//!
//! How one page changes hands is in [`crate::grant`].

use crate::failure::{Failure, Refusal};
use crate::grant::{self, GRANTABLE, RESCINDABLE};
use crate::guest_call::{GuestCall, Operands, Registers, ServedCall};
use crate::ledger::{Claim, ClaimError, GuestAddress, PageState};
use core::mem::offset_of;
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

/// PVALIDATE: works through a list of pages.
pub(crate) struct Pvalidate;

/// RCX: the address of the list.
pub(crate) struct ListPlace {
    address: u64,
    /// Bytes up to the end of the page.
    room: usize,
}

impl Operands for ListPlace {
    fn decode(registers: &Registers) -> Result<Self, Refusal> {
        let address = registers.rcx;
        let room = PAGE_LENGTH.saturating_sub(page_offset(address));
        if !address.is_multiple_of(8) || room < HEADER_BYTES {
            return Err(Refusal::InvalidParameter);
        }
        Ok(Self { address, room })
    }
}

impl ServedCall for Pvalidate {
    type Operands = ListPlace;
    type Results = ();

    fn serve(call: &mut GuestCall<'_>, place: ListPlace, (): &mut ()) -> Result<(), Failure> {
        let mut list = read_list(call, &place)?;
        let outcome = work(call, &mut list);
        finish_rescinded(call, &mut list);
        write_next(call, &list);
        outcome
    }
}

/// Works through the list; `list.next` is the first entry that is not done.
fn work(call: &mut GuestCall<'_>, list: &mut List) -> Result<(), Failure> {
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
        let mut changed = carry_out(call, entry, list);
        if matches!(changed, Err(Failure::Refusal(Refusal::Busy))) && list.has_rescinded() {
            // The page may be one that this list rescinded a moment ago.
            finish_rescinded(call, list);
            changed = carry_out(call, entry, list);
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

fn carry_out(call: &mut GuestCall<'_>, entry: PvalidateEntry, list: &mut List) -> Result<(), Failure> {
    let ledger = &call.svsm.ledger;
    let done = if entry.validate {
        let claim = claim(call, entry, GRANTABLE, PageState::Guest)?;
        grant::grant(ledger, call.machine, claim, &[], PageState::Guest)
    } else {
        let claim = claim(call, entry, RESCINDABLE, PageState::Unvalidated)?;
        grant::rescind(ledger, call.machine, claim).map(|()| list.mark_rescinded())
    };
    done.map_err(|error| error.failure())
}

fn claim(
    call: &GuestCall<'_>,
    entry: PvalidateEntry,
    from: &[PageState],
    already: PageState,
) -> Result<Claim, Refusal> {
    call.svsm.ledger.claim(GuestAddress(entry.address), entry.size, from).map_err(|error| match error {
        ClaimError::State(state) if state == already => Refusal::NoChange,
        // The guest goes on with small pages, as it does when the RMP says so.
        ClaimError::Mixed => Refusal::Pvalidate(RmpStatus::FailSizeMismatch),
        other => other.refusal(),
    })
}

fn read_list(call: &mut GuestCall<'_>, operands: &ListPlace) -> Result<List, Refusal> {
    let place = GuestAddress(operands.address);
    let offset = page_offset(place.0);
    let machine = &mut *call.machine;
    let mut entries = [0u64; MOST_ENTRIES];
    let header = call.svsm.ledger.with_guest_page(place, |page| {
        let mut header = PvalidateHeader::new_zeroed();
        machine.read(page, offset, header.as_mut_bytes())?;
        let fits = operands.room.saturating_sub(HEADER_BYTES) / ENTRY_BYTES;
        let (count, next) = (usize::from(header.entries), usize::from(header.next));
        if count == 0 || next >= count || count > fits {
            return Err(Refusal::InvalidParameter);
        }
        // Only the entries that are left are read; the guest's memory is not looked at again.
        let wanted = entries.get_mut(next..count).ok_or(Refusal::InvalidParameter)?;
        let start = HEADER_BYTES.saturating_add(next.saturating_mul(ENTRY_BYTES));
        machine.read(page, offset.saturating_add(start), wanted.as_mut_bytes())?;
        Ok(header)
    })??;
    let rescinded = [0; MOST_ENTRIES.div_ceil(64)];
    Ok(List { place, next: header.next.into(), entries, count: header.entries.into(), rescinded })
}

/// Flushes all vCPUs' translations once for many pages; only then the pages count as given back.
fn finish_rescinded(call: &mut GuestCall<'_>, list: &mut List) {
    if !list.has_rescinded() {
        return;
    }
    call.machine.flush_translations();
    for (_, word) in list.entries.iter().enumerate().filter(|(index, _)| list.is_rescinded(*index)) {
        if let Ok(entry) = PvalidateEntry::decode(*word) {
            call.svsm.ledger.release(GuestAddress(entry.address), entry.size);
        }
    }
    list.rescinded.fill(0);
}

/// Tells the guest how far the list came. The page may have been rescinded by the list itself, or be lost: then there is nobody
/// to tell.
fn write_next(call: &mut GuestCall<'_>, list: &List) {
    let offset = page_offset(list.place.0).saturating_add(offset_of!(PvalidateHeader, next));
    let next = u16::try_from(list.next).unwrap_or(u16::MAX).to_le_bytes();
    let machine = &mut *call.machine;
    let told = call.svsm.ledger.with_guest_page(list.place, |page| machine.write(page, offset, &next));
    let (Ok(_) | Err(_)) = told;
}
