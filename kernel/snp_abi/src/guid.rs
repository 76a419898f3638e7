//! GUIDs in their two forms: mixed-endian, as UEFI and the SVSM specification have them (RFC 4122 with little-endian fields), and
//! in network order, as a certificate table has them. Two types, so that neither is taken for the other.

use core::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A GUID as its 16 bytes in memory.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(transparent)]
pub struct Guid(pub [u8; 16]);

impl Guid {
    /// From the five groups of the written form, for instance `63da758d-e664-4564-adc5-f4b93be8accd`; of the last
    /// group the lower 48 bits count.
    #[must_use]
    pub const fn new(a: u32, b: u16, c: u16, d: u16, e: u64) -> Self {
        let [a0, a1, a2, a3] = a.to_le_bytes();
        let [b0, b1] = b.to_le_bytes();
        let [c0, c1] = c.to_le_bytes();
        let [d0, d1] = d.to_be_bytes();
        let [_, _, e0, e1, e2, e3, e4, e5] = e.to_be_bytes();
        Self([a0, a1, a2, a3, b0, b1, c0, c1, d0, d1, e0, e1, e2, e3, e4, e5])
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a0, a1, a2, a3, b0, b1, c0, c1, d0, d1, e0, e1, e2, e3, e4, e5] = self.0;
        let a = u32::from_le_bytes([a0, a1, a2, a3]);
        let (b, c) = (u16::from_le_bytes([b0, b1]), u16::from_le_bytes([c0, c1]));
        let d = u16::from_be_bytes([d0, d1]);
        let e = u64::from_be_bytes([0, 0, e0, e1, e2, e3, e4, e5]);
        write!(formatter, "{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}")
    }
}

/// A GUID in network order: its 16 bytes as RFC 4122 and the written form have them.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(transparent)]
pub struct NetworkGuid(pub [u8; 16]);

impl NetworkGuid {
    /// All zero: ends a certificate table.
    pub const ZERO: Self = Self([0; 16]);

    /// From the written form without its hyphens, as a number.
    #[must_use]
    pub const fn new(written: u128) -> Self {
        Self(written.to_be_bytes())
    }
}

impl fmt::Display for NetworkGuid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                formatter.write_str("-")?;
            }
            write!(formatter, "{byte:02x}")?;
        }
        Ok(())
    }
}
