//! Whatever the other side sends, decoding ends with a value or an error, and what is accepted encodes to itself.

use proptest::prelude::*;
use snp_abi::acpi::Madt;
use snp_abi::certificates::{self, CertificateTable};
use snp_abi::cpuid::{CpuidPage, CpuidQuery, CpuidRegisters, InvalidCpuid, ProcessorState};
use snp_abi::ghcb::ap_creation::ApCreation;
use snp_abi::ghcb::event::{EventInjection, HostAnswer, IoInformation};
use snp_abi::ghcb::guest_request::GuestRequestOutcome;
use snp_abi::ghcb::msr_protocol::{Request, Response};
use snp_abi::ghcb::page::{GhcbField, GhcbPage};
use snp_abi::ghcb::page_state::{PageStateEntry, PageStateWord};
use snp_abi::guest_message::{ExpectedMessage, MessageHeader, MessageType};
use snp_abi::igvm_parameters::{MemoryMapEntry, memory_ranges};
use snp_abi::linux::SetupHeader;
use snp_abi::report::AttestationReport;
use snp_abi::rmp::{RmpAdjust, RmpQuery, Vmpl};
use snp_abi::svsm::ResultCode;
use snp_abi::svsm::core_protocol::PvalidateEntry;
use snp_abi::vmsa::VirtualInterrupt;
use zerocopy::FromBytes;

/// Words with their low bits spread over small codes, so that each row of a table is hit often.
fn word() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        (0..0x200_u64, any::<u64>()).prop_map(|(low, high)| high << 12 | low),
        (0..0x200_u64, 0..64_u32).prop_map(|(low, bit)| low | 1 << bit),
    ]
}

proptest! {
    #[test]
    fn accepted_requests_encode_to_themselves(word in word()) {
        if let Ok(request) = Request::decode(word) {
            prop_assert_eq!(request.encode(), word);
        }
    }

    #[test]
    fn responses_keep_their_meaning(word in word()) {
        if let Ok(response) = Response::decode(word) {
            prop_assert_eq!(Response::decode(response.encode()), Ok(response));
        }
    }

    #[test]
    fn accepted_event_words_encode_to_themselves(word in word()) {
        if let Ok(entry) = PageStateEntry::decode(PageStateWord(word)) {
            prop_assert_eq!(entry.encode(), PageStateWord(word));
        }
        if let Ok(information) = IoInformation::decode(word) {
            prop_assert_eq!(information.encode(), word);
        }
        if let Ok(creation) = ApCreation::decode(word) {
            prop_assert_eq!(creation.encode(), word);
        }
        if let Ok(attributes) = RmpAdjust::decode(word) {
            prop_assert_eq!(attributes.encode(), word);
        }
        if let Ok(entry) = PvalidateEntry::decode(word) {
            prop_assert_eq!(entry.encode(), word);
        }
        if let Some(code) = ResultCode::decode(word) {
            prop_assert_eq!(code.encode(), word);
        }
        let _ = RmpQuery::decode(word);
        let _ = EventInjection::decode(word);
        let interrupt = VirtualInterrupt::decode(word);
        prop_assert_eq!(VirtualInterrupt::decode(interrupt.encode()), interrupt);
    }

    #[test]
    fn host_answers_are_judged_without_panic(first in word(), second in word()) {
        if let Ok(answer) = HostAnswer::decode(first, second) {
            let (first, second) = answer.encode();
            prop_assert_eq!(HostAnswer::decode(first, second), Ok(answer));
        }
        let outcome = GuestRequestOutcome::decode(second);
        prop_assert_eq!(GuestRequestOutcome::decode(outcome.encode()), outcome);
    }

    #[test]
    fn any_page_can_be_read_as_ghcb(bytes in prop::collection::vec(any::<u8>(), 4096)) {
        let page = GhcbPage::read_from_bytes(&bytes).unwrap();
        for field in [GhcbField::Cpl, GhcbField::Rax, GhcbField::Xcr0, GhcbField::SwScratch] {
            let _ = page.read(field);
        }
    }

    #[test]
    fn any_page_can_be_read_as_cpuid_table(
        bytes in prop::collection::vec(any::<u8>(), 4096),
        count in 0..80_u32,
        leaf in prop_oneof![Just(0xD_u32), Just(1), 0..0x20_u32, any::<u32>()],
        subleaf in 0..4_u32,
        xcr0 in any::<u64>(),
        xss in any::<u64>(),
    ) {
        let mut page = CpuidPage::read_from_bytes(&bytes).unwrap();
        page.count = count;
        for entry in &mut page.entries {
            entry.leaf &= 0x1F;
            entry.subleaf &= 0x4F;
        }
        let state = ProcessorState { os_xsave: true, protection_keys: true, xcr0, xss };
        let _ = page.answer::<InvalidCpuid>(CpuidQuery { leaf, subleaf }, state, |_| {
            Ok(CpuidRegisters::default())
        });
        let _ = page.c_bit_position();
    }

    #[test]
    fn certificate_blobs_lie_in_the_buffer(
        rows in prop::collection::vec((0..3_u8, 0..300_u32, 0..300_u32), 0..6),
        tail in 0..200_usize,
    ) {
        let mut buffer = Vec::new();
        for (guid, offset, length) in rows {
            buffer.extend(if guid == 0 { [0; 16] } else { certificates::VCEK.0 });
            buffer.extend(offset.to_le_bytes());
            buffer.extend(length.to_le_bytes());
        }
        buffer.resize(buffer.len() + tail, 0);
        if let Ok(table) = CertificateTable::parse(&buffer) {
            for (_, blob) in table.iter() {
                prop_assert!(buffer.as_ptr_range().contains(&blob.as_ptr()) || blob.is_empty());
            }
        }
    }

    #[test]
    fn a_madt_walk_ends(mut body in prop::collection::vec(0..20_u8, 0..300)) {
        let mut table = b"APIC".to_vec();
        table.extend(((44 + body.len()) as u32).to_le_bytes());
        table.extend([0; 36]);
        table.append(&mut body);
        let sum = table.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        table[9] = sum.wrapping_neg();
        if let Ok(madt) = Madt::parse(&table) {
            prop_assert!(madt.apic_ids().count() <= table.len());
        }
    }

    #[test]
    fn any_bytes_can_be_parsed(bytes in prop::collection::vec(any::<u8>(), 0..0x600)) {
        let _ = AttestationReport::parse(&bytes).map(|report| report.generation());
        let _ = SetupHeader::parse(&bytes);
        let _ = Madt::parse(&bytes);
        let _ = CertificateTable::parse(&bytes);
        let expected = ExpectedMessage {
            message_type: MessageType::ReportResponse,
            vmpck: Vmpl::Vmpl0,
            sequence_number: 2,
        };
        if let Ok((header, _)) = MessageHeader::read_from_prefix(&bytes) {
            let _ = header.check(expected);
        }
        if let Ok(entries) = <[MemoryMapEntry]>::ref_from_bytes(&bytes[..bytes.len() / 24 * 24]) {
            let _ = memory_ranges(entries).count();
        }
    }
}
