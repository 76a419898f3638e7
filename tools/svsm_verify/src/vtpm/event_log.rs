//! The crypto-agile event log, and what the PCRs become by it (TCG PC Client Platform Firmware Profile, chapter 10).

use super::hash::HashAlgorithm;
use crate::reader::{Malformed, Reader};

/// A longer log is not read.
pub const MAXIMUM_BYTES: usize = 16 << 20;
/// A longer list of events is nobody's boot.
const MAXIMUM_EVENTS: usize = 1 << 16;
/// More banks than any TPM has.
const MAXIMUM_BANKS: u32 = 16;
/// No hash has longer digests.
const MAXIMUM_DIGEST_BYTES: u16 = 64;
/// PCRs of a PC client TPM.
const PCRS: u32 = 24;
/// An event that extends nothing.
const NO_ACTION: u32 = 3;
/// Opens the first event's data.
const SPECIFICATION_ID: &[u8; 16] = b"Spec ID Event03\0";
/// A separator's value where all went well (PC Client Platform Firmware Profile, 10.4.5.1); two more are allowed there.
const SEPARATORS: [[u8; 4]; 2] = [[0; 4], [0xFF; 4]];
/// The number of PCR 10 that opens every entry of an IMA list, binary and as text.
const IMA: [&[u8]; 2] = [&[10, 0, 0, 0], b"10 "];
/// Opens the data of the event that says at which locality the TPM was started.
const STARTUP_LOCALITY: &[u8; 16] = b"StartupLocality\0";

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The PCR that it extended.
    pub pcr: u32,
    /// Its type. No PCR holds it, so that nothing may rest on it but whether the event extends anything at all.
    pub kind: u32,
    /// What was extended, one digest for each bank of the log; banks that this program does not know are left out.
    pub digests: Vec<(HashAlgorithm, Vec<u8>)>,
    /// What the firmware says about it. Nothing proves that it belongs to the digest.
    pub data: Vec<u8>,
}

/// A log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventLog {
    /// The banks that the log has digests for.
    pub banks: Vec<HashAlgorithm>,
    /// Events after the first, which describes the log.
    pub events: Vec<Event>,
}

impl EventLog {
    /// Reads a log that fills the bytes.
    ///
    /// # Errors
    /// If it does not, or its first event does not describe it.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > MAXIMUM_BYTES {
            return Err(Malformed::TooLarge("event log", bytes.len()));
        }
        if IMA.iter().any(|start| bytes.starts_with(start)) {
            return Err(Malformed::Format("an IMA list, and no log of the firmware"));
        }
        let mut reader = Reader::new(bytes);
        let sizes = specification_id(&mut reader)?;
        let banks = sizes.iter().filter_map(|size| HashAlgorithm::of_number("", size.0).ok()).collect();
        let mut events: Vec<Event> = Vec::new();
        while !reader.is_empty() {
            if events.len() >= MAXIMUM_EVENTS {
                return Err(Malformed::TooLarge("number of events", events.len()));
            }
            events.push(event(&mut reader, &sizes)?);
        }
        match events.iter().filter(|event| event.locality().is_some()).count() {
            0 | 1 => Ok(Self { banks, events }),
            several => Err(Malformed::TooLarge("number of startup localities", several)),
        }
    }

    /// The value of a PCR after all events; one that nothing extended keeps its first value.
    #[must_use]
    pub fn replay(&self, bank: HashAlgorithm, pcr: u32) -> Vec<u8> {
        let start = self.start_value(bank, pcr);
        self.extensions(bank, pcr).fold(start, |value, digest| bank.digest(&[&value, digest]))
    }

    /// The digests that extended one PCR, in order.
    pub fn extensions(&self, bank: HashAlgorithm, pcr: u32) -> impl Iterator<Item = &[u8]> {
        let events = self.events.iter().filter(move |event| event.pcr == pcr && event.kind != NO_ACTION);
        events.filter_map(move |event| {
            event.digests.iter().find(|digest| digest.0 == bank).map(|digest| digest.1.as_slice())
        })
    }

    /// The digests that extended one PCR before its first separator; `None` if there is no separator.
    #[must_use]
    pub fn before_separator(&self, bank: HashAlgorithm, pcr: u32) -> Option<Vec<&[u8]>> {
        let separators = SEPARATORS.map(|value| bank.digest(&[&value]));
        let all: Vec<_> = self.extensions(bank, pcr).collect();
        let end = all.iter().position(|digest| separators.iter().any(|separator| separator == digest))?;
        all.get(..end).map(<[_]>::to_vec)
    }

    fn start_value(&self, bank: HashAlgorithm, pcr: u32) -> Vec<u8> {
        let size = bank.digest_bytes();
        // PCRs 17 to 22 belong to a dynamic launch and start with ones.
        let mut value = vec![if (17..=22).contains(&pcr) { 0xFF } else { 0 }; size];
        let locality = self.events.iter().find_map(Event::locality);
        if let (0, Some(locality), Some(last)) = (pcr, locality, value.last_mut()) {
            *last = locality;
        }
        value
    }
}

impl Event {
    /// The locality of the TPM's start, if this event says it.
    fn locality(&self) -> Option<u8> {
        match self.data.split_first_chunk::<16>() {
            Some((STARTUP_LOCALITY, [locality])) if self.kind == NO_ACTION => Some(*locality),
            _ => None,
        }
    }
}

/// The first event has the old format; its data lists the banks with the sizes of their digests.
fn specification_id(reader: &mut Reader<'_>) -> Result<Vec<(u16, u16)>, Malformed> {
    reader.u32_le("first event's PCR")?;
    let kind = reader.u32_le("first event's type")?;
    if kind != NO_ACTION {
        return Err(Malformed::Format("a log of TCG 1.2, with SHA-1 only, which proves nothing any more"));
    }
    reader.bytes("first event's digest", 20)?;
    let length = reader.u32_le("first event's size")?;
    let mut data = Reader::new(reader.bytes("first event", length as usize)?);
    if data.array::<16>("signature")? != *SPECIFICATION_ID {
        return Err(Malformed::Format("no crypto-agile log: its first event does not describe it"));
    }
    data.bytes("platform class and version", 8)?;
    let count = data.u32_le("number of algorithms")?;
    if count > MAXIMUM_BANKS {
        return Err(Malformed::TooLarge("number of algorithms", count as usize));
    }
    let sizes = (0..count).map(|_| {
        let (algorithm, size) = (data.u16_le("algorithm")?, data.u16_le("digest size")?);
        let known = HashAlgorithm::of_number("algorithm", algorithm).map(HashAlgorithm::digest_bytes);
        if size > MAXIMUM_DIGEST_BYTES || known.is_ok_and(|known| known != usize::from(size)) {
            return Err(Malformed::TooLarge("digest size", usize::from(size)));
        }
        Ok((algorithm, size))
    });
    let sizes = sizes.collect::<Result<Vec<_>, _>>()?;
    let is_twice = |index: usize, size: &(u16, u16)| sizes.iter().take(index).any(|other| other.0 == size.0);
    if let Some((_, twice)) = sizes.iter().enumerate().find(|(index, size)| is_twice(*index, size)) {
        return Err(Malformed::Unknown("second entry of an algorithm", u32::from(twice.0)));
    }
    let vendor = data.u8("vendor information's size")?;
    data.bytes("vendor information", usize::from(vendor))?;
    data.finish()?;
    Ok(sizes)
}

fn event(reader: &mut Reader<'_>, sizes: &[(u16, u16)]) -> Result<Event, Malformed> {
    let (pcr, kind) = (reader.u32_le("PCR")?, reader.u32_le("event type")?);
    if pcr >= PCRS && kind != NO_ACTION {
        return Err(Malformed::Unknown("PCR", pcr));
    }
    let count = reader.u32_le("number of digests")?;
    // One digest for each bank of the log: an event that leaves out a bank would not count there.
    if count as usize != sizes.len() {
        return Err(Malformed::Unknown("number of digests", count));
    }
    let (mut digests, mut seen) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let algorithm = reader.u16_le("digest's algorithm")?;
        let size = sizes.iter().find(|size| size.0 == algorithm).map(|size| size.1);
        let size = size.ok_or(Malformed::Unknown("digest's algorithm", u32::from(algorithm)))?;
        if seen.contains(&algorithm) {
            return Err(Malformed::Unknown("second digest's algorithm", u32::from(algorithm)));
        }
        seen.push(algorithm);
        let digest = reader.bytes("digest", usize::from(size))?;
        if let Ok(algorithm) = HashAlgorithm::of_number("digest's algorithm", algorithm) {
            digests.push((algorithm, digest.to_vec()));
        }
    }
    let length = reader.u32_le("event's size")?;
    let data = reader.bytes("event", length as usize)?.to_vec();
    Ok(Event { pcr, kind, digests, data })
}
