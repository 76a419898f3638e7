//! SVSM calls, lists and structures against Linux's `asm/sev.h`, edk2's `Svsm.h` and coconut's numbers.

use snp_abi::address::PageSize;
use snp_abi::rmp::RmpStatus;
use snp_abi::svsm::attestation::{
    AttestServices, AttestSingleService, BufferLocation, ManifestEntry, ManifestHeader, NonceLocation,
    SERVICES_MANIFEST, VTPM_SERVICE,
};
use snp_abi::svsm::core_protocol::{
    InvalidPvalidateEntry, PVALIDATE_NO_CHANGE, ProtocolQuery, PvalidateEntry, PvalidateHeader,
    protocol_versions, pvalidate_failure,
};
use snp_abi::svsm::vtpm::{
    CommandHeader, MAXIMUM_COMMAND_BYTES, MAXIMUM_RESPONSE_BYTES, SEND_COMMAND, SUPPORTED_COMMANDS,
};
use snp_abi::svsm::{AttestationCall, CallNumber, CoreCall, Protocol, ResultCode, VtpmCall};
use zerocopy::IntoBytes;

#[test]
fn call_numbers_are_protocol_and_call() {
    let vectors = [
        // SVSM_CORE_CALL(SVSM_CORE_PVALIDATE), SVSM_ATTEST_CALL(SVSM_ATTEST_SINGLE_SERVICE), SVSM_VTPM_CALL(CMD)
        (Protocol::Core, CoreCall::Pvalidate.to_wire(), 0x0000_0000_0000_0001),
        (Protocol::Attestation, AttestationCall::AttestSingleService.to_wire(), 0x0000_0001_0000_0001),
        (Protocol::Vtpm, VtpmCall::Command.to_wire(), 0x0000_0002_0000_0001),
    ];
    for (protocol, call, rax) in vectors {
        let number = CallNumber { protocol: protocol.to_wire(), call };
        assert_eq!(number.encode(), rax);
        assert_eq!(CallNumber::decode(rax), number);
    }
}

#[test]
fn result_codes_have_linux_numbers() {
    let vectors = [
        (ResultCode::Success, 0),
        (ResultCode::Incomplete, 0x8000_0000),
        (ResultCode::UnsupportedProtocol, 0x8000_0001),
        (ResultCode::UnsupportedCall, 0x8000_0002),
        (ResultCode::InvalidAddress, 0x8000_0003),
        (ResultCode::InvalidFormat, 0x8000_0004),
        (ResultCode::InvalidParameter, 0x8000_0005),
        (ResultCode::InvalidRequest, 0x8000_0006),
        (ResultCode::Busy, 0x8000_0007),
        // SVSM_PVALIDATE_FAIL_SIZEMISMATCH
        (ResultCode::ProtocolSpecific(6), 0x8000_1006),
        (PVALIDATE_NO_CHANGE, 0x8000_1010),
    ];
    for (code, number) in vectors {
        assert_eq!(code.encode(), number);
        assert_eq!(ResultCode::decode(number), Some(code));
    }
    assert_eq!(pvalidate_failure(RmpStatus::FailSizeMismatch), Some(ResultCode::ProtocolSpecific(6)));
    assert_eq!(pvalidate_failure(RmpStatus::FailInput), Some(ResultCode::ProtocolSpecific(1)));
    assert_eq!(pvalidate_failure(RmpStatus::Success), None);
    assert_eq!(ResultCode::decode(0x8000_0008), None);
    assert_eq!(ResultCode::decode(0x8001_1000), None);
    assert_eq!(ResultCode::decode(1), None);
}

#[test]
fn pvalidate_entries_are_linux_bit_fields() {
    // struct svsm_pvalidate_entry: page_size 1, action 1, ignore_cf 1, pfn 0x12345 — but aligned to 2 MiB here.
    let entry = PvalidateEntry {
        address: 0x1220_0000,
        size: PageSize::Large,
        validate: true,
        ignore_no_change: true,
    };
    assert_eq!(entry.encode(), 0x1220_000D);
    assert_eq!(PvalidateEntry::decode(0x1220_000D), Ok(entry));
    let rescind = PvalidateEntry {
        address: 0x1234_5000,
        size: PageSize::Small,
        validate: false,
        ignore_no_change: false,
    };
    assert_eq!(PvalidateEntry::decode(0x1234_5000), Ok(rescind));
    assert_eq!(PvalidateEntry::decode(0x1234_500D), Err(InvalidPvalidateEntry::Alignment));
    assert_eq!(PvalidateEntry::decode(0x1234_5002), Err(InvalidPvalidateEntry::PageSize));
    assert_eq!(PvalidateEntry::decode(0x1234_5003), Err(InvalidPvalidateEntry::PageSize));
    for bit in 4..12 {
        let word = 0x1234_5004 | 1 << bit;
        assert_eq!(PvalidateEntry::decode(word), Err(InvalidPvalidateEntry::ReservedBits));
    }
    let header = PvalidateHeader { entries: 0x1FE, next: 3, reserved: 0 };
    assert_eq!(header.as_bytes(), [0xFE, 1, 3, 0, 0, 0, 0, 0]);
}

#[test]
fn protocol_queries_carry_versions() {
    let query = ProtocolQuery { protocol: 2, version: 1 };
    assert_eq!(query.encode(), 0x2_0000_0001);
    assert_eq!(ProtocolQuery::decode(0x2_0000_0001), query);
    assert_eq!(protocol_versions(Some((1, 1))), 0x1_0000_0001);
    assert_eq!(protocol_versions(None), 0);
}

#[test]
fn attestation_operations_are_linux_svsm_attest_call() {
    let operation = AttestSingleService {
        buffers: AttestServices {
            report: BufferLocation { address: 0x1000, length: 0x1000, reserved: 0 },
            nonce: NonceLocation { address: 0x2345, length: 64, reserved: [0; 6] },
            manifest: BufferLocation { address: 0x3000, length: 0x1000, reserved: 0 },
            certificates: BufferLocation { address: 0x4000, length: 0x4000, reserved: 0 },
        },
        service: VTPM_SERVICE,
        manifest_version: 0,
        reserved: 0,
    };
    let bytes = operation.as_bytes();
    assert_eq!(bytes[0x00..0x0C], [0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0]);
    assert_eq!(bytes[0x10..0x1C], [0x45, 0x23, 0, 0, 0, 0, 0, 0, 64, 0, 0, 0]);
    assert_eq!(bytes[0x38..0x3C], [0, 0x40, 0, 0]);
    // c476f1eb-0123-45a5-9641-b4e7dde5bfe3 in memory
    assert_eq!(
        bytes[0x40..0x50],
        [0xeb, 0xf1, 0x76, 0xc4, 0x23, 0x01, 0xa5, 0x45, 0x96, 0x41, 0xb4, 0xe7, 0xdd, 0xe5, 0xbf, 0xe3]
    );
}

#[test]
fn a_manifest_starts_with_guid_length_and_count() {
    let header = ManifestHeader { guid: SERVICES_MANIFEST, length: 0x30.into(), entries: 1.into() };
    let bytes = header.as_bytes();
    assert_eq!(bytes[..4], [0xbb, 0x9e, 0x84, 0x63]);
    assert_eq!(bytes[0x10..], [0x30, 0, 0, 0, 1, 0, 0, 0]);
    let entry = ManifestEntry { guid: VTPM_SERVICE, offset: 0x30.into(), length: 0x13A.into() };
    assert_eq!(entry.as_bytes()[0x10..], [0x30, 0, 0, 0, 0x3A, 1, 0, 0]);
}

#[test]
fn tpm_commands_are_framed_as_linux_frames_them() {
    // struct svsm_vtpm_request in linux/tpm_svsm.h: command, locality, unaligned size, buffer at 9.
    let header = CommandHeader { command: SEND_COMMAND.into(), locality: 0, length: 12.into() };
    assert_eq!(header.as_bytes(), [8, 0, 0, 0, 0, 12, 0, 0, 0]);
    assert_eq!(SUPPORTED_COMMANDS, 0x100);
    assert_eq!((MAXIMUM_COMMAND_BYTES, MAXIMUM_RESPONSE_BYTES), (4087, 4092));
}
