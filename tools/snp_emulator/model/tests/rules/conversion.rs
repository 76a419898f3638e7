//! Page state changes and conversions by the host (GHCB specification, KVM with guest memory).

use crate::machine::{GUEST, LARGE, MIB, NOWHERE, PAGE, RWX, SMALL, Vm};
use model::Fault;
use model::conversion::RefusedChange;
use model::machine::Changed;
use model::rmp::{Entry, State};
use snp_abi::address::PageSize::{self, Large, Small};
use snp_abi::ghcb::page_state::PageOperation::{self, Private, Psmash, Shared, Unsmash};
use snp_abi::rmp::{Permissions, Vmpl};

fn change(
    vm: &mut Vm,
    address: u64,
    size: PageSize,
    operation: PageOperation,
) -> Result<Option<Changed>, RefusedChange> {
    vm.machine.change_page_state(GUEST, address, size, operation, &mut vm.memory)
}

#[test]
fn a_page_that_becomes_private_is_vmpl0s_and_unvalidated() {
    let mut vm = Vm::with(true);
    assert!(change(&mut vm, SMALL, Small, Private).unwrap().is_some());
    assert_eq!(vm.entry(SMALL), Entry::assigned(Small));
    assert_eq!(vm.entry(SMALL).permissions(Vmpl::Vmpl0), RWX);
    for lower in [Vmpl::Vmpl1, Vmpl::Vmpl2, Vmpl::Vmpl3] {
        assert_eq!(vm.entry(SMALL).permissions(lower), Permissions::empty());
    }
}

#[test]
fn a_page_that_is_private_already_keeps_its_state() {
    let mut vm = Vm::new();
    vm.give(SMALL);
    let before = vm.entry(SMALL);
    assert_eq!(change(&mut vm, SMALL, Small, Private), Ok(None));
    assert_eq!(vm.entry(SMALL), before);
}

#[test]
fn a_page_that_becomes_shared_loses_everything() {
    let mut vm = Vm::new();
    vm.give(SMALL);
    vm.pvalidate(SMALL, Small, false);
    vm.machine.flush_all();
    assert!(change(&mut vm, SMALL, Small, Shared).unwrap().is_some());
    assert_eq!(vm.entry(SMALL), Entry::SHARED);
    assert!(model::Contents::is_scrambled(&vm.memory, SMALL));
    assert_eq!(vm.faults(), []);
}

#[test]
fn sharing_before_the_flush_is_reported() {
    let mut vm = Vm::new();
    vm.give(SMALL);
    vm.pvalidate(SMALL, Small, false);
    change(&mut vm, SMALL, Small, Shared).unwrap();
    assert_eq!(vm.faults(), [Fault::SharedBeforeFlush { address: SMALL }]);
}

#[test]
fn a_large_private_request_makes_a_large_entry_only_of_wholly_shared_memory() {
    let mut vm = Vm::with(true);
    change(&mut vm, LARGE, Large, Private).unwrap();
    assert!(vm.entry(LARGE).is(State::LARGE));
    let mut vm = Vm::with(true);
    change(&mut vm, LARGE + PAGE, Small, Private).unwrap();
    change(&mut vm, LARGE, Large, Private).unwrap();
    assert!(vm.entry(LARGE).is(State::ASSIGNED) && !vm.entry(LARGE).is(State::LARGE));
}

#[test]
fn sharing_a_part_of_a_large_page_splits_it() {
    let mut vm = Vm::new();
    vm.pvalidate(LARGE, Large, true);
    change(&mut vm, LARGE + PAGE, Small, Shared).unwrap();
    assert_eq!(vm.entry(LARGE + PAGE), Entry::SHARED);
    assert!(vm.entry(LARGE).is(State::VALIDATED) && !vm.entry(LARGE).is(State::LARGE));
}

#[test]
fn psmash_and_unsmash_change_the_size_and_nothing_else() {
    let mut vm = Vm::new();
    vm.pvalidate(LARGE, Large, true);
    assert_eq!(change(&mut vm, LARGE, Large, Psmash), Ok(None));
    assert_eq!(vm.entry(LARGE).size(), Small);
    assert!(vm.entry(LARGE + PAGE).is(State::VALIDATED));
    assert_eq!(change(&mut vm, LARGE, Large, Unsmash), Ok(None));
    assert_eq!(vm.entry(LARGE).size(), Large);
}

#[test]
fn unsmash_of_pages_in_different_states_does_nothing() {
    let mut vm = Vm::new();
    vm.pvalidate(LARGE + PAGE, Small, true);
    change(&mut vm, LARGE, Large, Unsmash).unwrap();
    assert_eq!(vm.entry(LARGE).size(), Small);
}

#[test]
fn bad_addresses_are_refused_and_count_for_nothing() {
    let mut vm = Vm::new();
    for (address, size) in [(SMALL + 1, Small), (LARGE + PAGE, Large), (NOWHERE, Small), (8 * MIB, Large)] {
        for operation in [Private, Shared, Psmash, Unsmash] {
            assert_eq!(change(&mut vm, address, size, operation), Err(RefusedChange::Address));
        }
    }
    assert_eq!(vm.machine.statistics.page_state_changes, 0);
}
