//! What the launcher asked for: lines `name=value` in the fw_cfg file `opt/snp-emulator/settings`.

use alloc::string::String;
use alloc::vec::Vec;
use host_profiles::cpuid::Model;
use host_profiles::{Host, Profile};
use model::attack::Chosen;
use model::cpuid::Policy;
use model::psp::{CpuModel, Endorsement, Setup};
use model::rmp::MemoryRange;
use snp_abi::report::SigningKey;

/// The file's name.
pub const FILE: &str = "opt/snp-emulator/settings";
/// The launch plan's name.
pub const PLAN_FILE: &str = "opt/snp-emulator/plan";
/// The host's certificate table; the file is missing if the host has none.
pub const CERTIFICATES_FILE: &str = "opt/snp-emulator/certificates";

const FOUR_GIB: u64 = 4 << 30;

/// What the host does with INVLPGB and TLBSYNC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invlpgb {
    /// CPUID shows them, and they execute.
    Shown,
    /// They execute, and CPUID does not show them: KVM.
    Hidden,
    /// They are #UD.
    Missing,
}

/// Settings of a run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// vCPUs of the guest.
    pub vcpus: usize,
    /// Guest memory.
    pub ram: Vec<MemoryRange>,
    /// Memory that the image claims for the firmware.
    pub firmware: Vec<MemoryRange>,
    /// Where our firmware says in its own memory where its page ledger is; 0 if that is not known.
    pub ledger: u64,
    /// The fw_cfg file that changes between two reads; empty for none.
    pub changing_file: String,
    /// The run is judged by the claims of our own threat model too.
    pub claims: bool,
    /// A violation ends the run.
    pub strict: bool,
    /// Ticks are instructions.
    pub is_counted: bool,
    /// The times of every exit are told.
    pub is_timed: bool,
    /// Every exit is written to the trace.
    pub trace: bool,
    /// The host that the machine is.
    pub host: &'static Profile,
    /// Whose CPUID answers the guest gets.
    pub cpuid: Policy,
    /// Memory starts shared.
    pub memory_is_shared: bool,
    /// Every so-manieth entry of a level below VMPL0 the host runs VMPL0 instead, which nobody called; 0 for never.
    pub vmpl0_events: u64,
    /// The host backs memory with 2 MiB pages.
    pub large_pages: bool,
    /// What the host does on purpose; none for a host that only serves.
    pub attack: Option<Chosen>,
    /// What the host does with INVLPGB.
    pub invlpgb: Invlpgb,
    /// Every so-manieth guest message is answered "busy"; 0 for none.
    pub throttle: u64,
    /// Resets of the guest that are still left to VMPL0; the next one ends the run. None if a reset always does.
    pub resets: Option<u64>,
}

/// What the security processor is made from.
pub fn platform(text: &str) -> Result<Setup, String> {
    let value = |name: &str| value(text, name);
    let bytes = |name: &str| unhex(value(name)?).ok_or_else(|| odd(name));
    let sized = |name: &str| -> Result<[u8; 64], String> { bytes(name)?.try_into().map_err(|_| odd(name)) };
    let kind = if value("endorsement")? == "vlek" { SigningKey::Vlek } else { SigningKey::Vcek };
    let key = Endorsement::new(kind, &bytes("endorsement_key")?);
    Ok(Setup {
        model: CpuModel::from_name(value("cpu_model")?).ok_or_else(|| odd("cpu_model"))?,
        seed: value("seed")?.as_bytes().to_vec(),
        chip_id: sized("chip_id")?,
        endorsement: key.ok_or_else(|| odd("endorsement_key"))?,
        host_data: bytes("host_data")?.try_into().map_err(|_| odd("host_data"))?,
    })
}

fn value<'a>(text: &'a str, name: &str) -> Result<&'a str, String> {
    let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    found.ok_or_else(|| alloc::format!("settings lack {name}"))
}

fn odd(name: &str) -> String {
    alloc::format!("settings: {name} is not what the launcher writes")
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|digit| Some(digit.to_digit(16)? as u8)).collect();
    let (pairs, rest) = digits.as_deref()?.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

impl Settings {
    /// Reads the file; the launcher writes every line, so a missing or odd one is a fault of the launcher.
    pub fn parse(text: &str) -> Result<Self, String> {
        let value = |name: &str| value(text, name);
        let flag = |name: &str| Ok::<bool, String>(value(name)? == "1");
        Ok(Self {
            vcpus: value("vcpus")?.parse().map_err(|_| odd("vcpus"))?,
            ram: ranges(value("ram")?).ok_or_else(|| odd("ram"))?,
            firmware: ranges(value("firmware")?).ok_or_else(|| odd("firmware"))?,
            ledger: u64::from_str_radix(value("ledger")?, 16).map_err(|_| odd("ledger"))?,
            changing_file: value("changing_file")?.into(),
            claims: flag("claims")?,
            strict: flag("strict")?,
            is_counted: flag("counted")?,
            is_timed: flag("timed")?,
            trace: flag("trace")?,
            host: Host::from_name(value("host")?).ok_or_else(|| odd("host"))?.profile(),
            cpuid: cpuid(value("cpuid")?, value("cpu")?).ok_or_else(|| odd("cpuid"))?,
            memory_is_shared: flag("memory_is_shared")?,
            vmpl0_events: value("vmpl0_events")?.parse().map_err(|_| odd("vmpl0_events"))?,
            large_pages: flag("large_pages")?,
            attack: match value("attack")? {
                "" => None,
                text => Some(Chosen::parse(text).map_err(|_| odd("attack"))?),
            },
            invlpgb: match value("invlpgb")? {
                "shown" => Invlpgb::Shown,
                "hidden" => Invlpgb::Hidden,
                "missing" => Invlpgb::Missing,
                _ => return Err(odd("invlpgb")),
            },
            throttle: value("throttle")?.parse().map_err(|_| odd("throttle"))?,
            resets: Some(value("resets")?.parse().map_err(|_| odd("resets"))?).filter(|resets| *resets != 0),
        })
    }
}

/// The PC's video memory: a device, whatever the memory map says.
const VIDEO_MEMORY: (u64, u64) = (0xa_0000, 0xc_0000);
/// Below 1 MiB, behind the video memory: QEMU has ROM and shadow RAM there, which the guest must not see.
pub const LEGACY_MEMORY: MemoryRange = MemoryRange { start: 0xc_0000, bytes: 0x4_0000 };

impl Settings {
    /// The ranges that are guest memory at their own host addresses: RAM without the PC's hole below 1 MiB.
    pub fn own_address_ram(&self) -> Vec<MemoryRange> {
        let mut ranges = Vec::new();
        for range in &self.ram {
            let end = range.start + range.bytes;
            let hole_end = LEGACY_MEMORY.start + LEGACY_MEMORY.bytes;
            for (start, end) in [(range.start, end.min(VIDEO_MEMORY.0)), (range.start.max(hole_end), end)] {
                if start < end {
                    ranges.push(MemoryRange { start, bytes: end - start });
                }
            }
        }
        ranges
    }

    /// Bytes of guest memory below 4 GiB.
    pub fn ram_below_4g(&self) -> u64 {
        self.ram
            .iter()
            .filter(|range| range.start < FOUR_GIB)
            .map(|range| range.start + range.bytes)
            .max()
            .unwrap_or(0)
    }

    /// Bytes of guest memory above 4 GiB.
    pub fn ram_above_4g(&self) -> u64 {
        self.ram.iter().filter(|range| range.start >= FOUR_GIB).map(|range| range.bytes).sum()
    }
}

/// Which rows, and of which model.
fn cpuid(rows: &str, model: &str) -> Option<Policy> {
    let model = Model::from_name(model)?;
    match rows {
        "filtered" => Some(Policy::Filtered),
        "exact" => Some(Policy::Exact(model)),
        "runnable" => Some(Policy::Runnable(model)),
        _ => None,
    }
}

/// `START-END,START-END`, hexadecimal.
fn ranges(text: &str) -> Option<Vec<MemoryRange>> {
    text.split(',')
        .filter(|range| !range.is_empty())
        .map(|range| {
            let (start, end) = range.split_once('-')?;
            let (start, end) = (u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
            Some(MemoryRange { start, bytes: end.checked_sub(start)? })
        })
        .collect()
}
