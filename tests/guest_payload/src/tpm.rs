//! The TPM as a guest uses it: frames of the vTPM protocol (58019, chapter 8), and the few commands that the cases need.

use crate::attest::{copy, pages};
use crate::memory::write;
use crate::svsm::{self, Answer, boot_calling_area, call_from};

pub const QUERY: u64 = 2 << 32;
pub const COMMAND: u64 = 2 << 32 | 1;
pub const SEND_COMMAND: u32 = 8;
const FRAME_BYTES: usize = 9;
/// Bytes of the buffer.
pub const BUFFER_BYTES: usize = 4096;
/// Calls while other vCPUs use the TPM: an RSA key takes a while.
const PATIENCE: usize = 10_000_000;

pub const RC_INITIALIZE: u32 = 0x100;
pub const RC_COMMAND_SIZE: u32 = 0x142;
pub const STARTUP_CLEAR: [u8; 12] = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0];
pub const GET_RANDOM_32: [u8; 12] = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7b, 0, 32];

/// A response of the TPM.
pub struct Response {
    pub bytes: [u8; 2048],
    pub length: usize,
}

impl Response {
    pub fn code(&self) -> u32 {
        u32::from_be_bytes([self.bytes[6], self.bytes[7], self.bytes[8], self.bytes[9]])
    }
}

/// Copies bytes into this guest's memory.
pub fn put(address: u64, bytes: &[u8]) {
    for (offset, byte) in (0..).zip(bytes) {
        // SAFETY: callers name buffers of their own.
        unsafe { ((address + offset) as *mut u8).write_volatile(*byte) };
    }
}

/// A frame with these fields, and the command behind it.
pub fn put_frame(buffer: u64, command: u32, locality: u8, size: u32, bytes: &[u8]) {
    let mut frame = [0; FRAME_BYTES];
    frame[..4].copy_from_slice(&command.to_le_bytes());
    frame[4] = locality;
    frame[5..].copy_from_slice(&size.to_le_bytes());
    put(buffer, &frame);
    put(buffer + FRAME_BYTES as u64, bytes);
}

/// Sends what lies in a buffer; again while the TPM is busy.
pub fn send_buffer(calling_area: u64, buffer: u64) -> Answer {
    for _ in 0..PATIENCE {
        let answer = call_from(calling_area, COMMAND, buffer, 0, 0);
        if answer.rax != svsm::BUSY {
            return answer;
        }
    }
    panic!("the TPM stays busy");
}

/// Runs a command through a buffer of this vCPU's; none if the call is refused.
pub fn run_in(calling_area: u64, buffer: u64, command: &[u8]) -> Option<Response> {
    put_frame(buffer, SEND_COMMAND, 0, command.len() as u32, command);
    if send_buffer(calling_area, buffer).rax != svsm::SUCCESS {
        return None;
    }
    let mut response = Response { bytes: [0; 2048], length: 0 };
    let mut length = [0; 4];
    copy(buffer, &mut length);
    response.length = u32::from_le_bytes(length) as usize;
    let count = response.length.min(response.bytes.len());
    copy(buffer + 4, &mut response.bytes[..count]);
    Some(response)
}

/// Runs a command on the boot vCPU.
pub fn run(command: &[u8]) -> Option<Response> {
    run_in(boot_calling_area(), pages(1), command)
}

/// TPM2_PCR_Extend of the SHA-256 bank.
pub fn pcr_extend(pcr: u8, digest: &[u8; 32]) -> [u8; 65] {
    let mut command = [0; 65];
    command[..14].copy_from_slice(&[0x80, 2, 0, 0, 0, 65, 0, 0, 1, 0x82, 0, 0, 0, pcr]);
    command[14..27].copy_from_slice(&[0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0]);
    command[27..33].copy_from_slice(&[0, 0, 0, 1, 0, 0x0b]);
    command[33..].copy_from_slice(digest);
    command
}

/// The SHA-256 value of a PCR.
pub fn pcr_value(pcr: u8) -> Option<[u8; 32]> {
    let mut command = [0x80, 1, 0, 0, 0, 20, 0, 0, 1, 0x7e, 0, 0, 0, 1, 0, 0x0b, 3, 0, 0, 0];
    command[17 + usize::from(pcr / 8)] = 1 << (pcr % 8);
    let response = run(&command).filter(|response| response.code() == 0)?;
    // Header, update counter, selection of 10 bytes, count, size.
    response.bytes[10 + 4 + 10 + 4 + 2..].first_chunk().copied()
}

/// TPM2_CreatePrimary of the RSA-2048 endorsement key by the default template (TCG EK Credential Profile, L-1).
pub fn create_endorsement_key() -> [u8; 355] {
    let mut command = [0; 355];
    command[..14].copy_from_slice(&[0x80, 2, 0, 0, 1, 0x63, 0, 0, 1, 0x31, 0x40, 0, 0, 0x0b]);
    command[14..27].copy_from_slice(&[0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0]);
    command[27..33].copy_from_slice(&[0, 4, 0, 0, 0, 0]);
    command[33..45].copy_from_slice(&[0x01, 0x3a, 0, 1, 0, 0x0b, 0, 3, 0, 0xb2, 0, 0x20]);
    let policy = "837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa";
    for (place, pair) in command[45..77].iter_mut().zip(policy.as_bytes().chunks(2)) {
        let digit = |byte: u8| (byte as char).to_digit(16).unwrap_or(0) as u8;
        *place = digit(pair[0]) << 4 | digit(pair[1]);
    }
    command[77..93].copy_from_slice(&[0, 6, 0, 0x80, 0, 0x43, 0, 0x10, 8, 0, 0, 0, 0, 0, 1, 0]);
    command
}

/// TPM2_FlushContext.
pub fn flush_context(handle: &[u8]) -> [u8; 14] {
    let mut command = [0x80, 1, 0, 0, 0, 14, 0, 0, 1, 0x65, 0, 0, 0, 0];
    command[10..].copy_from_slice(&handle[..4]);
    command
}

/// Two pages that lie one behind the other, marked.
pub fn marked_pages() -> u64 {
    let first = pages(2);
    for offset in (0..8192).step_by(8) {
        write(first + offset, 0x5a5a_5a5a_5a5a_5a5a);
    }
    first
}
