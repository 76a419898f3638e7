//! A raw connection to a TPM, and the two TPMs to connect to.

use crate::draft::{Authorization, Draft, HEADER_BYTES, Piece};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tpm_simulator::command_log::CommandLog;
use tpm_simulator::machine::Machine;
use tpm_simulator::platform;
use tpm_simulator::random::Source;
use tpm_simulator::server::{self, Service};

/// Why nothing could be timed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The connection broke.
    #[error("{0}")]
    Stream(#[from] io::Error),
    /// A command was refused.
    #[error("command {command:#x} answers {code:#x}")]
    Refused {
        /// TPM_CC.
        command: u32,
        /// TPM_RC.
        code: u32,
    },
    /// A response is shorter than what it should hold.
    #[error("a response is too short")]
    Short,
    /// One of these, with where it happened.
    #[error("{case} of {tpm}: {failure}")]
    Of {
        /// The figure.
        case: &'static str,
        /// Which TPM.
        tpm: &'static str,
        /// What happened.
        failure: Box<Failure>,
    },
}

impl Failure {
    /// Says where it happened.
    pub fn of(self, case: &'static str, tpm: &'static str) -> Self {
        Self::Of { case, tpm, failure: Box::new(self) }
    }
}

/// A connection.
pub struct Client {
    stream: TcpStream,
    /// Handles of keys that several samples use, by what they are called.
    pub keys: Vec<(&'static str, u32)>,
}

/// TPM_RC_RETRY and TPM_RC_TESTING: the TPM wants to be asked again.
const AGAIN: [u32; 2] = [0x922, 0x90a];

impl Client {
    fn connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self { stream, keys: Vec::new() })
    }

    /// Runs a command; gives the parameters of its response, with the handle before them, and the time.
    pub fn run(&mut self, draft: &Draft) -> Result<(Vec<u8>, Duration), Failure> {
        let command = draft.fill(&[]);
        loop {
            let started = Instant::now();
            let response = self.exchange(&command)?;
            let time = started.elapsed();
            match crate::answers::code(&response) {
                Some(0) => return Ok((response.get(HEADER_BYTES..).unwrap_or_default().to_vec(), time)),
                Some(code) if AGAIN.contains(&code) => {}
                code => return Err(Failure::Refused { command: draft.code, code: code.unwrap_or_default() }),
            }
        }
    }

    fn exchange(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        self.stream.write_all(command)?;
        let mut response = vec![0; HEADER_BYTES];
        self.stream.read_exact(&mut response)?;
        let size = u32::from_be_bytes([response[2], response[3], response[4], response[5]]) as usize;
        response.resize(size.max(HEADER_BYTES), 0);
        self.stream.read_exact(&mut response[HEADER_BYTES..])?;
        Ok(response)
    }
}

/// A command with passwords that are empty, one for each of the first `authorized` handles.
pub fn command(code: u32, handles: &[u32], authorized: usize, parameters: Vec<u8>) -> Draft {
    let password = Authorization { session: Piece::u32(0x4000_0009), attributes: 1, hmac: Vec::new() };
    Draft {
        code,
        handles: handles.iter().map(|handle| Piece::u32(*handle)).collect(),
        authorizations: vec![password; authorized],
        parameters: vec![Piece::Bytes(parameters)],
    }
}

/// TPM2_Startup(CLEAR).
fn startup(client: &mut Client) -> Result<(), Failure> {
    client.run(&command(0x144, &[], 0, vec![0, 0])).map(drop)
}

/// Our engine behind a port of this process.
pub fn ours(folder: &Path) -> Result<Client, Box<dyn std::error::Error>> {
    let engine = platform::build(Source::System, Some(&folder.join("ours")), None)?;
    let listener = server::listen(Ipv4Addr::LOCALHOST.into(), 0)?;
    let port = listener.local_addr()?.port();
    let (endings, _kept_by_nobody) = channel();
    let machine = Machine::new(engine, CommandLog::silent(), false);
    server::serve(listener, Service::Commands, &Arc::new(Mutex::new(machine)), &endings);
    let mut client = Client::connect(port)?;
    startup(&mut client)?;
    Ok(client)
}

/// A swtpm that ends with this value.
pub struct Swtpm(Child);

impl Drop for Swtpm {
    fn drop(&mut self) {
        let _gone_already = self.0.kill();
        let _gone_already = self.0.wait();
    }
}

/// swtpm behind a port of its own.
pub fn swtpm(folder: &Path) -> Result<(Swtpm, Client), Box<dyn std::error::Error>> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let child = Command::new("swtpm")
        .args(["socket", "--tpm2", "--flags", "not-need-init"])
        .arg(format!("--tpmstate=dir={}", folder.display()))
        .arg(format!("--server=type=tcp,port={port}"))
        .arg(format!("--ctrl=type=unixio,path={}", folder.join("control").display()))
        .stdin(Stdio::null())
        .spawn()
        .map_err(|error| format!("cannot start swtpm: {error}; install it with tools/setup/need.sh swtpm"))?;
    let swtpm = Swtpm(child);
    let started = Instant::now();
    let mut client = loop {
        match Client::connect(port) {
            Ok(client) => break client,
            Err(error) if started.elapsed() > Duration::from_secs(10) => return Err(error.into()),
            Err(_not_yet) => std::thread::yield_now(),
        }
    };
    startup(&mut client)?;
    Ok((swtpm, client))
}
