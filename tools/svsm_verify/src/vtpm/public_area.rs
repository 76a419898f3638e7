//! TPMT_PUBLIC: the public area of a TPM object, and its name (TPM 2.0 Part 2, 12.2; Part 1, 16).

use super::hash::HashAlgorithm;
use crate::reader::{Malformed, Reader};

/// Attributes of an object (Part 2, 8.3).
pub mod attributes {
    /// The object never leaves its TPM.
    pub const FIXED_TPM: u32 = 1 << 1;
    /// The object never leaves its parent.
    pub const FIXED_PARENT: u32 = 1 << 4;
    /// The TPM made the private part.
    pub const SENSITIVE_DATA_ORIGIN: u32 = 1 << 5;
    /// The key works on the TPM's own structures only.
    pub const RESTRICTED: u32 = 1 << 16;
    /// The key decrypts.
    pub const DECRYPT: u32 = 1 << 17;
    /// The key signs.
    pub const SIGN: u32 = 1 << 18;
    /// Bits that mean nothing; a TPM refuses an object that has them.
    pub const RESERVED: u32 = 1 | 1 << 3 | 0xF << 12 | 0xFFF << 20;
}

/// `TPM_ALG_NULL`.
const ALGORITHM_NULL: u16 = 0x0010;
/// `TPM_ALG_RSA`.
const TYPE_RSA: u16 = 0x0001;
/// `TPM_ALG_ECC`.
const TYPE_ECC: u16 = 0x0023;
/// `TPM_ALG_ECDAA`, whose scheme carries a counter too.
const SCHEME_ECDAA: u16 = 0x001A;
/// The exponent that a zero stands for.
const DEFAULT_EXPONENT: u32 = 65537;

/// Curves that this program can use (Part 2, 6.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// NIST P-521.
    P521,
}

impl Curve {
    fn of_number(number: u16) -> Result<Self, Malformed> {
        match number {
            3 => Ok(Self::P256),
            4 => Ok(Self::P384),
            5 => Ok(Self::P521),
            _ => Err(Malformed::Unknown("curve", u32::from(number))),
        }
    }

    /// Bytes of a coordinate.
    #[must_use]
    pub const fn coordinate_bytes(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// RSA.
    Rsa {
        /// Public exponent.
        exponent: u32,
        /// Modulus, big-endian.
        modulus: Vec<u8>,
    },
    /// A point of a curve, both coordinates padded to the curve's size.
    Ecc {
        /// The curve.
        curve: Curve,
        /// X.
        x: Vec<u8>,
        /// Y.
        y: Vec<u8>,
    },
}

/// A symmetric algorithm that protects what a key stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Symmetric {
    /// Number of the algorithm.
    pub algorithm: u16,
    /// Bits of its key.
    pub key_bits: u16,
    /// Number of its mode.
    pub mode: u16,
}

/// The public area of an asymmetric key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicArea {
    bytes: Vec<u8>,
    /// Hash of the name, and of everything that protects the object.
    pub name_algorithm: HashAlgorithm,
    /// See [`attributes`].
    pub attributes: u32,
    /// Digest of the policy that authorises its use.
    pub auth_policy: Vec<u8>,
    /// What protects its children.
    pub symmetric: Option<Symmetric>,
    /// Number and hash of the only scheme that it signs with.
    pub scheme: Option<(u16, HashAlgorithm)>,
    /// The key.
    pub key: Key,
}

impl PublicArea {
    /// Reads a TPMT_PUBLIC that fills the bytes.
    ///
    /// # Errors
    /// If it does not, or is no RSA or ECC key of a kind that is known.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let kind = reader.u16("type")?;
        let name_algorithm = HashAlgorithm::of_number("nameAlg", reader.u16("nameAlg")?)?;
        let attributes = reader.u32("objectAttributes")?;
        if attributes & attributes::RESERVED != 0 {
            return Err(Malformed::Unknown("objectAttributes", attributes));
        }
        let auth_policy = reader.sized("authPolicy")?.to_vec();
        let symmetric = symmetric(&mut reader)?;
        let scheme = scheme(&mut reader)?;
        let key = match kind {
            TYPE_RSA => rsa_key(&mut reader)?,
            TYPE_ECC => ecc_key(&mut reader)?,
            _ => return Err(Malformed::Unknown("type", u32::from(kind))),
        };
        reader.finish()?;
        Ok(Self { bytes: bytes.to_vec(), name_algorithm, attributes, auth_policy, symmetric, scheme, key })
    }

    /// Reads a TPM2B_PUBLIC that fills the bytes, as `tpm2_createek -u` and its like write it.
    ///
    /// # Errors
    /// As [`PublicArea::parse`].
    pub fn parse_sized(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let area = reader.sized("publicArea")?;
        reader.finish()?;
        Self::parse(area)
    }

    /// The TPMT_PUBLIC.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The name: the hash's number, then the digest of the public area.
    #[must_use]
    pub fn name(&self) -> Vec<u8> {
        let mut name = self.name_algorithm.number().to_be_bytes().to_vec();
        name.extend(self.name_algorithm.digest(&[&self.bytes]));
        name
    }

    /// Whether all these [`attributes`] are set.
    #[must_use]
    pub const fn has(&self, attributes: u32) -> bool {
        self.attributes & attributes == attributes
    }
}

fn symmetric(reader: &mut Reader<'_>) -> Result<Option<Symmetric>, Malformed> {
    match reader.u16("symmetric")? {
        ALGORITHM_NULL => Ok(None),
        algorithm => {
            let (key_bits, mode) = (reader.u16("symmetric.keyBits")?, reader.u16("symmetric.mode")?);
            Ok(Some(Symmetric { algorithm, key_bits, mode }))
        }
    }
}

fn scheme(reader: &mut Reader<'_>) -> Result<Option<(u16, HashAlgorithm)>, Malformed> {
    let scheme = reader.u16("scheme")?;
    if scheme == ALGORITHM_NULL {
        return Ok(None);
    }
    let hash = HashAlgorithm::of_number("scheme.hashAlg", reader.u16("scheme.hashAlg")?)?;
    if scheme == SCHEME_ECDAA {
        reader.u16("scheme.count")?;
    }
    Ok(Some((scheme, hash)))
}

fn rsa_key(reader: &mut Reader<'_>) -> Result<Key, Malformed> {
    let bits = reader.u16("keyBits")?;
    let exponent = match reader.u32("exponent")? {
        0 => DEFAULT_EXPONENT,
        exponent => exponent,
    };
    let modulus = reader.sized("unique")?;
    if !(2048..=4096).contains(&bits) {
        return Err(Malformed::Unknown("keyBits", u32::from(bits)));
    }
    if modulus.len() != usize::from(bits / 8) {
        return Err(Malformed::TooLarge("unique", modulus.len()));
    }
    Ok(Key::Rsa { exponent, modulus: modulus.to_vec() })
}

fn ecc_key(reader: &mut Reader<'_>) -> Result<Key, Malformed> {
    let curve = Curve::of_number(reader.u16("curveID")?)?;
    scheme(reader)?; // the key derivation scheme has the same shape
    let x = coordinate(reader.sized("x")?, curve)?;
    let y = coordinate(reader.sized("y")?, curve)?;
    Ok(Key::Ecc { curve, x, y })
}

/// A number, padded with zeros in front to the curve's size.
pub(super) fn coordinate(number: &[u8], curve: Curve) -> Result<Vec<u8>, Malformed> {
    let size = curve.coordinate_bytes();
    let zeros = size.checked_sub(number.len()).ok_or(Malformed::TooLarge("coordinate", number.len()))?;
    let mut padded = vec![0; zeros];
    padded.extend(number);
    Ok(padded)
}
