//! What the fuzz targets share: a reader that turns the fuzzer's bytes into choices.

/// The fuzzer's bytes, taken one after the other; zeros once they are used up.
#[derive(Debug)]
pub struct Choices<'a> {
    bytes: &'a [u8],
}

impl<'a> Choices<'a> {
    /// All of the fuzzer's bytes.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Whether none are left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// One byte.
    pub fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    /// Two bytes.
    pub fn word(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// One of `rows`, which are not empty.
    pub fn one_of<'b, Row>(&mut self, rows: &'b [Row]) -> &'b Row {
        &rows[usize::from(self.byte()) % rows.len()]
    }

    /// Up to 255 bytes, as many as one byte says.
    pub fn taken(&mut self) -> Vec<u8> {
        let count = usize::from(self.byte());
        self.take(count).to_vec()
    }

    /// The next bytes, as many of `count` as there are.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.bytes.split_at(count.min(self.bytes.len()));
        self.bytes = rest;
        taken
    }
}
