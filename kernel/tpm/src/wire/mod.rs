//! Bytes on the wire: a reader that cannot run past its end, and writing to a growing buffer.
//!
//! Everything is big-endian: Part 1, section on marshalling.

use alloc::vec::Vec;

use zeroize::Zeroize;

use crate::response_code::ResponseCode;

/// What a failed or succeeded unmarshalling gives.
pub type Result<T> = core::result::Result<T, ResponseCode>;

/// A structure that can be written to the wire.
pub trait Marshal {
    /// Appends the structure's canonical form.
    fn marshal(&self, out: &mut Vec<u8>);

    /// The canonical form alone.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.marshal(&mut out);
        out
    }
}

/// A structure that can be read from the wire.
pub trait Unmarshal: Sized {
    /// Takes the structure from the front of `reader`; the code has no number yet.
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self>;
}

/// The bytes that are still to be read.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `count` bytes, or TPM_RC_INSUFFICIENT.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(ResponseCode::INSUFFICIENT)?;
        self.rest = rest;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(ResponseCode::INSUFFICIENT)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub fn read<T: Unmarshal>(&mut self) -> Result<T> {
        T::unmarshal(self)
    }

    /// A TPM2B of at most `limit` bytes: TPM_RC_SIZE beyond.
    pub fn sized(&mut self, limit: usize) -> Result<&'a [u8]> {
        let size = usize::from(self.read::<u16>()?);
        if size > limit {
            return Err(ResponseCode::SIZE);
        }
        self.take(size)
    }

    /// A TPM2B that holds one structure, which must fill it exactly: TPM_RC_SIZE otherwise.
    ///
    /// The structure is read from the whole rest, as the reference does, so that a too small size is seen as TPM_RC_SIZE.
    pub fn sized_structure<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let size = usize::from(self.read::<u16>()?);
        if size == 0 {
            return Err(ResponseCode::SIZE);
        }
        let before = self.rest.len();
        let structure = read(self)?;
        if before.saturating_sub(self.rest.len()) != size {
            return Err(ResponseCode::SIZE);
        }
        Ok(structure)
    }
}

macro_rules! integers {
    ($($integer:ty),+) => {
        $(
            impl Unmarshal for $integer {
                fn unmarshal(reader: &mut Reader<'_>) -> Result<Self> {
                    Ok(Self::from_be_bytes(reader.array()?))
                }
            }

            impl Marshal for $integer {
                fn marshal(&self, out: &mut Vec<u8>) {
                    out.extend_from_slice(&self.to_be_bytes());
                }
            }
        )+
    };
}

integers!(u8, u16, u32, u64, i32);

/// TPMI_YES_NO.
impl Unmarshal for bool {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self> {
        match reader.read::<u8>()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(ResponseCode::VALUE),
        }
    }
}

impl Marshal for bool {
    fn marshal(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
}

/// Appends `bytes` as a TPM2B.
pub fn put_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    let size = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    size.marshal(out);
    out.extend_from_slice(bytes.get(..usize::from(size)).unwrap_or(bytes));
}

/// Appends what `write` writes as a TPM2B.
pub fn put_sized_structure(out: &mut Vec<u8>, structure: &impl Marshal) {
    let mut bytes = structure.to_bytes();
    put_sized(out, &bytes);
    bytes.zeroize();
}

/// Bytes that are wiped when they are dropped and compared in constant time: authorization values, seeds, keys.
#[derive(Clone, Default)]
pub struct Secret(Vec<u8>);

impl Secret {
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn as_mut_bytes(&mut self) -> &mut [u8] {
        &mut self.0
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A secret of `count` zero bytes, to be filled.
    pub fn zeroed(count: usize) -> Self {
        Self(alloc::vec![0; count])
    }

    /// The same secret without trailing zeros: Part 1, authorization values.
    pub fn without_trailing_zeros(&self) -> Self {
        let end = self.0.iter().rposition(|byte| *byte != 0).map_or(0, |last| last.saturating_add(1));
        Self::from(self.0.get(..end).unwrap_or_default())
    }

    /// The same secret with zeros appended up to `count` bytes.
    pub fn padded(&self, count: usize) -> Self {
        let mut padded = Self::zeroed(count.max(self.0.len()));
        for (to, from) in padded.0.iter_mut().zip(&self.0) {
            *to = *from;
        }
        padded
    }

    /// This secret followed by another.
    pub fn followed_by(&self, other: &Self) -> Self {
        let mut both = Vec::with_capacity(self.0.len().saturating_add(other.0.len()));
        both.extend_from_slice(&self.0);
        both.extend_from_slice(&other.0);
        Self(both)
    }
}

impl From<&[u8]> for Secret {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl From<Vec<u8>> for Secret {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        equal_in_constant_time(&self.0, &other.0)
    }
}

impl Eq for Secret {}

impl core::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "Secret({} bytes)", self.0.len())
    }
}

/// Whether two byte strings are the same, in a time that depends on their lengths only.
pub fn equal_in_constant_time(left: &[u8], right: &[u8]) -> bool {
    subtle::ConstantTimeEq::ct_eq(left, right).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_never_passes_its_end() {
        let mut reader = Reader::new(&[0, 1, 2]);
        assert_eq!(reader.read::<u16>(), Ok(1));
        assert_eq!(reader.read::<u16>(), Err(ResponseCode::INSUFFICIENT));
        assert_eq!(reader.read::<u8>(), Ok(2));
        assert!(reader.is_empty());
    }

    #[test]
    fn a_sized_buffer_over_its_limit_is_a_size_error_before_it_is_insufficient() {
        assert_eq!(Reader::new(&[0, 9, 1]).sized(8), Err(ResponseCode::SIZE));
        assert_eq!(Reader::new(&[0, 8, 1]).sized(8), Err(ResponseCode::INSUFFICIENT));
        assert_eq!(Reader::new(&[0, 1, 7]).sized(8), Ok(&[7][..]));
    }

    #[test]
    fn a_sized_structure_must_fill_its_size() {
        let read = |bytes: &[u8]| Reader::new(bytes).sized_structure(|reader| reader.read::<u16>());
        assert_eq!(read(&[0, 2, 1, 2]), Ok(0x0102));
        assert_eq!(read(&[0, 1, 1, 2]), Err(ResponseCode::SIZE));
        assert_eq!(read(&[0, 3, 1, 2, 3]), Err(ResponseCode::SIZE));
        assert_eq!(read(&[0, 0]), Err(ResponseCode::SIZE));
    }

    #[test]
    fn trailing_zeros_are_not_part_of_an_authorization_value() {
        assert_eq!(Secret::from(&[1, 0, 2, 0, 0][..]).without_trailing_zeros(), Secret::from(&[1, 0, 2][..]));
        assert_eq!(Secret::from(&[0, 0][..]).without_trailing_zeros(), Secret::new());
    }
}
