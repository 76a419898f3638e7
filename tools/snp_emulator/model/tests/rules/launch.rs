//! Launched pages (SNP firmware ABI, SNP_LAUNCH_UPDATE).

use crate::machine::{LARGE, NOWHERE, PAGE, RWX, SMALL, Vm};
use model::Contents;
use model::rmp::State;
use snp_abi::address::PageSize::Small;
use snp_abi::rmp::{Permissions, Vmpl};

#[test]
fn a_launched_page_is_validated_small_and_for_vmpl0_alone() {
    let mut vm = Vm::new();
    assert!(vm.machine.launch_page(LARGE + PAGE, false));
    let entry = vm.entry(LARGE + PAGE);
    assert!(entry.is(State::ASSIGNED | State::VALIDATED) && !entry.is(State::VMSA));
    assert_eq!(entry.size(), Small);
    assert_eq!(entry.permissions(Vmpl::Vmpl0), RWX);
    for lower in [Vmpl::Vmpl1, Vmpl::Vmpl2, Vmpl::Vmpl3] {
        assert_eq!(entry.permissions(lower), Permissions::empty());
    }
    assert!(!vm.entry(LARGE).is(State::VALIDATED), "its neighbours are not launched with it");
}

#[test]
fn a_launched_vmsa_has_the_vmsa_attribute() {
    let mut vm = Vm::new();
    assert!(vm.machine.launch_page(SMALL, true));
    assert!(vm.entry(SMALL).is(State::VMSA));
}

#[test]
fn nothing_is_launched_where_there_is_no_memory() {
    assert!(!Vm::new().machine.launch_page(NOWHERE, false));
}

#[test]
fn measured_contents_may_be_granted_without_being_written_again() {
    let mut vm = Vm::new();
    vm.machine.launch_page(SMALL, false);
    vm.grant(SMALL, Vmpl::Vmpl2, RWX);
    assert_eq!(vm.faults(), []);
}

#[test]
fn a_page_is_read_as_the_security_processor_sees_it() {
    let mut vm = Vm::new();
    vm.memory.write(SMALL + 5, b"abc");
    let page = vm.machine.page(SMALL, &vm.memory);
    assert_eq!((&page[..5], &page[5..8]), (&[0; 5][..], &b"abc"[..]));
}
