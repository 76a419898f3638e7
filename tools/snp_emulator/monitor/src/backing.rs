//! Where guest-physical memory lies in the host: at the same address, except for what an image brings
//! outside of RAM (firmware volumes below 4 GiB, the first VMSA at the top of the address space).

use crate::{heap, physical};
use alloc::vec::Vec;
use model::rmp::MemoryRange;

/// Positions in a page that [`model::Contents::scramble`] marks, and the distance between them in bytes.
const MARKS: usize = 8;
const MARK_DISTANCE: u64 = 0x208;
const PAGE: u64 = 4096;

struct Section {
    range: MemoryRange,
    host: u64,
}

/// The memory of the guest.
pub struct Backing {
    sections: Vec<Section>,
}

impl Backing {
    /// Memory in which `ram` is at its own addresses.
    pub fn new(ram: &[MemoryRange]) -> Self {
        Self { sections: ram.iter().map(|range| Section { range: *range, host: range.start }).collect() }
    }

    /// Adds memory at guest addresses that have none.
    pub fn add(&mut self, range: MemoryRange) {
        let host = heap::guest_frames((range.bytes / PAGE) as usize);
        self.sections.push(Section { range, host });
    }

    /// Host-physical address of a guest-physical one; none where there is no memory.
    pub fn host(&self, guest: u64) -> Option<u64> {
        let section = self.sections.iter().find(|s| guest.wrapping_sub(s.range.start) < s.range.bytes)?;
        Some(guest - section.range.start + section.host)
    }

    /// Copies guest memory out, page by page; `false` where there is none.
    pub fn read(&self, guest: u64, bytes: &mut [u8]) -> bool {
        self.for_pages(guest, bytes.len(), |host, part| physical::read_bytes(host, &mut bytes[part]))
    }

    /// Copies into guest memory, page by page; `false` where there is none.
    pub fn write(&self, guest: u64, bytes: &[u8]) -> bool {
        self.for_pages(guest, bytes.len(), |host, part| physical::write_bytes(host, &bytes[part]))
    }

    fn for_pages(
        &self,
        guest: u64,
        length: usize,
        mut each: impl FnMut(u64, core::ops::Range<usize>),
    ) -> bool {
        let mut done = 0;
        while done < length {
            let address = guest.wrapping_add(done as u64);
            let count = ((PAGE - address % PAGE) as usize).min(length - done);
            let Some(host) = self.host(address) else { return false };
            each(host, done..done + count);
            done += count;
        }
        true
    }

    /// Reads a little-endian `u64`.
    pub fn read_u64(&self, guest: u64) -> Option<u64> {
        if guest.is_multiple_of(8) {
            return self.host(guest).map(physical::read_u64);
        }
        let mut bytes = [0; 8];
        self.read(guest, &mut bytes).then(|| u64::from_le_bytes(bytes))
    }
}

/// The values that stand at the marked positions of a page whose contents mean nothing.
fn marks(page: u64) -> [u64; MARKS] {
    core::array::from_fn(|index| {
        let at = page + index as u64 * MARK_DISTANCE;
        (at ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9) | 1
    })
}

impl model::Contents for Backing {
    fn scramble(&mut self, address: u64, bytes: u64) {
        for page in (address..address + bytes).step_by(PAGE as usize) {
            if let Some(host) = self.host(page) {
                physical::write_spread(host, MARK_DISTANCE, marks(page));
            }
        }
    }

    fn is_scrambled(&self, address: u64) -> bool {
        let Some(host) = self.host(address) else { return false };
        let found: [u64; MARKS] = physical::read_spread(host, MARK_DISTANCE);
        found.iter().zip(marks(address)).any(|(found, mark)| *found == mark)
    }

    fn read(&self, address: u64, bytes: &mut [u8]) -> bool {
        Self::read(self, address, bytes)
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> bool {
        Self::write(self, address, bytes)
    }
}
