//! Segment registers as the VMSA stores them (AMD 24593 volume 2, table B-2).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Segment attributes in the VMSA's packing: type, S, DPL, P in bits 7:0; AVL, L, D/B, G in bits 11:8.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct SegmentAttributes(pub u16);

impl SegmentAttributes {
    /// Present.
    const PRESENT: u16 = 1 << 7;
    /// 64-bit code segment.
    const LONG: u16 = 1 << 9;

    /// From the second word of a segment descriptor, which keeps AVL, L, D/B, G in bits 15:12 (the packing of the
    /// IGVM register list as well); bits 11:8, limit bits there, are dropped.
    #[must_use]
    pub const fn from_descriptor(word: u16) -> Self {
        Self(word & 0xFF | word >> 4 & 0xF00)
    }

    /// To the packing of a segment descriptor's second word.
    #[must_use]
    pub const fn to_descriptor(self) -> u16 {
        self.0 & 0xFF | (self.0 & 0xF00) << 4
    }

    /// Whether the segment is present.
    #[must_use]
    pub const fn is_present(self) -> bool {
        self.0 & Self::PRESENT != 0
    }

    /// Whether the segment holds 64-bit code.
    #[must_use]
    pub const fn is_long(self) -> bool {
        self.0 & Self::LONG != 0
    }

    /// Descriptor privilege level.
    #[must_use]
    pub const fn privilege_level(self) -> u8 {
        (self.0 >> 5 & 0b11) as u8
    }
}

/// One segment register, 16 bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Segment {
    /// Selector.
    pub selector: u16,
    /// Attributes in the VMSA's packing.
    pub attributes: SegmentAttributes,
    /// Limit in bytes, granularity applied.
    pub limit: u32,
    /// Base address.
    pub base: u64,
}

impl Segment {
    /// A segment with attributes in the VMSA's packing.
    #[must_use]
    pub const fn new(selector: u16, attributes: u16, limit: u32, base: u64) -> Self {
        Self { selector, attributes: SegmentAttributes(attributes), limit, base }
    }

    /// Flat 32-bit code: present, readable, accessed, 4 GiB.
    #[must_use]
    pub const fn flat_code_32(selector: u16) -> Self {
        Self::new(selector, 0xC9B, u32::MAX, 0)
    }

    /// Flat data: present, writable, accessed, 4 GiB.
    #[must_use]
    pub const fn flat_data(selector: u16) -> Self {
        Self::new(selector, 0xC93, u32::MAX, 0)
    }

    /// 64-bit code: present, readable, accessed.
    #[must_use]
    pub const fn flat_code_64(selector: u16) -> Self {
        Self::new(selector, 0xA9B, u32::MAX, 0)
    }
}

const _: () = assert!(size_of::<Segment>() == 16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptor_words_pack_as_coconut_and_qemu_pack_them() {
        for (descriptor, packed) in [(0xA09B, 0xA9B), (0xC09B, 0xC9B), (0xA093, 0xA93), (0xC093, 0xC93)] {
            assert_eq!(SegmentAttributes::from_descriptor(descriptor), SegmentAttributes(packed));
            assert_eq!(SegmentAttributes(packed).to_descriptor(), descriptor);
        }
    }

    #[test]
    fn limit_bits_of_a_descriptor_are_no_attributes() {
        assert_eq!(SegmentAttributes::from_descriptor(0xCF9B), SegmentAttributes(0xC9B));
    }

    #[test]
    fn attribute_bits_have_their_meaning() {
        assert!(SegmentAttributes(0xA9B).is_long());
        assert!(!SegmentAttributes(0xC9B).is_long());
        assert!(!SegmentAttributes(0).is_present());
        assert_eq!(SegmentAttributes(0xAFB).privilege_level(), 3);
    }
}
