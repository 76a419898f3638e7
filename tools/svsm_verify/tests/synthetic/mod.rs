//! Evidence made for tests, whole and of every kind: a chain under a test root, a report, a vTPM's keys, quote and log.
//!
//! Nothing here comes from the code under test but the formats' names: structures are written field by field. A test takes
//! [`Machine::genuine`], changes what it is about, and asks for the evidence.

#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod certificates;
pub mod report;
pub mod tpm;

use std::time::Duration;

use sha2::{Digest, Sha256, Sha512};
use svsm_verify::certificates::Certificate;
use svsm_verify::evidence::Evidence;
use svsm_verify::policy::Policy;
use svsm_verify::{Activation, ClaimsSet, Nonce, Question, verify};

use certificates::{Authority, Endorsement, Product};
use report::ReportFields;
use tpm::{Key, Log};

/// The nonce of a test's session.
pub const NONCE: &[u8; 64] = b"the nonce of this very session, which has sixty-four bytes: 0042";
/// When the tests take place, since 1970: the year 2026.
pub const NOW: Duration = Duration::from_secs(1_790_000_000);
/// The launch digest of a test's image.
pub const LAUNCH_DIGEST: [u8; 48] = [0xD1; 48];

/// The vTPM's service GUID in memory.
const VTPM_SERVICE: [u8; 16] =
    [0xEB, 0xF1, 0x76, 0xC4, 0x23, 0x01, 0xA5, 0x45, 0x96, 0x41, 0xB4, 0xE7, 0xDD, 0xE5, 0xBF, 0xE3];
/// The services manifest's GUID in memory.
const SERVICES_MANIFEST: [u8; 16] =
    [0xBB, 0x9E, 0x84, 0x63, 0x92, 0x3D, 0x70, 0x46, 0xA1, 0xFF, 0x58, 0xF9, 0xC9, 0x4B, 0x87, 0xBB];

/// A machine with a guest, and what each part of it says.
pub struct Machine {
    pub authority: &'static Authority,
    pub endorsement: Endorsement,
    pub report: ReportFields,
    pub nonce: Vec<u8>,
    pub endorsement_key: &'static Key,
    pub attestation_key: &'static Key,
    /// What the guest's TPM says is quoted.
    pub quote_nonce: Vec<u8>,
    pub quote_hash: tpm::Hash,
    pub log: Log,
    pub lists_all_services: bool,
    /// Keys of a manifest of version 1; none for version 0.
    pub listed_keys: Vec<&'static Key>,
}

impl Machine {
    /// A machine whose evidence verifies by [`policy`].
    pub fn genuine() -> Self {
        Self::of(Product::Genoa)
    }

    /// The same for another processor.
    pub fn of(product: Product) -> Self {
        Self {
            authority: Authority::first(),
            endorsement: Endorsement::chip(product),
            report: ReportFields::new(product),
            nonce: NONCE.to_vec(),
            endorsement_key: Key::endorsement_rsa(),
            attestation_key: Key::attestation_rsa(),
            quote_nonce: NONCE.to_vec(),
            quote_hash: tpm::Hash::Sha256,
            log: Log::of_direct_boot("console=ttyS0 quiet"),
            lists_all_services: true,
            listed_keys: Vec::new(),
        }
    }

    /// The manifest that the firmware gives.
    pub fn manifest(&self) -> Vec<u8> {
        if !self.listed_keys.is_empty() {
            let keys = self.listed_keys.iter().flat_map(|key| tpm::sized(&key.public()));
            let count = self.listed_keys.len() as u32;
            return [1_u32.to_be_bytes(), count.to_be_bytes()].concat().into_iter().chain(keys).collect();
        }
        let key = self.endorsement_key.public();
        if !self.lists_all_services {
            return key;
        }
        let start = 0x18 + 24;
        let mut manifest = SERVICES_MANIFEST.to_vec();
        manifest.extend(((start + key.len()) as u32).to_le_bytes());
        manifest.extend(1_u32.to_le_bytes());
        manifest.extend(VTPM_SERVICE);
        manifest.extend((start as u32).to_le_bytes());
        manifest.extend((key.len() as u32).to_le_bytes());
        manifest.extend(key);
        manifest
    }

    /// Everything, as the guest would send it.
    pub fn evidence(&self) -> Evidence {
        let manifest = self.manifest();
        let mut report = self.report.clone();
        report.data = Sha512::new().chain_update(&self.nonce).chain_update(&manifest).finalize().into();
        let chip = self.endorsement.key();
        let quote = self.log.quote(&self.quote_nonce, self.quote_hash, &tpm::QUOTED);
        Evidence {
            report: report.signed(chip),
            manifest,
            certificates: vec![
                self.authority.certify(&self.endorsement),
                self.authority.intermediate.clone(),
            ],
            ek_public: Some(tpm::sized(&self.endorsement_key.public())),
            ak_public: Some(tpm::sized(&self.attestation_key.public())),
            quote_signature: Some(self.attestation_key.sign(self.quote_hash, &quote.message)),
            quote_message: Some(quote.message),
            pcrs: Some(quote.values),
            event_log: Some(self.log.bytes()),
            activated: None,
        }
    }

    /// The root that the relying party names.
    pub fn root(&self) -> Certificate {
        self.authority.root.clone()
    }

    /// The answer of a relying party that has no challenge.
    pub fn judge(&self, policy: &str) -> ClaimsSet {
        judge(&self.evidence(), policy, &self.root())
    }
}

/// Judges evidence with the tests' nonce and time; the policy text follows [`policy`].
pub fn judge(evidence: &Evidence, more: &str, root: &Certificate) -> ClaimsSet {
    judge_with(evidence, more, root, Activation::None)
}

/// The same, with a challenge.
pub fn judge_with(
    evidence: &Evidence,
    policy_text: &str,
    root: &Certificate,
    activation: Activation<'_>,
) -> ClaimsSet {
    let policy = Policy::parse(policy_text).unwrap();
    let question =
        Question { test_root: Some(root.clone()), activation, ..Question::new(Nonce::new(*NONCE), NOW) };
    verify(evidence, &policy, &question)
}

/// A policy for [`Machine::genuine`] that asks for everything but a challenge; `more` is appended.
pub fn policy(more: &str) -> String {
    let digest: String = LAUNCH_DIGEST.iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "version = 1
[tcb.Milan]
boot_loader = 4
tee = 0
snp = 20
microcode = 200
[tcb.Genoa]
boot_loader = 4
tee = 0
snp = 20
microcode = 200
[tcb.Turin]
fmc = 1
boot_loader = 4
tee = 0
snp = 20
microcode = 200
[measurement]
launch_digests = [\"{digest}\"]
[vtpm]
require_activation = false
{more}"
    )
}

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> Vec<u8> {
    Sha256::digest(bytes).to_vec()
}
