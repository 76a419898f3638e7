//! The attestation protocol as a guest uses it (58019, chapter 7): operation, buffers, and what comes back.

use crate::memory::{fresh_page, read, write};
use crate::svsm::{self, Answer, boot_calling_area, call_from};

pub const PAGE: u64 = 4096;
pub const SERVICES: u64 = 1 << 32;
pub const SINGLE_SERVICE: u64 = 1 << 32 | 1;
pub const REPORT_BYTES: u64 = 0x4a0;
/// Linux's first size for certificates.
pub const CERTIFICATE_PAGES: u64 = 4;
/// The vTPM, c476f1eb-0123-45a5-9641-b4e7dde5bfe3, as two little-endian words.
pub const VTPM: [u64; 2] = [0x45a5_0123_c476_f1eb, 0xe3bf_e5dd_e7b4_4196];
/// What Linux puts into registers whose change it looks for.
const UNCHANGED: u64 = u64::MAX;
/// Calls while the host is busy.
const PATIENCE: usize = 1000;

/// An operation; each field may be spoiled by a case.
#[derive(Clone, Copy)]
pub struct Operation {
    pub report: u64,
    pub report_bytes: u64,
    pub nonce: u64,
    pub nonce_bytes: u64,
    pub manifest: u64,
    pub manifest_bytes: u64,
    pub certificates: u64,
    pub certificate_bytes: u64,
    pub service: [u64; 2],
    pub version: u64,
}

/// Validated pages that lie one behind the other.
pub fn pages(count: u64) -> u64 {
    loop {
        let first = fresh_page();
        let is_run = (1..count).all(|number| fresh_page() == first + number * PAGE);
        if is_run {
            for number in 0..count {
                assert!(svsm::validate(first + number * PAGE) == svsm::SUCCESS, "cannot validate a buffer");
            }
            return first;
        }
    }
}

impl Operation {
    /// Good buffers, and a nonce of 64 bytes.
    pub fn new() -> Self {
        let nonce = pages(1);
        for index in 0..8 {
            write(nonce + 8 * index, 0x1111_1111_1111_1111 * (index + 1));
        }
        Self {
            report: pages(1),
            report_bytes: PAGE,
            nonce,
            nonce_bytes: 64,
            manifest: pages(1),
            manifest_bytes: PAGE,
            certificates: pages(CERTIFICATE_PAGES),
            certificate_bytes: CERTIFICATE_PAGES * PAGE,
            service: VTPM,
            version: 0,
        }
    }

    fn words(&self) -> [u64; 11] {
        [
            self.report,
            self.report_bytes,
            self.nonce,
            self.nonce_bytes,
            self.manifest,
            self.manifest_bytes,
            self.certificates,
            self.certificate_bytes,
            self.service[0],
            self.service[1],
            self.version,
        ]
    }

    /// Writes the structure to a place.
    pub fn write_to(&self, place: u64) {
        for (address, word) in (place..).step_by(8).zip(self.words()) {
            write(address, word);
        }
    }

    /// The call, with the structure in the calling area as Linux has it; again while the host is busy.
    pub fn call(&self, number: u64) -> Answer {
        let area = boot_calling_area();
        self.write_to(area + 8);
        call_patiently(number, area + 8)
    }

    /// A byte of the report.
    pub fn report_byte(&self, offset: u64) -> u8 {
        (read(self.report + (offset & !7)) >> (8 * (offset % 8))) as u8
    }
}

/// A call with the structure at this address.
pub fn call_patiently(number: u64, operation: u64) -> Answer {
    for _ in 0..PATIENCE {
        let answer = call_from(boot_calling_area(), number, operation, UNCHANGED, UNCHANGED);
        if answer.rax != svsm::BUSY {
            return answer;
        }
    }
    panic!("the host stays busy");
}

/// Bytes of memory, copied.
pub fn copy(address: u64, bytes: &mut [u8]) {
    for (place, offset) in bytes.iter_mut().zip(0..) {
        *place = (read((address + offset) & !7) >> (8 * ((address + offset) % 8))) as u8;
    }
}
