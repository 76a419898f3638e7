//! A guest's GHCB page, read field by field: the guest may change it at any time, so each field is
//! copied once and judged after that.

use crate::physical;
use snp_abi::ghcb::event::{HostAnswer, MalformedRequest};
use snp_abi::ghcb::page::{GhcbField, GhcbPage, SHARED_BUFFER_BYTES, SHARED_BUFFER_OFFSET, ValidBitmap};

/// The page.
pub struct Ghcb {
    host: u64,
    /// Guest-physical address.
    address: u64,
    valid: ValidBitmap,
    /// What the answer will say is valid, and RAX, RCX, RDX and RBX as KVM has them when it answers.
    registers: Option<[(GhcbField, u64); 4]>,
}

const REGISTERS: [GhcbField; 4] = [GhcbField::Rax, GhcbField::Rbx, GhcbField::Rcx, GhcbField::Rdx];
/// End of the area that KVM takes scratch buffers in.
const BUFFER_END: u64 = (SHARED_BUFFER_OFFSET + SHARED_BUFFER_BYTES) as u64;

impl Ghcb {
    /// The GHCB at a host address, with its guest-physical one; its valid bitmap is read now, and cleared as KVM clears it (sev.c:4560).
    pub fn new(host: u64, address: u64, follows_kvm: bool) -> Self {
        let low = physical::read_u64(host + ValidBitmap::OFFSET as u64);
        let high = physical::read_u64(host + ValidBitmap::OFFSET as u64 + 8);
        let mut ghcb = Self { host, address, valid: ValidBitmap { low, high }, registers: None };
        if follows_kvm {
            ghcb.registers = Some(REGISTERS.map(|field| (field, ghcb.input(field).unwrap_or(0))));
            ghcb.write_bitmap(ValidBitmap { low: 0, high: 0 });
        }
        ghcb
    }

    fn write_bitmap(&self, bitmap: ValidBitmap) {
        physical::write_u64(self.host + ValidBitmap::OFFSET as u64, bitmap.low);
        physical::write_u64(self.host + ValidBitmap::OFFSET as u64 + 8, bitmap.high);
    }

    /// The layout that the guest says the page has.
    pub fn usage(&self) -> u32 {
        physical::read_u32(self.host + core::mem::offset_of!(GhcbPage, usage) as u64)
    }

    /// A field that the guest marked valid.
    pub fn input(&self, field: GhcbField) -> Option<u64> {
        self.valid.contains(field).then(|| physical::read_u64(self.host + field.offset() as u64))
    }

    /// A field that the event needs.
    pub fn required(&self, field: GhcbField) -> Result<u64, MalformedRequest> {
        self.input(field).ok_or(MalformedRequest::MissingInput)
    }

    /// Host address of a range of the page's shared buffer; none where it is not all in there.
    pub fn in_shared_buffer(&self, address: u64, bytes: u64) -> Option<u64> {
        (bytes <= self.room_behind(address)?).then(|| self.host + (address - self.address))
    }

    /// Bytes of the shared buffer from an address on; none where it is not in there.
    pub fn room_behind(&self, address: u64) -> Option<u64> {
        let offset = address.checked_sub(self.address)?;
        (SHARED_BUFFER_OFFSET as u64..BUFFER_END).contains(&offset).then(|| BUFFER_END - offset)
    }

    /// Sets a field; it counts as valid from the answer on.
    pub fn output(&mut self, field: GhcbField, value: u64) {
        if let Some(known) = self.registers.iter_mut().flatten().find(|(known, _)| *known == field) {
            known.1 = value;
            return;
        }
        physical::write_u64(self.host + field.offset() as u64, value);
        if self.registers.is_none() {
            self.valid = self.valid.with(field);
            self.write_bitmap(self.valid);
        }
    }

    /// Sets the two information words. KVM writes RAX to RDX each time, zeros where the guest gave none, and nothing else is valid (sev.c:3399).
    pub fn answer(&mut self, answer: HostAnswer) {
        let (first, second) = answer.encode();
        self.output(GhcbField::SwExitInfo1, first);
        self.output(GhcbField::SwExitInfo2, second);
        let Some(registers) = self.registers else { return };
        let mut valid = ValidBitmap { low: 0, high: 0 };
        for (field, value) in registers {
            physical::write_u64(self.host + field.offset() as u64, value);
            valid = valid.with(field);
        }
        self.write_bitmap(valid.with(GhcbField::SwExitInfo1).with(GhcbField::SwExitInfo2));
    }
}
