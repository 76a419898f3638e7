//! A guest that gives a page to the host and then calls about it: it gets a result code, the firmware goes on, and no page is
//! validated twice on the word of the host that the guest has it no more.

use crate::pvalidate::{rescind, validate};
use crate::vm::{BOOT_AREA, BOOT_VMSA, Call, GRANTED, MIB, Operation, View, Vm, context};
use snp_abi::svsm::ResultCode;
use svsm_protocol::{GuestAddress, PageState, ResetError, Served, Vcpu};

const VMSA: u64 = GRANTED.start + 0x1000;
const AREA: u64 = GRANTED.start + 0x2000;
const PAGE: u64 = GRANTED.start + 0x4000;

impl Vm {
    fn give_away(&self, page: u64) {
        self.lock().given_away.insert(page);
    }
}

fn vm_without(page: u64) -> Vm {
    let vm = Vm::new();
    vm.prepare_vmsa(VMSA);
    vm.give_away(page);
    vm.lock().log.clear();
    vm
}

/// The result of a call; that it does not end the firmware is the point.
fn answer(vm: &Vm, call: Call) -> ResultCode {
    vm.call_during(0, context(BOOT_VMSA, BOOT_AREA), call, None).expect("a guest ended the firmware").result
}

#[test]
fn arguments_in_a_page_of_the_hosts_are_an_invalid_address() {
    let vm = vm_without(PAGE);
    for call in [
        Call::core(0, PAGE),
        Call::core(1, PAGE),
        Call { rax: 2, rcx: PAGE, rdx: AREA, r8: 1 },
        Call { rax: 2, rcx: VMSA, rdx: PAGE, r8: 1 },
        Call { rax: 1 << 32, rcx: PAGE, ..Call::default() },
        Call { rax: 1 << 32 | 1, rcx: PAGE, ..Call::default() },
    ] {
        assert_eq!(answer(&vm, call), ResultCode::InvalidAddress, "{call:x?}");
    }
    // Nothing of it is left over: both pages can still do what they could.
    assert_eq!(vm.create(VMSA, AREA, 1), ResultCode::Success);
}

#[test]
fn a_page_of_the_hosts_is_neither_rescinded_nor_validated_anew() {
    for size in [0, 1] {
        let vm = Vm::new();
        assert_eq!(vm.pvalidate(&[validate(2 * MIB) | 1]).0, ResultCode::Success);
        vm.give_away(2 * MIB);
        vm.lock().log.clear();
        let results: Vec<ResultCode> = [rescind(2 * MIB) | size, validate(2 * MIB), rescind(2 * MIB)]
            .iter()
            .map(|entry| {
                vm.write_list(BOOT_AREA + 8, &[*entry], 0);
                answer(&vm, Call::core(1, BOOT_AREA + 8))
            })
            .collect();
        assert!(!results.contains(&ResultCode::Success), "{results:?}");
        let validated = |operation: &Operation| matches!(operation, Operation::Pvalidate { address, validate: true, .. } if *address == 2 * MIB);
        assert!(!vm.lock().log.iter().any(validated), "validated twice");
    }
}

#[test]
fn the_other_small_pages_of_a_large_one_are_given_back_one_by_one() {
    let vm = Vm::new();
    assert_eq!(vm.pvalidate(&[validate(2 * MIB) | 1]).0, ResultCode::Success);
    vm.give_away(2 * MIB + 0x3000);
    vm.lock().model.rmp.smash(2 * MIB);
    vm.write_list(BOOT_AREA + 8, &[rescind(2 * MIB) | 1], 0);
    let mismatch = answer(&vm, Call::core(1, BOOT_AREA + 8));
    assert_eq!(mismatch, ResultCode::ProtocolSpecific(6));
    for page in 0..5 {
        vm.write_list(BOOT_AREA + 8, &[rescind(2 * MIB + page * 0x1000)], 0);
        let expected = if page == 3 { ResultCode::InvalidAddress } else { ResultCode::Success };
        assert_eq!(answer(&vm, Call::core(1, BOOT_AREA + 8)), expected, "page {page}");
    }
}

#[test]
fn a_call_from_a_calling_area_or_vmsa_of_the_hosts_is_not_answered() {
    for lost in [VMSA, AREA] {
        let vm = Vm::new();
        vm.prepare_vmsa(VMSA);
        assert_eq!(vm.create(VMSA, AREA, 1), ResultCode::Success);
        model::Contents::write(&mut vm.lock().memory, AREA, &[1]);
        vm.give_away(lost);
        let serve = || vm.svsm.serve(&mut View::new(&vm, 1), Vcpu(1)).unwrap();
        assert_eq!(serve(), Served::Nothing, "{lost:#x}");
        assert_eq!(serve(), Served::Nothing, "{lost:#x}");
        // The other vCPU goes on, and gets an answer about this one.
        let delete = answer(&vm, Call::core(3, VMSA));
        let expected = if lost == VMSA { ResultCode::InvalidAddress } else { ResultCode::Success };
        assert_eq!(delete, expected);
    }
}

#[test]
fn a_page_that_is_lost_while_it_is_validated_is_held() {
    let vm = Vm::new();
    let free = GRANTED.end;
    vm.write_list(BOOT_AREA + 8, &[validate(free)], 0);
    let mut meanwhile = |vm: &Vm, operation: Operation| {
        if matches!(operation, Operation::Zero(_)) {
            vm.give_away(free);
        }
    };
    let place = context(BOOT_VMSA, BOOT_AREA);
    let answer = vm.call_during(0, place, Call::core(1, BOOT_AREA + 8), Some(&mut meanwhile)).unwrap();
    assert_eq!(answer.result, ResultCode::InvalidAddress);
    assert_eq!(vm.svsm.ledger.state(GuestAddress(free)), PageState::Held);
    // The host gives it back as it was: it was validated once, and is zeroed again.
    vm.lock().given_away.clear();
    assert_eq!(vm.pvalidate(&[validate(free)]).0, ResultCode::Success);
}

#[test]
fn a_guest_that_has_given_a_page_away_is_not_reset() {
    let vm = vm_without(PAGE);
    let view = &mut View::new(&vm, 0);
    let stopped = vm.svsm.stop_guest(view).unwrap();
    assert_eq!(vm.svsm.retake_memory(&stopped, view), Err(ResetError::Lost(PAGE)));
}
