//! What the firmware does with the guest's memory while no guest runs: it gives the first pages, fills them, and names the first
//! vCPU. Every function wants the proof that no guest runs.

use crate::failure::Refusal;
use crate::grant::{self, NotDone};
use crate::guest_memory::GuestRange;
use crate::guest_vcpus::VcpuContext;
use crate::ledger::{Claim, ClaimError, GuestAddress, PageState, Stopped};
use crate::machine::Machine;
use crate::svsm::{Svsm, Vcpu};
use snp_abi::address::PageSize;

/// Why a page is not the guest's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotGiven {
    /// It is not free.
    NotFree,
    /// It did not change hands.
    NotDone(NotDone),
}

impl From<NotDone> for NotGiven {
    fn from(error: NotDone) -> Self {
        Self::NotDone(error)
    }
}

impl From<ClaimError> for NotGiven {
    fn from(_: ClaimError) -> Self {
        Self::NotFree
    }
}

impl Svsm {
    /// Validates, zeroes, fills and grants a free page; it ends in `state`.
    ///
    /// # Errors
    /// If the page is not free, or does not change hands.
    pub fn provide(
        &self,
        _: &Stopped,
        machine: &mut dyn Machine,
        place: (u64, PageSize),
        contents: &[u8],
        state: PageState,
    ) -> Result<(), NotGiven> {
        let claim = self.claim_free(place)?;
        machine.request(claim.page(), claim.size());
        Ok(grant::grant(&self.ledger, machine, claim, contents, state)?)
    }

    /// Grants a page that was launched with measured contents, as it is.
    ///
    /// # Errors
    /// As [`Self::provide`].
    pub fn grant_launched(
        &self,
        _: &Stopped,
        machine: &mut dyn Machine,
        address: u64,
    ) -> Result<(), NotGiven> {
        let claim = self.claim_free((address, PageSize::Small))?;
        Ok(grant::grant_launched(&self.ledger, machine, claim)?)
    }

    fn claim_free(&self, (address, size): (u64, PageSize)) -> Result<Claim, ClaimError> {
        self.ledger.claim(GuestAddress(address), size, &[PageState::Unvalidated])
    }

    /// Copies bytes into memory that the guest has.
    ///
    /// # Errors
    /// If it does not have all of it.
    pub fn fill(
        &self,
        _: &Stopped,
        machine: &mut dyn Machine,
        address: u64,
        bytes: &[u8],
    ) -> Result<(), Refusal> {
        for (address, offset, part) in GuestRange::new(address, bytes.len())?.pages() {
            let part = bytes.get(part).unwrap_or_default();
            self.ledger.with_guest_page(address, |page| machine.write(page, offset, part))??;
        }
        Ok(())
    }

    /// Copies bytes out of memory that the guest has.
    ///
    /// # Errors
    /// If it does not have all of it.
    pub fn look_at(
        &self,
        _: &Stopped,
        machine: &mut dyn Machine,
        address: u64,
        bytes: &mut [u8],
    ) -> Result<(), Refusal> {
        for (address, offset, part) in GuestRange::new(address, bytes.len())?.pages() {
            let part = bytes.get_mut(part).unwrap_or_default();
            self.ledger.with_guest_page(address, |page| machine.read(page, offset, part))??;
        }
        Ok(())
    }

    /// Lets the guest run: its first vCPU has this VMSA, a page of the firmware's own that it lends, and this calling area, which
    /// was provided as one. From here on calls are served.
    ///
    /// # Errors
    /// If the pages are not what they should be, or there is no such vCPU.
    pub fn admit_guest(
        &self,
        stopped: Stopped,
        vcpu: Vcpu,
        vmsa: u64,
        calling_area: u64,
    ) -> Result<(), Refusal> {
        let vmsa = self.ledger.lent(&stopped, vmsa).ok_or(Refusal::InvalidAddress)?;
        let area = self.ledger.first_calling_area(&stopped, calling_area);
        let context = VcpuContext { vmsa, calling_area: area.ok_or(Refusal::InvalidAddress)? };
        self.vcpus.add(vcpu.0, context)?;
        self.vcpus.open();
        Ok(())
    }
}
