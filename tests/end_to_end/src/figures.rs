//! Figures of the firmware: what it costs in instructions, bytes and pages.
//!
//! How instructions are counted: with `--icount` QEMU advances the time-stamp counter by one for each instruction. The
//! monitor reads it just before VMRUN and just behind every exit, takes off its own instructions in between, and adds
//! the rest to the level that ran (`snp_emulator/monitor/src/clock.rs`); its start-up self-test checks that with a guest of
//! known length. So a level's count has only its own instructions: nothing of the monitor, nothing of other levels.
//! Each iteration of a REP instruction counts as one instruction; zeroing a 4 KiB page is 512.
//!
//! What stands without `_with_vtpm` is of a firmware without its TPM, which can be compared with others that have none.
//!
//! A service is measured by the difference between two runs of the test guest that differ in the calls only. Equal builds
//! give equal figures, but for `emulated_boot_seconds`, which is wall time without `--icount`.

use crate::built::Built;
use crate::emulator::{self, Ended};
use object::{Object, ObjectSegment, Permissions};
use serde_json::Value;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

/// One figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
    /// The most that it may be; none where nothing was promised.
    pub limit: Option<f64>,
}

impl Figure {
    /// Whether it is within its limit.
    pub fn is_within_limit(&self) -> bool {
        self.limit.is_none_or(|limit| self.value <= limit)
    }
}

/// Calls of the guest's mode `null-calls`, and entries of its PVALIDATE lists.
const NULL_CALLS: f64 = 100.0;
const ENTRIES: f64 = 256.0;
/// Quotes, reports and RSA keys of its modes for those.
const SIGNATURES: f64 = 10.0;
const RSA_KEYS: f64 = 8.0;
/// Call numbers, as the machine counts them (RAX).
const PVALIDATE: u64 = 1;
const QUERY_PROTOCOL: u64 = 6;
const ATTEST_SINGLE_SERVICE: u64 = 1 << 32 | 1;
const VTPM_COMMAND: u64 = 2 << 32 | 1;
const LIMIT_SECONDS: u64 = 120;
const BOOT_RUNS: usize = 3;

/// The figures and their units and limits, in the order in which they are printed.
const TABLE: &[(&str, &str, Option<f64>)] = &[
    ("boot_instructions", "instructions", Some(1_000_000.0)),
    ("boot_instructions_4cpu", "instructions", None),
    ("svsm_null_call_instructions", "instructions", Some(1500.0)),
    ("svsm_pvalidate_4k_instructions", "instructions", None),
    ("svsm_pvalidate_2m_instructions", "instructions", None),
    ("image_bytes", "bytes", Some(1_048_576.0)),
    ("measured_pages", "pages", Some(256.0)),
    ("stage2_bytes", "bytes", Some(16_384.0)),
    ("kernel_text_bytes", "bytes", None),
    ("kernel_heap_peak_bytes", "bytes", None),
    ("emulated_boot_seconds", "seconds", None),
    ("boot_instructions_with_vtpm", "instructions", Some(2_000_000.0)),
    ("image_bytes_with_vtpm", "bytes", Some(2_097_152.0)),
    ("measured_pages_with_vtpm", "pages", None),
    ("vtpm_null_command_instructions", "instructions", None),
    ("vtpm_pcr_extend_instructions", "instructions", None),
    ("vtpm_nv_write_instructions", "instructions", None),
    ("vtpm_quote_p256_instructions", "instructions", None),
    ("vtpm_ek_rsa2048_instructions", "instructions", None),
    ("attest_report_instructions", "instructions", None),
];

/// The costs of the vTPM and of attestation, as the last rows of the table have them. From the guest's call to where it goes on;
/// the null command is GetCapability of one property.
///
/// The key is the mean of several by the endorsement key's template with different unique fields, as the search for primes is
/// long or short by chance. The report is one of the vTPM's alone, with certificates, after the endorsement key was made.
fn vtpm_costs(machine: &Machine<'_>) -> io::Result<[f64; 6]> {
    let cost = |mode: &str, call| Ok::<f64, io::Error>(total(&machine.counted(mode, &[])?, call));
    let writes = cost("tpm-nv-writes", VTPM_COMMAND)? - cost("tpm-nv-index", VTPM_COMMAND)?;
    let quotes = cost("tpm-quotes", VTPM_COMMAND)? - cost("tpm-no-quotes", VTPM_COMMAND)?;
    let reports = cost("reports", ATTEST_SINGLE_SERVICE)? - cost("one-report", ATTEST_SINGLE_SERVICE)?;
    Ok([
        cost("tpm-commands", VTPM_COMMAND)? / NULL_CALLS,
        cost("tpm-extends", VTPM_COMMAND)? / NULL_CALLS,
        writes / NULL_CALLS,
        quotes / SIGNATURES,
        cost("tpm-rsa-keys", VTPM_COMMAND)? / RSA_KEYS,
        reports / SIGNATURES,
    ])
}

/// Measures everything.
pub fn measure(built: &Built, logs: &Path) -> io::Result<Vec<Figure>> {
    let machine = Machine { built, logs, image: "payload-without-tpm" };
    let boot = machine.counted("nothing", &["--memory", "256M"])?;
    let boot_4 = machine.counted("nothing", &["--memory", "256M", "--smp", "4"])?;
    let idle = machine.counted("nothing", &[])?;
    let per_call = |mode: &str, number, calls: f64| {
        let with = total(&machine.counted(mode, &[])?, number);
        Ok::<f64, io::Error>((with - total(&idle, number)) / calls)
    };
    let (image_bytes, measured_pages) = image_size(built, "vouchsafe-without-tpm")?;
    let with_tpm = Machine { built, logs, image: "payload" };
    let boot_with_tpm = with_tpm.counted("nothing", &["--memory", "256M"])?;
    let [null_command, pcr_extend, nv_write, quote, endorsement_key, report] = vtpm_costs(&with_tpm)?;
    let (image_bytes_with_tpm, measured_pages_with_tpm) = image_size(built, "vouchsafe")?;
    let values = [
        boot_instructions(&boot)?,
        boot_instructions(&boot_4)?,
        per_call("null-calls", QUERY_PROTOCOL, NULL_CALLS)?,
        per_call("validate-4k", PVALIDATE, ENTRIES)?,
        per_call("validate-2m", PVALIDATE, ENTRIES)?,
        image_bytes,
        measured_pages,
        loaded_bytes(&built.firmware("stage2"), |_| true)?,
        loaded_bytes(&built.kernel_without_tpm(), is_executable)?,
        heap_peak(&boot)?,
        machine.boot_seconds()?,
        boot_instructions(&boot_with_tpm)?,
        image_bytes_with_tpm,
        measured_pages_with_tpm,
        null_command,
        pcr_extend,
        nv_write,
        quote,
        endorsement_key,
        report,
    ];
    let figure = |((name, unit, limit), value): (&(&'static str, &'static str, Option<f64>), f64)| Figure {
        name,
        value,
        unit,
        limit: *limit,
    };
    Ok(TABLE.iter().zip(values).map(figure).collect())
}

struct Machine<'a> {
    built: &'a Built,
    logs: &'a Path,
    /// The image with the test guest that is run.
    image: &'a str,
}

impl Machine<'_> {
    /// A run in which the guest makes the calls that `mode` names, and ends well.
    fn run(&self, mode: &str, options: &[&str]) -> io::Result<Ended> {
        let file = self.logs.join(format!("bench.{mode}"));
        fs::write(&file, format!("bench={mode}"))?;
        let mut all: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        all.extend([
            "--fw-cfg".to_owned(),
            format!("name=opt/org.vouchsafe.test/mode,file={}", file.display()),
        ]);
        let vcpus = options.iter().skip_while(|option| **option != "--smp").nth(1).unwrap_or(&"1");
        let image = self.built.image_for_vcpus(self.image, vcpus, self.logs)?;
        let ended = emulator::run(
            self.built,
            self.logs,
            &format!("bench-{}-{mode}", self.image),
            &image,
            &all,
            LIMIT_SECONDS,
        )?;
        if ended.status == Some(0) {
            Ok(ended)
        } else {
            Err(io::Error::other(format!("{mode} fails: {}", ended.machine)))
        }
    }

    fn counted(&self, mode: &str, options: &[&str]) -> io::Result<Ended> {
        self.run(mode, &[&["--icount"], options].concat())
    }

    /// From the start of the program to the guest's first instruction: the middle one of a few runs.
    fn boot_seconds(&self) -> io::Result<f64> {
        let mut seconds = Vec::new();
        for _ in 0..BOOT_RUNS {
            let ended = self.run("nothing", &["--memory", "256M"])?;
            seconds.push(ended.booted_after.ok_or_else(|| missing("mark: boot"))?.as_secs_f64());
        }
        seconds.sort_by(f64::total_cmp);
        seconds.get(BOOT_RUNS / 2).copied().ok_or_else(|| missing("runs"))
    }
}

fn missing(what: &str) -> io::Error {
    io::Error::other(format!("no '{what}' in what was printed"))
}

fn number(text: &str) -> Option<f64> {
    text.split_ascii_whitespace().next()?.trim_end_matches(',').parse().ok()
}

fn boot_instructions(ended: &Ended) -> io::Result<f64> {
    ended.message("mark: boot ").and_then(number).ok_or_else(|| missing("mark: boot"))
}

/// Instructions of VMPL0 for all calls with this number.
fn total(ended: &Ended, call: u64) -> f64 {
    let line = ended.message(&format!("call: {call:#x} "));
    line.and_then(|line| number(line.split_once("total ")?.1)).unwrap_or(0.0)
}

fn heap_peak(ended: &Ended) -> io::Result<f64> {
    let line = ended.serial.lines().find(|line| line.contains("heap") && line.contains("peak "));
    line.and_then(|line| number(line.split_once("peak ")?.1)).ok_or_else(|| missing("heap .. peak"))
}

/// Bytes of the image without a guest, and how many of its pages the launch digest has an entry for.
fn image_size(built: &Built, image: &str) -> io::Result<(f64, f64)> {
    let mut command = Command::new(built.tool("igvm-image"));
    let output = command.args(["measure", "--json"]).arg(built.image(image)).output()?;
    let value: Value = serde_json::from_slice(&output.stdout).map_err(io::Error::other)?;
    let field = |name: &str| value.get(name).and_then(Value::as_f64).ok_or_else(|| missing(name));
    Ok((field("image_bytes")?, field("launched_pages")?))
}

/// Bytes of memory that the segments of a program take.
fn loaded_bytes(program: &Path, wanted: fn(Permissions) -> bool) -> io::Result<f64> {
    let bytes = fs::read(program)?;
    let file = object::File::parse(&*bytes).map_err(io::Error::other)?;
    let segments = file.segments().filter(|segment| wanted(segment.permissions()));
    Ok(segments.map(|segment| segment.size() as f64).sum())
}

fn is_executable(permissions: Permissions) -> bool {
    permissions.executable()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn numbers_are_taken_from_the_machines_lines() {
        let ended = Ended {
            status: Some(0),
            serial: "[svsm INFO] 1 vCPUs, heap 40624 bytes, peak 40700\r\n".to_owned(),
            machine: "machine: mark: boot 209210\nmachine: call: 0x1 count 3 least 739 total 5000\n"
                .to_owned(),
            took: Duration::ZERO,
            booted_after: None,
        };
        assert_eq!(boot_instructions(&ended).ok(), Some(209_210.0));
        assert_eq!(total(&ended, PVALIDATE), 5000.0);
        assert_eq!(total(&ended, QUERY_PROTOCOL), 0.0);
        assert_eq!(heap_peak(&ended).ok(), Some(40_700.0));
    }

    #[test]
    fn a_figure_above_its_limit_is_noticed() {
        let figure = |value| Figure { name: "x", value, unit: "bytes", limit: Some(10.0) };
        assert!(figure(10.0).is_within_limit());
        assert!(!figure(10.5).is_within_limit());
    }
}
