//! Page sizes and the arithmetic of page addresses, shared by every other module.

use crate::wire_enum::wire_enum;

/// Bytes in a 4 KiB page, as an address distance.
pub const PAGE_BYTES: u64 = 0x1000;
/// Bytes in a 4 KiB page, as a length in memory.
pub const PAGE_LENGTH: usize = 0x1000;
/// Bytes in a 2 MiB page, as an address distance.
pub const LARGE_PAGE_BYTES: u64 = 0x20_0000;
/// 4 KiB pages in a 2 MiB page.
pub const PAGES_IN_LARGE_PAGE: u64 = 512;

/// Bits 51:12, the frame number inside a physical address or page table entry.
pub const FRAME_MASK: u64 = 0x000F_FFFF_FFFF_F000;

wire_enum! {
    /// The two page sizes of an RMP entry; the number is the encoding in RMP entries, instruction operands and
    /// PVALIDATE lists.
    pub enum PageSize: u8 {
        /// 4 KiB.
        Small = 0,
        /// 2 MiB.
        Large = 1,
    }
}

impl PageSize {
    /// Bytes in one page of this size.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Small => PAGE_BYTES,
            Self::Large => LARGE_PAGE_BYTES,
        }
    }

    /// 4 KiB pages in one page of this size.
    #[must_use]
    pub const fn small_pages(self) -> u64 {
        match self {
            Self::Small => 1,
            Self::Large => PAGES_IN_LARGE_PAGE,
        }
    }
}

/// Whether an address is the first of a page of that size.
#[must_use]
pub const fn is_aligned(address: u64, size: PageSize) -> bool {
    match size {
        PageSize::Small => address.trailing_zeros() >= 12,
        PageSize::Large => address.trailing_zeros() >= 21,
    }
}

/// The page address in which a byte lies.
#[must_use]
pub const fn page_of(address: u64) -> u64 {
    address & !0xFFF
}

/// The offset of `address` in its 4 KiB page.
#[must_use]
pub const fn page_offset(address: u64) -> usize {
    (address & (PAGE_BYTES - 1)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alignment_depends_on_the_page_size() {
        assert!(is_aligned(0x1000, PageSize::Small));
        assert!(!is_aligned(0x1008, PageSize::Small));
        assert!(!is_aligned(0x1000, PageSize::Large));
        assert!(is_aligned(0x20_0000, PageSize::Large));
        assert!(is_aligned(0, PageSize::Large));
    }

    #[test]
    fn reserved_page_sizes_have_no_meaning() {
        assert_eq!(PageSize::from_wire(2), None);
        assert_eq!(PageSize::from_wire(3), None);
    }
}
