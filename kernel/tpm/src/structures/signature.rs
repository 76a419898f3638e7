//! Signatures: Part 2, section 11.3.

use alloc::vec::Vec;

use super::algorithms::id;
use super::buffers::{Buffer, TaggedDigest};
use super::limits::{MAX_ECC_KEY_BYTES, MAX_RSA_KEY_BYTES};
use crate::crypto::hash::HashAlgorithm;
use crate::response_code::ResponseCode;
use crate::wire::{Marshal, Reader, Result, Unmarshal};

/// Which scheme an RSA signature follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RsaSignatureScheme {
    Ssa,
    Pss,
}

/// Which scheme an ECC signature follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EccSignatureScheme {
    Dsa,
    Daa,
    Schnorr,
}

/// TPMT_SIGNATURE+.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signature {
    Null,
    Rsa {
        scheme: RsaSignatureScheme,
        hash: HashAlgorithm,
        signature: Buffer<MAX_RSA_KEY_BYTES>,
    },
    Ecc {
        scheme: EccSignatureScheme,
        hash: HashAlgorithm,
        r: Buffer<MAX_ECC_KEY_BYTES>,
        s: Buffer<MAX_ECC_KEY_BYTES>,
    },
    Hmac(TaggedDigest),
}

impl Signature {
    /// The algorithm identifier.
    pub const fn to_wire(&self) -> u16 {
        match self {
            Self::Null => id::NULL,
            Self::Rsa { scheme: RsaSignatureScheme::Ssa, .. } => id::RSASSA,
            Self::Rsa { scheme: RsaSignatureScheme::Pss, .. } => id::RSAPSS,
            Self::Ecc { scheme: EccSignatureScheme::Dsa, .. } => id::ECDSA,
            Self::Ecc { scheme: EccSignatureScheme::Daa, .. } => id::ECDAA,
            Self::Ecc { scheme: EccSignatureScheme::Schnorr, .. } => id::ECSCHNORR,
            Self::Hmac(_) => id::HMAC,
        }
    }

    pub const fn hash(&self) -> Option<HashAlgorithm> {
        match self {
            Self::Null => None,
            Self::Rsa { hash, .. } | Self::Ecc { hash, .. } => Some(*hash),
            Self::Hmac(digest) => Some(digest.hash),
        }
    }

    fn rsa(scheme: RsaSignatureScheme, reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self::Rsa { scheme, hash: reader.read()?, signature: reader.read()? })
    }

    fn ecc(scheme: EccSignatureScheme, reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self::Ecc { scheme, hash: reader.read()?, r: reader.read()?, s: reader.read()? })
    }

    /// TPMT_SIGNATURE: TPM_RC_SCHEME where null is not allowed.
    pub fn unmarshal_present(reader: &mut Reader<'_>) -> Result<Self> {
        match reader.read()? {
            Self::Null => Err(ResponseCode::SCHEME),
            signature => Ok(signature),
        }
    }
}

impl Unmarshal for Signature {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self> {
        match reader.read::<u16>()? {
            id::NULL => Ok(Self::Null),
            id::RSASSA => Self::rsa(RsaSignatureScheme::Ssa, reader),
            id::RSAPSS => Self::rsa(RsaSignatureScheme::Pss, reader),
            id::ECDSA => Self::ecc(EccSignatureScheme::Dsa, reader),
            id::ECDAA => Self::ecc(EccSignatureScheme::Daa, reader),
            id::ECSCHNORR => Self::ecc(EccSignatureScheme::Schnorr, reader),
            id::HMAC => Ok(Self::Hmac(reader.read()?)),
            _ => Err(ResponseCode::SCHEME),
        }
    }
}

impl Marshal for Signature {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.to_wire().marshal(out);
        match self {
            Self::Null => {}
            Self::Rsa { hash, signature, .. } => {
                hash.marshal(out);
                signature.marshal(out);
            }
            Self::Ecc { hash, r, s, .. } => {
                hash.marshal(out);
                r.marshal(out);
                s.marshal(out);
            }
            Self::Hmac(digest) => digest.marshal(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_survives_both_directions() {
        let bytes = [0x00, 0x18, 0x00, 0x0B, 0, 1, 5, 0, 1, 6];
        let signature: Signature = Reader::new(&bytes).read().unwrap();
        assert_eq!(signature.hash(), Some(HashAlgorithm::Sha256));
        assert_eq!(signature.to_bytes(), bytes);
    }

    #[test]
    fn an_encryption_scheme_is_not_a_signature() {
        assert_eq!(Reader::new(&[0x00, 0x17]).read::<Signature>(), Err(ResponseCode::SCHEME));
        assert_eq!(Signature::unmarshal_present(&mut Reader::new(&[0x00, 0x10])), Err(ResponseCode::SCHEME));
    }
}
