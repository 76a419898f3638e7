//! Signing, decryption, key derivation and keyed hash schemes: Part 2, section 11.2.

use alloc::vec::Vec;

use super::algorithms::id;
use crate::crypto::hash::HashAlgorithm;
use crate::response_code::ResponseCode;
use crate::wire::{Marshal, Reader, Result, Unmarshal};

/// What TPMT_RSA_SCHEME, TPMT_RSA_DECRYPT, TPMT_ECC_SCHEME and TPMT_SIG_SCHEME say; each interface type admits some of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Null,
    RsaSsa(HashAlgorithm),
    RsaPss(HashAlgorithm),
    RsaEs,
    Oaep(HashAlgorithm),
    EcDsa(HashAlgorithm),
    /// ECDAA with the counter of the Commit that it belongs to.
    EcDaa(HashAlgorithm, u16),
    EcSchnorr(HashAlgorithm),
    Ecdh(HashAlgorithm),
    EcMqv(HashAlgorithm),
    Hmac(HashAlgorithm),
}

impl Scheme {
    /// The algorithm identifier.
    pub const fn to_wire(self) -> u16 {
        match self {
            Self::Null => id::NULL,
            Self::RsaSsa(_) => id::RSASSA,
            Self::RsaPss(_) => id::RSAPSS,
            Self::RsaEs => id::RSAES,
            Self::Oaep(_) => id::OAEP,
            Self::EcDsa(_) => id::ECDSA,
            Self::EcDaa(..) => id::ECDAA,
            Self::EcSchnorr(_) => id::ECSCHNORR,
            Self::Ecdh(_) => id::ECDH,
            Self::EcMqv(_) => id::ECMQV,
            Self::Hmac(_) => id::HMAC,
        }
    }

    pub const fn is_null(self) -> bool {
        matches!(self, Self::Null)
    }

    pub const fn hash(self) -> Option<HashAlgorithm> {
        match self {
            Self::Null | Self::RsaEs => None,
            Self::RsaSsa(hash)
            | Self::RsaPss(hash)
            | Self::Oaep(hash)
            | Self::EcDsa(hash)
            | Self::EcDaa(hash, _)
            | Self::EcSchnorr(hash)
            | Self::Ecdh(hash)
            | Self::EcMqv(hash)
            | Self::Hmac(hash) => Some(hash),
        }
    }

    /// Whether an asymmetric key signs with it.
    pub const fn is_asymmetric_signing(self) -> bool {
        matches!(
            self,
            Self::RsaSsa(_) | Self::RsaPss(_) | Self::EcDsa(_) | Self::EcDaa(..) | Self::EcSchnorr(_)
        )
    }

    /// Whether an RSA key decrypts with it.
    pub const fn is_rsa_decryption(self) -> bool {
        matches!(self, Self::RsaEs | Self::Oaep(_))
    }

    /// Whether an ECC key exchanges keys with it.
    pub const fn is_ecc_decryption(self) -> bool {
        matches!(self, Self::Ecdh(_) | Self::EcMqv(_))
    }

    /// TPMT_RSA_SCHEME+: TPM_RC_VALUE for another algorithm.
    pub fn unmarshal_rsa(reader: &mut Reader<'_>) -> Result<Self> {
        let allowed = [id::RSASSA, id::RSAPSS, id::RSAES, id::OAEP, id::NULL];
        Self::unmarshal_of(reader, &allowed, ResponseCode::VALUE)
    }

    /// TPMT_RSA_DECRYPT+: TPM_RC_VALUE for another algorithm.
    pub fn unmarshal_rsa_decrypt(reader: &mut Reader<'_>) -> Result<Self> {
        Self::unmarshal_of(reader, &[id::RSAES, id::OAEP, id::NULL], ResponseCode::VALUE)
    }

    /// TPMT_ECC_SCHEME+: TPM_RC_SCHEME for another algorithm.
    pub fn unmarshal_ecc(reader: &mut Reader<'_>) -> Result<Self> {
        let allowed = [id::ECDSA, id::ECDAA, id::ECSCHNORR, id::ECDH, id::ECMQV, id::NULL];
        Self::unmarshal_of(reader, &allowed, ResponseCode::SCHEME)
    }

    /// TPMT_SIG_SCHEME+: TPM_RC_SCHEME for another algorithm.
    pub fn unmarshal_signing(reader: &mut Reader<'_>) -> Result<Self> {
        let allowed = [id::RSASSA, id::RSAPSS, id::ECDSA, id::ECDAA, id::ECSCHNORR, id::HMAC, id::NULL];
        Self::unmarshal_of(reader, &allowed, ResponseCode::SCHEME)
    }

    fn unmarshal_of(reader: &mut Reader<'_>, allowed: &[u16], refusal: ResponseCode) -> Result<Self> {
        let scheme = reader.read::<u16>()?;
        if !allowed.contains(&scheme) {
            return Err(refusal);
        }
        Ok(match scheme {
            id::RSASSA => Self::RsaSsa(reader.read()?),
            id::RSAPSS => Self::RsaPss(reader.read()?),
            id::RSAES => Self::RsaEs,
            id::OAEP => Self::Oaep(reader.read()?),
            id::ECDSA => Self::EcDsa(reader.read()?),
            id::ECDAA => Self::EcDaa(reader.read()?, reader.read()?),
            id::ECSCHNORR => Self::EcSchnorr(reader.read()?),
            id::ECDH => Self::Ecdh(reader.read()?),
            id::ECMQV => Self::EcMqv(reader.read()?),
            id::HMAC => Self::Hmac(reader.read()?),
            _ => Self::Null,
        })
    }
}

impl Marshal for Scheme {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.to_wire().marshal(out);
        if let Some(hash) = self.hash() {
            hash.marshal(out);
        }
        if let Self::EcDaa(_, count) = self {
            count.marshal(out);
        }
    }
}

/// TPMI_ALG_KDF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kdf {
    Mgf1,
    Sp80056a,
    /// KDF2 of ISO 18033-2.
    Iso18033,
    Sp800108,
}

impl Kdf {
    pub const fn to_wire(self) -> u16 {
        match self {
            Self::Mgf1 => id::MGF1,
            Self::Sp80056a => id::KDF1_SP800_56A,
            Self::Iso18033 => id::KDF2,
            Self::Sp800108 => id::KDF1_SP800_108,
        }
    }
}

/// TPMI_ALG_KDF+: TPM_RC_KDF for another algorithm.
impl Unmarshal for Option<Kdf> {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Some(match reader.read::<u16>()? {
            id::MGF1 => Kdf::Mgf1,
            id::KDF1_SP800_56A => Kdf::Sp80056a,
            id::KDF2 => Kdf::Iso18033,
            id::KDF1_SP800_108 => Kdf::Sp800108,
            id::NULL => return Ok(None),
            _ => return Err(ResponseCode::KDF),
        }))
    }
}

impl Marshal for Option<Kdf> {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.map_or(id::NULL, Kdf::to_wire).marshal(out);
    }
}

/// TPMT_KDF_SCHEME other than null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KdfScheme {
    pub kdf: Kdf,
    pub hash: HashAlgorithm,
}

impl Unmarshal for Option<KdfScheme> {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self> {
        match reader.read::<Option<Kdf>>()? {
            None => Ok(None),
            Some(kdf) => Ok(Some(KdfScheme { kdf, hash: reader.read()? })),
        }
    }
}

impl Marshal for Option<KdfScheme> {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.map(|scheme| scheme.kdf).marshal(out);
        if let Some(scheme) = self {
            scheme.hash.marshal(out);
        }
    }
}

/// TPMT_KEYEDHASH_SCHEME+.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyedHashScheme {
    Null,
    Hmac(HashAlgorithm),
    Xor(HashAlgorithm, Option<Kdf>),
}

impl KeyedHashScheme {
    pub const fn hash(self) -> Option<HashAlgorithm> {
        match self {
            Self::Null => None,
            Self::Hmac(hash) | Self::Xor(hash, _) => Some(hash),
        }
    }
}

impl Unmarshal for KeyedHashScheme {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self> {
        match reader.read::<u16>()? {
            id::NULL => Ok(Self::Null),
            id::HMAC => Ok(Self::Hmac(reader.read()?)),
            id::XOR => Ok(Self::Xor(reader.read()?, reader.read()?)),
            _ => Err(ResponseCode::VALUE),
        }
    }
}

impl Marshal for KeyedHashScheme {
    fn marshal(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => id::NULL.marshal(out),
            Self::Hmac(hash) => {
                id::HMAC.marshal(out);
                hash.marshal(out);
            }
            Self::Xor(hash, kdf) => {
                id::XOR.marshal(out);
                hash.marshal(out);
                kdf.marshal(out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(words: &[u16]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn each_interface_type_refuses_foreign_schemes_with_its_own_code() {
        let ecdsa = bytes(&[id::ECDSA, id::SHA256]);
        assert_eq!(Scheme::unmarshal_rsa(&mut Reader::new(&ecdsa)), Err(ResponseCode::VALUE));
        assert_eq!(Scheme::unmarshal_rsa_decrypt(&mut Reader::new(&ecdsa)), Err(ResponseCode::VALUE));
        assert_eq!(Scheme::unmarshal_ecc(&mut Reader::new(&ecdsa)), Ok(Scheme::EcDsa(HashAlgorithm::Sha256)));
        let oaep = bytes(&[id::OAEP, id::SHA256]);
        assert_eq!(Scheme::unmarshal_ecc(&mut Reader::new(&oaep)), Err(ResponseCode::SCHEME));
        assert_eq!(Scheme::unmarshal_signing(&mut Reader::new(&oaep)), Err(ResponseCode::SCHEME));
        let without_hash = bytes(&[id::RSASSA, id::NULL]);
        assert_eq!(Scheme::unmarshal_rsa(&mut Reader::new(&without_hash)), Err(ResponseCode::HASH));
    }

    #[test]
    fn a_keyed_hash_scheme_survives_both_directions() {
        for scheme in [
            KeyedHashScheme::Null,
            KeyedHashScheme::Hmac(HashAlgorithm::Sha384),
            KeyedHashScheme::Xor(HashAlgorithm::Sha256, Some(Kdf::Sp800108)),
        ] {
            assert_eq!(Reader::new(&scheme.to_bytes()).read(), Ok(scheme));
        }
    }
}
