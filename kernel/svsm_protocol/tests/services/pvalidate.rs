//! PVALIDATE (AMD 58019, chapter 6): each check of list and entry, and what happens to the pages.

use crate::vm::{
    BOOT_AREA, BOOT_VMSA, Call, Fault, GRANTED, HOLE, LEDGER_END, MIB, Operation, REGION, Vm, context,
};
use model::Contents;
use model::rmp::State;
use snp_abi::address::PageSize;
use snp_abi::rmp::RmpStatus;
use snp_abi::svsm::ResultCode;
use snp_abi::svsm::core_protocol::{PVALIDATE_NO_CHANGE, pvalidate_failure};
use svsm_protocol::{Fatal, GuestAccess, GuestAddress, PageState};

/// Memory that is not validated, in the first 2 MiB.
const FREE: u64 = GRANTED.end;
/// A whole 2 MiB that is not validated.
const LARGE: u64 = 2 * MIB;
const LIST: u64 = GRANTED.start;

pub const fn validate(address: u64) -> u64 {
    address | 1 << 2
}

pub const fn rescind(address: u64) -> u64 {
    address
}

pub const fn large(entry: u64) -> u64 {
    entry | 1
}

pub const fn ignoring(entry: u64) -> u64 {
    entry | 1 << 3
}

fn size_mismatch() -> ResultCode {
    pvalidate_failure(RmpStatus::FailSizeMismatch).unwrap()
}

fn state(vm: &Vm, page: u64) -> PageState {
    vm.svsm.ledger.state(GuestAddress(page))
}

#[test]
fn a_page_is_validated_then_zeroed_then_granted() {
    let vm = Vm::new();
    vm.lock().log.clear();
    assert_eq!(vm.pvalidate(&[validate(FREE)]), (ResultCode::Success, 1));
    assert_eq!(state(&vm, FREE), PageState::Guest);
    let host = vm.lock();
    assert!(host.memory.is_zero(FREE));
    let place = |wanted: Operation| host.log.iter().position(|operation| *operation == wanted).unwrap();
    let validated = place(Operation::Pvalidate { address: FREE, size: PageSize::Small, validate: true });
    let granted = place(Operation::SetAccess { address: FREE, access: GuestAccess::Full });
    let zeroed = place(Operation::Zero(FREE));
    assert!(validated < zeroed && zeroed < granted, "{:?}", host.log);
}

#[test]
fn a_page_is_taken_away_then_rescinded_then_flushed() {
    let vm = Vm::new();
    let page = LIST;
    vm.lock().log.clear();
    assert_eq!(vm.pvalidate(&[rescind(page)]), (ResultCode::Success, 1));
    assert_eq!(state(&vm, page), PageState::Unvalidated);
    let host = vm.lock();
    let place = |wanted: Operation| host.log.iter().position(|operation| *operation == wanted).unwrap();
    let taken = place(Operation::SetAccess { address: page, access: GuestAccess::None });
    let rescinded = place(Operation::Pvalidate { address: page, size: PageSize::Small, validate: false });
    assert!(taken < rescinded && rescinded < place(Operation::Flush), "{:?}", host.log);
}

#[test]
fn many_rescinded_pages_need_one_flush() {
    let vm = Vm::new();
    vm.lock().log.clear();
    let entries: Vec<u64> = (0..16).map(|page| rescind(LIST + page * 0x1000)).collect();
    assert_eq!(vm.pvalidate(&entries), (ResultCode::Success, 16));
    assert_eq!(vm.lock().log.iter().filter(|operation| **operation == Operation::Flush).count(), 1);
}

#[test]
#[should_panic(expected = "contents that its assignment left")]
fn a_machine_that_skips_the_zeroing_is_found_out() {
    let vm = Vm::new();
    vm.lock().fault = Some(Fault::Zeroing);
    vm.pvalidate(&[validate(FREE)]);
}

#[test]
#[should_panic(expected = "counts as given back before it was flushed")]
fn a_machine_that_skips_the_flush_is_found_out() {
    let vm = Vm::new();
    vm.lock().fault = Some(Fault::Flush);
    vm.pvalidate(&[rescind(LIST)]);
}

#[test]
fn validating_twice_is_reported_and_changes_nothing() {
    let vm = Vm::new();
    vm.lock().memory.write(LIST, b"the guest's data");
    assert_eq!(vm.pvalidate(&[validate(LIST)]), (PVALIDATE_NO_CHANGE, 0));
    assert_eq!(vm.pvalidate(&[ignoring(validate(LIST))]), (ResultCode::Success, 1));
    assert!(!vm.lock().memory.is_zero(LIST), "an ignored entry does not touch the page either");
}

#[test]
fn rescinding_twice_is_reported() {
    let vm = Vm::new();
    assert_eq!(vm.pvalidate(&[rescind(LIST)]), (ResultCode::Success, 1));
    assert_eq!(vm.pvalidate(&[rescind(LIST)]), (PVALIDATE_NO_CHANGE, 0));
    assert_eq!(vm.pvalidate(&[ignoring(rescind(LIST))]), (ResultCode::Success, 1));
}

#[test]
fn validate_rescind_and_validate_again_in_one_list() {
    let vm = Vm::new();
    vm.lock().memory.write(LIST, &[7; 64]);
    let entries = [rescind(LIST), validate(LIST), validate(FREE), rescind(FREE)];
    assert_eq!(vm.pvalidate(&entries), (ResultCode::Success, 4));
    assert!(vm.lock().memory.is_zero(LIST));
    assert_eq!((state(&vm, LIST), state(&vm, FREE)), (PageState::Guest, PageState::Unvalidated));
}

#[test]
fn a_host_that_mapped_a_page_twice_ends_the_firmware() {
    let vm = Vm::new();
    // The RMP has the page validated, and the ledger knows that this firmware never did it.
    vm.lock().model.launch_page(FREE, false);
    vm.write_list(BOOT_AREA + 8, &[validate(FREE)], 0);
    let call = Call::core(1, BOOT_AREA + 8);
    let served = vm.call_during(0, context(BOOT_VMSA, BOOT_AREA), call, None);
    assert_eq!(served, Err(Fatal::DoubleMapping));
}

#[test]
fn a_page_that_the_host_took_back_is_not_rescinded_twice() {
    let vm = Vm::new();
    vm.lock().model.rmp.entry_mut(LIST).unwrap().state.remove(State::VALIDATED);
    vm.write_list(BOOT_AREA + 8, &[rescind(LIST)], 0);
    let call = Call::core(1, BOOT_AREA + 8);
    assert!(vm.call_during(0, context(BOOT_VMSA, BOOT_AREA), call, None).is_err());
}

#[test]
fn a_large_page_is_one_operation_where_the_rmp_has_it_large() {
    let vm = Vm::new();
    vm.lock().log.clear();
    assert_eq!(vm.pvalidate(&[large(validate(LARGE))]), (ResultCode::Success, 1));
    assert_eq!(state(&vm, LARGE + 511 * 0x1000), PageState::Guest);
    assert!(vm.lock().memory.is_zero(LARGE + 511 * 0x1000));
    let wanted = Operation::Pvalidate { address: LARGE, size: PageSize::Large, validate: true };
    assert_eq!(vm.lock().log.iter().filter(|operation| **operation == wanted).count(), 1);
    assert_eq!(vm.pvalidate(&[large(rescind(LARGE))]), (ResultCode::Success, 1));
}

#[test]
fn a_large_page_that_the_rmp_has_as_small_ones_is_a_size_mismatch() {
    let vm = Vm::new();
    vm.lock().model.rmp.smash(LARGE);
    assert_eq!(vm.pvalidate(&[large(validate(LARGE))]), (size_mismatch(), 0));
    let small: Vec<u64> = (0..500).map(|page| validate(LARGE + page * 0x1000)).collect();
    assert_eq!(vm.pvalidate(&small), (ResultCode::Success, 500));
    let rest: Vec<u64> = (500..512).map(|page| validate(LARGE + page * 0x1000)).collect();
    assert_eq!(vm.pvalidate(&rest), (ResultCode::Success, 12));
    assert_eq!(vm.pvalidate(&[large(rescind(LARGE))]), (size_mismatch(), 0), "rescinding as well");
}

#[test]
fn a_large_page_of_mixed_state_is_a_size_mismatch() {
    let vm = Vm::new();
    assert_eq!(vm.pvalidate(&[validate(LARGE + 0x5000)]), (ResultCode::Success, 1));
    assert_eq!(vm.pvalidate(&[large(validate(LARGE))]), (size_mismatch(), 0));
    assert_eq!(vm.pvalidate(&[large(rescind(LARGE))]), (size_mismatch(), 0));
}

#[test]
fn a_large_page_with_a_vmsa_in_it_is_an_invalid_address() {
    let vm = Vm::new();
    let (vmsa, area) = (LARGE + 0x1000, LARGE + 0x2000);
    assert_eq!(vm.pvalidate(&[large(validate(LARGE))]), (ResultCode::Success, 1));
    vm.prepare_vmsa(vmsa);
    assert_eq!(vm.create(vmsa, area, 1), ResultCode::Success);
    assert_eq!(vm.pvalidate(&[large(rescind(LARGE))]), (ResultCode::InvalidAddress, 0));
}

#[test]
fn pages_that_are_no_ordinary_memory_are_an_invalid_address() {
    let vm = Vm::new();
    let (vmsa, area) = (LIST + 0x1000, LIST + 0x2000);
    vm.prepare_vmsa(vmsa);
    assert_eq!(vm.create(vmsa, area, 1), ResultCode::Success);
    let addresses = [REGION, REGION + 0x1f_f000, BOOT_VMSA, BOOT_AREA, vmsa, area, HOLE.start, LEDGER_END];
    for address in addresses.into_iter().chain([1 << 51, 1 << 52, 0xffff_ffff_f000, !0xfff]) {
        for entry in [validate(address), rescind(address), ignoring(validate(address))] {
            assert_eq!(vm.pvalidate(&[entry]), (ResultCode::InvalidAddress, 0), "{entry:#x}");
        }
    }
    for entry in [large(validate(REGION)), large(rescind(REGION)), large(validate(LEDGER_END))] {
        assert_eq!(vm.pvalidate(&[entry]), (ResultCode::InvalidAddress, 0), "{entry:#x}");
    }
}

#[test]
fn malformed_entries_are_an_invalid_parameter() {
    let vm = Vm::new();
    let reserved = (4..12).map(|bit| validate(FREE) | 1 << bit);
    let sizes = [2, 3].map(|size| validate(FREE) | size);
    let unaligned = [large(validate(LARGE + 0x1000)), large(rescind(FREE))];
    for entry in reserved.chain(sizes).chain(unaligned) {
        assert_eq!(vm.pvalidate(&[entry]), (ResultCode::InvalidParameter, 0), "{entry:#x}");
    }
}

#[test]
fn a_failing_entry_stops_the_list_and_next_names_it() {
    let vm = Vm::new();
    let entries = [validate(FREE), validate(FREE + 0x1000), validate(REGION), validate(FREE + 0x2000)];
    assert_eq!(vm.pvalidate(&entries), (ResultCode::InvalidAddress, 2));
    assert_eq!(state(&vm, FREE + 0x1000), PageState::Guest);
    assert_eq!(state(&vm, FREE + 0x2000), PageState::Unvalidated);
}

#[test]
fn a_list_goes_on_at_its_next_index() {
    let vm = Vm::new();
    let entries = [validate(REGION), validate(FREE), validate(FREE + 0x1000)];
    assert_eq!(vm.pvalidate_at(BOOT_AREA + 8, &entries, 1), (ResultCode::Success, 3));
    assert_eq!(state(&vm, FREE + 0x1000), PageState::Guest);
}

#[test]
fn a_list_may_end_with_its_page_and_not_behind_it() {
    let vm = Vm::new();
    assert_eq!(vm.pvalidate_at(LIST + 0xff0, &[validate(FREE)], 0), (ResultCode::Success, 1));
    let refused = |list: u64, header: u64| {
        vm.lock().memory.write_u64(list, header);
        vm.call(Call::core(1, list)).result
    };
    assert_eq!(refused(LIST + 0xff0, 2), ResultCode::InvalidParameter, "two entries, room for one");
    assert_eq!(refused(LIST + 0xff8, 1), ResultCode::InvalidParameter, "room for the header alone");
    assert_eq!(refused(LIST, 512), ResultCode::InvalidParameter);
    assert_eq!(refused(LIST, 0xffff), ResultCode::InvalidParameter);
}

#[test]
fn a_list_without_entries_or_with_next_behind_them_is_an_invalid_parameter() {
    let vm = Vm::new();
    assert_eq!(vm.pvalidate(&[]).0, ResultCode::InvalidParameter);
    for next in [1, 2, 0xffff] {
        let result = vm.pvalidate_at(BOOT_AREA + 8, &[validate(FREE)], next);
        assert_eq!(result, (ResultCode::InvalidParameter, next));
    }
}

#[test]
fn a_list_at_a_bad_place_is_refused() {
    let vm = Vm::new();
    for address in [LIST + 1, LIST + 4, LIST + 7, u64::MAX] {
        let result = vm.call(Call::core(1, address)).result;
        assert_eq!(result, ResultCode::InvalidParameter, "{address:#x}");
    }
    let vmsa = LIST + 0x1000;
    vm.prepare_vmsa(vmsa);
    assert_eq!(vm.create(vmsa, LIST + 0x2000, 1), ResultCode::Success);
    for address in [REGION, BOOT_VMSA, vmsa, FREE, HOLE.start, LEDGER_END, 1 << 52, !0xfff] {
        let result = vm.call(Call::core(1, address)).result;
        assert_eq!(result, ResultCode::InvalidAddress, "{address:#x}");
    }
}

#[test]
fn a_list_in_another_vcpus_calling_area_is_read_like_any_memory_of_the_guest() {
    let vm = Vm::new();
    let (vmsa, area) = (LIST + 0x1000, LIST + 0x2000);
    vm.prepare_vmsa(vmsa);
    assert_eq!(vm.create(vmsa, area, 1), ResultCode::Success);
    assert_eq!(vm.pvalidate_at(area + 8, &[validate(FREE)], 0), (ResultCode::Success, 1));
}

#[test]
fn no_byte_of_a_list_is_read_twice() {
    let vm = Vm::new();
    vm.lock().log.clear();
    let entries: Vec<u64> = (0..100).map(|page| validate(FREE + page * 0x1000)).collect();
    assert_eq!(vm.pvalidate_at(LIST, &entries, 0), (ResultCode::Success, 100));
    let host = vm.lock();
    let mut read = [0u8; 0x1000];
    for operation in &host.log {
        if let Operation::Read { address, bytes } = *operation
            && (LIST..LIST + 0x1000).contains(&address)
        {
            read[(address - LIST) as usize..][..bytes].iter_mut().for_each(|count| *count += 1);
        }
    }
    assert!(read[..8 + 800].iter().all(|count| *count == 1), "header and entries, once each");
    assert!(read[8 + 800..].iter().all(|count| *count == 0), "and nothing else");
}

#[test]
fn a_list_that_changes_while_it_is_served_is_carried_out_as_it_was_read() {
    let vm = Vm::new();
    vm.write_list(LIST, &[validate(FREE), validate(FREE + 0x1000)], 0);
    let mut flip = |vm: &Vm, _: Operation| vm.write_list(LIST, &[rescind(REGION), rescind(REGION)], 0);
    let call = Call::core(1, LIST);
    let answer = vm.call_during(0, context(BOOT_VMSA, BOOT_AREA), call, Some(&mut flip)).unwrap();
    assert_eq!(answer.result, ResultCode::Success);
    assert_eq!(state(&vm, FREE + 0x1000), PageState::Guest);
    crate::invariants::check(&vm);
}

#[test]
fn a_list_may_rescind_the_page_that_it_lies_in() {
    let vm = Vm::new();
    assert_eq!(vm.pvalidate_at(LIST, &[rescind(LIST)], 0).0, ResultCode::Success);
    assert_eq!(state(&vm, LIST), PageState::Unvalidated);
}

#[test]
fn a_long_list_of_large_pages_is_continued_by_the_same_call() {
    let vm = Vm::new();
    let one = [large(validate(LARGE)), large(rescind(LARGE))];
    let entries: Vec<u64> = one.iter().copied().cycle().take(2 * 20).collect();
    vm.write_list(LIST, &entries, 0);
    let mut calls = 0;
    loop {
        calls += 1;
        let answer = vm.call(Call::core(1, LIST));
        if answer.result == ResultCode::Success {
            break;
        }
        assert_eq!(answer.result, ResultCode::Incomplete);
        assert!(calls < 40, "every call makes progress");
    }
    assert_eq!(calls, 2, "16 pages of 2 MiB for each call");
}
