//! The vTPM protocol, and what the firmware did with the TPM before this guest ran.

use crate::attest::{Operation, SERVICES, SINGLE_SERVICE, copy, pages};
use crate::boot::{Boot, read_u32};
use crate::check::{Check, Failure, expect_eq};
use crate::ghcb;
use crate::memory::{fresh_page, read, write};
use crate::svsm::{self, boot_calling_area, call, call_from};
use crate::tpm::{
    BUFFER_BYTES, COMMAND, Command, GET_RANDOM_32, QUERY, RC_COMMAND_SIZE, RC_INITIALIZE, Response,
    SEND_COMMAND, STARTUP_CLEAR, create_endorsement_key, create_endorsement_key_p256,
    create_endorsement_key_p384, flush_context, marked_pages, pcr_extend, pcr_value, put_frame, run, run_in,
    send_buffer,
};
use crate::vcpu::{Created, count, result, start, start_work, stop};
use sha2::{Digest, Sha256};

/// Longest command and response.
const MOST_COMMAND: u32 = BUFFER_BYTES as u32 - 9;
/// A PCR for tests, which an operating system may reset.
const DEBUG_PCR: u8 = 16;
/// outPublic in a response to CreatePrimary.
const PUBLIC: usize = 10 + 4 + 4;

/// The response to a command.
fn answer(command: &[u8]) -> Result<Response, Failure> {
    run(command).ok_or_else(|| Failure::new(format_args!("the call is refused")))
}

pub fn vtpm_protocol_version_1_is_served(_: &Boot) -> Check {
    let versions = call(svsm::QUERY_PROTOCOL, 2 << 32 | 1);
    expect_eq!((versions.rax, versions.rcx), (svsm::SUCCESS, 1 << 32 | 1), "versions");
    expect_eq!(call(svsm::QUERY_PROTOCOL, 2 << 32 | 2).rcx, 0, "version 2");
    Ok(())
}

pub fn vtpm_query_names_the_send_command(_: &Boot) -> Check {
    let query = call(QUERY, 0x77);
    expect_eq!((query.rax, query.rcx, query.rdx), (svsm::SUCCESS, 1 << 8, 0), "query");
    expect_eq!(call(2 << 32 | 2, 0).rax, svsm::UNSUPPORTED_CALL, "third call");
    Ok(())
}

pub fn tpm_is_started_already(_: &Boot) -> Check {
    let response = answer(&STARTUP_CLEAR)?;
    expect_eq!(response.code(), RC_INITIALIZE, "startup");
    Ok(())
}

pub fn tpm_gives_random_bytes(_: &Boot) -> Check {
    let (first, second) = (answer(&GET_RANDOM_32)?, answer(&GET_RANDOM_32)?);
    expect_eq!((first.code(), first.length), (0, 44), "first response");
    expect_eq!((first.bytes[10], first.bytes[11]), (0, 32), "size");
    expect_eq!(first.bytes[12..44] == second.bytes[12..44], false, "two responses are equal");
    Ok(())
}

pub fn pcr_is_extended_as_computed(_: &Boot) -> Check {
    let value = |pcr| pcr_value(pcr).ok_or_else(|| Failure::new(format_args!("PCR_Read fails")));
    let before = value(DEBUG_PCR)?;
    let digest = [0xab; 32];
    expect_eq!(answer(&pcr_extend(DEBUG_PCR, &digest))?.code(), 0, "extend");
    let expected = Sha256::new().chain_update(before).chain_update(digest).finalize();
    expect_eq!(value(DEBUG_PCR)? == expected[..], true, "PCR is the hash of old value and digest");
    Ok(())
}

/// A record of the event log: what is needed to replay it.
struct Event {
    pcr: u32,
    digest: [u8; 32],
    next: u64,
}

/// Reads a crypto-agile record with two digests, SHA-256 first; checks that the digest is that of the data.
fn event(place: u64) -> Result<Event, Failure> {
    let word = |offset: u64| {
        let mut bytes = [0; 4];
        copy(place + offset, &mut bytes);
        u32::from_le_bytes(bytes)
    };
    let mut digest = [0; 32];
    copy(place + 14, &mut digest);
    expect_eq!((word(8), word(12) & 0xffff, word(46) & 0xffff), (2, 0x0b, 0x0c), "digests");
    let (length, mut hash) = (u64::from(word(96)), Sha256::new());
    for offset in 0..length {
        let mut byte = [0];
        copy(place + 100 + offset, &mut byte);
        hash.update(byte);
    }
    expect_eq!(hash.finalize()[..] == digest, true, "digest of the data of an event for PCR {}", word(0));
    Ok(Event { pcr: word(0), digest, next: place + 100 + length })
}

pub fn event_log_replays_to_the_pcrs(boot: &Boot) -> Check {
    let (start, end) = boot.event_log;
    expect_eq!(end > start, true, "there is a log");
    expect_eq!((read_u32(start), read_u32(start + 4)), (0, 3), "first record");
    let mut place = start + 32 + u64::from(read_u32(start + 28));
    let (mut pcrs, mut events) = ([[0; 32]; 24], 0);
    while place < end {
        let event = event(place)?;
        let pcr = &mut pcrs[event.pcr as usize];
        *pcr = Sha256::new().chain_update(*pcr).chain_update(event.digest).finalize().into();
        (place, events) = (event.next, events + 1);
    }
    expect_eq!(place, end, "end of the log");
    expect_eq!(events >= 10, true, "{} events", events);
    for pcr in 0..10 {
        let matches = pcr_value(pcr) == Some(pcrs[usize::from(pcr)]);
        expect_eq!(matches, true, "PCR {}", pcr);
    }
    Ok(())
}

/// An endorsement key as the TPM makes it: its public area, without the size in front.
fn endorsement_key(command: &Command, public: &mut [u8; 512]) -> Result<usize, Failure> {
    let response = answer(command.bytes())?;
    expect_eq!(response.code(), 0, "CreatePrimary");
    let length = usize::from(u16::from_be_bytes([response.bytes[PUBLIC], response.bytes[PUBLIC + 1]]));
    public[..length].copy_from_slice(&response.bytes[PUBLIC + 2..PUBLIC + 2 + length]);
    expect_eq!(answer(&flush_context(&response.bytes[10..14]))?.code(), 0, "FlushContext");
    Ok(length)
}

/// The TPM makes a key by a template, a point of this many bytes a coordinate, and makes the same one again.
fn same_key_twice(command: &Command, coordinate: usize) -> Check {
    let (mut first, mut second) = ([0; 512], [0; 512]);
    let length = endorsement_key(command, &mut first)?;
    // The point is the end of the public area; each coordinate has its size in front.
    let point = length - 2 * (2 + coordinate);
    for place in [point, point + 2 + coordinate] {
        let size = u16::from_be_bytes([first[place], first[place + 1]]);
        expect_eq!(usize::from(size), coordinate, "bytes of a coordinate");
        let is_zero = first[place + 2..place + 2 + coordinate].iter().all(|byte| *byte == 0);
        expect_eq!(is_zero, false, "a coordinate is zero");
    }
    expect_eq!(endorsement_key(command, &mut second)?, length, "bytes of the second key");
    expect_eq!(first == second, true, "the second key is the first");
    Ok(())
}

pub fn p256_endorsement_key_by_template_is_the_same_twice(_: &Boot) -> Check {
    same_key_twice(&create_endorsement_key_p256(), 32)
}

pub fn p384_endorsement_key_by_template_is_the_same_twice(_: &Boot) -> Check {
    same_key_twice(&create_endorsement_key_p384(), 48)
}

pub fn manifest_of_the_vtpm_is_its_endorsement_key(_: &Boot) -> Check {
    let mut public = [0; 512];
    let length = endorsement_key(&create_endorsement_key(), &mut public)?;
    expect_eq!(length, 314, "public area of an RSA-2048 key");
    let operation = Operation::new();
    let attested = operation.call(SINGLE_SERVICE);
    expect_eq!((attested.rax, attested.rcx), (svsm::SUCCESS, length as u64), "manifest bytes");
    let mut manifest = [0; 512];
    copy(operation.manifest, &mut manifest[..length]);
    expect_eq!(manifest[..length] == public[..length], true, "manifest is the key");
    let all = operation.call(SERVICES);
    expect_eq!((all.rax, all.rcx), (svsm::SUCCESS, 24 + 24 + length as u64), "bytes of all manifests");
    copy(operation.manifest + 48, &mut manifest[..length]);
    expect_eq!(manifest[..length] == public[..length], true, "manifest of all services ends with the key");
    let other = Operation { version: 1, ..operation }.call(SINGLE_SERVICE);
    expect_eq!(other.rax, svsm::INVALID_PARAMETER, "manifest version 1");
    Ok(())
}

/// A frame that is refused leaves its buffer as it was.
fn refused(command: u32, locality: u8, size: u32, code: u64, what: &str) -> Check {
    let buffer = pages(1);
    put_frame(buffer, command, locality, size, &GET_RANDOM_32);
    let before = read(buffer);
    expect_eq!(send_buffer(boot_calling_area(), buffer).rax, code, "{}", what);
    expect_eq!(read(buffer), before, "buffer after {}", what);
    Ok(())
}

pub fn malformed_vtpm_frames_are_refused(_: &Boot) -> Check {
    refused(SEND_COMMAND, 1, 12, svsm::INVALID_PARAMETER, "locality 1")?;
    refused(SEND_COMMAND, 255, 12, svsm::INVALID_PARAMETER, "locality 255")?;
    refused(SEND_COMMAND, 0, MOST_COMMAND + 1, svsm::INVALID_PARAMETER, "a byte too many")?;
    refused(SEND_COMMAND, 0, u32::MAX, svsm::INVALID_PARAMETER, "all ones")?;
    refused(7, 0, 12, svsm::UNSUPPORTED_CALL, "platform command 7")?;
    refused(0, 0, 12, svsm::UNSUPPORTED_CALL, "platform command 0")?;
    refused(u32::MAX, 0, 12, svsm::INVALID_PARAMETER, "no platform command")
}

pub fn hostile_tpm_sizes_are_the_tpms_to_refuse(_: &Boot) -> Check {
    let buffer = pages(1);
    for size in [0, 1, 9, 10, 11, 13, 100, MOST_COMMAND] {
        put_frame(buffer, SEND_COMMAND, 0, size, &GET_RANDOM_32);
        expect_eq!(send_buffer(boot_calling_area(), buffer).rax, svsm::SUCCESS, "call with {} bytes", size);
        let mut response = [0; 14];
        copy(buffer, &mut response);
        expect_eq!(response[0], 10, "response to {} bytes", size);
        let code = u32::from_be_bytes([response[10], response[11], response[12], response[13]]);
        let expected = size >= 10;
        expect_eq!(expected && code != RC_COMMAND_SIZE, false, "code {:#x} for {} bytes", code, size);
        expect_eq!(code != 0, true, "code for {} bytes", size);
    }
    expect_eq!(answer(&GET_RANDOM_32)?.code(), 0, "a good command afterwards");
    Ok(())
}

pub fn vtpm_buffer_may_have_any_alignment(_: &Boot) -> Check {
    let first = marked_pages();
    for offset in [1, 8, 0xffd, 0xfff, 0x1000] {
        let response = run_in(boot_calling_area(), first + offset, &GET_RANDOM_32);
        let code = response.map(|response| response.code());
        expect_eq!(code, Some(0), "buffer at offset {:#x}", offset);
    }
    expect_eq!(read(first + 0x1ff8), 0x5a5a_5a5a_5a5a_5a5a, "end of the second page");
    Ok(())
}

pub fn vtpm_buffers_outside_of_private_memory_are_refused(boot: &Boot) -> Check {
    let shared = pages(1);
    ghcb::share(shared);
    let last = pages(1);
    let behind_last = last + 8;
    expect_eq!(call(COMMAND, 0).rax, svsm::INVALID_PARAMETER, "null");
    for bad in [boot.svsm_base + 0x3000, fresh_page(), shared, 0xf_ffff_f000, u64::MAX - 0x800] {
        expect_eq!(call(COMMAND, bad).rax, svsm::INVALID_ADDRESS, "buffer at {:#x}", bad);
    }
    // The page behind the last one taken was never validated.
    write(last, 0);
    expect_eq!(call(COMMAND, behind_last).rax, svsm::INVALID_ADDRESS, "buffer into unvalidated memory");
    Ok(())
}

/// Random numbers, again and again; the number of wrong answers.
fn many_randoms(buffer: u64, calling_area: u64) -> u64 {
    (0..25)
        .filter(|_| run_in(calling_area, buffer, &GET_RANDOM_32).is_none_or(|response| response.code() != 0))
        .count() as u64
}

pub fn all_vcpus_use_the_tpm_at_once(_: &Boot) -> Check {
    let vcpus = count().min(4);
    let created: [Option<Created>; 4] =
        core::array::from_fn(|number| (number > 0 && number < vcpus).then(|| start(number)));
    for number in 1..vcpus {
        start_work(number, many_randoms, pages(1));
    }
    expect_eq!(many_randoms(pages(1), boot_calling_area()), 0, "wrong answers on the boot vCPU");
    for number in 1..vcpus {
        expect_eq!(result(number)?, 0, "wrong answers on vCPU {}", number);
    }
    for (number, created) in created.iter().enumerate() {
        if let Some(created) = created {
            expect_eq!(stop(number, created), svsm::SUCCESS, "delete vCPU {}", number);
        }
    }
    Ok(())
}

/// Makes an RSA key; the response code.
fn make_key(buffer: u64, calling_area: u64) -> u64 {
    let Some(response) = run_in(calling_area, buffer, create_endorsement_key().bytes()) else {
        return u64::MAX;
    };
    let handle = flush_context(&response.bytes[10..14]);
    let flushed = run_in(calling_area, buffer, &handle).map_or(u64::MAX, |response| response.code().into());
    u64::from(response.code()) | flushed
}

pub fn long_tpm_command_does_not_hold_up_other_vcpus(_: &Boot) -> Check {
    let created = start(1);
    start_work(1, make_key, pages(1));
    let (buffer, area) = (pages(1), boot_calling_area());
    let (mut busy, mut served) = (0, 0);
    // The key takes far longer than these calls: the TPM is seen busy, and everything else goes on.
    for _ in 0..100_000 {
        expect_eq!(call(svsm::QUERY_PROTOCOL, 1).rcx, 1 << 32 | 1, "query");
        served += 1;
        put_frame(buffer, SEND_COMMAND, 0, 12, &GET_RANDOM_32);
        match call_from(area, COMMAND, buffer, 0, 0).rax {
            svsm::BUSY => busy += 1,
            // Before the other vCPU has begun, or after it is done.
            _ if busy > 0 => break,
            _ => {}
        }
    }
    expect_eq!(busy > 0, true, "the TPM was never busy in {} calls", served);
    expect_eq!(result(1)?, 0, "key on vCPU 1");
    expect_eq!(stop(1, &created), svsm::SUCCESS, "delete");
    Ok(())
}
