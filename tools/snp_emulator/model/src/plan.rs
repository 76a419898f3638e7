//! The launch plan: what the launcher (a host program) tells the monitor (bare metal) to load.
//!
//! The launcher reads the IGVM file by the loader rules of QEMU/KVM and writes the launch commands, in
//! order, as one flat file; the monitor receives it over fw_cfg. Layout, little-endian:
//! header `{ magic [8], version u32, records u32 }`, then records of 40 bytes
//! `{ kind u32, detail u32, address u64, length u64, data_offset u64, data_length u64 }`, then data.

use alloc::vec::Vec;

const MAGIC: [u8; 8] = *b"SNPPLAN\0";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 16;
const RECORD_BYTES: usize = 40;

/// What a parameter area must be filled with; the numbers are those of the IGVM variable headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Parameter {
    /// Number of virtual processors, `u32`.
    VpCount = 0x307,
    /// ACPI MADT.
    Madt = 0x309,
    /// Memory map entries of 24 bytes.
    MemoryMap = 0x30c,
    /// `u32`, bit 0: memory is shared at start.
    EnvironmentInfo = 0x313,
}

/// One launch command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// Launch `length` bytes at `address` as pages of a type (SNP_LAUNCH_UPDATE); data shorter than that is followed by zeros.
    Pages {
        /// Page type number of the SNP firmware ABI.
        page_type: u32,
        /// Guest-physical address.
        address: u64,
        /// Bytes, a multiple of 4096.
        length: u64,
        /// Contents from the start.
        data: &'a [u8],
    },
    /// Write a parameter at `address`, at most `length` bytes, into pages that a later `Pages` launches as unmeasured.
    Parameter {
        /// What to write.
        parameter: Parameter,
        /// Guest-physical address.
        address: u64,
        /// Room in bytes.
        length: u64,
    },
    /// The VMSA of virtual processor `index`, measured at the end.
    Vmsa {
        /// Virtual processor.
        index: u32,
        /// Guest-physical address.
        address: u64,
        /// 4096 bytes.
        data: &'a [u8],
    },
    /// The guest policy.
    Policy(u64),
    /// ID block (96 bytes) and ID authentication (4096 bytes), one behind the other.
    IdBlock {
        /// Both structures.
        data: &'a [u8],
        /// The author key is present.
        author_key: bool,
    },
    /// Host data for the report, 32 bytes.
    HostData(&'a [u8]),
}

/// Why a plan cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanError {
    /// Not a plan, or of another version.
    Header,
    /// The record with this number is cut off, unknown or inconsistent.
    Record(u32),
}

const KIND_PAGES: u32 = 1;
const KIND_PARAMETER: u32 = 2;
const KIND_VMSA: u32 = 3;
const KIND_POLICY: u32 = 4;
const KIND_ID_BLOCK: u32 = 5;
const KIND_HOST_DATA: u32 = 6;

/// Writes plans.
#[derive(Default)]
pub struct PlanWriter {
    records: Vec<[u64; 5]>,
    data: Vec<u8>,
}

impl PlanWriter {
    /// Appends a command.
    pub fn push(&mut self, command: &Command<'_>) {
        match *command {
            Command::Pages { page_type, address, length, data } => {
                self.record(KIND_PAGES, page_type, address, length, data);
            }
            Command::Parameter { parameter, address, length } => {
                self.record(KIND_PARAMETER, parameter as u32, address, length, &[]);
            }
            Command::Vmsa { index, address, data } => self.record(KIND_VMSA, index, address, 4096, data),
            Command::Policy(policy) => self.record(KIND_POLICY, 0, policy, 0, &[]),
            Command::IdBlock { data, author_key } => {
                self.record(KIND_ID_BLOCK, u32::from(author_key), 0, 0, data);
            }
            Command::HostData(data) => self.record(KIND_HOST_DATA, 0, 0, 0, data),
        }
    }

    fn record(&mut self, kind: u32, detail: u32, address: u64, length: u64, data: &[u8]) {
        let offset = self.data.len() as u64;
        self.data.extend_from_slice(data);
        self.records.push([
            u64::from(kind) | u64::from(detail) << 32,
            address,
            length,
            offset,
            data.len() as u64,
        ]);
    }

    /// The finished file.
    pub fn finish(self) -> Vec<u8> {
        let mut file = Vec::from(MAGIC);
        file.extend_from_slice(&VERSION.to_le_bytes());
        file.extend_from_slice(&(self.records.len() as u32).to_le_bytes());
        let data_start = (HEADER_BYTES + RECORD_BYTES * self.records.len()) as u64;
        for [kind, address, length, offset, data_length] in self.records {
            for word in [kind, address, length, offset + data_start, data_length] {
                file.extend_from_slice(&word.to_le_bytes());
            }
        }
        file.extend_from_slice(&self.data);
        file
    }
}

/// Reads a plan; every record is checked before the first is used.
pub fn read(file: &[u8]) -> Result<Vec<Command<'_>>, PlanError> {
    let (header, _) = file.split_first_chunk::<HEADER_BYTES>().ok_or(PlanError::Header)?;
    let version = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
    let count = u32::from_le_bytes([header[12], header[13], header[14], header[15]]);
    if header[..8] != MAGIC || version != VERSION {
        return Err(PlanError::Header);
    }
    (0..count).map(|number| read_record(file, number).ok_or(PlanError::Record(number))).collect()
}

fn read_record(file: &[u8], number: u32) -> Option<Command<'_>> {
    let start = HEADER_BYTES.checked_add(RECORD_BYTES.checked_mul(number as usize)?)?;
    let record = file.get(start..)?.first_chunk::<RECORD_BYTES>()?;
    let (words, _) = record.as_chunks::<8>();
    let [kind, address, length, offset, data_length] =
        core::array::from_fn(|index| u64::from_le_bytes(words[index]));
    let offset = usize::try_from(offset).ok()?;
    let end = offset.checked_add(usize::try_from(data_length).ok()?)?;
    let data = file.get(offset..end)?;
    let detail = (kind >> 32) as u32;
    match kind as u32 {
        KIND_PAGES if length % 4096 == 0 && address % 4096 == 0 && data_length <= length => {
            Some(Command::Pages { page_type: detail, address, length, data })
        }
        KIND_PARAMETER => Some(Command::Parameter { parameter: parameter(detail)?, address, length }),
        KIND_VMSA if data_length == 4096 => Some(Command::Vmsa { index: detail, address, data }),
        KIND_POLICY => Some(Command::Policy(address)),
        KIND_ID_BLOCK if data_length == 96 + 4096 => Some(Command::IdBlock { data, author_key: detail != 0 }),
        KIND_HOST_DATA if data_length == 32 => Some(Command::HostData(data)),
        _ => None,
    }
}

fn parameter(number: u32) -> Option<Parameter> {
    [Parameter::VpCount, Parameter::Madt, Parameter::MemoryMap, Parameter::EnvironmentInfo]
        .into_iter()
        .find(|parameter| *parameter as u32 == number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_survives_the_round_trip() {
        let commands = [
            Command::Policy(0x30000),
            Command::Parameter { parameter: Parameter::Madt, address: 0x5000, length: 4096 },
            Command::Pages { page_type: 1, address: 0x10000, length: 8192, data: b"abc" },
            Command::Vmsa { index: 0, address: 0xffff_ffff_f000, data: &[7; 4096] },
        ];
        let mut writer = PlanWriter::default();
        commands.iter().for_each(|command| writer.push(command));
        assert_eq!(read(&writer.finish()).unwrap(), commands);
    }

    #[test]
    fn a_plan_cut_off_anywhere_is_refused() {
        let mut writer = PlanWriter::default();
        writer.push(&Command::Pages { page_type: 1, address: 0, length: 4096, data: b"abcd" });
        let file = writer.finish();
        for length in 0..file.len() {
            assert!(read(&file[..length]).is_err(), "{length} of {} bytes were accepted", file.len());
        }
    }
}
