//! Memory accesses (APM volume 2, 15.36.10): order of the checks, and who learns of a refusal.

use crate::machine::{GUEST, LARGE, NOWHERE, PAGE, PARAVISOR, RWX, SMALL, Vm, actor};
use model::Fault;
use model::access::{Access, Kind, Verdict};
use model::machine::Actor;
use model::rmp::State;
use snp_abi::address::PageSize::{Large, Small};
use snp_abi::rmp::{Permissions, Vmpl};

fn private(address: u64, kind: Kind) -> Access {
    Access { address, c_bit: true, unpaged: false, kind, user: false }
}

fn shared(address: u64, kind: Kind) -> Access {
    Access { c_bit: false, ..private(address, kind) }
}

fn access(vm: &mut Vm, actor: Actor, access: Access) -> Verdict {
    vm.machine.access(actor, access, &mut vm.memory)
}

#[test]
fn an_unvalidated_page_is_vc_404_for_every_level() {
    let mut vm = Vm::new();
    for vmpl in [Vmpl::Vmpl0, Vmpl::Vmpl2] {
        let verdict = access(&mut vm, actor(vmpl), private(SMALL, Kind::Read));
        assert_eq!(verdict, Verdict::NotValidated(None));
    }
    assert_eq!(vm.faults(), []);
}

#[test]
fn a_private_access_to_a_shared_page_makes_the_host_assign_it() {
    let mut vm = Vm::with(true);
    let verdict = access(&mut vm, PARAVISOR, private(SMALL, Kind::Write));
    assert!(matches!(verdict, Verdict::NotValidated(Some(_))));
    assert!(vm.entry(SMALL).is(State::ASSIGNED));
}

#[test]
fn each_kind_of_access_needs_its_permission() {
    let read = Permissions::READ;
    let write = read | Permissions::WRITE;
    let user = read | Permissions::USER_EXECUTE;
    let supervisor = read | Permissions::SUPERVISOR_EXECUTE;
    // (rights, read, write, walk, fetch at CPL 0, fetch at CPL 3)
    let table = [
        (Permissions::empty(), [false; 5]),
        (read, [true, false, true, false, false]),
        (write, [true, true, true, false, false]),
        (Permissions::WRITE, [false, false, false, false, false]),
        (user, [true, false, true, false, true]),
        (supervisor, [true, false, true, true, false]),
        (RWX, [true; 5]),
    ];
    for (rights, allowed) in table {
        let mut vm = Vm::new();
        vm.give(SMALL);
        vm.grant(SMALL, Vmpl::Vmpl2, rights);
        vm.machine.flush_all();
        let kinds = [Kind::Read, Kind::Write, Kind::Walk, Kind::Fetch, Kind::Fetch];
        for (number, (kind, allowed)) in kinds.into_iter().zip(allowed).enumerate() {
            let wanted = Access { user: number == 4, ..private(SMALL, kind) };
            let mapped = matches!(access(&mut vm, GUEST, wanted), Verdict::Map { .. });
            assert_eq!(mapped, allowed, "{rights:?} {kind:?} user {}", number == 4);
        }
    }
}

#[test]
fn a_vmpl_violation_leaves_the_guest_and_is_reported() {
    let mut vm = Vm::new();
    vm.pvalidate(SMALL, Small, true);
    assert_eq!(access(&mut vm, GUEST, private(SMALL, Kind::Write)), Verdict::Denied);
    assert_eq!(vm.faults(), [Fault::VmplPermission { address: SMALL, needed: 3, had: 0 }]);
}

#[test]
fn a_mapping_is_as_wide_as_its_rights() {
    let mut vm = Vm::new();
    vm.give(SMALL);
    vm.grant(SMALL, Vmpl::Vmpl2, Permissions::READ);
    vm.machine.flush_all();
    let verdict = access(&mut vm, GUEST, private(SMALL + 7, Kind::Read));
    let expected = Verdict::Map { address: SMALL, size: Small, write: false, execute: false, changed: None };
    assert_eq!(verdict, expected);
}

#[test]
fn a_large_page_is_mapped_whole_only_while_all_of_it_is_alike() {
    let mut vm = Vm::new();
    vm.pvalidate(LARGE, Large, true);
    let size = |verdict| match verdict {
        Verdict::Map { size, .. } => size,
        other => panic!("{other:?}"),
    };
    assert_eq!(size(access(&mut vm, PARAVISOR, private(LARGE + PAGE, Kind::Read))), Large);
    vm.pvalidate(LARGE, Small, false);
    assert_eq!(size(access(&mut vm, PARAVISOR, private(LARGE + PAGE, Kind::Read))), Small);
}

#[test]
fn a_translation_that_was_not_flushed_is_reported_when_it_is_used() {
    let mut vm = Vm::new();
    vm.give(SMALL);
    vm.pvalidate(SMALL, Small, false);
    access(&mut vm, GUEST, private(SMALL, Kind::Read));
    assert_eq!(vm.faults(), [Fault::StaleTranslation { address: SMALL }]);
    vm.machine.flush_all();
    access(&mut vm, GUEST, private(SMALL, Kind::Read));
    assert_eq!(vm.faults(), []);
}

#[test]
fn shared_access_to_private_memory_reads_ciphertext_and_cannot_write() {
    let mut vm = Vm::new();
    vm.give(SMALL);
    assert_eq!(access(&mut vm, GUEST, shared(SMALL, Kind::Read)), Verdict::Ciphertext);
    assert_eq!(access(&mut vm, GUEST, shared(SMALL, Kind::Write)), Verdict::Denied);
    assert_eq!(vm.faults(), [Fault::SharedWriteToPrivate { address: SMALL }]);
}

#[test]
fn fetches_walks_and_unpaged_accesses_are_private_whatever_the_mapping() {
    let mut vm = Vm::new();
    let unpaged = Access { unpaged: true, ..shared(SMALL, Kind::Read) };
    for wanted in [shared(SMALL, Kind::Fetch), shared(SMALL, Kind::Walk), unpaged] {
        assert_eq!(access(&mut vm, PARAVISOR, wanted), Verdict::NotValidated(None), "{wanted:?}");
    }
}

#[test]
fn where_there_is_no_memory_a_shared_access_is_a_devices() {
    let mut vm = Vm::new();
    assert_eq!(access(&mut vm, GUEST, shared(NOWHERE, Kind::Write)), Verdict::Device);
    assert_eq!(access(&mut vm, GUEST, private(NOWHERE, Kind::Write)), Verdict::Denied);
    assert_eq!(vm.faults(), [Fault::PrivateDevice { address: NOWHERE }]);
}

#[test]
fn the_host_and_devices_reach_shared_memory_only() {
    let mut vm = Vm::with(true);
    assert!(vm.machine.host_may_access(SMALL, PAGE));
    vm.pvalidate(SMALL, Small, true);
    assert!(!vm.machine.host_may_access(SMALL, 1));
    assert!(!vm.machine.host_may_access(SMALL - 8, 16), "a range that ends in a private page");
    assert!(!vm.machine.host_may_access(NOWHERE, 1));
}
