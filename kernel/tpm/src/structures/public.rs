//! Public areas: Part 2, section 12.2.

use alloc::vec::Vec;

use super::algorithms::{BlockCipher, Curve, id};
use super::attributes::ObjectAttributes;
use super::buffers::{Buffer, DigestBuffer, EccPoint};
use super::limits::{MAX_DIGEST_BYTES, MAX_LABEL_BYTES, MAX_RSA_KEY_BYTES, MAX_TEMPLATE_BYTES};
use super::schemes::{KdfScheme, KeyedHashScheme, Scheme};
use crate::crypto::hash::HashAlgorithm;
use crate::response_code::ResponseCode;
use crate::wire::{Marshal, Reader, Result, Unmarshal, put_sized_structure};

/// TPMI_ALG_PUBLIC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectType {
    Rsa,
    KeyedHash,
    Ecc,
    SymmetricCipher,
}

impl ObjectType {
    pub const fn to_wire(self) -> u16 {
        match self {
            Self::Rsa => id::RSA,
            Self::KeyedHash => id::KEYEDHASH,
            Self::Ecc => id::ECC,
            Self::SymmetricCipher => id::SYMCIPHER,
        }
    }
}

impl Unmarshal for ObjectType {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self> {
        match reader.read::<u16>()? {
            id::RSA => Ok(Self::Rsa),
            id::KEYEDHASH => Ok(Self::KeyedHash),
            id::ECC => Ok(Self::Ecc),
            id::SYMCIPHER => Ok(Self::SymmetricCipher),
            _ => Err(ResponseCode::TYPE),
        }
    }
}

/// TPMS_RSA_PARMS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RsaParameters {
    pub symmetric: Option<BlockCipher>,
    pub scheme: Scheme,
    pub key_bits: u16,
    /// Zero stands for 65537.
    pub exponent: u32,
}

/// TPMS_ECC_PARMS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EccParameters {
    pub symmetric: Option<BlockCipher>,
    pub scheme: Scheme,
    pub curve: Curve,
    pub kdf: Option<KdfScheme>,
}

/// TPMU_PUBLIC_PARMS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parameters {
    KeyedHash(KeyedHashScheme),
    SymmetricCipher(Option<BlockCipher>),
    Rsa(RsaParameters),
    Ecc(EccParameters),
}

impl Parameters {
    pub const fn object_type(&self) -> ObjectType {
        match self {
            Self::KeyedHash(_) => ObjectType::KeyedHash,
            Self::SymmetricCipher(_) => ObjectType::SymmetricCipher,
            Self::Rsa(_) => ObjectType::Rsa,
            Self::Ecc(_) => ObjectType::Ecc,
        }
    }

    /// TPMU_PUBLIC_PARMS of a known type.
    pub fn unmarshal_of(object_type: ObjectType, reader: &mut Reader<'_>) -> Result<Self> {
        Ok(match object_type {
            ObjectType::KeyedHash => Self::KeyedHash(reader.read()?),
            ObjectType::SymmetricCipher => {
                // TPMS_SYMCIPHER_PARMS holds TPMT_SYM_DEF_OBJECT without the plus: null is not a cipher.
                let cipher: Option<BlockCipher> = reader.read()?;
                Self::SymmetricCipher(Some(cipher.ok_or(ResponseCode::SYMMETRIC)?))
            }
            ObjectType::Rsa => Self::Rsa(RsaParameters {
                symmetric: reader.read()?,
                scheme: Scheme::unmarshal_rsa(reader)?,
                key_bits: read_rsa_key_bits(reader)?,
                exponent: reader.read()?,
            }),
            ObjectType::Ecc => Self::Ecc(EccParameters {
                symmetric: reader.read()?,
                scheme: Scheme::unmarshal_ecc(reader)?,
                curve: reader.read()?,
                kdf: reader.read()?,
            }),
        })
    }

    /// The symmetric algorithm of a key: of a cipher, or of an asymmetric storage key.
    pub const fn symmetric(&self) -> Option<BlockCipher> {
        match self {
            Self::KeyedHash(_) => None,
            Self::SymmetricCipher(cipher) => *cipher,
            Self::Rsa(rsa) => rsa.symmetric,
            Self::Ecc(ecc) => ecc.symmetric,
        }
    }

    /// The scheme of an asymmetric key; null for others.
    pub const fn asymmetric_scheme(&self) -> Scheme {
        match self {
            Self::Rsa(rsa) => rsa.scheme,
            Self::Ecc(ecc) => ecc.scheme,
            Self::KeyedHash(_) | Self::SymmetricCipher(_) => Scheme::Null,
        }
    }
}

/// TPMI_RSA_KEY_BITS: TPM_RC_VALUE for other sizes, 1024 among them.
fn read_rsa_key_bits(reader: &mut Reader<'_>) -> Result<u16> {
    let key_bits = reader.read::<u16>()?;
    if matches!(key_bits, 2048 | 3072 | 4096) { Ok(key_bits) } else { Err(ResponseCode::VALUE) }
}

impl Marshal for Parameters {
    fn marshal(&self, out: &mut Vec<u8>) {
        match self {
            Self::KeyedHash(scheme) => scheme.marshal(out),
            Self::SymmetricCipher(cipher) => cipher.marshal(out),
            Self::Rsa(rsa) => {
                rsa.symmetric.marshal(out);
                rsa.scheme.marshal(out);
                rsa.key_bits.marshal(out);
                rsa.exponent.marshal(out);
            }
            Self::Ecc(ecc) => {
                ecc.symmetric.marshal(out);
                ecc.scheme.marshal(out);
                ecc.curve.marshal(out);
                ecc.kdf.marshal(out);
            }
        }
    }
}

/// TPMT_PUBLIC_PARMS.
impl Unmarshal for Parameters {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self> {
        let object_type = reader.read()?;
        Self::unmarshal_of(object_type, reader)
    }
}

/// TPMU_PUBLIC_ID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unique {
    /// The digest of a keyed hash or symmetric object.
    Digest(DigestBuffer),
    /// The modulus.
    Modulus(Buffer<MAX_RSA_KEY_BYTES>),
    Point(EccPoint),
    /// TPMS_DERIVE, in a template for a derived object only.
    Derive {
        label: Buffer<MAX_LABEL_BYTES>,
        context: Buffer<MAX_LABEL_BYTES>,
    },
}

impl Marshal for Unique {
    fn marshal(&self, out: &mut Vec<u8>) {
        match self {
            Self::Digest(digest) => digest.marshal(out),
            Self::Modulus(modulus) => modulus.marshal(out),
            Self::Point(point) => point.marshal(out),
            Self::Derive { label, context } => {
                label.marshal(out);
                context.marshal(out);
            }
        }
    }
}

/// TPMT_PUBLIC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Public {
    pub name_hash: Option<HashAlgorithm>,
    pub attributes: ObjectAttributes,
    pub policy: Buffer<MAX_DIGEST_BYTES>,
    pub parameters: Parameters,
    pub unique: Unique,
}

impl Public {
    /// TPMT_PUBLIC, without a null name algorithm: TPM_RC_HASH for one.
    pub fn unmarshal_named(reader: &mut Reader<'_>) -> Result<Self> {
        Self::unmarshal_with(reader, true, false)
    }

    /// TPM2B_PUBLIC, without a null name algorithm.
    pub fn unmarshal_sized(reader: &mut Reader<'_>) -> Result<Self> {
        reader.sized_structure(Self::unmarshal_named)
    }

    /// TPM2B_PUBLIC+: the name algorithm may be null.
    pub fn unmarshal_sized_or_nameless(reader: &mut Reader<'_>) -> Result<Self> {
        reader.sized_structure(|reader| Self::unmarshal_with(reader, false, false))
    }

    /// What this TPM wrote itself: any name algorithm.
    pub fn unmarshal_stored(reader: &mut Reader<'_>) -> Result<Self> {
        Self::unmarshal_with(reader, false, false)
    }

    /// The template of TPM2_CreateLoaded: with `derived`, its unique field is a TPMS_DERIVE.
    pub fn unmarshal_template(bytes: &[u8], derived: bool) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let public = Self::unmarshal_with(&mut reader, true, derived)?;
        if reader.is_empty() { Ok(public) } else { Err(ResponseCode::SIZE) }
    }

    fn unmarshal_with(reader: &mut Reader<'_>, named: bool, derived: bool) -> Result<Self> {
        let object_type: ObjectType = reader.read()?;
        let name_hash: Option<HashAlgorithm> = reader.read()?;
        if named && name_hash.is_none() {
            return Err(ResponseCode::HASH);
        }
        let attributes = reader.read()?;
        let policy = reader.read()?;
        let parameters = Parameters::unmarshal_of(object_type, reader)?;
        let unique = match object_type {
            _ if derived => Unique::Derive { label: reader.read()?, context: reader.read()? },
            ObjectType::KeyedHash | ObjectType::SymmetricCipher => Unique::Digest(reader.read()?),
            ObjectType::Rsa => Unique::Modulus(reader.read()?),
            ObjectType::Ecc => Unique::Point(reader.read()?),
        };
        Ok(Self { name_hash, attributes, policy, parameters, unique })
    }

    pub const fn object_type(&self) -> ObjectType {
        self.parameters.object_type()
    }

    /// Whether an asymmetric key.
    pub const fn is_asymmetric(&self) -> bool {
        matches!(self.object_type(), ObjectType::Rsa | ObjectType::Ecc)
    }

    /// TPM2B_PUBLIC.
    pub fn marshal_sized(&self, out: &mut Vec<u8>) {
        put_sized_structure(out, self);
    }
}

impl Marshal for Public {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.object_type().to_wire().marshal(out);
        self.name_hash.marshal(out);
        self.attributes.marshal(out);
        self.policy.marshal(out);
        self.parameters.marshal(out);
        self.unique.marshal(out);
    }
}

/// TPM2B_TEMPLATE.
pub type Template = Buffer<MAX_TEMPLATE_BYTES>;

#[cfg(test)]
mod tests {
    use super::*;

    /// The TCG's storage root key template for P-256.
    fn storage_root() -> Vec<u8> {
        let mut bytes = alloc::vec![0x00, 0x23, 0x00, 0x0B, 0x00, 0x03, 0x04, 0x72, 0x00, 0x00];
        bytes.extend([0x00, 0x06, 0x00, 0x80, 0x00, 0x43, 0x00, 0x10, 0x00, 0x03, 0x00, 0x10]);
        bytes.extend([0, 0, 0, 0]);
        bytes
    }

    #[test]
    fn a_public_area_survives_both_directions() {
        let bytes = storage_root();
        let public = Public::unmarshal_named(&mut Reader::new(&bytes)).unwrap();
        assert_eq!(public.to_bytes(), bytes);
        assert_eq!(public.object_type(), ObjectType::Ecc);
    }

    #[test]
    fn each_field_of_a_public_area_has_its_own_error() {
        let patched = |at: usize, value: u16| {
            let mut bytes = storage_root();
            bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
            Public::unmarshal_named(&mut Reader::new(&bytes)).map(|_| ())
        };
        assert_eq!(patched(0, 0x0022), Err(ResponseCode::TYPE));
        assert_eq!(patched(2, 0x0006), Err(ResponseCode::HASH));
        assert_eq!(patched(2, 0x0010), Err(ResponseCode::HASH));
        assert_eq!(patched(6, 0x0473), Err(ResponseCode::RESERVED_BITS));
        assert_eq!(patched(8, 0x0041), Err(ResponseCode::SIZE));
        assert_eq!(patched(10, 0x000A), Err(ResponseCode::SYMMETRIC));
        assert_eq!(patched(12, 0x0081), Err(ResponseCode::VALUE));
        assert_eq!(patched(14, 0x0045), Err(ResponseCode::MODE));
        assert_eq!(patched(16, 0x0014), Err(ResponseCode::SCHEME));
        assert_eq!(patched(18, 0x0001), Err(ResponseCode::CURVE));
        assert_eq!(patched(20, 0x0001), Err(ResponseCode::KDF));
        assert_eq!(patched(22, 0x0043), Err(ResponseCode::SIZE));
        assert_eq!(patched(22, 0x0040), Err(ResponseCode::INSUFFICIENT));
    }

    #[test]
    fn only_an_external_object_may_have_no_name_algorithm() {
        let mut bytes = storage_root();
        bytes[2..4].copy_from_slice(&0x0010_u16.to_be_bytes());
        let mut sized = u16::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
        sized.extend(&bytes);
        assert!(Public::unmarshal_sized_or_nameless(&mut Reader::new(&sized)).is_ok());
        assert_eq!(Public::unmarshal_sized(&mut Reader::new(&sized)), Err(ResponseCode::HASH));
    }
}
