//! The answer: one entry for each check, and what is proved if all of them passed.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::refusal::Refusal;

/// The name of the machine-readable format.
pub const FORMAT: &str = "vouchsafe-claims-1";

/// One row for each check: its value, its name, and the question that it answers.
macro_rules! checks {
    ($($check:ident = $name:literal, $question:literal;)+) => {
        /// A check. Services may rely on the names; a name is never reused with another meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Check {
            $(#[doc = $question] $check,)+
        }

        impl Check {
            /// Every check, in the order in which they are judged.
            pub const ALL: &'static [Self] = &[$(Self::$check,)+];

            /// The name in machine-readable results.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$check => $name,)+ }
            }

            /// The question that the check answers.
            #[must_use]
            pub const fn question(self) -> &'static str {
                match self { $(Self::$check => $question,)+ }
            }
        }
    };
}

checks! {
    ReportLayout = "report_layout", "Is it an attestation report of a version that is known?";
    CertificateChain = "certificate_chain", "Does the report's key lead to a pinned root?";
    CertificateValidity = "certificate_validity", "Are the certificates valid now?";
    CertificateRevocation = "certificate_revocation", "Has the root not revoked the certificates?";
    ReportSignature = "report_signature", "Did that key sign this report?";
    SigningKey = "signing_key", "Is it a kind of key that is accepted, and not masked?";
    Product = "product", "Is it a processor that is accepted, and the one of the certificates?";
    CertifiedTcb = "certified_tcb", "Is the report's TCB the one that the key was derived for?";
    MinimumTcb = "minimum_tcb", "Is the TCB new enough?";
    Platform = "platform", "Are processor and firmware set up as demanded?";
    ChipId = "chip_id", "Is it the chip, or the cloud, of the certificate?";
    GuestPolicy = "guest_policy", "Is the guest protected as demanded: no debugging, no migration?";
    Vmpl = "vmpl", "Did the most privileged level ask for the report?";
    Measurement = "measurement", "Was an accepted image launched?";
    Identity = "identity", "Do ID keys, identity and security version suit?";
    HostData = "host_data", "Is the host's data as demanded?";
    ReportData = "report_data", "Is the report about this nonce and this manifest?";
    EndorsementKey = "endorsement_key", "Does the manifest name the TPM's endorsement key?";
    AttestationKey = "attestation_key", "Is the attestation key one that signs only what its TPM made?";
    KeyActivation = "key_activation", "Do attestation key and endorsement key live in one TPM?";
    QuoteSignature = "quote_signature", "Did the attestation key sign the quote?";
    QuoteNonce = "quote_nonce", "Is the quote about this nonce?";
    PcrDigest = "pcr_digest", "Are these the PCR values that were quoted?";
    EventLog = "event_log", "Does the event log lead to these PCR values?";
    PcrPolicy = "pcr_policy", "Are PCR values and events those that are accepted?";
}

/// How a check ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It holds; the text says what was found.
    Passed(String),
    /// It does not hold, or could not be judged.
    Failed(Refusal),
    /// The policy does not ask; the text says what it leaves open.
    NotAsked(&'static str),
}

/// A check and its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The check.
    pub check: Check,
    /// Its end.
    pub outcome: Outcome,
}

/// The answer. `claims` holds nothing unless every check passed, so that nobody reads a claim that was not proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimsSet {
    checks: Vec<Judged>,
    nonce: String,
    claims: Map<String, Value>,
    is_under_test_root: bool,
}

impl ClaimsSet {
    /// Puts the parts together; claims are dropped unless every check is there and none failed.
    pub(crate) fn new(
        checks: Vec<Judged>,
        nonce: String,
        claims: Map<String, Value>,
        is_under_test_root: bool,
    ) -> Self {
        let mut set = Self { checks, nonce, claims, is_under_test_root };
        if !set.is_verified() {
            set.claims = Map::new();
        }
        set
    }

    /// Whether the evidence proves what the policy demands.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        let is_good = |check: &Check| {
            self.outcome(*check).is_some_and(|outcome| !matches!(outcome, Outcome::Failed(_)))
        };
        Check::ALL.iter().all(is_good)
    }

    /// Whether the chain of certificates ends at a test root: then nothing is proved about hardware.
    #[must_use]
    pub const fn is_under_test_root(&self) -> bool {
        self.is_under_test_root
    }

    /// Every check, in the order of [`Check::ALL`].
    #[must_use]
    pub fn checks(&self) -> &[Judged] {
        &self.checks
    }

    /// How one check ended.
    #[must_use]
    pub fn outcome(&self, check: Check) -> Option<&Outcome> {
        self.checks.iter().find(|judged| judged.check == check).map(|judged| &judged.outcome)
    }

    /// Why one check failed, `None` if it did not.
    #[must_use]
    pub fn refusal(&self, check: Check) -> Option<&Refusal> {
        match self.outcome(check) {
            Some(Outcome::Failed(refusal)) => Some(refusal),
            _ => None,
        }
    }

    /// Proved facts by name, empty unless verified.
    #[must_use]
    pub const fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// The machine-readable form.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let checks = self.checks.iter().map(|judged| {
            let (outcome, why) = judged.outcome.words();
            json!({ "name": judged.check.name(), "outcome": outcome, "why": why })
        });
        json!({
            "format": FORMAT,
            "verified": self.is_verified(),
            "test_root": self.is_under_test_root,
            "nonce": self.nonce,
            "checks": checks.collect::<Vec<_>>(),
            "claims": self.claims,
        })
    }

    /// A line for each check, and the verdict.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for judged in &self.checks {
            let (_, why) = judged.outcome.words();
            let word = match judged.outcome {
                Outcome::Passed(_) => "pass",
                Outcome::Failed(_) => "FAIL",
                Outcome::NotAsked(_) => "-",
            };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{word:4}  {:22} {why}", judged.check.name());
        }
        let failed = self.checks.iter().filter(|judged| matches!(judged.outcome, Outcome::Failed(_))).count();
        let _ = match (self.is_verified(), failed) {
            (true, _) if self.is_under_test_root => writeln!(text, "VERIFIED (TEST ROOT)"),
            (true, _) => writeln!(text, "VERIFIED"),
            (false, 1) => writeln!(text, "REFUSED: 1 check failed"),
            (false, _) => writeln!(text, "REFUSED: {failed} checks failed"),
        };
        text
    }
}

impl Outcome {
    /// Whether the check was asked for and holds.
    #[must_use]
    pub const fn is_passed(&self) -> bool {
        matches!(self, Self::Passed(_))
    }

    pub(crate) fn words(&self) -> (&'static str, String) {
        match self {
            Self::Passed(found) => ("passed", found.clone()),
            Self::Failed(refusal) => ("failed", refusal.to_string()),
            Self::NotAsked(open) => ("not_asked", (*open).to_owned()),
        }
    }
}
