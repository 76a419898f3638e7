//! Guest messages, attestation reports and certificate tables, byte by byte from the layouts of Linux
//! (`asm/sev.h`, `uapi/linux/sev-guest.h`) and go-sev-guest.

use snp_abi::certificates::{self, CertificateTable, InvalidCertificateTable};
use snp_abi::guest_message::{
    ExpectedMessage, InvalidHeader, KeyRequest, KeyResponse, MessageHeader, MessageStatus, MessageType,
    ReportRequest, ReportResponseHeader, TSC_INFORMATION_REQUEST_BYTES, TscInformationResponse, nonce,
};
use snp_abi::report::{
    AttestationReport, FirmwareVersion, InvalidReport, KeyInformation, PlatformInformation, SigningKey,
};
use snp_abi::rmp::Vmpl;
use snp_abi::secrets::SecretsPage;
use snp_abi::tcb::Generation;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

const REQUEST: ExpectedMessage = ExpectedMessage {
    message_type: MessageType::ReportRequest,
    vmpck: Vmpl::Vmpl0,
    sequence_number: 0x0102_0304_0506_0708,
};

#[test]
fn a_report_requests_header_is_linux_snp_guest_msg_hdr() {
    let header = MessageHeader::new(REQUEST, 0x60).unwrap();
    let mut expected = vec![0; 0x60];
    expected[0x20..0x28].copy_from_slice(&[8, 7, 6, 5, 4, 3, 2, 1]);
    // algo, hdr_version, hdr_sz, msg_type, msg_version, msg_sz
    expected[0x30..0x38].copy_from_slice(&[1, 1, 0x60, 0, 5, 1, 0x60, 0]);
    assert_eq!(header.as_bytes(), expected);
    assert_eq!(header.authenticated(), &expected[0x30..]);
    assert_eq!(nonce(REQUEST.sequence_number), [8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0, 0]);
}

#[test]
fn a_payload_longer_than_its_page_gets_no_header() {
    assert!(MessageHeader::new(REQUEST, 4000).is_some());
    assert!(MessageHeader::new(REQUEST, 4001).is_none());
}

#[test]
fn a_response_is_refused_for_every_field_that_differs() {
    let expected = ExpectedMessage { message_type: MessageType::ReportResponse, ..REQUEST };
    let good = MessageHeader::new(expected, 0x4C0).unwrap();
    assert_eq!(good.check(expected), Ok(0x4C0));
    // (offset, new byte, refusal)
    let tampered = [
        (0x20, 9, InvalidHeader::SequenceNumber),
        (0x27, 9, InvalidHeader::SequenceNumber),
        (0x30, 0, InvalidHeader::Format),
        (0x31, 2, InvalidHeader::Format),
        (0x32, 0x61, InvalidHeader::Format),
        (0x34, 5, InvalidHeader::Type),
        (0x35, 2, InvalidHeader::Type),
        (0x37, 0xFF, InvalidHeader::Size),
        (0x3C, 2, InvalidHeader::Key),
    ];
    for (offset, byte, refusal) in tampered {
        let mut header = good.clone();
        header.as_mut_bytes()[offset] = byte;
        assert_eq!(header.check(expected), Err(refusal), "offset {offset:#x}");
    }
}

#[test]
fn each_request_knows_its_response() {
    assert_eq!(MessageType::ReportRequest.response(), Some(MessageType::ReportResponse));
    assert_eq!(MessageType::TscInformationRequest.response(), Some(MessageType::TscInformationResponse));
    assert_eq!(MessageType::ReportResponse.response(), None);
}

#[test]
fn report_payloads_are_laid_out_as_linux_reads_them() {
    let request = ReportRequest::new([0xAB; 64], Vmpl::Vmpl2);
    let mut expected = vec![0xAB; 64];
    expected.extend([2, 0, 0, 0]);
    expected.extend([0; 28]);
    assert_eq!(request.as_bytes(), expected);
    let response = ReportResponseHeader::new(MessageStatus::InvalidParameters, 0x4A0);
    assert_eq!(response.as_bytes()[..8], [0x16, 0, 0, 0, 0xA0, 4, 0, 0]);
}

#[test]
fn key_payloads_are_laid_out_as_linux_and_openvmm_have_them() {
    // struct snp_derived_key_req behind root_key_select, rsvd: guest_field_select, vmpl, guest_svn, tcb_version.
    let request = KeyRequest {
        root_key_select: 1,
        reserved: 0,
        guest_field_select: 0b10_1001,
        vmpl: 2,
        guest_svn: 0x0102_0304,
        tcb_version: 0xD100_0000_0000_0A04,
    };
    let expected: [u8; 0x20] = [
        1, 0, 0, 0, 0, 0, 0, 0, 0x29, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 4, 3, 2, 1, 4, 0x0A, 0, 0, 0, 0, 0,
        0xD1,
    ];
    assert_eq!(request.as_bytes(), expected);
    let mut bytes = [0; 0x40];
    bytes[0] = 0x16;
    bytes[0x20] = 0x77;
    let response = KeyResponse::read_from_bytes(&bytes).unwrap();
    assert_eq!(
        (response.status, response.derived_key[0]),
        (MessageStatus::InvalidParameters.to_wire(), 0x77)
    );
}

#[test]
fn the_tsc_information_is_linux_snp_tsc_info_resp() {
    assert_eq!(TSC_INFORMATION_REQUEST_BYTES, 128);
    let mut bytes = [0; 128];
    bytes[0x08..0x10].copy_from_slice(&0x1_0000_0001_u64.to_le_bytes());
    bytes[0x10..0x18].copy_from_slice(&0xFFFF_FFFF_FFFF_FFF0_u64.to_le_bytes());
    bytes[0x18..0x1C].copy_from_slice(&200_u32.to_le_bytes());
    let response = TscInformationResponse::read_from_bytes(&bytes).unwrap();
    assert_eq!(response.status, 0);
    assert_eq!((response.tsc_scale, response.tsc_offset), (0x1_0000_0001, 0xFFFF_FFFF_FFFF_FFF0));
    assert_eq!(response.tsc_factor, 200);
    assert_eq!(response.as_bytes(), bytes);
}

#[test]
fn the_secrets_page_is_linux_snp_secrets_page() {
    let mut bytes = [0; 4096];
    bytes[0x000] = 3; // version
    bytes[0x004] = 1; // IMI
    bytes[0x008..0x00C].copy_from_slice(&[0x11, 0x0F, 0xA0, 0]); // FMS
    for (key, fill) in [(0x020, 0xA0), (0x040, 0xA1), (0x060, 0xA2), (0x080, 0xA3)] {
        bytes[key..key + 32].fill(fill);
    }
    bytes[0x0A8] = 9; // OS area: message count of VMPL2
    bytes[0x100] = 0x55; // VMSA tweak bitmap
    bytes[0x15C] = 2; // SVSM guest VMPL
    bytes[0x160] = 200; // TSC factor
    let page = SecretsPage::read_from_bytes(&bytes).unwrap();
    assert_eq!((page.version, page.flags, page.family_model_stepping), (3, 1, 0x00A0_0F11));
    assert_eq!(page.vmpcks, [[0xA0; 32], [0xA1; 32], [0xA2; 32], [0xA3; 32]]);
    assert_eq!(page.guest_area.message_counts_low, [0, 0, 9, 0]);
    assert_eq!((page.vmsa_tweak_bitmap[0], page.svsm.guest_vmpl, page.tsc_factor), (0x55, 2, 200));
    assert_eq!(page.as_bytes(), bytes);
}

fn report_bytes(version: u8) -> Vec<u8> {
    let mut bytes = vec![0; 0x4A0];
    bytes[0] = version;
    bytes[0x34] = 1;
    bytes
}

#[test]
fn report_fields_lie_where_go_sev_guest_reads_them() {
    let mut bytes = report_bytes(3);
    bytes[0x04] = 9; // GUEST_SVN
    bytes[0x30] = 2; // VMPL
    bytes[0x40] = 0x25; // PLATFORM_INFO: SMT, ECC, alias check
    bytes[0x48] = 0b0_0111; // VLEK, chip key masked, author key
    bytes[0x50] = 0x50; // REPORT_DATA
    bytes[0x90] = 0x90; // MEASUREMENT
    bytes[0xC0] = 0xC0; // HOST_DATA
    bytes[0xE0] = 0xE0; // ID_KEY_DIGEST
    bytes[0x188..0x18B].copy_from_slice(&[0x19, 0x11, 1]);
    bytes[0x1A0] = 0xA0; // CHIP_ID
    bytes[0x1E8..0x1EB].copy_from_slice(&[5, 55, 1]); // current build, minor, major
    bytes[0x2A0] = 0x77; // lowest byte of R
    let report = AttestationReport::parse(&bytes).unwrap();
    assert_eq!((report.guest_svn, report.vmpl), (9, 2));
    assert_eq!(
        report.platform(),
        PlatformInformation::SMT | PlatformInformation::ECC | PlatformInformation::ALIAS_CHECK_COMPLETE
    );
    assert_eq!(report.key_information, KeyInformation::new(SigningKey::Vlek, true, true));
    assert_eq!(report.key_information.signing_key(), Some(SigningKey::Vlek));
    assert_eq!((report.report_data[0], report.measurement[0]), (0x50, 0x90));
    assert_eq!((report.host_data[0], report.id_key_digest[0], report.chip_id[0]), (0xC0, 0xE0, 0xA0));
    assert_eq!(report.generation(), Some(Generation::Genoa));
    assert_eq!(report.current_version, FirmwareVersion::new(1, 55, 5));
    assert_eq!(report.signature.r.to_big_endian().unwrap()[47], 0x77);
    assert_eq!(report.signed_bytes(), &bytes[..0x2A0]);
}

#[test]
fn unknown_reports_are_refused() {
    assert_eq!(AttestationReport::parse(&report_bytes(1)), Err(InvalidReport::Version(1)));
    assert_eq!(AttestationReport::parse(&report_bytes(6)), Err(InvalidReport::Version(6)));
    assert_eq!(AttestationReport::parse(&[0; 0x49F]), Err(InvalidReport::Length(0x49F)));
    let mut bytes = report_bytes(2);
    bytes[0x34] = 2;
    assert_eq!(AttestationReport::parse(&bytes), Err(InvalidReport::SignatureAlgorithm(2)));
}

#[test]
fn a_version_2_report_names_no_generation() {
    let mut bytes = report_bytes(2);
    bytes[0x188] = 0x19;
    assert_eq!(AttestationReport::parse(&bytes).unwrap().generation(), None);
}

#[test]
fn a_version_5_report_carries_tcbs_and_mitigation_vectors() {
    let mut bytes = report_bytes(5);
    bytes[0x38] = 0x38; // CURRENT_TCB
    bytes[0x180] = 0x18; // REPORTED_TCB
    bytes[0x1E0] = 0x1E; // COMMITTED_TCB
    bytes[0x1F0] = 0x1F; // LAUNCH_TCB
    bytes[0x1F8] = 0xF8; // LAUNCH_MIT_VECTOR
    bytes[0x200] = 0x20; // CURRENT_MIT_VECTOR
    let report = AttestationReport::parse(&bytes).unwrap();
    let tcbs = [report.current_tcb, report.reported_tcb, report.committed_tcb, report.launch_tcb];
    assert_eq!(tcbs.map(|tcb| tcb.0), [0x38, 0x18, 0x1E, 0x1F]);
    assert_eq!((report.launch_mitigations, report.current_mitigations), (0xF8, 0x20));
}

#[test]
fn guids_of_a_certificate_table_are_in_network_order() {
    assert_eq!(
        certificates::VCEK.0,
        [0x63, 0xda, 0x75, 0x8d, 0xe6, 0x64, 0x45, 0x64, 0xad, 0xc5, 0xf4, 0xb9, 0x3b, 0xe8, 0xac, 0xcd]
    );
    assert_eq!(certificates::ARK.to_string(), "c0b406a4-a803-4952-9743-3fb6014cd0ae");
}

/// The rows that a Genoa host gave to its guest (the `auxblob` of Veraison's test evidence `sevsnp-tsm-report.json`).
#[test]
fn the_table_of_a_real_host_is_read() {
    #[rustfmt::skip]
    let rows = [
        0xc0, 0xb4, 0x06, 0xa4, 0xa8, 0x03, 0x49, 0x52, 0x97, 0x43, 0x3f, 0xb6, 0x01, 0x4c, 0xd0, 0xae,
        0x60, 0x00, 0x00, 0x00, 0xe5, 0x08, 0x00, 0x00,
        0x4a, 0xb7, 0xb3, 0x79, 0xbb, 0xac, 0x4f, 0xe4, 0xa0, 0x2f, 0x05, 0xae, 0xf3, 0x27, 0xc7, 0x82,
        0x45, 0x09, 0x00, 0x00, 0x15, 0x09, 0x00, 0x00,
        0x63, 0xda, 0x75, 0x8d, 0xe6, 0x64, 0x45, 0x64, 0xad, 0xc5, 0xf4, 0xb9, 0x3b, 0xe8, 0xac, 0xcd,
        0x5a, 0x12, 0x00, 0x00, 0x57, 0x07, 0x00, 0x00,
    ];
    let mut bytes = vec![0; 0x19B1];
    bytes[..rows.len()].copy_from_slice(&rows);
    let table = CertificateTable::parse(&bytes).unwrap();
    let lengths: Vec<_> = table.iter().map(|(guid, blob)| (guid, blob.len())).collect();
    let expected = [(certificates::ARK, 0x8E5), (certificates::ASK, 0x915), (certificates::VCEK, 0x757)];
    assert_eq!(lengths, expected);
    assert_eq!(table.ends().max(), Some(bytes.len()));
}

#[test]
fn a_certificate_table_is_read_back() {
    let mut buffer = [0xEE; 200];
    let blobs = [(certificates::VCEK, &b"vcek"[..]), (certificates::ASK, &b"a"[..])];
    assert_eq!(certificates::write_table(&blobs, &mut buffer), Ok(3 * 24 + 5));
    // Second row: GUID, offset 76, length 1; then the row of zeros.
    assert_eq!(buffer[40..48], [76, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(buffer[48..72], [0; 24]);
    let table = CertificateTable::parse(&buffer).unwrap();
    assert_eq!(table.find(certificates::VCEK), Some(&b"vcek"[..]));
    assert_eq!(table.find(certificates::ASK), Some(&b"a"[..]));
    assert_eq!(table.find(certificates::ARK), None);
    assert_eq!(table.iter().count(), 2);
}

#[test]
fn a_table_that_does_not_fit_leaves_the_buffer_alone() {
    let mut buffer = [0xEE; 51];
    let result = certificates::write_table(&[(certificates::VCEK, b"vcek")], &mut buffer);
    assert_eq!(result, Err(InvalidCertificateTable::BufferTooSmall(52)));
    assert_eq!(buffer, [0xEE; 51]);
}

#[test]
fn hostile_certificate_tables_are_refused() {
    let mut buffer = [0; 96];
    assert_eq!(CertificateTable::parse(&buffer).unwrap().iter().count(), 0);
    assert_eq!(CertificateTable::parse(&buffer[..23]).err(), Some(InvalidCertificateTable::Unterminated));
    buffer[..16].copy_from_slice(&certificates::VCEK.0);
    buffer[16..24].copy_from_slice(&[96, 0, 0, 0, 1, 0, 0, 0]);
    let outside = Some(InvalidCertificateTable::OutOfBounds(certificates::VCEK));
    assert_eq!(CertificateTable::parse(&buffer).err(), outside);
    buffer[16..24].copy_from_slice(&[0xFF; 8]);
    assert_eq!(CertificateTable::parse(&buffer).err(), outside);
    for row in buffer.chunks_mut(24) {
        row[..16].copy_from_slice(&[7; 16]);
        row[16..].fill(0);
    }
    assert_eq!(CertificateTable::parse(&buffer).err(), Some(InvalidCertificateTable::Unterminated));
}

#[test]
fn a_header_of_zeros_is_no_message() {
    let header = MessageHeader::new_zeroed();
    assert_eq!(header.check(REQUEST), Err(InvalidHeader::Format));
    assert!(MessageHeader::read_from_bytes(&[0; 95]).is_err());
}
