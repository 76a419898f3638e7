//! Secrets that are exchanged through an asymmetric key: salts, seeds of credentials and of duplicates. Part 1, annexes on RSA
//! and ECC secret sharing.

use super::Object;
use crate::response_code::ResponseCode;
use crate::wire::{Result, Secret};

/// The secret behind TPM2B_ENCRYPTED_SECRET: TPM_RC_KEY where the key is not asymmetric, TPM_RC_VALUE or another code of the
/// ciphertext otherwise.
pub fn decrypt(_key: &Object, _label: &[u8], _encrypted: &[u8]) -> Result<Secret> {
    Err(ResponseCode::KEY)
}
