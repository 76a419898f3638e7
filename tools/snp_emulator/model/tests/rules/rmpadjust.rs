//! RMPADJUST (APM volume 3): who may change whose rights, and the VMSA attribute.

use crate::machine::{GUEST, LARGE, NOWHERE, PAGE, PARAVISOR, RWX, SMALL, Vm, actor, operand};
use model::Fault;
use model::rmp::State;
use snp_abi::address::PageSize::{Large, Small};
use snp_abi::rmp::{Permissions, RmpAdjust, RmpStatus, Vmpl};

/// RDX: target level, permission mask, VMSA.
fn attributes(target: u64, permissions: u64, vmsa: bool) -> u64 {
    target | permissions << 8 | u64::from(vmsa) << 16
}

fn validated() -> Vm {
    let mut vm = Vm::new();
    vm.give(SMALL);
    vm
}

#[test]
fn vmpl0_grants_and_revokes() {
    let mut vm = validated();
    for mask in [0, 1, 3, 0xf] {
        let done = vm.adjust(PARAVISOR, operand(SMALL, Small), attributes(2, mask, false));
        assert_eq!(done.status.to_wire(), 0);
        assert_eq!(u64::from(vm.entry(SMALL).permissions(Vmpl::Vmpl2).bits()), mask);
    }
}

#[test]
fn a_level_adjusts_only_levels_below_its_own() {
    for (own, target) in [(0, 0), (1, 0), (2, 0), (2, 1), (2, 2), (3, 3)] {
        let mut vm = validated();
        let own = actor(Vmpl::from_wire(own).unwrap());
        let done = vm.adjust(own, operand(SMALL, Small), attributes(target, 1, false));
        assert_eq!(done.status.to_wire(), 2, "{own:?} adjusts VMPL{target}");
    }
    let mut vm = validated();
    assert_eq!(vm.adjust(GUEST, operand(SMALL, Small), attributes(3, 1, false)).status.to_wire(), 0);
}

#[test]
fn nobody_grants_what_he_lacks() {
    let mut vm = validated();
    vm.grant(SMALL, Vmpl::Vmpl2, Permissions::READ);
    for (mask, status) in [(1, 0), (3, 2), (8, 2), (0, 0)] {
        let done = vm.adjust(GUEST, operand(SMALL, Small), attributes(3, mask, false));
        assert_eq!(done.status.to_wire(), status, "mask {mask:#x}");
    }
    let shadow_stack = attributes(2, 1 << 4, false);
    assert_eq!(vm.adjust(PARAVISOR, operand(SMALL, Small), shadow_stack).status.to_wire(), 2);
}

#[test]
fn unknown_levels_permissions_and_reserved_bits_are_fail_input() {
    let mut vm = validated();
    for rdx in [4, 0xff, 2 | 1 << 13, 2 | 1 << 15, 2 | 1 << 17, 2 | 1 << 63] {
        assert_eq!(vm.adjust(PARAVISOR, operand(SMALL, Small), rdx).status.to_wire(), 1, "{rdx:#x}");
    }
    let unaligned = vm.adjust(PARAVISOR, operand(LARGE + PAGE, Large), attributes(2, 1, false));
    assert_eq!(unaligned.status.to_wire(), 1);
}

#[test]
fn only_vmpl0_makes_a_vmsa() {
    let mut vm = validated();
    let done = vm.adjust(GUEST, operand(SMALL, Small), attributes(3, 1, true));
    assert_eq!(done.status.to_wire(), 2);
    assert!(!vm.entry(SMALL).is(State::VMSA));
    let done = vm.adjust(PARAVISOR, operand(SMALL, Small), attributes(2, 1, true));
    assert_eq!((done.status.to_wire(), vm.entry(SMALL).is(State::VMSA)), (0, true));
}

#[test]
fn a_lower_level_cannot_end_a_vmsa() {
    let mut vm = validated();
    vm.adjust(PARAVISOR, operand(SMALL, Small), attributes(2, 1, true));
    assert_eq!(vm.adjust(GUEST, operand(SMALL, Small), attributes(3, 1, false)).status.to_wire(), 0);
    assert!(vm.entry(SMALL).is(State::VMSA));
}

#[test]
fn a_vmsa_inside_vmrun_is_fail_inuse() {
    let mut vm = validated();
    vm.adjust(PARAVISOR, operand(SMALL, Small), attributes(2, 1, true));
    let vcpu = &mut vm.machine.vcpus[1];
    vcpu.vmsas[2] = Some(SMALL);
    vcpu.current = Vmpl::Vmpl2;
    vcpu.inside = true;
    let take = attributes(2, 0, false);
    assert_eq!(vm.adjust(PARAVISOR, operand(SMALL, Small), take).status.to_wire(), 3, "FAIL_INUSE");
    assert!(vm.entry(SMALL).is(State::VMSA), "nothing changed");
    vm.machine.vcpus[1].inside = false;
    assert_eq!(vm.adjust(PARAVISOR, operand(SMALL, Small), take).status.to_wire(), 0);
}

#[test]
fn a_vmsa_becomes_one_only_after_the_guests_translations_are_flushed() {
    let mut vm = validated();
    vm.grant(SMALL, Vmpl::Vmpl2, Permissions::empty());
    vm.adjust(PARAVISOR, operand(SMALL, Small), attributes(2, 1, true));
    assert_eq!(vm.faults(), [Fault::VmsaBeforeFlush { address: SMALL }]);
    let mut vm = validated();
    vm.grant(SMALL, Vmpl::Vmpl2, Permissions::empty());
    vm.machine.flush_all();
    vm.adjust(PARAVISOR, operand(SMALL, Small), attributes(2, 1, true));
    assert_eq!(vm.faults(), []);
}

#[test]
fn a_page_that_was_not_written_since_its_validation_must_not_be_granted() {
    let mut vm = Vm::new();
    vm.pvalidate(SMALL, Small, true);
    vm.grant(SMALL, Vmpl::Vmpl2, RWX);
    assert_eq!(vm.faults(), [Fault::GrantedUnwritten { address: SMALL, target: Vmpl::Vmpl2 }]);
}

#[test]
fn pages_without_validation_or_memory_are_refused_and_reported() {
    let mut vm = Vm::new();
    assert_eq!(vm.grant(SMALL, Vmpl::Vmpl2, RWX).status, RmpStatus::FailPermission);
    assert_eq!(vm.grant(NOWHERE, Vmpl::Vmpl2, RWX).status, RmpStatus::FailPermission);
    let expected =
        [Fault::AdjustUnvalidated { address: SMALL }, Fault::InstructionWithoutMemory { address: NOWHERE }];
    assert_eq!(vm.faults(), expected);
}

#[test]
fn a_large_operand_on_small_entries_is_a_size_mismatch() {
    let mut vm = Vm::new();
    vm.pvalidate(LARGE, Large, true);
    assert_eq!(vm.adjust(PARAVISOR, operand(LARGE, Large), attributes(1, 0, false)).status.to_wire(), 0);
    vm.machine.rmp.smash(LARGE);
    let done = vm.adjust(PARAVISOR, operand(LARGE, Large), attributes(1, 0, false));
    assert_eq!(done.status.to_wire(), 6);
}

#[test]
fn granting_again_makes_an_old_translation_right_but_not_after_a_rescission() {
    let mut vm = validated();
    vm.grant(SMALL, Vmpl::Vmpl2, Permissions::empty());
    assert!(vm.machine.stale.held_by(SMALL, 0, Vmpl::Vmpl2));
    vm.grant(SMALL, Vmpl::Vmpl2, RWX);
    assert!(!vm.machine.stale.held_by(SMALL, 0, Vmpl::Vmpl2));
    vm.machine.rmp.entry_mut(SMALL).unwrap().mapped |= 1 << 2;
    vm.pvalidate(SMALL, Small, false);
    vm.grant(SMALL, Vmpl::Vmpl2, RWX);
    assert!(vm.machine.stale.held_by(SMALL, 0, Vmpl::Vmpl2));
}

#[test]
fn the_encoding_is_the_manuals() {
    let adjust = RmpAdjust { target: Vmpl::Vmpl3, permissions: Permissions::READ, is_vmsa: true };
    assert_eq!(adjust.encode(), attributes(3, 1, true));
}
