//! Dispatch, QUERY_PROTOCOL, CONFIGURE_VTOM, DEPOSIT_MEM, WITHDRAW_MEM and REMAP_CA (AMD 58019, chapters 4 and 6).

use crate::vm::{BOOT_AREA, BOOT_VMSA, Call, GRANTED, HOLE, LEDGER_END, REGION, View, Vm, context};
use model::Contents;
use snp_abi::svsm::ResultCode;
use svsm_protocol::{GuestAddress, PageState, Served, Vcpu};

const PAGE: u64 = GRANTED.start;

fn refused(vm: &Vm, call: Call) -> ResultCode {
    let result = vm.call(call).result;
    assert_ne!(result, ResultCode::Success, "{call:x?}");
    result
}

#[test]
fn an_unknown_protocol_is_unsupported() {
    let vm = Vm::new();
    // This VM has no TPM, so that protocol 2 does not exist either.
    for protocol in [2, 3, 4, 5, 0x8000_0000, 0xffff_ffff] {
        let call = Call { rax: protocol << 32, ..Call::default() };
        assert_eq!(refused(&vm, call), ResultCode::UnsupportedProtocol, "{protocol:#x}");
    }
}

#[test]
fn an_unknown_call_of_a_known_protocol_is_unsupported() {
    let vm = Vm::new();
    for number in [8, 9, 0x8000_0000, 0xffff_ffff] {
        assert_eq!(refused(&vm, Call::core(number, 0)), ResultCode::UnsupportedCall, "{number:#x}");
    }
}

#[test]
fn depositing_and_withdrawing_memory_is_unsupported() {
    let vm = Vm::new();
    for number in [4, 5] {
        assert_eq!(refused(&vm, Call::core(number, PAGE)), ResultCode::UnsupportedCall);
    }
}

#[test]
fn query_protocol_tells_the_versions_of_a_protocol_or_zero() {
    let vm = Vm::new();
    let query = |protocol: u64, version: u64| vm.call(Call::core(6, protocol << 32 | version)).rcx;
    assert_eq!(query(0, 1), 1 << 32 | 1);
    for (protocol, version) in [(0, 0), (0, 2), (0, 0xffff_ffff), (9, 1), (0xffff_ffff, 1)] {
        assert_eq!(query(protocol, version), 0, "protocol {protocol} version {version}");
    }
}

#[test]
fn virtual_tom_can_be_asked_for_and_not_be_set() {
    let vm = Vm::new();
    let answer = vm.call(Call::core(7, 1));
    assert_eq!((answer.result, answer.rcx), (ResultCode::Success, 0));
    for rcx in [0, 2, 0x1_0000_0000] {
        assert_eq!(refused(&vm, Call::core(7, rcx)), ResultCode::InvalidRequest);
    }
}

#[test]
fn a_wake_up_without_the_pending_flag_serves_nothing_and_changes_nothing() {
    let vm = Vm::new();
    for flag in [0u8, 2, 0x81, 0xff] {
        vm.lock().memory.write(BOOT_AREA, &[flag]);
        let mut view = View::new(&vm, 0);
        assert_eq!(vm.svsm.serve(&mut view, Vcpu(0)), Ok(Served::Nothing), "flag {flag:#x}");
        let mut after = [0];
        vm.lock().memory.read(BOOT_AREA, &mut after);
        assert_eq!(after, [flag], "only a served call clears the flag");
    }
}

#[test]
fn a_vcpu_without_a_vmsa_or_without_a_number_is_served_nothing() {
    let vm = Vm::new();
    for vcpu in [1, 3, 4, usize::MAX] {
        assert_eq!(vm.svsm.serve(&mut View::new(&vm, 0), Vcpu(vcpu)), Ok(Served::Nothing));
    }
}

#[test]
fn a_served_call_clears_the_pending_flag() {
    let vm = Vm::new();
    vm.call(Call::core(99, 0));
    let mut flag = [1];
    vm.lock().memory.read(BOOT_AREA, &mut flag);
    assert_eq!(flag, [0]);
}

#[test]
fn arguments_are_read_once_from_the_vmsa() {
    let vm = Vm::new();
    vm.lock().log.clear();
    vm.call(Call::core(6, 1));
    let host = vm.lock();
    let mut reads: Vec<u64> = Vec::new();
    for operation in &host.log {
        if let crate::vm::Operation::Read { address, .. } = operation {
            assert!(!reads.contains(address), "{address:#x} read twice");
            reads.push(*address);
        }
    }
    assert!(reads.iter().any(|address| address & !0xfff == BOOT_VMSA));
}

#[test]
fn remap_moves_the_calling_area_and_clears_the_new_ones_header() {
    let vm = Vm::new();
    vm.lock().memory.write(PAGE, &[0xff; 16]);
    assert_eq!(vm.call(Call::core(0, PAGE)).result, ResultCode::Success);
    assert_eq!(vm.svsm.ledger.state(GuestAddress(PAGE)), PageState::CallingArea);
    assert_eq!(vm.svsm.ledger.state(GuestAddress(BOOT_AREA)), PageState::Guest);
    let mut bytes = [0; 9];
    vm.lock().memory.read(PAGE, &mut bytes);
    assert_eq!(bytes, [0, 0, 0, 0, 0, 0, 0, 0, 0xff], "8 bytes are cleared, and no more");
    let moved = vm.call_from(0, context(BOOT_VMSA, PAGE), Call::core(6, 1)).unwrap();
    assert_eq!(moved.result, ResultCode::Success);
}

#[test]
fn remap_to_the_same_page_succeeds_and_clears_nothing() {
    let vm = Vm::new();
    vm.lock().memory.write(BOOT_AREA + 1, &[7; 7]);
    assert_eq!(vm.call(Call::core(0, BOOT_AREA)).result, ResultCode::Success);
    let mut bytes = [0; 7];
    vm.lock().memory.read(BOOT_AREA + 1, &mut bytes);
    assert_eq!(bytes, [7; 7]);
}

#[test]
fn remap_to_an_unaligned_address_is_an_invalid_parameter() {
    let vm = Vm::new();
    for address in [PAGE + 1, PAGE + 8, PAGE + 0xfff, u64::MAX] {
        assert_eq!(refused(&vm, Call::core(0, address)), ResultCode::InvalidParameter, "{address:#x}");
    }
}

#[test]
fn remap_to_what_is_not_ordinary_guest_memory_is_an_invalid_address() {
    let vm = Vm::new();
    let (vmsa, area) = (PAGE + 0x1000, PAGE + 0x2000);
    vm.prepare_vmsa(vmsa);
    assert_eq!(vm.create(vmsa, area, 1), ResultCode::Success);
    let unvalidated = GRANTED.end;
    for address in [REGION, BOOT_VMSA, HOLE.start, unvalidated, vmsa, area, LEDGER_END, 1 << 52, !0xfff] {
        assert_eq!(refused(&vm, Call::core(0, address)), ResultCode::InvalidAddress, "{address:#x}");
    }
}

#[test]
fn a_refused_call_leaves_the_argument_registers_alone() {
    let vm = Vm::new();
    let call = Call { rax: 0x63, rcx: 0x1111, rdx: 0x2222, r8: 0x3333 };
    let answer = vm.call(call);
    assert_eq!((answer.rcx, answer.rdx, answer.r8), (call.rcx, call.rdx, call.r8));
}
