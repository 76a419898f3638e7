//! The verdict: every check, in order, on one piece of evidence.

mod pcrs;
mod platform;
mod report;
mod vtpm;

use std::time::Duration;

use serde_json::{Map, Value};

use crate::certificates::Certificate;
use crate::certificates::revocation::RevocationList;
use crate::claims::{Check, ClaimsSet, Judged, Outcome};
use crate::evidence::Evidence;
use crate::measurement::ExpectedMeasurement;
use crate::nonce::Nonce;
use crate::policy::Policy;
use crate::refusal::Refusal;
use crate::vtpm::credential::Challenge;

/// What proves that the attestation key lives beside the endorsement key.
#[derive(Clone, Copy)]
pub enum Activation<'a> {
    /// Nothing was asked of the guest yet.
    None,
    /// The guest answered this challenge.
    Challenge(&'a Challenge),
    /// The secret that follows will be wrapped as a credential for the two keys: it opens only if they do.
    ByRelease,
}

/// What the relying party knows besides its policy.
#[derive(Clone)]
pub struct Question<'a> {
    /// What it sent to the guest for this session.
    pub nonce: Nonce,
    /// The time, since 1970.
    pub now: Duration,
    /// Digests of images beside those of the policy.
    pub measurements: Vec<ExpectedMeasurement>,
    /// A root for tests, trusted beside AMD's. It proves nothing about hardware.
    pub test_root: Option<Certificate>,
    /// AMD's revocation lists.
    pub revocation_lists: Vec<RevocationList>,
    /// What proves where the attestation key lives.
    pub activation: Activation<'a>,
}

impl Question<'_> {
    /// A question without images, test root, revocation lists or challenge.
    #[must_use]
    pub const fn new(nonce: Nonce, now: Duration) -> Self {
        Self {
            nonce,
            now,
            measurements: Vec::new(),
            test_root: None,
            revocation_lists: Vec::new(),
            activation: Activation::None,
        }
    }
}

/// How one check ends: what was found, or that the policy does not ask.
type Verdict = Result<Outcome, Refusal>;

fn passed(found: impl Into<String>) -> Verdict {
    Ok(Outcome::Passed(found.into()))
}

/// Collects what the checks say.
struct Judgement<'a> {
    evidence: &'a Evidence,
    policy: &'a Policy,
    question: &'a Question<'a>,
    checks: Vec<Judged>,
    claims: Map<String, Value>,
    is_under_test_root: bool,
}

impl Judgement<'_> {
    fn record(&mut self, check: Check, verdict: Verdict) {
        let outcome = verdict.unwrap_or_else(Outcome::Failed);
        self.checks.push(Judged { check, outcome });
    }

    /// Records a check that also yields something for later checks, with the words for its line.
    fn require<T>(
        &mut self,
        check: Check,
        result: Result<T, Refusal>,
        found: impl Fn(&T) -> String,
    ) -> Result<T, Refusal> {
        match result {
            Ok(value) => {
                self.record(check, passed(found(&value)));
                Ok(value)
            }
            Err(refusal) => {
                self.record(check, Err(refusal));
                Err(Refusal::NotJudged(check))
            }
        }
    }
}

/// Judges evidence.
///
/// Every check is judged, also after one has failed, as far as it can be: the whole list helps whoever has to find out why.
#[must_use]
pub fn verify(evidence: &Evidence, policy: &Policy, question: &Question<'_>) -> ClaimsSet {
    let mut judgement = Judgement {
        evidence,
        policy,
        question,
        checks: Vec::new(),
        claims: Map::new(),
        is_under_test_root: false,
    };
    report::judge(&mut judgement);
    vtpm::judge(&mut judgement);
    let Judgement { checks, claims, is_under_test_root, .. } = judgement;
    ClaimsSet::new(checks, question.nonce.to_hex(), claims, is_under_test_root)
}
