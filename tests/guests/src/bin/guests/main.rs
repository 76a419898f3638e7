//! `guests`: stock guests on the emulated machine, as a stage of `make test`.
//!
//! Each row of [`rows::ROWS`] is one boot; each promise about it is one verdict. Guests that Debian's archive does not
//! give away at this moment are skipped with the reason. What the runs printed stays in `target/results/guests`.
#![forbid(unsafe_code)]

mod deceit;
mod judge;
mod rows;
mod sid;

use clap::Parser;
use end_to_end::built::Built;
use end_to_end::verdict::{Outcome, RESULTS_VARIABLE, Verdict};
use guests::boot::{Boot, Way};
use guests::fetched::{Firmware, Guests, Kernel, Missing, NEWEST};
use rows::{Ending, KernelName, ROWS, Row, WayName};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// Bytes of the test's disk; the guest copies the first half to the second.
const DISK_BYTES: usize = 2 << 20;
/// Time limit of one boot, in seconds.
const LIMIT_SECONDS: u64 = 300;

/// Boots stock guests on the emulated machine and judges what they say.
#[derive(Parser)]
struct Arguments {
    /// Only rows whose names contain one of these
    names: Vec<String>,
}

/// What rows boot; each is fetched once.
struct Fetched {
    stable: Result<Kernel, Missing>,
    newest: Result<Kernel, Missing>,
    sid: Result<Kernel, Missing>,
    firmware: Result<PathBuf, Missing>,
    sid_firmware: Result<Firmware, Missing>,
}

impl Fetched {
    /// The version of what a row takes from sid; empty where it takes nothing.
    fn version(&self, row: &Row) -> String {
        match (row.kernel, row.way, &self.sid, &self.sid_firmware) {
            (KernelName::Sid, _, Ok(kernel), _) => kernel.version.clone(),
            (_, WayName::SidOvmf, _, Ok(firmware)) => firmware.version.clone(),
            _ => String::new(),
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments.names) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("guests: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(names: &[String]) -> std::io::Result<bool> {
    let start = Instant::now();
    let built = Built::beside_this_program()?;
    let logs = built.logs("guests")?;
    let target = built.logs("guests")?.join("../..").canonicalize()?;
    let guests = Guests::of(&target);
    let fetched = Fetched {
        stable: guests.kernel("linux-6.12"),
        newest: guests.kernel(NEWEST),
        sid: guests.kernel("linux-sid"),
        firmware: guests.firmware(),
        sid_firmware: guests.newest_firmware(),
    };
    for kernel in [&fetched.stable, &fetched.newest, &fetched.sid].into_iter().flatten() {
        println!("guests: Linux {}", kernel.version);
    }
    let mut verdicts = Vec::new();
    let wanted = |row: &&Row| names.is_empty() || names.iter().any(|name| row.name.contains(name.as_str()));
    for row in ROWS.iter().filter(wanted) {
        let began = Instant::now();
        let these = sid::weigh(row, &fetched.version(row), boot(row, &fetched, &built, &logs));
        for verdict in &these {
            print!("{}", verdict.line());
        }
        println!("guests: {} took {:.0} s", row.name, began.elapsed().as_secs_f64());
        verdicts.extend(these);
    }
    if let Some(path) = std::env::var_os(RESULTS_VARIABLE) {
        std::fs::write(path, verdicts.iter().map(Verdict::line).collect::<String>())?;
    }
    let count = |outcome| verdicts.iter().filter(|verdict| verdict.outcome == outcome).count();
    let (passed, failed, skipped) = (count(Outcome::Passed), count(Outcome::Failed), count(Outcome::Skipped));
    let seconds = start.elapsed().as_secs_f64();
    // Once more together, so that nobody has to search for them.
    verdicts
        .iter()
        .filter(|verdict| verdict.outcome == Outcome::Failed)
        .for_each(|it| print!("{}", it.line()));
    println!("guests: {passed} passed, {failed} failed, {skipped} skipped in {seconds:.0} s");
    Ok(failed == 0)
}

/// Boots a row, or says why it cannot be booted.
fn boot(row: &Row, fetched: &Fetched, built: &Built, logs: &Path) -> Vec<Verdict> {
    let kernel = match row.kernel {
        KernelName::Stable => &fetched.stable,
        KernelName::Newest => &fetched.newest,
        KernelName::Sid => &fetched.sid,
    };
    let firmware = match row.way {
        WayName::Direct | WayName::Embedded => Ok(None),
        WayName::Ovmf => fetched.firmware.as_ref().map(Some),
        WayName::SidOvmf => fetched.sid_firmware.as_ref().map(|firmware| Some(&firmware.file)),
    };
    match (kernel, firmware) {
        (Ok(kernel), Ok(firmware)) => boot_with(row, kernel, firmware, built, logs)
            .unwrap_or_else(|error| vec![Verdict::new(Outcome::Failed, row.name, error)]),
        (Err(missing), _) | (_, Err(missing)) => vec![match missing {
            Missing::Unavailable(reason) => Verdict::new(Outcome::Skipped, row.name, reason),
            Missing::Broken(reason) => Verdict::new(Outcome::Failed, row.name, reason),
        }],
    }
}

fn boot_with(
    row: &Row,
    kernel: &Kernel,
    firmware: Option<&PathBuf>,
    built: &Built,
    logs: &Path,
) -> Result<Vec<Verdict>, String> {
    let explain = |error: std::io::Error| error.to_string();
    let command_line =
        format!("console=ttyS0 quiet vouchsafe.vmpl=2 vouchsafe.cpus={} {}", row.vcpus, row.wanted);
    let disk = logs.join(format!("{}.disk", row.name));
    let first_half = make_disk(&disk).map_err(explain)?;
    let boot = Boot {
        name: row.name,
        kernel,
        command_line: command_line.trim_end(),
        way: match (row.way, firmware) {
            (WayName::Embedded, _) => Way::Embedded,
            (_, Some(firmware)) => Way::Through(firmware.clone()),
            (_, None) => Way::Direct,
        },
        options: options(row, &disk),
        limit_seconds: LIMIT_SECONDS,
    };
    let ended = boot.run(built, logs, |blobs| match row.ending {
        Ending::Refused(deceit) => deceit::apply(deceit, blobs, logs),
        Ending::Checks(_) | Ending::NotRestarted(_) => Ok(()),
    })?;
    let mut verdicts = judge::judge(row, &ended);
    if matches!(row.ending, Ending::Checks(checks) if checks.contains(&"disk")) {
        let same = std::fs::read(&disk).map_err(explain)? == [&first_half[..], &first_half].concat();
        let outcome = if same { Outcome::Passed } else { Outcome::Failed };
        let reason = if same { "" } else { "the disk's halves differ, or the first one changed" };
        verdicts.push(Verdict::new(outcome, format!("{}::disk_outside", row.name), reason));
    }
    let _ = std::fs::remove_file(&disk);
    Ok(verdicts)
}

/// Random bytes, so that nobody can have them but by reading, then room for their copy; returns the bytes.
fn make_disk(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut half = vec![0; DISK_BYTES / 2];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut half)?;
    let mut whole = half.clone();
    whole.resize(DISK_BYTES, 0);
    std::fs::write(path, whole)?;
    Ok(half)
}

/// vCPUs, memory and devices; what devices read and write must be memory that the guest shares.
fn options(row: &Row, disk: &Path) -> Vec<String> {
    let devices = [
        "-drive".to_owned(),
        format!("file={},if=none,id=disk,format=raw", disk.display()),
        "-device".to_owned(),
        "virtio-blk-pci,drive=disk".to_owned(),
        "-object".to_owned(),
        "rng-builtin,id=random".to_owned(),
        "-device".to_owned(),
        "virtio-rng-pci,rng=random".to_owned(),
        "-netdev".to_owned(),
        "user,id=net,restrict=on,guestfwd=tcp:10.0.2.100:7-cmd:cat".to_owned(),
        "-device".to_owned(),
        "virtio-net-pci,netdev=net,romfile=".to_owned(),
    ];
    let mut options = vec![
        "--smp".to_owned(),
        row.vcpus.to_string(),
        "--memory".to_owned(),
        format!("{}M", row.memory_mib),
    ];
    if row.restarts != 0 {
        // No host that exists leaves this to VMPL0.
        options.extend([
            "--host".to_owned(),
            "plain".to_owned(),
            "--resets".to_owned(),
            row.restarts.to_string(),
        ]);
    }
    if let Ending::Refused(deceit) = row.ending {
        options.extend(deceit::options(deceit).iter().map(|option| (*option).to_owned()));
    }
    options.push("--".to_owned());
    options.extend(devices);
    options
}
