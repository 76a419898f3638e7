//! A bounded reader: every length in hostile input is consumed through it, and nothing else slices that input.

/// Why input could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// The input ends inside a field.
    #[error("it ends inside `{0}`")]
    Truncated(&'static str),
    /// Bytes follow the last field.
    #[error("{0} bytes follow its end")]
    Trailing(usize),
    /// A count or a length is higher than anything genuine.
    #[error("`{0}` is {1}, more than can be")]
    TooLarge(&'static str, usize),
    /// A number has no meaning here.
    #[error("`{0}` is {1:#x}, which has no meaning here")]
    Unknown(&'static str, u32),
    /// It is something else that is known.
    #[error("it is {0}")]
    Format(&'static str),
}

/// Reads fields from the front of a byte string.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether all was read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The bytes that were not read yet.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `length` bytes.
    ///
    /// # Errors
    /// If fewer are left.
    pub fn bytes(&mut self, field: &'static str, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed::Truncated(field))?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// If fewer are left.
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed::Truncated(field))?;
        self.rest = rest;
        Ok(*taken)
    }

    /// A byte.
    ///
    /// # Errors
    /// If none is left.
    pub fn u8(&mut self, field: &'static str) -> Result<u8, Malformed> {
        self.array(field).map(u8::from_be_bytes)
    }

    /// A big-endian number of 16 bits, as TPM structures have them.
    ///
    /// # Errors
    /// If fewer bytes are left.
    pub fn u16(&mut self, field: &'static str) -> Result<u16, Malformed> {
        self.array(field).map(u16::from_be_bytes)
    }

    /// A big-endian number of 32 bits.
    ///
    /// # Errors
    /// If fewer bytes are left.
    pub fn u32(&mut self, field: &'static str) -> Result<u32, Malformed> {
        self.array(field).map(u32::from_be_bytes)
    }

    /// A big-endian number of 64 bits.
    ///
    /// # Errors
    /// If fewer bytes are left.
    pub fn u64(&mut self, field: &'static str) -> Result<u64, Malformed> {
        self.array(field).map(u64::from_be_bytes)
    }

    /// A little-endian number of 16 bits, as event logs have them.
    ///
    /// # Errors
    /// If fewer bytes are left.
    pub fn u16_le(&mut self, field: &'static str) -> Result<u16, Malformed> {
        self.array(field).map(u16::from_le_bytes)
    }

    /// A little-endian number of 32 bits.
    ///
    /// # Errors
    /// If fewer bytes are left.
    pub fn u32_le(&mut self, field: &'static str) -> Result<u32, Malformed> {
        self.array(field).map(u32::from_le_bytes)
    }

    /// A TPM2B: 16 bits of length, then so many bytes.
    ///
    /// # Errors
    /// If fewer bytes are left.
    pub fn sized(&mut self, field: &'static str) -> Result<&'a [u8], Malformed> {
        let length = self.u16(field)?;
        self.bytes(field, usize::from(length))
    }

    /// Says that nothing may follow.
    ///
    /// # Errors
    /// If something does.
    pub const fn finish(self) -> Result<(), Malformed> {
        match self.rest.len() {
            0 => Ok(()),
            trailing => Err(Malformed::Trailing(trailing)),
        }
    }
}

/// Bytes in hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        use std::fmt::Write as _;
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Reads hexadecimal digits, upper or lower case, an even number of them.
#[must_use]
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_beyond_the_end_is_refused_and_leaves_what_was_there() {
        let mut reader = Reader::new(&[0, 3, 1, 2]);
        assert_eq!(reader.clone().sized("a"), Err(Malformed::Truncated("a")));
        assert_eq!(reader.u16("a"), Ok(3));
        assert_eq!(reader.finish(), Err(Malformed::Trailing(2)));
    }

    #[test]
    fn hexadecimal_goes_both_ways_and_refuses_anything_else() {
        assert_eq!(from_hex("00ffA5").unwrap(), [0, 0xFF, 0xA5]);
        assert_eq!(hex(&[0, 0xFF, 0xA5]), "00ffa5");
        for wrong in ["0", "0g", "+1", "é"] {
            assert_eq!(from_hex(wrong), None, "{wrong}");
        }
    }
}
