//! Everything that the firmware decodes of what host, guest and security processor sent, and back.
#![no_main]

use fuzz::Choices;
use libfuzzer_sys::fuzz_target;
use snp_abi::acpi::Madt;
use snp_abi::certificates::CertificateTable;
use snp_abi::cpuid::CpuidPage;
use snp_abi::ghcb::ap_creation::ApCreation;
use snp_abi::ghcb::event::{EventInjection, IoInformation};
use snp_abi::ghcb::guest_request::GuestRequestOutcome;
use snp_abi::ghcb::msr_protocol::{Request, Response};
use snp_abi::ghcb::page_state::PageStateError;
use snp_abi::guest_message::{ExpectedMessage, MessageHeader, MessageType};
use snp_abi::linux::SetupHeader;
use snp_abi::report::AttestationReport;
use snp_abi::rmp::{RmpAdjust, RmpQuery, Vmpl};
use snp_abi::svsm::core_protocol::{ProtocolQuery, PvalidateEntry};
use snp_abi::svsm::{CallNumber, ResultCode};
use zerocopy::FromBytes;

/// What decodes must mean the same after it was encoded and decoded again.
macro_rules! comes_back {
    ($value:expr, $($type:ty),+) => {
        $(if let Ok(decoded) = <$type>::decode($value) {
            assert_eq!(<$type>::decode(decoded.encode()), Ok(decoded));
        })+
    };
}

fuzz_target!(|bytes: &[u8]| {
    let mut choices = Choices::new(bytes);
    let value = u64::from_le_bytes(std::array::from_fn(|_| choices.byte()));
    numbers(value);
    let rest = choices.take(usize::MAX);
    structures(rest, value);
});

fn numbers(value: u64) {
    comes_back!(value, Request, Response, IoInformation, ApCreation, RmpAdjust, RmpQuery, PvalidateEntry);
    if let Ok(Some(event)) = EventInjection::decode(value) {
        assert_eq!(EventInjection::decode(event.encode()), Ok(Some(event)));
    }
    let outcome = GuestRequestOutcome::decode(value);
    assert_eq!(GuestRequestOutcome::decode(outcome.encode()), outcome);
    if let Some(error) = PageStateError::decode(value) {
        assert_eq!(PageStateError::decode(error.encode()), Some(error));
    }
    if let Some(code) = ResultCode::decode(value) {
        assert_eq!(code.encode(), value);
    }
    assert_eq!(CallNumber::decode(value).encode(), value);
    let query = ProtocolQuery::decode(value);
    assert_eq!(ProtocolQuery::decode(query.encode()), query);
}

fn structures(bytes: &[u8], value: u64) {
    if let Ok(madt) = Madt::parse(bytes) {
        madt.apic_ids().for_each(drop);
    }
    if let Ok(table) = CertificateTable::parse(bytes) {
        for (guid, blob) in table.iter() {
            assert!(
                table.find(guid).is_some_and(|found| found.len() <= bytes.len()) && blob.len() <= bytes.len()
            );
        }
    }
    let _ = AttestationReport::parse(bytes);
    let _ = SetupHeader::parse(bytes);
    let _ = SetupHeader::parse_start(bytes, value);
    if let Ok((page, _)) = CpuidPage::read_from_prefix(bytes)
        && page.check().is_ok()
    {
        let _ = (page.rows(), page.c_bit_position());
    }
    if let Ok((header, _)) = MessageHeader::read_from_prefix(bytes) {
        let expected = ExpectedMessage {
            message_type: MessageType::ALL[value as usize % MessageType::ALL.len()],
            vmpck: Vmpl::Vmpl0,
            sequence_number: value,
        };
        let _ = header.check(expected);
    }
}
