//! Checks from the report's data to the PCRs: manifest, keys, quote, event log (AMD 58019, chapters 7 and 8; TPM 2.0).

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256, Sha512};
use snp_abi::report::AttestationReport;

use super::{Activation, Judgement, Question, Verdict, passed};
use crate::claims::{Check, Outcome};
use crate::evidence::Evidence;
use crate::manifest::{self, Form};
use crate::policy::{Policy, VtpmPolicy};
use crate::reader::hex;
use crate::refusal::Refusal;
use crate::vtpm::event_log::EventLog;
use crate::vtpm::hash::HashAlgorithm;
use crate::vtpm::public_area::{PublicArea, attributes};
use crate::vtpm::quote::{PcrValue, Quote, verify_signature};

/// Attributes that keep a key inside the TPM that made it.
const BORN_AND_KEPT: u32 = attributes::FIXED_TPM
    | attributes::FIXED_PARENT
    | attributes::SENSITIVE_DATA_ORIGIN
    | attributes::RESTRICTED;

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
    let endorsement_key =
        judgement.require(Check::EndorsementKey, endorsement_key(evidence), |(key, form)| {
            describe_key(key, *form)
        });
    let attestation_key = judgement.require(Check::AttestationKey, attestation_key(evidence), |key| {
        format!("name {}", hex(&key.name()))
    });
    let keys = endorsement_key.and_then(|(key, _)| Ok((key, attestation_key.clone()?)));
    judgement.record(
        Check::KeyActivation,
        keys.clone().and_then(|keys| activation(&keys, evidence, policy, question)),
    );

    let asks_quote = policy.vtpm.require_quote || evidence.quote_message.is_some();
    let quote = asks_quote.then(|| quote(evidence));
    let Some(quote) = quote else {
        let without = Outcome::NotAsked("the policy does not ask for a quote, and the evidence has none");
        for check in Check::ALL.iter().filter(|check| **check > Check::KeyActivation) {
            judgement.record(*check, Ok(without.clone()));
        }
        return claim(judgement, &keys, None);
    };
    judgement.record(Check::QuoteSignature, attestation_key.and_then(|key| quote_signature(&key, evidence)));
    judgement.record(Check::QuoteNonce, quote.clone().and_then(|quote| quote_nonce(&quote, question)));
    let values = quote.as_ref().map_err(Clone::clone).and_then(|quote| pcr_values(quote, evidence));
    let values = judgement.require(Check::PcrDigest, values, |values| format!("{} PCR values", values.len()));
    let log = event_log(evidence, policy);
    let explained = values.clone().and_then(|values| explain(&values, &log, &policy.vtpm));
    judgement.record(Check::EventLog, explained);
    judgement
        .record(Check::PcrPolicy, values.clone().and_then(|values| pcr_policy(&values, &log, &policy.vtpm)));
    let quoted = quote.ok().zip(values.ok());
    claim(judgement, &keys, quoted);
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
    if covers(question.nonce) {
        return passed("SHA-512 of this nonce and this manifest");
    }
    // It is refused in any case. The quote, if there is one, tells whether the nonce or the manifest is to blame.
    let quoted = quote(evidence).map(|quote| quote.extra_data);
    Err(match quoted {
        Ok(other) if covers(&other) => Refusal::OtherNonce(other),
        Ok(nonce) if is_for(&nonce, question.nonce) => Refusal::OtherManifest,
        _ => Refusal::ReportData(report.report_data.to_vec()),
    })
}

fn endorsement_key(evidence: &Evidence) -> Result<(PublicArea, Form), Refusal> {
    if evidence.manifest.is_empty() {
        return Err(Refusal::Missing("manifest"));
    }
    let (key, form) = manifest::endorsement_key(&evidence.manifest)?;
    if let Some(public) = &evidence.ek_public {
        let sent = PublicArea::parse_sized(public);
        let sent = sent.map_err(|error| Refusal::Malformed("endorsement key", error))?;
        if sent != key {
            return Err(Refusal::OtherEndorsementKey);
        }
    }
    if !key.has(BORN_AND_KEPT | attributes::DECRYPT) || key.has(attributes::SIGN) {
        return Err(Refusal::KeyAttributes("endorsement key", "restricted decryption key"));
    }
    Ok((key, form))
}

fn describe_key(key: &PublicArea, form: Form) -> String {
    let form = match form {
        Form::SingleService => "the vTPM's manifest".to_owned(),
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
    Ok(key)
}

fn activation(
    (endorsement_key, attestation_key): &(PublicArea, PublicArea),
    evidence: &Evidence,
    policy: &Policy,
    question: &Question<'_>,
) -> Verdict {
    match question.activation {
        Activation::ByRelease => {
            passed("by what follows: the secret is wrapped so that it opens only beside this attestation key")
        }
        Activation::Challenge(challenge) => {
            let answer = evidence
                .activated
                .as_ref()
                .ok_or(Refusal::Missing("answer to the challenge (activated.bin)"))?;
            challenge.judge(endorsement_key, attestation_key, answer)?;
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
fn is_for(extra_data: &[u8], nonce: &[u8]) -> bool {
    extra_data == nonce || extra_data == Sha256::digest(nonce).as_slice()
}

fn quote_nonce(quote: &Quote, question: &Question<'_>) -> Verdict {
    if !is_for(&quote.extra_data, question.nonce) {
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

/// Whether the log leads to every quoted PCR that it has to explain.
fn explain(values: &[PcrValue<'_>], log: &Result<Option<EventLog>, Refusal>, policy: &VtpmPolicy) -> Verdict {
    let Some(log) = log.as_ref().map_err(Clone::clone)? else {
        return Ok(Outcome::NotAsked("the policy does not ask for an event log, and the evidence has none"));
    };
    let mut explained = 0_usize;
    for (bank, index, value) in values.iter().filter(|value| policy.logged_pcrs.contains(&value.1)) {
        if log.replay(*bank, *index) != *value {
            return Err(Refusal::EventLog(*bank, *index));
        }
        explained = explained.saturating_add(1);
    }
    if explained == 0 {
        return Err(Refusal::NothingLogged);
    }
    passed(format!("{} events lead to {explained} of the quoted PCRs", log.events.len()))
}

fn pcr_policy(
    values: &[PcrValue<'_>],
    log: &Result<Option<EventLog>, Refusal>,
    policy: &VtpmPolicy,
) -> Verdict {
    if policy.pcr.is_empty() && policy.event.is_empty() {
        return Ok(Outcome::NotAsked("the policy accepts any PCR values"));
    }
    let quoted = |bank, index| {
        let found = values.iter().find(|value| (value.0, value.1) == (bank, index));
        found.map(|value| value.2).ok_or(Refusal::NotQuoted(bank, index))
    };
    for rule in &policy.pcr {
        let value = quoted(rule.bank.0, rule.index)?;
        if !rule.values.iter().any(|accepted| accepted.0 == value) {
            return Err(Refusal::PcrValue(rule.bank.0, rule.index, value.to_vec()));
        }
    }
    for rule in &policy.event {
        let (bank, index) = (rule.bank.0, rule.index);
        quoted(bank, index)?;
        if !policy.logged_pcrs.contains(&index) {
            return Err(Refusal::UncheckedLog(bank, index));
        }
        let log = log.as_ref().map_err(|_| Refusal::NotJudged(Check::EventLog))?;
        let digests = rule.digests();
        let is_demanded = |digest: &[u8]| digests.iter().any(|demanded| demanded == digest);
        if !log.as_ref().is_some_and(|log| log.extensions(bank, index).any(is_demanded)) {
            return Err(Refusal::NoEvent(bank, index));
        }
    }
    passed(format!("{} PCR rules and {} event rules hold", policy.pcr.len(), policy.event.len()))
}

fn claim(
    judgement: &mut Judgement<'_>,
    keys: &Result<(PublicArea, PublicArea), Refusal>,
    quoted: Option<(Quote, Vec<PcrValue<'_>>)>,
) {
    let Ok((endorsement_key, attestation_key)) = keys else { return };
    let mut vtpm = Map::new();
    for (prefix, key) in [("endorsement_key", endorsement_key), ("attestation_key", attestation_key)] {
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
