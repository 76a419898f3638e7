//! The test guest's evidence, judged by `svsm-verify`: whatever does not need a quote must pass.

use end_to_end::built::Built;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

/// The checks that a report, its certificates and a manifest are enough for.
const CHECKS: &[&str] = &[
    "report_layout",
    "certificate_chain",
    "certificate_validity",
    "report_signature",
    "signing_key",
    "product",
    "certified_tcb",
    "chip_id",
    "guest_policy",
    "vmpl",
    "measurement",
    "report_data",
    "endorsement_key",
];
/// Parts of the evidence, and the verifier's names for their files.
const FILES: &[(&str, &str)] = &[
    ("report", "report.bin"),
    ("manifest", "manifest.bin"),
    ("certificates", "certs.bin"),
    ("eventlog", "eventlog.bin"),
];

/// One part of the evidence: its hexadecimal lines, joined.
fn part(serial: &str, name: &str) -> Result<String, String> {
    let lines = serial.lines().filter_map(|line| line.trim_end().strip_prefix("evidence ")?.split_once(' '));
    let text: String = lines.filter(|(of, _)| *of == name).map(|(_, hex)| hex).collect();
    if text.is_empty() { Err(format!("the guest sent no {name}")) } else { Ok(text) }
}

fn bytes(hex: &str) -> Result<Vec<u8>, String> {
    let digits: Option<Vec<u32>> = hex.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.ok_or("evidence that is not hexadecimal")?;
    Ok(digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | *digit as u8)).collect())
}

/// Hands the evidence of a run to the verifier.
pub fn judge(built: &Built, folder: &Path, keys: &Path, image: &Path, serial: &str) -> Result<(), String> {
    let failed = |error: io::Error| format!("{}: {error}", folder.display());
    fs::create_dir_all(folder).map_err(failed)?;
    for (name, file) in FILES {
        fs::write(folder.join(file), bytes(&part(serial, name)?)?).map_err(failed)?;
    }
    let policy = folder.with_extension("policy.toml");
    fs::write(&policy, "version = 1\n").map_err(failed)?;
    let mut command = Command::new(built.tool("svsm-verify"));
    command.arg("--evidence").arg(folder).args(["--nonce", &part(serial, "nonce")?]);
    command.arg("--policy").arg(&policy).arg("--image").arg(image);
    command.arg("--test-root").arg(keys.join("milan/ark.pem"));
    let output = command.output().map_err(|error| format!("svsm-verify: {error}"))?;
    checked(&String::from_utf8_lossy(&output.stdout))
}

/// Two launches of one image: the firmware measured the same, and the TPM is another one.
pub fn of_two_launches(first: &str, second: &str) -> Result<(), String> {
    if part(first, "eventlog")? != part(second, "eventlog")? {
        return Err("two launches of one image have different event logs".to_owned());
    }
    if part(first, "manifest")? == part(second, "manifest")? {
        return Err("the second launch has the TPM of the first".to_owned());
    }
    Ok(())
}

/// Every check of the list passed.
fn checked(table: &str) -> Result<(), String> {
    for check in CHECKS {
        let line = table.lines().find(|line| line.split_ascii_whitespace().nth(1) == Some(check));
        match line {
            Some(line) if line.starts_with("pass ") => {}
            Some(line) => return Err(format!("svsm-verify: {line}")),
            None => return Err(format!("svsm-verify says nothing about {check}: {table}")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_joined_in_order() {
        let serial = "evidence a 01\r\nevidence b ff\nnoise\nevidence a 02\n";
        assert_eq!(part(serial, "a").and_then(|hex| bytes(&hex)), Ok(vec![1, 2]));
        assert!(part(serial, "c").is_err());
        assert!(bytes("0g").is_err());
    }

    #[test]
    fn a_tpm_that_outlives_its_launch_is_noticed() {
        let launch = |log: &str, key: &str| format!("evidence eventlog {log}\nevidence manifest {key}\n");
        assert_eq!(of_two_launches(&launch("00", "01"), &launch("00", "02")), Ok(()));
        assert!(of_two_launches(&launch("00", "01"), &launch("00", "01")).is_err());
        assert!(of_two_launches(&launch("00", "01"), &launch("01", "02")).is_err());
        assert!(of_two_launches(&launch("00", "01"), "").is_err());
    }

    #[test]
    fn a_check_that_fails_or_is_missing_is_noticed() {
        let good: String = CHECKS.iter().map(|check| format!("pass  {check} fine\n")).collect();
        assert_eq!(checked(&good), Ok(()));
        assert!(checked(&good.replace("pass  vmpl", "FAIL  vmpl")).is_err());
        assert!(checked(&good.replace("report_data", "other")).is_err());
    }
}
