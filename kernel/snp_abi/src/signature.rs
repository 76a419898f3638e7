//! ECDSA P-384 signatures and public keys as the PSP stores them: little-endian, 72 bytes a number (AMD 56860,
//! chapter 10, "signature formats").

use sha2::{Digest, Sha384};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Signature algorithm 1: ECDSA on P-384 over SHA-384.
pub const ALGORITHM_ECDSA_P384_SHA384: u32 = 1;
/// Curve number of P-384.
pub const CURVE_P384: u32 = 2;
/// Bytes of a P-384 number.
pub const P384_BYTES: usize = 48;

const FIELD_BYTES: usize = 72;

/// A number in a 72-byte little-endian field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct PspNumber([u8; FIELD_BYTES]);

impl PspNumber {
    /// From the big-endian form that cryptographic libraries use.
    #[must_use]
    pub fn from_big_endian(number: &[u8; P384_BYTES]) -> Self {
        let mut field = [0; FIELD_BYTES];
        for (low, byte) in field.iter_mut().zip(number.iter().rev()) {
            *low = *byte;
        }
        Self(field)
    }

    /// To the big-endian form, `None` if the number has more than 384 bits.
    #[must_use]
    pub fn to_big_endian(&self) -> Option<[u8; P384_BYTES]> {
        let (low, high) = self.0.split_first_chunk::<P384_BYTES>()?;
        if high.iter().any(|byte| *byte != 0) {
            return None;
        }
        let mut number = *low;
        number.reverse();
        Some(number)
    }
}

/// A signature, 512 bytes.
#[derive(Debug, Clone, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct EcdsaSignature {
    /// R.
    pub r: PspNumber,
    /// S.
    pub s: PspNumber,
    reserved: [u8; 368],
}

impl EcdsaSignature {
    /// From R and S in big-endian form.
    #[must_use]
    pub fn new(r: &[u8; P384_BYTES], s: &[u8; P384_BYTES]) -> Self {
        Self { r: PspNumber::from_big_endian(r), s: PspNumber::from_big_endian(s), reserved: [0; 368] }
    }
}

/// A public key, 1028 bytes.
#[derive(Debug, Clone, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct EcdsaPublicKey {
    /// Curve number.
    pub curve: u32,
    /// X of the point.
    pub x: PspNumber,
    /// Y of the point.
    pub y: PspNumber,
    reserved: [u8; 880],
}

impl EcdsaPublicKey {
    /// A P-384 key from its point in big-endian form.
    #[must_use]
    pub fn new(x: &[u8; P384_BYTES], y: &[u8; P384_BYTES]) -> Self {
        let (x, y) = (PspNumber::from_big_endian(x), PspNumber::from_big_endian(y));
        Self { curve: CURVE_P384, x, y, reserved: [0; 880] }
    }

    /// The digest by which a report names this key: SHA-384 over the whole structure.
    #[must_use]
    pub fn digest(&self) -> [u8; 48] {
        Sha384::digest(self.as_bytes()).into()
    }
}

const _: () = {
    assert!(size_of::<EcdsaSignature>() == 512);
    assert!(core::mem::offset_of!(EcdsaSignature, s) == 0x48);
    assert!(size_of::<EcdsaPublicKey>() == 0x404);
    assert!(core::mem::offset_of!(EcdsaPublicKey, x) == 4);
    assert!(core::mem::offset_of!(EcdsaPublicKey, y) == 0x4C);
};
