//! One run: QEMU as a child, its console and control sockets, the time limit.

use crate::arguments::{Claims, RunArguments};
use crate::plan::Launch;
use crate::platform::{self, Platform, PlatformError};
use crate::qemu::{self, LEAST_VERSION, MemoryLayout, Paths};
use crate::report::{Ending, Report};
use crate::signals::EndedBySignal;
use crate::symbols::Symbols;
use crate::timeline::Timeline;
use host_profiles::Host;
use host_profiles::contract::Reset;
use igvm::launch::LaunchError;
use igvm::show::hex;
use model::attack::Chosen;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// The monitor, put in by the build script.
const MONITOR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/monitor.elf"));
/// How long the machine has to say where its vCPUs are before it is stopped.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How long QEMU has to connect after its start.
const CONNECT: Duration = Duration::from_secs(30);
/// What QEMU says about every machine of this kind.
const NOISE: [&str; 2] =
    ["TCG doesn't support requested feature", "not a multiple of 1G; possible bad performance"];

/// Why a run could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A file of the user's.
    #[error("{0}: {1}")]
    File(String, std::io::Error),
    /// Only `--attack list` needs none.
    #[error("which image? Only --attack list runs without one")]
    NoImage,
    /// An attack on a vCPU that is not there.
    #[error("the attack needs vCPU {0}: add --smp {1} or more")]
    NoVcpu(u64, u64),
    /// An ELF for symbols.
    #[error("{0}: {1}")]
    Symbols(String, String),
    /// The image.
    #[error("the image cannot be launched: {0}")]
    Image(LaunchError),
    /// Built without the monitor.
    #[error("this snp-emulator was built without its monitor; build it with `make`")]
    NoMonitor,
    /// QEMU does not start.
    #[error("{0}: {1}; install QEMU 9.0 or newer (qemu-system-x86), or name one with --qemu")]
    NoQemu(String, std::io::Error),
    /// QEMU is too old.
    #[error("{0} says it is '{1}'; QEMU 9.0 or newer is needed (on Debian 12 from bookworm-backports)")]
    OldQemu(String, String),
    /// The security processor's keys.
    #[error("the machine's security processor: {0}")]
    Platform(#[from] PlatformError),
    /// A convention that the host does not have.
    #[error(
        "the host {0} leaves no reset to VMPL0, and no host that exists does; --resets needs --host plain"
    )]
    NoResets(&'static str),
    /// Temporary files or sockets.
    #[error("cannot set up the run: {0}")]
    Setup(#[from] std::io::Error),
    /// QEMU ended before the monitor spoke.
    #[error("QEMU ended at once: {0}")]
    QemuEnded(String),
}

/// A path as it stands in messages.
pub fn name(path: &Path) -> String {
    path.display().to_string()
}

/// Runs a launch plan, again after a reset where that is asked for; returns the program's exit status.
pub fn run(arguments: &RunArguments, plan: &Launch) -> Result<u8, RunError> {
    let mut left = arguments.reboots;
    loop {
        let (ending, was_reset) = launch(arguments, plan)?;
        match left.checked_sub(1).filter(|_| was_reset && ending == Ending::Finished) {
            Some(fewer) => left = fewer,
            None => return Ok(ending.status()),
        }
    }
}

/// Launches a machine with new keys and empty memory, and runs it; how it ended, and whether that was a reset.
fn launch(arguments: &RunArguments, launch: &Launch) -> Result<(Ending, bool), RunError> {
    if MONITOR.is_empty() {
        return Err(RunError::NoMonitor);
    }
    let chosen = arguments.attack.as_deref().and_then(|text| Chosen::parse(text).ok());
    if let Some(vcpu) = chosen.and_then(|chosen| chosen.value("vcpu"))
        && vcpu >= arguments.smp.into()
    {
        return Err(RunError::NoVcpu(vcpu, vcpu.saturating_add(1)));
    }
    let host = arguments.host.profile();
    if arguments.resets != 0 && host.contract.reset != Reset::LeftToVmpl0 {
        return Err(RunError::NoResets(host.name));
    }
    let qemu = check_qemu(&arguments.qemu)?;
    let symbols =
        Symbols::read(&arguments.symbols).map_err(|(path, error)| RunError::Symbols(name(&path), error))?;
    let trace = output(arguments.trace.as_deref())?;
    let timeline = output(arguments.timeline.as_deref())?.map(Timeline::new);
    let folder = tempfile::Builder::new().prefix("snp-emulator").tempdir()?;
    let file = |name: &str| folder.path().join(name);
    let (monitor, settings, plan_file) = (file("monitor.elf"), file("settings"), file("plan"));
    let certificates = file("certificates");
    let (console, control) = (file("console"), file("control"));
    let memory = MemoryLayout::new(arguments.memory);
    let platform = platform::platform(arguments)?;
    std::fs::write(&monitor, MONITOR)?;
    std::fs::write(&plan_file, &launch.commands)?;
    std::fs::write(&settings, settings_text(arguments, &memory, launch, &platform, symbols.ledger))?;
    std::fs::write(&certificates, &platform.certificates)?;
    let listeners = (UnixListener::bind(&console)?, UnixListener::bind(&control)?);
    let paths = Paths {
        monitor: &monitor,
        settings: &settings,
        plan: &plan_file,
        certificates: &certificates,
        console: &console,
        control: &control,
    };
    let mut command = qemu::command(arguments, &memory, &paths);
    command.stdin(if arguments.interactive { Stdio::inherit() } else { Stdio::null() });
    command.stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| RunError::NoQemu(name(&arguments.qemu), error))?;
    let signals = EndedBySignal::watch(&child)?;
    let errors = child.stderr.take().map(forward_errors);
    let (lines, qmp) = match connect(&listeners, &mut child) {
        Ok(connected) => connected,
        Err(error) => {
            let _ = child.kill();
            if signals.happened() {
                return Ok((Ending::Interrupted, false));
            }
            let text = errors.and_then(|thread| thread.join().ok()).unwrap_or_default();
            return Err(error.unwrap_or(RunError::QemuEnded(text)));
        }
    };
    let mut report = Report::new(std::io::stderr(), trace, symbols, qemu);
    report.timeline = timeline;
    report.start(arguments.smp, arguments.memory)?;
    let limit = (arguments.timeout > 0).then(|| Duration::from_secs(arguments.timeout));
    let ending = watch(&mut report, &lines, qmp, limit)?;
    end(&mut child, ending == Some(Ending::TimeLimit));
    let ending = ending.filter(|_| !signals.happened()).unwrap_or(if signals.happened() {
        Ending::Interrupted
    } else if arguments.interactive {
        Ending::Left
    } else {
        Ending::Broken
    });
    report.close(ending)?;
    if let Some(path) = &arguments.json {
        let text = format!("{:#}\n", report.json(ending));
        std::fs::write(path, text).map_err(|error| RunError::File(name(path), error))?;
    }
    Ok((ending, report.was_reset))
}

/// A file that the run writes as it goes.
fn output(path: Option<&Path>) -> Result<Option<BufWriter<File>>, RunError> {
    let create = |path: &Path| File::create(path).map_err(|error| RunError::File(name(path), error));
    path.map(create).transpose().map(|file| file.map(BufWriter::new))
}

/// The first line of QEMU's version, if that is enough.
fn check_qemu(program: &Path) -> Result<String, RunError> {
    let output = std::process::Command::new(program).arg("--version").output();
    let output = output.map_err(|error| RunError::NoQemu(name(program), error))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let first = text.lines().next().unwrap_or("").to_owned();
    match qemu::version(&first) {
        Some(version) if version >= LEAST_VERSION => Ok(first),
        _ => Err(RunError::OldQemu(name(program), first)),
    }
}

/// The monitor's settings, as `monitor/src/settings.rs` reads them.
fn settings_text(
    arguments: &RunArguments,
    memory: &MemoryLayout,
    launch: &Launch,
    platform: &Platform,
    ledger: Option<u64>,
) -> String {
    let ranges = |ranges: &[(u64, u64)]| {
        let texts: Vec<String> = ranges.iter().map(|(start, end)| format!("{start:x}-{end:x}")).collect();
        texts.join(",")
    };
    let host = arguments.host.profile();
    let flag = |value: bool| if value { "1" } else { "0" };
    let lines = [
        ("vcpus", arguments.smp.to_string()),
        ("ram", ranges(&memory.ram)),
        ("firmware", ranges(&launch.firmware)),
        ("ledger", format!("{:x}", ledger.unwrap_or(0))),
        ("changing_file", arguments.changing_file.clone().unwrap_or_default()),
        ("claims", flag(arguments.claims == Some(Claims::Vouchsafe)).into()),
        ("strict", flag(!arguments.lenient).into()),
        ("counted", flag(arguments.icount).into()),
        ("timed", flag(arguments.timeline.is_some()).into()),
        ("trace", flag(arguments.trace.is_some()).into()),
        ("host", host.name.into()),
        ("cpu", arguments.cpu.name().into()),
        ("cpuid", if host.host == Host::Plain { "filtered" } else { arguments.cpuid.name() }.into()),
        ("memory_is_shared", flag(arguments.memory_shared || host.loader.memory_is_shared).into()),
        ("vmpl0_events", arguments.vmpl0_events.to_string()),
        ("large_pages", flag(!arguments.small_pages).into()),
        ("seed", hex(&platform.seed)),
        ("cpu_model", platform.model.identity().name.into()),
        ("chip_id", hex(&platform.chip_id)),
        ("endorsement", platform.endorsement.name().into()),
        ("endorsement_key", hex(&platform.key)),
        ("host_data", hex(&arguments.host_data.0)),
        ("attack", arguments.attack.clone().unwrap_or_default()),
        ("invlpgb", arguments.invlpgb.name().into()),
        ("throttle", arguments.throttle.to_string()),
        ("resets", arguments.resets.to_string()),
    ];
    lines.iter().fold(String::new(), |mut text, (name, value)| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name}={value}");
        text
    })
}

type Connected = (Receiver<String>, UnixStream);

/// Waits for QEMU on both sockets; `Err(None)` if it ended instead.
fn connect(
    listeners: &(UnixListener, UnixListener),
    child: &mut Child,
) -> Result<Connected, Option<RunError>> {
    let console = accept(&listeners.0, child)?;
    let control = accept(&listeners.1, child)?;
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if sender.send(text).is_err() {
                return;
            }
        }
    });
    Ok((receiver, control))
}

fn accept(listener: &UnixListener, child: &mut Child) -> Result<UnixStream, Option<RunError>> {
    listener.set_nonblocking(true).map_err(|error| Some(error.into()))?;
    let start = Instant::now();
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).map_err(|error| Some(RunError::from(error)))?;
                return Ok(stream);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(Some(error.into())),
        }
        if matches!(child.try_wait(), Ok(Some(_)) | Err(_)) || start.elapsed() > CONNECT {
            return Err(None);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Passes QEMU's own messages on, without those that TCG prints for every run; returns them all at the end.
fn forward_errors(errors: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut kept = String::new();
        for line in BufReader::new(errors).lines().map_while(Result::ok) {
            if !NOISE.iter().any(|noise| line.contains(noise)) {
                eprintln!("machine: qemu: {line}");
                kept.push_str(&line);
                kept.push('\n');
            }
        }
        kept
    })
}

/// Reads until the monitor's verdict or the time limit; none if QEMU ended without one.
fn watch<W: Write, T: Write>(
    report: &mut Report<W, T>,
    lines: &Receiver<String>,
    mut control: UnixStream,
    limit: Option<Duration>,
) -> Result<Option<Ending>, RunError> {
    let start = Instant::now();
    loop {
        let left = limit.map(|limit| limit.saturating_sub(start.elapsed()));
        match lines.recv_timeout(left.unwrap_or(Duration::from_secs(3600))) {
            Ok(line) => report.line(&line)?,
            Err(RecvTimeoutError::Disconnected) => return Ok(report.ending),
            Err(RecvTimeoutError::Timeout) if limit.is_none() => {}
            Err(RecvTimeoutError::Timeout) => {
                report.line(&format!("log time limit of {} s reached", start.elapsed().as_secs()))?;
                last_words(report, lines, &mut control)?;
                return Ok(Some(Ending::TimeLimit));
            }
        }
    }
}

/// Asks every vCPU where it is (an NMI makes it leave the guest) and prints the answers, which end with a line `done`.
fn last_words<W: Write, T: Write>(
    report: &mut Report<W, T>,
    lines: &Receiver<String>,
    control: &mut UnixStream,
) -> Result<(), RunError> {
    // QMP answers are not awaited: what matters is what the monitor prints.
    let commands = b"{\"execute\":\"qmp_capabilities\"}\n{\"execute\":\"inject-nmi\"}\n";
    if control.write_all(commands).is_err() {
        return Ok(());
    }
    let end = Instant::now() + LAST_WORDS;
    while let Ok(line) = lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
        if line.trim() == "done" {
            break;
        }
        report.line(&line)?;
    }
    Ok(())
}

/// QEMU ends by itself after a verdict; if not, or if it shall not wait, it is stopped.
fn end(child: &mut Child, now: bool) {
    let start = Instant::now();
    while matches!(child.try_wait(), Ok(None)) {
        if now || start.elapsed() > LAST_WORDS {
            let _ = child.kill();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
