//! Sensitive areas: Part 2, sections 11.1.15 and 12.3.

use alloc::vec::Vec;

use super::buffers::Auth;
use super::limits::{
    MAX_DIGEST_BYTES, MAX_ECC_KEY_BYTES, MAX_RSA_KEY_BYTES, MAX_SENSITIVE_DATA_BYTES, MAX_SYMMETRIC_KEY_BYTES,
};
use super::public::ObjectType;
use crate::wire::{Marshal, Reader, Result, Secret, Unmarshal};

/// TPMT_SENSITIVE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sensitive {
    pub object_type: ObjectType,
    pub auth: Secret,
    /// The protection seed of a storage key, the obfuscation value of a symmetric object.
    pub seed: Secret,
    /// TPMU_SENSITIVE_COMPOSITE: a prime, a scalar, data or a key.
    pub secret: Secret,
}

impl Sensitive {
    /// TPM2B_SENSITIVE whose size may be zero, which stands for none.
    pub fn unmarshal_sized_or_none(reader: &mut Reader<'_>) -> Result<Option<Self>> {
        let mut ahead = *reader;
        if ahead.read::<u16>()? == 0 {
            *reader = ahead;
            return Ok(None);
        }
        reader.sized_structure(Self::unmarshal).map(Some)
    }
}

impl Unmarshal for Sensitive {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self> {
        let object_type = reader.read()?;
        let auth: Auth = reader.read()?;
        let seed = Secret::from(reader.sized(MAX_DIGEST_BYTES)?);
        let limit = match object_type {
            ObjectType::Rsa => MAX_RSA_KEY_BYTES / 2,
            ObjectType::Ecc => MAX_ECC_KEY_BYTES,
            ObjectType::KeyedHash => MAX_SENSITIVE_DATA_BYTES,
            ObjectType::SymmetricCipher => MAX_SYMMETRIC_KEY_BYTES,
        };
        let secret = Secret::from(reader.sized(limit)?);
        Ok(Self { object_type, auth: auth.0, seed, secret })
    }
}

impl Marshal for Sensitive {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.object_type.to_wire().marshal(out);
        self.auth.marshal(out);
        self.seed.marshal(out);
        self.secret.marshal(out);
    }
}

/// TPMS_SENSITIVE_CREATE.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SensitiveCreate {
    pub auth: Secret,
    pub data: Secret,
}

impl SensitiveCreate {
    /// TPM2B_SENSITIVE_CREATE.
    pub fn unmarshal_sized(reader: &mut Reader<'_>) -> Result<Self> {
        reader.sized_structure(|reader| {
            let auth: Auth = reader.read()?;
            Ok(Self { auth: auth.0, data: Secret::from(reader.sized(MAX_SENSITIVE_DATA_BYTES)?) })
        })
    }
}
