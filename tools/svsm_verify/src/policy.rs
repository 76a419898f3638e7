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
//! check_validity = true                    # certificates must not have expired
//!
//! [tcb.Milan]                              # one table for each product that may answer
//! boot_loader = 3
//! tee = 0
//! snp = 8
//! microcode = 115
//! # [tcb.Turin] has `fmc` as well
//!
//! [guest]
//! vmpl = 0                                 # the level that asked for the report
//! allow_debug = false                      # the host may decrypt the guest's memory
//! allow_migration = false                  # a migration agent may be bound
//! allow_smt = true                         # sibling threads may be on
//! require_single_socket = false
//! require_ciphertext_hiding = false
//! minimum_svn = 0                          # security version from the ID block
//! # host_data = "00…"                      # 32 bytes that the host must have given
//! # report_data = "00…"                    # only for reports without SVSM: 64 bytes instead of nonce and manifest
//!
//! [measurement]
//! launch_digests = []                      # accepted launch digests, beside those of `--image`
//! vcpus = [1]                              # how many vCPUs the guest may have, to measure `--image`
//! cpu_signature = 0x800F12                 # CPUID 1 EAX of its processors, needed where vcpus is not [1]
//! allow_any = false
//!
//! [identity]
//! id_key_digests = []                      # accepted ID keys; empty: any, or none
//! author_key_digests = []
//! # family_id = "00…"                      # 16 bytes
//! # image_id = "00…"
//!
//! [vtpm]
//! required = true                          # false: a report alone is enough
//! require_activation = true                # the attestation key must be proved by a challenge
//! require_quote = true
//! require_event_log = true
//! logged_pcrs = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]   # where quoted, the log must lead to exactly their values
//!
//! [[vtpm.pcr]]                             # a PCR must have one of these values
//! bank = "sha256"
//! index = 8
//! values = ["00…"]
//!
//! [[vtpm.event]]                           # the log must say that this was measured
//! bank = "sha256"
//! index = 8
//! text = "console=ttyS0 quiet"             # or `digest = "00…"`
//! ```

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
    pub check_validity: bool,
}

impl Default for CertificatePolicy {
    fn default() -> Self {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            products: owned(&["Milan", "Genoa", "Turin"]),
            signing_keys: owned(&["vcek", "vlek"]),
            clouds: Vec::new(),
            chips: Vec::new(),
            check_validity: true,
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

/// `[vtpm]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "the module's example documents every key")]
pub struct VtpmPolicy {
    pub required: bool,
    pub require_activation: bool,
    pub require_quote: bool,
    pub require_event_log: bool,
    pub logged_pcrs: Vec<u32>,
    pub pcr: Vec<PcrRule>,
    pub event: Vec<EventRule>,
}

impl Default for VtpmPolicy {
    fn default() -> Self {
        Self {
            required: true,
            require_activation: true,
            require_quote: true,
            require_event_log: true,
            logged_pcrs: (0..10).collect(),
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

/// `[[vtpm.event]]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the module's example documents every key")]
pub struct EventRule {
    pub bank: Bank,
    pub index: u32,
    pub text: Option<String>,
    pub digest: Option<Hex>,
}

impl EventRule {
    /// The digests that satisfy the rule: text may have been measured with the zero byte that ends it.
    #[must_use]
    pub fn digests(&self) -> Vec<Vec<u8>> {
        let Bank(bank) = self.bank;
        let of_text = self
            .text
            .iter()
            .flat_map(|text| [bank.digest(&[text.as_bytes()]), bank.digest(&[text.as_bytes(), &[0]])]);
        of_text.chain(self.digest.iter().map(|digest| digest.0.clone())).collect()
    }
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

    /// Values that no report could meet are mistakes, and told at once.
    fn check(&self) -> Result<(), InvalidPolicy> {
        let wrong = |key, why| Err(InvalidPolicy::Value(key, why));
        if self.version != VERSION {
            return Err(InvalidPolicy::Version(self.version));
        }
        let products: Vec<&str> =
            crate::certificates::roots::PRODUCTS.iter().map(|product| product.name).collect();
        let is_unknown = |name: &String| !products.contains(&name.as_str());
        if self.certificates.products.iter().any(is_unknown) || self.tcb.keys().any(is_unknown) {
            return wrong("products and tcb", "name Milan, Genoa and Turin only");
        }
        if self.certificates.signing_keys.iter().any(|name| !["vcek", "vlek"].contains(&name.as_str())) {
            return wrong("signing_keys", "are `vcek` and `vlek`");
        }
        if self.tcb.iter().any(|(name, minimum)| (name == "Turin") != minimum.fmc.is_some()) {
            return wrong("fmc", "belongs to Turin's TCB, and to no other");
        }
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
        ];
        if !digests.iter().all(|list| list.iter().all(is_of(48))) {
            return wrong("launch and key digests", "must have 48 bytes");
        }
        if self.measurement.vcpus.is_empty() || self.measurement.vcpus.len() > 64 {
            return wrong("vcpus", "must list between 1 and 64 numbers");
        }
        if self.guest.report_data.is_some() && self.vtpm.required {
            return wrong("report_data", "covers no vTPM: set `required = false` in [vtpm]");
        }
        self.vtpm.check()
    }
}

impl VtpmPolicy {
    fn check(&self) -> Result<(), InvalidPolicy> {
        let wrong = |key, why| Err(InvalidPolicy::Value(key, why));
        for rule in &self.pcr {
            let size = rule.bank.0.digest_bytes();
            if rule.index > 23
                || rule.values.is_empty()
                || rule.values.iter().any(|value| value.0.len() != size)
            {
                return wrong("vtpm.pcr", "needs an index below 24 and values of the bank's size");
            }
        }
        for rule in &self.event {
            let size = rule.bank.0.digest_bytes();
            let is_one = rule.text.is_some() != rule.digest.is_some();
            let fits = rule.digest.as_ref().is_none_or(|digest| digest.0.len() == size);
            if rule.index > 23 || !is_one || !fits {
                return wrong(
                    "vtpm.event",
                    "needs an index below 24, and either text or a digest of the bank's size",
                );
            }
        }
        let asks_about_pcrs = !self.pcr.is_empty() || !self.event.is_empty();
        if asks_about_pcrs && !(self.required && self.require_quote) {
            return wrong(
                "vtpm.pcr and vtpm.event",
                "mean nothing without a quote: set `required` and `require_quote`",
            );
        }
        if !self.event.is_empty() && !self.require_event_log {
            return wrong("vtpm.event", "means nothing without a log: set `require_event_log`");
        }
        Ok(())
    }
}
