//! The manifest that a report's data covers: of one service, or the table of all (AMD 58019, chapter 7).
//!
//! A vTPM's manifest of version 0 is the TPMT_PUBLIC of its RSA-2048 endorsement key. Version 1 lists several keys, endorsement
//! and attestation keys alike: `u32 1`, `u32` number of keys, then a TPM2B_PUBLIC each, all big-endian. Each key must be what
//! the version's templates make; whatever else parses as a public area may be somebody's forgery.

use snp_abi::svsm::attestation::{ManifestEntry, ManifestHeader, SERVICES_MANIFEST, VTPM_SERVICE};
use zerocopy::{FromBytes, IntoBytes};

use crate::reader::{Malformed, Reader};
use crate::refusal::Refusal;
use crate::vtpm::public_area::PublicArea;
use crate::vtpm::template::{self, NotOfTemplate, Role};

/// A longer manifest is not read.
pub const MAXIMUM_BYTES: usize = 1 << 20;
/// More services than the specification could name.
const MAXIMUM_ENTRIES: usize = 64;
/// A manifest of version 1 starts with this number.
const VERSION_1: [u8; 4] = [0, 0, 0, 1];
/// A list of fewer keys is no list; more than 16 no firmware makes.
const KEYS_OF_VERSION_1: std::ops::RangeInclusive<u32> = 2..=16;

/// Which form a manifest has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The vTPM's own manifest (ATTEST_SINGLE_SERVICE).
    SingleService,
    /// The table of all services (ATTEST_SERVICES), with so many rows.
    AllServices(usize),
}

/// What a manifest says about the vTPM. Nothing of it is proved before a report over it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Its form.
    pub form: Form,
    /// Version of the vTPM's part: 0 or 1.
    pub version: u32,
    /// Endorsement keys; at least one.
    pub endorsement_keys: Vec<PublicArea>,
    /// Attestation keys; version 0 has none.
    pub attestation_keys: Vec<PublicArea>,
}

impl Manifest {
    /// The endorsement key that the evidence chose, a TPM2B_PUBLIC; the first if it chose none.
    ///
    /// # Errors
    /// If what it chose is no key, or none that the manifest names.
    pub fn endorsement_key(&self, chosen: Option<&[u8]>) -> Result<&PublicArea, Refusal> {
        let chosen = chosen.map(PublicArea::parse_sized).transpose();
        let chosen = chosen.map_err(|error| Refusal::Malformed("endorsement key", error))?;
        let is_chosen = |key: &&PublicArea| chosen.as_ref().is_none_or(|chosen| chosen == *key);
        self.endorsement_keys.iter().find(is_chosen).ok_or(Refusal::OtherEndorsementKey)
    }
}

/// Why a manifest names no endorsement key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
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
    /// A key cannot be read.
    #[error("the vTPM's manifest is no public area of a key: {0}")]
    Key(#[from] Malformed),
    /// A key is not what the version's templates make.
    #[error("a key of the vTPM's manifest: {0}")]
    Template(#[from] NotOfTemplate),
    /// The list of version 1 contradicts itself.
    #[error("the list of keys: {0}")]
    List(&'static str),
}

/// Reads a manifest of either form and either version.
///
/// The table starts with a GUID whose first bytes neither a public area nor a list of keys has, and the list with a number that is
/// no key's type, so that none can be mistaken for another.
///
/// # Errors
/// If it is malformed or names other keys than its version may.
pub fn read(manifest: &[u8]) -> Result<Manifest, InvalidManifest> {
    if manifest.len() > MAXIMUM_BYTES {
        return Err(InvalidManifest::TooLarge);
    }
    if manifest.starts_with(SERVICES_MANIFEST.as_bytes()) {
        let (service, rows) = service(manifest)?;
        return version_0(service, Form::AllServices(rows));
    }
    match manifest.strip_prefix(&VERSION_1) {
        Some(list) => version_1(list),
        None => version_0(manifest, Form::SingleService),
    }
}

fn version_0(service: &[u8], form: Form) -> Result<Manifest, InvalidManifest> {
    let key = PublicArea::parse(service)?;
    template::check_version_0(&key)?;
    Ok(Manifest { form, version: 0, endorsement_keys: vec![key], attestation_keys: Vec::new() })
}

fn version_1(list: &[u8]) -> Result<Manifest, InvalidManifest> {
    let mut reader = Reader::new(list);
    let count = reader.u32("number of keys")?;
    if !KEYS_OF_VERSION_1.contains(&count) {
        return Err(InvalidManifest::List("it has fewer than 2 or more than 16 keys"));
    }
    let mut manifest = Manifest {
        form: Form::SingleService,
        version: 1,
        endorsement_keys: Vec::new(),
        attestation_keys: Vec::new(),
    };
    for _ in 0..count {
        let key = PublicArea::parse(reader.sized("key")?)?;
        let keys = match template::check_version_1(&key)? {
            Role::Endorsement => &mut manifest.endorsement_keys,
            Role::Attestation => &mut manifest.attestation_keys,
        };
        if keys.contains(&key) {
            return Err(InvalidManifest::List("it has a key twice"));
        }
        keys.push(key);
    }
    reader.finish()?;
    match manifest.endorsement_keys.is_empty() {
        true => Err(InvalidManifest::List("it has no endorsement key")),
        false => Ok(manifest),
    }
}

/// The vTPM's part of the services manifest, and the number of services.
fn service(manifest: &[u8]) -> Result<(&[u8], usize), InvalidManifest> {
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
    Ok((service, count))
}
