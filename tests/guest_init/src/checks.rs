//! What is checked in the guest: one row for each check.

use crate::wanted::Wanted;
use crate::{devices, say, stress};
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;

/// Most that one record of the kernel's log takes.
const RECORD_BYTES: usize = 8192;

/// What a check found, or why it failed.
pub type Result = std::result::Result<String, String>;

/// A check.
struct Check {
    name: &'static str,
    /// None if the check was not asked for.
    run: fn(&Wanted) -> Option<Result>,
}

const CHECKS: &[Check] = &[
    Check { name: "vmpl", run: |wanted| Some(vmpl(wanted.vmpl?)) },
    Check { name: "kernel_log", run: |_| Some(kernel_log()) },
    Check { name: "cpus", run: |wanted| Some(cpus(wanted.cpus?)) },
    Check { name: "memory", run: |_| Some(memory()) },
    Check { name: "sev_guest", run: |wanted| wanted.vmpl.map(|_| devices::sev_guest()) },
    Check { name: "disk", run: |wanted| wanted.disk.then(devices::disk) },
    Check { name: "random", run: |wanted| wanted.random.then(devices::random) },
    Check { name: "network", run: |wanted| Some(devices::network(wanted.echo.as_deref()?)) },
    Check { name: "stress", run: |wanted| Some(stress::run(wanted.stress_seconds?)) },
    Check { name: "replug", run: |wanted| wanted.replug.then(replug) },
    // Once more, after everything else.
    Check { name: "kernel_log_after", run: |_| Some(kernel_log()) },
];

/// Runs all checks that were asked for.
pub fn run(wanted: &Wanted) {
    for check in CHECKS {
        match (check.run)(wanted) {
            None => {}
            Some(Ok(detail)) => say(&format!("{} passed {detail}", check.name)),
            Some(Err(reason)) => say(&format!("{} failed {reason}", check.name)),
        }
    }
}

/// A file of the kernel's, without the final line break.
pub fn read(path: &str) -> std::result::Result<String, String> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.trim_end().to_owned()),
        Err(error) => Err(format!("{path}: {error}")),
    }
}

/// Writes a word into a file of the kernel's.
fn write(path: &str, text: &str) -> std::result::Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{path}: {error}"))
}

/// The kernel's log so far: level and text of each record.
fn log() -> std::result::Result<Vec<(u32, String)>, String> {
    // O_NONBLOCK: the end of the log is an error and not a wait for more.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open("/dev/kmsg");
    let mut file = file.map_err(|error| format!("/dev/kmsg: {error}"))?;
    let mut records = Vec::new();
    let mut buffer = vec![0; RECORD_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(records),
            Ok(length) => {
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                let (head, body) = text.split_once(';').unwrap_or(("", &text));
                let priority = head.split(',').next().and_then(|word| word.parse::<u32>().ok());
                let line = body.lines().next().unwrap_or_default().to_owned();
                records.push((priority.unwrap_or(0) & 7, line));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(records),
            // Records were overwritten while we read.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            Err(error) => return Err(format!("/dev/kmsg: {error}")),
        }
    }
}

fn vmpl(level: u8) -> Result {
    let wanted = format!("SEV: SNP running at VMPL{level}.");
    let records = log()?;
    let about: Vec<_> = records.iter().map(|(_, line)| line).filter(|line| line.contains("SEV")).collect();
    match about.iter().find(|line| line.contains(&wanted)) {
        Some(line) => Ok((*line).clone()),
        None => Err(format!("the kernel does not say '{wanted}' but {about:?}")),
    }
}

/// The kernel complains of nothing that would mean that the machine or the firmware did it wrong.
fn kernel_log() -> Result {
    const BAD: &[&str] = &[
        "BUG:",
        "WARNING: CPU",
        "Call Trace",
        "Oops",
        "soft lockup",
        "hung task",
        "rcu_sched",
        "unhandled",
        "Unsupported exit",
        "Machine check",
        "I/O error",
    ];
    let records = log()?;
    let bad: Vec<_> = records
        .iter()
        .map(|(_, line)| line)
        .filter(|line| BAD.iter().any(|word| line.contains(word)))
        .take(3)
        .collect();
    if bad.is_empty() { Ok(format!("{} records", records.len())) } else { Err(format!("{bad:?}")) }
}

fn cpus(count: usize) -> Result {
    let online = read("/sys/devices/system/cpu/online")?;
    let wanted = if count == 1 { "0".to_owned() } else { format!("0-{}", count - 1) };
    let here = std::thread::available_parallelism().map_or(0, usize::from);
    if online == wanted && here == count {
        Ok(format!("{online} online"))
    } else {
        Err(format!("{online} online, {here} usable"))
    }
}

/// What the firmware told the kernel, in bytes: the program outside compares with what the machine gave.
fn memory() -> Result {
    let (mut usable, mut reserved) = (0, 0);
    let entries = fs::read_dir("/sys/firmware/memmap").map_err(|error| format!("memmap: {error}"))?;
    for entry in entries.filter_map(std::result::Result::ok) {
        let word = |name: &str| read(&entry.path().join(name).display().to_string());
        let number = |name: &str| -> std::result::Result<u64, String> {
            let text = word(name)?;
            u64::from_str_radix(text.trim_start_matches("0x"), 16).map_err(|error| format!("{text}: {error}"))
        };
        let bytes = number("end")? + 1 - number("start")?;
        match word("type")?.as_str() {
            "System RAM" => usable += bytes,
            _ => reserved += bytes,
        }
    }
    let total = read("/proc/meminfo")?.lines().next().unwrap_or_default().to_owned();
    Ok(format!(
        "usable={usable} reserved={reserved} {}",
        total.split_ascii_whitespace().collect::<Vec<_>>().join("")
    ))
}

/// Takes each CPU but the first away and brings it back, once: stock kernels panic on the second cycle of one CPU.
fn replug() -> Result {
    let before = read("/sys/devices/system/cpu/online")?;
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    for cpu in 1..count {
        let switch = format!("/sys/devices/system/cpu/cpu{cpu}/online");
        write(&switch, "0")?;
        let without = read("/sys/devices/system/cpu/online")?;
        if without == before {
            return Err(format!("CPU {cpu} is still online"));
        }
        write(&switch, "1")?;
        stress::work_on(cpu)?;
    }
    let after = read("/sys/devices/system/cpu/online")?;
    if after == before {
        Ok(format!("{} CPUs", count - 1))
    } else {
        Err(format!("{after} online, not {before}"))
    }
}
