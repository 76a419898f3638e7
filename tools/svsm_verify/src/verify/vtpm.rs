//! Checks from the report's data to the PCRs: manifest, keys, quote, event log (AMD 58019, chapters 7 and 8; TPM 2.0).

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256, Sha512};
use snp_abi::report::AttestationReport;

use super::{Activation, Judgement, Question, Verdict, passed};
use crate::claims::{Check, Outcome};
use crate::evidence::Evidence;
use crate::manifest::{self, Form, Manifest};
use crate::nonce::Nonce;
use crate::policy::Policy;
use crate::reader::hex;
use crate::refusal::Refusal;
use crate::verify::pcrs;
use crate::vtpm::event_log::EventLog;
use crate::vtpm::hash::HashAlgorithm;
use crate::vtpm::public_area::{PublicArea, attributes};
use crate::vtpm::quote::{PcrValue, Quote, verify_signature};

/// Attributes that keep a key inside the TPM that made it.
const BORN_AND_KEPT: u32 = attributes::FIXED_TPM
    | attributes::FIXED_PARENT
    | attributes::SENSITIVE_DATA_ORIGIN
    | attributes::RESTRICTED;

/// The keys of the evidence, and the manifest that names at least the first.
#[derive(Clone)]
struct Keys {
    manifest: Manifest,
    endorsement: PublicArea,
    attestation: PublicArea,
}

pub(super) fn judge(judgement: &mut Judgement<'_>) {
    let (evidence, policy, question) = (judgement.evidence, judgement.policy, judgement.question);
    judgement.record(Check::ReportData, report_data(evidence, policy, question));
    let has_vtpm = policy.vtpm.required || evidence.ak_public.is_some();
    // Data that the policy gives does not cover a manifest, so that no key of the evidence would be proved.
    if !has_vtpm || policy.guest.report_data.is_some() {
        let without = Outcome::NotAsked("the policy does not ask for a vTPM");
        for check in Check::ALL.iter().filter(|check| **check > Check::ReportData) {
            judgement.record(*check, Ok(without.clone()));
        }
        return;
    }
    let keys = judge_keys(judgement);
    let asks_quote = policy.vtpm.require_quote || evidence.quote_message.is_some();
    if !asks_quote {
        let without = Outcome::NotAsked("the policy does not ask for a quote, and the evidence has none");
        for check in Check::ALL.iter().filter(|check| **check > Check::KeyActivation) {
            judgement.record(*check, Ok(without.clone()));
        }
        return claim(judgement, &keys.1, None);
    }
    let quote = quote(evidence);
    let signed = keys.0.and_then(|key| quote_signature(&key, evidence));
    judgement.record(Check::QuoteSignature, signed);
    judgement.record(Check::QuoteNonce, quote.clone().and_then(|quote| quote_nonce(&quote, question)));
    let values = quote.as_ref().map_err(Clone::clone).and_then(|quote| pcr_values(quote, evidence));
    let values = values.and_then(|values| pcrs::select(values, &policy.vtpm));
    let values = judgement.require(Check::PcrDigest, values, |values| format!("{} PCR values", values.len()));
    let log = event_log(evidence, policy);
    let explained = values.clone().and_then(|values| pcrs::explain(&values, &log, &policy.vtpm));
    judgement.record(Check::EventLog, explained);
    let held = values.clone().and_then(|values| pcrs::judge(&values, &log, &policy.vtpm));
    judgement.record(Check::PcrPolicy, held);
    claim(judgement, &keys.1, quote.ok().zip(values.ok()));
}

/// The checks on the keys; the attestation key, and all keys if every one of them is good.
fn judge_keys(judgement: &mut Judgement<'_>) -> (Result<PublicArea, Refusal>, Result<Keys, Refusal>) {
    let (evidence, policy, question) = (judgement.evidence, judgement.policy, judgement.question);
    let endorsement_key =
        judgement.require(Check::EndorsementKey, endorsement_key(evidence, policy), |(manifest, key)| {
            describe_key(manifest, key)
        });
    let attestation_key = judgement.require(Check::AttestationKey, attestation_key(evidence), |key| {
        format!("name {}", hex(&key.name()))
    });
    let keys = endorsement_key.and_then(|(manifest, endorsement)| {
        Ok(Keys { manifest, endorsement, attestation: attestation_key.clone()? })
    });
    let active = keys.clone().and_then(|keys| activation(&keys, evidence, policy, question));
    judgement.record(Check::KeyActivation, active);
    (attestation_key, keys)
}

/// REPORT_DATA is SHA-512(nonce || manifest), unless the policy says what it is instead.
fn report_data(evidence: &Evidence, policy: &Policy, question: &Question<'_>) -> Verdict {
    let report =
        AttestationReport::parse(&evidence.report).map_err(|_| Refusal::NotJudged(Check::ReportLayout))?;
    if let Some(wanted) = &policy.guest.report_data {
        return match report.report_data.as_slice() == wanted.0 {
            true => passed("the data that the policy demands; nonce and manifest are not covered"),
            false => Err(Refusal::ReportData(report.report_data.to_vec())),
        };
    }
    let covers = |nonce: &[u8]| {
        let digest = Sha512::new().chain_update(nonce).chain_update(&evidence.manifest).finalize();
        digest.as_slice() == report.report_data
    };
    if covers(question.nonce.as_bytes()) {
        return passed("SHA-512 of this nonce and this manifest");
    }
    // It is refused in any case. The quote, if there is one, tells whether the nonce or the manifest is to blame.
    let quoted = quote(evidence).map(|quote| quote.extra_data);
    Err(match quoted {
        Ok(other) if covers(&other) => Refusal::OtherNonce(other),
        Ok(nonce) if is_for(&nonce, &question.nonce) => Refusal::OtherManifest,
        _ => Refusal::ReportData(report.report_data.to_vec()),
    })
}

fn endorsement_key(evidence: &Evidence, policy: &Policy) -> Result<(Manifest, PublicArea), Refusal> {
    if evidence.manifest.is_empty() {
        return Err(Refusal::Missing("manifest"));
    }
    let manifest = manifest::read(&evidence.manifest)?;
    if !policy.vtpm.manifest_versions.contains(&manifest.version) {
        return Err(Refusal::ManifestVersion(manifest.version));
    }
    let key = manifest.endorsement_key(evidence.ek_public.as_deref())?.clone();
    Ok((manifest, key))
}

fn describe_key(manifest: &Manifest, key: &PublicArea) -> String {
    let form = match manifest.form {
        Form::SingleService => format!("the vTPM's manifest of version {}", manifest.version),
        Form::AllServices(rows) => format!("the manifest of {rows} services"),
    };
    format!("name {} in {form}", hex(&key.name()))
}

fn attestation_key(evidence: &Evidence) -> Result<PublicArea, Refusal> {
    let public = evidence.ak_public.as_ref().ok_or(Refusal::Missing("attestation key (ak.pub)"))?;
    let key =
        PublicArea::parse_sized(public).map_err(|error| Refusal::Malformed("attestation key", error))?;
    if !key.has(BORN_AND_KEPT | attributes::SIGN) || key.has(attributes::DECRYPT) {
        return Err(Refusal::KeyAttributes("attestation key", "restricted signing key"));
    }
    if key.name_algorithm == HashAlgorithm::Sha1 {
        return Err(Refusal::WeakName);
    }
    Ok(key)
}

fn activation(keys: &Keys, evidence: &Evidence, policy: &Policy, question: &Question<'_>) -> Verdict {
    if keys.manifest.attestation_keys.contains(&keys.attestation) {
        return passed("the manifest names the attestation key, so that no challenge is needed");
    }
    match question.activation {
        Activation::ByRelease => {
            passed("by what follows: the secret is wrapped so that it opens only beside this attestation key")
        }
        Activation::Challenge(challenge) => {
            let answer = evidence
                .activated
                .as_ref()
                .ok_or(Refusal::Missing("answer to the challenge (activated.bin)"))?;
            challenge.judge(&keys.endorsement, &keys.attestation, answer)?;
            passed("the TPM of the endorsement key opened the credential for the attestation key")
        }
        Activation::None if policy.vtpm.require_activation => Err(Refusal::NoChallenge),
        Activation::None => Ok(Outcome::NotAsked(
            "the policy does not ask whether the attestation key lives beside the endorsement key",
        )),
    }
}

fn quote(evidence: &Evidence) -> Result<Quote, Refusal> {
    let message = evidence.quote_message.as_ref().ok_or(Refusal::Missing("quote (quote.msg)"))?;
    Ok(Quote::parse(message)?)
}

fn quote_signature(key: &PublicArea, evidence: &Evidence) -> Verdict {
    let message = evidence.quote_message.as_ref().ok_or(Refusal::Missing("quote (quote.msg)"))?;
    let signature =
        evidence.quote_signature.as_ref().ok_or(Refusal::Missing("quote's signature (quote.sig)"))?;
    verify_signature(key, message, signature)?;
    passed("signed by the attestation key")
}

/// TPMs take at most as many bytes as their longest digest has, so that a long nonce may stand there as its SHA-256.
fn is_for(extra_data: &[u8], nonce: &Nonce) -> bool {
    extra_data == nonce.as_bytes() || extra_data == Sha256::digest(nonce.as_bytes()).as_slice()
}

fn quote_nonce(quote: &Quote, question: &Question<'_>) -> Verdict {
    if !is_for(&quote.extra_data, &question.nonce) {
        return Err(Refusal::ReplayedQuote(quote.extra_data.clone()));
    }
    passed("the quote carries this nonce")
}

fn pcr_values<'a>(quote: &Quote, evidence: &'a Evidence) -> Result<Vec<PcrValue<'a>>, Refusal> {
    let bytes = evidence.pcrs.as_ref().ok_or(Refusal::Missing("PCR values (pcrs.bin)"))?;
    let values = quote.split_values(bytes).map_err(|error| Refusal::Malformed("PCR values", error))?;
    // The digest's hash is the signing scheme's (Part 3, 18.4); its length tells which one that is.
    let hashes = [HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512];
    let hash = hashes.into_iter().find(|hash| hash.digest_bytes() == quote.pcr_digest.len());
    match hash {
        Some(hash) if hash.digest(&[bytes]) == quote.pcr_digest => Ok(values),
        _ => Err(Refusal::PcrDigest),
    }
}

/// The log, `None` if there is none and none is asked for.
fn event_log(evidence: &Evidence, policy: &Policy) -> Result<Option<EventLog>, Refusal> {
    match &evidence.event_log {
        Some(log) => EventLog::parse(log).map(Some).map_err(|error| Refusal::Malformed("event log", error)),
        None if policy.vtpm.require_event_log => Err(Refusal::Missing("event log (eventlog.bin)")),
        None => Ok(None),
    }
}

fn claim(
    judgement: &mut Judgement<'_>,
    keys: &Result<Keys, Refusal>,
    quoted: Option<(Quote, Vec<PcrValue<'_>>)>,
) {
    let Ok(keys) = keys else { return };
    let mut vtpm = Map::new();
    vtpm.insert("manifest_version".to_owned(), Value::from(keys.manifest.version));
    for (prefix, key) in [("endorsement_key", &keys.endorsement), ("attestation_key", &keys.attestation)] {
        vtpm.insert(format!("{prefix}_name"), Value::from(hex(&key.name())));
        vtpm.insert(format!("{prefix}_public"), Value::from(hex(key.bytes())));
    }
    if let Some((quote, values)) = quoted {
        let mut banks = Map::new();
        for (bank, index, value) in values {
            let bank = banks.entry(bank.name()).or_insert_with(|| json!({}));
            if let Some(bank) = bank.as_object_mut() {
                bank.insert(index.to_string(), Value::from(hex(value)));
            }
        }
        vtpm.insert("pcrs".to_owned(), Value::Object(banks));
        vtpm.insert("firmware_version".to_owned(), Value::from(format!("{:#x}", quote.firmware_version)));
        vtpm.insert("reset_count".to_owned(), Value::from(quote.reset_count));
        vtpm.insert("restart_count".to_owned(), Value::from(quote.restart_count));
        vtpm.insert("clock_ms".to_owned(), Value::from(quote.clock));
    }
    judgement.claims.insert("vtpm".to_owned(), Value::Object(vtpm));
}
