//! Makes a run of the table and says whether it came out as the table has it.

use crate::cases::CaseBook;
use crate::evidence;
use crate::runs::{Damage, Expect, Image, Run};
use end_to_end::built::Built;
use end_to_end::emulator::{self, Ended};
use end_to_end::verdict::{Outcome, Verdict};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// fw_cfg files through which the test guest is told what to do.
const TEST_FILES: &str = "opt/org.vouchsafe.test";

/// What a judge needs.
pub struct Judge<'a> {
    /// The built things.
    pub built: &'a Built,
    /// Where outputs of runs go.
    pub logs: &'a Path,
}

impl Judge<'_> {
    /// Makes one run.
    pub fn run(&self, run: &Run, book: &mut CaseBook) -> io::Result<(Verdict, Duration)> {
        let image = self.image(run)?;
        let ended = self.start(run, "", &image)?;
        let mut took = ended.took;
        let mut judged = self.judge(run, &image, &ended, book);
        if judged.is_ok() && matches!(run.expect, Expect::SameTwice | Expect::AnotherTpm) {
            let again = self.start(run, ".again", &image)?;
            took += again.took;
            judged = if run.expect == Expect::SameTwice {
                same(&ended, &again)
            } else {
                evidence::of_two_launches(&ended.serial, &again.serial)
            };
        }
        let verdict = match judged {
            Ok(()) => Verdict::new(Outcome::Passed, run.name, ""),
            Err(why) => Verdict::new(Outcome::Failed, run.name, why),
        };
        Ok((verdict, took))
    }

    fn start(&self, run: &Run, suffix: &str, image: &Path) -> io::Result<Ended> {
        let mut options = Vec::new();
        for (file, text) in run.files {
            let path = self.logs.join(format!("{}.{file}", run.name));
            fs::write(&path, text)?;
            options
                .extend(["--fw-cfg".to_owned(), format!("name={TEST_FILES}/{file},file={}", path.display())]);
        }
        if run.expect == Expect::Evidence {
            options.extend(["--psp-keys".to_owned(), self.keys(run).display().to_string()]);
        }
        // The faulty kernels have other addresses.
        if matches!(run.image, Image::Payload | Image::ForOneVcpu | Image::ForAnyVcpus) {
            for program in ["kernel", "guest_payload"] {
                options.extend(["--symbols".to_owned(), self.built.firmware(program).display().to_string()]);
            }
        }
        // Last, as they may end in QEMU's own.
        options.extend(run.options.iter().map(|option| (*option).to_owned()));
        emulator::run(self.built, self.logs, &format!("{}{suffix}", run.name), image, &options, run.seconds)
    }

    /// Where a run's keys are kept, for the root certificate.
    fn keys(&self, run: &Run) -> PathBuf {
        self.logs.join(format!("{}.keys", run.name))
    }

    fn image(&self, run: &Run) -> io::Result<PathBuf> {
        let payload = self.built.image("payload");
        match run.image {
            Image::Payload => self.built.image_for_vcpus("payload", vcpus(run.options), self.logs),
            Image::ForOneVcpu => Ok(payload),
            Image::ForAnyVcpus => self.built.image_for_vcpus("payload", "0", self.logs),
            Image::Fault(fault) => Ok(self.built.image(&format!("payload-{fault}"))),
            Image::Damaged(damage) => {
                let path = self.logs.join(format!("{}.igvm", run.name));
                fs::write(&path, damaged(damage, fs::read(payload)?))?;
                Ok(path)
            }
        }
    }

    fn judge(&self, run: &Run, image: &Path, ended: &Ended, book: &mut CaseBook) -> Result<(), String> {
        let expected = match run.expect {
            Expect::Cases | Expect::SameTwice | Expect::Evidence | Expect::AnotherTpm => 0,
            Expect::Ends { status, .. } => status,
        };
        // What the guest says about itself explains a wrong status better than the status does.
        let cases = match run.expect {
            Expect::Cases => book.take(run.name, &ended.serial).map(|_| ()),
            _ => Ok(()),
        };
        cases?;
        if ended.status != Some(expected) {
            let status = ended.status.map_or("killed".to_owned(), |status| format!("status {status}"));
            return Err(format!("{status} instead of {expected}: {}", last_message(ended)));
        }
        match run.expect {
            Expect::Cases => {
                nothing_was_helped_along(ended)?;
                ended.ledger_agrees()?;
                self.digest_is_measured(run, image, ended)
            }
            Expect::SameTwice | Expect::AnotherTpm => Ok(()),
            Expect::Evidence => {
                let folder = self.logs.join(format!("{}.evidence", run.name));
                evidence::judge(self.built, &folder, &self.keys(run), image, &ended.serial)
            }
            Expect::Ends { says, .. } => says.iter().try_for_each(|parts| find_line(ended, parts)),
        }
    }

    /// The machine launched what `igvm-image measure` says about so many vCPUs.
    fn digest_is_measured(&self, run: &Run, image: &Path, ended: &Ended) -> Result<(), String> {
        let launched = ended.message("launch digest ").ok_or("the machine does not say what it launched")?;
        let mut measure = Command::new(self.built.tool("igvm-image"));
        measure.arg("measure").arg(image).args(["--vcpus", vcpus(run.options)]);
        let output = measure.output();
        let output = output.map_err(|error| format!("igvm-image: {error}"))?;
        let measured = String::from_utf8_lossy(&output.stdout);
        if measured.trim() == launched {
            Ok(())
        } else {
            Err(format!("launched {launched}, but igvm-image measures {}", measured.trim()))
        }
    }
}

/// How many vCPUs options of `snp-emulator run` ask for.
fn vcpus(options: &[&'static str]) -> &'static str {
    options.iter().skip_while(|option| **option != "--smp").nth(1).unwrap_or(&"1")
}

/// Neither firmware nor guest left another page state change to the host's kindness. Each case about pages of the host's gives
/// one away and calls about it: the firmware's access makes the host convert it, as KVM does.
fn nothing_was_helped_along(ended: &Ended) -> Result<(), String> {
    let summary = ended.message("summary: ").ok_or("the machine leaves no summary")?;
    let gives_away =
        |line: &&str| line.starts_with("case ") && line.contains("_of_the_hosts_") && line.ends_with(" ok");
    let given_away = ended.serial.lines().filter(gives_away).count();
    if summary.contains(&format!(" implicit-conversions {given_away} ")) && summary.ends_with(" violations 0")
    {
        Ok(())
    } else {
        Err(format!("conversions without a request, or violations: {summary}"))
    }
}

/// A line of either output that has all of `parts`, in this order.
fn find_line(ended: &Ended, parts: &[&str]) -> Result<(), String> {
    let has_all = |line: &str| {
        parts.iter().try_fold(line, |rest, part| rest.split_once(part).map(|(_, rest)| rest)).is_some()
    };
    if ended.machine.lines().chain(ended.serial.lines()).any(has_all) {
        Ok(())
    } else {
        Err(format!("no line says '{}'; the last message: {}", parts.join(" .. "), last_message(ended)))
    }
}

fn last_message(ended: &Ended) -> &str {
    let counts = ["machine: mark:", "machine: call:", "machine: summary:"];
    let is_count = |line: &&str| counts.iter().any(|prefix| line.starts_with(prefix));
    ended.machine.lines().rfind(|line| !is_count(line)).unwrap_or("nothing at all")
}

/// Two runs with counted instructions leave the same bytes.
fn same(first: &Ended, second: &Ended) -> Result<(), String> {
    for (what, one, two) in
        [("serial output", &first.serial, &second.serial), ("messages", &first.machine, &second.machine)]
    {
        if one != two {
            let differs = one.lines().zip(two.lines()).find(|(one, two)| one != two);
            let (one, two) = differs.unwrap_or(("(shorter or longer)", ""));
            return Err(format!("{what} differ between two runs: '{one}' and '{two}'"));
        }
    }
    match first.message("summary: ") {
        Some(_) => Ok(()),
        None => Err("the runs leave no summary".to_owned()),
    }
}

fn damaged(damage: Damage, mut image: Vec<u8>) -> Vec<u8> {
    match damage {
        Damage::Empty => image.clear(),
        Damage::Text => image = b"this is no image\n".to_vec(),
        Damage::CutShort => image.truncate(image.len() / 2),
        Damage::OneBitOff => {
            if let Some(byte) = image.last_mut() {
                *byte ^= 1;
            }
        }
    }
    image
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(machine: &str) -> Ended {
        Ended {
            status: Some(0),
            serial: String::new(),
            machine: machine.to_owned(),
            took: Duration::ZERO,
            booted_after: None,
        }
    }

    #[test]
    fn a_line_must_have_all_parts_in_order() {
        let ended = ended("machine: violation: vcpu 0 vmpl 2: access to 0x1000\nmachine: summary: x\n");
        assert_eq!(find_line(&ended, &["vmpl 2", "0x1000"]), Ok(()));
        assert!(find_line(&ended, &["0x1000", "vmpl 2"]).is_err());
        assert!(find_line(&ended, &["violation", "summary"]).is_err());
    }

    #[test]
    fn runs_that_differ_or_say_nothing_are_not_the_same() {
        let first = ended("machine: summary: exits 1\n");
        assert_eq!(same(&first, &ended("machine: summary: exits 1\n")), Ok(()));
        assert!(same(&first, &ended("machine: summary: exits 2\n")).is_err());
        assert!(same(&first, &ended("machine: summary: exits 1\nmore\n")).is_err());
        assert!(same(&ended(""), &ended("")).is_err());
    }
}
