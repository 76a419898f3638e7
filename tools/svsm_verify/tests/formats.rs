//! Formats that come from outside or go there: evidence in both forms, policies, claims; and bytes of all sorts.

mod synthetic;

use proptest::prelude::*;
use serde_json::Value;
use snp_abi::report::InvalidReport;
use svsm_verify::evidence::{Evidence, EvidenceError, directory, json};
use svsm_verify::manifest::{self, InvalidManifest};
use svsm_verify::policy::InvalidPolicy;
use svsm_verify::reader::Malformed;
use svsm_verify::vtpm::event_log::EventLog;
use svsm_verify::vtpm::public_area::PublicArea;
use svsm_verify::vtpm::quote::{Quote, verify_signature};
use svsm_verify::{Check, Policy, Refusal};
use synthetic::certificates::Authority;
use synthetic::{Machine, NONCE, judge, policy};

#[test]
fn both_forms_of_evidence_keep_everything() {
    let evidence = Evidence { activated: Some(vec![1, 2]), ..Machine::genuine().evidence() };
    let folder = tempfile::tempdir().unwrap();
    directory::write(&evidence, folder.path()).unwrap();
    assert_eq!(Evidence::read(folder.path()).unwrap(), evidence);
    let file = folder.path().join("evidence.json");
    std::fs::write(&file, json::write(&evidence)).unwrap();
    assert_eq!(Evidence::read(&file).unwrap(), evidence);
}

#[test]
fn certificates_are_read_from_der_pem_and_the_table_of_an_extended_request() {
    let authority = Authority::first();
    let evidence = Machine::genuine().evidence();
    let der = evidence.certificates[0].der().to_vec();
    let table = [
        (snp_abi::certificates::VCEK, der.as_slice()),
        (snp_abi::certificates::ASK, authority.intermediate.der()),
        (snp_abi::guid::NetworkGuid([7; 16]), b"something else"),
    ];
    let mut bytes = vec![0; 0x4000];
    snp_abi::certificates::write_table(&table, &mut bytes).unwrap();
    let mut read = Evidence::default();
    read.add_certificates("certs.bin", &bytes).unwrap();
    assert_eq!(read.certificates, evidence.certificates);

    let pem = |der: &[u8]| {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        let lines: Vec<_> =
            text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    };
    let text = format!("a comment\n{}between\n{}", pem(&der), pem(authority.intermediate.der()));
    let mut read = Evidence::default();
    read.add_certificates("chain.pem", text.as_bytes()).unwrap();
    assert_eq!(read.certificates, evidence.certificates);
}

#[test]
fn a_host_without_certificates_is_no_error_and_the_verdict_says_what_to_fetch() {
    // Linux hands over no bytes at all, the room of a table without rows, or whole pages.
    for table in [&[][..], &[0; 24], &[0; 4096]] {
        let folder = tempfile::tempdir().unwrap();
        let evidence = Evidence { certificates: Vec::new(), ..Machine::genuine().evidence() };
        directory::write(&evidence, folder.path()).unwrap();
        std::fs::write(folder.path().join(directory::CERTIFICATE_TABLE), table).unwrap();
        let read = Evidence::read(folder.path()).unwrap();
        assert_eq!(read, evidence, "{} bytes", table.len());
        let claims = judge(&read, &policy(""), &Machine::genuine().root());
        let refusal = claims.refusal(Check::CertificateChain).map(ToString::to_string).unwrap();
        assert!(refusal.contains("no VCEK certificate") && refusal.contains("fetch-certs"), "{refusal}");
    }
    for cut in [&[0][..], &[0; 23]] {
        let error = Evidence::default().add_certificates("certs.bin", cut);
        assert!(matches!(error, Err(EvidenceError::CertificateTable(_))), "{} bytes", cut.len());
    }
}

#[test]
fn evidence_that_cannot_be_read_is_an_error_and_not_a_verdict() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(Evidence::read(folder.path()), Err(EvidenceError::Io(..))));
    std::fs::write(folder.path().join("report.bin"), [0; 8]).unwrap();
    std::fs::write(folder.path().join("certs.bin"), [0xFF; 100]).unwrap();
    assert!(matches!(Evidence::read(folder.path()), Err(EvidenceError::CertificateTable(_))));
    for text in [
        "",
        "{}",
        r#"{"format": "another", "report": ""}"#,
        r#"{"format": "vouchsafe-evidence-1", "report": "*"}"#,
        r#"{"format": "vouchsafe-evidence-1", "report": "", "unknown": 1}"#,
    ] {
        assert!(matches!(json::parse(text.as_bytes()), Err(EvidenceError::Json(_))), "{text}");
    }
    let mut evidence = Evidence::default();
    let der = Authority::first().root.der().to_vec();
    for _ in 0..16 {
        evidence.add_certificates("root", &der).unwrap();
    }
    assert!(matches!(evidence.add_certificates("root", &der), Err(EvidenceError::TooManyCertificates)));
}

#[test]
fn a_policy_that_could_be_misunderstood_is_refused() {
    assert!(Policy::parse("version = 1").is_ok());
    for text in [
        "",
        "version = 2",
        "version = 1\nunknown = 1",
        "version = 1\n[guest]\nallow_debugging = true",
        "version = 1\n[certificates]\nproducts = [\"Rome\"]",
        "version = 1\n[certificates]\nsigning_keys = [\"any\"]",
        "version = 1\n[tcb.Milan]\nfmc = 1\nboot_loader = 1\ntee = 0\nsnp = 1\nmicrocode = 1",
        "version = 1\n[tcb.Turin]\nboot_loader = 1\ntee = 0\nsnp = 1\nmicrocode = 1",
        "version = 1\n[tcb.Milan]\nboot_loader = 256\ntee = 0\nsnp = 1\nmicrocode = 1",
        "version = 1\n[measurement]\nlaunch_digests = [\"00\"]",
        "version = 1\n[measurement]\nvcpus = []",
        "version = 1\n[identity]\nimage_id = \"zz\"",
        "version = 1\n[guest]\nhost_data = \"00\"",
        "version = 1\n[[vtpm.pcr]]\nbank = \"md5\"\nindex = 0\nvalues = []",
        "version = 1\n[[vtpm.pcr]]\nbank = \"sha256\"\nindex = 0\nvalues = []",
        "version = 1\n[[vtpm.event]]\nbank = \"sha256\"\nindex = 24\ntext = \"a\"",
        "version = 1\n[[vtpm.event]]\nbank = \"sha256\"\nindex = 1",
        "version = 1\n[vtpm]\nrequire_event_log = false\n[[vtpm.event]]\nbank = \"sha256\"\nindex = 1\ntext = \"a\"",
    ] {
        assert!(Policy::parse(text).is_err(), "{text}");
    }
    let data = "00".repeat(64);
    let error = Policy::parse(&format!("version = 1\n[guest]\nreport_data = \"{data}\""));
    assert!(matches!(error, Err(InvalidPolicy::Value("report_data", _))));
}

#[test]
fn the_example_in_the_documentation_is_a_policy_with_the_default_values() {
    let source = include_str!("../src/policy/mod.rs");
    let example: Vec<_> = source
        .lines()
        .skip_while(|line| *line != "//! ```toml")
        .skip(1)
        .take_while(|line| *line != "//! ```")
        .map(|line| line.trim_start_matches("//!").trim_start())
        .collect();
    let text = example.join("\n").replace("00…", &"00".repeat(32));
    let policy = Policy::parse(&text).unwrap();
    let default = Policy::parse("version = 1").unwrap();
    assert_eq!((&policy.certificates, &policy.guest), (&default.certificates, &default.guest));
    assert_eq!((&policy.measurement, &policy.identity), (&default.measurement, &default.identity));
    assert_eq!(policy.platform, default.platform);
    assert_eq!((policy.vtpm.pcr.len(), policy.vtpm.event.len()), (1, 1));
    assert!(policy.vtpm.require_activation && policy.vtpm.logged_pcrs() == default.vtpm.logged_pcrs());
}

#[test]
fn claims_are_machine_readable_and_given_only_when_verified() {
    let machine = Machine::genuine();
    let json = machine.judge(&policy("")).to_json();
    assert_eq!(json["format"], "vouchsafe-claims-1");
    assert_eq!(json["verified"], true);
    assert_eq!(json["nonce"], NONCE.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    let names: Vec<_> =
        json["checks"].as_array().unwrap().iter().map(|check| check["name"].clone()).collect();
    assert_eq!(names, Check::ALL.iter().map(|check| Value::from(check.name())).collect::<Vec<_>>());
    for check in json["checks"].as_array().unwrap() {
        assert!(["passed", "not_asked"].contains(&check["outcome"].as_str().unwrap()));
        assert!(!check["why"].as_str().unwrap().is_empty());
    }
    assert_eq!(json["claims"]["snp"]["vmpl"], 0);
    assert_eq!(json["claims"]["snp"]["launch_digest"], "d1".repeat(48));
    let pcrs = json["claims"]["vtpm"]["pcrs"].as_object().unwrap();
    assert_eq!(pcrs.keys().collect::<Vec<_>>(), ["sha256"]);
    assert_eq!(pcrs["sha256"].as_object().unwrap().len(), 10);
    assert!(json["claims"]["vtpm"]["attestation_key_name"].as_str().unwrap().starts_with("000b"));

    let mut evidence = machine.evidence();
    evidence.report[0x30] = 2;
    let json = judge(&evidence, &policy(""), &machine.root()).to_json();
    assert_eq!(json["verified"], false);
    assert_eq!(json["claims"], serde_json::json!({}));
    let vmpl = json["checks"].as_array().unwrap().iter().find(|check| check["name"] == "vmpl").unwrap();
    assert_eq!(
        (&vmpl["outcome"], &vmpl["why"]),
        (&Value::from("failed"), &Value::from("the report was asked for at VMPL 2, and not 0"))
    );
}

#[test]
fn an_endless_event_log_is_refused() {
    let mut log = Machine::genuine().log.bytes();
    // Events of PCR 1 without data.
    log.extend({
        let event = [
            &[1, 0, 0, 0, 5, 0, 0, 0, 3, 0, 0, 0, 4, 0][..],
            &[0; 20],
            &[11, 0],
            &[0; 32],
            &[12, 0],
            &[0; 48],
            &[0; 4],
        ];
        event.concat().repeat(1 << 16)
    });
    assert_eq!(EventLog::parse(&log), Err(Malformed::TooLarge("number of events", 1 << 16)));
}

#[test]
fn check_names_differ_and_every_check_is_listed_once() {
    for (index, check) in Check::ALL.iter().enumerate() {
        assert!(Check::ALL[index + 1..].iter().all(|other| other.name() != check.name() && other != check));
        assert!(check.question().ends_with('?'));
    }
}

#[test]
fn a_services_manifest_that_contradicts_itself_is_refused() {
    let manifest = Machine::genuine().manifest();
    assert!(manifest::read(&manifest).is_ok());
    let with = |offset: usize, value: u32| {
        let mut changed = manifest.clone();
        changed[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
        manifest::read(&changed).map(|_| ())
    };
    assert!(matches!(with(0x10, 0), Err(InvalidManifest::Table(_))));
    assert!(matches!(with(0x14, u32::MAX), Err(InvalidManifest::Table(_))));
    assert!(matches!(with(0x14, 64), Err(InvalidManifest::Table(_))));
    assert_eq!(with(0x14, 0), Err(InvalidManifest::NoVtpm));
    assert_eq!(with(0x18, 0), Err(InvalidManifest::NoVtpm));
    assert!(matches!(with(0x28, u32::MAX), Err(InvalidManifest::Table(_))));
    assert!(matches!(with(0x2C, u32::MAX), Err(InvalidManifest::Table(_))));
    assert!(matches!(with(0x2C, 10), Err(InvalidManifest::Key(_))));
}

/// Cuts, and changes bytes of, something genuine.
fn mutated(genuine: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let length = genuine.len();
    (prop::collection::vec((0..length, any::<u8>()), 0..6), 0..=length, any::<bool>()).prop_map(
        move |(changes, cut, is_cut)| {
            let mut bytes = genuine.clone();
            for (offset, byte) in changes {
                bytes[offset] = byte;
            }
            if is_cut {
                bytes.truncate(cut);
            }
            bytes
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_bytes_make_the_parsers_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = PublicArea::parse(&bytes);
        let _ = PublicArea::parse_sized(&bytes);
        let _ = Quote::parse(&bytes);
        let _ = EventLog::parse(&bytes);
        let _ = manifest::read(&bytes);
        let _ = json::parse(&bytes);
        let _ = Evidence::default().add_certificates("", &bytes);
        let _ = Policy::parse(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn reports_of_other_lengths_and_versions_are_refused(
        version in prop_oneof![any::<u32>(), 0_u32..8],
        length in prop_oneof![0..=2 * 0x4A0_usize, Just(0x4A0)],
        changes in prop::collection::vec((8..0x4A0_usize, any::<u8>()), 0..20),
    ) {
        let machine = Machine::genuine();
        let mut evidence = machine.evidence();
        for (offset, byte) in changes {
            evidence.report[offset] = byte;
        }
        evidence.report[..4].copy_from_slice(&version.to_le_bytes());
        evidence.report.resize(length, 0);
        let claims = judge(&evidence, &policy(""), &machine.root());
        let refusal = claims.refusal(Check::ReportLayout);
        if length != 0x4A0 {
            prop_assert_eq!(refusal, Some(&Refusal::Report(InvalidReport::Length(length))));
        } else if !(2..=5).contains(&version) {
            prop_assert_eq!(refusal, Some(&Refusal::Report(InvalidReport::Version(version))));
        }
        // A report that was changed passes nowhere; one that is cut short has no claims either.
        if refusal.is_some() {
            prop_assert!(!claims.is_verified());
            prop_assert_eq!(&claims.to_json()["claims"], &serde_json::json!({}));
        }
    }

    #[test]
    fn mutated_structures_do_not_panic(
        public in mutated(Machine::genuine().attestation_key.public()),
        quote in mutated(Machine::genuine().evidence().quote_message.unwrap()),
        signature in mutated(Machine::genuine().evidence().quote_signature.unwrap()),
        log in mutated(Machine::genuine().log.bytes()),
        manifest in mutated(Machine::genuine().manifest()),
        certificate in mutated(Authority::first().root.der().to_vec()),
    ) {
        if let Ok(key) = PublicArea::parse(&public) {
            let _ = verify_signature(&key, &quote, &signature);
        }
        let _ = Quote::parse(&quote).map(|quote| quote.split_values(&log).is_ok());
        let _ = EventLog::parse(&log).map(|log| log.replay(svsm_verify::vtpm::hash::HashAlgorithm::Sha256, 0));
        let _ = manifest::read(&manifest);
        let _ = Evidence::default().add_certificates("", &certificate);
    }
}

#[test]
fn no_single_changed_byte_of_report_manifest_quote_or_values_verifies() {
    let machine = Machine::genuine();
    let (genuine, text, root) = (machine.evidence(), policy(""), machine.root());
    type Part = fn(&mut Evidence) -> &mut Vec<u8>;
    let parts: [Part; 6] = [
        |evidence| &mut evidence.report,
        |evidence| &mut evidence.manifest,
        |evidence| evidence.quote_message.as_mut().unwrap(),
        |evidence| evidence.quote_signature.as_mut().unwrap(),
        |evidence| evidence.pcrs.as_mut().unwrap(),
        |evidence| evidence.ak_public.as_mut().unwrap(),
    ];
    for part in parts {
        let length = part(&mut genuine.clone()).len();
        for offset in (0..length).step_by(11) {
            let mut evidence = genuine.clone();
            part(&mut evidence)[offset] ^= 0x20;
            assert!(!judge(&evidence, &text, &root).is_verified(), "{length} {offset}");
        }
    }
}
