//! The attestation protocol (AMD 58019, chapter 7): its checks, and a host that delays or forges the security processor's answers.

use crate::vm::{Call, GRANTED, REGION, Vm};
use model::Contents;
use snp_abi::ghcb::guest_request::{GuestRequestOutcome, HostError};
use snp_abi::svsm::ResultCode;
use snp_abi::svsm::attestation::{AttestServices, BufferLocation, NonceLocation};
use zerocopy::IntoBytes;

const OPERATION: u64 = GRANTED.start;
const NONCE: u64 = GRANTED.start + 0x1000;
const REPORT: u64 = GRANTED.start + 0x2000;
const MANIFEST: u64 = GRANTED.start + 0x3000;
const PAGE: u32 = 0x1000;

fn buffer(address: u64, length: u32) -> BufferLocation {
    BufferLocation { address, length, reserved: 0 }
}

fn operation() -> AttestServices {
    AttestServices {
        report: buffer(REPORT, PAGE),
        nonce: NonceLocation { address: NONCE, length: 64, reserved: [0; 6] },
        manifest: buffer(MANIFEST, PAGE),
        certificates: buffer(0, 0),
    }
}

fn attest(vm: &Vm, operation: &AttestServices) -> ResultCode {
    vm.lock().memory.write(OPERATION, operation.as_bytes());
    vm.call(Call { rax: 1 << 32, rcx: OPERATION, ..Call::default() }).result
}

/// A VM whose host answers guest requests in this way.
fn vm(outcome: GuestRequestOutcome) -> Vm {
    let vm = Vm::new();
    vm.lock().outcome = Some(outcome);
    vm
}

#[test]
fn a_delayed_message_is_sent_again_byte_for_byte() {
    let vm = vm(GuestRequestOutcome::Host(HostError::Busy));
    assert_eq!(attest(&vm, &operation()), ResultCode::Busy);
    // The guest asks for something else meanwhile: the old message still goes first, as it is.
    vm.lock().memory.write(NONCE, &[0x77; 64]);
    assert_eq!(attest(&vm, &operation()), ResultCode::Busy);
    let host = vm.lock();
    assert!(host.messages.len() >= 2);
    assert!(host.messages.iter().all(|message| *message == host.messages[0]));
}

#[test]
fn a_message_that_the_host_refuses_stays_the_same() {
    let vm = vm(GuestRequestOutcome::UnknownHostError(7));
    for nonce in [1, 2, 3] {
        vm.lock().memory.write(NONCE, &[nonce; 64]);
        assert_eq!(attest(&vm, &operation()), ResultCode::InvalidRequest);
    }
    let host = vm.lock();
    assert_eq!(host.messages.len(), 3);
    assert!(host.messages.iter().all(|message| *message == host.messages[0]));
}

#[test]
fn an_answer_that_does_not_open_closes_the_channel() {
    let vm = vm(GuestRequestOutcome::Answered);
    assert_eq!(attest(&vm, &operation()), ResultCode::InvalidRequest);
    assert_eq!(vm.lock().messages.len(), 1);
    assert_eq!(attest(&vm, &operation()), ResultCode::InvalidRequest);
    assert_eq!(vm.lock().messages.len(), 1, "there is no key any more");
}

#[test]
fn malformed_operations_are_an_invalid_parameter() {
    let vm = vm(GuestRequestOutcome::Host(HostError::Busy));
    let changes: [fn(&mut AttestServices); 12] = [
        |operation| operation.nonce.length = 0,
        |operation| operation.nonce.length = 65,
        |operation| operation.nonce.length = u16::MAX,
        |operation| operation.nonce.reserved[5] = 1,
        |operation| operation.nonce.address = NONCE + 0xfc1,
        |operation| operation.report = buffer(REPORT + 8, PAGE),
        |operation| operation.report = buffer(0, PAGE),
        |operation| operation.report = buffer(REPORT, 0x49f),
        |operation| operation.report.reserved = 1,
        |operation| operation.manifest = buffer(MANIFEST + 1, PAGE),
        |operation| operation.manifest = buffer(MANIFEST, 0),
        |operation| operation.certificates = buffer(MANIFEST + 0x10, PAGE),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut operation = operation();
        change(&mut operation);
        assert_eq!(attest(&vm, &operation), ResultCode::InvalidParameter, "change {number}");
    }
    assert!(vm.lock().messages.is_empty(), "nothing was sent");
}

#[test]
fn foreign_places_are_an_invalid_address() {
    let vm = vm(GuestRequestOutcome::Host(HostError::Busy));
    for place in [REGION, GRANTED.end, 1 << 51, 0xffff_ffff_ffff_f000] {
        for part in 0..3 {
            let mut operation = operation();
            match part {
                0 => operation.nonce.address = place,
                1 => operation.report.address = place,
                _ => operation.manifest.address = place,
            }
            assert_eq!(attest(&vm, &operation), ResultCode::InvalidAddress, "{place:#x} part {part}");
        }
        let call = Call { rax: 1 << 32, rcx: place, ..Call::default() };
        assert_eq!(vm.call(call).result, ResultCode::InvalidAddress, "operation at {place:#x}");
    }
    assert!(vm.lock().messages.is_empty(), "nothing was sent");
}

/// SHA-512(nonce || manifest) is the same for a nonce of 64 bytes and for its first 32 with the rest in front of the manifest.
#[test]
fn the_border_between_nonce_and_manifest_cannot_be_moved() {
    for length in [1, 16, 32, 48, 63] {
        let vm = vm(GuestRequestOutcome::Host(HostError::Busy));
        let mut operation = operation();
        operation.nonce.length = length;
        assert_eq!(attest(&vm, &operation), ResultCode::InvalidParameter, "{length} bytes");
        assert!(vm.lock().messages.is_empty(), "nothing was sent");
    }
}
