//! The whole durable state as one blob that checks itself.
//!
//! Layout: magic, version (u32), number of records (u32), then each record as number (u32), length (u32) and bytes, in
//! ascending order, and at the end the SHA-256 of everything before. A platform that keeps records apart writes only those
//! that change, and puts them together with [`assemble`]; a blob is what it reads at once.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::crypto::hash::{HashAlgorithm, hash};
use crate::crypto::random::{Drbg, INSTANTIATE_BYTES};
use crate::engine::Tpm;
use crate::platform::{BufferBytes, Platform};
use crate::state::{Record, State};
use crate::wire::{Marshal, Reader, Secret, equal_in_constant_time};

const MAGIC: [u8; 8] = *b"vouchTPM";
/// 2: dictionary attack protection says whether protected values were used, and Clock says which power cycle it is.
const VERSION: u32 = 2;
const CHECKSUM_BYTES: usize = 32;

/// Why a state is not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateError {
    /// It does not begin as a state does.
    NotAState,
    /// It was written by a newer version, whose number this is.
    NewerVersion(u32),
    /// It was written by a version before the first release, whose number this is: what it lacks cannot be made up.
    OlderVersion(u32),
    /// It ends too early, or is longer than it says.
    Truncated,
    /// Its checksum is wrong.
    Corrupt,
    /// A record, whose number this is, is missing, out of order, unknown, or does not make sense.
    Record(u32),
    /// The platform gave no entropy.
    Entropy,
}

/// What is wrong with the blob, as people read it: "it was cut off".
impl core::fmt::Display for StateError {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NotAState => formatter.write_str("it does not begin as a TPM state does"),
            Self::NewerVersion(version) => {
                write!(
                    formatter,
                    "it is of version {version}, and {VERSION} is the newest that is known here"
                )
            }
            Self::OlderVersion(version) => {
                write!(
                    formatter,
                    "it is of version {version}, from before the first release, and {VERSION} is needed"
                )
            }
            Self::Truncated => formatter.write_str("it was cut off, or something was appended"),
            Self::Corrupt => formatter.write_str("its checksum is wrong"),
            Self::Record(number) => write!(formatter, "its record {number:#x} is missing or makes no sense"),
            Self::Entropy => formatter.write_str("there was no entropy"),
        }
    }
}

impl core::error::Error for StateError {}

impl<P: Platform> Tpm<P> {
    /// The durable state, as [`Self::import_state`] takes it. What is volatile is not part of it: importing is a power-on.
    #[must_use]
    pub fn export_state(&self) -> Vec<u8> {
        let records =
            self.durable_records().iter().map(|(record, bytes)| (record.to_wire(), bytes.as_bytes()));
        assemble(records)
    }

    /// A TPM with a state that was exported, powered on and waiting for TPM2_Startup.
    ///
    /// # Errors
    /// The blob is not one that this version wrote, or was changed, or the platform gave no entropy.
    pub fn import_state(mut platform: P, blob: &[u8]) -> Result<Self, StateError> {
        let records = take_apart(blob)?;
        let mut entropy = Secret::zeroed(INSTANTIATE_BYTES);
        platform.entropy(entropy.as_mut_bytes()).map_err(|_| StateError::Entropy)?;
        let random = Drbg::instantiate(entropy.as_bytes(), b"Vouchsafe TPM");
        let (state, durable) = restore(random, platform.buffer_bytes(), records)?;
        let mut tpm = Self::assemble(platform, state, durable);
        tpm.power_on();
        Ok(tpm)
    }
}

/// The blob of these records, which come in ascending order and are not empty.
pub fn assemble<'a>(records: impl ExactSizeIterator<Item = (u32, &'a [u8])>) -> Vec<u8> {
    let mut blob = MAGIC.to_vec();
    VERSION.marshal(&mut blob);
    length(records.len()).marshal(&mut blob);
    for (number, bytes) in records {
        number.marshal(&mut blob);
        length(bytes.len()).marshal(&mut blob);
        blob.extend_from_slice(bytes);
    }
    let checksum = hash(HashAlgorithm::Sha256, &[&blob]);
    blob.extend_from_slice(checksum.as_bytes());
    blob
}

fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// The records of a blob, for a platform that keeps them apart: what [`assemble`] put together.
///
/// # Errors
/// The blob is not one that this version wrote, or was changed.
pub fn records(blob: &[u8]) -> Result<Vec<(u32, Vec<u8>)>, StateError> {
    Ok(take_apart(blob)?.into_iter().map(|(number, bytes)| (number, bytes.as_bytes().to_vec())).collect())
}

/// The records of a blob, after all checks that need no understanding of them.
fn take_apart(blob: &[u8]) -> Result<Vec<(u32, Secret)>, StateError> {
    let rest = blob.strip_prefix(&MAGIC).ok_or(StateError::NotAState)?;
    let mut reader = Reader::new(rest);
    let version: u32 = reader.read().map_err(|_| StateError::Truncated)?;
    if version > VERSION {
        return Err(StateError::NewerVersion(version));
    }
    if version < VERSION {
        return Err(StateError::OlderVersion(version));
    }
    let at = blob.len().checked_sub(CHECKSUM_BYTES).ok_or(StateError::Truncated)?;
    let (body, checksum) = blob.split_at_checked(at).ok_or(StateError::Truncated)?;
    let mut records = Vec::new();
    let parsed = read_records(&mut reader, &mut records);
    // A blob that was cut has neither its records nor its checksum: it is called truncated where its lengths say so.
    if parsed.is_none() || reader.rest().len() != CHECKSUM_BYTES {
        return Err(StateError::Truncated);
    }
    if !equal_in_constant_time(hash(HashAlgorithm::Sha256, &[body]).as_bytes(), checksum) {
        return Err(StateError::Corrupt);
    }
    Ok(records)
}

fn read_records(reader: &mut Reader<'_>, records: &mut Vec<(u32, Secret)>) -> Option<()> {
    for _ in 0..reader.read::<u32>().ok()? {
        let number = reader.read().ok()?;
        let size = usize::try_from(reader.read::<u32>().ok()?).ok()?;
        records.push((number, Secret::from(reader.take(size).ok()?)));
    }
    Some(())
}

fn restore(
    random: Drbg,
    buffers: BufferBytes,
    records: Vec<(u32, Secret)>,
) -> Result<(State, BTreeMap<Record, Secret>), StateError> {
    let mut state = State::manufacture(random, buffers);
    state.settle();
    let mut durable = BTreeMap::new();
    // Allocation of PCRs comes before what was saved of them: records are applied in the order of their numbers.
    let mut last = 0;
    for (number, bytes) in records {
        let record = Record::from_wire(number).filter(|_| number > last).ok_or(StateError::Record(number))?;
        state.apply(record, bytes.as_bytes()).map_err(|_| StateError::Record(number))?;
        durable.insert(record, bytes);
        last = number;
    }
    if let Some(missing) = Record::FIXED.iter().find(|record| !durable.contains_key(record)) {
        return Err(StateError::Record(missing.to_wire()));
    }
    Ok((state, durable))
}
