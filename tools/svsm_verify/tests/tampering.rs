//! Whatever is changed about genuine evidence, it is refused, and for the right reason.

mod synthetic;

use snp_abi::tcb::TcbParts;
use svsm_verify::certificates::chain::NoChain;
use svsm_verify::manifest::InvalidManifest;
use svsm_verify::vtpm::hash::HashAlgorithm;
use svsm_verify::vtpm::quote::InvalidSignature;
use svsm_verify::vtpm::template::NotOfTemplate;
use svsm_verify::{Check, ClaimsSet, Nonce, Outcome, Refusal};
use synthetic::certificates::{Authority, Endorsement, Product};
use synthetic::tpm::{Hash, Key, Log};
use synthetic::{LAUNCH_DIGEST, Machine, NONCE, judge, policy, sha256};

/// The checks that failed on their own account, and not because another one did.
fn failed(answer: &ClaimsSet) -> Vec<Check> {
    let is_failed = |check: &Check| !matches!(answer.refusal(*check), None | Some(Refusal::NotJudged(_)));
    Check::ALL.iter().copied().filter(is_failed).collect()
}

/// Says that exactly one check failed, and why.
#[track_caller]
fn only(answer: &ClaimsSet, check: Check, refusal: &Refusal) {
    assert_eq!(failed(answer), [check], "{}", answer.to_text());
    assert_eq!(answer.refusal(check), Some(refusal));
    assert!(!answer.is_verified() && answer.claims().is_empty());
}

#[test]
fn genuine_evidence_of_every_product_verifies() {
    for product in [Product::Milan, Product::Genoa, Product::Turin] {
        let answer = Machine::of(product).judge(&policy(""));
        assert!(answer.is_verified(), "{}", answer.to_text());
        assert_eq!(answer.checks().len(), Check::ALL.len());
    }
}

#[test]
fn every_kind_of_attestation_key_verifies() {
    for (key, hash) in [
        (Key::attestation_rsa(), Hash::Sha256),
        (Key::attestation_pss(), Hash::Sha256),
        (Key::attestation_pss_long_salt(), Hash::Sha256),
        (Key::attestation_p256(), Hash::Sha256),
        (Key::attestation_p384(), Hash::Sha384),
    ] {
        let machine = Machine { attestation_key: key, quote_hash: hash, ..Machine::genuine() };
        let answer = machine.judge(&policy(""));
        assert!(answer.is_verified(), "{}", answer.to_text());
    }
}

#[test]
fn a_single_services_manifest_and_a_vlek_verify() {
    let mut machine = Machine { lists_all_services: false, ..Machine::genuine() };
    machine.endorsement = Endorsement::cloud(Product::Genoa, "cloud.example");
    machine.report.signing_key = 1;
    machine.report.chip = vec![0; 64];
    let answer = machine.judge(&policy(""));
    assert!(answer.is_verified(), "{}", answer.to_text());
    assert_eq!(answer.claims()["snp"]["cloud"], "cloud.example");
    let answer = machine.judge(&policy("[certificates]\nclouds = [\"another.example\"]"));
    only(&answer, Check::ChipId, &Refusal::NotListed("the cloud `cloud.example`".to_owned()));
}

#[test]
fn another_nonce_is_refused() {
    let machine = Machine {
        nonce: b"yesterday's".to_vec(),
        quote_nonce: b"yesterday's".to_vec(),
        ..Machine::genuine()
    };
    let answer = machine.judge(&policy(""));
    assert_eq!(failed(&answer), [Check::ReportData, Check::QuoteNonce]);
    assert_eq!(answer.refusal(Check::ReportData), Some(&Refusal::OtherNonce(b"yesterday's".to_vec())));
}

#[test]
fn another_manifest_is_refused() {
    let machine = Machine::genuine();
    let mut evidence = machine.evidence();
    evidence.manifest = Machine { lists_all_services: false, ..Machine::genuine() }.manifest();
    only(&judge(&evidence, &policy(""), &machine.root()), Check::ReportData, &Refusal::OtherManifest);
}

#[test]
fn a_swapped_endorsement_key_is_refused() {
    let machine = Machine::genuine();
    let mut evidence = machine.evidence();
    let other = Machine { endorsement_key: Key::other_endorsement_rsa(), ..Machine::genuine() }.evidence();
    evidence.ek_public = other.ek_public.clone();
    only(
        &judge(&evidence, &policy(""), &machine.root()),
        Check::EndorsementKey,
        &Refusal::OtherEndorsementKey,
    );
    evidence.manifest = other.manifest;
    only(&judge(&evidence, &policy(""), &machine.root()), Check::ReportData, &Refusal::OtherManifest);
}

#[test]
fn the_report_of_another_vm_is_refused() {
    let machine = Machine::genuine();
    let mut other = Machine { endorsement_key: Key::other_endorsement_rsa(), ..Machine::genuine() };
    other.report.report_id = [0x4F; 32];
    let evidence = svsm_verify::Evidence { report: other.evidence().report, ..machine.evidence() };
    only(&judge(&evidence, &policy(""), &machine.root()), Check::ReportData, &Refusal::OtherManifest);
}

#[test]
fn a_report_from_vmpl2_is_refused() {
    let mut machine = Machine::genuine();
    machine.report.vmpl = 2;
    only(&machine.judge(&policy("")), Check::Vmpl, &Refusal::Vmpl(2, 0));
}

#[test]
fn an_older_tcb_is_refused() {
    let old = TcbParts { fmc: None, boot_loader: 7, tee: 0, snp: 19, microcode: 209 };
    let minimum = TcbParts { fmc: None, boot_loader: 4, tee: 0, snp: 20, microcode: 200 };
    let mut machine = Machine::genuine();
    machine.report.tcb = [0, 7, 0, 19, 209];
    machine.endorsement.tcb = machine.report.tcb;
    only(&machine.judge(&policy("")), Check::MinimumTcb, &Refusal::OldTcb("reported", old, minimum));
    let mut machine = Machine::genuine();
    machine.report.launch_tcb = [0, 7, 0, 19, 209];
    only(&machine.judge(&policy("")), Check::MinimumTcb, &Refusal::OldTcb("launch", old, minimum));
}

#[test]
fn a_newer_tcb_than_the_certificates_is_refused() {
    let mut machine = Machine::genuine();
    machine.report.tcb = [0, 7, 0, 23, 209];
    let parts = |snp| TcbParts { fmc: None, boot_loader: 7, tee: 0, snp, microcode: 209 };
    only(&machine.judge(&policy("")), Check::CertifiedTcb, &Refusal::CertifiedTcb(parts(23), parts(22)));
}

#[test]
fn a_product_without_a_minimum_is_refused() {
    let text = policy("").replace("[tcb.Genoa]", "[tcb.Milan.x]");
    assert!(svsm_verify::Policy::parse(&text).is_err());
    let text: String = policy("").replace("[tcb.Milan]", "[removed]").replace("[tcb.Genoa]", "[tcb.Milan]");
    let text = text.replacen("[removed]\nboot_loader = 4\ntee = 0\nsnp = 20\nmicrocode = 200\n", "", 1);
    let answer = Machine::genuine().judge(&text);
    only(&answer, Check::MinimumTcb, &Refusal::NoMinimumTcb(snp_abi::tcb::Generation::Genoa));
}

#[test]
fn a_wrong_chain_is_refused() {
    let trusted = Authority::first().root.clone();
    let not_signed = |subject: &str, issuer: &str| {
        Refusal::Chain(NoChain::NotSigned { subject: subject.to_owned(), issuer: issuer.to_owned() })
    };
    for (authority, reason) in [
        (Authority::impostor(), not_signed("SEV-Test", "ARK-Test")),
        (Authority::other(), Refusal::Chain(NoChain::UnpinnedRoot("ARK-Other".to_owned()))),
        (
            Authority::with_powerless_intermediate(),
            Refusal::Chain(NoChain::NoAuthority("SEV-Powerless".to_owned())),
        ),
    ] {
        let machine = Machine { authority, ..Machine::genuine() };
        let answer = judge(&machine.evidence(), &policy(""), &trusted);
        assert_eq!(answer.refusal(Check::CertificateChain), Some(&reason));
        let not_judged = Some(&Refusal::NotJudged(Check::CertificateChain));
        assert_eq!(answer.refusal(Check::ReportSignature), not_judged);
    }
    // A leaf that another intermediate of the same name signed.
    let mut evidence = Machine { authority: Authority::impostor(), ..Machine::genuine() }.evidence();
    evidence.certificates[1] = Authority::first().intermediate.clone();
    let answer = judge(&evidence, &policy(""), &trusted);
    assert_eq!(answer.refusal(Check::CertificateChain), Some(&not_signed("SEV-VCEK", "SEV-Test")));
}

#[test]
fn a_test_root_is_not_trusted_unless_it_is_named() {
    let evidence = Machine::genuine().evidence();
    let policy = svsm_verify::Policy::parse(&policy("")).unwrap();
    let answer = svsm_verify::verify(
        &evidence,
        &policy,
        &svsm_verify::Question::new(Nonce::new(*NONCE), synthetic::NOW),
    );
    let reason = Refusal::Chain(NoChain::UnpinnedRoot("ARK-Test".to_owned()));
    assert_eq!(answer.refusal(Check::CertificateChain), Some(&reason));
}

#[test]
fn missing_certificates_are_named() {
    let machine = Machine::genuine();
    let mut evidence = machine.evidence();
    evidence.certificates.remove(1);
    let answer = judge(&evidence, &policy(""), &machine.root());
    let reason = Refusal::Chain(NoChain::NoIntermediate("SEV-Test".to_owned()));
    assert_eq!(answer.refusal(Check::CertificateChain), Some(&reason));
    evidence.certificates.clear();
    let answer = judge(&evidence, &policy(""), &machine.root());
    assert_eq!(answer.refusal(Check::CertificateChain), Some(&Refusal::Chain(NoChain::NoLeaf("VCEK"))));
}

#[test]
fn an_expired_certificate_is_refused_unless_the_policy_does_not_mind() {
    let mut machine = Machine::genuine();
    machine.endorsement.not_after = std::time::Duration::from_secs(1_700_000_000);
    let answer = machine.judge(&policy(""));
    only(&answer, Check::CertificateValidity, &Refusal::Expired("SEV-VCEK".to_owned()));
    assert!(machine.judge(&policy("[certificates]\ncheck_validity = false")).is_verified());
}

#[test]
fn a_changed_report_is_refused() {
    let machine = Machine::genuine();
    let mut evidence = machine.evidence();
    evidence.report[0x140] ^= 1;
    only(&judge(&evidence, &policy(""), &machine.root()), Check::ReportSignature, &Refusal::ReportSignature);
    let mut evidence = machine.evidence();
    evidence.report[0x2A0 + 60] = 1; // beyond 384 bits
    only(&judge(&evidence, &policy(""), &machine.root()), Check::ReportSignature, &Refusal::ReportSignature);
}

#[test]
fn a_masked_chip_key_and_unaccepted_keys_are_refused() {
    let mut machine = Machine::genuine();
    machine.report.is_chip_key_masked = true;
    only(&machine.judge(&policy("")), Check::SigningKey, &Refusal::MaskedChipKey);
    let answer = Machine::genuine().judge(&policy("[certificates]\nsigning_keys = [\"vlek\"]"));
    only(&answer, Check::SigningKey, &Refusal::SigningKey("VCEK"));
    machine.report.signing_key = 7;
    let answer = machine.judge(&policy(""));
    assert_eq!(answer.refusal(Check::CertificateChain), Some(&Refusal::Chain(NoChain::NoSigningKey)));
}

#[test]
fn another_chip_is_refused() {
    let mut machine = Machine::genuine();
    machine.report.chip = vec![0xC2; 64];
    only(&machine.judge(&policy("")), Check::ChipId, &Refusal::OtherChip(vec![0xC2; 64], vec![0xC1; 64]));
    let mut machine = Machine::of(Product::Turin);
    machine.report.chip = [vec![0xC1; 8], vec![1]].concat();
    assert!(matches!(machine.judge(&policy("")).refusal(Check::ChipId), Some(Refusal::OtherChip(..))));
    let answer =
        Machine::genuine().judge(&policy(&format!("[certificates]\nchips = [\"{}\"]", "00".repeat(64))));
    assert_eq!(failed(&answer), [Check::ChipId]);
}

#[test]
fn a_report_from_another_product_than_the_certificates_is_refused() {
    let mut machine = Machine::genuine();
    machine.report.product = Product::Milan;
    let reason =
        Refusal::OtherProduct(Some(snp_abi::tcb::Generation::Milan), snp_abi::tcb::Generation::Genoa);
    only(&machine.judge(&policy("")), Check::Product, &reason);
    let answer = Machine::genuine().judge(&policy("[certificates]\nproducts = [\"Turin\"]"));
    only(&answer, Check::Product, &Refusal::Product(snp_abi::tcb::Generation::Genoa));
}

#[test]
fn a_debug_policy_is_refused_unless_it_is_allowed() {
    let mut machine = Machine::genuine();
    machine.report.policy = 0xB0000;
    only(&machine.judge(&policy("")), Check::GuestPolicy, &Refusal::DebugAllowed(0xB0000));
    assert!(machine.judge(&policy("[guest]\nallow_debug = true")).is_verified());
}

#[test]
fn a_migration_agent_and_other_policies_are_refused() {
    let mut machine = Machine::genuine();
    machine.report.policy = 0x70000;
    only(&machine.judge(&policy("")), Check::GuestPolicy, &Refusal::MigrationAllowed(0x70000));
    machine.report.policy = 0x10000;
    only(&machine.judge(&policy("")), Check::GuestPolicy, &Refusal::GuestPolicyBits(0x10000));
    for demand in ["allow_smt = false", "require_single_socket = true", "require_ciphertext_hiding = true"] {
        let answer = Machine::genuine().judge(&policy(&format!("[guest]\n{demand}")));
        assert_eq!(failed(&answer), [Check::GuestPolicy], "{demand}");
    }
}

#[test]
fn a_changed_image_is_refused() {
    let mut machine = Machine::genuine();
    machine.report.measurement = [0xD2; 48];
    only(&machine.judge(&policy("")), Check::Measurement, &Refusal::Measurement(vec![0xD2; 48], 1));
}

#[test]
fn nothing_is_expected_of_an_image_only_if_the_policy_says_so() {
    let digest: String = LAUNCH_DIGEST.iter().map(|byte| format!("{byte:02x}")).collect();
    let without = policy("").replace(&format!("\"{digest}\""), "");
    only(&Machine::genuine().judge(&without), Check::Measurement, &Refusal::NoExpectedMeasurement);
    let any = without.replace("[measurement]", "[measurement]\nallow_any = true");
    let answer = Machine::genuine().judge(&any);
    assert!(matches!(answer.outcome(Check::Measurement), Some(Outcome::NotAsked(_))) && answer.is_verified());
}

#[test]
fn identity_host_data_and_security_version_are_compared() {
    let hex = |byte: u8, count| format!("{byte:02x}").repeat(count);
    let right = format!(
        "[identity]\nid_key_digests = [\"{}\"]\nauthor_key_digests = [\"{}\"]\n[guest]\nminimum_svn = 3\nhost_data = \"{}\"",
        hex(0x1D, 48),
        hex(0xA0, 48),
        hex(0x4D, 32)
    );
    assert!(Machine::genuine().judge(&policy(&right)).is_verified());
    let with_key = |more: &str| format!("[identity]\nid_key_digests = [\"{}\"]\n{more}", hex(0x1D, 48));
    for (wrong, check) in [
        (format!("[identity]\nid_key_digests = [\"{}\"]", hex(0x1E, 48)), Check::Identity),
        (with_key(&format!("author_key_digests = [\"{}\"]", hex(0x1E, 48))), Check::Identity),
        (with_key(&format!("family_id = \"{}\"", hex(0, 16))), Check::Identity),
        (with_key(&format!("image_id = \"{}\"", hex(0, 16))), Check::Identity),
        (with_key("[guest]\nminimum_svn = 4"), Check::Identity),
        (format!("[guest]\nhost_data = \"{}\"", hex(0, 32)), Check::HostData),
    ] {
        assert_eq!(failed(&Machine::genuine().judge(&policy(&wrong))), [check], "{wrong}");
    }
    // Without an ID key, whatever stands in the ID block is whoever launched the guest's.
    for unproved in [
        format!("[identity]\nauthor_key_digests = [\"{}\"]", hex(0xA0, 48)),
        format!("[identity]\nfamily_id = \"{}\"", hex(0, 16)),
        format!("[identity]\nimage_id = \"{}\"", hex(0, 16)),
        "[guest]\nminimum_svn = 3".to_owned(),
    ] {
        assert!(svsm_verify::Policy::parse(&policy(&unproved)).is_err(), "{unproved}");
    }
}

#[test]
fn a_changed_command_line_is_refused() {
    let rule =
        "[[vtpm.event]]\nbank = \"sha256\"\nindex = 8\nstarts_with = [{ text = \"console=ttyS0 quiet\" }]";
    assert!(Machine::genuine().judge(&policy(rule)).is_verified());
    let machine = Machine { log: Log::of_direct_boot("console=ttyS0 init=/bin/sh"), ..Machine::genuine() };
    only(
        &machine.judge(&policy(rule)),
        Check::PcrPolicy,
        &Refusal::Event(HashAlgorithm::Sha256, 8, "does not start with what the policy demands"),
    );
    // A log that claims the right one leads to another PCR value.
    let mut evidence = machine.evidence();
    evidence.event_log = Machine::genuine().evidence().event_log;
    let answer = judge(&evidence, &policy(rule), &machine.root());
    only(&answer, Check::EventLog, &Refusal::EventLog(HashAlgorithm::Sha256, 8));
}

#[test]
fn an_event_whose_text_was_not_measured_is_refused() {
    let rule =
        "[[vtpm.event]]\nbank = \"sha256\"\nindex = 8\nstarts_with = [{ text = \"console=ttyS0 quiet\" }]";
    let machine = Machine { log: Log::of_direct_boot("console=ttyS0 other"), ..Machine::genuine() };
    let mut evidence = machine.evidence();
    // The same digests and the wanted text, which has as many letters.
    let log = evidence.event_log.as_mut().unwrap();
    let text = b"console=ttyS0 other";
    let at = log.windows(text.len()).position(|window| window == text).unwrap();
    log[at..at + text.len()].copy_from_slice(b"console=ttyS0 quiet");
    let answer = judge(&evidence, &policy(rule), &machine.root());
    only(
        &answer,
        Check::PcrPolicy,
        &Refusal::Event(HashAlgorithm::Sha256, 8, "does not start with what the policy demands"),
    );
}

#[test]
fn a_changed_pcr_value_is_refused() {
    let machine = Machine::genuine();
    let mut evidence = machine.evidence();
    evidence.pcrs.as_mut().unwrap()[5] ^= 1;
    let answer = judge(&evidence, &policy(""), &machine.root());
    only(&answer, Check::PcrDigest, &Refusal::PcrDigest);
}

#[test]
fn a_pcr_with_another_value_than_the_policys_is_refused() {
    let one: String =
        sha256(&[vec![0; 32], sha256(&[0; 4])].concat()).iter().map(|byte| format!("{byte:02x}")).collect();
    let rule = |index| format!("[[vtpm.pcr]]\nbank = \"sha256\"\nindex = {index}\nvalues = [\"{one}\"]");
    assert!(Machine::genuine().judge(&policy(&rule(7))).is_verified());
    let value = Machine::genuine().log.pcrs()[&8].clone();
    let reason = Refusal::PcrValue(HashAlgorithm::Sha256, 8, value);
    only(&Machine::genuine().judge(&policy(&rule(8))), Check::PcrPolicy, &reason);
    // A rule about what is not quoted is the policy's mistake.
    assert!(svsm_verify::Policy::parse(&policy(&rule(23))).is_err());
    let reason = Refusal::PcrNotQuoted(Some(HashAlgorithm::Sha256), 23);
    let more = format!("pcrs = [7, 23]\nlogged_pcrs = [7]\n{}", rule(23));
    only(&Machine::genuine().judge(&policy(&more)), Check::PcrDigest, &reason);
}

#[test]
fn a_removed_log_entry_is_refused() {
    for removed in 0..12 {
        let machine = Machine::genuine();
        let mut log = machine.log.clone();
        let (pcr, ..) = log.events.remove(removed);
        let mut evidence = machine.evidence();
        evidence.event_log = Some(log.bytes());
        let answer = judge(&evidence, &policy(""), &machine.root());
        only(&answer, Check::EventLog, &Refusal::EventLog(HashAlgorithm::Sha256, pcr));
    }
}

#[test]
fn a_start_at_another_locality_is_replayed() {
    let machine = Machine { log: Log { locality: Some(3), ..Machine::genuine().log }, ..Machine::genuine() };
    assert!(machine.judge(&policy("")).is_verified());
    let mut evidence = machine.evidence();
    evidence.event_log = Machine::genuine().evidence().event_log;
    let answer = judge(&evidence, &policy(""), &machine.root());
    only(&answer, Check::EventLog, &Refusal::EventLog(HashAlgorithm::Sha256, 0));
}

#[test]
fn a_quote_by_a_foreign_attestation_key_is_refused() {
    let machine = Machine::genuine();
    let foreign = Machine { attestation_key: Key::foreign_attestation_rsa(), ..Machine::genuine() };
    let mut evidence = machine.evidence();
    evidence.quote_signature = foreign.evidence().quote_signature;
    let reason = Refusal::QuoteSignature(InvalidSignature::Wrong);
    only(&judge(&evidence, &policy(""), &machine.root()), Check::QuoteSignature, &reason);
    let mut evidence = machine.evidence();
    evidence.ak_public = foreign.evidence().ak_public;
    only(&judge(&evidence, &policy(""), &machine.root()), Check::QuoteSignature, &reason);
}

#[test]
fn a_signature_by_another_scheme_than_the_keys_is_refused() {
    // The same private key could sign so, but its public area says that its TPM never does.
    let machine = Machine::genuine();
    for wrong in [[0x00, 0x16, 0x00, 0x0B], [0x00, 0x14, 0x00, 0x0C], [0x00, 0x18, 0x00, 0x0B]] {
        let number = u16::from_be_bytes([wrong[0], wrong[1]]);
        let hash = if wrong[3] == 0x0C { "sha384" } else { "sha256" };
        let mut evidence = machine.evidence();
        evidence.quote_signature.as_mut().unwrap()[..4].copy_from_slice(&wrong);
        let answer = judge(&evidence, &policy(""), &machine.root());
        only(
            &answer,
            Check::QuoteSignature,
            &Refusal::QuoteSignature(InvalidSignature::Scheme(number, hash)),
        );
    }
}

#[test]
fn a_replayed_quote_is_refused() {
    let machine = Machine { quote_nonce: b"an older session".to_vec(), ..Machine::genuine() };
    let reason = Refusal::ReplayedQuote(b"an older session".to_vec());
    only(&machine.judge(&policy("")), Check::QuoteNonce, &reason);
}

#[test]
fn a_long_nonce_may_stand_in_the_quote_as_its_digest() {
    let machine = Machine { quote_nonce: sha256(NONCE), ..Machine::genuine() };
    assert!(machine.judge(&policy("")).is_verified());
}

#[test]
fn a_structure_that_no_tpm_made_is_refused() {
    let machine = Machine::genuine();
    for (at, byte) in [(0, 0x00), (5, 0x17)] {
        let mut evidence = machine.evidence();
        evidence.quote_message.as_mut().unwrap()[at] = byte;
        let message = evidence.quote_message.clone().unwrap();
        evidence.quote_signature = Some(machine.attestation_key.sign(Hash::Sha256, &message));
        let answer = judge(&evidence, &policy(""), &machine.root());
        assert!(matches!(answer.refusal(Check::QuoteNonce), Some(Refusal::Quote(_))));
    }
}

#[test]
fn an_attestation_key_that_signs_anything_or_came_from_outside_is_refused() {
    for key in [Key::unrestricted(), Key::imported(), Key::endorsement_rsa()] {
        let machine = Machine { attestation_key: key, ..Machine::genuine() };
        let answer = machine.judge(&policy(""));
        let reason = Refusal::KeyAttributes("attestation key", "restricted signing key");
        assert_eq!(answer.refusal(Check::AttestationKey), Some(&reason));
        assert_eq!(answer.refusal(Check::QuoteSignature), Some(&Refusal::NotJudged(Check::AttestationKey)));
    }
    let machine = Machine { endorsement_key: Key::attestation_rsa(), ..Machine::genuine() };
    let reason =
        Refusal::Manifest(InvalidManifest::Template(NotOfTemplate::Field("attributes or name algorithm")));
    assert_eq!(machine.judge(&policy("")).refusal(Check::EndorsementKey), Some(&reason));
}

#[test]
fn each_missing_part_is_named() {
    let machine = Machine::genuine();
    type Remove = fn(&mut svsm_verify::Evidence);
    let parts: [(Remove, Check, &str); 5] = [
        (|evidence| evidence.ak_public = None, Check::AttestationKey, "attestation key (ak.pub)"),
        (|evidence| evidence.quote_message = None, Check::QuoteNonce, "quote (quote.msg)"),
        (|evidence| evidence.quote_signature = None, Check::QuoteSignature, "quote's signature (quote.sig)"),
        (|evidence| evidence.pcrs = None, Check::PcrDigest, "PCR values (pcrs.bin)"),
        (|evidence| evidence.event_log = None, Check::EventLog, "event log (eventlog.bin)"),
    ];
    for (remove, check, name) in parts {
        let mut evidence = machine.evidence();
        remove(&mut evidence);
        let answer = judge(&evidence, &policy(""), &machine.root());
        assert_eq!(answer.refusal(check), Some(&Refusal::Missing(name)));
        assert!(!answer.is_verified());
    }
    let mut evidence = machine.evidence();
    evidence.manifest.clear();
    let answer = judge(&evidence, &policy(""), &machine.root());
    assert_eq!(answer.refusal(Check::EndorsementKey), Some(&Refusal::Missing("manifest")));
}
