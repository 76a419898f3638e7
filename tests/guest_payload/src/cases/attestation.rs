//! ATTEST_SERVICES and ATTEST_SINGLE_SERVICE (58019, chapter 7; report layout 56860).

use crate::attest::{
    CERTIFICATE_PAGES, Operation, PAGE, REPORT_BYTES, SERVICES, SINGLE_SERVICE, call_patiently, copy, pages,
};
use crate::boot::Boot;
use crate::check::{Check, expect_eq};
use crate::ghcb;
use crate::memory::{fresh_page, read, write};
use crate::svsm::{self, Answer, boot_calling_area, call, call_from};
use sha2::{Digest, Sha512};

const MANIFEST_GUID: [u64; 2] = [0x4670_3d92_6384_9ebb, 0xbb87_4bc9_f958_ffa1];
/// Fields of a report.
const VERSION: u64 = 0;
const VMPL: u64 = 0x30;
const SIGNATURE_ALGORITHM: u64 = 0x34;
const REPORT_DATA: u64 = 0x50;
const SIGNATURE: u64 = 0x2a0;
/// First words of the GUIDs of a certificate table, as they are written: VCEK or VLEK, ASK or ASVK, ARK.
const CHAIN: [[u64; 2]; 3] =
    [[0x63da_758d_e664_4564, 0xa807_4bc2_a25a_483e], [0x4ab7_b379_bbac_4fe4; 2], [0xc0b4_06a4_a803_4952; 2]];

pub fn attestation_protocol_version_1_is_served(_: &Boot) -> Check {
    let answer = call(svsm::QUERY_PROTOCOL, 1 << 32 | 1);
    expect_eq!((answer.rax, answer.rcx), (svsm::SUCCESS, 1 << 32 | 1), "versions");
    expect_eq!(call(svsm::QUERY_PROTOCOL, 1 << 32 | 2).rcx, 0, "version 2");
    Ok(())
}

pub fn unknown_attestation_call_is_refused(_: &Boot) -> Check {
    for number in [2, 3, 0xffff_ffff] {
        expect_eq!(call(1 << 32 | number, 0).rax, svsm::UNSUPPORTED_CALL, "call {}", number);
    }
    Ok(())
}

/// The report of a call that succeeded says what it must, and its data is SHA-512 of nonce and manifest.
fn check_report(operation: &Operation, answer: Answer) -> Check {
    expect_eq!(answer.rax, svsm::SUCCESS, "result");
    expect_eq!(answer.r8, REPORT_BYTES, "report bytes");
    let version = operation.report_byte(VERSION);
    expect_eq!((2..=5).contains(&version), true, "report version {}", version);
    expect_eq!(operation.report_byte(VMPL), 0, "VMPL");
    expect_eq!(operation.report_byte(SIGNATURE_ALGORITHM), 1, "signature algorithm");
    let unsigned = read(operation.report + SIGNATURE) == 0;
    expect_eq!(unsigned, false, "signature is zero");
    let mut page = [0; PAGE as usize];
    let mut hash = Sha512::new();
    copy(operation.nonce, &mut page[..operation.nonce_bytes as usize]);
    hash.update(&page[..operation.nonce_bytes as usize]);
    copy(operation.manifest, &mut page[..answer.rcx as usize]);
    hash.update(&page[..answer.rcx as usize]);
    let mut report_data = [0; 64];
    copy(operation.report + REPORT_DATA, &mut report_data);
    expect_eq!(report_data == hash.finalize()[..], true, "report data is the hash of nonce and manifest");
    Ok(())
}

pub fn all_services_are_attested(_: &Boot) -> Check {
    let operation = Operation::new();
    let answer = operation.call(SERVICES);
    check_report(&operation, answer)?;
    expect_eq!([read(operation.manifest), read(operation.manifest + 8)], MANIFEST_GUID, "manifest GUID");
    let sizes = read(operation.manifest + 16);
    expect_eq!(sizes & 0xffff_ffff, answer.rcx, "manifest bytes");
    let entries = sizes >> 32;
    for entry in 0..entries {
        let place = operation.manifest + 24 + 24 * entry + 16;
        let (offset, length) = (read(place) & 0xffff_ffff, read(place) >> 32);
        expect_eq!(offset >= 24 + 24 * entries && offset + length <= answer.rcx, true, "entry {}", entry);
    }
    Ok(())
}

pub fn certificates_come_with_the_report(_: &Boot) -> Check {
    let operation = Operation::new();
    let answer = operation.call(SERVICES);
    check_report(&operation, answer)?;
    for (row, guids) in CHAIN.iter().enumerate() {
        let place = operation.certificates + 24 * row as u64;
        let guid = read(place).swap_bytes();
        expect_eq!(guids.contains(&guid), true, "GUID of row {}: {:#x}", row, guid);
        let (offset, length) = (read(place + 16) & 0xffff_ffff, read(place + 16) >> 32);
        expect_eq!(length > 0 && offset + length <= answer.rdx, true, "blob of row {}", row);
    }
    expect_eq!(read(operation.certificates + 72), 0, "end of the table");
    Ok(())
}

pub fn report_without_certificates(_: &Boot) -> Check {
    let operation = Operation { certificates: 0, certificate_bytes: 0, ..Operation::new() };
    let answer = operation.call(SERVICES);
    check_report(&operation, answer)?;
    expect_eq!(answer.rdx, 0, "certificate bytes");
    Ok(())
}

/// A shorter one would let its guest move the border between nonce and manifest in what is hashed.
pub fn nonces_have_exactly_64_bytes(_: &Boot) -> Check {
    let good = Operation::new();
    for nonce_bytes in [0, 1, 20, 32, 63, 65, 4096, 0xffff] {
        let answer = Operation { nonce_bytes, ..good }.call(SERVICES);
        expect_eq!(answer.rax, svsm::INVALID_PARAMETER, "nonce of {} bytes", nonce_bytes);
    }
    check_report(&good, good.call(SERVICES))?;
    Ok(())
}

pub fn two_reports_with_one_nonce_differ_only_where_they_may(_: &Boot) -> Check {
    let (first, second) = (Operation::new(), Operation::new());
    check_report(&first, first.call(SERVICES))?;
    check_report(&second, second.call(SERVICES))?;
    for offset in (0..SIGNATURE).step_by(8) {
        expect_eq!(read(first.report + offset), read(second.report + offset), "report at {:#x}", offset);
    }
    Ok(())
}

/// Too small: the sizes come back, and with those the call succeeds.
fn grows(small: Operation, what: &str) -> Check {
    let answer = small.call(SERVICES);
    expect_eq!(answer.rax, svsm::INVALID_PARAMETER, "small buffer for {}", what);
    expect_eq!(answer.r8, REPORT_BYTES, "report bytes for {}", what);
    expect_eq!(answer.rcx >= 24, true, "manifest bytes {}", answer.rcx);
    let grown = Operation {
        report_bytes: answer.r8.max(small.report_bytes),
        manifest_bytes: answer.rcx.max(small.manifest_bytes),
        certificate_bytes: if answer.rdx == u64::MAX { small.certificate_bytes } else { answer.rdx },
        ..small
    };
    check_report(&grown, grown.call(SERVICES))
}

pub fn small_report_buffer_is_told_the_size(_: &Boot) -> Check {
    let good = Operation::new();
    grows(Operation { report_bytes: REPORT_BYTES - 1, ..good }, "the report")?;
    grows(Operation { report_bytes: 0, ..good }, "no report")
}

pub fn small_manifest_buffer_is_told_the_size(_: &Boot) -> Check {
    let good = Operation::new();
    grows(Operation { manifest_bytes: 23, ..good }, "the manifest")?;
    grows(Operation { manifest_bytes: 0, ..good }, "no manifest")
}

pub fn small_certificate_buffer_is_told_the_size(_: &Boot) -> Check {
    let small = Operation { certificate_bytes: 64, ..Operation::new() };
    write(small.report, 0x5a5a);
    let answer = small.call(SERVICES);
    expect_eq!(answer.rdx > 64 && answer.rdx <= CERTIFICATE_PAGES * PAGE, true, "bytes {:#x}", answer.rdx);
    expect_eq!(read(small.report), 0x5a5a, "report buffer");
    grows(small, "certificates")
}

/// An operation that is refused, and leaves the report buffer as it was.
fn refused(operation: Operation, result: u64, what: &str) -> Check {
    for number in [SERVICES, SINGLE_SERVICE] {
        expect_eq!(operation.call(number).rax, result, "{}", what);
    }
    Ok(())
}

pub fn unaligned_attestation_buffers_are_refused(_: &Boot) -> Check {
    let good = Operation::new();
    refused(Operation { report: good.report + 8, ..good }, svsm::INVALID_PARAMETER, "report")?;
    refused(Operation { manifest: good.manifest + 8, ..good }, svsm::INVALID_PARAMETER, "manifest")?;
    let certificates = good.certificates + 8;
    refused(Operation { certificates, ..good }, svsm::INVALID_PARAMETER, "certificates")
}

pub fn nonce_across_pages_is_refused(_: &Boot) -> Check {
    let good = Operation::new();
    refused(Operation { nonce: good.nonce + PAGE - 8, ..good }, svsm::INVALID_PARAMETER, "nonce")
}

pub fn reserved_attestation_fields_are_refused(_: &Boot) -> Check {
    let good = Operation::new();
    let high = 1 << 32;
    let report_bytes = good.report_bytes | high;
    refused(Operation { report_bytes, ..good }, svsm::INVALID_PARAMETER, "report")?;
    refused(Operation { nonce_bytes: 64 | 1 << 16, ..good }, svsm::INVALID_PARAMETER, "nonce")?;
    let manifest_bytes = good.manifest_bytes | high;
    refused(Operation { manifest_bytes, ..good }, svsm::INVALID_PARAMETER, "manifest")?;
    let certificate_bytes = good.certificate_bytes | high;
    refused(Operation { certificate_bytes, ..good }, svsm::INVALID_PARAMETER, "certificates")?;
    let answer = Operation { version: high, ..good }.call(SINGLE_SERVICE);
    expect_eq!(answer.rax, svsm::INVALID_PARAMETER, "version");
    Ok(())
}

pub fn attestation_buffers_outside_of_private_memory_are_refused(boot: &Boot) -> Check {
    let good = Operation::new();
    let shared = pages(1);
    ghcb::share(shared);
    for bad in [boot.svsm_base + 0x3000, fresh_page(), shared, 0xf_ffff_f000] {
        for operation in [
            Operation { report: bad, ..good },
            Operation { nonce: bad, ..good },
            Operation { manifest: bad, ..good },
        ] {
            let answer = operation.call(SERVICES);
            expect_eq!(answer.rax, svsm::INVALID_ADDRESS, "buffer at {:#x}", bad);
        }
    }
    let answer = Operation { certificates: boot.svsm_base + 0x3000, ..good }.call(SERVICES);
    expect_eq!(answer.rax, svsm::INVALID_ADDRESS, "certificates in the SVSM");
    Ok(())
}

pub fn attestation_operation_must_be_private_and_in_one_page(boot: &Boot) -> Check {
    let good = Operation::new();
    let page = pages(1);
    good.write_to(page + PAGE - 0x58);
    check_report(&good, call_patiently(SERVICES, page + PAGE - 0x58))?;
    let across = call_patiently(SERVICES, page + PAGE - 0x38);
    expect_eq!(across.rax, svsm::INVALID_PARAMETER, "operation across pages");
    for bad in [boot.svsm_base + 0x3000, fresh_page()] {
        expect_eq!(call_patiently(SERVICES, bad).rax, svsm::INVALID_ADDRESS, "operation at {:#x}", bad);
    }
    Ok(())
}

pub fn unknown_service_is_refused(_: &Boot) -> Check {
    let operation = Operation { service: [1, 2], ..Operation::new() };
    expect_eq!(operation.call(SINGLE_SERVICE).rax, svsm::UNSUPPORTED_PROTOCOL, "result");
    Ok(())
}

pub fn attestation_works_after_many_refusals(_: &Boot) -> Check {
    let good = Operation::new();
    for _ in 0..20 {
        let answer = Operation { certificate_bytes: 64, ..good }.call(SERVICES);
        expect_eq!(answer.rax, svsm::INVALID_PARAMETER, "small buffer");
    }
    expect_eq!(boot_calling_area() & 0xfff, 0, "calling area");
    check_report(&good, good.call(SERVICES))
}

/// On a host that never has time for a message: each call says so after a while, and everything else goes on.
pub fn host_that_throttles_every_message(boot: &Boot) -> Check {
    let operation = Operation::new();
    write(operation.report, 0x5a5a);
    for round in 0..5 {
        let area = boot_calling_area();
        operation.write_to(area + 8);
        let answer = call_from(area, SERVICES, area + 8, u64::MAX, u64::MAX);
        expect_eq!((answer.served, answer.rax), (true, svsm::BUSY), "call {}", round);
        expect_eq!(read(operation.report), 0x5a5a, "report buffer");
        expect_eq!(call(svsm::QUERY_PROTOCOL, 1).rcx, 1 << 32 | 1, "another protocol");
        super::vtpm::tpm_gives_random_bytes(boot)?;
    }
    Ok(())
}
