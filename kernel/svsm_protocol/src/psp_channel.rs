//! VMPL0's channel to the security processor: messages sealed with VMPCK0, each sent until it is answered.
//!
//! AES-GCM is broken for good when one nonce meets two plaintexts, and the nonce is the message's sequence number. So a
//! message, once sealed, is kept and sent again byte by byte until the security processor answers it, however often the
//! host says that it is busy; only then the next sequence number exists. An answer that does not open closes the
//! channel for the VM's life. Source: AMD 56860, "guest messages"; AMD 56421, "SNP guest request".

use crate::failure::Refusal;
use crate::ledger::OutOfMemory;
use crate::machine::{Machine, MessagePage};
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Key, Nonce, Tag};
use alloc::vec::Vec;
use snp_abi::address::PAGE_LENGTH;
use snp_abi::ghcb::guest_request::{GuestRequestOutcome, HostError};
use snp_abi::guest_message::{
    ExpectedMessage, HEADER_BYTES, MessageHeader, MessageStatus, MessageType, ReportRequest,
    ReportResponseHeader, TAG_BYTES,
};
use snp_abi::report::AttestationReport;
use snp_abi::rmp::Vmpl;
use snp_abi::secrets::VMPCK_BYTES;
use spin::Mutex;
use zerocopy::{FromBytes, FromZeros, IntoBytes};
use zeroize::{Zeroize, Zeroizing};

/// Pages that the firmware offers the host for certificates; AMD's three certificates fill less than two.
pub const CERTIFICATE_PAGES: usize = 8;
/// Bytes of [`CERTIFICATE_PAGES`].
pub const CERTIFICATE_BYTES: usize = CERTIFICATE_PAGES * PAGE_LENGTH;

/// How often one call sends a message before the guest is told to call again.
const TRIES: usize = 4;
/// The sequence number of a response must exist, and the one after it.
const LAST_REQUEST: u64 = u64::MAX - 2;

/// The channel, shared by all vCPUs.
pub struct PspChannel {
    state: Mutex<State>,
}

enum State {
    /// The only element.
    Open(Vec<Open>),
    /// No key: there never was one, or it was given up.
    Closed,
}

/// No `Debug`: it holds the key. It lies in one place of the heap from the start, so that no guest's call has to find room, and the
/// key is never moved.
struct Open {
    key: Zeroizing<[u8; VMPCK_BYTES]>,
    /// Messages counted so far, requests and responses.
    count: u64,
    /// The request that is sealed in `message`, and has no answer yet.
    pending: Option<ReportRequest>,
    message: MessagePage,
    response: MessagePage,
    /// The last report.
    report: AttestationReport,
}

/// What became of a message.
enum Delivery {
    /// It was answered.
    Answered,
    /// It was answered with a status.
    Refused,
    /// The host does not pass it on now.
    Busy,
    /// The host, or the security processor by its word, does not take it.
    NotTaken,
    /// The answer is none.
    Broken,
}

impl PspChannel {
    /// The channel with VMPCK0, which is moved out of `key`: zeros are left there.
    ///
    /// # Errors
    /// If there is no memory for its messages.
    pub fn new(key: &mut [u8; VMPCK_BYTES]) -> Result<Self, OutOfMemory> {
        let mut place = Vec::new();
        place.try_reserve_exact(1).map_err(|_| OutOfMemory)?;
        place.push(Open {
            key: Zeroizing::new([0; VMPCK_BYTES]),
            count: 0,
            pending: None,
            message: [0; PAGE_LENGTH],
            response: [0; PAGE_LENGTH],
            report: AttestationReport::new_zeroed(),
        });
        let open = place.first_mut().ok_or(OutOfMemory)?;
        open.key.copy_from_slice(key);
        key.zeroize();
        Ok(Self { state: Mutex::new(State::Open(place)) })
    }

    /// No channel.
    pub fn closed() -> Self {
        Self { state: Mutex::new(State::Closed) }
    }

    /// Asks for a report about VMPL0 with this data; certificates from the host are put into `certificates`, if given.
    ///
    /// # Errors
    /// [`Refusal::Busy`] if another vCPU uses the channel or the host is busy, else [`Refusal::InvalidRequest`].
    pub(crate) fn report(
        &self,
        machine: &mut dyn Machine,
        report_data: [u8; 64],
        certificates: Option<&mut [u8]>,
    ) -> Result<AttestationReport, Refusal> {
        let mut state = self.state.try_lock().ok_or(Refusal::Busy)?;
        let State::Open(place) = &mut *state else { return Err(Refusal::InvalidRequest) };
        let open = place.first_mut().ok_or(Refusal::InvalidRequest)?;
        let request = ReportRequest::new(report_data, Vmpl::Vmpl0);
        let unfinished = open.finish_other(machine, &request);
        match unfinished.unwrap_or_else(|| open.send(machine, &request, certificates)) {
            Delivery::Answered => Ok(open.report.clone()),
            Delivery::Busy => Err(Refusal::Busy),
            Delivery::Refused | Delivery::NotTaken => Err(Refusal::InvalidRequest),
            Delivery::Broken => {
                // Dropping the old state wipes the key.
                *state = State::Closed;
                Err(Refusal::InvalidRequest)
            }
        }
    }
}

impl Open {
    /// A message of an earlier call that was not answered must be, before there can be another one. Its answer is of no
    /// use to anybody; a caller that comes back with the same request gets it from [`Self::send`]. Returns what stands in
    /// the way of the next message, if anything does.
    fn finish_other(&mut self, machine: &mut dyn Machine, request: &ReportRequest) -> Option<Delivery> {
        self.pending.as_ref().filter(|pending| *pending != request)?;
        match self.deliver(machine, None) {
            Delivery::Answered | Delivery::Refused => None,
            unfinished => Some(unfinished),
        }
    }

    fn send(
        &mut self,
        machine: &mut dyn Machine,
        request: &ReportRequest,
        certificates: Option<&mut [u8]>,
    ) -> Delivery {
        if self.pending.is_none() {
            if self.seal(request).is_none() {
                return Delivery::Broken;
            }
            self.pending = Some(request.clone());
        }
        self.deliver(machine, certificates)
    }

    /// Sends the pending message a few times.
    fn deliver(&mut self, machine: &mut dyn Machine, mut certificates: Option<&mut [u8]>) -> Delivery {
        for _ in 0..TRIES {
            if self.pending.is_none() {
                return Delivery::NotTaken;
            }
            let offered = certificates.as_deref_mut();
            match machine.guest_request(&self.message, &mut self.response, offered) {
                Some(GuestRequestOutcome::Answered) => {
                    let opened = self.open();
                    self.pending = None;
                    return opened;
                }
                Some(GuestRequestOutcome::Host(HostError::Busy)) => {}
                // More certificates than anybody needs: the report comes without them. The message stays the same.
                Some(GuestRequestOutcome::Host(HostError::BufferTooSmall)) => {
                    if let Some(given) = certificates.take() {
                        given.fill(0);
                    }
                }
                // The host's word: the security processor may have seen the message or not, so it stays pending.
                Some(GuestRequestOutcome::UnknownHostError(_) | GuestRequestOutcome::Firmware(_)) | None => {
                    return Delivery::NotTaken;
                }
            }
        }
        Delivery::Busy
    }

    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new(&Key::<Aes256Gcm>::from(*self.key))
    }

    /// Seals a request with the next sequence number in `message`; none if there is no such number any more.
    fn seal(&mut self, request: &ReportRequest) -> Option<()> {
        if self.count > LAST_REQUEST {
            return None;
        }
        let message = ExpectedMessage {
            message_type: MessageType::ReportRequest,
            vmpck: Vmpl::Vmpl0,
            sequence_number: self.count.checked_add(1)?,
        };
        let payload = request.as_bytes();
        let mut header = MessageHeader::new(message, payload.len())?;
        let cipher = self.cipher();
        self.message.fill(0);
        let (head, body) = self.message.split_at_mut_checked(HEADER_BYTES)?;
        let place = body.get_mut(..payload.len())?;
        place.copy_from_slice(payload);
        let nonce = Nonce::from(header.nonce());
        let tag = cipher.encrypt_inout_detached(&nonce, header.authenticated(), place.into()).ok()?;
        header.tag.get_mut(..TAG_BYTES)?.copy_from_slice(&tag);
        head.copy_from_slice(header.as_bytes());
        Some(())
    }

    /// Opens the response, which is a private copy; afterwards it is counted.
    fn open(&mut self) -> Delivery {
        let opened = self.read_response();
        // Refused or not, the numbers of this exchange are used up.
        self.count = self.count.saturating_add(2);
        self.response.zeroize();
        opened.unwrap_or(Delivery::Broken)
    }

    /// Decrypts the response and reads it; none if it is malformed.
    fn read_response(&mut self) -> Option<Delivery> {
        let cipher = self.cipher();
        let (head, body) = self.response.split_at_mut_checked(HEADER_BYTES)?;
        let header = MessageHeader::read_from_bytes(head).ok()?;
        let expected = ExpectedMessage {
            message_type: MessageType::ReportResponse,
            vmpck: Vmpl::Vmpl0,
            sequence_number: self.count.checked_add(2)?,
        };
        let payload = body.get_mut(..header.check(expected).ok()?)?;
        let tag: [u8; TAG_BYTES] = *header.tag.first_chunk()?;
        let nonce = Nonce::from(header.nonce());
        let place = (&mut *payload).into();
        cipher.decrypt_inout_detached(&nonce, header.authenticated(), place, &Tag::from(tag)).ok()?;
        let (answer, report) = ReportResponseHeader::read_from_prefix(payload).ok()?;
        if answer.status != MessageStatus::Success.to_wire() {
            return Some(Delivery::Refused);
        }
        let report = report.get(..usize::try_from(answer.report_size).ok()?)?;
        self.report = AttestationReport::parse(report).ok()?;
        Some(Delivery::Answered)
    }
}
