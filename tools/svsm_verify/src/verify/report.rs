//! Checks on the attestation report and its certificates (AMD 56860, "ATTESTATION_REPORT"; AMD 57230).

use p384::ecdsa::Signature;
use p384::ecdsa::signature::Verifier;
use serde_json::{Value, json};
use snp_abi::policy::PolicyFlags;
use snp_abi::report::{AttestationReport, SigningKey};
use zerocopy::IntoBytes;

use super::{Judgement, Verdict, passed};
use crate::certificates::Endorsed;
use crate::certificates::chain::{self, Chain, NoChain, leaf_name};
use crate::certificates::roots;
use crate::claims::{Check, Outcome};
use crate::policy::{Hex, Policy};
use crate::reader::hex;
use crate::refusal::{Refusal, tcb};
use crate::verify::Question;

pub(super) fn judge(judgement: &mut Judgement<'_>) {
    let (evidence, policy, question) = (judgement.evidence, judgement.policy, judgement.question);
    let parsed = AttestationReport::parse(&evidence.report).map_err(Refusal::Report);
    let report = judgement.require(Check::ReportLayout, parsed, |report| {
        format!("an attestation report of version {}", report.version)
    });
    let found = report.clone().and_then(|report| {
        let key = report.key_information.signing_key().unwrap_or(SigningKey::None);
        Ok(chain::find(&evidence.certificates, key, question.test_root.as_ref())?)
    });
    let chain = judgement.require(Check::CertificateChain, found, describe_chain);

    let both = report.clone().and_then(|report| Ok((report, chain.clone()?)));
    judgement.record(
        Check::CertificateValidity,
        chain.clone().and_then(|chain| validity(&chain, policy, question)),
    );
    judgement
        .record(Check::ReportSignature, both.clone().and_then(|(report, chain)| signature(&report, &chain)));
    judgement.record(Check::SigningKey, report.clone().and_then(|report| signing_key(&report, policy)));
    judgement
        .record(Check::Product, both.clone().and_then(|(report, chain)| product(&report, &chain, policy)));
    judgement
        .record(Check::CertifiedTcb, both.clone().and_then(|(report, chain)| certified_tcb(&report, &chain)));
    judgement.record(
        Check::MinimumTcb,
        both.clone().and_then(|(report, chain)| minimum_tcb(&report, &chain, policy)),
    );
    judgement
        .record(Check::ChipId, both.clone().and_then(|(report, chain)| chip_id(&report, &chain, policy)));
    judgement.record(Check::GuestPolicy, report.clone().and_then(|report| guest_policy(&report, policy)));
    judgement.record(Check::Vmpl, report.clone().and_then(|report| vmpl(&report, policy)));
    judgement
        .record(Check::Measurement, report.clone().and_then(|report| measurement(&report, policy, question)));
    judgement.record(Check::Identity, report.clone().and_then(|report| identity(&report, policy)));
    judgement.record(Check::HostData, report.and_then(|report| host_data(&report, policy)));
    if let Ok((report, chain)) = both {
        judgement.claims.insert("snp".to_owned(), claims(&report, &chain));
    }
}

fn describe_chain(chain: &Chain) -> String {
    let path =
        format!("{} <- {} <- {}", chain.leaf.subject(), chain.intermediate.subject(), chain.root.subject());
    if chain.is_under_test_root { format!("{path}, A TEST ROOT: no proof of hardware") } else { path }
}

fn validity(chain: &Chain, policy: &Policy, question: &Question<'_>) -> Verdict {
    if !policy.certificates.check_validity {
        return Ok(Outcome::NotAsked("the policy does not ask whether certificates have expired"));
    }
    let certificates = [&chain.leaf, &chain.intermediate, &chain.root];
    match certificates.iter().find(|certificate| !certificate.is_valid_at(question.now)) {
        Some(expired) => Err(Refusal::Expired(expired.subject())),
        None => passed("all three certificates are valid now"),
    }
}

fn signature(report: &AttestationReport, chain: &Chain) -> Verdict {
    let number = |number: &snp_abi::signature::PspNumber| number.to_big_endian();
    let (r, s) = (number(&report.signature.r), number(&report.signature.s));
    let (Some(r), Some(s)) = (r, s) else { return Err(Refusal::ReportSignature) };
    let signature = Signature::from_scalars(r, s).map_err(|_| Refusal::ReportSignature)?;
    let key = chain.leaf.report_key().ok_or(NoChain::NoLeaf("P-384"))?;
    key.verify(report.signed_bytes(), &signature).map_err(|_| Refusal::ReportSignature)?;
    passed(format!("signed by the key of {}", chain.leaf.subject()))
}

fn signing_key(report: &AttestationReport, policy: &Policy) -> Verdict {
    let key = report.key_information.signing_key().unwrap_or(SigningKey::None);
    let name = leaf_name(key);
    if report.key_information.is_chip_key_masked() {
        return Err(Refusal::MaskedChipKey);
    }
    let is_accepted = |accepted: &String| accepted.eq_ignore_ascii_case(name);
    if !policy.certificates.signing_keys.iter().any(is_accepted) {
        return Err(Refusal::SigningKey(name));
    }
    passed(name)
}

fn product(report: &AttestationReport, chain: &Chain, policy: &Policy) -> Verdict {
    let of_chain = chain.generation;
    let is_named = |name: &String| roots::product(of_chain).is_some_and(|product| product.name == name);
    if !policy.certificates.products.iter().any(is_named) {
        return Err(Refusal::Product(of_chain));
    }
    if report.version < 3 {
        return passed(format!("{of_chain:?} by its certificates; a report of version 2 does not name it"));
    }
    match report.generation() {
        Some(of_report) if of_report == of_chain => passed(format!("{of_chain:?}")),
        other => Err(Refusal::OtherProduct(other, of_chain)),
    }
}

fn certified_tcb(report: &AttestationReport, chain: &Chain) -> Verdict {
    let certified = chain.leaf.tcb(chain.generation).ok_or(Refusal::CertificateWithoutTcb)?;
    let reported = report.reported_tcb.parts(chain.generation);
    if reported != certified {
        return Err(Refusal::CertifiedTcb(reported, certified));
    }
    passed(tcb(&certified))
}

/// What is reported now, and what ran when the guest's memory was first encrypted, both have to be new enough.
fn minimum_tcb(report: &AttestationReport, chain: &Chain, policy: &Policy) -> Verdict {
    let product = roots::product(chain.generation).map(|product| product.name).unwrap_or_default();
    let minimum = policy.tcb.get(product).ok_or(Refusal::NoMinimumTcb(chain.generation))?.parts();
    for (name, version) in [("reported", report.reported_tcb), ("launch", report.launch_tcb)] {
        let parts = version.parts(chain.generation);
        if !parts.is_at_least(&minimum) {
            return Err(Refusal::OldTcb(name, parts, minimum));
        }
    }
    passed(format!("at least {}", tcb(&minimum)))
}

fn chip_id(report: &AttestationReport, chain: &Chain, policy: &Policy) -> Verdict {
    match &chain.endorsed {
        Endorsed::Chip(number) => {
            let is_same = report.chip_id.starts_with(number)
                && report.chip_id.iter().skip(number.len()).all(|byte| *byte == 0);
            if !is_same {
                return Err(Refusal::OtherChip(report.chip_id.to_vec(), number.clone()));
            }
            let chips = &policy.certificates.chips;
            let is_listed = |listed: &Hex| {
                listed.0.starts_with(number) && listed.0.iter().skip(number.len()).all(|byte| *byte == 0)
            };
            if !chips.is_empty() && !chips.iter().any(is_listed) {
                return Err(Refusal::NotListed(format!("chip {}", hex(number))));
            }
            passed(format!("chip {}", hex(number.get(..8).unwrap_or(number))))
        }
        Endorsed::Cloud(name) => {
            let clouds = &policy.certificates.clouds;
            if !clouds.is_empty() && !clouds.contains(name) {
                return Err(Refusal::NotListed(format!("the cloud `{}`", name.escape_debug())));
            }
            if !policy.certificates.chips.is_empty() {
                return Err(Refusal::NotListed("chips that a VLEK could vouch for".to_owned()));
            }
            passed(format!("a machine of the cloud `{}`; a VLEK does not name the chip", name.escape_debug()))
        }
    }
}

fn guest_policy(report: &AttestationReport, policy: &Policy) -> Verdict {
    let (word, rules) = (report.policy.0, &policy.guest);
    let flags = report.policy.flags();
    if !report.policy.is_well_formed() {
        return Err(Refusal::GuestPolicyBits(word));
    }
    if flags.contains(PolicyFlags::DEBUG_ALLOWED) && !rules.allow_debug {
        return Err(Refusal::DebugAllowed(word));
    }
    if flags.contains(PolicyFlags::MIGRATION_AGENT_ALLOWED) && !rules.allow_migration {
        return Err(Refusal::MigrationAllowed(word));
    }
    if flags.contains(PolicyFlags::SMT_ALLOWED) && !rules.allow_smt {
        return Err(Refusal::GuestPolicy(word, "allows sibling threads"));
    }
    if !flags.contains(PolicyFlags::SINGLE_SOCKET) && rules.require_single_socket {
        return Err(Refusal::GuestPolicy(word, "allows more than one socket"));
    }
    if !flags.contains(PolicyFlags::CIPHERTEXT_HIDING_REQUIRED) && rules.require_ciphertext_hiding {
        return Err(Refusal::GuestPolicy(word, "does not require ciphertext hiding"));
    }
    let debug = if flags.contains(PolicyFlags::DEBUG_ALLOWED) { "debugging allowed" } else { "no debugging" };
    let migration = if flags.contains(PolicyFlags::MIGRATION_AGENT_ALLOWED) {
        "migration allowed"
    } else {
        "no migration"
    };
    passed(format!("{word:#x}: {debug}, {migration}"))
}

fn vmpl(report: &AttestationReport, policy: &Policy) -> Verdict {
    if report.vmpl != policy.guest.vmpl {
        return Err(Refusal::Vmpl(report.vmpl, policy.guest.vmpl));
    }
    passed(format!("VMPL {}", report.vmpl))
}

fn measurement(report: &AttestationReport, policy: &Policy, question: &Question<'_>) -> Verdict {
    let found = &report.measurement;
    if let Some(expected) = question.measurements.iter().find(|expected| expected.digest == *found) {
        return passed(format!("the digest of {}", expected.source));
    }
    let listed = &policy.measurement.launch_digests;
    if listed.iter().any(|digest| digest.0 == found) {
        return passed("a digest that the policy lists");
    }
    if policy.measurement.allow_any {
        return Ok(Outcome::NotAsked("the policy accepts any image"));
    }
    match listed.len().saturating_add(question.measurements.len()) {
        0 => Err(Refusal::NoExpectedMeasurement),
        accepted => Err(Refusal::Measurement(found.to_vec(), accepted)),
    }
}

fn identity(report: &AttestationReport, policy: &Policy) -> Verdict {
    let rules = &policy.identity;
    let list = |list: &[Hex]| list.iter().map(|value| value.0.clone()).collect::<Vec<_>>();
    let one = |value: &Option<Hex>| value.iter().map(|value| value.0.clone()).collect::<Vec<_>>();
    let demands = [
        ("ID key", list(&rules.id_key_digests), report.id_key_digest.as_bytes()),
        ("author key", list(&rules.author_key_digests), report.author_key_digest.as_bytes()),
        ("family id", one(&rules.family_id), report.family_id.as_bytes()),
        ("image id", one(&rules.image_id), report.image_id.as_bytes()),
    ];
    let mut asked = Vec::new();
    for (name, accepted, found) in demands.iter().filter(|demand| !demand.1.is_empty()) {
        if !accepted.iter().any(|accepted| accepted == found) {
            return Err(Refusal::Identity(name, found.to_vec()));
        }
        asked.push(*name);
    }
    let minimum = policy.guest.minimum_svn;
    if report.guest_svn < minimum {
        return Err(Refusal::OldGuest(report.guest_svn, minimum));
    }
    if minimum > 0 {
        asked.push("security version");
    }
    if asked.is_empty() {
        return Ok(Outcome::NotAsked("the policy accepts any ID key, identity and security version"));
    }
    passed(format!("{} as demanded", asked.join(", ")))
}

fn host_data(report: &AttestationReport, policy: &Policy) -> Verdict {
    match &policy.guest.host_data {
        None => Ok(Outcome::NotAsked("the policy accepts any data of the host")),
        Some(wanted) if wanted.0 == report.host_data => passed("the host's data is as demanded"),
        Some(_) => Err(Refusal::HostData(report.host_data.to_vec())),
    }
}

fn claims(report: &AttestationReport, chain: &Chain) -> Value {
    let parts = report.reported_tcb.parts(chain.generation);
    let key = report.key_information.signing_key().unwrap_or(SigningKey::None);
    json!({
        "product": format!("{:?}", chain.generation),
        "under_test_root": chain.is_under_test_root,
        "signing_key": leaf_name(key).to_lowercase(),
        "cloud": match &chain.endorsed { Endorsed::Cloud(name) => Value::from(name.as_str()), Endorsed::Chip(_) => Value::Null },
        "chip_id": hex(&report.chip_id),
        "reported_tcb": {
            "fmc": parts.fmc, "boot_loader": parts.boot_loader, "tee": parts.tee,
            "snp": parts.snp, "microcode": parts.microcode,
        },
        "report_version": report.version,
        "vmpl": report.vmpl,
        "policy": format!("{:#x}", report.policy.0),
        "launch_digest": hex(&report.measurement),
        "guest_svn": report.guest_svn,
        "family_id": hex(&report.family_id),
        "image_id": hex(&report.image_id),
        "id_key_digest": hex(&report.id_key_digest),
        "author_key_digest": hex(&report.author_key_digest),
        "host_data": hex(&report.host_data),
        "report_id": hex(&report.report_id),
    })
}
