//! The nonce of the SVSM question: exactly 64 bytes, by type.
//!
//! REPORT_DATA is SHA-512(nonce || manifest), and nothing in the hash marks the border between the two. A relying party that
//! sent 32 bytes could be answered with a genuine report over 64 bytes whose second half is the head of a forged manifest. So
//! a nonce of another length cannot be asked about at all; the firmware refuses it as well.

use crate::reader::{from_hex, hex};

/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 64;

/// What a relying party sends for one session: 64 bytes that nobody could foretell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nonce([u8; NONCE_BYTES]);

/// The bytes are not 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a nonce is exactly {NONCE_BYTES} bytes, 128 hexadecimal digits; a shorter one lets the guest forge a manifest"
)]
pub struct InvalidNonce;

impl Nonce {
    /// A nonce of these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; NONCE_BYTES]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; NONCE_BYTES] {
        &self.0
    }

    /// In hexadecimal.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex(&self.0)
    }
}

impl TryFrom<&[u8]> for Nonce {
    type Error = InvalidNonce;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        bytes.try_into().map(Self).map_err(|_| InvalidNonce)
    }
}

impl std::str::FromStr for Nonce {
    type Err = InvalidNonce;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::try_from(from_hex(text).ok_or(InvalidNonce)?.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_has_exactly_64_bytes() {
        for bytes in [0, 1, 32, 63, 65, 128] {
            assert_eq!(Nonce::try_from(vec![7; bytes].as_slice()), Err(InvalidNonce));
            assert_eq!("07".repeat(bytes).parse::<Nonce>(), Err(InvalidNonce));
        }
        let nonce = Nonce::new([7; 64]);
        assert_eq!(nonce.to_hex().parse(), Ok(nonce));
        assert!("zz".repeat(64).parse::<Nonce>().is_err());
    }
}
