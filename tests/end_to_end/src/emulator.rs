//! One run of `snp-emulator`.

use crate::built::Built;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// How long the machine may take to say where it hangs and to stop, after its own time limit.
const GRACE_SECONDS: u64 = 20;

/// What the machine says when a level below VMPL0 runs for the first time.
const BOOTED: &str = "machine: first entry to VMPL";

/// What a run left.
pub struct Ended {
    /// The program's exit status; none if it was killed.
    pub status: Option<i32>,
    /// The guest's serial port.
    pub serial: String,
    /// What the machine said.
    pub machine: String,
    /// How long it took.
    pub took: Duration,
    /// When the first instruction below VMPL0 ran; none if there was none.
    pub booted_after: Option<Duration>,
}

impl Ended {
    /// The last part of the first message that starts with `prefix`.
    pub fn message(&self, prefix: &str) -> Option<&str> {
        self.machine.lines().find_map(|line| line.strip_prefix("machine: ")?.strip_prefix(prefix))
    }

    /// Whether the machine compared the firmware's page ledger with the RMP, and found them to agree.
    pub fn ledger_agrees(&self) -> Result<(), String> {
        match self.message(LEDGER_COMPARED) {
            Some(text) if text.starts_with("agrees with the RMP") => Ok(()),
            Some(text) => Err(format!("{LEDGER_COMPARED}{text}")),
            None => Err("the machine did not compare the ledger with the RMP".to_owned()),
        }
    }
}

/// How the machine's line about the ledger begins.
const LEDGER_COMPARED: &str = "the firmware's ledger ";

/// Runs an image. Serial port and messages go to `LOGS/NAME.serial` and `LOGS/NAME.machine`, and stay there.
pub fn run(
    built: &Built,
    logs: &Path,
    name: &str,
    image: &Path,
    options: &[String],
    limit_seconds: u64,
) -> io::Result<Ended> {
    let serial = logs.join(format!("{name}.serial"));
    let messages = logs.join(format!("{name}.machine"));
    let mut command = Command::new(built.tool("snp-emulator"));
    command
        .arg("run")
        .arg(image)
        .arg("--end-with-parent")
        .args(["--claims", "vouchsafe", "--timeout", &limit_seconds.to_string()])
        .args(options)
        .stdin(Stdio::null())
        .stdout(File::create(&serial)?)
        .stderr(Stdio::piped());
    let start = Instant::now();
    let mut child = command.spawn()?;
    let guard = end_after(&child, Duration::from_secs(limit_seconds + GRACE_SECONDS));
    let mut machine = String::new();
    let mut booted_after = None;
    for line in child.stderr.take().into_iter().flat_map(|errors| BufReader::new(errors).split(b'\n')) {
        let line = String::from_utf8_lossy(&line?).into_owned();
        if line.starts_with(BOOTED) {
            booted_after = booted_after.or(Some(start.elapsed()));
        }
        machine.push_str(&line);
        machine.push('\n');
    }
    let status = child.wait()?.code();
    // The thread ends when nobody holds the other end any more.
    drop(guard);
    let took = start.elapsed();
    fs::write(messages, &machine)?;
    let serial = String::from_utf8_lossy(&fs::read(&serial)?).into_owned();
    Ok(Ended { status, serial, machine, took, booted_after })
}

/// Ends the program, should its own time limit fail, unless what this returns is dropped before. It takes QEMU along.
fn end_after(child: &Child, limit: Duration) -> Sender<()> {
    let (guard, ended) = channel();
    let process = Pid::from_child(child);
    std::thread::spawn(move || {
        if ended.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            let _gone_already = kill_process(process, Signal::TERM);
        }
    });
    guard
}
