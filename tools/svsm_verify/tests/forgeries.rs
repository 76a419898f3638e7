//! Named forgeries: one change each to genuine evidence, which must be refused by the check that is about it.

mod synthetic;

use svsm_verify::{Check, Evidence, Refusal};
use synthetic::certificates::{Authority, Endorsement, Product};
use synthetic::tpm::{Key, Log};
use synthetic::{Machine, judge, policy};

/// A forgery: what the machine is, what is then done to its evidence, what the policy says besides, and who must notice.
struct Forgery {
    name: &'static str,
    machine: fn(&mut Machine),
    evidence: fn(&mut Evidence, &Machine),
    policy: &'static str,
    check: Check,
}

macro_rules! forgery {
    ($name:literal, $check:ident, machine: $change:expr) => {
        forgery!($name, $check, machine: $change, policy: "")
    };
    ($name:literal, $check:ident, machine: $change:expr, policy: $policy:literal) => {
        Forgery { name: $name, machine: $change, evidence: |_, _| {}, policy: $policy, check: Check::$check }
    };
    ($name:literal, $check:ident, evidence: $change:expr) => {
        forgery!($name, $check, evidence: $change, policy: "")
    };
    ($name:literal, $check:ident, evidence: $change:expr, policy: $policy:literal) => {
        Forgery { name: $name, machine: |_| {}, evidence: $change, policy: $policy, check: Check::$check }
    };
    ($name:literal, $check:ident, policy: $policy:literal) => {
        forgery!($name, $check, machine: |_| {}, policy: $policy)
    };
}

/// Makes the report anew around another manifest, as a guest could that VMPL0 signs anything for.
fn sign_manifest(evidence: &mut Evidence, machine: &Machine, manifest: Vec<u8>) {
    use sha2::{Digest, Sha512};
    let mut report = machine.report.clone();
    report.data = Sha512::new().chain_update(&machine.nonce).chain_update(&manifest).finalize().into();
    evidence.report = report.signed(machine.endorsement.key());
    evidence.manifest = manifest;
    evidence.ek_public = None;
}

/// The vTPM's own manifest with a byte changed, under a report that covers it.
fn change_manifest(evidence: &mut Evidence, machine: &Machine, offset: usize, byte: u8) {
    let mut manifest = machine.endorsement_key.public();
    manifest[offset] = byte;
    sign_manifest(evidence, machine, manifest);
}

/// Quotes these PCRs of the SHA-256 bank instead.
fn quote(evidence: &mut Evidence, machine: &Machine, indices: &[u32]) {
    let quote = machine.log.quote(&machine.quote_nonce, machine.quote_hash, indices);
    sign_quote(evidence, machine, quote.message, quote.values);
}

/// Quotes a bank that the firmware never measured, as zeros.
fn quote_bank(evidence: &mut Evidence, machine: &Machine, bank: u16, bytes: usize) {
    let indices = synthetic::tpm::QUOTED;
    let values = vec![0; bytes * indices.len()];
    let quote = Log::quote_of(bank, values, &machine.quote_nonce, machine.quote_hash, &indices);
    sign_quote(evidence, machine, quote.message, quote.values);
}

fn sign_quote(evidence: &mut Evidence, machine: &Machine, message: Vec<u8>, values: Vec<u8>) {
    evidence.quote_signature = Some(machine.attestation_key.sign(machine.quote_hash, &message));
    evidence.quote_message = Some(message);
    evidence.pcrs = Some(values);
}

/// Measures what somebody wants to see there after everything else, and logs it.
fn measure_later(machine: &mut Machine, pcr: u32, text: &[u8]) {
    machine.log.events.push((pcr, 0xD, text.to_vec()));
}

const REPORT: &[Forgery] = &[
    forgery!("a_report_of_version_6", ReportLayout, machine: |machine| machine.report.version = 6),
    forgery!("a_report_of_version_1", ReportLayout, machine: |machine| machine.report.version = 1),
    forgery!("another_signature_algorithm", ReportLayout, machine: |machine| machine.report.overwritten.push((0x34, vec![2]))),
    forgery!("reserved_word_behind_the_key_information", ReportLayout, machine: |machine| machine.report.overwritten.push((0x4C, vec![1]))),
    forgery!("reserved_bits_of_the_key_information", ReportLayout, machine: |machine| machine.report.overwritten.push((0x49, vec![1]))),
    forgery!("reserved_bytes_behind_the_stepping", ReportLayout, machine: |machine| machine.report.overwritten.push((0x19F, vec![1]))),
    forgery!("mitigations_in_a_report_of_version_3", ReportLayout, machine: |machine| machine.report.current_mitigations = 1),
    forgery!("reserved_bytes_at_the_end_of_what_is_signed", ReportLayout, machine: |machine| machine.report.overwritten.push((0x29F, vec![1]))),
    forgery!("bytes_behind_the_signature", ReportLayout, evidence: |evidence, _| evidence.report[0x49F] = 1),
    forgery!("a_report_with_a_byte_more", ReportLayout, evidence: |evidence, _| evidence.report.push(0)),
    forgery!("a_report_with_a_byte_less", ReportLayout, evidence: |evidence, _| evidence.report.truncate(0x49F)),
    forgery!("a_signature_of_zeros", ReportSignature, evidence: |evidence, _| evidence.report[0x2A0..0x330].fill(0)),
    forgery!("a_signature_by_another_key", ReportSignature, evidence: |evidence, machine| {
        let key = p384::ecdsa::SigningKey::from_slice(&[7; 48]).unwrap();
        evidence.report = machine.report.signed(&key);
    }),
    forgery!("a_report_at_vmpl_1", Vmpl, machine: |machine| machine.report.vmpl = 1),
    forgery!("a_report_at_vmpl_3", Vmpl, machine: |machine| machine.report.vmpl = 3),
    forgery!("a_policy_that_allows_debugging", GuestPolicy, machine: |machine| machine.report.policy |= 1 << 19),
    forgery!("a_policy_that_allows_migration", GuestPolicy, machine: |machine| machine.report.policy |= 1 << 18),
    forgery!("a_policy_with_an_unknown_bit", GuestPolicy, machine: |machine| machine.report.policy |= 1 << 40),
    forgery!("a_policy_without_its_constant_bit", GuestPolicy, machine: |machine| machine.report.policy = 1 << 16),
    forgery!("another_image", Measurement, machine: |machine| machine.report.measurement[47] ^= 1),
    forgery!("a_masked_chip_key", SigningKey, machine: |machine| machine.report.is_chip_key_masked = true),
    forgery!("a_masked_chip_id", ChipId, machine: |machine| machine.report.chip = vec![0; 64]),
    forgery!("another_chip", ChipId, machine: |machine| machine.report.chip = vec![0xC2; 64]),
    forgery!("an_older_launch", MinimumTcb, machine: |machine| machine.report.launch_tcb[3] = 19),
    forgery!("older_committed_firmware", MinimumTcb, machine: |machine| machine.report.committed_tcb[3] = 19),
    forgery!("older_running_firmware", MinimumTcb, machine: |machine| machine.report.current_tcb[4] = 199),
    forgery!("a_reserved_byte_of_a_tcb", MinimumTcb, machine: |machine| machine.report.overwritten.push((0x1E0 + 3, vec![1]))),
    forgery!("a_tcb_that_is_not_the_certificates", CertifiedTcb, machine: |machine| machine.report.tcb[4] = 210),
    forgery!("an_unknown_platform_bit", Platform, machine: |machine| machine.report.platform |= 1 << 6),
    forgery!("sibling_threads_where_they_are_forbidden", Platform, policy: "[platform]\nforbid = [\"smt\"]"),
    forgery!("no_alias_check_where_it_is_required", Platform, machine: |machine| machine.report.platform = 1,
        policy: "[platform]\nrequire = [\"alias_check_complete\"]"),
    forgery!("an_old_report_version", Platform, policy: "[platform]\nminimum_report_version = 5"),
    forgery!("old_committed_firmware_version", Platform, machine: |machine| machine.report.committed_version[0] = 28,
        policy: "[platform]\nminimum_firmware = \"1.55.29\""),
    forgery!("firmware_that_is_not_committed", Platform, machine: |machine| machine.report.current_version[0] = 30,
        policy: "[platform]\nrequire_committed = true"),
    forgery!("a_missing_mitigation", Platform, policy: "[platform]\ncurrent_mitigations = 4"),
    forgery!("a_missing_mitigation_at_launch", Platform, policy: "[platform]\nlaunch_mitigations = 1"),
    forgery!("another_id_key", Identity, machine: |machine| machine.report.id_key_digest = [0; 48],
        policy: "[identity]\nid_key_digests = [\"1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d\"]"),
];

const CERTIFICATES: &[Forgery] = &[
    forgery!("no_certificates", CertificateChain, evidence: |evidence, _| evidence.certificates.clear()),
    forgery!("no_intermediate", CertificateChain, evidence: |evidence, _| drop(evidence.certificates.pop())),
    forgery!("a_chain_of_an_impostor_with_the_same_names", CertificateChain, machine: |machine| machine.authority = Authority::impostor()),
    forgery!("a_chain_to_a_root_that_nobody_named", CertificateChain, machine: |machine| machine.authority = Authority::other()),
    forgery!("an_intermediate_that_may_not_sign", CertificateChain, machine: |machine| machine.authority = Authority::with_powerless_intermediate()),
    forgery!("an_expired_certificate", CertificateValidity, machine: |machine| {
        machine.endorsement.not_after = std::time::Duration::from_secs(1_700_000_000);
    }),
    forgery!("no_revocation_list_where_one_is_required", CertificateRevocation, policy: "[certificates]\nrequire_crl = true"),
    forgery!("a_certificate_for_another_product", Product, machine: |machine| machine.endorsement.product = Product::Milan),
    forgery!("a_vlek_where_the_report_is_by_a_vcek", CertificateChain, machine: |machine| {
        machine.endorsement = Endorsement::cloud(Product::Genoa, "cloud.example");
    }),
    forgery!("a_cloud_that_is_not_listed", ChipId, machine: |machine| {
        machine.endorsement = Endorsement::cloud(Product::Genoa, "cloud.example");
        machine.report.signing_key = 1;
    }, policy: "[certificates]\nclouds = [\"another.example\"]"),
    forgery!("a_certificate_with_chip_and_cloud", CertificateChain, machine: |machine| {
        machine.endorsement.cloud = Some("cloud.example".to_owned());
    }),
    forgery!("a_chip_number_of_another_length", CertificateChain, machine: |machine| {
        machine.endorsement.chip = Some(vec![0xC1; 63]);
    }),
    forgery!("an_octet_string_of_another_chip", ChipId, machine: |machine| {
        machine.endorsement.chip = Some([vec![0x04, 0x40], vec![0xC2; 64]].concat());
    }),
];

const KEYS: &[Forgery] = &[
    forgery!("a_manifest_that_no_report_covers", ReportData, evidence: |evidence, machine| evidence.manifest = machine.endorsement_key.public()),
    forgery!("a_replayed_report", ReportData, machine: |machine| machine.nonce[63] ^= 1),
    forgery!("no_manifest", EndorsementKey, evidence: |evidence, _| evidence.manifest.clear()),
    forgery!("a_swapped_endorsement_key", EndorsementKey, evidence: |evidence, _| {
        evidence.ek_public = Some(synthetic::tpm::sized(&Key::other_endorsement_rsa().public()));
    }),
    forgery!("an_ecc_key_in_a_manifest_of_version_0", EndorsementKey, machine: |machine| machine.endorsement_key = Key::endorsement_p256()),
    forgery!("a_signing_key_in_a_manifest_of_version_0", EndorsementKey, machine: |machine| machine.endorsement_key = Key::attestation_rsa()),
    forgery!("an_even_modulus", EndorsementKey, evidence: |evidence, machine| change_manifest(evidence, machine, 313, 2)),
    forgery!("a_short_modulus", EndorsementKey, evidence: |evidence, machine| change_manifest(evidence, machine, 58, 0x7F)),
    forgery!("another_policy_of_the_endorsement_key", EndorsementKey, evidence: |evidence, machine| change_manifest(evidence, machine, 10, 0)),
    forgery!("another_exponent", EndorsementKey, evidence: |evidence, machine| change_manifest(evidence, machine, 55, 3)),
    forgery!("another_cipher_of_the_endorsement_key", EndorsementKey, evidence: |evidence, machine| change_manifest(evidence, machine, 47, 0x44)),
    forgery!("an_endorsement_key_with_an_authorization_value", EndorsementKey, evidence: |evidence, machine| change_manifest(evidence, machine, 7, 0xF2)),
    forgery!("bytes_behind_the_manifest", EndorsementKey, evidence: |evidence, machine| {
        let manifest = [machine.endorsement_key.public(), vec![0]].concat();
        sign_manifest(evidence, machine, manifest);
    }),
    forgery!("a_list_of_one_key", EndorsementKey, machine: |machine| machine.listed_keys = vec![Key::endorsement_rsa()]),
    forgery!("a_list_without_an_endorsement_key", EndorsementKey, machine: |machine| {
        machine.listed_keys = vec![Key::attestation_rsa(), Key::attestation_p256()];
    }),
    forgery!("a_list_with_a_key_twice", EndorsementKey, machine: |machine| {
        machine.listed_keys = vec![Key::endorsement_rsa(), Key::endorsement_rsa()];
    }),
    forgery!("a_list_with_an_unrestricted_key", EndorsementKey, machine: |machine| {
        machine.listed_keys = vec![Key::endorsement_rsa(), Key::unrestricted()];
    }),
    forgery!("a_list_with_bytes_behind_it", EndorsementKey, evidence: |evidence, _| {
        let machine = Machine { listed_keys: vec![Key::endorsement_rsa(), Key::attestation_rsa()], ..Machine::genuine() };
        let manifest = [machine.manifest(), vec![0]].concat();
        sign_manifest(evidence, &machine, manifest);
    }),
    forgery!("an_attestation_key_that_the_list_does_not_name", KeyActivation, machine: |machine| {
        machine.listed_keys = vec![Key::endorsement_rsa(), Key::attestation_p256()];
    }, policy: "require_activation = true"),
    forgery!("no_attestation_key", AttestationKey, evidence: |evidence, _| evidence.ak_public = None),
    forgery!("an_attestation_key_that_signs_anything", AttestationKey, machine: |machine| machine.attestation_key = Key::unrestricted()),
    forgery!("an_attestation_key_from_outside", AttestationKey, machine: |machine| machine.attestation_key = Key::imported()),
    forgery!("an_attestation_key_with_a_reserved_attribute", AttestationKey, evidence: |evidence, _| {
        evidence.ak_public.as_mut().unwrap()[2 + 4] |= 0x80;
    }),
    forgery!("an_attestation_key_with_a_sha1_name", AttestationKey, evidence: |evidence, _| {
        evidence.ak_public.as_mut().unwrap()[2 + 3] = 0x04;
    }),
    forgery!("nobody_was_challenged", KeyActivation, policy: "require_activation = true"),
];

const QUOTES: &[Forgery] = &[
    forgery!("a_quote_by_a_foreign_key", QuoteSignature, evidence: |evidence, machine| {
        let message = evidence.quote_message.clone().unwrap();
        evidence.quote_signature = Some(Key::foreign_attestation_rsa().sign(machine.quote_hash, &message));
    }),
    forgery!("a_replayed_quote", QuoteNonce, machine: |machine| machine.quote_nonce = vec![1; 64]),
    forgery!("a_quote_without_a_nonce", QuoteNonce, machine: |machine| machine.quote_nonce = Vec::new()),
    forgery!("a_quote_with_the_beginning_of_the_nonce", QuoteNonce, machine: |machine| machine.quote_nonce.truncate(32)),
    forgery!("another_pcr_value", PcrDigest, evidence: |evidence, _| evidence.pcrs.as_mut().unwrap()[0] ^= 1),
    forgery!("a_quote_of_one_pcr", PcrDigest, evidence: |evidence, machine| quote(evidence, machine, &[8])),
    forgery!("a_quote_without_pcr_0", PcrDigest, evidence: |evidence, machine| quote(evidence, machine, &[1, 2, 3, 4, 5, 6, 7, 8, 9])),
    forgery!("a_quote_of_pcrs_that_nobody_measures", PcrDigest, evidence: |evidence, machine| quote(evidence, machine, &[16, 23])),
    forgery!("a_quote_without_pcr_14_behind_uefi", PcrDigest, policy: "boot = \"uefi\""),
    forgery!("a_quote_of_a_bank_that_the_firmware_does_not_measure", PcrDigest, evidence: |evidence, machine| quote_bank(evidence, machine, 0x0D, 64)),
    forgery!("a_quote_of_sha1", PcrDigest, evidence: |evidence, machine| quote_bank(evidence, machine, 0x04, 20)),
    forgery!("a_quote_of_a_bank_that_the_policy_does_not_name", PcrDigest, policy: "banks = [\"sha384\"]"),
    forgery!("a_log_without_the_quoted_bank", EventLog, evidence: |evidence, machine| evidence.event_log = Some(machine.log.bytes_of(&[0x04, 0x0C]))),
    forgery!("a_bank_of_zeros_that_the_log_does_not_have", EventLog, evidence: |evidence, machine| {
        quote_bank(evidence, machine, 0x0C, 48);
        evidence.event_log = Some(machine.log.bytes_of(&[0x04, 0x0B]));
    }),
    forgery!("an_event_without_the_quoted_bank", EventLog, evidence: |evidence, machine| {
        let log = evidence.event_log.as_mut().unwrap();
        log.extend([8, 0, 0, 0, 0xD, 0, 0, 0, 1, 0, 0, 0, 0x0C, 0]);
        log.extend([0; 48 + 4]);
        let _ = machine;
    }),
    forgery!("a_log_of_sha1_alone", EventLog, evidence: |evidence, _| evidence.event_log = Some(vec![0, 0, 0, 0, 8, 0, 0, 0, 1, 2, 3])),
    forgery!("an_ima_list_for_a_log", EventLog, evidence: |evidence, _| evidence.event_log = Some(b"10 91f34b5c671d73504b274a919661cf80dab1e127 ima-ng".to_vec())),
    forgery!("a_second_startup_locality", EventLog, evidence: |evidence, machine| {
        let log = Log { locality: Some(0), ..machine.log.clone() }.bytes();
        let once = Log { locality: Some(0), events: Vec::new() }.bytes();
        let header = Log { locality: None, events: Vec::new() }.bytes().len();
        evidence.event_log = Some([log, once[header..].to_vec()].concat());
    }),
    forgery!("an_event_that_was_left_out", EventLog, evidence: |evidence, machine| {
        let mut log = machine.log.clone();
        log.events.pop();
        evidence.event_log = Some(log.bytes());
    }),
    forgery!("an_event_that_was_made_to_extend_nothing", EventLog, evidence: |evidence, machine| {
        let mut log = machine.log.clone();
        log.events[2].1 = 3;
        evidence.event_log = Some(log.bytes());
    }),
    forgery!("events_in_another_order", EventLog, evidence: |evidence, machine| {
        let mut log = machine.log.clone();
        log.events.swap(0, 4);
        evidence.event_log = Some(log.bytes());
    }),
];

const EVENTS: &[Forgery] = &[
    forgery!("the_demanded_event_measured_later", PcrPolicy,
        machine: |machine| {
            machine.log = Log::of_direct_boot("init=/bin/sh");
            measure_later(machine, 8, b"console=ttyS0 quiet");
        },
        policy: "[[vtpm.event]]\nbank = \"sha256\"\nindex = 8\nstarts_with = [{ text = \"console=ttyS0 quiet\" }]"),
    forgery!("something_measured_after_the_demanded_event", PcrPolicy,
        machine: |machine| measure_later(machine, 8, b"more"),
        policy: "[[vtpm.event]]\nbank = \"sha256\"\nindex = 8\nexactly = [{ text = \"console=ttyS0 quiet\" }]"),
    forgery!("the_demanded_event_behind_the_separator", PcrPolicy,
        machine: |machine| {
            machine.log.events[1].2 = b"another kernel".to_vec();
            measure_later(machine, 4, b"kernel");
        },
        policy: "[[vtpm.event]]\nbank = \"sha256\"\nindex = 4\nbefore_separator = [{ text = \"kernel\" }]"),
    forgery!("a_second_separator_behind_the_demanded_event", PcrPolicy,
        machine: |machine| {
            machine.log.events[1].2 = b"another kernel".to_vec();
            measure_later(machine, 4, b"kernel");
            measure_later(machine, 4, &[0; 4]);
        },
        policy: "[[vtpm.event]]\nbank = \"sha256\"\nindex = 4\nbefore_separator = [{ text = \"kernel\" }]"),
    forgery!("a_log_without_a_separator", PcrPolicy,
        machine: |machine| machine.log.events.retain(|event| event.0 != 4 || event.1 != 4),
        policy: "[[vtpm.event]]\nbank = \"sha256\"\nindex = 4\nbefore_separator = [{ text = \"kernel\" }]"),
    forgery!("a_later_event_that_was_retyped_as_a_separator", PcrPolicy,
        machine: |machine| {
            machine.log.events[1].2 = b"another kernel".to_vec();
            machine.log.events.insert(1, (4, 4, b"kernel".to_vec()));
        },
        policy: "[[vtpm.event]]\nbank = \"sha256\"\nindex = 4\nbefore_separator = [{ text = \"kernel\" }]"),
    forgery!("fewer_events_than_demanded", PcrPolicy,
        policy: "[[vtpm.event]]\nbank = \"sha256\"\nindex = 8\nstarts_with = [{ text = \"console=ttyS0 quiet\" }, { text = \"more\" }]"),
];

fn all() -> impl Iterator<Item = &'static Forgery> {
    [REPORT, CERTIFICATES, KEYS, QUOTES, EVENTS].into_iter().flatten()
}

#[test]
fn every_forgery_is_refused_by_the_check_that_is_about_it() {
    for forgery in all() {
        let mut machine = Machine::genuine();
        (forgery.machine)(&mut machine);
        let mut evidence = machine.evidence();
        (forgery.evidence)(&mut evidence, &machine);
        let text = match forgery.policy.strip_prefix("require_activation = ") {
            Some(_) => policy("").replace("require_activation = false", "require_activation = true"),
            None => policy(forgery.policy),
        };
        let answer = judge(&evidence, &text, &Authority::first().root);
        let refusal = answer.refusal(forgery.check);
        let is_its_own = refusal.is_some_and(|refusal| !matches!(refusal, Refusal::NotJudged(_)));
        assert!(is_its_own && !answer.is_verified(), "{}: {}", forgery.name, answer.to_text());
        assert!(answer.claims().is_empty(), "{}", forgery.name);
    }
}

#[test]
fn there_are_at_least_sixty_forgeries_and_each_has_a_name_of_its_own() {
    let mut names: Vec<_> = all().map(|forgery| forgery.name).collect();
    names.sort_unstable();
    names.dedup();
    assert!(names.len() >= 60 && names.len() == all().count(), "{}", names.len());
}

/// The genuine counterparts: what the rules above are about is accepted where it is as it should be.
#[test]
fn what_is_genuine_passes_the_same_rules() {
    for text in [
        "[[vtpm.event]]\nbank = \"sha256\"\nindex = 8\nexactly = [{ text = \"console=ttyS0 quiet\" }]",
        "[[vtpm.event]]\nbank = \"sha256\"\nindex = 4\nbefore_separator = [{ text = \"kernel\" }]",
        "[platform]\nrequire = [\"alias_check_complete\"]\nminimum_firmware = \"1.55.29\"\nrequire_committed = true",
        "banks = [\"sha256\"]",
    ] {
        let answer = Machine::genuine().judge(&policy(text));
        assert!(answer.is_verified(), "{text}: {}", answer.to_text());
    }
    let mut later = Machine::genuine();
    measure_later(&mut later, 4, &[0; 4]);
    let rule = "[[vtpm.event]]\nbank = \"sha256\"\nindex = 4\nbefore_separator = [{ text = \"kernel\" }]";
    assert!(later.judge(&policy(rule)).is_verified(), "a later separator moves nothing");
    let listed = Machine {
        listed_keys: vec![Key::endorsement_rsa(), Key::endorsement_p256(), Key::attestation_rsa()],
        ..Machine::genuine()
    };
    let demanding = policy("").replace("require_activation = false", "require_activation = true");
    assert!(listed.judge(&demanding).is_verified(), "{}", listed.judge(&demanding).to_text());
    assert_eq!(listed.judge(&demanding).claims()["vtpm"]["manifest_version"], 1);
    // An old certificate of the same chip, and one of another, beside the right one.
    let machine = Machine::genuine();
    let mut evidence = machine.evidence();
    let old = Endorsement { tcb: [2, 7, 0, 21, 209], ..Endorsement::chip(Product::Genoa) };
    let foreign = Endorsement { chip: Some(vec![0xC3; 64]), ..Endorsement::chip(Product::Genoa) };
    for other in [old, foreign] {
        evidence.certificates.insert(0, machine.authority.certify(&other));
    }
    assert!(judge(&evidence, &policy(""), &machine.root()).is_verified());
    // The chip's number as an OCTET STRING; a masked one where the policy lets it pass.
    let mut tagged = Machine::genuine();
    tagged.endorsement.chip = Some([vec![0x04, 0x40], vec![0xC1; 64]].concat());
    assert!(tagged.judge(&policy("")).is_verified());
    let mut masked = Machine::genuine();
    masked.report.chip = vec![0; 64];
    assert!(masked.judge(&policy("[certificates]\nallow_masked_chip_id = true")).is_verified());
}
