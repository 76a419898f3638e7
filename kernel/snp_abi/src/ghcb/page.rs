//! The GHCB page: where each field lies and which bit marks it valid (AMD 56421, "GHCB layout").
//!
//! The page is shared with the host. Firmware writes it field by field through [`GhcbField::offset`] with volatile
//! accesses; [`GhcbPage`] is the same layout for whoever holds a private copy.

use core::mem::offset_of;

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// Bytes of the shared buffer.
pub const SHARED_BUFFER_BYTES: usize = 0x7F0;
/// Offset of the shared buffer in the page.
pub const SHARED_BUFFER_OFFSET: usize = 0x800;

/// The page as one value.
#[derive(Debug, Clone, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct GhcbPage {
    reserved_0x000: [u8; 0xCB],
    /// Current privilege level.
    pub cpl: u8,
    reserved_0x0cc: [u8; 0x74],
    /// XSS.
    pub xss: u64,
    reserved_0x148: [u8; 0x18],
    /// DR7.
    pub dr7: u64,
    reserved_0x168: [u8; 0x10],
    /// RIP.
    pub rip: u64,
    reserved_0x180: [u8; 0x58],
    /// RSP.
    pub rsp: u64,
    reserved_0x1e0: [u8; 0x18],
    /// RAX.
    pub rax: u64,
    reserved_0x200: [u8; 0x108],
    /// RCX.
    pub rcx: u64,
    /// RDX.
    pub rdx: u64,
    /// RBX.
    pub rbx: u64,
    reserved_0x320: [u8; 8],
    /// RBP.
    pub rbp: u64,
    /// RSI.
    pub rsi: u64,
    /// RDI.
    pub rdi: u64,
    /// R8 to R15.
    pub r8_to_r15: [u64; 8],
    reserved_0x380: [u8; 0x10],
    /// Exit code.
    pub sw_exit_code: u64,
    /// First information word.
    pub sw_exit_info_1: u64,
    /// Second information word.
    pub sw_exit_info_2: u64,
    /// Guest-physical address of the scratch area.
    pub sw_scratch: u64,
    reserved_0x3b0: [u8; 0x38],
    /// XCR0.
    pub xcr0: u64,
    /// Which 8-byte fields below 0x3F0 are valid.
    pub valid_bitmap: ValidBitmap,
    /// Guest-physical address of the x87 state.
    pub x87_state_address: u64,
    reserved_0x408: [u8; 0x3F8],
    /// Scratch space for lists and data.
    pub shared_buffer: [u8; SHARED_BUFFER_BYTES],
    reserved_0xff0: [u8; 0xA],
    /// Protocol version in use.
    pub protocol_version: u16,
    /// Layout of the page; 0 for this one.
    pub usage: u32,
}

/// The fields of the page that a valid bit covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum GhcbField {
    /// Current privilege level, one byte.
    Cpl = offset_of!(GhcbPage, cpl) as u16,
    /// XSS.
    Xss = offset_of!(GhcbPage, xss) as u16,
    /// DR7.
    Dr7 = offset_of!(GhcbPage, dr7) as u16,
    /// RAX.
    Rax = offset_of!(GhcbPage, rax) as u16,
    /// RCX.
    Rcx = offset_of!(GhcbPage, rcx) as u16,
    /// RDX.
    Rdx = offset_of!(GhcbPage, rdx) as u16,
    /// RBX.
    Rbx = offset_of!(GhcbPage, rbx) as u16,
    /// RSI.
    Rsi = offset_of!(GhcbPage, rsi) as u16,
    /// RDI.
    Rdi = offset_of!(GhcbPage, rdi) as u16,
    /// R8.
    R8 = offset_of!(GhcbPage, r8_to_r15) as u16,
    /// Exit code.
    SwExitCode = offset_of!(GhcbPage, sw_exit_code) as u16,
    /// First information word.
    SwExitInfo1 = offset_of!(GhcbPage, sw_exit_info_1) as u16,
    /// Second information word.
    SwExitInfo2 = offset_of!(GhcbPage, sw_exit_info_2) as u16,
    /// Scratch area address.
    SwScratch = offset_of!(GhcbPage, sw_scratch) as u16,
    /// XCR0.
    Xcr0 = offset_of!(GhcbPage, xcr0) as u16,
}

impl GhcbField {
    /// Byte offset in the page.
    #[must_use]
    pub const fn offset(self) -> usize {
        self as usize
    }

    /// Number of the bit in the valid bitmap: the offset in units of 8 bytes.
    #[must_use]
    pub const fn valid_bit(self) -> usize {
        self.offset() / 8
    }
}

/// The 128-bit map of valid fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ValidBitmap {
    /// Bits 0 to 63.
    pub low: u64,
    /// Bits 64 to 127.
    pub high: u64,
}

impl ValidBitmap {
    /// Byte offset of the map in the page.
    pub const OFFSET: usize = offset_of!(GhcbPage, valid_bitmap);

    /// Whether a field is marked valid.
    #[must_use]
    pub const fn contains(self, field: GhcbField) -> bool {
        let with = self.with(field);
        with.low == self.low && with.high == self.high
    }

    /// The map with one more field marked valid.
    #[must_use]
    pub const fn with(self, field: GhcbField) -> Self {
        let mask: u128 = 1 << field.valid_bit();
        Self { low: self.low | mask as u64, high: self.high | (mask >> 64) as u64 }
    }
}

impl GhcbPage {
    /// A page of zeros with version and usage set, nothing valid.
    #[must_use]
    pub fn empty() -> Self {
        let mut page = Self::new_zeroed();
        page.protocol_version = super::PROTOCOL_VERSION;
        page.usage = super::USAGE_STANDARD;
        page
    }

    /// A field's value if it is marked valid.
    #[must_use]
    pub fn read(&self, field: GhcbField) -> Option<u64> {
        if !self.valid_bitmap.contains(field) {
            return None;
        }
        if field == GhcbField::Cpl {
            return Some(u64::from(self.cpl));
        }
        let (_, tail) = self.as_bytes().split_at_checked(field.offset())?;
        u64::read_from_prefix(tail).ok().map(|(value, _)| value)
    }

    /// Stores a field and marks it valid; of `Cpl` only the lowest byte is kept.
    pub fn write(&mut self, field: GhcbField, value: u64) {
        self.valid_bitmap = self.valid_bitmap.with(field);
        if field == GhcbField::Cpl {
            self.cpl = value as u8;
        } else if let Some((_, tail)) = self.as_mut_bytes().split_at_mut_checked(field.offset()) {
            // Cannot fail: every field ends inside the page, which the layout assertions below pin.
            let _ = value.write_to_prefix(tail);
        }
    }
}

const _: () = {
    assert!(size_of::<GhcbPage>() == 0x1000);
    assert!(offset_of!(GhcbPage, cpl) == 0x0CB);
    assert!(offset_of!(GhcbPage, xss) == 0x140);
    assert!(offset_of!(GhcbPage, dr7) == 0x160);
    assert!(offset_of!(GhcbPage, rip) == 0x178);
    assert!(offset_of!(GhcbPage, rsp) == 0x1D8);
    assert!(offset_of!(GhcbPage, rax) == 0x1F8);
    assert!(offset_of!(GhcbPage, rcx) == 0x308);
    assert!(offset_of!(GhcbPage, rdx) == 0x310);
    assert!(offset_of!(GhcbPage, rbx) == 0x318);
    assert!(offset_of!(GhcbPage, rbp) == 0x328);
    assert!(offset_of!(GhcbPage, rsi) == 0x330);
    assert!(offset_of!(GhcbPage, rdi) == 0x338);
    assert!(offset_of!(GhcbPage, r8_to_r15) == 0x340);
    assert!(offset_of!(GhcbPage, sw_exit_code) == 0x390);
    assert!(offset_of!(GhcbPage, sw_exit_info_1) == 0x398);
    assert!(offset_of!(GhcbPage, sw_exit_info_2) == 0x3A0);
    assert!(offset_of!(GhcbPage, sw_scratch) == 0x3A8);
    assert!(offset_of!(GhcbPage, xcr0) == 0x3E8);
    assert!(offset_of!(GhcbPage, valid_bitmap) == 0x3F0);
    assert!(offset_of!(GhcbPage, x87_state_address) == 0x400);
    assert!(offset_of!(GhcbPage, shared_buffer) == SHARED_BUFFER_OFFSET);
    assert!(offset_of!(GhcbPage, protocol_version) == 0xFFA);
    assert!(offset_of!(GhcbPage, usage) == 0xFFC);
};
