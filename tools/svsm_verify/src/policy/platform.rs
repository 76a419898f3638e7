//! `[platform]`: what the processor and its firmware say about themselves (AMD 56860, "PLATFORM_INFO" and versions).

use serde::Deserialize;
use snp_abi::report::{KNOWN_VERSIONS, PlatformInformation};

use super::{InvalidPolicy, wrong};

/// The bits of the platform information by the names that policies use.
const NAMES: &[(&str, PlatformInformation)] = &[
    ("smt", PlatformInformation::SMT),
    ("tsme", PlatformInformation::TSME),
    ("ecc", PlatformInformation::ECC),
    ("rapl_disabled", PlatformInformation::RAPL_DISABLED),
    ("ciphertext_hiding", PlatformInformation::CIPHERTEXT_HIDING),
    ("alias_check_complete", PlatformInformation::ALIAS_CHECK_COMPLETE),
    ("sev_tio", PlatformInformation::SEV_TIO),
];

/// `[platform]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "the module's example documents every key")]
pub struct PlatformPolicy {
    pub require: Vec<String>,
    pub forbid: Vec<String>,
    pub allow_unknown: bool,
    pub minimum_report_version: u32,
    pub minimum_firmware: Option<MinimumFirmware>,
    pub require_committed: bool,
    pub launch_mitigations: u64,
    pub current_mitigations: u64,
}

impl Default for PlatformPolicy {
    fn default() -> Self {
        Self {
            require: Vec::new(),
            forbid: Vec::new(),
            allow_unknown: false,
            minimum_report_version: *KNOWN_VERSIONS.start(),
            minimum_firmware: None,
            require_committed: false,
            launch_mitigations: 0,
            current_mitigations: 0,
        }
    }
}

/// Major, minor, build: they compare in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct MinimumFirmware(pub u8, pub u8, pub u8);

impl TryFrom<String> for MinimumFirmware {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let parts: Option<Vec<u8>> = text.split('.').map(|part| part.parse().ok()).collect();
        match parts.as_deref() {
            Some([major, minor, build]) => Ok(Self(*major, *minor, *build)),
            _ => Err("a firmware version is three numbers, for example 1.55.29"),
        }
    }
}

impl std::fmt::Display for MinimumFirmware {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl PlatformPolicy {
    pub(super) fn check(&self) -> Result<(), InvalidPolicy> {
        let named = |name: &String| NAMES.iter().any(|row| row.0 == name);
        if !self.require.iter().chain(&self.forbid).all(named) {
            return wrong(
                "require and forbid",
                "name smt, tsme, ecc, rapl_disabled, ciphertext_hiding, alias_check_complete and sev_tio only",
            );
        }
        if self.require.iter().any(|name| self.forbid.contains(name)) {
            return wrong("require and forbid", "name the same bit");
        }
        match KNOWN_VERSIONS.contains(&self.minimum_report_version) {
            true => Ok(()),
            false => wrong("minimum_report_version", "is none that this program can read"),
        }
    }

    /// The first demand on the bits that they do not meet: the name, and whether it had to be set.
    #[must_use]
    pub fn unmet(&self, bits: PlatformInformation) -> Option<(&'static str, bool)> {
        let asks = |list: &[String], name: &str| list.iter().any(|listed| listed == name);
        NAMES.iter().find_map(|(name, bit)| match bits.contains(*bit) {
            true if asks(&self.forbid, name) => Some((*name, false)),
            false if asks(&self.require, name) => Some((*name, true)),
            _ => None,
        })
    }
}

/// The names of the bits that are set.
#[must_use]
pub fn names(bits: PlatformInformation) -> Vec<&'static str> {
    NAMES.iter().filter(|(_, bit)| bits.contains(*bit)).map(|(name, _)| *name).collect()
}

/// Bits that have no name.
#[must_use]
pub fn unknown(bits: PlatformInformation) -> u64 {
    NAMES.iter().fold(bits.bits(), |rest, (_, bit)| rest & !bit.bits())
}
