//! Guest messages: opened, counted, dispatched, sealed (AMD 56860, "guest messages" and SNP_GUEST_REQUEST).
//!
//! A message whose header is not exactly as it must be, whose counter is not the next one, or whose tag is wrong, gets
//! no response: the command fails with a status, and nothing is counted. A message that opens is counted, and
//! what is wrong with its payload stands in the response.

use super::Psp;
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Key, Nonce, Tag};
use alloc::vec::Vec;
use snp_abi::address::PAGE_LENGTH;
use snp_abi::guest_message::{
    ExpectedMessage, HEADER_BYTES, KeyRequest, MESSAGE_VERSION, MessageHeader, MessageStatus, MessageType,
    ReportRequest, TAG_BYTES, TSC_INFORMATION_REQUEST_BYTES, TscInformationResponse,
};
use snp_abi::psp_status::PspStatus;
use snp_abi::rmp::Vmpl;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// One page: header and payload.
pub type MessagePage = [u8; PAGE_LENGTH];

/// Parts of the header that must be zero: the rest of the tag, and what is reserved.
const ZERO: [core::ops::Range<usize>; 4] = [0x10..0x20, 0x28..0x30, 0x38..0x3C, 0x3D..0x60];

/// One as TSC_SCALE: 8.32 fixed point.
const TSC_SCALE_ONE: u64 = 1 << 32;

/// A message that was opened.
struct Opened {
    kind: MessageType,
    key: Vmpl,
    payload: Vec<u8>,
}

impl Psp {
    /// SNP_GUEST_REQUEST: one message, one response.
    pub fn guest_request(&mut self, request: &MessagePage) -> Result<MessagePage, PspStatus> {
        if !self.guest.finished {
            return Err(PspStatus::InvalidGuestState);
        }
        let Opened { kind, key, payload } = self.open(request)?;
        let payload = match kind {
            MessageType::ReportRequest => {
                let request =
                    ReportRequest::read_from_bytes(&payload).map_err(|_| PspStatus::InvalidLength)?;
                self.report(key, &request)
            }
            MessageType::KeyRequest => {
                let request = KeyRequest::read_from_bytes(&payload).map_err(|_| PspStatus::InvalidLength)?;
                self.derive(key, &request).as_bytes().to_vec()
            }
            MessageType::TscInformationRequest => {
                if payload.len() != TSC_INFORMATION_REQUEST_BYTES {
                    return Err(PspStatus::InvalidLength);
                }
                tsc_information(&payload).as_bytes().to_vec()
            }
            _ => return Err(PspStatus::Unsupported),
        };
        // Reserved kinds and responses were refused, so there is a response to each.
        let response = kind.response().ok_or(PspStatus::InvalidParameter)?;
        let sealed = self.seal(key, response, &payload)?;
        self.counts[key.index()] += 2;
        Ok(sealed)
    }

    fn cipher(&self, key: Vmpl) -> Aes256Gcm {
        Aes256Gcm::new(&Key::<Aes256Gcm>::from(self.vmpcks[key.index()]))
    }

    fn open(&self, page: &MessagePage) -> Result<Opened, PspStatus> {
        let (header, _) = MessageHeader::read_from_prefix(page).map_err(|_| PspStatus::InvalidParameter)?;
        let kind = MessageType::from_wire(header.message_type).filter(|kind| kind.response().is_some());
        let kind = kind.ok_or(PspStatus::InvalidParameter)?;
        let key = Vmpl::from_wire(header.vmpck).ok_or(PspStatus::InvalidParameter)?;
        if ZERO.iter().any(|range| page[range.clone()].iter().any(|byte| *byte != 0)) {
            return Err(PspStatus::InvalidParameter);
        }
        let count = self.counts[key.index()];
        if count > u64::MAX - 2 {
            return Err(PspStatus::AeadOverflow);
        }
        let expected = ExpectedMessage { message_type: kind, vmpck: key, sequence_number: count + 1 };
        let length = header.check(expected).map_err(|_| PspStatus::InvalidParameter)?;
        let mut payload = page[HEADER_BYTES..HEADER_BYTES + length].to_vec();
        let mut tag = [0; TAG_BYTES];
        tag.copy_from_slice(&header.tag[..TAG_BYTES]);
        self.cipher(key)
            .decrypt_inout_detached(
                &Nonce::from(header.nonce()),
                header.authenticated(),
                payload.as_mut_slice().into(),
                &Tag::from(tag),
            )
            .map_err(|_| PspStatus::BadMeasurement)?;
        Ok(Opened { kind, key, payload })
    }

    fn seal(&self, key: Vmpl, kind: MessageType, payload: &[u8]) -> Result<MessagePage, PspStatus> {
        let sequence_number = self.counts[key.index()] + 2;
        let message = ExpectedMessage { message_type: kind, vmpck: key, sequence_number };
        let mut header = MessageHeader::new(message, payload.len()).ok_or(PspStatus::InvalidLength)?;
        let mut page = [0; PAGE_LENGTH];
        let place = &mut page[HEADER_BYTES..HEADER_BYTES + payload.len()];
        place.copy_from_slice(payload);
        let tag = self
            .cipher(key)
            .encrypt_inout_detached(&Nonce::from(header.nonce()), header.authenticated(), place.into())
            .map_err(|_| PspStatus::InvalidLength)?;
        header.tag[..TAG_BYTES].copy_from_slice(&tag);
        page[..HEADER_BYTES].copy_from_slice(header.as_bytes());
        Ok(page)
    }
}

/// MSG_TSC_INFO: the TSC runs at its nominal rate from 0 on.
fn tsc_information(request: &[u8]) -> TscInformationResponse {
    let mut response = TscInformationResponse::new_zeroed();
    if request.iter().any(|byte| *byte != 0) {
        response.status = MessageStatus::InvalidParameters.to_wire();
        return response;
    }
    response.tsc_scale = TSC_SCALE_ONE;
    response
}

const _: () = assert!(MESSAGE_VERSION == 1, "no payload of another version is known here");
