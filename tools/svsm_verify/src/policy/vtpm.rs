//! `[vtpm]`: what is asked of keys, quote, PCRs and event log.

use serde::Deserialize;

use super::{Bank, Hex, InvalidPolicy, wrong};
use crate::vtpm::hash::HashAlgorithm;

/// PCRs that firmware ends with a separator before anybody else measures (PC Client Platform Firmware Profile, 3.3.4).
const SEPARATED: std::ops::RangeInclusive<u32> = 0..=7;
/// The PCR of the boot loader's own keys, behind UEFI.
const BOOT_LOADER_KEYS: u32 = 14;

/// Who measured before the guest's kernel ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Boot {
    /// VMPL0 started the kernel: PCRs 0 to 9.
    Direct,
    /// UEFI firmware did: PCRs 0 to 9 and 14.
    Uefi,
}

/// `[vtpm]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "the module's example documents every key")]
pub struct VtpmPolicy {
    pub required: bool,
    pub manifest_versions: Vec<u32>,
    pub require_activation: bool,
    pub require_quote: bool,
    pub require_event_log: bool,
    pub boot: Boot,
    pub banks: Vec<Bank>,
    pub pcrs: Option<Vec<u32>>,
    pub logged_pcrs: Option<Vec<u32>>,
    pub pcr: Vec<PcrRule>,
    pub event: Vec<EventRule>,
}

impl Default for VtpmPolicy {
    fn default() -> Self {
        Self {
            required: true,
            manifest_versions: vec![0, 1],
            require_activation: true,
            require_quote: true,
            require_event_log: true,
            boot: Boot::Direct,
            banks: vec![Bank(HashAlgorithm::Sha256), Bank(HashAlgorithm::Sha384)],
            pcrs: None,
            logged_pcrs: None,
            pcr: Vec::new(),
            event: Vec::new(),
        }
    }
}

/// `[[vtpm.pcr]]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the module's example documents every key")]
pub struct PcrRule {
    pub bank: Bank,
    pub index: u32,
    pub values: Vec<Hex>,
}

/// `[[vtpm.event]]`: what was measured into a PCR, by places that nobody who runs later can choose.
///
/// A log proves the digests and their order, and nothing else: neither an event's type nor its data is part of what a PCR
/// holds. And whatever runs can extend any PCR of the guest and log it. So a rule never says "somewhere in the log", and never names a type; it says
/// where:
///
/// * `starts_with`: the first measurements of the PCR are these. They were made before anything later ran.
/// * `exactly`: these, and nothing else. Nobody has extended the PCR since.
/// * `before_separator` (PCRs 0 to 7): what stands before the first separator is exactly this. The separator is known by its
///   digest; whoever adds one later does not move the first.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the module's example documents every key")]
pub struct EventRule {
    pub bank: Bank,
    pub index: u32,
    pub starts_with: Option<Vec<Measured>>,
    pub exactly: Option<Vec<Measured>>,
    pub before_separator: Option<Vec<Measured>>,
}

/// A measurement: of a text, or known by its digest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the policy's example documents every key")]
pub struct Measured {
    pub text: Option<String>,
    pub digest: Option<Hex>,
}

impl Measured {
    /// Whether this is the digest of the measurement; text may have been measured with the zero byte that ends it.
    #[must_use]
    pub fn is(&self, bank: HashAlgorithm, digest: &[u8]) -> bool {
        match (&self.text, &self.digest) {
            (Some(text), None) => {
                bank.digest(&[text.as_bytes()]) == digest || bank.digest(&[text.as_bytes(), &[0]]) == digest
            }
            (None, Some(wanted)) => wanted.0 == digest,
            _ => false,
        }
    }
}

/// Where a rule looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// At the beginning.
    Start,
    /// At everything.
    Everything,
    /// At what stands before the first separator.
    BeforeSeparator,
}

impl EventRule {
    /// Where the rule looks and what must be there; `None` if it names no place, or several.
    #[must_use]
    pub fn demand(&self) -> Option<(Place, &[Measured])> {
        match (&self.starts_with, &self.exactly, &self.before_separator) {
            (Some(list), None, None) => Some((Place::Start, list)),
            (None, Some(list), None) => Some((Place::Everything, list)),
            (None, None, Some(list)) => Some((Place::BeforeSeparator, list)),
            _ => None,
        }
    }

    fn check(&self) -> Result<(), InvalidPolicy> {
        let Some((place, list)) = self.demand() else {
            return wrong("vtpm.event", "needs one of `starts_with`, `exactly` and `before_separator`");
        };
        if place == Place::Start && list.is_empty() {
            return wrong("starts_with", "asks for nothing");
        }
        if place == Place::BeforeSeparator && !SEPARATED.contains(&self.index) {
            return wrong(
                "before_separator",
                "is for PCRs 0 to 7; nobody but the guest would end another with one",
            );
        }
        let size = self.bank.0.digest_bytes();
        let is_one = |measured: &Measured| {
            measured.text.is_some() != measured.digest.is_some()
                && measured.digest.as_ref().is_none_or(|digest| digest.0.len() == size)
        };
        match list.iter().all(is_one) {
            true => Ok(()),
            false => {
                wrong("vtpm.event", "lists measurements, each with a text or a digest of the bank's size")
            }
        }
    }
}

impl VtpmPolicy {
    /// The PCRs that a quote must hold.
    #[must_use]
    pub fn pcrs(&self) -> Vec<u32> {
        let usual = || match self.boot {
            Boot::Direct => (0..10).collect(),
            Boot::Uefi => (0..10).chain([BOOT_LOADER_KEYS]).collect(),
        };
        self.pcrs.clone().unwrap_or_else(usual)
    }

    /// The PCRs that the log must explain.
    #[must_use]
    pub fn logged_pcrs(&self) -> Vec<u32> {
        self.logged_pcrs.clone().unwrap_or_else(|| self.pcrs())
    }

    /// Whether the firmware measures a bank.
    #[must_use]
    pub fn has_bank(&self, bank: HashAlgorithm) -> bool {
        self.banks.contains(&Bank(bank))
    }

    pub(super) fn check(&self) -> Result<(), InvalidPolicy> {
        if self.manifest_versions.is_empty() || self.manifest_versions.iter().any(|version| *version > 1) {
            return wrong("manifest_versions", "are 0 and 1");
        }
        let (pcrs, logged) = (self.pcrs(), self.logged_pcrs());
        if self.banks.is_empty() || self.banks.contains(&Bank(HashAlgorithm::Sha1)) {
            return wrong("banks", "must name at least one of sha256, sha384 and sha512, and not sha1");
        }
        if pcrs.is_empty() || pcrs.iter().any(|index| *index > 23) {
            return wrong("pcrs", "must list at least one number, each below 24");
        }
        if logged.iter().any(|index| !pcrs.contains(index)) || (self.require_event_log && logged.is_empty()) {
            return wrong("logged_pcrs", "must list at least one of `pcrs`, and no other");
        }
        for rule in &self.pcr {
            let size = rule.bank.0.digest_bytes();
            if rule.values.is_empty() || rule.values.iter().any(|value| value.0.len() != size) {
                return wrong("vtpm.pcr", "needs values of the bank's size");
            }
        }
        self.event.iter().try_for_each(EventRule::check)?;
        self.check_rules(&pcrs, &logged)
    }

    /// Rules about what is not quoted, not logged or not measured prove nothing.
    fn check_rules(&self, pcrs: &[u32], logged: &[u32]) -> Result<(), InvalidPolicy> {
        let rules = self.pcr.iter().map(|rule| (rule.bank, rule.index));
        let mut rules = rules.chain(self.event.iter().map(|rule| (rule.bank, rule.index)));
        if rules.any(|(bank, index)| !self.banks.contains(&bank) || !pcrs.contains(&index)) {
            return wrong("vtpm.pcr and vtpm.event", "may be about PCRs of `pcrs` in `banks` only");
        }
        if self.event.iter().any(|rule| !logged.contains(&rule.index)) {
            return wrong("vtpm.event", "may be about PCRs of `logged_pcrs` only");
        }
        let asks_about_pcrs = !self.pcr.is_empty() || !self.event.is_empty();
        if asks_about_pcrs && !(self.required && self.require_quote) {
            return wrong(
                "vtpm.pcr and vtpm.event",
                "mean nothing without a quote: set `required` and `require_quote`",
            );
        }
        match !self.event.is_empty() && !self.require_event_log {
            true => wrong("vtpm.event", "means nothing without a log: set `require_event_log`"),
            false => Ok(()),
        }
    }
}
