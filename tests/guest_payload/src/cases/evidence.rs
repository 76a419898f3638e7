//! Writes evidence to the serial port, for a verifier on the other side: lines `evidence NAME HEX`, a part of at most 64
//! bytes each, in order.

use crate::attest::{Operation, REPORT_BYTES, SERVICES, copy};
use crate::boot::Boot;
use crate::serial::println;
use crate::{ghcb, svsm};
use core::fmt;

const PART_BYTES: u64 = 64;

/// Bytes of memory as hexadecimal text.
struct Hex {
    address: u64,
    bytes: u64,
}

impl fmt::Display for Hex {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        (0..self.bytes).try_for_each(|offset| {
            let mut byte = [0];
            copy(self.address + offset, &mut byte);
            write!(formatter, "{:02x}", byte[0])
        })
    }
}

fn print(name: &str, address: u64, bytes: u64) {
    for offset in (0..bytes).step_by(PART_BYTES as usize) {
        let part = Hex { address: address + offset, bytes: PART_BYTES.min(bytes - offset) };
        println!("evidence {name} {part}");
    }
}

/// Report, manifest, certificates and event log, and ends the machine.
pub fn run(boot: &Boot) -> ! {
    let operation = Operation::new();
    let answer = operation.call(SERVICES);
    if answer.rax != svsm::SUCCESS {
        println!("payload: ATTEST_SERVICES: {:#x}", answer.rax);
        ghcb::exit(1);
    }
    print("nonce", operation.nonce, operation.nonce_bytes);
    print("report", operation.report, REPORT_BYTES);
    print("manifest", operation.manifest, answer.rcx);
    print("certificates", operation.certificates, answer.rdx);
    let (start, end) = boot.event_log;
    print("eventlog", start, end - start);
    ghcb::exit(0)
}
