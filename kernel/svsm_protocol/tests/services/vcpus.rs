//! CREATE_VCPU and DELETE_VCPU (AMD 58019, chapter 6): each check, and what becomes of VMSAs and calling areas.

use crate::vm::{
    APIC_IDS, BOOT_AREA, BOOT_VMSA, Call, GRANTED, HOLE, LEDGER_END, MIB, Operation, REGION, Vm, context,
};
use core::mem::offset_of;
use model::Contents;
use model::rmp::State;
use snp_abi::rmp::{Permissions, Vmpl};
use snp_abi::svsm::ResultCode;
use snp_abi::vmsa::{Vmsa, start::EFER_SVME};
use svsm_protocol::{GuestAccess, GuestAddress, PageState};

const VMSA: u64 = GRANTED.start + 0x1000;
const AREA: u64 = GRANTED.start + 0x2000;

fn vm_with_vmsa() -> Vm {
    let vm = Vm::new();
    vm.prepare_vmsa(VMSA);
    vm
}

fn state(vm: &Vm, page: u64) -> PageState {
    vm.svsm.ledger.state(GuestAddress(page))
}

#[test]
fn a_created_vmsa_is_read_only_for_its_guest_and_calls() {
    let vm = vm_with_vmsa();
    assert_eq!(vm.create(VMSA, AREA, 1), ResultCode::Success);
    assert_eq!((state(&vm, VMSA), state(&vm, AREA)), (PageState::Vmsa, PageState::CallingArea));
    let entry = *vm.lock().model.rmp.entry(VMSA).unwrap();
    assert!(entry.is(State::VMSA));
    assert_eq!(entry.permissions(Vmpl::Vmpl2), Permissions::READ);
    let answer = vm.call_from(1, context(VMSA, AREA), Call::core(6, 1)).unwrap();
    assert_eq!(answer.result, ResultCode::Success);
}

#[test]
fn the_new_calling_area_starts_clear() {
    let vm = vm_with_vmsa();
    vm.lock().memory.write(AREA, &[0xff; 9]);
    assert_eq!(vm.create(VMSA, AREA, 1), ResultCode::Success);
    let mut bytes = [0; 9];
    vm.lock().memory.read(AREA, &mut bytes);
    assert_eq!(bytes, [0, 0, 0, 0, 0, 0, 0, 0, 0xff]);
}

#[test]
fn the_page_is_taken_and_flushed_before_it_is_judged() {
    let vm = vm_with_vmsa();
    vm.lock().log.clear();
    assert_eq!(vm.create(VMSA, AREA, 1), ResultCode::Success);
    let host = vm.lock();
    let place = |wanted: Operation| host.log.iter().position(|operation| *operation == wanted).unwrap();
    let taken = place(Operation::SetAccess { address: VMSA, access: GuestAccess::None });
    let flushed = place(Operation::Flush);
    let read = |operation: &Operation| matches!(*operation, Operation::Read { address, .. } if address & !0xfff == VMSA);
    let judged = host.log.iter().position(read).unwrap();
    let made = place(Operation::SetAccess { address: VMSA, access: GuestAccess::Vmsa });
    assert!(taken < flushed && flushed < judged && judged < made, "{:?}", host.log);
}

#[test]
fn unaligned_equal_or_2_mib_aligned_pages_are_an_invalid_parameter() {
    let vm = vm_with_vmsa();
    let pairs = [(VMSA + 8, AREA), (VMSA, AREA + 8), (VMSA, VMSA), (VMSA | 0xfff, AREA)];
    for (vmsa, area) in pairs.into_iter().chain([(2 * MIB, AREA), (0, AREA)]) {
        assert_eq!(vm.create(vmsa, area, 1), ResultCode::InvalidParameter, "{vmsa:#x} {area:#x}");
    }
}

#[test]
fn a_vmsa_or_calling_area_that_is_not_ordinary_memory_is_an_invalid_address() {
    let vm = vm_with_vmsa();
    let (other_vmsa, other_area) = (GRANTED.start + 0x5000, GRANTED.start + 0x6000);
    vm.prepare_vmsa(other_vmsa);
    assert_eq!(vm.create(other_vmsa, other_area, 2), ResultCode::Success);
    let foreign = [REGION + 0x1000, BOOT_VMSA, BOOT_AREA, other_vmsa, other_area, GRANTED.end, HOLE.start];
    for page in foreign.into_iter().chain([LEDGER_END + 0x1000, 1 << 52 | 0x1000, !0xfff]) {
        assert_eq!(vm.create(page, AREA, 1), ResultCode::InvalidAddress, "VMSA {page:#x}");
        assert_eq!(vm.create(VMSA, page, 1), ResultCode::InvalidAddress, "area {page:#x}");
    }
}

#[test]
fn a_replugged_vcpu_may_keep_its_calling_area() {
    let vm = vm_with_vmsa();
    let next = GRANTED.start + 0x5000;
    vm.prepare_vmsa(next);
    assert_eq!(vm.create(VMSA, AREA, 1), ResultCode::Success);
    assert_eq!(vm.create(next, AREA, 1), ResultCode::Success);
    // Each of the two is answered in its own registers.
    for vmsa in [VMSA, next] {
        let answer = vm.call_from(1, context(vmsa, AREA), Call::core(6, 1)).unwrap();
        assert_eq!(answer.result, ResultCode::Success);
    }
    assert_eq!(vm.delete(VMSA), ResultCode::Success);
    assert_eq!(state(&vm, AREA), PageState::CallingArea);
    assert_eq!(vm.delete(next), ResultCode::Success);
    assert_eq!(state(&vm, AREA), PageState::Guest);
}

#[test]
fn a_calling_area_that_two_vmsas_have_stays_one_when_one_of_them_moves() {
    let vm = vm_with_vmsa();
    let (next, moved) = (GRANTED.start + 0x5000, GRANTED.start + 0x6000);
    vm.prepare_vmsa(next);
    assert_eq!(vm.create(VMSA, AREA, 1), ResultCode::Success);
    assert_eq!(vm.create(next, AREA, 1), ResultCode::Success);
    let answer = vm.call_from(1, context(next, AREA), Call::core(0, moved)).unwrap();
    assert_eq!(answer.result, ResultCode::Success);
    assert_eq!((state(&vm, AREA), state(&vm, moved)), (PageState::CallingArea, PageState::CallingArea));
    assert_eq!(vm.call_from(1, context(VMSA, AREA), Call::core(6, 1)).unwrap().result, ResultCode::Success);
}

#[test]
fn an_unknown_apic_id_is_an_invalid_parameter() {
    let vm = vm_with_vmsa();
    for id in [3, 8, 0xffff_ffff, 1 << 32 | 1, u64::MAX] {
        assert!(!APIC_IDS.iter().any(|known| u64::from(*known) == id));
        assert_eq!(vm.create(VMSA, AREA, id), ResultCode::InvalidParameter, "{id:#x}");
    }
}

#[test]
fn a_vmsa_of_another_level_is_an_invalid_parameter() {
    let vm = vm_with_vmsa();
    for vmpl in [0, 1, 3, 4, 0xff] {
        vm.lock().memory.write(VMSA + offset_of!(Vmsa, vmpl) as u64, &[vmpl]);
        assert_eq!(vm.create(VMSA, AREA, 1), ResultCode::InvalidParameter, "VMPL {vmpl}");
    }
}

#[test]
fn a_vmsa_without_svme_is_an_invalid_parameter() {
    let vm = vm_with_vmsa();
    vm.lock().memory.write_u64(VMSA + offset_of!(Vmsa, efer) as u64, !EFER_SVME);
    assert_eq!(vm.create(VMSA, AREA, 1), ResultCode::InvalidParameter);
}

#[test]
fn a_vmsa_with_other_features_than_its_creators_is_an_invalid_parameter() {
    let vm = vm_with_vmsa();
    for features in [0, 3, 1 << 3 | 1, u64::MAX] {
        vm.lock().memory.write_u64(VMSA + offset_of!(Vmsa, sev_features) as u64, features);
        assert_eq!(vm.create(VMSA, AREA, 1), ResultCode::InvalidParameter, "{features:#x}");
    }
}

#[test]
fn one_vcpu_has_room_for_four_vmsas() {
    let vm = Vm::new();
    let page = |number: u64| GRANTED.start + number * 0x1000;
    for number in 0..4 {
        vm.prepare_vmsa(page(2 * number));
        assert_eq!(vm.create(page(2 * number), page(2 * number + 1), 1), ResultCode::Success);
    }
    vm.prepare_vmsa(page(8));
    assert_eq!(vm.create(page(8), page(9), 1), ResultCode::InvalidRequest);
    assert_eq!(vm.delete(page(2)), ResultCode::Success);
    assert_eq!(vm.create(page(8), page(9), 1), ResultCode::Success);
}

#[test]
fn the_vmsa_with_a_call_pending_is_the_one_that_is_served() {
    let vm = Vm::new();
    let page = |number: u64| GRANTED.start + number * 0x1000;
    for number in [0, 2] {
        vm.prepare_vmsa(page(number));
        assert_eq!(vm.create(page(number), page(number + 1), 1), ResultCode::Success);
    }
    for number in [0, 2, 0] {
        let place = context(page(number), page(number + 1));
        assert_eq!(vm.call_from(1, place, Call::core(6, 1)).unwrap().rcx, 1 << 32 | 1);
    }
}

#[test]
fn a_deleted_vmsa_and_its_area_are_ordinary_memory_and_cannot_run() {
    let vm = vm_with_vmsa();
    assert_eq!(vm.create(VMSA, AREA, 1), ResultCode::Success);
    assert_eq!(vm.delete(VMSA), ResultCode::Success);
    assert_eq!((state(&vm, VMSA), state(&vm, AREA)), (PageState::Guest, PageState::Guest));
    let host = vm.lock();
    assert!(!host.model.rmp.entry(VMSA).unwrap().is(State::VMSA));
    assert_eq!(host.memory.read_u64(VMSA + offset_of!(Vmsa, efer) as u64) & EFER_SVME, 0);
}

#[test]
fn deleting_what_is_no_vmsa_is_an_invalid_parameter() {
    let vm = vm_with_vmsa();
    assert_eq!(vm.create(VMSA, AREA, 1), ResultCode::Success);
    for address in [AREA, VMSA + 8, VMSA + 1, REGION, BOOT_AREA, GRANTED.end, HOLE.start, 1 << 52, !0xfff] {
        assert_eq!(vm.delete(address), ResultCode::InvalidParameter, "{address:#x}");
    }
    assert_eq!(vm.delete(VMSA), ResultCode::Success);
    assert_eq!(vm.delete(VMSA), ResultCode::InvalidParameter, "twice");
}

#[test]
fn a_vcpu_cannot_delete_the_vmsa_that_it_runs() {
    let vm = Vm::new();
    assert_eq!(vm.delete(BOOT_VMSA), ResultCode::InvalidParameter);
}

#[test]
fn a_vmsa_that_runs_is_not_freed_and_not_changed() {
    let vm = vm_with_vmsa();
    assert_eq!(vm.create(VMSA, AREA, 1), ResultCode::Success);
    let run = |inside: bool| {
        let host = &mut vm.lock().model.vcpus[1];
        host.vmsas[Vmpl::Vmpl2.index()] = Some(VMSA);
        host.current = Vmpl::Vmpl2;
        host.inside = inside;
    };
    run(true);
    assert_eq!(vm.delete(VMSA), ResultCode::InvalidRequest);
    let answer = vm.call_from(1, context(VMSA, AREA), Call::core(6, 1)).unwrap();
    assert_eq!(answer.result, ResultCode::Success, "the vCPU goes on as before");
    run(false);
    assert_eq!(vm.delete(VMSA), ResultCode::Success);
}

#[test]
fn the_first_vmsa_stays_the_firmwares_when_it_is_deleted() {
    let vm = vm_with_vmsa();
    assert_eq!(vm.create(VMSA, AREA, 1), ResultCode::Success);
    let answer = vm.call_from(1, context(VMSA, AREA), Call::core(3, BOOT_VMSA)).unwrap();
    assert_eq!(answer.result, ResultCode::Success);
    assert_eq!(state(&vm, BOOT_VMSA), PageState::Own, "no page of the firmware's ever is the guest's");
    let permissions = vm.lock().model.rmp.entry(BOOT_VMSA).unwrap().permissions(Vmpl::Vmpl2);
    assert_eq!(permissions, Permissions::empty());
    assert_eq!(state(&vm, BOOT_AREA), PageState::Guest);
}

#[test]
fn no_page_of_the_firmwares_is_ever_granted() {
    let vm = vm_with_vmsa();
    for page in (REGION..REGION + 2 * MIB).step_by(0x8000) {
        for (call, rdx) in [(0, 0), (1, 0), (2, AREA), (3, 0)] {
            let answer = vm.call(Call { rax: call, rcx: page, rdx, r8: 1 });
            assert_ne!(answer.result, ResultCode::Success, "call {call} on {page:#x}");
        }
        assert_ne!(vm.create(VMSA, page, 1), ResultCode::Success, "area {page:#x}");
        for bits in 0..16 {
            assert_ne!(vm.pvalidate(&[page | bits]).0, ResultCode::Success, "entry {:#x}", page | bits);
        }
    }
}
