//! The command line.

use clap::{Parser, ValueEnum};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use tpm_simulator::platform::Bank;

const EXAMPLES: &str = "\
Examples:
  tpm-simulator --port 2321 --startup
  tpm2_getrandom --tcti mssim:port=2321 8 --hex          tpm2-tools, the protocol of the reference simulator
  tpm2_getrandom --tcti swtpm:port=2323 8 --hex          tpm2-tools, swtpm's protocol
  tpm-simulator --state tpm.state                        a TPM that keeps its keys
  swtpm_ioctl --tcp :2324 -i                             reset it

Ports, with --port P:
  P      commands, mssim and raw framing       P+2    commands, the same
  P+1    mssim's platform switches             P+3    swtpm's control channel (--control-port C: C-1 and C)

Exit status:
  0  ended by SIGINT, SIGTERM or a request
  1  the engine failed
  2  bad usage, a port in use, or state that cannot be read or written";

/// The program's arguments.
#[derive(Parser)]
#[command(name = "tpm-simulator", version, about = "A TPM 2.0 on sockets", after_help = EXAMPLES)]
pub struct Arguments {
    /// Port for commands; the next is for mssim's platform switches. 0 takes free ones, which the program's first lines name
    #[arg(long, default_value_t = 2321, value_parser = clap::value_parser!(u16).range(..=65532))]
    pub port: u16,
    /// Port of swtpm's control channel, with commands on the port before it [default: PORT + 3]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(2..))]
    pub control_port: Option<u16>,
    /// Address to listen on. There is no access control: whoever connects has the TPM, and its platform hierarchy
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub address: IpAddr,
    /// Keep the TPM's state in this file; without it the TPM is new at every start
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// Take all entropy from this file's bytes, so that runs repeat. Only for tests: the keys are no secrets
    #[arg(long, value_name = "FILE")]
    pub seed_from: Option<PathBuf>,
    /// The banks of PCRs that a new TPM has [default: sha256,sha384]
    #[arg(long, value_name = "BANKS", value_delimiter = ',', value_enum)]
    pub pcr_banks: Option<Vec<Bank>>,
    /// Run TPM2_Startup(CLEAR) at start and after each reset, as firmware would
    #[arg(long)]
    pub startup: bool,
    /// Write lines to stderr
    #[arg(long, value_enum, default_value_t = Log::None)]
    pub log: Log,
    /// Serve a TPM device of Linux instead of ports; needs /dev/vtpmx and root
    #[arg(long)]
    pub vtpm_proxy: bool,
    /// The program's second start under --vtpm-proxy
    #[arg(long, hide = true)]
    pub vtpm_on_stdin: bool,
}

/// What is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Log {
    /// Nothing
    None,
    /// A line for each command: its name, sizes and response code
    Commands,
    /// The same, and a line with each command's bytes
    Bytes,
}
