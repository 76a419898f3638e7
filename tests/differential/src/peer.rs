//! The TPMs: our engine in this process, and swtpm (libtpms) behind its sockets.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tpm::{CommitFailure, EntropyFailure, Platform, StateChange, Tpm};
use tpm_simulator::machine::{Engine, header_only};
use tpm_simulator::platform;
use tpm_simulator::random::Source;
use tpm_simulator::wire::BUFFER_BYTES;

/// A TPM that answers commands and can be reset.
pub trait Peer {
    /// Answers one command at locality 0.
    fn execute(&mut self, command: &[u8]) -> io::Result<Vec<u8>>;
    /// Takes the power away for a moment.
    fn reset(&mut self) -> io::Result<()>;
}

/// Our engine.
pub struct Ours {
    engine: Box<dyn Engine>,
}

impl Ours {
    /// A new TPM whose entropy comes from a seed.
    pub fn new(seed: u64) -> Result<Self, platform::BuildError> {
        let engine = platform::build(Source::seeded(&seed.to_be_bytes()), None, None)?;
        Ok(Self { engine: Box::new(engine) })
    }
}

impl Peer for Ours {
    fn execute(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        let mut response = vec![0; BUFFER_BYTES];
        let length = self.engine.execute(0, command, &mut response);
        response.truncate(length);
        Ok(response)
    }

    fn reset(&mut self) -> io::Result<()> {
        self.engine.power_on();
        Ok(())
    }
}

/// Our engine on a machine that does the same in every run: seeded entropy, a clock that steps, commits that can be refused.
pub struct Recorded {
    tpm: Tpm<SteppingMachine>,
}

struct SteppingMachine {
    source: Source,
    milliseconds: u64,
    refuses_commits: bool,
}

/// How far the clock goes on each time that somebody looks at it.
const STEP_MILLISECONDS: u64 = 7;

impl Platform for SteppingMachine {
    fn entropy(&mut self, bytes: &mut [u8]) -> Result<(), EntropyFailure> {
        self.source.fill(bytes).map_err(|_seeded_sources_never_fail| EntropyFailure)
    }

    fn monotonic_milliseconds(&mut self) -> u64 {
        self.milliseconds += STEP_MILLISECONDS;
        self.milliseconds
    }

    fn commit(&mut self, _: &[StateChange<'_>]) -> Result<(), CommitFailure> {
        if self.refuses_commits { Err(CommitFailure) } else { Ok(()) }
    }
}

impl Recorded {
    /// A new TPM whose entropy comes from a seed.
    pub fn new(seed: u64) -> Result<Self, String> {
        let source = Source::seeded(&seed.to_be_bytes());
        let machine = SteppingMachine { source, milliseconds: 0, refuses_commits: false };
        let tpm = Tpm::manufacture(machine).map_err(|error| format!("manufacturing failed: {error:?}"))?;
        Ok(Self { tpm })
    }

    /// Answers one command.
    pub fn execute_at(&mut self, locality: u8, command: &[u8]) -> Vec<u8> {
        let mut response = vec![0; BUFFER_BYTES];
        let length = self.tpm.execute(locality, command, &mut response);
        response.truncate(length);
        response
    }

    /// Takes the power away for a moment.
    pub fn power_on(&mut self) {
        self.tpm.power_on();
    }

    /// Says whether commits are refused from now on.
    pub fn refuse_commits(&mut self, refuse: bool) {
        self.tpm.platform_mut().refuses_commits = refuse;
    }
}

/// A swtpm of its own, which ends with this value.
pub struct Swtpm {
    process: Process,
    commands: UnixStream,
    control: UnixStream,
    folder: PathBuf,
    resets: usize,
}

/// A process that ends with this value.
struct Process(Child);

/// swtpm keeps a file open for each reset; with the usual limit of 1,024 files it must be started anew before that.
const MOST_RESETS: usize = 200;

/// How long swtpm may take to start, and to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// CMD_INIT of swtpm's control channel.
const CONTROL_INIT: [u8; 8] = [0, 0, 0, 2, 0, 0, 0, 0];

impl Swtpm {
    /// Starts swtpm with a new TPM in `folder`.
    pub fn start(folder: &Path) -> io::Result<Self> {
        let (commands, control): (PathBuf, PathBuf) = (folder.join("commands"), folder.join("control"));
        // One that was there before leaves its sockets behind.
        for socket in [&commands, &control] {
            match std::fs::remove_file(socket) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let process = Command::new("swtpm")
            .args(["socket", "--tpm2", "--flags", "not-need-init"])
            .arg(format!("--tpmstate=dir={}", folder.display()))
            .arg(format!("--server=type=unixio,path={}", commands.display()))
            .arg(format!("--ctrl=type=unixio,path={}", control.display()))
            .stdin(Stdio::null())
            .spawn()?;
        let process = Process(process);
        let mut started = Self {
            process,
            commands: connect(&commands)?,
            control: connect(&control)?,
            folder: folder.to_owned(),
            resets: 0,
        };
        started.commands.set_read_timeout(Some(PATIENCE))?;
        started.control.set_read_timeout(Some(PATIENCE))?;
        started.reset()?;
        Ok(started)
    }
}

/// Connects to a socket that a process is about to make.
fn connect(path: &Path) -> io::Result<UnixStream> {
    let started = Instant::now();
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return Ok(stream),
            Err(error) if started.elapsed() > PATIENCE => return Err(error),
            Err(_not_yet) => std::thread::yield_now(),
        }
    }
}

impl Peer for Swtpm {
    fn execute(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        self.commands.write_all(command)?;
        let mut response = header_only(0).to_vec();
        self.commands.read_exact(&mut response)?;
        let size = u32::from_be_bytes([response[2], response[3], response[4], response[5]]) as usize;
        let header_bytes = response.len();
        response.resize(size.max(header_bytes), 0);
        self.commands.read_exact(&mut response[header_bytes..])?;
        Ok(response)
    }

    fn reset(&mut self) -> io::Result<()> {
        self.resets += 1;
        if self.resets > MOST_RESETS {
            self.process.end();
            *self = Self::start(&self.folder.clone())?;
            return Ok(());
        }
        self.control.write_all(&CONTROL_INIT)?;
        let mut result = [0; 4];
        self.control.read_exact(&mut result)?;
        match u32::from_be_bytes(result) {
            0 => Ok(()),
            code => Err(io::Error::other(format!("swtpm's control channel answered {code:#x}"))),
        }
    }
}

impl Process {
    fn end(&mut self) {
        let _gone_already = self.0.kill();
        let _gone_already = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}
