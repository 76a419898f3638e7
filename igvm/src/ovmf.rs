//! UEFI firmware volumes with SEV metadata, as edk2's OvmfPkg builds them.
//!
//! The last 48 bytes before the reset vector end a table of GUIDed entries that is read backwards; two of its
//! entries lead to lists of memory sections. Sources: edk2 OvmfPkg/ResetVector (Ia16/ResetVectorVtf0.asm,
//! X64/OvmfSevMetadata.asm, X64/IgvmMetadata.asm).

use boot_handoff::{FirmwareSection, MAXIMUM_FIRMWARE_SECTIONS};

/// GUIDs in the mixed-endian form in which they are stored.
const FOOTER: [u8; 16] = guid(0x96b5_82de, 0x1fb2, 0x45f7, 0xbaea_a366_c55a_082d);
const SEV_ES_RESET: [u8; 16] = guid(0x00f7_71de, 0x1a7e, 0x4fcb, 0x890e_68c7_7e2f_b44e);
const KERNEL_HASHES: [u8; 16] = guid(0x7255_371f, 0x3a3b, 0x4b04, 0x927b_1da6_efa8_d454);
const SEV_METADATA: [u8; 16] = guid(0xdc88_6566, 0x984a, 0x4798, 0xa75e_5585_a7bf_67cc);
const IGVM_METADATA: [u8; 16] = guid(0x784f_a70e, 0x3176, 0x4677, 0x8a20_04b6_8699_e374);

/// Bytes behind the table: the reset vector, and the table's own end.
const BEHIND_TABLE: usize = 0x20;
/// Length field and GUID of an entry.
const ENTRY_TAIL: usize = 18;
const LIST_HEADER: usize = 16;
const SECTION: usize = 12;
const LIST_VERSION: u32 = 1;
const PAGE: u64 = 0x1000;
const FOUR_GIB: u64 = 1 << 32;
/// Largest volume: what fits between the APIC page and 4 GiB.
const MOST_BYTES: usize = 0x100_0000;

/// Kinds of sections, as the SEV metadata numbers them.
pub mod kind {
    /// Memory to be validated and zeroed.
    pub const MEMORY: u32 = 1;
    /// The secrets page.
    pub const SECRETS: u32 = 2;
    /// The CPUID page.
    pub const CPUID: u32 = 3;
    /// The calling area of the boot vCPU.
    pub const CALLING_AREA: u32 = 4;
    /// The page with the hashes of kernel, initrd and command line.
    pub const KERNEL_HASHES: u32 = 16;
    /// IGVM parameters: the area, and offsets of memory map and vCPU count in it.
    pub const IGVM_AREA: u32 = 0x100;
    /// See [`IGVM_AREA`].
    pub const IGVM_MEMORY_MAP: u32 = 0x101;
    /// See [`IGVM_AREA`].
    pub const IGVM_VCPU_COUNT: u32 = 0x102;
    /// An area for hand-off blocks.
    pub const IGVM_HOBS: u32 = 0x200;
}

const fn guid(a: u32, b: u16, c: u16, d: u64) -> [u8; 16] {
    let (a, b, c, d) = (a.to_le_bytes(), b.to_le_bytes(), c.to_le_bytes(), d.to_be_bytes());
    [a[0], a[1], a[2], a[3], b[0], b[1], c[0], c[1], d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7]]
}

/// Why a file is no firmware that can be started. Offsets count from the start of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FirmwareError {
    /// Not a number of pages, empty, or too large.
    #[error("the firmware has {0:#x} bytes; a multiple of 4096 up to 16 MiB is needed")]
    Size(usize),
    /// No GUIDed table.
    #[error("offset {0:#x}: no GUIDed table ends here, so this is no firmware with SEV support")]
    NoTable(usize),
    /// The table's length, or that of an entry, is impossible.
    #[error("GUIDed table, offset {0:#x}: length {1:#x} does not fit the table")]
    EntryLength(usize, usize),
    /// No SEV metadata.
    #[error("GUIDed table: no SEV metadata; firmware built for SEV-SNP is needed (ovmf-amdsev)")]
    NoMetadata,
    /// A list that does not lie in the file, or has another signature or version.
    #[error("{0} metadata, offset {1:#x}: no list of version 1 with the right signature")]
    List(&'static str, usize),
    /// A section that cannot be.
    #[error("{0} metadata, offset {1:#x}: section {2:#x}+{3:#x} is not made of pages below 4 GiB")]
    Section(&'static str, usize, u32, u32),
    /// A kind of section that this tool does not know: what it asks for cannot be granted.
    #[error("{0} metadata, offset {1:#x}: section kind {2} is unknown")]
    Kind(&'static str, usize, u32),
    /// More sections than the record holds.
    #[error("{0} metadata: more than {MAXIMUM_FIRMWARE_SECTIONS} sections in all")]
    Sections(&'static str),
    /// A section that is needed exactly once.
    #[error("SEV metadata: {0} sections for the {1} instead of one")]
    Count(usize, &'static str),
}

/// What the firmware says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirmwareLayout {
    /// First address of the volume; it ends at 4 GiB.
    pub base: u64,
    /// Entry of application processors.
    pub ap_reset_address: u32,
    /// Where the kernel hashes go, with their room in bytes.
    pub kernel_hashes: Option<(u32, u32)>,
    /// Sections of both lists; those inside the IGVM area with their own addresses.
    pub sections: Vec<FirmwareSection>,
}

impl FirmwareLayout {
    /// Reads a firmware volume.
    ///
    /// # Errors
    /// If the file is no firmware for SEV-SNP, or asks for something unknown.
    pub fn parse(file: &[u8]) -> Result<Self, FirmwareError> {
        if file.is_empty() || !(file.len() as u64).is_multiple_of(PAGE) || file.len() > MOST_BYTES {
            return Err(FirmwareError::Size(file.len()));
        }
        let entries = entries(file)?;
        let data = |wanted: &[u8; 16]| entries.iter().find(|(guid, ..)| guid == wanted).map(|entry| entry.1);
        let word = |bytes: &[u8], at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let metadata =
            data(&SEV_METADATA).and_then(|bytes| word(bytes, 0)).ok_or(FirmwareError::NoMetadata)?;
        let mut sections = list(file, metadata, *b"ASEV", "SEV")?;
        if let Some(offset) = data(&IGVM_METADATA).and_then(|bytes| word(bytes, 0)) {
            sections.extend(absolute(list(file, offset, *b"IGVM", "IGVM")?));
        }
        if sections.len() > MAXIMUM_FIRMWARE_SECTIONS {
            return Err(FirmwareError::Sections("IGVM"));
        }
        for (wanted, name) in [
            (kind::SECRETS, "secrets page"),
            (kind::CPUID, "CPUID page"),
            (kind::CALLING_AREA, "calling area"),
        ] {
            let count = sections.iter().filter(|section| section.kind == wanted).count();
            if count != 1 {
                return Err(FirmwareError::Count(count, name));
            }
        }
        let hashes = data(&KERNEL_HASHES).and_then(|bytes| Some((word(bytes, 0)?, word(bytes, 4)?)));
        Ok(Self {
            base: FOUR_GIB.saturating_sub(file.len() as u64),
            ap_reset_address: data(&SEV_ES_RESET).and_then(|bytes| word(bytes, 0)).unwrap_or(0),
            kernel_hashes: hashes,
            sections,
        })
    }

    /// The only section of a kind.
    #[must_use]
    pub fn section(&self, kind: u32) -> Option<FirmwareSection> {
        self.sections.iter().find(|section| section.kind == kind).copied()
    }
}

/// An entry of the GUIDed table: GUID, data, and offset of the data.
type TableEntry<'a> = ([u8; 16], &'a [u8], usize);

/// The entries of the GUIDed table.
fn entries(file: &[u8]) -> Result<Vec<TableEntry<'_>>, FirmwareError> {
    let end = file.len().saturating_sub(BEHIND_TABLE);
    let footer = end.saturating_sub(FOOTER.len());
    if file.get(footer..end) != Some(&FOOTER) {
        return Err(FirmwareError::NoTable(footer));
    }
    let mut next = end.saturating_sub(ENTRY_TAIL);
    let total = length_at(file, next);
    let start = end.checked_sub(total).filter(|_| total >= ENTRY_TAIL);
    let start = start.ok_or(FirmwareError::EntryLength(next, total))?;
    let mut entries = Vec::new();
    while let Some(left) = next.checked_sub(start).filter(|left| *left > 0) {
        let tail = next.checked_sub(ENTRY_TAIL).filter(|_| left >= ENTRY_TAIL);
        let tail = tail.ok_or(FirmwareError::EntryLength(next, left))?;
        let length = length_at(file, tail);
        let impossible = FirmwareError::EntryLength(tail, length);
        let begin = next.checked_sub(length).filter(|_| (ENTRY_TAIL..=left).contains(&length));
        let begin = begin.ok_or(impossible)?;
        let guid = file.get(tail..next).and_then(|bytes| bytes.last_chunk()).ok_or(impossible)?;
        entries.push((*guid, file.get(begin..tail).ok_or(impossible)?, begin));
        next = begin;
    }
    Ok(entries)
}

fn length_at(file: &[u8], offset: usize) -> usize {
    file.get(offset..)
        .and_then(|bytes| bytes.first_chunk())
        .map_or(0, |bytes| u16::from_le_bytes(*bytes).into())
}

/// A list of sections, whose place is given as a distance from the end of the file.
fn list(
    file: &[u8],
    distance: u32,
    signature: [u8; 4],
    name: &'static str,
) -> Result<Vec<FirmwareSection>, FirmwareError> {
    let offset = file.len().checked_sub(distance as usize).ok_or(FirmwareError::List(name, file.len()))?;
    let bad = FirmwareError::List(name, offset);
    let list = file.get(offset..).ok_or(bad)?;
    let (header, rest) = list.split_first_chunk::<LIST_HEADER>().ok_or(bad)?;
    let [found, length, version, count] = words(header);
    let count = count as usize;
    let fits = LIST_HEADER.checked_add(count.checked_mul(SECTION).ok_or(bad)?) == Some(length as usize);
    if found != u32::from_le_bytes(signature) || version != LIST_VERSION || !fits {
        return Err(bad);
    }
    if count > MAXIMUM_FIRMWARE_SECTIONS {
        return Err(FirmwareError::Sections(name));
    }
    let (sections, _) = rest.as_chunks::<SECTION>();
    let sections = sections.get(..count).ok_or(bad)?;
    let first = offset.saturating_add(LIST_HEADER);
    sections
        .iter()
        .zip((first..).step_by(SECTION))
        .map(|(bytes, at)| {
            let [start, length, kind] = words(bytes);
            let section = FirmwareSection { start, length, kind };
            check_section(section, name, at)?;
            Ok(section)
        })
        .collect()
}

/// The little-endian words of a record; both sizes are constants of this file.
fn words<const BYTES: usize, const WORDS: usize>(bytes: &[u8; BYTES]) -> [u32; WORDS] {
    let (all, _) = bytes.as_chunks::<4>();
    core::array::from_fn(|index| all.get(index).map_or(0, |word| u32::from_le_bytes(*word)))
}

fn check_section(section: FirmwareSection, name: &'static str, at: usize) -> Result<(), FirmwareError> {
    let FirmwareSection { start, length, kind } = section;
    let pages = u64::from(start).is_multiple_of(PAGE) && u64::from(length).is_multiple_of(PAGE) && length > 0;
    let in_area = start.checked_add(length).is_some();
    let known = match (name, kind) {
        ("SEV", kind::SECRETS | kind::CPUID | kind::CALLING_AREA | kind::KERNEL_HASHES) => {
            pages && u64::from(length) == PAGE
        }
        ("SEV", kind::MEMORY) | ("IGVM", kind::IGVM_AREA | kind::IGVM_HOBS) => pages,
        ("IGVM", kind::IGVM_MEMORY_MAP | kind::IGVM_VCPU_COUNT) => true,
        _ => return Err(FirmwareError::Kind(name, at, kind)),
    };
    if known && in_area { Ok(()) } else { Err(FirmwareError::Section(name, at, start, length)) }
}

/// Turns offsets in the IGVM area into addresses.
fn absolute(sections: Vec<FirmwareSection>) -> Vec<FirmwareSection> {
    let area = sections.iter().find(|section| section.kind == kind::IGVM_AREA).copied();
    let inside = |section: &FirmwareSection| {
        let Some(area) = area else { return false };
        section.start.checked_add(section.length).is_some_and(|end| end <= area.length)
    };
    let relative = [kind::IGVM_MEMORY_MAP, kind::IGVM_VCPU_COUNT];
    sections
        .into_iter()
        .filter(|section| !relative.contains(&section.kind) || inside(section))
        .map(|section| match area {
            Some(area) if relative.contains(&section.kind) => {
                FirmwareSection { start: area.start.wrapping_add(section.start), ..section }
            }
            _ => section,
        })
        .collect()
}
