//! Checks on the attestation report and its certificates (AMD 56860, "ATTESTATION_REPORT"; AMD 57230).

use p384::ecdsa::Signature;
use p384::ecdsa::signature::Verifier;
use snp_abi::policy::PolicyFlags;
use snp_abi::report::{AttestationReport, SigningKey};
use zerocopy::IntoBytes;

use super::{Judgement, Verdict, passed, platform};
use crate::certificates::Endorsed;
use crate::certificates::chain::{self, Chain, NoChain, TestRoots, is_number_of, leaf_name};
use crate::certificates::revocation::Revocation;
use crate::certificates::roots;
use crate::claims::{Check, Outcome};
use crate::policy::{Hex, Policy};
use crate::reader::hex;
use crate::refusal::{Refusal, tcb};
use crate::verify::Question;

pub(super) fn judge(judgement: &mut Judgement<'_>) {
    let (evidence, policy, question) = (judgement.evidence, judgement.policy, judgement.question);
    let parsed = platform::parse(&evidence.report);
    let report = judgement.require(Check::ReportLayout, parsed, |report| {
        format!("an attestation report of version {}", report.version)
    });
    let test_roots =
        TestRoots { named: question.test_root.as_ref(), fingerprints: &policy.certificates.test_roots };
    let found =
        report.clone().and_then(|report| Ok(chain::find(&evidence.certificates, &report, test_roots)?));
    let chain = judgement.require(Check::CertificateChain, found, describe_chain);
    judgement.is_under_test_root = chain.as_ref().is_ok_and(|chain| chain.is_under_test_root);
    let of_chain = |check: fn(&Chain, &Policy, &Question<'_>) -> Verdict| {
        chain.clone().and_then(|chain| check(&chain, policy, question))
    };
    judgement.record(Check::CertificateValidity, of_chain(validity));
    judgement.record(Check::CertificateRevocation, of_chain(revocation));
    let both = report.clone().and_then(|report| Ok((report, chain.clone()?)));
    let of_both = |check: fn(&AttestationReport, &Chain, &Policy) -> Verdict| {
        both.clone().and_then(|(report, chain)| check(&report, &chain, policy))
    };
    let of_report = |check: fn(&AttestationReport, &Policy) -> Verdict| {
        report.clone().and_then(|report| check(&report, policy))
    };
    judgement.record(Check::ReportSignature, of_both(|report, chain, _| signature(report, chain)));
    judgement.record(Check::SigningKey, of_report(signing_key));
    judgement.record(Check::Product, of_both(product));
    judgement.record(Check::CertifiedTcb, of_both(|report, chain, _| certified_tcb(report, chain)));
    judgement.record(Check::MinimumTcb, of_both(minimum_tcb));
    judgement.record(Check::Platform, of_report(platform::judge));
    judgement.record(Check::ChipId, of_both(chip_id));
    judgement.record(
        Check::GuestPolicy,
        report.clone().and_then(|report| guest_policy(&report, policy, question)),
    );
    judgement.record(Check::Vmpl, of_report(vmpl));
    judgement
        .record(Check::Measurement, report.clone().and_then(|report| measurement(&report, policy, question)));
    judgement.record(Check::Identity, of_report(identity));
    judgement.record(Check::HostData, of_report(host_data));
    if let Ok((report, chain)) = both {
        judgement.claims.insert("snp".to_owned(), platform::claims(&report, &chain));
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

/// AMD revokes intermediates by lists that their root issues; the key of a report grows old with its TCB instead.
fn revocation(chain: &Chain, policy: &Policy, question: &Question<'_>) -> Verdict {
    let mut lists = question.revocation_lists.iter().filter(|list| list.names(&chain.root)).peekable();
    if lists.peek().is_none() {
        return match policy.certificates.require_crl {
            true => Err(Revocation::NoList(chain.root.subject()).into()),
            false => {
                Ok(Outcome::NotAsked("no revocation list was given, and the policy does not ask for one"))
            }
        };
    }
    for list in lists {
        list.check(&chain.root, &[&chain.root, &chain.intermediate], question.now)?;
    }
    passed(format!("the list of {} does not name these certificates", chain.root.subject()))
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

/// What is reported, runs, is committed, and ran when the guest's memory was first encrypted, all have to be new enough: the host can go
/// back to what is committed.
fn minimum_tcb(report: &AttestationReport, chain: &Chain, policy: &Policy) -> Verdict {
    let product = roots::product(chain.generation).map(|product| product.name).unwrap_or_default();
    let minimum = policy.tcb.get(product).ok_or(Refusal::NoMinimumTcb(chain.generation))?.parts();
    for (name, version) in platform::tcbs(report) {
        let parts = version.parts(chain.generation);
        if parts.version() != version {
            return Err(Refusal::Reserved("TCB"));
        }
        if !parts.is_at_least(&minimum) {
            return Err(Refusal::OldTcb(name, parts, minimum));
        }
    }
    passed(format!("at least {}", tcb(&minimum)))
}

fn chip_id(report: &AttestationReport, chain: &Chain, policy: &Policy) -> Verdict {
    match &chain.endorsed {
        Endorsed::Chip(number) => {
            let is_masked = report.chip_id.iter().all(|byte| *byte == 0);
            if is_masked && !policy.certificates.allow_masked_chip_id {
                return Err(Refusal::MaskedChipId);
            }
            if !is_masked && !is_number_of(number, &report.chip_id) {
                return Err(Refusal::OtherChip(report.chip_id.to_vec(), number.clone()));
            }
            let chips = &policy.certificates.chips;
            if !chips.is_empty() && !chips.iter().any(|listed| is_number_of(number, &listed.0)) {
                return Err(Refusal::NotListed(format!("chip {}", hex(number))));
            }
            let masked = if is_masked { ", by its certificate; the report does not name it" } else { "" };
            passed(format!("chip {}{masked}", hex(number.get(..8).unwrap_or(number))))
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

fn guest_policy(report: &AttestationReport, policy: &Policy, question: &Question<'_>) -> Verdict {
    let (word, rules) = (report.policy.0, &policy.guest);
    let flags = report.policy.flags();
    if !report.policy.is_well_formed() {
        return Err(Refusal::GuestPolicyBits(word));
    }
    // The launch digest does not cover the policy, and the host chooses it: an image says which one it asks for.
    let of_image = question.measurements.iter().find(|expected| expected.digest == report.measurement);
    if let Some(asked) = of_image.and_then(|expected| expected.policy).filter(|asked| *asked != word) {
        return Err(Refusal::OtherGuestPolicy(word, asked));
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
