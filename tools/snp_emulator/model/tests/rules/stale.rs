//! Translations that outlive the rights that they were made with.

use crate::machine::{PARAVISOR, SMALL, Vm};
use model::stale::{Cause, Stale};
use model::{Fault, Kind};
use snp_abi::address::PageSize::Small;
use snp_abi::ghcb::page_state::PageOperation;
use snp_abi::rmp::Vmpl;

const PAGE: u64 = 0x7000;
/// VMPL2, as a bit mask.
const VMPL2: u8 = 1 << 2;

fn stale(cause: Cause) -> Stale {
    let mut stale = Stale::default();
    stale.note(PAGE, 2, 0b11, VMPL2, cause);
    stale
}

#[test]
fn a_page_is_stale_for_the_vcpus_and_levels_that_used_it() {
    let stale = stale(Cause::Rescinded);
    assert!(stale.held_by(PAGE + 0x1fff, 1, Vmpl::Vmpl2), "both pages, any byte of them");
    assert!(!stale.held_by(PAGE + 0x2000, 1, Vmpl::Vmpl2));
    assert!(!stale.held_by(PAGE, 2, Vmpl::Vmpl2));
    assert!(!stale.held_by(PAGE, 1, Vmpl::Vmpl0));
    assert_eq!(stale.first_in(PAGE, 0x1000), Some(PAGE));
    assert_eq!(stale.first_in(0, PAGE), None);
}

#[test]
fn a_page_that_nobody_used_is_not_stale() {
    let mut stale = Stale::default();
    stale.note(PAGE, 1, 0, VMPL2, Cause::Rescinded);
    stale.note(PAGE, 1, 0b1, 0, Cause::Rescinded);
    assert_eq!(stale.first_in(0, u64::MAX), None);
}

#[test]
fn a_flush_of_one_vcpu_is_not_a_flush_of_the_other() {
    let mut stale = stale(Cause::Rescinded);
    assert!(stale.is_held_by_vcpu(0) && !stale.is_held_by_vcpu(5));
    stale.flush_vcpu(0);
    assert!(!stale.is_held_by_vcpu(0));
    assert!(!stale.held_by(PAGE, 0, Vmpl::Vmpl2) && stale.held_by(PAGE, 1, Vmpl::Vmpl2));
    stale.flush_vcpu(1);
    assert_eq!(stale.first_in(PAGE, 0x2000), None);
}

#[test]
fn a_flush_of_all_ends_everything() {
    let mut stale = stale(Cause::Restricted);
    stale.flush_all();
    assert_eq!(stale.first_in(PAGE, 0x2000), None);
}

#[test]
fn rights_that_come_back_heal_a_restriction_and_not_a_rescission() {
    let mut restricted = stale(Cause::Restricted);
    restricted.granted(PAGE, 1, Vmpl::Vmpl2);
    assert!(!restricted.held_by(PAGE, 0, Vmpl::Vmpl2));
    assert!(restricted.held_by(PAGE + 0x1000, 0, Vmpl::Vmpl2), "only the page that was granted");
    let mut rescinded = stale(Cause::Rescinded);
    rescinded.granted(PAGE, 1, Vmpl::Vmpl2);
    assert!(rescinded.held_by(PAGE, 0, Vmpl::Vmpl2));
}

#[test]
fn what_hardware_allows_is_a_breach_of_our_claims_and_nothing_to_others() {
    let rescind_and_share = |claims| {
        let mut vm = Vm::new();
        vm.machine.configuration.claims = claims;
        vm.give(SMALL);
        vm.pvalidate(SMALL, Small, false);
        let shared =
            vm.machine.change_page_state(PARAVISOR, SMALL, Small, PageOperation::Shared, &mut vm.memory);
        assert!(shared.is_ok());
        vm.faults()
    };
    assert_eq!(rescind_and_share(false), []);
    let breach = rescind_and_share(true);
    assert_eq!(breach, [Fault::SharedBeforeFlush { address: SMALL }]);
    assert_eq!(breach[0].kind(), Kind::Breach);
    assert_eq!(Fault::StaleTranslation { address: SMALL }.kind(), Kind::Fault);
}
