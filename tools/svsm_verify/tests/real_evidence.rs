//! Evidence from real processors, out of the `sev` crate's package: it verifies, and altered copies do not.
//!
//! The package's tests carry a Milan report (version 2, no SVSM) with its VCEK, and a Turin VCEK. The crate judges beside us.

mod synthetic;

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use sev::certs::snp::{Certificate as SevCertificate, Chain as SevChain, Verifiable, builtin, ca};
use sev::firmware::guest::AttestationReport as SevReport;
use sev::parser::ByteParser;
use snp_abi::report::AttestationReport;
use snp_abi::signature::EcdsaPublicKey;
use snp_abi::tcb::{Generation, TcbParts};
use svsm_verify::certificates::chain::{self, NoChain, TestRoots};
use svsm_verify::certificates::roots::PRODUCTS;
use svsm_verify::certificates::{Certificate, Endorsed, from_pem};
use svsm_verify::fetch::downloads;
use svsm_verify::reader::{from_hex, hex};
use svsm_verify::{Check, ClaimsSet, Evidence, Nonce, Policy, Question, Refusal, verify};

/// When the Milan certificate is valid: 2026.
const NOW: Duration = Duration::from_secs(1_790_000_000);

/// The unpacked package.
fn package() -> &'static PathBuf {
    static PACKAGE: OnceLock<PathBuf> = OnceLock::new();
    PACKAGE.get_or_init(|| {
        let metadata = cargo_metadata::MetadataCommand::new()
            .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
            .exec()
            .unwrap();
        let is_sev =
            |package: &&cargo_metadata::Package| package.name.as_str() == "sev" && package.version.major == 8;
        let sev = metadata.packages.iter().find(is_sev).unwrap();
        sev.manifest_path.parent().unwrap().as_std_path().to_owned()
    })
}

fn data(name: &str) -> Vec<u8> {
    std::fs::read(package().join("tests").join(name)).unwrap()
}

fn milan_report() -> Vec<u8> {
    from_hex(String::from_utf8(data("certs_data/report_milan.hex")).unwrap().trim()).unwrap()
}

fn milan() -> Evidence {
    let mut evidence = Evidence { report: milan_report(), ..Evidence::default() };
    evidence.add_certificates("vcek_milan.der", &data("certs_data/vcek_milan.der")).unwrap();
    evidence
}

/// Accepts the Milan machine as it was, and a report whose data is about something else than SVSM.
fn milan_policy() -> String {
    let report = AttestationReport::parse(&milan_report()).unwrap();
    format!(
        "version = 1
[tcb.Milan]
boot_loader = 3
tee = 0
snp = 8
microcode = 115
[guest]
report_data = \"{}\"
[measurement]
launch_digests = [\"{}\"]
[vtpm]
required = false",
        hex(&report.report_data),
        hex(&report.measurement)
    )
}

fn judge(evidence: &Evidence) -> ClaimsSet {
    verify(evidence, &Policy::parse(&milan_policy()).unwrap(), &Question::new(Nonce::new([0; 64]), NOW))
}

/// What the `sev` crate says about report and certificate under AMD's built-in Milan chain.
fn sev_accepts(report: &[u8], vcek: &[u8]) -> bool {
    let ca = ca::Chain { ark: builtin::milan::ark().unwrap(), ask: builtin::milan::ask().unwrap() };
    let Ok(vek) = SevCertificate::from_der(vcek) else { return false };
    let Ok(report) = SevReport::from_bytes(report) else { return false };
    (&SevChain { ca, vek }, &report).verify().is_ok()
}

#[test]
fn a_real_milan_report_verifies_under_the_built_in_root() {
    let answer = judge(&milan());
    assert!(answer.is_verified(), "{}", answer.to_text());
    assert_eq!(answer.claims()["snp"]["product"], "Milan");
    assert_eq!(answer.claims()["snp"]["under_test_root"], false);
    assert_eq!(answer.claims()["snp"]["reported_tcb"]["microcode"], 115);
    assert!(sev_accepts(&milan_report(), &data("certs_data/vcek_milan.der")));
}

#[test]
fn an_expired_milan_certificate_is_refused() {
    let policy = Policy::parse(&milan_policy()).unwrap();
    let answer =
        verify(&milan(), &policy, &Question::new(Nonce::new([0; 64]), Duration::from_secs(2_000_000_000)));
    assert_eq!(answer.refusal(Check::CertificateValidity), Some(&Refusal::Expired("SEV-VCEK".to_owned())));
}

#[test]
fn no_signed_byte_of_the_milan_report_can_be_changed() {
    for offset in (0..0x2A0).step_by(7).chain([0x008, 0x030, 0x04C, 0x050, 0x090, 0x180, 0x188, 0x1A0, 0x29F])
    {
        let mut evidence = milan();
        evidence.report[offset] ^= 1;
        assert!(!judge(&evidence).is_verified(), "byte {offset:#x}");
    }
    let mut evidence = milan();
    evidence.report[0x140] ^= 1;
    let answer = judge(&evidence);
    assert_eq!(answer.refusal(Check::ReportSignature), Some(&Refusal::ReportSignature));
    assert!(!sev_accepts(&evidence.report, &data("certs_data/vcek_milan.der")));
}

#[test]
fn no_byte_of_the_milan_reports_signature_can_be_changed() {
    for offset in (0x2A0..0x2A0 + 48).chain(0x2E8..0x2E8 + 48) {
        let mut evidence = milan();
        evidence.report[offset] ^= 0x10;
        let answer = judge(&evidence);
        assert_eq!(answer.refusal(Check::ReportSignature), Some(&Refusal::ReportSignature), "{offset:#x}");
    }
}

#[test]
fn a_changed_milan_certificate_is_refused() {
    let genuine = data("certs_data/vcek_milan.der");
    let mut refused = 0;
    for offset in (0..genuine.len()).step_by(3) {
        let mut changed = genuine.clone();
        changed[offset] ^= 0x40;
        let mut evidence = Evidence { report: milan_report(), ..Evidence::default() };
        if evidence.add_certificates("changed", &changed).is_ok() {
            assert!(!judge(&evidence).is_verified(), "byte {offset:#x}");
            refused += 1;
        }
    }
    assert!(refused > 200, "most changes leave a certificate that can be read, and only {refused} did");
}

#[test]
fn the_milan_report_does_not_pass_with_a_turin_certificate() {
    let mut evidence = Evidence { report: milan_report(), ..Evidence::default() };
    evidence.add_certificates("vcek_turin.der", &data("certs_data/vcek_turin.der")).unwrap();
    let answer = judge(&evidence);
    assert_eq!(answer.refusal(Check::ReportSignature), Some(&Refusal::ReportSignature));
    assert!(matches!(answer.refusal(Check::ChipId), Some(Refusal::OtherChip(..))));
}

#[test]
fn the_milan_report_needs_the_policys_word_for_its_data() {
    let text = milan_policy();
    let text = text.lines().filter(|line| !line.starts_with("report_data")).collect::<Vec<_>>();
    let policy = Policy::parse(&text.join("\n")).unwrap();
    let answer = verify(&milan(), &policy, &Question::new(Nonce::new([1; 64]), NOW));
    assert!(matches!(answer.refusal(Check::ReportData), Some(Refusal::ReportData(_))));
}

#[test]
fn the_turin_chain_verifies_and_its_certificate_is_understood() {
    let vcek = Certificate::from_der(&data("certs_data/vcek_turin.der")).unwrap();
    let mut certificates = from_pem(&data("certs_data/cert_chain_turin")).unwrap();
    assert_eq!(certificates.len(), 2);
    // Any report by a VCEK: only its kind of key counts where there is one leaf.
    let report = AttestationReport::parse(&milan_report()).unwrap();
    certificates.push(vcek.clone());
    for certificates in [certificates, vec![vcek]] {
        let chain = chain::find(&certificates, &report, TestRoots::default()).unwrap();
        assert_eq!(chain.generation, Generation::Turin);
        assert!(!chain.is_under_test_root);
        assert!(matches!(&chain.endorsed, Endorsed::Chip(number) if number.len() == 8));
        let parts = chain.leaf.tcb(Generation::Turin);
        assert!(matches!(parts, Some(TcbParts { fmc: Some(_), .. })));
        assert_eq!(chain.leaf.tcb(Generation::Milan), None);
    }
}

#[test]
fn a_turin_certificate_with_a_milan_chain_is_refused() {
    let mut certificates = from_pem(&data("certs_data/cert_chain_milan")).unwrap();
    let mut changed = data("certs_data/vcek_turin.der");
    let last = changed.len() - 1;
    changed[last] ^= 1;
    certificates.push(Certificate::from_der(&changed).unwrap());
    let report = AttestationReport::parse(&milan_report()).unwrap();
    let refused = chain::find(&certificates, &report, TestRoots::default());
    assert!(matches!(refused, Err(NoChain::NotSigned { .. })), "{refused:?}");
}

#[test]
fn the_built_in_certificates_are_those_of_the_sev_crate() {
    for product in PRODUCTS {
        let folder = package().join("src/certs/snp/builtin").join(product.name.to_lowercase());
        let read = |name| from_pem(&std::fs::read(folder.join(name)).unwrap()).unwrap().remove(0);
        assert_eq!(read("ark.pem").fingerprint(), product.root().unwrap().fingerprint());
        assert_eq!(read("ask.pem").fingerprint(), product.intermediate().unwrap().fingerprint());
    }
}

#[test]
fn key_digests_are_those_of_the_sev_crates_vectors() {
    use base64::Engine as _;
    use p384::elliptic_curve::sec1::ToSec1Point;
    use p384::pkcs8::DecodePrivateKey;

    // The expectations of the package's tests/id-block.rs.
    for (file, expected) in [
        ("measurement/test_id_key.pem", "WfssaG36T+9J84M5qndckAUcKNVzg93DuvO160sUlt87DbvcuuX+J2d6ZEggdz/i"),
        ("measurement/test_auth_key.pem", "7tgRafsMteDsNHlPEo/U4MSkb2fGWhrfqB/LJLzAiMJyNpt//D6ytq9qQoShs2xf"),
    ] {
        let key = p384::SecretKey::from_pkcs8_pem(&String::from_utf8(data(file)).unwrap()).unwrap();
        let point = key.public_key().to_sec1_point(false);
        let half = |half: &[u8]| <[u8; 48]>::try_from(half).unwrap();
        let public = EcdsaPublicKey::new(&half(point.x().unwrap()), &half(point.y().unwrap()));
        let expected = base64::engine::general_purpose::STANDARD.decode(expected).unwrap();
        assert_eq!(public.digest().as_slice(), expected);
    }
}

#[test]
fn the_downloads_of_a_milan_report_are_named() {
    assert!(downloads(&milan_report(), None).is_err(), "version 2 does not name its processor");
    let product = PRODUCTS.iter().find(|product| product.name == "Milan");
    let found = downloads(&milan_report(), product).unwrap();
    let chip = hex(&milan_report()[0x1A0..0x1E0]);
    assert_eq!(
        found[0].address,
        format!("https://kdsintf.amd.com/vcek/v1/Milan/{chip}?blSPL=3&teeSPL=0&snpSPL=8&ucodeSPL=115")
    );
    assert_eq!(found[1].address, "https://kdsintf.amd.com/vcek/v1/Milan/cert_chain");
}

#[test]
fn the_sev_crate_agrees_about_every_synthetic_report() {
    use synthetic::Machine;
    use synthetic::certificates::{Authority, Product};

    for product in [Product::Milan, Product::Genoa, Product::Turin] {
        let machine = Machine::of(product);
        let evidence = machine.evidence();
        let theirs = |certificate: &Certificate| SevCertificate::from_der(certificate.der()).unwrap();
        let authority = Authority::first();
        let ca = ca::Chain { ark: theirs(&authority.root), ask: theirs(&authority.intermediate) };
        let chain = SevChain { ca, vek: theirs(&evidence.certificates[0]) };
        let report = SevReport::from_bytes(&evidence.report).unwrap();
        assert!((&chain, &report).verify().is_ok());
        let parts = AttestationReport::parse(&evidence.report).unwrap();
        let generation = parts.generation().unwrap_or(Generation::Milan);
        let tcb = parts.reported_tcb.parts(generation);
        assert_eq!((report.reported_tcb.snp, report.reported_tcb.microcode), (tcb.snp, tcb.microcode));
        assert_eq!((report.reported_tcb.fmc, report.reported_tcb.bootloader), (tcb.fmc, tcb.boot_loader));
        assert_eq!(report.vmpl, parts.vmpl);
    }
}
