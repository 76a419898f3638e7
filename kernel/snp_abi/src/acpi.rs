//! Just enough of the ACPI MADT to list APIC ids, and to write such a table (ACPI 6.5, 5.2.12).
//!
//! The table comes from the host: it says which vCPUs might exist, not which to trust.

use core::mem::offset_of;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, little_endian};

type U16 = little_endian::U16;
type U32 = little_endian::U32;
type U64 = little_endian::U64;

const SIGNATURE: [u8; 4] = *b"APIC";
const LOCAL_APIC: u8 = 0;
const LOCAL_X2APIC: u8 = 9;
/// Flags bit 0: the processor is usable; bit 1: it can be brought online.
const USABLE: u32 = 0b11;

/// Start of every ACPI table and of the MADT's body.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct MadtHeader {
    signature: [u8; 4],
    length: U32,
    revision: u8,
    checksum: u8,
    oem_id: [u8; 6],
    oem_table_id: U64,
    oem_revision: U32,
    creator_id: U32,
    creator_revision: U32,
    local_apic_address: U32,
    flags: U32,
}

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct LocalApic {
    kind: u8,
    length: u8,
    processor_uid: u8,
    apic_id: u8,
    flags: U32,
}

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct LocalX2Apic {
    kind: u8,
    length: u8,
    reserved: U16,
    apic_id: U32,
    flags: U32,
    processor_uid: U32,
}

/// Why a table was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidMadt {
    /// The signature is not `APIC`.
    Signature,
    /// The announced length does not fit in the buffer or is shorter than the header.
    Length,
    /// The bytes do not add up to zero.
    Checksum,
    /// A structure has no length, or reaches beyond the table; its offset is given.
    Structure(usize),
    /// The buffer for a new table is too small.
    BufferTooSmall,
}

/// A table whose structures were all checked.
#[derive(Debug, Clone, Copy)]
pub struct Madt<'a> {
    structures: &'a [u8],
}

impl<'a> Madt<'a> {
    /// Checks a private copy of the table.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(buffer: &'a [u8]) -> Result<Self, InvalidMadt> {
        let (header, _) = MadtHeader::read_from_prefix(buffer).map_err(|_| InvalidMadt::Length)?;
        if header.signature != SIGNATURE {
            return Err(InvalidMadt::Signature);
        }
        let table = buffer.get(..header.length.get() as usize).ok_or(InvalidMadt::Length)?;
        let structures = table.get(size_of::<MadtHeader>()..).ok_or(InvalidMadt::Length)?;
        if table.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte)) != 0 {
            return Err(InvalidMadt::Checksum);
        }
        let mut rest = structures;
        while !rest.is_empty() {
            let offset = table.len().saturating_sub(rest.len());
            (_, rest) = split_structure(rest).ok_or(InvalidMadt::Structure(offset))?;
        }
        Ok(Self { structures })
    }

    /// APIC ids of the processors that are usable or can be brought online, in the table's order.
    pub fn apic_ids(&self) -> impl Iterator<Item = u32> {
        let mut rest = self.structures;
        core::iter::from_fn(move || {
            let (structure, later) = split_structure(rest)?;
            rest = later;
            Some(apic_id(structure))
        })
        .flatten()
    }
}

/// The first structure and what follows it; `None` at the end or if its length is impossible.
fn split_structure(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::from(*bytes.get(1)?);
    if length < 2 { None } else { bytes.split_at_checked(length) }
}

fn apic_id(structure: &[u8]) -> Option<u32> {
    let (id, flags) = match structure.first() {
        Some(&LOCAL_APIC) => {
            let (entry, _) = LocalApic::read_from_prefix(structure).ok()?;
            (u32::from(entry.apic_id), entry.flags.get())
        }
        Some(&LOCAL_X2APIC) => {
            let (entry, _) = LocalX2Apic::read_from_prefix(structure).ok()?;
            (entry.apic_id.get(), entry.flags.get())
        }
        _ => return None,
    };
    (flags & USABLE != 0).then_some(id)
}

/// Writes a MADT that lists these vCPUs as enabled; returns its bytes. Ids below 255 get the short structure.
///
/// # Errors
/// [`InvalidMadt::BufferTooSmall`].
pub fn write_madt(apic_ids: impl IntoIterator<Item = u32>, buffer: &mut [u8]) -> Result<&[u8], InvalidMadt> {
    let mut length = size_of::<MadtHeader>();
    for (uid, apic_id) in apic_ids.into_iter().enumerate() {
        let enabled = U32::new(1);
        let place = buffer.get_mut(length..).ok_or(InvalidMadt::BufferTooSmall)?;
        let written = match u8::try_from(apic_id) {
            Ok(apic_id) if apic_id < 255 => {
                let entry = LocalApic {
                    kind: LOCAL_APIC,
                    length: size_of::<LocalApic>() as u8,
                    processor_uid: uid as u8,
                    apic_id,
                    flags: enabled,
                };
                entry.write_to_prefix(place).map(|()| size_of::<LocalApic>()).ok()
            }
            _ => {
                let entry = LocalX2Apic {
                    kind: LOCAL_X2APIC,
                    length: size_of::<LocalX2Apic>() as u8,
                    reserved: U16::ZERO,
                    apic_id: apic_id.into(),
                    flags: enabled,
                    processor_uid: U32::new(uid as u32),
                };
                entry.write_to_prefix(place).map(|()| size_of::<LocalX2Apic>()).ok()
            }
        };
        length = length.saturating_add(written.ok_or(InvalidMadt::BufferTooSmall)?);
    }
    let table = buffer.get_mut(..length).ok_or(InvalidMadt::BufferTooSmall)?;
    let header = MadtHeader {
        signature: SIGNATURE,
        length: U32::new(length as u32),
        revision: 5,
        checksum: 0,
        oem_id: *b"VOUCHS",
        oem_table_id: U64::from_bytes(*b"VOUCHSAF"),
        oem_revision: U32::new(1),
        creator_id: U32::from_bytes(*b"VCHS"),
        creator_revision: U32::new(1),
        local_apic_address: U32::new(0xFEE0_0000),
        flags: U32::new(0),
    };
    header.write_to_prefix(table).map_err(|_| InvalidMadt::BufferTooSmall)?;
    let sum = table.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte));
    if let Some(checksum) = table.get_mut(offset_of!(MadtHeader, checksum)) {
        *checksum = sum.wrapping_neg();
    }
    Ok(table)
}

const _: () = {
    assert!(size_of::<MadtHeader>() == 44);
    assert!(offset_of!(MadtHeader, checksum) == 9);
    assert!(size_of::<LocalApic>() == 8);
    assert!(size_of::<LocalX2Apic>() == 16);
};
