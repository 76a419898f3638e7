//! PVALIDATE and RMPQUERY (APM volume 3): result codes, the carry flag, and what changes.

use crate::machine::{GUEST, LARGE, NOWHERE, PAGE, PARAVISOR, RWX, SMALL, Vm, actor, operand};
use model::Fault;
use model::instructions::Operand;
use model::rmp::State;
use snp_abi::address::PageSize::{Large, Small};
use snp_abi::rmp::{Permissions, RmpStatus, Vmpl};

#[test]
fn validating_an_assigned_page_succeeds_and_leaves_unknown_contents() {
    let mut vm = Vm::new();
    let done = vm.pvalidate(SMALL, Small, true);
    assert_eq!((done.status.to_wire(), done.carry), (0, false));
    assert!(vm.entry(SMALL).is(State::VALIDATED));
    assert!(model::Contents::is_scrambled(&vm.memory, SMALL));
}

#[test]
fn validating_twice_sets_the_carry_flag_and_keeps_the_contents() {
    let mut vm = Vm::new();
    vm.give(SMALL);
    let done = vm.pvalidate(SMALL, Small, true);
    assert_eq!((done.status.to_wire(), done.carry), (0, true));
    assert!(!model::Contents::is_scrambled(&vm.memory, SMALL));
}

#[test]
fn rescinding_what_is_not_validated_sets_the_carry_flag() {
    let mut vm = Vm::new();
    let done = vm.pvalidate(SMALL, Small, false);
    assert_eq!((done.status.to_wire(), done.carry), (0, true));
}

#[test]
fn rescission_keeps_permissions_and_ends_translations() {
    let mut vm = Vm::new();
    vm.give(SMALL);
    let done = vm.pvalidate(SMALL, Small, false);
    assert!(done.changed.is_some_and(|changed| changed.address == SMALL));
    assert_eq!(vm.entry(SMALL).permissions(Vmpl::Vmpl2), RWX, "only RMPUPDATE resets permissions");
    assert!(vm.machine.stale.held_by(SMALL, 1, Vmpl::Vmpl2), "no vCPU has flushed yet");
}

#[test]
fn pvalidate_below_vmpl0_is_fail_permission() {
    for vmpl in [Vmpl::Vmpl1, Vmpl::Vmpl2, Vmpl::Vmpl3] {
        let mut vm = Vm::new();
        let done = vm.machine.pvalidate(actor(vmpl), operand(SMALL, Small), true, &mut vm.memory);
        assert_eq!(done.status.to_wire(), 2);
        assert!(!vm.entry(SMALL).is(State::VALIDATED));
    }
}

#[test]
fn a_large_operand_needs_a_large_entry() {
    let mut vm = Vm::new();
    assert_eq!(vm.pvalidate(LARGE, Large, true).status.to_wire(), 0);
    assert!(vm.entry(LARGE + 511 * PAGE).is(State::VALIDATED));
    vm.machine.rmp.smash(LARGE);
    assert_eq!(vm.pvalidate(LARGE, Large, false).status.to_wire(), 6, "FAIL_SIZEMISMATCH");
    assert!(vm.entry(LARGE).is(State::VALIDATED), "nothing changed");
}

#[test]
fn a_small_operand_on_a_large_entry_makes_the_host_split_it() {
    let mut vm = Vm::new();
    assert!(vm.entry(LARGE).is(State::LARGE));
    assert_eq!(vm.pvalidate(LARGE + 3 * PAGE, Small, true).status, RmpStatus::Success);
    assert!(!vm.entry(LARGE).is(State::LARGE));
    assert!(!vm.entry(LARGE).is(State::VALIDATED), "its neighbours are as before");
    assert_eq!(vm.machine.statistics.smashes, 1);
}

#[test]
fn an_unaligned_large_operand_is_fail_input() {
    let mut vm = Vm::new();
    assert_eq!(vm.pvalidate(LARGE + PAGE, Large, true).status.to_wire(), 1);
    assert_eq!(vm.pvalidate(SMALL + 8, Small, true).status.to_wire(), 1);
}

#[test]
fn an_operand_through_a_shared_mapping_or_without_memory_is_reported() {
    let mut vm = Vm::new();
    let shared = Operand { private: false, ..operand(SMALL, Small) };
    vm.machine.pvalidate(PARAVISOR, shared, true, &mut vm.memory);
    vm.pvalidate(NOWHERE, Small, true);
    let expected = [
        Fault::InstructionOnSharedMapping { address: SMALL },
        Fault::InstructionWithoutMemory { address: NOWHERE },
    ];
    assert_eq!(vm.faults(), expected);
}

#[test]
fn validating_a_shared_page_makes_the_host_assign_it_first() {
    let mut vm = Vm::with(true);
    assert!(!vm.entry(SMALL).is(State::ASSIGNED));
    assert_eq!(vm.pvalidate(SMALL, Small, true).status, RmpStatus::Success);
    assert!(vm.entry(SMALL).is(State::ASSIGNED | State::VALIDATED));
    assert_eq!(vm.machine.statistics.implicit_conversions, 1);
}

#[test]
fn rescinding_a_vcpus_vmsa_is_reported_whatever_the_size_of_the_operand() {
    for (address, size) in [(LARGE + PAGE, Small), (LARGE, Large)] {
        let mut vm = Vm::new();
        vm.pvalidate(LARGE, Large, true);
        vm.machine.vcpus[1].vmsas[2] = Some(LARGE + PAGE);
        vm.pvalidate(address, size, false);
        assert_eq!(vm.faults(), [Fault::RescindedVmsa { address: LARGE + PAGE }], "{size:?}");
    }
}

#[test]
fn rmpquery_tells_permissions_and_page_size() {
    let mut vm = Vm::new();
    vm.give(SMALL);
    let (done, permissions, size) = vm.machine.rmpquery(PARAVISOR, operand(SMALL, Small), Vmpl::Vmpl2);
    assert_eq!((done.status, permissions, size), (RmpStatus::Success, RWX, Small));
    let (_, nothing, _) = vm.machine.rmpquery(PARAVISOR, operand(SMALL, Small), Vmpl::Vmpl3);
    assert_eq!(nothing, Permissions::empty());
    vm.pvalidate(LARGE, Large, true);
    let (_, _, size) = vm.machine.rmpquery(PARAVISOR, operand(LARGE, Small), Vmpl::Vmpl0);
    assert_eq!(size, Large);
}

#[test]
fn rmpquery_of_a_higher_level_is_fail_permission() {
    let mut vm = Vm::new();
    vm.give(SMALL);
    for target in [Vmpl::Vmpl0, Vmpl::Vmpl1] {
        let (done, permissions, _) = vm.machine.rmpquery(GUEST, operand(SMALL, Small), target);
        assert_eq!((done.status.to_wire(), permissions), (2, Permissions::empty()));
    }
}
