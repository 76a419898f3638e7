//! Which PCRs of which banks: Part 2, sections 10.6 and 10.9.

use alloc::vec::Vec;

use super::buffers::{put_list, read_list};
use super::limits::{HASH_COUNT, PCR_COUNT, PCR_SELECT_BYTES};
use crate::crypto::hash::HashAlgorithm;
use crate::response_code::ResponseCode;
use crate::wire::{Marshal, Reader, Result, Unmarshal};

/// TPMS_PCR_SELECTION.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PcrSelection {
    pub hash: HashAlgorithm,
    /// A bit for each PCR, PCR 0 first.
    pub select: [u8; PCR_SELECT_BYTES],
}

impl PcrSelection {
    /// Nothing selected in a bank.
    pub const fn none(hash: HashAlgorithm) -> Self {
        Self { hash, select: [0; PCR_SELECT_BYTES] }
    }

    /// Everything selected in a bank.
    pub const fn all(hash: HashAlgorithm) -> Self {
        Self { hash, select: [0xFF; PCR_SELECT_BYTES] }
    }

    pub fn selects(&self, pcr: usize) -> bool {
        let byte = self.select.get(pcr / 8).copied().unwrap_or(0);
        byte & (1 << (pcr % 8)) != 0
    }

    pub fn set(&mut self, pcr: usize, selected: bool) {
        if let Some(byte) = self.select.get_mut(pcr / 8) {
            let bit = 1 << (pcr % 8);
            *byte = if selected { *byte | bit } else { *byte & !bit };
        }
    }

    /// The numbers of the selected PCRs.
    pub fn pcrs(self) -> impl Iterator<Item = usize> {
        (0..PCR_COUNT).filter(move |pcr| self.selects(*pcr))
    }
}

impl Unmarshal for PcrSelection {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self> {
        let hash = reader.read()?;
        if usize::from(reader.read::<u8>()?) != PCR_SELECT_BYTES {
            return Err(ResponseCode::VALUE);
        }
        Ok(Self { hash, select: reader.array()? })
    }
}

impl Marshal for PcrSelection {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.hash.marshal(out);
        out.push(PCR_SELECT_BYTES as u8);
        out.extend_from_slice(&self.select);
    }
}

/// TPML_PCR_SELECTION: TPM_RC_SIZE for more banks than there are hash algorithms.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PcrSelectionList(pub Vec<PcrSelection>);

impl Unmarshal for PcrSelectionList {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self> {
        read_list(reader, HASH_COUNT).map(Self)
    }
}

impl Marshal for PcrSelectionList {
    fn marshal(&self, out: &mut Vec<u8>) {
        put_list(out, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_has_exactly_three_octets() {
        let read = |bytes: &[u8]| Reader::new(bytes).read::<PcrSelection>();
        assert_eq!(read(&[0, 0x0B, 2, 0, 0]), Err(ResponseCode::VALUE));
        assert_eq!(read(&[0, 0x0B, 4, 0, 0, 0, 0]), Err(ResponseCode::VALUE));
        assert_eq!(read(&[0, 0x10, 3, 0, 0, 0]), Err(ResponseCode::HASH));
        let selection = read(&[0, 0x0B, 3, 1, 0, 0x80]);
        assert_eq!(selection.map(|selection| selection.pcrs().collect::<Vec<_>>()), Ok(alloc::vec![0, 23]));
    }
}
