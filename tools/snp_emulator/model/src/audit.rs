//! What must hold when a run is over: the firmware's memory is out of every lower VMPL's reach.
//!
//! The firmware keeps a ledger of pages, and the RMP is what the ledger's decisions came to; here the two are compared.

use crate::machine::{Actor, Machine};
use crate::rmp::{MemoryRange, State};
use crate::violation::Fault;
use snp_abi::address::PAGE_BYTES;
use snp_abi::rmp::{Permissions, Vmpl};

const LOWER: [Vmpl; 3] = [Vmpl::Vmpl1, Vmpl::Vmpl2, Vmpl::Vmpl3];

/// States of a page in the ledger.
const LEDGER_UNVALIDATED: u8 = 0;
const LEDGER_ABSENT: u8 = 1;
const LEDGER_GUEST: u8 = 2;
const LEDGER_CALLING_AREA: u8 = 4;
const LEDGER_VMSA: u8 = 5;
const LEDGER_OWN: u8 = 6;
const LEDGER_HELD: u8 = 7;

impl Machine {
    /// Reports the first page of `firmware` that a lower VMPL can access. Shared pages (GHCBs) are the host's too; a VMSA
    /// in the firmware's memory may be read by the level that runs it.
    pub fn audit(&mut self, firmware: &[MemoryRange]) {
        let pages = firmware
            .iter()
            .flat_map(|range| (range.start..range.start + range.bytes).step_by(PAGE_BYTES as usize));
        let exposed = pages.into_iter().find_map(|address| {
            let vmpl = LOWER.into_iter().find(|vmpl| self.is_exposed(address, *vmpl))?;
            Some((address, vmpl))
        });
        if let Some((address, target)) = exposed {
            let actor = Actor { vcpu: 0, vmpl: Vmpl::Vmpl0 };
            self.report(actor, Fault::FirmwareExposed { address, target });
        }
    }

    /// Reports a page whose RMP entry is not what the firmware's ledger holds for it (`kernel/svsm_protocol`, `PageState`); says whether
    /// they agree. Pages without memory are left out.
    pub fn compare_with_ledger(&mut self, address: u64, recorded: u8, guest: Vmpl) -> bool {
        let Some(entry) = self.rmp.entry(address) else { return true };
        let validated = entry.is(State::ASSIGNED | State::VALIDATED);
        let agrees = match recorded {
            LEDGER_ABSENT | LEDGER_UNVALIDATED => !validated,
            LEDGER_GUEST | LEDGER_CALLING_AREA => {
                validated
                    && !entry.is(State::VMSA)
                    && entry.permissions(guest).contains(Permissions::READ | Permissions::WRITE)
            }
            LEDGER_VMSA => validated && entry.is(State::VMSA),
            // Validated or taken by the host, and in no role.
            LEDGER_HELD => !entry.is(State::VMSA),
            // What the firmware does with its own memory, `audit` judges.
            LEDGER_OWN => true,
            // Busy: somebody changes the page, but the run is over. Others do not exist.
            _ => false,
        };
        if !agrees {
            let actor = Actor { vcpu: 0, vmpl: Vmpl::Vmpl0 };
            self.report(actor, Fault::LedgerDiffers { address, recorded });
        }
        agrees
    }

    fn is_exposed(&self, address: u64, vmpl: Vmpl) -> bool {
        self.rmp.entry(address).is_some_and(|entry| {
            let tolerated = if entry.is(State::VMSA) { Permissions::READ } else { Permissions::empty() };
            entry.is(State::ASSIGNED | State::VALIDATED) && !tolerated.contains(entry.permissions(vmpl))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Configuration;
    use host_profiles::Host;

    const RANGE: MemoryRange = MemoryRange { start: 0x20_0000, bytes: 0x20_0000 };

    fn machine_with(change: impl FnOnce(&mut crate::rmp::Entry)) -> Machine {
        let configuration = Configuration {
            apic_ids: [1].to_vec(),
            contract: Host::Plain.profile().contract,
            memory_is_shared: false,
            large_pages: true,
        };
        let mut machine = Machine::new(configuration, &[RANGE]);
        let entry = machine.rmp.entry_mut(RANGE.start + 0x3000).unwrap();
        entry.state |= State::VALIDATED;
        change(entry);
        machine.audit(&[RANGE]);
        machine
    }

    #[test]
    fn memory_of_vmpl0_alone_passes_the_audit() {
        assert!(!machine_with(|_| {}).has_violations());
    }

    #[test]
    fn a_page_that_a_lower_vmpl_can_read_is_reported() {
        for vmpl in LOWER {
            let mut machine = machine_with(|entry| entry.permissions[vmpl.index()] = Permissions::READ);
            let faults: alloc::vec::Vec<Fault> =
                machine.take_violations().iter().map(|violation| violation.fault).collect();
            assert_eq!(faults, [Fault::FirmwareExposed { address: RANGE.start + 0x3000, target: vmpl }]);
        }
    }

    #[test]
    fn a_vmsa_may_be_read_and_not_written_by_its_level() {
        let vmsa = |permissions| {
            machine_with(move |entry| {
                entry.state |= State::VMSA;
                entry.permissions[Vmpl::Vmpl2.index()] = permissions;
            })
        };
        assert!(!vmsa(Permissions::READ).has_violations());
        assert!(vmsa(Permissions::READ | Permissions::WRITE).has_violations());
    }

    #[test]
    fn a_ledger_that_says_otherwise_is_reported() {
        let mut machine = machine_with(|entry| entry.permissions[2] = Permissions::READ_WRITE_EXECUTE);
        machine.take_violations();
        let page = RANGE.start + 0x3000;
        for (address, recorded, agrees) in [
            (page, LEDGER_GUEST, true),
            (page, LEDGER_CALLING_AREA, true),
            (page, LEDGER_UNVALIDATED, false),
            (page, LEDGER_VMSA, false),
            (page, 3, false),
            (page, LEDGER_OWN, true),
            (RANGE.start, LEDGER_UNVALIDATED, true),
            (RANGE.start, LEDGER_GUEST, false),
            (0x40_0000, LEDGER_GUEST, true),
        ] {
            let found = machine.compare_with_ledger(address, recorded, Vmpl::Vmpl2);
            assert_eq!(found, agrees, "{address:#x} recorded as {recorded}");
            assert_eq!(machine.take_violations().is_empty(), agrees);
        }
    }
}
