//! The secrets page: taken from the page that the security processor filled, once, and kept where only VMPL0 reaches it.

use crate::facts::GUEST_VMPL;
use boot_handoff::Handoff;
use hardware::boot::take_secrets_page;
use hardware::region;
use hardware::termination::{Reason, terminate};
use snp_abi::secrets::{GuestArea, SecretsPage, SvsmArea};
use spin::Mutex;
use svsm_protocol::PspChannel;
use zerocopy::{FromZeros, IntoBytes};
use zeroize::Zeroize;

/// The page as VMPL0 found it; its guest's part is what the last guest left there.
static SECRETS: Mutex<Option<SecretsPage>> = Mutex::new(None);

/// Bytes of [`seed`].
#[cfg(feature = "vtpm")]
pub const SEED_BYTES: usize = 48;
/// Makes the seed differ from everything else that follows from the key.
#[cfg(feature = "vtpm")]
const SEED_LABEL: &[u8; 32] = b"Vouchsafe: entropy of the vTPM  ";

/// Follows from VMPCK0. None of the key can be learnt from it.
#[cfg(feature = "vtpm")]
static SEED: Mutex<[u8; SEED_BYTES]> = Mutex::new([0; SEED_BYTES]);

/// A secret that the security processor made for this launch, as it were: it follows from VMPCK0.
#[cfg(feature = "vtpm")]
pub fn seed() -> zeroize::Zeroizing<[u8; SEED_BYTES]> {
    zeroize::Zeroizing::new(*SEED.lock())
}

#[cfg(feature = "vtpm")]
fn derive_seed(key: &[u8; snp_abi::secrets::VMPCK_BYTES]) {
    use sha2::{Digest, Sha384};
    *SEED.lock() = Sha384::new().chain_update(SEED_LABEL).chain_update(key).finalize().into();
}

#[cfg(not(feature = "vtpm"))]
fn derive_seed(_: &[u8; snp_abi::secrets::VMPCK_BYTES]) {}

/// Takes the secrets.
pub fn keep(handoff: &Handoff) {
    let mut page = take_secrets_page(handoff.secrets_page);
    let mut place = SECRETS.lock();
    // Copied to where it stays; the copy on the stack is wiped.
    let secrets = place.insert(SecretsPage::new_zeroed());
    secrets.as_mut_bytes().copy_from_slice(&page);
    page.zeroize();
    // The first guest begins to count.
    secrets.guest_area = GuestArea::new_zeroed();
    if secrets.version == 0 || secrets.vmpcks.iter().any(|key| key.iter().all(|byte| *byte == 0)) {
        terminate(Reason::SecretsPage);
    }
    let [own, ..] = &secrets.vmpcks;
    derive_seed(own);
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
