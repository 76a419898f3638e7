//! The secrets page: taken from the page that the security processor filled, once, and kept where only VMPL0 reaches it.

use crate::facts::GUEST_VMPL;
use boot_handoff::Handoff;
use hardware::boot::take_secrets_page;
use hardware::region;
use hardware::termination::{Reason, terminate};
use snp_abi::secrets::{GuestArea, SecretsPage, SvsmArea};
use spin::Mutex;
use svsm_protocol::PspChannel;
use zerocopy::{FromBytes, FromZeros};

/// The page as VMPL0 found it; its guest's part is what the last guest left there.
static SECRETS: Mutex<Option<SecretsPage>> = Mutex::new(None);

/// Takes the secrets.
pub fn keep(handoff: &Handoff) {
    let page = take_secrets_page(handoff.secrets_page);
    let Ok(mut secrets) = SecretsPage::read_from_bytes(&page) else { terminate(Reason::SecretsPage) };
    // The first guest begins to count.
    secrets.guest_area = GuestArea::new_zeroed();
    if secrets.version == 0 || secrets.vmpcks.iter().any(|key| key.iter().all(|byte| *byte == 0)) {
        terminate(Reason::SecretsPage);
    }
    *SECRETS.lock() = Some(secrets);
}

/// Moves VMPL0's own key out of the secrets: from here on only the channel has it.
pub fn channel() -> PspChannel {
    let mut secrets = SECRETS.lock();
    let Some(secrets) = &mut *secrets else { terminate(Reason::SecretsPage) };
    let [own, ..] = &mut secrets.vmpcks;
    PspChannel::new(own).unwrap_or_else(|_| terminate(Reason::OutOfMemory))
}

/// The secrets page for the guest: without VMPL0's key, with the way to this firmware.
pub fn guest_secrets(calling_area: u64) -> SecretsPage {
    let (start, end) = (region::start(), region::end());
    let area = SvsmArea::new(start, end - start, calling_area, 1, GUEST_VMPL);
    match &*SECRETS.lock() {
        Some(secrets) => {
            let mut page = secrets.for_guest(GUEST_VMPL, area);
            page.continue_messages(Some(&secrets.guest_area));
            page
        }
        None => terminate(Reason::SecretsPage),
    }
}

/// Notes how far a guest that was reset came with its messages to the security processor. Where that is not known, the keys are
/// forgotten, for every later guest.
pub fn continue_messages(area: Option<&GuestArea>) {
    if let Some(secrets) = &mut *SECRETS.lock() {
        secrets.continue_messages(area);
    }
}
