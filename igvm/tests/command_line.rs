//! The program as its users meet it: exit status, what goes to which stream, messages.

mod synthetic_elf;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use p384::SecretKey;
use p384::pkcs8::{EncodePrivateKey, LineEnding};

fn directory(test: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    std::fs::create_dir_all(&path).unwrap();
    std::fs::write(path.join("stage2.elf"), synthetic_elf::stage2(0x0800_0000)).unwrap();
    std::fs::write(path.join("kernel.elf"), synthetic_elf::kernel()).unwrap();
    std::fs::write(path.join("guest.elf"), synthetic_elf::guest()).unwrap();
    let key = SecretKey::from_slice(&[1; 48]).unwrap().to_pkcs8_pem(LineEnding::LF).unwrap();
    std::fs::write(path.join("id.pem"), key.as_bytes()).unwrap();
    path
}

fn run(directory: &Path, arguments: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_igvm-image");
    Command::new(program).current_dir(directory).args(arguments).output().unwrap()
}

const BUILD: [&str; 7] =
    ["build", "--stage2", "stage2.elf", "--kernel", "kernel.elf", "--output", "image.igvm"];

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn measure_prints_the_digest_alone() {
    let directory = directory("measure");
    let built = run(&directory, &[&BUILD[..], &["--guest-elf", "guest.elf"]].concat());
    assert_eq!((built.status.code(), text(&built.stdout), text(&built.stderr)), (Some(0), "", ""));
    let measured = run(&directory, &["measure", "image.igvm"]);
    let digest = text(&measured.stdout).strip_suffix('\n').unwrap();
    assert_eq!((digest.len(), text(&measured.stderr)), (96, ""));
    assert!(digest.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let json = run(&directory, &["measure", "image.igvm", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["launch_digest"], digest);
    let with_four = run(&directory, &["measure", "image.igvm", "--vcpus", "4"]);
    assert_ne!(text(&with_four.stdout), text(&measured.stdout));
}

#[test]
fn show_describes_the_image_for_people_and_programs() {
    let directory = directory("show");
    let id = ["--id-key", "id.pem", "--guest-svn", "5", "--family-id", "aabb", "--log-level", "off"];
    assert!(run(&directory, &[&BUILD[..], &id].concat()).status.success());
    let shown = run(&directory, &["show", "image.igvm"]);
    let table = text(&shown.stdout);
    for expected in [
        "SEV-SNP version 1, mask 1",
        "0x30000, ABI 0.0 or later; smt allowed",
        "0x08004000 .. 0x08005000      1 x 4 KiB  CPUID      address measured",
        "rip            0x8000040",
        "guest SVN 5",
        "0x08006000, 4096 bytes: VcpuCount at +0, Environment at +4",
        "aabb0000000000000000000000000000",
        "launch digest",
    ] {
        assert!(table.contains(expected), "{expected:?} is missing in\n{table}");
    }
    let json = run(&directory, &["show", "image.igvm", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["vcpus"][0]["registers"]["cr0"], "0x31");
    assert_eq!(json["id_blocks"][0]["guest_svn"], 5);
    assert_eq!(json["id_blocks"][0]["launch_digest"], json["launch_digest"]);
}

#[test]
fn sign_replaces_the_file_or_writes_another() {
    let directory = directory("sign");
    assert!(run(&directory, &BUILD).status.success());
    let before = std::fs::read(directory.join("image.igvm")).unwrap();
    let sign = ["sign", "image.igvm", "--id-key", "id.pem"];
    assert!(run(&directory, &[&sign[..], &["--output", "signed.igvm"]].concat()).status.success());
    assert_eq!(std::fs::read(directory.join("image.igvm")).unwrap(), before);
    assert!(run(&directory, &sign).status.success());
    let after = std::fs::read(directory.join("image.igvm")).unwrap();
    assert_eq!(after, std::fs::read(directory.join("signed.igvm")).unwrap());
    assert_ne!(after, before);
}

#[test]
fn bad_input_ends_with_status_1_and_names_the_file() {
    let directory = directory("bad_input");
    std::fs::write(directory.join("broken.igvm"), b"IGVM and no more").unwrap();
    for arguments in [
        &["measure", "broken.igvm"][..],
        &["show", "broken.igvm"],
        &["sign", "broken.igvm", "--id-key", "id.pem"],
        &["measure", "absent.igvm"],
        &["build", "--stage2", "id.pem", "--kernel", "kernel.elf", "--output", "x.igvm"],
    ] {
        let output = run(&directory, arguments);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), ""), "{arguments:?}");
        let message = text(&output.stderr);
        assert!(message.starts_with("igvm-image: "), "{message}");
        assert!(["broken.igvm: ", "absent.igvm: ", "stage2: "].iter().any(|name| message.contains(name)));
    }
    assert!(!directory.join("x.igvm").exists());
}

#[test]
fn wrong_usage_ends_with_status_2() {
    let directory = directory("usage");
    for arguments in [
        &["build"][..],
        &["measure"],
        &["measure", "image.igvm", "--vcpus", "0"],
        &[&BUILD[..], &["--family-id", "xyz"]].concat(),
        &[&BUILD[..], &["--guest-svn", "1"]].concat(),
        &["paint", "image.igvm"],
    ] {
        assert_eq!(run(&directory, arguments).status.code(), Some(2), "{arguments:?}");
    }
    let help = run(&directory, &["--help"]);
    assert!(help.status.success() && text(&help.stdout).contains("Examples:"));
}

#[test]
fn check_says_what_to_do_and_ends_with_1_where_the_host_refuses() {
    let directory = directory("check");
    assert!(run(&directory, &BUILD).status.success());
    let checked = run(&directory, &["check", "image.igvm", "--host", "qemu-10.2"]);
    assert_eq!((checked.status.code(), text(&checked.stderr)), (Some(1), ""));
    assert!(text(&checked.stdout).contains("Build it with --no-madt."), "{}", text(&checked.stdout));
    let fits = run(&directory, &["check", "image.igvm", "--host", "kvm-planes", "--json"]);
    assert_eq!(fits.status.code(), Some(0));
    let json: serde_json::Value = serde_json::from_slice(&fits.stdout).unwrap();
    assert_eq!(json["verdict"], "ok");
    let unknown = run(&directory, &["check", "image.igvm", "--host", "qemu"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("kvm-planes"), "{}", text(&unknown.stderr));
}

#[test]
fn measure_refuses_more_vcpus_than_any_host_has() {
    let directory = directory("absurd");
    assert!(run(&directory, &BUILD).status.success());
    let measure = |vcpus| run(&directory, &["measure", "image.igvm", "--reset-vcpus", "--vcpus", vcpus]);
    assert_eq!(measure("4096").status.code(), Some(0));
    for absurd in ["0", "4097", "65535", "-1"] {
        assert_eq!(measure(absurd).status.code(), Some(2));
    }
    let kvm = run(&directory, &["measure", "image.igvm"]);
    let gce = run(&directory, &["measure", "image.igvm", "--loader", "gce"]);
    assert!(gce.status.success() && gce.stdout != kvm.stdout);
}
