//! The security processor as a guest meets it. The sealing here is the guest's side, written apart from the PSP's.

use super::*;
use crate::psp::channel::MessagePage;
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Key, Nonce, Tag};
use alloc::vec;
use p384::ecdsa::signature::{Signer, Verifier};
use p384::ecdsa::{Signature, VerifyingKey};
use snp_abi::guest_message::{KeyRequest, KeyResponse, ReportRequest, TscInformationResponse};
use snp_abi::id_block::{ID_BLOCK_VERSION, IdAuthentication, IdBlock};
use snp_abi::policy::GuestPolicy;
use snp_abi::psp_status::PspStatus;
use snp_abi::report::AttestationReport;
use snp_abi::rmp::Vmpl;
use snp_abi::signature::{EcdsaPublicKey, EcdsaSignature};
use zerocopy::FromBytes;

const DIGEST: [u8; 48] = [0xD1; 48];
const REPORT: u8 = 5;
const KEY: u8 = 3;
const TSC_INFORMATION: u8 = 17;
/// Bytes of a report response before the report.
const RESPONSE_HEADER: usize = 32;

fn unlaunched(model: CpuModel) -> Psp {
    Psp::new(Setup { model, ..Setup::from_seed(b"test") })
}

fn launched(model: CpuModel) -> Psp {
    let mut psp = unlaunched(model);
    psp.launch_start(GuestPolicy::DEFAULT).unwrap();
    psp.launch_finish(DIGEST, None).unwrap();
    psp
}

/// A message as a guest seals it.
fn seal(psp: &Psp, key: u8, sequence: u64, kind: u8, payload: &[u8]) -> MessagePage {
    let mut page = [0; 4096];
    page[0x20..0x28].copy_from_slice(&sequence.to_le_bytes());
    page[0x30..0x36].copy_from_slice(&[1, 1, 0x60, 0, kind, 1]);
    page[0x36..0x38].copy_from_slice(&(payload.len() as u16).to_le_bytes());
    page[0x3C] = key;
    page[0x60..0x60 + payload.len()].copy_from_slice(payload);
    seal_again(psp, page)
}

/// Encrypts the payload and sets the tag for a header as it is.
fn seal_again(psp: &Psp, mut page: MessagePage) -> MessagePage {
    let cipher = cipher(psp, page[0x3C].into());
    let length = usize::from(u16::from_le_bytes([page[0x36], page[0x37]])).min(4000);
    let (header, payload) = page.split_at_mut(0x60);
    let mut nonce = [0; 12];
    nonce[..8].copy_from_slice(&header[0x20..0x28]);
    let tag = cipher
        .encrypt_inout_detached(&Nonce::from(nonce), &header[0x30..], (&mut payload[..length]).into())
        .unwrap();
    header[..16].copy_from_slice(&tag);
    page
}

fn cipher(psp: &Psp, key: usize) -> Aes256Gcm {
    let page = psp.secrets_page();
    let start = 0x20 + 32 * (key % 4);
    Aes256Gcm::new(&Key::<Aes256Gcm>::try_from(&page[start..start + 32]).unwrap())
}

/// Opens a response, and checks what a guest checks.
fn open(psp: &Psp, key: u8, sequence: u64, kind: u8, page: &MessagePage) -> Vec<u8> {
    assert_eq!(page[0x20..0x28], sequence.to_le_bytes());
    assert_eq!(page[0x30..0x36], [1, 1, 0x60, 0, kind, 1]);
    assert_eq!(page[0x3C], key);
    let length = usize::from(u16::from_le_bytes([page[0x36], page[0x37]]));
    let mut payload = page[0x60..0x60 + length].to_vec();
    let mut nonce = [0; 12];
    nonce[..8].copy_from_slice(&page[0x20..0x28]);
    let tag = Tag::try_from(&page[..16]).unwrap();
    cipher(psp, key.into())
        .decrypt_inout_detached(&Nonce::from(nonce), &page[0x30..0x60], payload.as_mut_slice().into(), &tag)
        .unwrap();
    assert!(page[0x60 + length..].iter().all(|byte| *byte == 0));
    payload
}

fn exchange(psp: &mut Psp, key: u8, sequence: u64, kind: u8, payload: &[u8]) -> Result<Vec<u8>, PspStatus> {
    let request = seal(psp, key, sequence, kind, payload);
    let response = psp.guest_request(&request)?;
    Ok(open(psp, key, sequence + 1, kind + 1, &response))
}

fn report_request(vmpl: Vmpl) -> ReportRequest {
    ReportRequest::new([0x5A; 64], vmpl)
}

fn report(psp: &mut Psp) -> AttestationReport {
    let payload = exchange(psp, 0, 1, REPORT, report_request(Vmpl::Vmpl0).as_bytes()).unwrap();
    assert_eq!(payload[..8], [0, 0, 0, 0, 0xA0, 4, 0, 0]);
    AttestationReport::parse(&payload[RESPONSE_HEADER..]).unwrap()
}

#[test]
fn reports_of_each_processor_are_signed_and_name_it() {
    for (model, version) in [(CpuModel::Milan, 2), (CpuModel::Genoa, 3), (CpuModel::Turin, 5)] {
        let mut psp = launched(model);
        let report = report(&mut psp);
        assert_eq!(report.version, version);
        assert_eq!(report.report_data, [0x5A; 64]);
        assert_eq!(report.measurement, DIGEST);
        assert_eq!(report.vmpl, 0);
        assert_eq!(report.reported_tcb, model.tcb());
        let (r, s) = (report.signature.r.to_big_endian(), report.signature.s.to_big_endian());
        let signature = Signature::from_scalars(r.unwrap(), s.unwrap()).unwrap();
        let key = VerifyingKey::from(&psp.setup.endorsement.key);
        key.verify(report.signed_bytes(), &signature).unwrap();
        if version >= 3 {
            assert!(report.generation().is_some());
        }
    }
}

#[test]
fn each_key_counts_its_own_messages() {
    let mut psp = launched(CpuModel::Milan);
    for key in 0..4 {
        for sequence in [1, 3, 5] {
            let level = Vmpl::from_wire(key).unwrap();
            let request = report_request(level);
            assert!(exchange(&mut psp, key, sequence, REPORT, request.as_bytes()).is_ok());
        }
    }
}

#[test]
fn an_old_or_future_sequence_number_is_refused_and_not_counted() {
    let mut psp = launched(CpuModel::Milan);
    let request = report_request(Vmpl::Vmpl0);
    for sequence in [0, 2, 3, u64::MAX] {
        let refused = psp.guest_request(&seal(&psp, 0, sequence, REPORT, request.as_bytes()));
        assert_eq!(refused.err(), Some(PspStatus::InvalidParameter), "{sequence}");
    }
    assert!(exchange(&mut psp, 0, 1, REPORT, request.as_bytes()).is_ok());
    let replayed = psp.guest_request(&seal(&psp, 0, 1, REPORT, request.as_bytes()));
    assert_eq!(replayed.err(), Some(PspStatus::InvalidParameter));
}

#[test]
fn every_changed_bit_of_a_message_is_noticed() {
    let mut psp = launched(CpuModel::Milan);
    let good = seal(&psp, 0, 1, REPORT, report_request(Vmpl::Vmpl0).as_bytes());
    // Header, payload; what lies behind the payload is not part of the message.
    for bit in 0..(0x60 + 0x60) * 8 {
        let mut bad = good;
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(psp.guest_request(&bad).is_err(), "bit {bit}");
    }
    assert!(psp.guest_request(&good).is_ok());
}

#[test]
fn reserved_header_fields_must_be_zero_even_if_the_tag_is_right() {
    let mut psp = launched(CpuModel::Milan);
    for offset in [0x10, 0x1F, 0x28, 0x2F, 0x38, 0x3B, 0x3D, 0x5F] {
        let mut page = [0; 4096];
        page[0x20] = 1;
        page[0x30..0x38].copy_from_slice(&[1, 1, 0x60, 0, REPORT, 1, 0x60, 0]);
        page[0x60..0xC0].copy_from_slice(report_request(Vmpl::Vmpl0).as_bytes());
        page[offset] = 1;
        let mut page = seal_again(&psp, page);
        page[offset] = 1;
        assert_eq!(psp.guest_request(&page).err(), Some(PspStatus::InvalidParameter), "{offset:#x}");
    }
}

#[test]
fn a_key_speaks_for_its_level_and_those_below() {
    let mut psp = launched(CpuModel::Milan);
    let mut status = |key: u8, sequence, vmpl: u32| {
        let mut request = report_request(Vmpl::Vmpl0);
        request.vmpl = vmpl;
        exchange(&mut psp, key, sequence, REPORT, request.as_bytes()).unwrap()[0]
    };
    assert_eq!(status(2, 1, 0), 0x16);
    assert_eq!(status(2, 3, 1), 0x16);
    assert_eq!(status(2, 5, 2), 0);
    assert_eq!(status(2, 7, 3), 0);
    assert_eq!(status(2, 9, 4), 0x16);
    assert_eq!(status(0, 1, 3), 0);
}

#[test]
fn a_report_by_a_key_that_is_not_there_is_refused() {
    let mut psp = launched(CpuModel::Milan);
    let mut status = |sequence, selection: u32| {
        let mut request = report_request(Vmpl::Vmpl0);
        request.key_selection = selection;
        exchange(&mut psp, 0, sequence, REPORT, request.as_bytes()).unwrap()[0]
    };
    assert_eq!((status(1, 0), status(3, 1)), (0, 0));
    assert_eq!((status(5, 2), status(7, 3)), (0x27, 0x27));
    assert_eq!(status(9, 4), 0x16);
}

#[test]
fn a_payload_of_wrong_length_or_kind_gets_a_status_and_is_not_counted() {
    let mut psp = launched(CpuModel::Milan);
    let short = exchange(&mut psp, 0, 1, REPORT, &[0; 0x5F]);
    assert_eq!(short.err(), Some(PspStatus::InvalidLength));
    for kind in [1, 7, 9, 11, 13] {
        assert_eq!(exchange(&mut psp, 0, 1, kind, &[0; 32]).err(), Some(PspStatus::Unsupported), "{kind}");
    }
    for kind in [0, 2, 4, 6, 15, 18, 255] {
        let refused = psp.guest_request(&seal(&psp, 0, 1, kind, &[0; 32]));
        assert_eq!(refused.err(), Some(PspStatus::InvalidParameter), "{kind}");
    }
    assert!(exchange(&mut psp, 0, 1, REPORT, report_request(Vmpl::Vmpl0).as_bytes()).is_ok());
}

#[test]
fn an_exhausted_counter_ends_the_channel() {
    let mut psp = launched(CpuModel::Milan);
    psp.counts[0] = u64::MAX - 1;
    let refused = psp.guest_request(&seal(&psp, 0, u64::MAX, REPORT, report_request(Vmpl::Vmpl0).as_bytes()));
    assert_eq!(refused.err(), Some(PspStatus::AeadOverflow));
}

fn key_request() -> KeyRequest {
    let mut request = KeyRequest::new_zeroed();
    request.vmpl = 2;
    request
}

fn derived(psp: &mut Psp, sequence: u64, request: &KeyRequest) -> Result<[u8; 32], u32> {
    let payload = exchange(psp, 2, sequence, KEY, request.as_bytes()).unwrap();
    let response = KeyResponse::read_from_bytes(&payload).unwrap();
    if response.status == 0 { Ok(response.derived_key) } else { Err(response.status) }
}

#[test]
fn derived_keys_depend_on_root_level_and_chosen_fields() {
    let mut psp = launched(CpuModel::Milan);
    let first = derived(&mut psp, 1, &key_request()).unwrap();
    assert_eq!(derived(&mut psp, 3, &key_request()).unwrap(), first);
    let others = [
        KeyRequest { root_key_select: 1, ..key_request() },
        KeyRequest { vmpl: 3, ..key_request() },
        KeyRequest { guest_field_select: 1, ..key_request() },
        KeyRequest { guest_field_select: 8, ..key_request() },
    ];
    let mut seen = vec![first];
    for (number, request) in others.iter().enumerate() {
        let key = derived(&mut psp, 5 + 2 * number as u64, request).unwrap();
        assert!(!seen.contains(&key), "request {number}");
        seen.push(key);
    }
    // Another guest of the same platform differs in what was measured only if it chose the measurement.
    let mut other = unlaunched(CpuModel::Milan);
    other.launch_start(GuestPolicy::DEFAULT).unwrap();
    other.launch_finish([0xD2; 48], None).unwrap();
    assert_eq!(derived(&mut other, 1, &key_request()).unwrap(), first);
    let measured = KeyRequest { guest_field_select: 8, ..key_request() };
    assert!(!seen.contains(&derived(&mut other, 3, &measured).unwrap()));
}

#[test]
fn key_requests_beyond_the_guests_rights_are_refused() {
    let mut psp = launched(CpuModel::Milan);
    let refused = [
        (KeyRequest { vmpl: 1, ..key_request() }, 0x16),
        (KeyRequest { vmpl: 4, ..key_request() }, 0x16),
        (KeyRequest { guest_svn: 1, ..key_request() }, 0x16),
        (KeyRequest { tcb_version: 0xDC18_0000_0000_0004, ..key_request() }, 0x16),
        (KeyRequest { guest_field_select: 1 << 6, ..key_request() }, 0x16),
        (KeyRequest { reserved: 1, ..key_request() }, 0x16),
        (KeyRequest { root_key_select: 8, ..key_request() }, 0x16),
        (KeyRequest { root_key_select: 2 << 1, ..key_request() }, 0x27),
    ];
    for (number, (request, status)) in refused.iter().enumerate() {
        assert_eq!(derived(&mut psp, 1 + 2 * number as u64, request), Err(*status), "request {number}");
    }
}

#[test]
fn tsc_information_says_that_the_tsc_is_not_scaled() {
    let mut psp = launched(CpuModel::Milan);
    let payload = exchange(&mut psp, 1, 1, TSC_INFORMATION, &[0; 128]).unwrap();
    let response = TscInformationResponse::read_from_bytes(&payload).unwrap();
    assert_eq!((response.status, response.tsc_scale, response.tsc_offset), (0, 1 << 32, 0));
    let payload = exchange(&mut psp, 1, 3, TSC_INFORMATION, &[1; 128]).unwrap();
    assert_eq!(payload[0], 0x16);
}

#[test]
fn messages_before_the_launch_is_finished_are_refused() {
    let mut psp = unlaunched(CpuModel::Milan);
    let refused = psp.guest_request(&seal(&psp, 0, 1, REPORT, report_request(Vmpl::Vmpl0).as_bytes()));
    assert_eq!(refused.err(), Some(PspStatus::InvalidGuestState));
}

#[test]
fn a_policy_that_the_platform_does_not_meet_stops_the_launch() {
    let start = |policy: u64| unlaunched(CpuModel::Milan).launch_start(GuestPolicy(policy));
    assert_eq!(start(0x3_0137), Ok(()));
    assert_eq!(start(0x3_0138), Err(PspStatus::PolicyFailure));
    assert_eq!(start(0x2_0000), Err(PspStatus::PolicyFailure));
    assert_eq!(start(0x3_0000 | 1 << 22), Err(PspStatus::PolicyFailure));
    assert_eq!(start(0x1_0000), Err(PspStatus::InvalidParameter));
}

fn sec1_key(key: &SigningKey) -> EcdsaPublicKey {
    let point = VerifyingKey::from(key).to_sec1_point(false);
    let number = |bytes: &[u8]| <[u8; 48]>::try_from(bytes).unwrap();
    EcdsaPublicKey::new(&number(point.x().unwrap()), &number(point.y().unwrap()))
}

fn sign(key: &SigningKey, message: &[u8]) -> EcdsaSignature {
    let signature: Signature = key.sign(message);
    let (r, s) = signature.split_bytes();
    EcdsaSignature::new(&r.into(), &s.into())
}

fn signed_block() -> (IdBlock, IdAuthentication) {
    let (id, author) = (SigningKey::from_slice(&[1; 48]).unwrap(), SigningKey::from_slice(&[2; 48]).unwrap());
    let block = IdBlock {
        launch_digest: DIGEST,
        family_id: [3; 16],
        image_id: [4; 16],
        version: ID_BLOCK_VERSION,
        guest_svn: 7,
        policy: GuestPolicy::DEFAULT,
    };
    let public = sec1_key(&id);
    let authentication = IdAuthentication::new(public.clone(), sign(&id, block.as_bytes()))
        .with_author(sec1_key(&author), sign(&author, public.as_bytes()));
    (block, authentication)
}

fn finish(block: &IdBlock, authentication: &IdAuthentication) -> Result<Psp, PspStatus> {
    let mut psp = unlaunched(CpuModel::Genoa);
    psp.launch_start(GuestPolicy::DEFAULT)?;
    psp.launch_finish(DIGEST, Some((block, authentication, true)))?;
    Ok(psp)
}

#[test]
fn an_id_block_and_its_keys_appear_in_the_report() {
    let (block, authentication) = signed_block();
    let report = report(&mut finish(&block, &authentication).unwrap_or_else(|status| panic!("{status:?}")));
    assert_eq!((report.family_id, report.image_id, report.guest_svn), ([3; 16], [4; 16], 7));
    assert_eq!(report.id_key_digest, authentication.id_key.digest());
    assert_eq!(report.author_key_digest, authentication.author_key.digest());
    assert!(report.key_information.has_author_key());
}

#[test]
fn an_id_block_that_does_not_fit_stops_the_launch() {
    let refused = |change: fn(&mut IdBlock, &mut IdAuthentication)| {
        let (mut block, mut authentication) = signed_block();
        change(&mut block, &mut authentication);
        finish(&block, &authentication).err()
    };
    assert_eq!(refused(|block, _| block.guest_svn = 8), Some(PspStatus::BadSignature));
    assert_eq!(refused(|block, _| block.version = 2), Some(PspStatus::BadVersion));
    assert_eq!(refused(|_, auth| auth.id_key_algorithm = 2), Some(PspStatus::InvalidParameter));
    assert_eq!(refused(|_, auth| auth.id_key.curve = 1), Some(PspStatus::InvalidKey));
    assert_eq!(
        refused(|_, auth| auth.id_key_signature = auth.id_block_signature.clone()),
        Some(PspStatus::BadSignature)
    );
    let (block, authentication) = signed_block();
    let mut psp = unlaunched(CpuModel::Milan);
    psp.launch_start(GuestPolicy::DEFAULT).unwrap();
    let other = psp.launch_finish([0xD2; 48], Some((&block, &authentication, true)));
    assert_eq!(other, Err(PspStatus::BadMeasurement));
    psp.launch_start(GuestPolicy(0x3_0000 | 1 << 20)).unwrap();
    let other = psp.launch_finish(DIGEST, Some((&block, &authentication, true)));
    assert_eq!(other, Err(PspStatus::PolicyFailure));
}
