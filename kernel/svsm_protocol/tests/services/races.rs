//! Two vCPUs at once: another one calls between any two operations of a call, and vCPUs on threads of their own.

use crate::pvalidate::{rescind, validate};
use crate::vm::{BOOT_AREA, BOOT_VMSA, Call, GRANTED, Operation, Place, Vm, context};
use crate::{invariants, sequences};
use proptest::prelude::*;
use snp_abi::svsm::ResultCode;
use snp_abi::svsm::core_protocol::PVALIDATE_NO_CHANGE;
use svsm_protocol::{GuestAddress, PageState};

const FREE: u64 = GRANTED.end;
const VMSA: u64 = GRANTED.start + 0x1000;
const AREA: u64 = GRANTED.start + 0x2000;
/// Where the second vCPU's lists lie.
const LIST: u64 = GRANTED.start + 0x3000;

fn two_vcpus() -> Vm {
    let vm = Vm::new();
    vm.prepare_vmsa(VMSA);
    assert_eq!(vm.create(VMSA, AREA, 1), ResultCode::Success);
    vm
}

/// Where the two vCPUs call from.
struct Callers {
    boot: Place,
    other: Place,
}

fn follow(place: &mut Place, call: Call, result: ResultCode) {
    if call.rax == 0 && matches!(result, ResultCode::Success) {
        place.calling_area = call.rcx;
    }
}

/// The results of a call by the boot vCPU, and of `second` made by the other one before each of its operations.
fn interleave_from(
    vm: &Vm,
    callers: &mut Callers,
    first: Call,
    second: Call,
) -> (ResultCode, Vec<ResultCode>) {
    let mut others = Vec::new();
    let other = &mut callers.other;
    let mut meanwhile = |vm: &Vm, _: Operation| {
        let result = vm.call_during(1, *other, second, None).unwrap().result;
        follow(other, second, result);
        others.push(result);
    };
    let answer = vm.call_during(0, callers.boot, first, Some(&mut meanwhile)).unwrap();
    follow(&mut callers.boot, first, answer.result);
    invariants::check(vm);
    (answer.result, others)
}

fn interleave(vm: &Vm, first: Call, second: Call) -> (ResultCode, Vec<ResultCode>) {
    interleave_from(vm, &mut callers(), first, second)
}

fn callers() -> Callers {
    Callers { boot: context(BOOT_VMSA, BOOT_AREA), other: context(VMSA, AREA) }
}

#[test]
fn a_page_that_is_being_validated_is_busy_for_another_vcpu() {
    let vm = two_vcpus();
    vm.write_list(BOOT_AREA + 8, &[validate(FREE)], 0);
    vm.write_list(LIST, &[validate(FREE)], 0);
    let (first, others) = interleave(&vm, Call::core(1, BOOT_AREA + 8), Call::core(1, LIST));
    assert_eq!(first, ResultCode::Success);
    assert!(!others.is_empty() && others.iter().all(|result| *result == ResultCode::Busy), "{others:?}");
    let again = vm.call_from(1, context(VMSA, AREA), Call::core(1, LIST)).unwrap();
    assert_eq!(again.result, PVALIDATE_NO_CHANGE, "busy ends by itself");
}

#[test]
fn a_page_that_is_being_rescinded_is_busy_until_it_is_flushed() {
    let vm = two_vcpus();
    vm.write_list(BOOT_AREA + 8, &[rescind(GRANTED.start)], 0);
    vm.write_list(LIST, &[validate(GRANTED.start)], 0);
    let (first, others) = interleave(&vm, Call::core(1, BOOT_AREA + 8), Call::core(1, LIST));
    assert_eq!(first, ResultCode::Success);
    assert!(others.len() >= 3 && others.iter().all(|result| *result == ResultCode::Busy), "{others:?}");
}

#[test]
fn a_page_that_becomes_a_vmsa_is_busy_for_another_vcpu() {
    for second in
        [Call::core(0, FREE - 0x1000), Call { rax: 2, rcx: FREE - 0x1000, rdx: AREA + 0x5000, r8: 2 }]
    {
        let vm = two_vcpus();
        let vmsa = FREE - 0x1000;
        vm.prepare_vmsa(vmsa);
        let create = Call { rax: 2, rcx: vmsa, rdx: AREA + 0x4000, r8: 2 };
        let (first, others) = interleave(&vm, create, second);
        assert_eq!(first, ResultCode::Success);
        assert!(others.iter().all(|result| *result == ResultCode::Busy), "{others:?}");
    }
}

#[test]
fn a_vmsa_whose_call_is_served_is_busy_for_its_deletion() {
    let vm = two_vcpus();
    vm.write_list(LIST, &[validate(FREE)], 0);
    let mut results = Vec::new();
    let mut meanwhile = |vm: &Vm, _: Operation| {
        let delete = Call::core(3, VMSA);
        let place = context(BOOT_VMSA, BOOT_AREA);
        results.push(vm.call_during(0, place, delete, None).unwrap().result);
    };
    let call = Call::core(1, LIST);
    let answer = vm.call_during(1, context(VMSA, AREA), call, Some(&mut meanwhile)).unwrap();
    assert_eq!(answer.result, ResultCode::Success);
    assert!(results.iter().all(|result| *result == ResultCode::Busy), "{results:?}");
    assert_eq!(vm.delete(VMSA), ResultCode::Success);
}

#[test]
fn a_vmsa_that_is_being_made_is_busy_for_its_deletion() {
    let vm = two_vcpus();
    let vmsa = GRANTED.start + 0x8000;
    vm.prepare_vmsa(vmsa);
    let create = Call { rax: 2, rcx: vmsa, rdx: vmsa + 0x1000, r8: 2 };
    let (first, others) = interleave(&vm, create, Call::core(3, vmsa));
    assert_eq!(first, ResultCode::Success);
    // Before the first operation the page is claimed and the place is taken.
    assert!(others.len() >= 3 && others.iter().all(|result| *result == ResultCode::Busy), "{others:?}");
}

#[test]
fn the_last_place_of_a_vcpu_is_taken_once() {
    let vm = two_vcpus();
    let page = |number: u64| GRANTED.start + 0x8000 + number * 0x1000;
    for number in 0..3 {
        vm.prepare_vmsa(page(2 * number));
        assert_eq!(vm.create(page(2 * number), page(2 * number + 1), 2), ResultCode::Success);
    }
    vm.prepare_vmsa(page(6));
    vm.prepare_vmsa(page(8));
    let create = Call { rax: 2, rcx: page(6), rdx: page(7), r8: 2 };
    let rival = Call { rax: 2, rcx: page(8), rdx: page(9), r8: 2 };
    let (first, others) = interleave(&vm, create, rival);
    assert_eq!(first, ResultCode::Success);
    assert!(others.iter().all(|result| *result == ResultCode::InvalidRequest), "{others:?}");
    assert_eq!(vm.svsm.ledger.state(GuestAddress(page(8))), PageState::Guest);
}

proptest! {
    #![proptest_config(sequences::configuration(64))]

    #[test]
    fn any_call_between_the_operations_of_another_keeps_the_invariants(
        calls in prop::collection::vec((sequences::any_call(), sequences::any_call()), 1..12)
    ) {
        let vm = two_vcpus();
        let guest = sequences::Guest::new();
        let mut callers = callers();
        for (first, second) in calls {
            // A deletion holds the lock of the vCPU that it stops, so only the second call may be one on one thread.
            let first = guest.prepare(&vm, &first, BOOT_AREA + 8);
            let second = guest.prepare(&vm, &second, LIST);
            if first.rax & 0xffff_ffff != 3 {
                interleave_from(&vm, &mut callers, first, second);
            }
        }
    }
}

#[test]
fn four_vcpus_that_call_at_once_keep_the_invariants() {
    let vm = Vm::new();
    let page = |number: u64| GRANTED.start + number * 0x1000;
    let mut places = vec![context(BOOT_VMSA, BOOT_AREA)];
    for (vcpu, apic_id) in [(1, 1), (2, 2), (3, 7)] {
        vm.prepare_vmsa(page(2 * vcpu));
        assert_eq!(vm.create(page(2 * vcpu), page(2 * vcpu + 1), apic_id), ResultCode::Success);
        places.push(context(page(2 * vcpu), page(2 * vcpu + 1)));
    }
    std::thread::scope(|scope| {
        for (vcpu, place) in places.iter().enumerate() {
            let vm = &vm;
            scope.spawn(move || {
                let list = place.calling_area + 8;
                for round in 0..200u64 {
                    // All of them want the same few pages, and each goes through them in another order.
                    let free = FREE + (round * (vcpu as u64 + 1) % 8) * 0x1000;
                    let entries = [validate(free) | 1 << 3, rescind(free) | 1 << 3];
                    vm.write_list(list, &entries, 0);
                    let answer = vm.call_during(vcpu, *place, Call::core(1, list), None).unwrap();
                    let expected = [ResultCode::Success, ResultCode::Busy];
                    assert!(expected.contains(&answer.result), "{answer:x?}");
                }
            });
        }
    });
    invariants::check(&vm);
}
