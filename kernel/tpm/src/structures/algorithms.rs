//! Algorithm identifiers and the symmetric definitions: Part 2, sections 6.3, 9 and 11.1.

use alloc::vec::Vec;

use crate::crypto::hash::HashAlgorithm;
use crate::response_code::ResponseCode;
use crate::wire::{Marshal, Reader, Result, Unmarshal};

/// TPM_ALG_ID values.
pub mod id {
    pub const RSA: u16 = 0x0001;
    pub const SHA1: u16 = 0x0004;
    pub const HMAC: u16 = 0x0005;
    pub const AES: u16 = 0x0006;
    pub const MGF1: u16 = 0x0007;
    pub const KEYEDHASH: u16 = 0x0008;
    pub const XOR: u16 = 0x000A;
    pub const SHA256: u16 = 0x000B;
    pub const SHA384: u16 = 0x000C;
    pub const SHA512: u16 = 0x000D;
    pub const NULL: u16 = 0x0010;
    pub const RSASSA: u16 = 0x0014;
    pub const RSAES: u16 = 0x0015;
    pub const RSAPSS: u16 = 0x0016;
    pub const OAEP: u16 = 0x0017;
    pub const ECDSA: u16 = 0x0018;
    pub const ECDH: u16 = 0x0019;
    pub const ECDAA: u16 = 0x001A;
    pub const ECSCHNORR: u16 = 0x001C;
    pub const ECMQV: u16 = 0x001D;
    pub const KDF1_SP800_56A: u16 = 0x0020;
    pub const KDF2: u16 = 0x0021;
    pub const KDF1_SP800_108: u16 = 0x0022;
    pub const ECC: u16 = 0x0023;
    pub const SYMCIPHER: u16 = 0x0025;
    pub const CTR: u16 = 0x0040;
    pub const OFB: u16 = 0x0041;
    pub const CBC: u16 = 0x0042;
    pub const CFB: u16 = 0x0043;
    pub const ECB: u16 = 0x0044;
}

/// TPMI_ALG_HASH.
impl Unmarshal for HashAlgorithm {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self> {
        Self::from_wire(reader.read()?).ok_or(ResponseCode::HASH)
    }
}

impl Marshal for HashAlgorithm {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.to_wire().marshal(out);
    }
}

/// TPMI_ALG_HASH+.
impl Unmarshal for Option<HashAlgorithm> {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self> {
        match reader.read::<u16>()? {
            id::NULL => Ok(None),
            number => HashAlgorithm::from_wire(number).map(Some).ok_or(ResponseCode::HASH),
        }
    }
}

impl Marshal for Option<HashAlgorithm> {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.map_or(id::NULL, HashAlgorithm::to_wire).marshal(out);
    }
}

pub use crate::crypto::symmetric::CipherMode;

/// TPMI_ALG_CIPHER_MODE+: TPM_RC_MODE for what is neither a mode nor null.
impl Unmarshal for Option<CipherMode> {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self> {
        match reader.read::<u16>()? {
            id::NULL => Ok(None),
            number => CipherMode::from_wire(number).map(Some).ok_or(ResponseCode::MODE),
        }
    }
}

impl Marshal for Option<CipherMode> {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.map_or(id::NULL, CipherMode::to_wire).marshal(out);
    }
}

/// AES with a key size and, where one is chosen, a mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockCipher {
    pub key_bits: u16,
    pub mode: Option<CipherMode>,
}

impl BlockCipher {
    pub const fn key_bytes(self) -> usize {
        (self.key_bits / 8) as usize
    }

    fn unmarshal_details(reader: &mut Reader<'_>) -> Result<Self> {
        let key_bits = reader.read::<u16>()?;
        if !matches!(key_bits, 128 | 192 | 256) {
            return Err(ResponseCode::VALUE);
        }
        Ok(Self { key_bits, mode: reader.read()? })
    }

    fn marshal_details(self, out: &mut Vec<u8>) {
        id::AES.marshal(out);
        self.key_bits.marshal(out);
        self.mode.marshal(out);
    }
}

/// TPMT_SYM_DEF_OBJECT+.
impl Unmarshal for Option<BlockCipher> {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self> {
        match reader.read::<u16>()? {
            id::NULL => Ok(None),
            id::AES => BlockCipher::unmarshal_details(reader).map(Some),
            _ => Err(ResponseCode::SYMMETRIC),
        }
    }
}

impl Marshal for Option<BlockCipher> {
    fn marshal(&self, out: &mut Vec<u8>) {
        match self {
            None => id::NULL.marshal(out),
            Some(cipher) => cipher.marshal_details(out),
        }
    }
}

/// TPMT_SYM_DEF+: how a session encrypts parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SymmetricDefinition {
    Null,
    Aes(BlockCipher),
    Xor(HashAlgorithm),
}

impl Unmarshal for SymmetricDefinition {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self> {
        match reader.read::<u16>()? {
            id::NULL => Ok(Self::Null),
            id::AES => BlockCipher::unmarshal_details(reader).map(Self::Aes),
            id::XOR => Ok(Self::Xor(reader.read()?)),
            _ => Err(ResponseCode::SYMMETRIC),
        }
    }
}

impl Marshal for SymmetricDefinition {
    fn marshal(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => id::NULL.marshal(out),
            Self::Aes(cipher) => cipher.marshal_details(out),
            Self::Xor(hash) => {
                id::XOR.marshal(out);
                hash.marshal(out);
            }
        }
    }
}

/// TPM_ECC_CURVE: the curves that this TPM has.
pub use crate::crypto::ecc::EccCurve as Curve;

/// TPMI_ECC_CURVE.
impl Unmarshal for Curve {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self> {
        Self::from_wire(reader.read()?).ok_or(ResponseCode::CURVE)
    }
}

impl Marshal for Curve {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.to_wire().marshal(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: Unmarshal>(words: &[u16]) -> Result<T> {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        Reader::new(&bytes).read()
    }

    #[test]
    fn each_part_of_a_symmetric_definition_has_its_own_error() {
        assert_eq!(read::<SymmetricDefinition>(&[0x0007]), Err(ResponseCode::SYMMETRIC));
        assert_eq!(read::<SymmetricDefinition>(&[id::AES, 100, id::CFB]), Err(ResponseCode::VALUE));
        assert_eq!(read::<SymmetricDefinition>(&[id::AES, 128, id::RSA]), Err(ResponseCode::MODE));
        assert_eq!(read::<SymmetricDefinition>(&[id::XOR, id::NULL]), Err(ResponseCode::HASH));
        assert_eq!(read::<SymmetricDefinition>(&[id::XOR]), Err(ResponseCode::INSUFFICIENT));
        assert_eq!(read::<Option<BlockCipher>>(&[id::XOR, id::SHA256]), Err(ResponseCode::SYMMETRIC));
        assert_eq!(read::<Option<BlockCipher>>(&[id::NULL]), Ok(None));
    }
}
