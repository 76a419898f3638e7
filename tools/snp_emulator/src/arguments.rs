//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use host_profiles::cpuid::{MODELS, Model};
use host_profiles::{Host, PROFILES};
use model::attack::Chosen;
use model::psp::CpuModel;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  snp-emulator run target/images/payload.igvm
  snp-emulator run image.igvm --smp 4 --memory 2G --timeout 120
  snp-emulator run image.igvm --icount                  deterministic; 1 TSC tick = 1 instruction
  snp-emulator run image.igvm --trace exits.txt --symbols kernel.elf
  snp-emulator run image.igvm -- -device virtio-rng-pci

The guest's serial port is stdout; what the machine says is on stderr, each line starting with \"machine: \".

Exit status:
  0  the guest finished well          3  the guest terminated itself
  1  the guest reported failure,      4  strict violation: reliance on what hardware forbids
     or died (triple fault)           5  time limit
  2  bad usage or input               6  an attack (--attack) took VMPL0
                                      70 the machine failed, or QEMU is none that it can stand on
                                     130 ended by a signal, such as Ctrl-C";

/// The program's arguments.
#[derive(Parser)]
#[command(name = "snp-emulator", version, about = "Runs SEV-SNP firmware images on an emulated SNP machine")]
pub struct Command {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What to do.
#[derive(Subcommand)]
pub enum Action {
    /// Run an image until its guest ends
    #[command(after_help = EXAMPLES)]
    Run(RunArguments),
}

/// How to run an image.
#[derive(Args)]
pub struct RunArguments {
    /// The IGVM image
    #[arg(required_unless_present = "attack")]
    pub image: Option<PathBuf>,
    /// vCPUs of the guest
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub smp: u32,
    /// Memory of the guest, with a suffix K, M or G
    #[arg(long, default_value = "1G", value_parser = parse_size)]
    pub memory: u64,
    /// Count instructions: deterministic, and slower
    #[arg(long)]
    pub icount: bool,
    /// Write a line for every exit to this file
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Write what ran when to this file, as a trace that Perfetto and Chrome open
    #[arg(long, value_name = "FILE")]
    pub timeline: Option<PathBuf>,
    /// Write how the run ended, its digest and its counts to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// End the run at the first reliance on what hardware forbids (this is the default)
    #[arg(long, conflicts_with = "lenient")]
    pub strict: bool,
    /// Report such reliance and go on where that is possible
    #[arg(long)]
    pub lenient: bool,
    /// Judge the run by the claims of a project's threat model as well; a broken one always ends the run
    #[arg(long, value_enum, value_name = "PROJECT")]
    pub claims: Option<Claims>,
    /// Seconds after which the run is ended; 0 for no limit
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
    pub timeout: u64,
    /// A file for the guest's fw_cfg device
    #[arg(long = "fw-cfg", value_name = "name=NAME,file=FILE")]
    pub fw_cfg: Vec<String>,
    /// The host changes a bit in the first 4 KiB of this fw_cfg file between the first and the second time that the guest reads them
    #[arg(long, value_name = "NAME", value_parser = parse_file_name)]
    pub changing_file: Option<String>,
    /// A kernel (bzImage) for guest firmware that looks for one, as QEMU's -kernel
    #[arg(long, value_name = "BZIMAGE")]
    pub kernel: Option<PathBuf>,
    /// Its initial RAM disk, as QEMU's -initrd
    #[arg(long, value_name = "FILE", requires = "kernel")]
    pub initrd: Option<PathBuf>,
    /// Its command line, as QEMU's -append
    #[arg(long, value_name = "TEXT", requires = "kernel", allow_hyphen_values = true)]
    pub append: Option<String>,
    /// The host that the machine is
    #[arg(long, default_value = "kvm-planes", value_name = "HOST", value_parser = parse_host)]
    pub host: Host,
    /// The processor model whose CPUID the guest sees, as QEMU's -cpu has it
    #[arg(long, default_value = "EPYC-Milan", value_name = "MODEL", value_parser = parse_model)]
    pub cpu: Model,
    /// All of the model's CPUID, or only what the emulated processor executes
    #[arg(long, value_enum, default_value_t = CpuidRows::Runnable, value_name = "ROWS")]
    pub cpuid: CpuidRows,
    /// The guest policy, as QEMU's sev-snp-guest has it: hosts on QEMU take it from here and not from the image [default: 0x30000 there]
    #[arg(long, value_name = "BITS", value_parser = parse_policy)]
    pub policy: Option<u64>,
    /// Every N-th time that a level below VMPL0 would run, the host runs VMPL0 instead, which nobody called; 0 for never
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub vmpl0_events: u64,
    /// Memory starts shared: the guest must ask for each page before it validates it
    #[arg(long)]
    pub memory_shared: bool,
    /// Back guest memory with 4 KiB pages only
    #[arg(long)]
    pub small_pages: bool,
    /// What the host does on purpose; 'list' prints all attacks and what can be set. The run ends with status 0 if VMPL0 held, with 6
    /// if it was lost
    #[arg(long, value_name = "NAME[,KEY=VALUE...]", value_parser = parse_attack)]
    pub attack: Option<String>,
    /// What becomes of INVLPGB and TLBSYNC
    #[arg(long, value_enum, default_value_t = Invlpgb::Shown, value_name = "HOW")]
    pub invlpgb: Invlpgb,
    /// The processor that the machine's reports and certificates name
    #[arg(long, value_enum, default_value_t = CpuModelName::Milan, value_name = "MODEL")]
    pub cpu_model: CpuModelName,
    /// The kind of key that signs reports
    #[arg(long, value_enum, default_value_t = EndorsementKind::Vcek, value_name = "KEY")]
    pub endorsement: EndorsementKind,
    /// Folder that keeps keys and certificates of the machine's security processor; what is missing is made
    #[arg(long, value_name = "DIR")]
    pub psp_keys: Option<PathBuf>,
    /// The host has no certificates for the guest
    #[arg(long)]
    pub no_certificates: bool,
    /// What the host writes into every report, up to 32 bytes
    #[arg(long, default_value = "", value_name = "HEX", value_parser = parse_host_data)]
    pub host_data: HostData,
    /// The host is too busy for every N-th guest message
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub throttle: u64,
    /// Leave up to N resets of the guest to firmware that starts its guest again; without, a reset ends the run, as a VM of this kind
    /// can only be launched anew
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub resets: u64,
    /// Launch the VM anew after up to N resets of its guest, as QEMU 11 does: new keys, empty memory, the same digest; without, a reset
    /// ends the run, as QEMU's -no-reboot has it
    #[arg(long, default_value_t = 0, value_name = "N", conflicts_with = "resets")]
    pub reboots: u64,
    /// Name addresses in messages by the symbols of this ELF; may be given several times
    #[arg(long, value_name = "ELF")]
    pub symbols: Vec<PathBuf>,
    /// Connect the terminal to the guest's serial port; Ctrl-A X ends the run
    #[arg(long)]
    pub interactive: bool,
    /// End when the program that started this one ends
    #[arg(long)]
    pub end_with_parent: bool,
    /// The QEMU to use
    #[arg(long, default_value = "qemu-system-x86_64", value_name = "PROGRAM")]
    pub qemu: PathBuf,
    /// Further arguments for QEMU
    #[arg(last = true, value_name = "QEMU ARGUMENTS")]
    pub qemu_arguments: Vec<String>,
}

/// What becomes of INVLPGB and TLBSYNC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Invlpgb {
    /// CPUID shows them, and they execute
    Shown,
    /// CPUID does not show them, and they execute: every KVM host
    Hidden,
    /// CPUID does not show them, and they are invalid opcodes
    Missing,
}

impl Invlpgb {
    /// As in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Shown => "shown",
            Self::Hidden => "hidden",
            Self::Missing => "missing",
        }
    }
}

/// A processor's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CpuModelName {
    /// Zen 3; reports of version 2
    Milan,
    /// Zen 4; reports of version 3
    Genoa,
    /// Zen 5; reports of version 5
    Turin,
}

impl CpuModelName {
    /// The processor.
    pub fn model(self) -> CpuModel {
        match self {
            Self::Milan => CpuModel::Milan,
            Self::Genoa => CpuModel::Genoa,
            Self::Turin => CpuModel::Turin,
        }
    }
}

/// What of the processor's CPUID a guest sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CpuidRows {
    /// As QEMU and KVM give it: for firmware that looks and does not use, as XSAVEC and others cannot be executed
    Exact,
    /// Less what the emulated processor lacks
    Runnable,
}

impl CpuidRows {
    /// As in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Runnable => "runnable",
        }
    }
}

/// Whose claims a run is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Claims {
    /// This project's: pages are zeroed before they are granted, translations are flushed before pages change hands, VMPL0's own
    /// memory stays its own, and its ledger agrees with the RMP
    Vouchsafe,
}

/// What signs reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EndorsementKind {
    /// The chip's own key
    Vcek,
    /// The cloud's key
    Vlek,
}

impl EndorsementKind {
    /// As in settings and file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vcek => "vcek",
            Self::Vlek => "vlek",
        }
    }
}

/// The host's words in a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostData(pub [u8; 32]);

fn parse_policy(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix("0x").ok_or("write it in hexadecimal, as 0x30000")?;
    u64::from_str_radix(digits, 16).map_err(|_| format!("'{text}' is no 64-bit number"))
}

fn parse_model(text: &str) -> Result<Model, String> {
    Model::from_name(text).ok_or_else(|| {
        let names: Vec<&str> = MODELS.iter().map(|model| model.name()).collect();
        format!("'{text}' is no model; models are {}", names.join(", "))
    })
}

fn parse_host(text: &str) -> Result<Host, String> {
    Host::from_name(text).ok_or_else(|| {
        let names: Vec<&str> = PROFILES.iter().map(|profile| profile.name).collect();
        format!("'{text}' is no host; hosts are {}", names.join(", "))
    })
}

/// In place of an attack: print the table.
pub const LIST_ATTACKS: &str = "list";

fn parse_attack(text: &str) -> Result<String, String> {
    if text != LIST_ATTACKS {
        Chosen::parse(text).map_err(|error| error.to_string())?;
    }
    Ok(text.to_owned())
}

/// A file's name goes to the monitor on a line of its own.
fn parse_file_name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err("a name of a fw_cfg file is needed".into());
    }
    Ok(text.to_owned())
}

fn parse_host_data(text: &str) -> Result<HostData, String> {
    let wrong = || format!("'{text}' is not up to 32 bytes in hexadecimal");
    let digits: Option<Vec<u8>> = text.chars().map(|digit| Some(digit.to_digit(16)? as u8)).collect();
    let digits = digits.filter(|digits| digits.len() <= 64 && digits.len() % 2 == 0).ok_or_else(wrong)?;
    let mut data = [0; 32];
    for (byte, pair) in data.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair[0] << 4 | pair[1];
    }
    Ok(HostData(data))
}

/// Smallest memory that a machine can have: the image's region and something for a guest.
const LEAST_MEMORY: u64 = 64 << 20;
/// Largest: what the monitor maps, less its own part.
const MOST_MEMORY: u64 = 256 << 30;
const LARGE_PAGE: u64 = 2 << 20;

fn parse_size(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 10),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 20),
        Some(b'G' | b'g') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let number: u64 =
        digits.parse().map_err(|_| format!("'{text}' is no size; write something like 512M or 2G"))?;
    let bytes = number.checked_mul(1 << shift).ok_or_else(|| format!("{text} is too large"))?;
    if !(LEAST_MEMORY..=MOST_MEMORY).contains(&bytes) || !bytes.is_multiple_of(LARGE_PAGE) {
        return Err(format!("{text} is not between 64M and 256G in steps of 2M"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_suffixes_and_limits() {
        assert_eq!(parse_size("1G"), Ok(1 << 30));
        assert_eq!(parse_size("256M"), Ok(256 << 20));
        assert_eq!(parse_size("1048576K"), Ok(1 << 30));
        for bad in ["", "G", "12", "63M", "65M", "257G", "-1G", "1T", "99999999999G"] {
            assert!(parse_size(bad).is_err(), "{bad} was accepted");
        }
    }

    #[test]
    fn host_data_is_padded_with_zeros() {
        let mut expected = [0; 32];
        expected[..2].copy_from_slice(&[0xAB, 0x01]);
        assert_eq!(parse_host_data("ab01"), Ok(HostData(expected)));
        assert_eq!(parse_host_data(""), Ok(HostData([0; 32])));
        for bad in ["a", "xy", &"00".repeat(33)] {
            assert!(parse_host_data(bad).is_err(), "{bad} was accepted");
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Command::command().debug_assert();
    }
}
