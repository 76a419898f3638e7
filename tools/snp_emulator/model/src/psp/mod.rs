//! The security processor (PSP): what it knows of the platform and of one guest, and how it answers that guest.
//!
//! [`identity`] says which processor it belongs to, [`launch`] what it refuses to launch, [`channel`] opens and seals
//! messages, [`report`] and [`mod@derive`] answer them. Source: SNP firmware ABI (AMD 56860).

pub mod channel;
pub mod derive;
pub mod identity;
pub mod launch;
pub mod report;

use alloc::vec::Vec;
use p384::ecdsa::SigningKey;
use sha2::{Digest, Sha256, Sha512};
use snp_abi::address::PAGE_LENGTH;
use snp_abi::report::SigningKey as KeyKind;
use snp_abi::rmp::VMPL_COUNT;
use snp_abi::secrets::{SecretsPage, VMPCK_BYTES};
use zerocopy::{FromZeros, IntoBytes};

pub use identity::CpuModel;
pub use launch::LaunchContext;

/// Version of the secrets page that this firmware writes.
const SECRETS_VERSION: u32 = 3;

/// The key that signs reports. No `Debug`: it holds a private key.
pub struct Endorsement {
    /// VCEK or VLEK.
    pub kind: KeyKind,
    /// The key.
    pub key: SigningKey,
}

impl Endorsement {
    /// From a private key's 48 big-endian bytes; `None` if they are no key on P-384.
    pub fn new(kind: KeyKind, scalar: &[u8]) -> Option<Self> {
        let key = SigningKey::from_slice(scalar).ok()?;
        Some(Self { kind, key })
    }
}

/// What the platform and the host bring into a guest's launch.
pub struct Setup {
    /// Which processor this is.
    pub model: CpuModel,
    /// Secret of this platform and guest, from which keys and ids are derived: random for real runs, fixed for
    /// deterministic ones.
    pub seed: Vec<u8>,
    /// Unique to the chip.
    pub chip_id: [u8; 64],
    /// Signs reports.
    pub endorsement: Endorsement,
    /// The host's own words for the report.
    pub host_data: [u8; 32],
}

impl Setup {
    /// A Milan platform all of whose secrets come from a seed, with a VCEK.
    pub fn from_seed(seed: &[u8]) -> Self {
        let chip_id = Sha512::new().chain_update(b"CHIP_ID").chain_update(seed).finalize().into();
        let endorsement = (0u8..=u8::MAX).find_map(|attempt| {
            let hash = Sha512::new().chain_update(b"VCEK").chain_update([attempt]).chain_update(seed);
            Endorsement::new(KeyKind::Vcek, &hash.finalize()[..48])
        });
        Self {
            model: CpuModel::Milan,
            seed: seed.to_vec(),
            chip_id,
            endorsement: endorsement.expect("nearly every hash is a key on P-384"),
            host_data: [0; 32],
        }
    }
}

/// The security processor's state for one guest.
pub struct Psp {
    setup: Setup,
    vmpcks: [[u8; VMPCK_BYTES]; VMPL_COUNT],
    /// Messages counted so far, by key.
    counts: [u64; VMPL_COUNT],
    guest: LaunchContext,
}

impl Psp {
    /// A guest's keys are derived; nothing is launched yet.
    pub fn new(setup: Setup) -> Self {
        let vmpcks = core::array::from_fn(|level| secret(&setup.seed, b"VMPCK", &[level as u8]));
        Self { vmpcks, counts: [0; VMPL_COUNT], guest: LaunchContext::default(), setup }
    }

    /// The secrets page that the guest's VMPL0 finds.
    pub fn secrets_page(&self) -> [u8; PAGE_LENGTH] {
        let mut page = SecretsPage::new_zeroed();
        page.version = SECRETS_VERSION;
        page.family_model_stepping = self.setup.model.signature();
        page.vmpcks = self.vmpcks;
        let mut bytes = [0; PAGE_LENGTH];
        bytes.copy_from_slice(page.as_bytes());
        bytes
    }

    fn secret(&self, label: &[u8], context: &[u8]) -> [u8; 32] {
        secret(&self.setup.seed, label, context)
    }
}

/// One of the secrets of a platform.
fn secret(seed: &[u8], label: &[u8], context: &[u8]) -> [u8; 32] {
    let hash = Sha256::new().chain_update(label).chain_update(context).chain_update(seed);
    hash.finalize().into()
}

#[cfg(test)]
mod tests;
