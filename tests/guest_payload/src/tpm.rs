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

/// TPM2_NV_DefineSpace of 64 bytes that the owner reads and writes.
pub const NV_DEFINE: [u8; 45] = [
    0x80, 2, 0, 0, 0, 45, 0, 0, 1, 0x2a, 0x40, 0, 0, 1, // The owner.
    0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0, // An empty password.
    0, 0, 0, 14, 1, 0x80, 0, 1, 0, 0x0b, 0, 2, 0, 2, 0, 0, 0,
    64, // No authorization value; the public area.
];

/// TPM2_NV_Write of these 64 bytes into that index.
pub fn nv_write(data: &[u8; 64]) -> [u8; 99] {
    let mut command = [0; 99];
    command[..14].copy_from_slice(&[0x80, 2, 0, 0, 0, 99, 0, 0, 1, 0x37, 0x40, 0, 0, 1]);
    command[14..18].copy_from_slice(&[1, 0x80, 0, 1]);
    command[18..31].copy_from_slice(&[0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0]);
    command[31..33].copy_from_slice(&[0, 64]);
    command[33..97].copy_from_slice(data);
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

/// TPM2_GetCapability of one fixed property: the manufacturer.
pub const GET_MANUFACTURER: [u8; 22] =
    [0x80, 1, 0, 0, 0, 22, 0, 0, 1, 0x7a, 0, 0, 0, 6, 0, 0, 1, 5, 0, 0, 0, 1];
/// One password session with an empty password, and its length.
const EMPTY_PASSWORD: &str = "00000009 40000009 0000 00 0000";
/// TPMT_PUBLIC of endorsement keys by their default templates (TCG EK Credential Profile 2.6, B.3.3, B.3.4 and B.4.5), without
/// unique fields.
const ENDORSEMENT_RSA_2048: &str = "0001 000b 000300b2 0020 \
    837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa 0006 0080 0043 0010 0800 00000000";
const ENDORSEMENT_P256: &str = "0023 000b 000300b2 0020 \
    837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa 0006 0080 0043 0010 0003 0010";
const ENDORSEMENT_P384: &str = "0023 000c 000300f2 0030 \
    b26e7d28d11a50bc53d882bcf5fd3a1a074148bb35d3b4e4cb1c0ad9bde419cacb47ba09699646150f9fc000f3f80e12 \
    0006 0100 0043 0010 0004 0010";
/// TPMT_PUBLIC of a restricted signing key on P-256.
const ATTESTATION_P256: &str = "0023 000b 00050072 0000 0010 0018 000b 0003 0010";

/// A command that is put together.
pub struct Command {
    bytes: [u8; 512],
    length: usize,
}

impl Command {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
        let length = self.length as u32;
        self.bytes[2..6].copy_from_slice(&length.to_be_bytes());
    }

    /// Hexadecimal digits, in pairs, with spaces between pairs where they help.
    fn push_hex(&mut self, text: &str) {
        let mut digits = text.chars().filter_map(|digit| digit.to_digit(16));
        while let (Some(high), Some(low)) = (digits.next(), digits.next()) {
            self.push(&[(high << 4 | low) as u8]);
        }
    }

    /// A command with one password session, up to its parameters.
    fn with_session(code: u32, handle: &[u8]) -> Self {
        let mut command = Self { bytes: [0; 512], length: 0 };
        command.push(&[0x80, 2, 0, 0, 0, 0]);
        command.push(&code.to_be_bytes());
        command.push(handle);
        command.push_hex(EMPTY_PASSWORD);
        command
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// TPM2_CreatePrimary in the endorsement hierarchy, of a key with this public area and unique field.
fn create_primary(public: &str, unique: &[u8]) -> Command {
    let mut command = Command::with_session(0x131, &[0x40, 0, 0, 0x0b]);
    command.push_hex("0004 0000 0000");
    let digits = public.chars().filter(char::is_ascii_hexdigit).count();
    command.push(&((digits / 2 + unique.len()) as u16).to_be_bytes());
    command.push_hex(public);
    command.push(unique);
    command.push_hex("0000 00000000");
    command
}

/// TPM2_CreatePrimary of the RSA-2048 endorsement key by the default template L-1.
pub fn create_endorsement_key() -> Command {
    create_rsa_key(0)
}

/// The same with another unique field, hence another key; 0 is the template's own.
pub fn create_rsa_key(number: u8) -> Command {
    let mut unique = [0; 2 + 256];
    (unique[0], unique[2]) = (1, number);
    create_primary(ENDORSEMENT_RSA_2048, &unique)
}

/// TPM2_CreatePrimary of the P-256 endorsement key by the default template L-2.
pub fn create_endorsement_key_p256() -> Command {
    let mut unique = [0; 2 * (2 + 32)];
    (unique[1], unique[2 + 32 + 1]) = (32, 32);
    create_primary(ENDORSEMENT_P256, &unique)
}

/// TPM2_CreatePrimary of the P-384 endorsement key by the default template H-3.
pub fn create_endorsement_key_p384() -> Command {
    create_primary(ENDORSEMENT_P384, &[0; 4])
}

/// TPM2_CreatePrimary of a key that signs quotes, on P-256.
pub fn create_attestation_key() -> Command {
    create_primary(ATTESTATION_P256, &[0; 4])
}

/// TPM2_Quote of PCRs 0 to 9 of the SHA-256 bank, by the key's own scheme.
pub fn quote(key: &[u8], qualifying_data: &[u8; 32]) -> Command {
    let mut command = Command::with_session(0x158, &key[..4]);
    command.push(&[0, 32]);
    command.push(qualifying_data);
    command.push_hex("0010 00000001 000b 03 ff0300");
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
