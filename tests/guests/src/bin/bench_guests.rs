//! `bench_guests`: what it costs to boot a stock kernel under the firmware, a JSON object a line.
//!
//! Instructions are counted by the machine (`end_to_end::figures` says how). Seconds are wall time from the start of the
//! program to the guest's power-off, against the same kernel and initrd in plain QEMU on the same emulated processor, the
//! middle one of a few pairs of runs. Exit status: 0 when all figures are within their limits, 1 when one is not, 2 when they cannot
//! be measured, 75 when Debian's archive does not give the kernel away.
#![forbid(unsafe_code)]

use end_to_end::built::Built;
use end_to_end::emulator::Ended;
use guests::boot::{Boot, Way};
use guests::fetched::{Guests, Kernel, Missing};
use serde_json::json;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

const KERNEL: &str = "linux-6.12";
const COMMAND_LINE: &str = "console=ttyS0 quiet";
const PAIRS: usize = 3;
const LIMIT_SECONDS: u64 = 300;
const QEMU: &str = "qemu-system-x86_64";
/// Zeroing a GiB by REP STOSQ, each iteration of which counts as one instruction.
const ZEROING_A_GIB: f64 = (1u64 << 27) as f64;
const UNAVAILABLE: u8 = 75;

fn main() -> ExitCode {
    match measure() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(Missing::Unavailable(reason)) => {
            eprintln!("bench_guests: {reason}");
            ExitCode::from(UNAVAILABLE)
        }
        Err(Missing::Broken(reason)) => {
            eprintln!("bench_guests: {reason}");
            ExitCode::from(2)
        }
    }
}

fn measure() -> Result<bool, Missing> {
    let broken = |error: std::io::Error| Missing::Broken(error.to_string());
    let built = Built::beside_this_program().map_err(broken)?;
    let logs = built.logs("bench").map_err(broken)?;
    let target = logs.join("../..").canonicalize().map_err(broken)?;
    let kernel = Guests::of(&target).kernel(KERNEL)?;
    let bench = Bench { built: &built, logs: &logs, kernel: &kernel };
    bench.all().map_err(Missing::Broken)
}

struct Bench<'a> {
    built: &'a Built,
    logs: &'a Path,
    kernel: &'a Kernel,
}

impl Bench<'_> {
    /// Measures and prints everything; whether all is within its limits.
    fn all(&self) -> Result<bool, String> {
        let counted = self.boot(&["--icount"])?;
        let larger = self.boot(&["--icount", "--memory", "2G"])?;
        let own = mark(&counted, "vmpl0 ")?;
        let gib = mark(&larger, "boot ")? - mark(&counted, "boot ")? - ZEROING_A_GIB;
        let kept =
            number_before(&counted.serial, " bytes kept").ok_or("the firmware does not say what it keeps")?;
        let figures = [
            ("linux_boot_exits", number_behind(&counted.machine, "exits ").ok_or("no exits")?, "exits", None),
            ("linux_boot_instructions", own + mark(&counted, "vmpl2 ")?, "instructions", None),
            ("linux_boot_vmpl0_instructions", own, "instructions", None),
            ("validate_gib_instructions", gib, "instructions", Some(2_000_000.0)),
            ("guest_memory_overhead_bytes", kept, "bytes", Some(16_777_216.0)),
            ("linux_boot_seconds_ratio", self.ratio()?, "ratio", Some(2.5)),
        ];
        let mut is_good = true;
        for (name, value, unit, limit) in figures {
            let value = (value * 100.0).round() / 100.0;
            println!("{}", json!({ "name": name, "value": value, "unit": unit, "limit": limit }));
            if limit.is_some_and(|limit| value > limit) {
                eprintln!("bench_guests: {name} is above its limit");
                is_good = false;
            }
        }
        Ok(is_good)
    }

    fn boot(&self, options: &[&str]) -> Result<Ended, String> {
        let boot = Boot {
            name: "bench-linux",
            kernel: self.kernel,
            command_line: COMMAND_LINE,
            way: Way::Direct,
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            limit_seconds: LIMIT_SECONDS,
        };
        let ended = boot.run(self.built, self.logs, |_| Ok(()))?;
        if ended.status == Some(0) { Ok(ended) } else { Err(format!("the boot fails: {}", ended.machine)) }
    }

    /// Times under the firmware and without; the ratio of the middle of each.
    fn ratio(&self) -> Result<f64, String> {
        let (mut under, mut plain) = (Vec::new(), Vec::new());
        for _ in 0..PAIRS {
            under.push(self.boot(&[])?.took.as_secs_f64());
            plain.push(self.plain()?);
        }
        let middle = |mut seconds: Vec<f64>| {
            seconds.sort_by(f64::total_cmp);
            seconds[PAIRS / 2]
        };
        let (under, plain) = (middle(under), middle(plain));
        eprintln!("bench_guests: {under:.2} s under the firmware, {plain:.2} s without");
        Ok(under / plain)
    }

    /// Seconds in plain QEMU, with the processor and the machine that the emulated one is made of.
    fn plain(&self) -> Result<f64, String> {
        let start = Instant::now();
        let output = Command::new("timeout")
            .args([&LIMIT_SECONDS.to_string(), QEMU, "-nodefaults", "-no-user-config", "-display", "none"])
            .args(["-no-reboot", "-machine", "q35", "-accel", "tcg", "-smp", "1", "-m", "1G"])
            .args(["-cpu", "EPYC-Milan,phys-bits=52,+la57,+x2apic", "-serial", "stdio"])
            .arg("-kernel")
            .arg(&self.kernel.image)
            .arg("-initrd")
            .arg(&self.kernel.initrd)
            .args(["-append", COMMAND_LINE])
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("{QEMU}: {error}"))?;
        let seconds = start.elapsed().as_secs_f64();
        if String::from_utf8_lossy(&output.stdout).contains("vouchsafe: done") {
            return Ok(seconds);
        }
        Err(format!("plain QEMU does not boot the kernel: {}", String::from_utf8_lossy(&output.stderr)))
    }
}

/// What the machine counted under a name.
fn mark(ended: &Ended, name: &str) -> Result<f64, String> {
    let text = ended.message(&format!("mark: {name}"));
    text.and_then(|text| text.trim().parse().ok()).ok_or_else(|| format!("the machine has no mark {name}"))
}

fn number_behind(text: &str, word: &str) -> Option<f64> {
    text.split_once(word)?.1.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn number_before(text: &str, word: &str) -> Option<f64> {
    text.split_once(word)?.0.rsplit(' ').next()?.parse().ok()
}
