//! The pages that messages to the security processor go through: shared with the host when the first one is sent.
//!
//! Nothing is judged here: messages are copied in and out, and the channel in `svsm_protocol` looks at the private copies.

use hardware::cpu::{self, Cpu};
use hardware::shared::{SharedBuffer, SharedPage};
use snp_abi::ghcb::guest_request::GuestRequestOutcome;
use spin::Mutex;
use svsm_protocol::{CERTIFICATE_PAGES, MessagePage};

struct Pages {
    request: SharedPage,
    response: SharedPage,
    certificates: SharedBuffer,
}

/// One set for all vCPUs; the channel is used by one at a time anyway.
static PAGES: Mutex<Option<Pages>> = Mutex::new(None);

impl Pages {
    fn new(cpu: &mut Cpu) -> Option<Self> {
        Some(Self {
            request: cpu.share_page().ok()?,
            response: cpu.share_page().ok()?,
            certificates: cpu.share_buffer(CERTIFICATE_PAGES as u64).ok()?,
        })
    }
}

/// Sends a message; none if the host refuses the event, or there is no memory for the pages.
pub fn exchange(
    cpu: &mut Cpu,
    request: &MessagePage,
    response: &mut MessagePage,
    certificates: Option<&mut [u8]>,
) -> Option<GuestRequestOutcome> {
    let mut pages = PAGES.lock();
    if pages.is_none() {
        *pages = Pages::new(cpu);
    }
    let pages = pages.as_mut()?;
    pages.request.write(0, request);
    let data = certificates.is_some().then_some(&pages.certificates);
    let outcome = cpu::with_ghcb(|ghcb| ghcb.guest_request(&pages.request, &pages.response, data))?.ok()?;
    if outcome == GuestRequestOutcome::Answered {
        pages.response.read(0, response);
        if let Some(certificates) = certificates {
            pages.certificates.read(0, certificates);
        }
    }
    Some(outcome)
}
