//! Sized buffers that several structures share, and lists of them: Part 2, sections 10.4 and 10.9.

use alloc::vec::Vec;

use super::limits::{MAX_DIGEST_BYTES, MAX_DIGEST_LIST, MAX_ECC_KEY_BYTES, MAX_NAME_BYTES};
use crate::crypto::hash::HashAlgorithm;
use crate::response_code::ResponseCode;
use crate::wire::{Marshal, Reader, Result, Secret, Unmarshal, put_sized};

/// A TPM2B of at most `LIMIT` bytes that need no protection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Buffer<const LIMIT: usize>(pub Vec<u8>);

/// TPM2B_DIGEST, TPM2B_NONCE.
pub type DigestBuffer = Buffer<MAX_DIGEST_BYTES>;
/// TPM2B_NAME.
pub type Name = Buffer<MAX_NAME_BYTES>;

impl<const LIMIT: usize> Buffer<LIMIT> {
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<const LIMIT: usize> From<&[u8]> for Buffer<LIMIT> {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl<const LIMIT: usize> Unmarshal for Buffer<LIMIT> {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self> {
        reader.sized(LIMIT).map(Self::from)
    }
}

impl<const LIMIT: usize> Marshal for Buffer<LIMIT> {
    fn marshal(&self, out: &mut Vec<u8>) {
        put_sized(out, &self.0);
    }
}

/// A TPM2B of at most `LIMIT` bytes that is wiped when dropped.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SecretBuffer<const LIMIT: usize>(pub Secret);

/// TPM2B_AUTH.
pub type Auth = SecretBuffer<MAX_DIGEST_BYTES>;

impl<const LIMIT: usize> Unmarshal for SecretBuffer<LIMIT> {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self> {
        reader.sized(LIMIT).map(|bytes| Self(Secret::from(bytes)))
    }
}

impl Marshal for Secret {
    fn marshal(&self, out: &mut Vec<u8>) {
        put_sized(out, self.as_bytes());
    }
}

/// TPML_DIGEST.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DigestList(pub Vec<DigestBuffer>);

impl DigestList {
    /// TPML_DIGEST with at least `least` digests: TPM_RC_SIZE for fewer, or for more than eight.
    pub fn unmarshal_at_least(reader: &mut Reader<'_>, least: usize) -> Result<Self> {
        let count = reader.read::<u32>()? as usize;
        if count < least || count > MAX_DIGEST_LIST {
            return Err(ResponseCode::SIZE);
        }
        (0..count).map(|_| reader.read()).collect::<Result<_>>().map(Self)
    }
}

impl Marshal for DigestList {
    fn marshal(&self, out: &mut Vec<u8>) {
        put_list(out, &self.0);
    }
}

/// TPMT_HA: a digest and its algorithm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaggedDigest {
    pub hash: HashAlgorithm,
    pub digest: Vec<u8>,
}

impl Unmarshal for TaggedDigest {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self> {
        let hash: HashAlgorithm = reader.read()?;
        Ok(Self { hash, digest: reader.take(hash.digest_bytes())?.to_vec() })
    }
}

impl Marshal for TaggedDigest {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.hash.marshal(out);
        out.extend_from_slice(&self.digest);
    }
}

/// TPML_DIGEST_VALUES: TPM_RC_SIZE for more digests than there are hash algorithms.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DigestValues(pub Vec<TaggedDigest>);

impl Unmarshal for DigestValues {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self> {
        read_list(reader, super::limits::HASH_COUNT).map(Self)
    }
}

impl Marshal for DigestValues {
    fn marshal(&self, out: &mut Vec<u8>) {
        put_list(out, &self.0);
    }
}

/// TPMS_ECC_POINT.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EccPoint {
    pub x: Buffer<MAX_ECC_KEY_BYTES>,
    pub y: Buffer<MAX_ECC_KEY_BYTES>,
}

impl EccPoint {
    /// TPM2B_ECC_POINT.
    pub fn unmarshal_sized(reader: &mut Reader<'_>) -> Result<Self> {
        reader.sized_structure(Self::unmarshal)
    }
}

impl Unmarshal for EccPoint {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self { x: reader.read()?, y: reader.read()? })
    }
}

impl Marshal for EccPoint {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.x.marshal(out);
        self.y.marshal(out);
    }
}

/// Appends a TPML: a count and its elements.
pub fn put_list<T: Marshal>(out: &mut Vec<u8>, elements: &[T]) {
    u32::try_from(elements.len()).unwrap_or(u32::MAX).marshal(out);
    for element in elements {
        element.marshal(out);
    }
}

/// Reads a TPML of at most `most` elements: TPM_RC_SIZE for more.
pub fn read_list<T: Unmarshal>(reader: &mut Reader<'_>, most: usize) -> Result<Vec<T>> {
    let count = reader.read::<u32>()? as usize;
    if count > most {
        return Err(ResponseCode::SIZE);
    }
    (0..count).map(|_| reader.read()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_refuse_more_elements_than_they_may_hold() {
        let nine = 9_u32.to_be_bytes();
        assert_eq!(DigestList::unmarshal_at_least(&mut Reader::new(&nine), 0), Err(ResponseCode::SIZE));
        let one = [0, 0, 0, 1, 0, 1, 7];
        assert_eq!(DigestList::unmarshal_at_least(&mut Reader::new(&one), 2), Err(ResponseCode::SIZE));
        assert!(DigestList::unmarshal_at_least(&mut Reader::new(&one), 0).is_ok());
        let five = 5_u32.to_be_bytes();
        assert_eq!(Reader::new(&five).read::<DigestValues>(), Err(ResponseCode::SIZE));
    }
}
