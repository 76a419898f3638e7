//! The host's part of a guest message: it passes the message on to the security processor, adds certificates, and says
//! "not now" when it is asked too often (GHCB specification 56421, "SNP guest request"; what KVM does).

use crate::Contents;
use crate::machine::Machine;
use crate::psp::Psp;
use crate::violation::Fault;
use alloc::vec::Vec;
use snp_abi::address::{PAGE_BYTES, PAGE_LENGTH, PageSize, is_aligned};
use snp_abi::certificates::ENTRY_BYTES;
use snp_abi::ghcb::event::MalformedRequest;
use snp_abi::ghcb::guest_request::{GuestRequestOutcome, HostError};

/// What the host has to say about guest messages.
#[derive(Clone, Debug, Default)]
pub struct HostPolicy {
    /// The certificate table, empty if the host has no certificates.
    pub certificates: Vec<u8>,
    /// Every so-manieth message is answered "busy"; 0 for none.
    pub throttle: u64,
    messages: u64,
}

/// Where a request's pages are. All are the guest's claims.
#[derive(Clone, Copy, Debug)]
pub struct RequestPages {
    /// The sealed request.
    pub request: u64,
    /// Room for the sealed response.
    pub response: u64,
    /// Room for certificates, of an extended request: address and number of pages.
    pub data: Option<(u64, u64)>,
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestAnswer {
    /// `SW_EXITINFO2`.
    pub outcome: GuestRequestOutcome,
    /// Number of data pages for RBX, where too few were given.
    pub pages_needed: Option<u64>,
}

impl HostPolicy {
    /// A host with these certificates that throttles every so-manieth message.
    pub fn new(certificates: Vec<u8>, throttle: u64) -> Self {
        Self { certificates, throttle, messages: 0 }
    }

    fn pages(&self) -> u64 {
        (self.certificates.len() as u64).div_ceil(PAGE_BYTES)
    }

    fn is_busy(&mut self) -> bool {
        self.messages += 1;
        self.throttle != 0 && self.messages.is_multiple_of(self.throttle)
    }
}

impl Machine {
    /// SNP guest request, or extended guest request if there are data pages.
    pub fn guest_request(
        &mut self,
        vcpu: usize,
        pages: RequestPages,
        (psp, host): (&mut Psp, &mut HostPolicy),
        contents: &mut dyn Contents,
    ) -> Result<RequestAnswer, MalformedRequest> {
        let RequestPages { request, response, data } = pages;
        if request == response {
            return Err(MalformedRequest::InvalidInput);
        }
        self.require_shared(vcpu, request, 1)?;
        self.require_shared(vcpu, response, 1)?;
        let answer = |outcome, pages_needed| Ok(RequestAnswer { outcome, pages_needed });
        if let Some((address, count)) = data {
            if count > 0 {
                self.require_shared(vcpu, address, count)?;
            }
            if count < host.pages() {
                return answer(GuestRequestOutcome::Host(HostError::BufferTooSmall), Some(host.pages()));
            }
        }
        if host.is_busy() {
            return answer(GuestRequestOutcome::Host(HostError::Busy), None);
        }
        let mut message = [0; PAGE_LENGTH];
        contents.read(request, &mut message);
        match psp.guest_request(&message) {
            Ok(sealed) => contents.write(response, &sealed),
            Err(status) => return answer(GuestRequestOutcome::Firmware(status.to_wire()), None),
        };
        if let Some((address, 1..)) = data {
            if host.certificates.is_empty() {
                // As KVM: the end of a table without rows.
                contents.write(address, &[0; ENTRY_BYTES]);
            } else {
                contents.write(address, &host.certificates);
            }
        }
        answer(GuestRequestOutcome::Answered, None)
    }

    fn require_shared(&mut self, vcpu: usize, address: u64, pages: u64) -> Result<(), MalformedRequest> {
        let bytes = pages.checked_mul(PAGE_BYTES).filter(|bytes| address.checked_add(*bytes).is_some());
        let bytes = bytes.ok_or(MalformedRequest::InvalidInput)?;
        if !is_aligned(address, PageSize::Small) {
            return Err(MalformedRequest::InvalidInput);
        }
        if pages > MOST_DATA_PAGES || !self.host_may_access(address, bytes) {
            let actor = self.actor(vcpu);
            self.report(actor, Fault::DeviceAccess { address });
            return Err(MalformedRequest::InvalidInput);
        }
        Ok(())
    }
}

/// More than this no host reads or writes for one request; Linux's limit is 4.
const MOST_DATA_PAGES: u64 = 1024;
