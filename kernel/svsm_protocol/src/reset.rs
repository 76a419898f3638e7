//! A reset of the guest: its vCPUs are taken from it, then its memory, and the firmware starts it again.
//!
//! Whoever asks for it, the guest or the host alone, what comes out is a guest that VMPL0 has loaded and measured anew: nothing
//! of the last one runs, and nothing that it left in memory is there any more when the next one gets the memory.

use crate::failure::{Failure, Fatal};
use crate::grant::{self, NotDone, RESCINDABLE};
use crate::ledger::{GuestAddress, PageState, Stopped};
use crate::machine::Machine;
use crate::svsm::Svsm;
use crate::vcpu_calls::free_vcpu;
use snp_abi::address::{LARGE_PAGE_BYTES, PAGE_BYTES, PageSize};

/// Why a guest cannot be reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetError {
    /// One of its vCPUs runs: the host has not stopped it.
    Running,
    /// A page is in a state that no stopped guest leaves behind.
    Ledger(PageState),
    /// The guest gave this page to the host without rescinding it: nobody can say what it holds, and it cannot be validated anew.
    Lost(u64),
    /// The entry of this page was in use for longer than any processor works on one.
    InUse(u64),
    /// Host or processor broke the contract.
    Fatal(Fatal),
}

impl From<Fatal> for ResetError {
    fn from(fatal: Fatal) -> Self {
        Self::Fatal(fatal)
    }
}

/// How often an entry that is in use is tried. Who stops a guest has nobody to tell to ask again, and who works on an entry needs
/// it for a few instructions only.
const TRIES: usize = 10_000;

impl Svsm {
    /// The first step: waits for the calls that are served, and takes every vCPU from the guest. No call is served from here on.
    ///
    /// # Errors
    /// If a vCPU still runs the guest.
    pub fn stop_guest(&self, machine: &mut dyn Machine) -> Result<Stopped, ResetError> {
        self.vcpus.close();
        let stopped = self.vcpus.remove_all(|context| {
            free_vcpu(&self.ledger, machine, context)?;
            // Two VMSAs of a vCPU may share it; it is nobody's calling area in the end.
            self.ledger.change_role(context.calling_area, PageState::Guest);
            Ok(())
        });
        match stopped {
            Ok(()) => Ok(Stopped::guest_was_stopped()),
            Err(Failure::Refusal(_)) => Err(ResetError::Running),
            Err(Failure::Fatal(fatal)) => Err(ResetError::Fatal(fatal)),
        }
    }

    /// The second step: all memory of the guest is private again, and not validated, as it was before the guest was first started.
    ///
    /// # Errors
    /// If a page cannot be taken back; the firmware must not go on then.
    pub fn retake_memory(&self, _: &Stopped, machine: &mut dyn Machine) -> Result<(), ResetError> {
        self.on_all_pages(|address, size| self.rescind(machine, address, size))?;
        // Nobody runs who could use an old translation, but the next guest will run on the same processors.
        machine.flush_translations();
        self.on_all_pages(|address, size| {
            self.take_back(machine, address, size)?;
            Ok(true)
        })
    }

    /// Runs `each` on large pages where their state is one, and on small pages otherwise, or where it says `false` of a large one.
    fn on_all_pages(
        &self,
        mut each: impl FnMut(GuestAddress, PageSize) -> Result<bool, ResetError>,
    ) -> Result<(), ResetError> {
        let mut chunk = 0;
        while chunk < self.ledger.end() {
            let end = chunk.saturating_add(LARGE_PAGE_BYTES);
            let is_uniform = self.ledger.uniform(GuestAddress(chunk)).is_some();
            if !(is_uniform && each(GuestAddress(chunk), PageSize::Large)?) {
                let mut page = chunk;
                while page < end {
                    each(GuestAddress(page), PageSize::Small)?;
                    page = page.saturating_add(PAGE_BYTES);
                }
            }
            chunk = end;
        }
        Ok(())
    }

    /// Takes a page from the guest if it has it; `false` if a large page has to be taken piece by piece.
    fn rescind(
        &self,
        machine: &mut dyn Machine,
        address: GuestAddress,
        size: PageSize,
    ) -> Result<bool, ResetError> {
        match self.ledger.state(address) {
            PageState::Absent | PageState::Own | PageState::Unvalidated => return Ok(true),
            PageState::Guest | PageState::Held => {}
            state => return Err(ResetError::Ledger(state)),
        }
        for _ in 0..TRIES {
            let claim = self.ledger.claim(address, size, RESCINDABLE);
            let claim = claim.map_err(|_| ResetError::Ledger(PageState::Guest))?;
            match grant::rescind(&self.ledger, machine, claim) {
                Ok(()) => return Ok(true),
                Err(NotDone::SizeMismatch) => return Ok(false),
                Err(NotDone::Lost) => return Err(ResetError::Lost(address.0)),
                Err(NotDone::Fatal(fatal)) => return Err(fatal.into()),
                Err(NotDone::InUse) => core::hint::spin_loop(),
            }
        }
        Err(ResetError::InUse(address.0))
    }

    /// Ends the claim of a page that was taken from the guest; asks the host for one that the guest had not validated.
    fn take_back(
        &self,
        machine: &mut dyn Machine,
        address: GuestAddress,
        size: PageSize,
    ) -> Result<(), ResetError> {
        match self.ledger.state(address) {
            PageState::Busy => self.ledger.release(address, size),
            PageState::Unvalidated => {
                let claim = self.ledger.claim(address, size, &[PageState::Unvalidated]);
                let claim = claim.map_err(|_| ResetError::Ledger(PageState::Unvalidated))?;
                machine.take_back(claim.page(), size);
                self.ledger.settle(claim, PageState::Unvalidated);
            }
            _ => {}
        }
        Ok(())
    }
}
