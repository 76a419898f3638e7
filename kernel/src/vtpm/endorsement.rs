//! The endorsement key of the manifest: RSA-2048 by the default template L-1 (TCG EK Credential Profile, B.3.3).

use alloc::vec::Vec;
use tpm::{Platform, Tpm};

/// TPM2_Startup(CLEAR).
const STARTUP: [u8; 12] = [0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x44, 0, 0];
/// TPM2_CreatePrimary in the endorsement hierarchy with empty authorization and no sensitive data, up to the template.
const CREATE_PRIMARY: [u8; 33] = [
    0x80, 0x02, 0, 0, 0x01, 0x63, 0, 0, 0x01, 0x31, // Tag, length, code.
    0x40, 0, 0, 0x0B, // The hierarchy.
    0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0, // Password session.
    0, 4, 0, 0, 0, 0, // Sensitive part.
];
/// The template without its unique field.
const TEMPLATE: [u8; 58] = [
    0, 0x01, 0, 0x0B, // RSA, name by SHA-256.
    0, 0x03, 0, 0xB2, // Fixed, made by the TPM, administered with policy, restricted, decrypts.
    0, 0x20, // PolicySecret of the endorsement hierarchy:
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xB3, 0xF8, 0x1A, 0x90, 0xCC, 0x8D, 0x46, 0xA5, 0xD7, 0x24, //
    0xFD, 0x52, 0xD7, 0x6E, 0x06, 0x52, 0x0B, 0x64, 0xF2, 0xA1, 0xDA, 0x1B, 0x33, 0x14, 0x69, 0xAA, //
    0, 0x06, 0, 0x80, 0, 0x43, // AES-128 in CFB mode.
    0, 0x10, // No scheme.
    0x08, 0, 0, 0, 0, 0, // 2048 bits, default exponent.
    0x01, 0, // Length of the unique field.
];
const UNIQUE_BYTES: usize = 256;
/// Bytes of a response before outPublic: header, handle, length of the parameters.
const BEFORE_PUBLIC: usize = 10 + 4 + 4;

/// Makes the key in a TPM of its own; its TPMT_PUBLIC.
pub fn public_area(mut tpm: Tpm<impl Platform>) -> Option<Vec<u8>> {
    let mut response = [0; 1024];
    run(&mut tpm, &STARTUP, &mut response)?;
    let mut command = CREATE_PRIMARY.to_vec();
    let template_bytes = TEMPLATE.len().checked_add(UNIQUE_BYTES)?;
    command.extend_from_slice(&u16::try_from(template_bytes).ok()?.to_be_bytes());
    command.extend_from_slice(&TEMPLATE);
    command.resize(command.len().checked_add(UNIQUE_BYTES)?, 0);
    // No outside information, no PCRs.
    command.extend_from_slice(&[0; 2 + 4]);
    let length = u32::try_from(command.len()).ok()?;
    command.get_mut(2..6)?.copy_from_slice(&length.to_be_bytes());
    let answer = run(&mut tpm, &command, &mut response)?;
    let (length, rest) = answer.get(BEFORE_PUBLIC..)?.split_first_chunk::<2>()?;
    Some(rest.get(..usize::from(u16::from_be_bytes(*length)))?.to_vec())
}

/// Runs a command; its response, if it succeeded.
fn run<'a>(tpm: &mut Tpm<impl Platform>, command: &[u8], response: &'a mut [u8]) -> Option<&'a [u8]> {
    let length = tpm.execute(0, command, response);
    let answer = response.get(..length)?;
    let code: [u8; 4] = *answer.get(6..)?.first_chunk()?;
    (code == [0; 4]).then_some(answer)
}
