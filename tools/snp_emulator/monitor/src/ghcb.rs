//! A guest's GHCB page, read field by field: the guest may change it at any time, so each field is
//! copied once and judged after that.

use crate::physical;
use snp_abi::ghcb::event::{HostAnswer, MalformedRequest};
use snp_abi::ghcb::page::{GhcbField, ValidBitmap};

/// The page.
pub struct Ghcb {
    host: u64,
    valid: ValidBitmap,
}

impl Ghcb {
    /// The GHCB at a host address; its valid bitmap is read now.
    pub fn new(host: u64) -> Self {
        let low = physical::read_u64(host + ValidBitmap::OFFSET as u64);
        let high = physical::read_u64(host + ValidBitmap::OFFSET as u64 + 8);
        Self { host, valid: ValidBitmap { low, high } }
    }

    /// A field that the guest marked valid.
    pub fn input(&self, field: GhcbField) -> Option<u64> {
        self.valid.contains(field).then(|| physical::read_u64(self.host + field.offset() as u64))
    }

    /// A field that the event needs.
    pub fn required(&self, field: GhcbField) -> Result<u64, MalformedRequest> {
        self.input(field).ok_or(MalformedRequest::MissingInput)
    }

    /// Sets a field and marks it valid.
    pub fn output(&mut self, field: GhcbField, value: u64) {
        physical::write_u64(self.host + field.offset() as u64, value);
        self.valid = self.valid.with(field);
        physical::write_u64(self.host + ValidBitmap::OFFSET as u64, self.valid.low);
        physical::write_u64(self.host + ValidBitmap::OFFSET as u64 + 8, self.valid.high);
    }

    /// Sets the two information words.
    pub fn answer(&mut self, answer: HostAnswer) {
        let (first, second) = answer.encode();
        self.output(GhcbField::SwExitInfo1, first);
        self.output(GhcbField::SwExitInfo2, second);
    }
}
