//! The relying party's policy: what it accepts, as `policy.toml`.
//!
//! Everything that is not written has the strict value; a key that does not exist is an error, so that a misspelt demand
//! cannot go unheard. Two demands have no default, because only the relying party can know: which images it accepts
//! (`[measurement]`, or an image given with `--image`), and which TCB is new enough (`[tcb.PRODUCT]`).
//!
//! ```toml
//! version = 1
//!
//! [certificates]
//! products = ["Milan", "Genoa", "Turin"]   # which processors; these are the default
//! signing_keys = ["vcek", "vlek"]          # chip keys, cloud keys; this is the default
//! clouds = []                              # names of clouds whose VLEK is accepted; empty: any
//! chips = []                               # chip numbers in hexadecimal that are accepted; empty: any
//! allow_masked_chip_id = false             # the host may hide the chip's number (MASK_CHIP_ID)
//! check_validity = true                    # certificates must not have expired
//! require_crl = false                      # AMD's revocation list must be given with `--crl`, and be current
//! test_roots = []                          # SHA-384 of root certificates that are trusted for tests: VERIFIED (TEST ROOT)
//!
//! [tcb.Milan]                              # one table for each product that may answer
//! boot_loader = 3
//! tee = 0
//! snp = 8
//! microcode = 115
//! # [tcb.Turin] has `fmc` as well
//!
//! [platform]                               # what the processor says about itself
//! require = []                             # of: smt, tsme, ecc, rapl_disabled, ciphertext_hiding, alias_check_complete, sev_tio
//! forbid = []                              # of the same; `forbid = ["smt"]`
//! allow_unknown = false                    # bits that this program does not know may be set
//! minimum_report_version = 2
//! # minimum_firmware = "1.55.29"           # ABI and build of the security processor's firmware, running and committed
//! require_committed = false                # what runs must be committed, so that the host cannot go back
//! launch_mitigations = 0                   # bits that must be set in the vectors of version 5
//! current_mitigations = 0
//!
//! [guest]
//! vmpl = 0                                 # the level that asked for the report
//! allow_debug = false                      # the host may decrypt the guest's memory
//! allow_migration = false                  # a migration agent may be bound
//! allow_smt = true                         # sibling threads may be on
//! require_single_socket = false
//! require_ciphertext_hiding = false
//! minimum_svn = 0                          # security version from the ID block; needs `id_key_digests`
//! # host_data = "00…"                      # 32 bytes that the host must have given
//! # report_data = "00…"                    # only for reports without SVSM: 64 bytes instead of nonce and manifest
//!
//! [measurement]
//! launch_digests = []                      # accepted launch digests, beside those of `--image`
//! vcpus = [1]                              # how many vCPUs the guest may have, to measure `--image`
//! cpu_signature = 0x800F12                 # CPUID 1 EAX of its processors, needed where vcpus is not [1]
//! allow_any = false
//!
//! [identity]                               # anyone can write an ID block: without a key, ids and versions mean nothing
//! id_key_digests = []                      # accepted ID keys; empty: any, or none
//! author_key_digests = []
//! # family_id = "00…"                      # 16 bytes; needs `id_key_digests`
//! # image_id = "00…"
//!
//! [vtpm]
//! required = true                          # false: a report alone is enough
//! manifest_versions = [0, 1]               # of the vTPM's manifest
//! require_activation = true                # the attestation key must be proved by a challenge, or named by the manifest
//! require_quote = true
//! require_event_log = true
//! boot = "direct"                          # or "uefi": who measured
//! banks = ["sha256", "sha384"]             # the banks that the firmware measures; no other counts
//! # pcrs = [0, …, 9]                       # must all be quoted, in one bank; default 0 to 9, with `uefi` 14 as well
//! # logged_pcrs = [0, …, 9]                # the log must lead to exactly their values; default: those of `pcrs`
//!
//! [[vtpm.pcr]]                             # a PCR must have one of these values
//! bank = "sha256"
//! index = 8
//! values = ["00…"]
//!
//! [[vtpm.event]]                           # what was measured, by its place; see `vtpm::EventRule`
//! bank = "sha256"
//! index = 8
//! starts_with = [{ text = "kernel_cmdline: console=ttyS0 quiet" }]   # or { digest = "00…" }
//! ```

pub mod platform;
mod vtpm;

pub use platform::{MinimumFirmware, PlatformPolicy};
pub use vtpm::{Boot, EventRule, Measured, PcrRule, Place, VtpmPolicy};

use std::collections::BTreeMap;

use serde::Deserialize;
use snp_abi::tcb::TcbParts;

use crate::reader::from_hex;
use crate::vtpm::hash::HashAlgorithm;

/// The version of the format.
pub const VERSION: u32 = 1;
/// A longer policy is not read.
pub const MAXIMUM_BYTES: usize = 1 << 20;

/// Why a policy cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPolicy {
    /// TOML, or its keys.
    #[error("{0}")]
    Toml(String),
    /// Another version.
    #[error("version {0} is not known, only {VERSION}")]
    Version(u32),
    /// A value that cannot be.
    #[error("`{0}` {1}")]
    Value(&'static str, &'static str),
}

/// Bytes written in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Hex(pub Vec<u8>);

impl TryFrom<String> for Hex {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        from_hex(&text).map(Self).ok_or("these are no hexadecimal digits, two for each byte")
    }
}

/// A bank of PCRs by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Bank(pub HashAlgorithm);

impl TryFrom<String> for Bank {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        HashAlgorithm::of_name(&text).map(Self).ok_or("banks are sha1, sha256, sha384 and sha512")
    }
}

/// A policy; the module says what the keys mean.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// [`VERSION`].
    pub version: u32,
    /// `[certificates]`
    #[serde(default)]
    pub certificates: CertificatePolicy,
    /// `[tcb.PRODUCT]`
    #[serde(default)]
    pub tcb: BTreeMap<String, MinimumTcb>,
    /// `[platform]`
    #[serde(default)]
    pub platform: PlatformPolicy,
    /// `[guest]`
    #[serde(default)]
    pub guest: GuestRules,
    /// `[measurement]`
    #[serde(default)]
    pub measurement: MeasurementPolicy,
    /// `[identity]`
    #[serde(default)]
    pub identity: IdentityPolicy,
    /// `[vtpm]`
    #[serde(default)]
    pub vtpm: VtpmPolicy,
}

/// `[certificates]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "the module's example documents every key")]
pub struct CertificatePolicy {
    pub products: Vec<String>,
    pub signing_keys: Vec<String>,
    pub clouds: Vec<String>,
    pub chips: Vec<Hex>,
    pub allow_masked_chip_id: bool,
    pub check_validity: bool,
    pub require_crl: bool,
    pub test_roots: Vec<Hex>,
}

impl Default for CertificatePolicy {
    fn default() -> Self {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            products: owned(&["Milan", "Genoa", "Turin"]),
            signing_keys: owned(&["vcek", "vlek"]),
            clouds: Vec::new(),
            chips: Vec::new(),
            allow_masked_chip_id: false,
            check_validity: true,
            require_crl: false,
            test_roots: Vec::new(),
        }
    }
}

/// `[tcb.PRODUCT]`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the module's example documents every key")]
pub struct MinimumTcb {
    pub fmc: Option<u8>,
    pub boot_loader: u8,
    pub tee: u8,
    pub snp: u8,
    pub microcode: u8,
}

impl MinimumTcb {
    /// As parts that compare.
    #[must_use]
    pub const fn parts(&self) -> TcbParts {
        let Self { fmc, boot_loader, tee, snp, microcode } = *self;
        TcbParts { fmc, boot_loader, tee, snp, microcode }
    }
}

/// `[guest]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "the module's example documents every key")]
pub struct GuestRules {
    pub vmpl: u32,
    pub allow_debug: bool,
    pub allow_migration: bool,
    pub allow_smt: bool,
    pub require_single_socket: bool,
    pub require_ciphertext_hiding: bool,
    pub minimum_svn: u32,
    pub host_data: Option<Hex>,
    pub report_data: Option<Hex>,
}

impl Default for GuestRules {
    fn default() -> Self {
        Self {
            vmpl: 0,
            allow_debug: false,
            allow_migration: false,
            allow_smt: true,
            require_single_socket: false,
            require_ciphertext_hiding: false,
            minimum_svn: 0,
            host_data: None,
            report_data: None,
        }
    }
}

/// `[measurement]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "the module's example documents every key")]
pub struct MeasurementPolicy {
    pub launch_digests: Vec<Hex>,
    pub vcpus: Vec<u16>,
    pub cpu_signature: u32,
    pub allow_any: bool,
}

impl Default for MeasurementPolicy {
    fn default() -> Self {
        Self {
            launch_digests: Vec::new(),
            vcpus: vec![1],
            cpu_signature: igvm::launch::DEFAULT_CPU_SIGNATURE,
            allow_any: false,
        }
    }
}

/// `[identity]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "the module's example documents every key")]
pub struct IdentityPolicy {
    pub id_key_digests: Vec<Hex>,
    pub author_key_digests: Vec<Hex>,
    pub family_id: Option<Hex>,
    pub image_id: Option<Hex>,
}

impl Policy {
    /// Reads `policy.toml`.
    ///
    /// # Errors
    /// If it is no TOML, has an unknown key, or a value that cannot be.
    pub fn parse(text: &str) -> Result<Self, InvalidPolicy> {
        if text.len() > MAXIMUM_BYTES {
            return Err(InvalidPolicy::Value("policy", "is too long"));
        }
        let policy: Self = toml::from_str(text).map_err(|error| InvalidPolicy::Toml(error.to_string()))?;
        policy.check()?;
        Ok(policy)
    }

    /// Values that no report could meet, and demands that prove nothing, are mistakes, and told at once.
    fn check(&self) -> Result<(), InvalidPolicy> {
        if self.version != VERSION {
            return Err(InvalidPolicy::Version(self.version));
        }
        self.check_names()?;
        self.check_sizes()?;
        self.check_identity()?;
        if self.measurement.vcpus.is_empty() || self.measurement.vcpus.len() > 64 {
            return wrong("vcpus", "must list between 1 and 64 numbers");
        }
        if self.guest.report_data.is_some() && self.vtpm.required {
            return wrong("report_data", "covers no vTPM: set `required = false` in [vtpm]");
        }
        self.platform.check()?;
        self.vtpm.check()
    }

    fn check_names(&self) -> Result<(), InvalidPolicy> {
        let products: Vec<&str> =
            crate::certificates::roots::PRODUCTS.iter().map(|product| product.name).collect();
        let is_unknown = |name: &String| !products.contains(&name.as_str());
        if self.certificates.products.iter().any(is_unknown) || self.tcb.keys().any(is_unknown) {
            return wrong("products and tcb", "name Milan, Genoa and Turin only");
        }
        if self.certificates.signing_keys.iter().any(|name| !["vcek", "vlek"].contains(&name.as_str())) {
            return wrong("signing_keys", "are `vcek` and `vlek`");
        }
        match self.tcb.iter().any(|(name, minimum)| (name == "Turin") != minimum.fmc.is_some()) {
            true => wrong("fmc", "belongs to Turin's TCB, and to no other"),
            false => Ok(()),
        }
    }

    fn check_sizes(&self) -> Result<(), InvalidPolicy> {
        let is_of = |length: usize| move |value: &Hex| value.0.len() == length;
        let optional = |value: &Option<Hex>, length| value.as_ref().is_none_or(is_of(length));
        if !optional(&self.guest.host_data, 32) || !optional(&self.guest.report_data, 64) {
            return wrong("host_data or report_data", "must have 32 and 64 bytes");
        }
        if !optional(&self.identity.family_id, 16) || !optional(&self.identity.image_id, 16) {
            return wrong("family_id or image_id", "must have 16 bytes");
        }
        let digests = [
            &self.measurement.launch_digests,
            &self.identity.id_key_digests,
            &self.identity.author_key_digests,
            &self.certificates.test_roots,
        ];
        match digests.iter().all(|list| list.iter().all(is_of(48))) {
            true => Ok(()),
            false => wrong("launch, key and root digests", "must have 48 bytes"),
        }
    }

    /// Whoever launches a guest can hand the security processor an ID block of any content, signed by a key of its own.
    fn check_identity(&self) -> Result<(), InvalidPolicy> {
        let rules = &self.identity;
        if !rules.id_key_digests.is_empty() {
            return Ok(());
        }
        if self.guest.minimum_svn > 0 {
            return wrong(
                "minimum_svn",
                "means nothing without `id_key_digests`: any host can claim any version",
            );
        }
        match rules.family_id.is_some() || rules.image_id.is_some() || !rules.author_key_digests.is_empty() {
            true => wrong("[identity]", "means nothing without `id_key_digests`: any host can claim any id"),
            false => Ok(()),
        }
    }
}

/// A value that cannot be.
const fn wrong(key: &'static str, why: &'static str) -> Result<(), InvalidPolicy> {
    Err(InvalidPolicy::Value(key, why))
}
