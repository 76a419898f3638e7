//! RMP instructions that find their entry in use: the call is answered "busy" at the worst, nothing counts as done that was not,
//! and the same call, made again, ends as if nothing had been in the way.

use crate::invariants;
use crate::pvalidate::{rescind, validate};
use crate::vm::{BOOT_AREA, BOOT_VMSA, Call, GRANTED, MIB, Vm, context};
use model::rmp::State;
use snp_abi::svsm::ResultCode;
use svsm_protocol::{GuestAddress, PageState};

const VMSA: u64 = GRANTED.start + 0x1000;
const AREA: u64 = GRANTED.start + 0x2000;
const FREE: u64 = GRANTED.end;

/// A VM in which some pages have gone both ways already, and one with a second VMSA.
fn vm() -> Vm {
    let vm = Vm::new();
    vm.prepare_vmsa(VMSA);
    assert_eq!(vm.pvalidate(&[validate(2 * MIB) | 1]).0, ResultCode::Success);
    vm
}

fn with_second_vcpu() -> Vm {
    let vm = vm();
    assert_eq!(vm.create(VMSA, AREA, 1), ResultCode::Success);
    vm
}

/// What the guest can tell of its pages in the end.
fn states(vm: &Vm) -> Vec<PageState> {
    (0..8 * MIB).step_by(0x1000).map(|page| vm.svsm.ledger.state(GuestAddress(page))).collect()
}

/// Makes a call until it is not refused as busy; returns the last result and how often it was busy.
fn persist(vm: &Vm, call: Call) -> (ResultCode, usize) {
    for busy in 0..8 {
        let answer = vm.call_during(0, context(BOOT_VMSA, BOOT_AREA), call, None);
        let answer = answer.expect("an entry in use never ends the firmware");
        invariants::check(vm);
        if answer.result != ResultCode::Busy {
            return (answer.result, busy);
        }
    }
    panic!("busy for ever: {call:x?}");
}

/// Tries a call with the n-th RMP instruction finding its entry in use, for each n, and compares with the call undisturbed.
fn try_each(make: fn() -> Vm, entries: &[u64], call: Call) {
    let prepare = || {
        let vm = make();
        vm.write_list(BOOT_AREA + 8, entries, 0);
        vm.lock().rmp_instructions = 0;
        vm
    };
    let undisturbed = prepare();
    let (expected, _) = persist(&undisturbed, call);
    let instructions = undisturbed.lock().rmp_instructions;
    assert!(instructions > 0, "{call:x?} does nothing");
    let mut ever_busy = 0;
    for number in 1..=instructions {
        let vm = prepare();
        vm.lock().contended.insert(number);
        let (result, busy) = persist(&vm, call);
        ever_busy += busy;
        // DELETE_VCPU has an answer of its own for a VMSA that runs, which looks the same.
        if result == ResultCode::InvalidRequest && call.rax == 3 {
            assert_eq!(persist(&vm, call).0, expected);
        } else {
            assert_eq!(result, expected, "instruction {number} of {call:x?}");
        }
        assert_eq!(states(&vm), states(&undisturbed), "instruction {number} of {call:x?}");
    }
    assert!(ever_busy > 0 || call.rax == 3, "{call:x?} was never refused");
}

const LIST: Call = Call { rax: 1, rcx: BOOT_AREA + 8, rdx: 0, r8: 0 };

#[test]
fn pages_that_are_validated_or_rescinded_are_finished_by_the_same_call() {
    try_each(vm, &[validate(FREE)], LIST);
    try_each(vm, &[rescind(GRANTED.start)], LIST);
    try_each(vm, &[validate(6 * MIB) | 1], LIST);
    try_each(vm, &[rescind(2 * MIB) | 1], LIST);
    try_each(
        vm,
        &[validate(FREE), rescind(GRANTED.start), rescind(2 * MIB) | 1, validate(6 * MIB) | 1],
        LIST,
    );
}

#[test]
fn a_large_page_that_the_host_split_is_finished_piece_by_piece() {
    let split = || {
        let vm = vm();
        vm.lock().model.rmp.smash(2 * MIB);
        vm
    };
    try_each(split, &[rescind(2 * MIB)], LIST);
    try_each(split, &[rescind(2 * MIB + 0x5000), validate(2 * MIB + 0x5000)], LIST);
}

#[test]
fn a_vcpu_is_made_or_its_page_given_back_by_the_same_call() {
    let create = Call { rax: 2, rcx: VMSA, rdx: AREA, r8: 1 };
    try_each(vm, &[], create);
    // A VMSA that is refused goes back to the guest.
    let unacceptable = || {
        let vm = vm();
        vm.lock().memory.zero(VMSA, 0x1000);
        vm
    };
    try_each(unacceptable, &[], create);
}

#[test]
fn a_vcpu_is_deleted_by_the_same_call() {
    try_each(with_second_vcpu, &[], Call::core(3, VMSA));
}

/// What was wrong: the rights of the page were not taken, and the call went on to judge it.
#[test]
fn a_vmsa_whose_rights_were_not_taken_is_not_judged() {
    let vm = vm();
    vm.lock().rmp_instructions = 0;
    vm.lock().contended.insert(1);
    vm.lock().log.clear();
    assert_eq!(vm.create(VMSA, AREA, 1), ResultCode::Busy);
    let host = vm.lock();
    assert!(!host.model.rmp.entry(VMSA).unwrap().is(State::VMSA));
    assert_eq!(vm.svsm.ledger.state(GuestAddress(VMSA)), PageState::Guest);
}

#[test]
fn a_page_whose_rights_were_not_taken_is_not_rescinded() {
    let vm = vm();
    vm.lock().rmp_instructions = 0;
    vm.lock().contended.insert(1);
    assert_eq!(vm.pvalidate(&[rescind(GRANTED.start)]).0, ResultCode::Busy);
    assert!(vm.lock().model.rmp.entry(GRANTED.start).unwrap().is(State::VALIDATED));
    assert_eq!(vm.svsm.ledger.state(GuestAddress(GRANTED.start)), PageState::Guest);
}

#[test]
fn a_guest_is_reset_although_entries_are_in_use_for_a_moment() {
    for number in 1..40 {
        let vm = with_second_vcpu();
        vm.lock().rmp_instructions = 0;
        vm.lock().contended.extend([number, number + 1]);
        let mut view = crate::vm::View::new(&vm, 0);
        // In use is what a VMSA that runs is, too; whoever resets finds out by trying again.
        let stopped = (0..3).find_map(|_| vm.svsm.stop_guest(&mut view).ok()).expect("nothing runs");
        vm.svsm.retake_memory(&stopped, &mut view).unwrap();
        invariants::check(&vm);
        assert_eq!(vm.svsm.ledger.state(GuestAddress(VMSA)), PageState::Unvalidated);
    }
}
