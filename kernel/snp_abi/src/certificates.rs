//! The certificate table of an extended guest request: GUIDs, offsets, blobs (AMD 56421, "extended guest request").
//!
//! Its GUIDs stand in network order, as hosts write them (`sev` and `go-sev-guest` read and write them so; a table from a real
//! Genoa host begins `c0 b4 06 a4`), unlike those of the SVSM's manifest.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, little_endian};

use crate::guid::NetworkGuid;

/// The chip's endorsement key.
pub const VCEK: NetworkGuid = NetworkGuid::new(0x63da_758d_e664_4564_adc5_f4b9_3be8_accd);
/// The cloud's endorsement key.
pub const VLEK: NetworkGuid = NetworkGuid::new(0xa807_4bc2_a25a_483e_aae6_39c0_45a0_b8a1);
/// The key that signs VCEKs (or VLEKs).
pub const ASK: NetworkGuid = NetworkGuid::new(0x4ab7_b379_bbac_4fe4_a02f_05ae_f327_c782);
/// AMD's root key.
pub const ARK: NetworkGuid = NetworkGuid::new(0xc0b4_06a4_a803_4952_9743_3fb6_014c_d0ae);

/// One row of the table; a row of zeros ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct CertificateEntry {
    /// What the blob is.
    pub guid: NetworkGuid,
    /// Where the blob starts, from the start of the table.
    pub offset: little_endian::U32,
    /// Bytes of the blob.
    pub length: little_endian::U32,
}

/// Bytes of a row.
pub const ENTRY_BYTES: usize = size_of::<CertificateEntry>();

/// Why a table cannot be read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidCertificateTable {
    /// The table has no end inside the buffer.
    Unterminated,
    /// A blob lies outside the buffer.
    OutOfBounds(NetworkGuid),
    /// The buffer is too small; so many bytes are needed.
    BufferTooSmall(usize),
}

/// A table that was checked: it ends, and every blob lies in the buffer.
#[derive(Debug, Clone, Copy)]
pub struct CertificateTable<'a> {
    buffer: &'a [u8],
    rows: &'a [CertificateEntry],
}

impl<'a> CertificateTable<'a> {
    /// Checks a private copy of the data pages.
    ///
    /// # Errors
    /// If no row of zeros is found or a blob lies outside the buffer.
    pub fn parse(buffer: &'a [u8]) -> Result<Self, InvalidCertificateTable> {
        let fitting = buffer.len() / ENTRY_BYTES;
        let (rows, _) = <[CertificateEntry]>::ref_from_prefix_with_elems(buffer, fitting)
            .map_err(|_| InvalidCertificateTable::Unterminated)?;
        let end = rows
            .iter()
            .position(|row| row.guid == NetworkGuid::ZERO)
            .ok_or(InvalidCertificateTable::Unterminated)?;
        let rows = rows.get(..end).unwrap_or_default();
        let table = Self { buffer, rows };
        match rows.iter().find(|row| table.blob(row).is_none()) {
            Some(row) => Err(InvalidCertificateTable::OutOfBounds(row.guid)),
            None => Ok(table),
        }
    }

    /// The rows with their blobs.
    pub fn iter(&self) -> impl Iterator<Item = (NetworkGuid, &'a [u8])> {
        let table = *self;
        self.rows.iter().filter_map(move |row| Some((row.guid, table.blob(row)?)))
    }

    /// The blob of the first row with this GUID.
    #[must_use]
    pub fn find(&self, guid: NetworkGuid) -> Option<&'a [u8]> {
        self.iter().find(|(found, _)| *found == guid).map(|(_, blob)| blob)
    }

    /// Where each row's blob ends, from the start of the table.
    pub fn ends(&self) -> impl Iterator<Item = usize> {
        self.rows.iter().map(|row| (row.offset.get() as usize).saturating_add(row.length.get() as usize))
    }

    fn blob(&self, row: &CertificateEntry) -> Option<&'a [u8]> {
        let start = row.offset.get() as usize;
        self.buffer.get(start..start.checked_add(row.length.get() as usize)?)
    }
}

/// Writes a table with its blobs behind it; returns the bytes used.
///
/// # Errors
/// [`InvalidCertificateTable::BufferTooSmall`] with the size needed; the buffer is then unchanged.
pub fn write_table(
    blobs: &[(NetworkGuid, &[u8])],
    buffer: &mut [u8],
) -> Result<usize, InvalidCertificateTable> {
    let header = blobs.len().saturating_add(1).saturating_mul(ENTRY_BYTES);
    let needed = blobs.iter().fold(header, |sum, (_, blob)| sum.saturating_add(blob.len()));
    let too_small = InvalidCertificateTable::BufferTooSmall(needed);
    let (used, _) = buffer.split_at_mut_checked(needed).ok_or(too_small)?;
    let (mut rows, mut data) = used.split_at_mut_checked(header).ok_or(too_small)?;
    let mut offset = header;
    for (guid, blob) in blobs {
        let entry = CertificateEntry {
            guid: *guid,
            offset: (offset as u32).into(),
            length: (blob.len() as u32).into(),
        };
        let (row, later_rows) = rows.split_at_mut_checked(ENTRY_BYTES).ok_or(too_small)?;
        let (place, later_data) = data.split_at_mut_checked(blob.len()).ok_or(too_small)?;
        row.copy_from_slice(entry.as_bytes());
        place.copy_from_slice(blob);
        (rows, data) = (later_rows, later_data);
        offset = offset.saturating_add(blob.len());
    }
    rows.fill(0);
    Ok(needed)
}

const _: () = assert!(ENTRY_BYTES == 24);
