//! Parameter encryption: Part 1, section on session-based encryption.

use crate::crypto::kdf::{kdfa, xor_obfuscation};
use crate::crypto::symmetric::{Aes, CipherMode};
use crate::response_code::ResponseCode;
use crate::session::Session;
use crate::structures::algorithms::SymmetricDefinition;
use crate::wire::{Reader, Result, Secret};

/// Which way a parameter goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Decrypt,
    Encrypt,
}

/// Decrypts or encrypts the first parameter, a TPM2B, in place: TPM_RC_INSUFFICIENT or TPM_RC_SIZE when there is none.
pub fn transform(
    session: &Session,
    direction: Direction,
    nonce_caller: &[u8],
    auth: &Secret,
    parameters: &mut [u8],
) -> Result<()> {
    let size = usize::from(Reader::new(parameters).read::<u16>()?);
    let (_, body) = parameters.split_at_mut_checked(2).ok_or(ResponseCode::INSUFFICIENT)?;
    let data = body.get_mut(..size).ok_or(ResponseCode::SIZE)?;
    let key = session.key.followed_by(auth);
    let nonce_tpm = session.nonce_tpm.as_bytes();
    let (newer, older) = match direction {
        Direction::Decrypt => (nonce_caller, nonce_tpm),
        Direction::Encrypt => (nonce_tpm, nonce_caller),
    };
    match session.symmetric {
        SymmetricDefinition::Null => Ok(()),
        SymmetricDefinition::Xor(hash) => {
            xor_obfuscation(hash, key.as_bytes(), newer, older, data);
            Ok(())
        }
        SymmetricDefinition::Aes(cipher) => {
            const BLOCK_BITS: u32 = 128;
            let bits = u32::from(cipher.key_bits).saturating_add(BLOCK_BITS);
            let stream = kdfa(session.hash, key.as_bytes(), b"CFB", newer, older, bits);
            let (key, iv) = stream.split_at_checked(cipher.key_bytes()).ok_or(ResponseCode::FAILURE)?;
            let mut iv = iv.try_into().map_err(|_| ResponseCode::FAILURE)?;
            let aes = Aes::new(key).ok_or(ResponseCode::FAILURE)?;
            let done = match direction {
                Direction::Decrypt => aes.decrypt(CipherMode::Cfb, &mut iv, data),
                Direction::Encrypt => aes.encrypt(CipherMode::Cfb, &mut iv, data),
            };
            done.map_err(|_| ResponseCode::FAILURE)
        }
    }
}
