//! The manifest that a report's data covers: of one service, or the table of all (AMD 58019, chapter 7).

use snp_abi::svsm::attestation::{ManifestEntry, ManifestHeader, SERVICES_MANIFEST, VTPM_SERVICE};
use zerocopy::{FromBytes, IntoBytes};

use crate::reader::Malformed;
use crate::vtpm::public_area::PublicArea;

/// A longer manifest is not read.
pub const MAXIMUM_BYTES: usize = 1 << 20;
/// More services than the specification could name.
const MAXIMUM_ENTRIES: usize = 64;

/// Which form a manifest has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The vTPM's own manifest (ATTEST_SINGLE_SERVICE).
    SingleService,
    /// The table of all services (ATTEST_SERVICES), with so many rows.
    AllServices(usize),
}

/// Why a manifest names no endorsement key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidManifest {
    /// Too long.
    #[error("it is larger than {MAXIMUM_BYTES} bytes")]
    TooLarge,
    /// The table's size, its number of rows, or a row's place contradict the bytes.
    #[error("the services manifest contradicts itself: {0}")]
    Table(&'static str),
    /// No row, or two, for the vTPM.
    #[error("the services manifest does not list the vTPM exactly once")]
    NoVtpm,
    /// The vTPM's manifest is no version 0 manifest.
    #[error("the vTPM's manifest is no public area of a key: {0}")]
    EndorsementKey(#[from] Malformed),
}

/// Reads a manifest of either form: version 0 of the vTPM's manifest is the public area of its endorsement key.
///
/// The table starts with a GUID whose first bytes no public area has, so that the forms cannot be mistaken for each other.
///
/// # Errors
/// If it is malformed or does not name one endorsement key.
pub fn endorsement_key(manifest: &[u8]) -> Result<(PublicArea, Form), InvalidManifest> {
    if manifest.len() > MAXIMUM_BYTES {
        return Err(InvalidManifest::TooLarge);
    }
    if !manifest.starts_with(SERVICES_MANIFEST.as_bytes()) {
        return Ok((PublicArea::parse(manifest)?, Form::SingleService));
    }
    let table = |what| InvalidManifest::Table(what);
    let (header, rest) =
        ManifestHeader::ref_from_prefix(manifest).map_err(|_| table("its header is cut off"))?;
    let count = header.entries.get() as usize;
    if header.length.get() as usize != manifest.len() {
        return Err(table("its size is not the number of its bytes"));
    }
    if count > MAXIMUM_ENTRIES {
        return Err(table("it has too many rows"));
    }
    let (rows, _) = <[ManifestEntry]>::ref_from_prefix_with_elems(rest, count)
        .map_err(|_| table("its rows are cut off"))?;
    let mut vtpms = rows.iter().filter(|row| row.guid == VTPM_SERVICE);
    let (Some(row), None) = (vtpms.next(), vtpms.next()) else { return Err(InvalidManifest::NoVtpm) };
    let start = row.offset.get() as usize;
    let end = start.checked_add(row.length.get() as usize);
    let service = end.and_then(|end| manifest.get(start..end)).ok_or(table("a row points outside of it"))?;
    Ok((PublicArea::parse(service)?, Form::AllServices(count)))
}
