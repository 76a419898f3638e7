//! The security processor: its secrets, and later its answers to guest messages.

use sha2::{Digest, Sha256};
use snp_abi::address::PAGE_LENGTH;
use snp_abi::rmp::VMPL_COUNT;
use snp_abi::secrets::{SecretsPage, VMPCK_BYTES};
use zerocopy::{FromZeros, IntoBytes};

/// Version of the secrets page that this firmware writes.
const SECRETS_VERSION: u32 = 3;
/// Milan, stepping 1: family 0x19, model 1.
const FAMILY_MODEL_STEPPING: u32 = 0x00a0_0f11;

/// The security processor's state for one guest.
pub struct Psp {
    vmpcks: [[u8; VMPCK_BYTES]; VMPL_COUNT],
}

impl Psp {
    /// A guest's keys from the machine's seed: random for real runs, fixed for deterministic ones.
    pub fn new(seed: &[u8]) -> Self {
        let vmpcks = core::array::from_fn(|level| {
            let hash = Sha256::new().chain_update(b"VMPCK").chain_update([level as u8]).chain_update(seed);
            hash.finalize().into()
        });
        Self { vmpcks }
    }

    /// The secrets page that the guest's VMPL0 finds.
    pub fn secrets_page(&self) -> [u8; PAGE_LENGTH] {
        let mut page = SecretsPage::new_zeroed();
        page.version = SECRETS_VERSION;
        page.family_model_stepping = FAMILY_MODEL_STEPPING;
        page.vmpcks = self.vmpcks;
        let mut bytes = [0; PAGE_LENGTH];
        bytes.copy_from_slice(page.as_bytes());
        bytes
    }
}
