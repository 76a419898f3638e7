//! The digest and the ID block against judges from outside: the `igvm` crate's measurement, PyPI's sev-snp-measure
//! (page-level digest and KVM's VMSA), and the `cryptography` package. The Python judge also reads the file itself.
//!
//! The Python part needs pip; without it the test says SKIPPED and why.

mod synthetic_elf;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use igvm::build::{BuildOptions, GuestSource, build};
use igvm::launch::{DEFAULT_CPU_SIGNATURE, LaunchPlan};
use igvm::layout::RegionOptions;
use igvm::show::hex;
use igvm::sign::{Identity, SignOptions, sign};
use igvm_file::IgvmFile;
use igvm_file::measurement::generate_snp_measurement;
use p384::SecretKey;
use p384::pkcs8::{EncodePrivateKey, LineEnding};
use snp_abi::policy::GuestPolicy;
use synthetic_elf::{
    CONSTANT, DATA, KERNEL_BASE, POSITION_INDEPENDENT, Segment, TEXT, guest, kernel, pattern, program, stage2,
};
use zerocopy::IntoBytes;

/// Three images that differ in programs, region, parameters and guest.
fn images() -> [(&'static str, Vec<u8>); 3] {
    let region = |base, with_madt| RegionOptions { base, size: 0x0100_0000, with_madt, log_level: 2 };
    let policy = GuestPolicy::DEFAULT;
    let (first, kernel_file, guest_file) = (stage2(0x0800_0000), kernel(), guest());
    let without_guest = BuildOptions {
        stage2: &first,
        kernel: &kernel_file,
        guest: GuestSource::None,
        region: region(0x0800_0000, true),
        policy,
    };
    let with_guest = BuildOptions { guest: GuestSource::Elf(&guest_file), ..without_guest.clone() };
    let relocatable = program(POSITION_INDEPENDENT, 8, &[Segment::load(TEXT, 0, pattern(0x3F00, 9))]);
    let large = program(
        synthetic_elf::FIXED,
        KERNEL_BASE,
        &[
            Segment::load(TEXT, KERNEL_BASE, pattern(0x6_0000, 10)),
            Segment::load(CONSTANT, KERNEL_BASE + 0x6_0000, vec![0; 0x2000]),
            Segment::load(DATA, KERNEL_BASE + 0x8_0000, pattern(0x5000, 11)).with_memory(0x20_0000),
        ],
    );
    let elsewhere = BuildOptions {
        stage2: &relocatable,
        kernel: &large,
        guest: GuestSource::None,
        region: region(0x4000_0000, false),
        policy: GuestPolicy(0xB0000),
    };
    [
        ("without guest", build(&without_guest).unwrap()),
        ("with guest", build(&with_guest).unwrap()),
        ("elsewhere", build(&elsewhere).unwrap()),
    ]
}

#[test]
fn the_igvm_crate_measures_the_same() {
    for (name, image) in images() {
        let file = IgvmFile::new_from_binary(&image, None).unwrap();
        let judged = generate_snp_measurement(file.initializations(), file.directives(), 1).unwrap();
        let ours = LaunchPlan::of_bytes(&image).unwrap().digest(1, DEFAULT_CPU_SIGNATURE);
        assert_eq!(hex(&ours), hex(&judged), "{name}");
    }
}

/// Python with sev-snp-measure in a virtual environment below the target directory, or why there is none.
fn python() -> &'static Result<PathBuf, String> {
    static PYTHON: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let environment = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sev-snp-measure-0.0.13");
        let python = environment.join("bin/python3");
        let is_ready = || succeeds(Command::new(&python).args(["-c", "import sevsnpmeasure.gctx"])).is_ok();
        if !is_ready() {
            succeeds(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
            succeeds(Command::new(&python).args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "sev-snp-measure==0.0.13",
            ]))?;
        }
        Ok(python)
    })
}

fn succeeds(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// Python if it can be had. Otherwise says so past the test harness, which hides what passing tests print.
fn python_or_skip(test: &str) -> Option<&'static Path> {
    match python() {
        Ok(python) => Some(python),
        Err(reason) => {
            let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {reason}");
            None
        }
    }
}

fn judge(script: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(script)
}

fn scratch(name: &str, bytes: &[u8]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn sev_snp_measure_measures_the_same() {
    let Some(python) = python_or_skip("sev_snp_measure_measures_the_same") else { return };
    for (name, image) in images() {
        let path = scratch(&format!("judged {name}.igvm"), &image);
        let plan = LaunchPlan::of_bytes(&image).unwrap();
        for vcpus in [1, 4] {
            let judged = succeeds(
                Command::new(python)
                    .arg(judge("sev_snp_measure_judge.py"))
                    .arg(&path)
                    .arg(vcpus.to_string())
                    .arg(DEFAULT_CPU_SIGNATURE.to_string()),
            );
            assert_eq!(Ok(hex(&plan.digest(vcpus, DEFAULT_CPU_SIGNATURE))), judged, "{name}, {vcpus} vCPUs");
        }
    }
}

/// A private key for tests only, made from a number that everybody knows.
fn test_key(fill: u8) -> SecretKey {
    SecretKey::from_slice(&[fill; 48]).unwrap()
}

#[test]
fn the_cryptography_package_accepts_the_id_blocks_signatures() {
    let Some(python) = python_or_skip("the_cryptography_package_accepts_the_id_blocks_signatures") else {
        return;
    };
    let [(_, image), ..] = images();
    let id_key = test_key(1).to_sec1_pem(LineEnding::LF).unwrap();
    let author_key = test_key(2).to_pkcs8_pem(LineEnding::LF).unwrap();
    let identity = Identity { family_id: [0xFA; 16], image_id: [0x1D; 16], guest_svn: 7 };
    let options = SignOptions {
        identity: Some(identity),
        vcpus: None,
        cpu_signature: DEFAULT_CPU_SIGNATURE,
        id_key: &id_key,
        author_key: Some(&author_key),
    };
    let signed = sign(&image, &options).unwrap();
    let plan = LaunchPlan::of_bytes(&signed).unwrap();
    let (block, authentication) = plan.id_block.as_ref().unwrap();
    let block_path = scratch("id_block.bin", block.as_bytes());
    let authentication_path = scratch("id_authentication.bin", authentication.as_bytes());
    let judged = succeeds(
        Command::new(python)
            .arg(judge("id_block_judge.py"))
            .arg(block_path)
            .arg(authentication_path)
            .arg(scratch("test_id_key.pem", id_key.as_bytes()))
            .arg(scratch("test_author_key.pem", author_key.as_bytes())),
    );
    assert_eq!(judged, Ok(format!("{} {}", hex(&authentication.id_key.digest()), hex(&block.launch_digest))));
}
