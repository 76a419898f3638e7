//! PVALIDATE, RMPADJUST and RMPQUERY. Source: AMD APM volumes 2 (15.36) and 3.

use crate::Contents;
use crate::machine::{Actor, Changed, Machine};
use crate::rmp::State;
use crate::stale::Cause;
use crate::violation::Fault;
use snp_abi::address::{PageSize, is_aligned};
use snp_abi::rmp::{Permissions, RmpAdjust, RmpStatus, Vmpl};

/// Every VMPL, as a bit mask.
const ALL_VMPLS: u8 = 0xf;

/// The page that an instruction works on, after the walk of the guest's page tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operand {
    /// Guest-physical address.
    pub address: u64,
    /// Page size asked for in RCX.
    pub size: PageSize,
    /// The mapping has the C-bit, or paging is off.
    pub private: bool,
}

/// Result of an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// EAX.
    pub status: RmpStatus,
    /// RFLAGS.CF: PVALIDATE changed nothing.
    pub carry: bool,
    /// Mappings to remove.
    pub changed: Option<Changed>,
}

impl Completion {
    fn of(status: RmpStatus) -> Self {
        Self { status, carry: false, changed: None }
    }
}

impl Machine {
    /// Executes PVALIDATE.
    pub fn pvalidate(
        &mut self,
        actor: Actor,
        operand: Operand,
        validate: bool,
        contents: &mut dyn Contents,
    ) -> Completion {
        self.statistics.pvalidates += 1;
        if actor.vmpl != Vmpl::Vmpl0 {
            return Completion::of(RmpStatus::FailPermission);
        }
        if let Err(status) = self.check_operand(actor, operand) {
            return Completion::of(status);
        }
        self.assign_for_access(operand.address);
        if let Err(status) = self.fit_size(operand) {
            return Completion::of(status);
        }
        let Operand { address, size, .. } = operand;
        if !validate && let Some(address) = self.vmsa_in(address, size, false) {
            self.report(actor, Fault::RescindedVmsa { address });
        }
        let Some(entries) = self.rmp.pages_mut(address, size) else {
            return Completion::of(RmpStatus::FailSizeMismatch);
        };
        if entries.iter().all(|entry| entry.is(State::VALIDATED) == validate) {
            return Completion { status: RmpStatus::Success, carry: true, changed: None };
        }
        entries.iter_mut().for_each(|entry| entry.state.set(State::VALIDATED, validate));
        if validate {
            entries.iter_mut().for_each(|entry| entry.state.insert(State::FRESH));
            contents.scramble(address, size.bytes());
        }
        let changed = if validate { None } else { self.unmap(address, size, ALL_VMPLS, Cause::Rescinded) };
        Completion { status: RmpStatus::Success, carry: false, changed }
    }

    /// Whether RMPADJUST at VMPL0 raises #VC for its operand, which is of the entry's size and not validated.
    pub fn is_unvalidated(&self, operand: Operand) -> bool {
        let Operand { address, size, private } = operand;
        private
            && is_aligned(address, size)
            && self.rmp.entry(address).is_some_and(|entry| {
                let fits = size == PageSize::Small || entry.is(State::LARGE);
                fits && !entry.is(State::ASSIGNED | State::VALIDATED)
            })
    }

    /// Executes RMPADJUST with the attributes of RDX.
    pub fn rmpadjust(
        &mut self,
        actor: Actor,
        operand: Operand,
        attributes: u64,
        contents: &dyn Contents,
    ) -> Completion {
        self.statistics.rmpadjusts += 1;
        let Ok(adjust) = RmpAdjust::decode(attributes) else {
            return Completion::of(RmpStatus::FailInput);
        };
        // The target is judged before the page: this is how a guest finds out that it is not at VMPL0.
        if adjust.target <= actor.vmpl || (adjust.is_vmsa && actor.vmpl != Vmpl::Vmpl0) {
            return Completion::of(RmpStatus::FailPermission);
        }
        if let Err(status) = self.check_operand(actor, operand).and_then(|()| self.fit_size(operand)) {
            return Completion::of(status);
        }
        let Operand { address, size, .. } = operand;
        let Some(entries) = self.rmp.pages_mut(address, size) else {
            return Completion::of(RmpStatus::FailSizeMismatch);
        };
        if entries.iter().any(|entry| !entry.is(State::ASSIGNED | State::VALIDATED)) {
            self.report(actor, Fault::AdjustUnvalidated { address });
            return Completion::of(RmpStatus::FailPermission);
        }
        if entries.iter().any(|entry| !entry.permissions(actor.vmpl).contains(adjust.permissions)) {
            return Completion::of(RmpStatus::FailPermission);
        }
        let is_vmsa = entries.iter().any(|entry| entry.is(State::VMSA));
        if is_vmsa && self.vmsa_in(address, size, true).is_some() {
            return Completion::of(RmpStatus::FailInUse);
        }
        self.adjust(actor, operand, adjust, contents)
    }

    /// The second half of RMPADJUST: everything is checked, the entries change.
    fn adjust(
        &mut self,
        actor: Actor,
        operand: Operand,
        adjust: RmpAdjust,
        contents: &dyn Contents,
    ) -> Completion {
        let Operand { address, size, .. } = operand;
        if adjust.is_vmsa {
            if let Some(address) = self.stale.first_in(address, size.bytes()) {
                self.report(actor, Fault::VmsaBeforeFlush { address });
            }
        } else if !adjust.permissions.is_empty() {
            self.check_written(actor, operand, adjust.target, contents);
        }
        let changes_vmsa = actor.vmpl == Vmpl::Vmpl0;
        let mut shrinks = false;
        for entry in self.rmp.pages_mut(address, size).into_iter().flatten() {
            let permissions = &mut entry.permissions[adjust.target.index()];
            shrinks |= !adjust.permissions.contains(*permissions);
            *permissions = adjust.permissions;
            if changes_vmsa {
                entry.state.set(State::VMSA, adjust.is_vmsa);
            }
        }
        let target = 1 << adjust.target.index();
        let changed = if shrinks {
            self.unmap(address, size, target, Cause::Restricted)
        } else {
            self.stale.granted(address, size.small_pages(), adjust.target);
            // Nothing cached is wrong, but a nested mapping may be narrower than the new rights.
            self.rmp
                .entry(address)
                .filter(|entry| entry.mapped & target != 0)
                .map(|_| Changed { address, size })
        };
        Completion { status: RmpStatus::Success, carry: false, changed }
    }

    /// A page that goes to a lower VMPL must have been written since the guest got it.
    fn check_written(&mut self, actor: Actor, operand: Operand, target: Vmpl, contents: &dyn Contents) {
        for page in 0..operand.size.small_pages() {
            let address = operand.address + page * snp_abi::address::PAGE_BYTES;
            let Some(entry) = self.rmp.entry_mut(address) else { return };
            if !entry.is(State::FRESH) {
                continue;
            }
            entry.state.remove(State::FRESH);
            if contents.is_scrambled(address) {
                self.report(actor, Fault::GrantedUnwritten { address, target });
                return;
            }
        }
    }

    /// Executes RMPQUERY; returns the completion, the permission mask and the page size.
    pub fn rmpquery(
        &mut self,
        actor: Actor,
        operand: Operand,
        target: Vmpl,
    ) -> (Completion, Permissions, PageSize) {
        let failed = |status| (Completion::of(status), Permissions::empty(), PageSize::Small);
        if target < actor.vmpl {
            return failed(RmpStatus::FailPermission);
        }
        if let Err(status) = self.check_operand(actor, operand) {
            return failed(status);
        }
        let Some(entry) = self.rmp.entry(operand.address).copied() else {
            return failed(RmpStatus::FailPermission);
        };
        if !entry.is(State::ASSIGNED | State::VALIDATED) {
            self.report(actor, Fault::AdjustUnvalidated { address: operand.address });
            return failed(RmpStatus::FailPermission);
        }
        (Completion::of(RmpStatus::Success), entry.permissions(target), entry.size())
    }

    fn check_operand(&mut self, actor: Actor, operand: Operand) -> Result<(), RmpStatus> {
        let address = operand.address;
        if !is_aligned(address, operand.size) {
            return Err(RmpStatus::FailInput);
        }
        if !operand.private {
            self.report(actor, Fault::InstructionOnSharedMapping { address });
            return Err(RmpStatus::FailPermission);
        }
        if self.rmp.entry(address).is_none() {
            self.report(actor, Fault::InstructionWithoutMemory { address });
            return Err(RmpStatus::FailPermission);
        }
        Ok(())
    }

    /// A large operand needs a large entry; for a small operand on a large entry the host splits the entry.
    fn fit_size(&mut self, operand: Operand) -> Result<(), RmpStatus> {
        let large = self.rmp.entry(operand.address).is_some_and(|entry| entry.is(State::LARGE));
        match (operand.size, large) {
            (PageSize::Large, false) => Err(RmpStatus::FailSizeMismatch),
            (PageSize::Small, true) => {
                self.smash(operand.address);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
