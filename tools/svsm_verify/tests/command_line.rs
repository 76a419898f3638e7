//! The command line as a relying party types it: exit status, output, files; and images that are measured.

mod synthetic;

#[path = "../../../igvm/tests/synthetic_elf/mod.rs"]
mod synthetic_elf;

use std::path::Path;
use std::process::{Command, Output};

use igvm::build::{BuildOptions, GuestSource, build};
use igvm::guest::LinuxSource;
use igvm::launch::{DEFAULT_CPU_SIGNATURE, LaunchPlan};
use igvm::layout::RegionOptions;
use snp_abi::policy::GuestPolicy;
use svsm_verify::evidence::directory;
use synthetic::{Machine, NONCE, NOW, policy};
use tempfile::TempDir;

/// Evidence, policy and root as files.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new(machine: &Machine, policy_text: &str) -> Self {
        let files = Self { folder: tempfile::tempdir().unwrap() };
        directory::write(&machine.evidence(), &files.path().join("evidence")).unwrap();
        std::fs::write(files.path().join("root.der"), machine.root().der()).unwrap();
        std::fs::write(files.path().join("policy.toml"), policy_text).unwrap();
        files
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Runs `svsm-verify`, in the folder.
    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_svsm-verify"))
            .args(arguments)
            .current_dir(self.path())
            .output()
            .unwrap()
    }

    /// A check with these options more.
    fn check(&self, more: &[&str]) -> Output {
        self.run(&[&check_options()[..], more].concat())
    }
}

fn check_options() -> Vec<&'static str> {
    static NONCE_TEXT: std::sync::OnceLock<(String, String)> = std::sync::OnceLock::new();
    let (nonce, now) = NONCE_TEXT.get_or_init(|| {
        (NONCE.iter().map(|byte| format!("{byte:02x}")).collect(), NOW.as_secs().to_string())
    });
    vec![
        "--evidence",
        "evidence",
        "--nonce",
        nonce,
        "--policy",
        "policy.toml",
        "--test-root",
        "root.der",
        "--time",
        now,
    ]
}

fn text_of(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn verified_evidence_ends_with_status_0_and_a_line_for_each_check() {
    let files = Files::new(&Machine::genuine(), &policy(""));
    let output = files.check(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", text_of(&output.stderr));
    let lines: Vec<_> = text_of(&output.stdout).lines().collect();
    assert_eq!(lines.len(), svsm_verify::Check::ALL.len() + 1);
    assert!(lines[0].starts_with("pass  report_layout "));
    assert_eq!(lines.last(), Some(&"VERIFIED (TEST ROOT)"));
}

#[test]
fn a_test_root_that_only_the_policy_names_has_a_status_of_its_own() {
    let machine = Machine::genuine();
    let fingerprint: String = machine.root().fingerprint().iter().map(|byte| format!("{byte:02x}")).collect();
    let text = policy(&format!("[certificates]\ntest_roots = [\"{fingerprint}\"]"));
    let files = Files::new(&machine, &text);
    std::fs::copy(files.path().join("root.der"), files.path().join("evidence/certs/root.der")).unwrap();
    let options: Vec<_> = check_options();
    let without: Vec<_> =
        options.iter().copied().filter(|option| !["--test-root", "root.der"].contains(option)).collect();
    let output = files.run(&without);
    assert_eq!(output.status.code(), Some(4), "{}", text_of(&output.stdout));
    assert!(text_of(&output.stdout).ends_with("VERIFIED (TEST ROOT)\n"));
    assert_eq!(files.check(&[]).status.code(), Some(0));
}

#[test]
fn a_nonce_of_another_length_is_wrong_usage() {
    let files = Files::new(&Machine::genuine(), &policy(""));
    for digits in [0, 2, 64, 126, 130] {
        let nonce = "a".repeat(digits);
        let options = ["--evidence", "evidence", "--policy", "policy.toml", "--nonce", &nonce];
        let output = files.run(&options);
        assert_eq!(output.status.code(), Some(2), "{digits} digits");
        assert!(
            text_of(&output.stderr).contains("a nonce is exactly 64 bytes"),
            "{}",
            text_of(&output.stderr)
        );
    }
}

#[test]
fn pipes_endless_files_and_strange_files_among_certificates_are_refused_at_once() {
    let files = Files::new(&Machine::genuine(), &policy(""));
    let stray = files.path().join("evidence/certs/README.txt");
    std::fs::write(&stray, "not a certificate").unwrap();
    let output = files.check(&[]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text_of(&output.stderr).contains("README.txt"), "{}", text_of(&output.stderr));
    std::fs::remove_file(stray).unwrap();
    let part = files.path().join("evidence/eventlog.bin");
    std::fs::remove_file(&part).unwrap();
    assert!(Command::new("mkfifo").arg(&part).status().unwrap().success());
    assert_eq!(files.check(&[]).status.code(), Some(3), "a pipe");
    std::fs::remove_file(&part).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &part).unwrap();
    assert_eq!(files.check(&[]).status.code(), Some(3), "a device");
    let options: Vec<_> = check_options()
        .into_iter()
        .map(|option| if option == "policy.toml" { "/dev/zero" } else { option })
        .collect();
    assert_eq!(files.run(&options).status.code(), Some(3), "an endless policy");
}

#[test]
fn refused_evidence_ends_with_status_1_and_the_reason() {
    let mut machine = Machine::genuine();
    machine.report.vmpl = 2;
    let output = Files::new(&machine, &policy("")).check(&[]);
    assert_eq!(output.status.code(), Some(1));
    let stdout = text_of(&output.stdout);
    assert!(stdout.contains("FAIL  vmpl                   the report was asked for at VMPL 2, and not 0\n"));
    assert!(stdout.ends_with("REFUSED: 1 check failed\n"));
}

#[test]
fn without_the_test_root_a_test_chain_is_refused() {
    let files = Files::new(&Machine::genuine(), &policy(""));
    let options: Vec<_> = check_options();
    let without: Vec<_> =
        options.iter().copied().filter(|option| !["--test-root", "root.der"].contains(option)).collect();
    let output = files.run(&without);
    assert_eq!(output.status.code(), Some(1));
    assert!(text_of(&output.stdout).contains("which is none of the pinned roots"));
}

#[test]
fn wrong_usage_ends_with_status_2_and_unreadable_files_with_3() {
    let files = Files::new(&Machine::genuine(), &policy(""));
    for wrong in [&["--evidence", "evidence"][..], &[], &["release"], &["--nonce", "0g"]] {
        assert_eq!(files.run(wrong).status.code(), Some(2), "{wrong:?}");
    }
    std::fs::write(files.path().join("policy.toml"), "version = 1\nmisspelt = true").unwrap();
    let output = files.check(&[]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text_of(&output.stderr).contains("policy.toml: "), "{}", text_of(&output.stderr));
    std::fs::remove_file(files.path().join("evidence/report.bin")).unwrap();
    std::fs::write(files.path().join("policy.toml"), policy("")).unwrap();
    assert_eq!(files.check(&[]).status.code(), Some(3));
}

#[test]
fn the_json_output_is_the_claims_set() {
    let files = Files::new(&Machine::genuine(), &policy(""));
    let output = files.check(&["--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["verified"], &json["claims"]["snp"]["product"]), (&true.into(), &"Genoa".into()));
}

#[test]
fn packed_evidence_verifies_as_the_directory_does() {
    let files = Files::new(&Machine::genuine(), &policy(""));
    let output = files.run(&["pack", "--evidence", "evidence", "--output", "evidence.json"]);
    assert_eq!(output.status.code(), Some(0));
    let options: Vec<_> = check_options()
        .into_iter()
        .map(|option| if option == "evidence" { "evidence.json" } else { option })
        .collect();
    assert_eq!(files.run(&options).status.code(), Some(0));
}

#[test]
fn certificates_may_come_from_elsewhere() {
    let files = Files::new(&Machine::genuine(), &policy(""));
    std::fs::rename(files.path().join("evidence/certs"), files.path().join("fetched")).unwrap();
    let output = files.check(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text_of(&output.stdout).contains("the evidence has no VCEK certificate"));
    assert_eq!(files.check(&["--certs", "fetched"]).status.code(), Some(0));
}

#[test]
fn what_to_download_is_printed() {
    let files = Files::new(&Machine::of(synthetic::certificates::Product::Turin), &policy(""));
    let output = files.run(&["fetch-certs", "--evidence", "evidence"]);
    let expected = "https://kdsintf.amd.com/vcek/v1/Turin/c1c1c1c1c1c1c1c1?fmcSPL=2&blSPL=7&teeSPL=0&snpSPL=22&ucodeSPL=209";
    assert!(text_of(&output.stdout).contains(expected), "{}", text_of(&output.stdout));
    assert!(text_of(&output.stdout).contains("vcek/v1/Turin/cert_chain"));
}

#[test]
fn a_challenge_is_made_kept_private_and_checked() {
    use std::os::unix::fs::PermissionsExt as _;

    let machine = Machine::genuine();
    let demanding = policy("").replace("require_activation = false", "require_activation = true");
    let files = Files::new(&machine, &demanding);
    assert_eq!(files.check(&[]).status.code(), Some(1));
    let output =
        files.run(&["challenge", "--evidence", "evidence", "--output", "credential", "--keep", "kept.json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text_of(&output.stderr));
    let mode = std::fs::metadata(files.path().join("kept.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let credential = std::fs::read(files.path().join("credential")).unwrap();
    let answer = machine.endorsement_key.activate(&machine.attestation_key.name(), &credential).unwrap();
    std::fs::write(files.path().join("evidence/activated.bin"), answer).unwrap();
    assert_eq!(files.check(&["--challenge", "kept.json"]).status.code(), Some(0));
}

#[test]
fn a_secret_is_released_to_the_verified_guest_and_to_no_other() {
    let machine = Machine::genuine();
    let demanding = policy("").replace("require_activation = false", "require_activation = true");
    let files = Files::new(&machine, &demanding);
    std::fs::write(files.path().join("secret"), b"disk key").unwrap();
    let release =
        [&["release"][..], &check_options(), &["--secret", "secret", "--output", "wrapped"]].concat();
    assert_eq!(files.run(&release).status.code(), Some(0));
    let credential = std::fs::read(files.path().join("wrapped")).unwrap();
    let opened = machine.endorsement_key.activate(&machine.attestation_key.name(), &credential);
    assert_eq!(opened.as_deref(), Some(&b"disk key"[..]));

    let mut other = Machine::genuine();
    other.report.measurement = [0xD2; 48];
    let files = Files::new(&other, &demanding);
    std::fs::write(files.path().join("secret"), b"disk key").unwrap();
    let output = files.run(&release);
    assert_eq!(output.status.code(), Some(1));
    assert!(!files.path().join("wrapped").exists());
    assert!(text_of(&output.stdout).contains("FAIL  measurement"));
}

/// An image that boots Linux with a command line.
fn image(command_line: &str) -> Vec<u8> {
    // A bzImage as far as the builder looks: setup header of protocol 2.15, one setup sector.
    let mut kernel = vec![0x90; 0x4000];
    kernel[0x1F1..0x270].fill(0);
    kernel[0x1F1] = 1;
    kernel[0x1F4..0x1F8].copy_from_slice(&0x3C0_u32.to_le_bytes());
    kernel[0x1FE..0x200].copy_from_slice(&[0x55, 0xAA]);
    kernel[0x200..0x202].copy_from_slice(&[0xEB, 0x66]);
    kernel[0x202..0x206].copy_from_slice(b"HdrS");
    kernel[0x206..0x208].copy_from_slice(&0x020F_u16.to_le_bytes());
    kernel[0x236..0x238].copy_from_slice(&3_u16.to_le_bytes());
    kernel[0x238..0x23C].copy_from_slice(&2047_u32.to_le_bytes());
    let (stage2, firmware) = (synthetic_elf::stage2(0x0800_0000), synthetic_elf::kernel());
    build(&BuildOptions {
        stage2: &stage2,
        kernel: &firmware,
        guest: GuestSource::Linux(LinuxSource {
            kernel: &kernel,
            initrd: b"initrd",
            command_line,
            embed: false,
        }),
        region: RegionOptions { base: 0x0800_0000, size: 0x0100_0000, with_madt: true, log_level: 2 },
        policy: GuestPolicy::DEFAULT,
    })
    .unwrap()
}

#[test]
fn the_measurement_is_computed_from_the_image_and_its_command_line_counts() {
    let genuine = image("console=ttyS0 quiet");
    let mut machine = Machine::genuine();
    machine.report.measurement = LaunchPlan::of_bytes(&genuine).unwrap().digest(1, DEFAULT_CPU_SIGNATURE);
    let files = Files::new(&machine, &policy("").replace("[measurement]", "[measurement]\nvcpus = [1, 2]"));
    std::fs::write(files.path().join("genuine.igvm"), &genuine).unwrap();
    std::fs::write(files.path().join("changed.igvm"), image("console=ttyS0 init=/bin/sh")).unwrap();

    let output = files.check(&["--image", "genuine.igvm"]);
    assert_eq!(output.status.code(), Some(0), "{}", text_of(&output.stdout));
    assert!(
        text_of(&output.stdout)
            .contains("pass  measurement            the digest of genuine.igvm with 1 vCPUs")
    );
    let output = files.check(&["--image", "changed.igvm"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text_of(&output.stdout).contains("and none of the 2 that are accepted"));
    // More than one may be accepted, during an update.
    assert_eq!(files.check(&["--image", "changed.igvm", "--image", "genuine.igvm"]).status.code(), Some(0));

    // The digest does not cover the guest policy, which the host gives: it must be the image's.
    let mut other = Machine::genuine();
    other.report.measurement = LaunchPlan::of_bytes(&genuine).unwrap().digest(1, DEFAULT_CPU_SIGNATURE);
    other.report.policy = 0x3_0001;
    std::fs::write(files.path().join("evidence/report.bin"), other.evidence().report).unwrap();
    let output = files.check(&["--image", "genuine.igvm"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text_of(&output.stdout).contains("the guest policy is 0x30001, and the image asks for 0x30000"));

    let mut bytes = genuine;
    bytes.truncate(1000);
    std::fs::write(files.path().join("cut.igvm"), bytes).unwrap();
    assert_eq!(files.check(&["--image", "cut.igvm"]).status.code(), Some(3));
}

#[test]
fn a_page_and_a_signed_result_are_written_for_every_verdict() {
    use p256::pkcs8::EncodePrivateKey as _;

    let mut refused = Machine::genuine();
    refused.report.vmpl = 2;
    for (machine, status) in [(Machine::genuine(), 0), (refused, 1)] {
        let files = Files::new(&machine, &policy(""));
        let key = p256::SecretKey::from_slice(&[0x33; 32]).unwrap();
        let pem = key.to_pkcs8_pem(p256::pkcs8::LineEnding::LF).unwrap();
        std::fs::write(files.path().join("key.pem"), pem.as_bytes()).unwrap();
        for name in ["result.jwt", "result.cwt"] {
            let output = files.check(&["--html", "page.html", "--ear", name, "--ear-key", "key.pem"]);
            assert_eq!(output.status.code(), Some(status), "{}", text_of(&output.stderr));
            assert!(files.path().join(name).metadata().unwrap().len() > 200);
        }
        assert!(std::fs::read_to_string(files.path().join("page.html")).unwrap().contains("report_layout"));
        assert_eq!(files.check(&["--ear", "result.jwt"]).status.code(), Some(2), "without a key");
        let output = files.check(&["--ear", "result.jwt", "--ear-key", "root.der"]);
        assert_eq!(output.status.code(), Some(3));
    }
}
