//! Hash algorithms by their TPM numbers, chosen at run time (TPM 2.0 Part 2, 6.3).

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};

use crate::reader::Malformed;

/// A hash algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HashAlgorithm {
    /// Broken for signatures; still a PCR bank of old machines.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// Algorithm, number, name and bytes of a digest.
const TABLE: &[(HashAlgorithm, u16, &str, usize)] = &[
    (HashAlgorithm::Sha1, 0x0004, "sha1", 20),
    (HashAlgorithm::Sha256, 0x000B, "sha256", 32),
    (HashAlgorithm::Sha384, 0x000C, "sha384", 48),
    (HashAlgorithm::Sha512, 0x000D, "sha512", 64),
];

impl HashAlgorithm {
    /// By its number.
    ///
    /// # Errors
    /// If no algorithm of the table has it.
    pub fn of_number(field: &'static str, number: u16) -> Result<Self, Malformed> {
        let row = TABLE.iter().find(|row| row.1 == number);
        row.map(|row| row.0).ok_or(Malformed::Unknown(field, u32::from(number)))
    }

    /// By the name that tpm2-tools use.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.2 == name).map(|row| row.0)
    }

    fn row(self) -> (u16, &'static str, usize) {
        // Every value has a row, as a test shows.
        TABLE.iter().find(|row| row.0 == self).map_or((0, "", 0), |row| (row.1, row.2, row.3))
    }

    /// The TPM's number.
    #[must_use]
    pub fn number(self) -> u16 {
        self.row().0
    }

    /// The name that tpm2-tools use.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// Bytes of a digest.
    #[must_use]
    pub fn digest_bytes(self) -> usize {
        self.row().2
    }

    /// The digest over the parts, one after another.
    #[must_use]
    pub fn digest(self, parts: &[&[u8]]) -> Vec<u8> {
        fn of<D: Digest>(parts: &[&[u8]]) -> Vec<u8> {
            let mut digest = D::new();
            parts.iter().for_each(|part| digest.update(part));
            digest.finalize().to_vec()
        }
        match self {
            Self::Sha1 => of::<Sha1>(parts),
            Self::Sha256 => of::<Sha256>(parts),
            Self::Sha384 => of::<Sha384>(parts),
            Self::Sha512 => of::<Sha512>(parts),
        }
    }

    /// The HMAC over the parts, one after another.
    #[must_use]
    pub fn hmac(self, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        fn of<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
            // HMAC takes keys of every length, so there is no error to hand on.
            let Ok(mut mac) = <M as KeyInit>::new_from_slice(key) else { return Vec::new() };
            parts.iter().for_each(|part| mac.update(part));
            mac.finalize().into_bytes().to_vec()
        }
        match self {
            Self::Sha1 => of::<Hmac<Sha1>>(key, parts),
            Self::Sha256 => of::<Hmac<Sha256>>(key, parts),
            Self::Sha384 => of::<Hmac<Sha384>>(key, parts),
            Self::Sha512 => of::<Hmac<Sha512>>(key, parts),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_one_row_for_each_algorithm_and_the_right_sizes() {
        for algorithm in
            [HashAlgorithm::Sha1, HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512]
        {
            assert_eq!(TABLE.iter().filter(|row| row.0 == algorithm).count(), 1);
            assert_eq!(algorithm.digest(&[b"a", b"b"]).len(), algorithm.digest_bytes());
            assert_eq!(algorithm.digest(&[b"a", b"b"]), algorithm.digest(&[b"ab"]));
            assert_eq!(algorithm.hmac(b"", &[b"ab"]).len(), algorithm.digest_bytes());
            assert_eq!(HashAlgorithm::of_number("", algorithm.number()), Ok(algorithm));
            assert_eq!(HashAlgorithm::of_name(algorithm.name()), Some(algorithm));
        }
        assert!(HashAlgorithm::of_number("", 0x10).is_err());
    }
}
