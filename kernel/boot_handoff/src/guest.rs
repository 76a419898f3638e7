//! What the image says about the guest at VMPL2: nothing, a bare-metal ELF, a Linux kernel, or firmware.
//!
//! Contents that lie in the image are measured page by page; contents that the host supplies at run time are measured
//! by their digest here.

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use crate::{InvalidHandoff, PageRange};

/// Ranges of launched pages that a guest may have.
pub const MAXIMUM_GUEST_RANGES: usize = 16;
/// Sections of firmware metadata that are kept.
pub const MAXIMUM_FIRMWARE_SECTIONS: usize = 16;

/// Bytes of a kind's own part.
const BODY_BYTES: usize = 0x400;

/// Kinds of guest; the discriminant is the number in the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum GuestKind {
    /// No guest: the kernel stops after its own start.
    None = 0,
    /// A bare-metal program whose pages are in the image.
    Elf = 1,
    /// A Linux kernel whose blobs the host supplies.
    Linux = 2,
    /// UEFI firmware whose pages are in the image.
    Firmware = 3,
}

/// Pages of the guest that were launched with measured content: to be granted as they are, never zeroed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct GuestPages {
    /// The ranges.
    pub ranges: [PageRange; MAXIMUM_GUEST_RANGES],
    /// Ranges in use.
    pub count: u64,
}

impl GuestPages {
    /// The ranges in use.
    #[must_use]
    pub fn ranges(&self) -> &[PageRange] {
        usize::try_from(self.count).ok().and_then(|count| self.ranges.get(..count)).unwrap_or_default()
    }

    /// A table of these ranges, `None` if there are too many.
    #[must_use]
    pub fn from_ranges(ranges: &[PageRange]) -> Option<Self> {
        let mut pages = Self::new_zeroed();
        pages.ranges.get_mut(..ranges.len())?.copy_from_slice(ranges);
        pages.count = ranges.len() as u64;
        Some(pages)
    }

    const fn is_valid(&self) -> bool {
        self.count <= MAXIMUM_GUEST_RANGES as u64
    }
}

/// A bare-metal program. It starts as Linux's 64-bit entry does: long mode, low memory mapped one to one, the boot
/// parameters' address in RSI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ElfGuest {
    /// Entry, below 4 GiB.
    pub entry: u64,
    /// Its launched pages.
    pub pages: GuestPages,
    /// Its pages without content: not launched, validated and zeroed by the kernel.
    pub zeroed: GuestPages,
}

/// Size and digest of a blob. The host supplies it over fw_cfg, or the image carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct BlobDigest {
    /// Bytes; 0 if there is no such blob.
    pub length: u64,
    /// SHA-384 of the bytes.
    pub sha384: [u8; 48],
    /// Where the image launched it, page aligned; 0 if the host supplies it.
    pub embedded_at: u64,
}

/// A Linux kernel for direct boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct LinuxGuest {
    /// bzImage.
    pub kernel: BlobDigest,
    /// Initial RAM disk.
    pub initrd: BlobDigest,
    /// Command line, without a zero byte.
    pub command_line: BlobDigest,
}

/// A section of the firmware's SEV metadata.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FirmwareSection {
    /// First address.
    pub start: u32,
    /// Bytes.
    pub length: u32,
    /// Kind, as the metadata numbers them.
    pub kind: u32,
}

/// UEFI firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FirmwareGuest {
    /// Its launched pages.
    pub pages: GuestPages,
    /// Entry of application processors (SEV-ES reset block), 0 without one.
    pub ap_reset_address: u32,
    /// Sections in use.
    pub section_count: u32,
    /// What the firmware asks for.
    pub sections: [FirmwareSection; MAXIMUM_FIRMWARE_SECTIONS],
}

impl FirmwareGuest {
    /// The sections in use.
    #[must_use]
    pub fn sections(&self) -> &[FirmwareSection] {
        self.sections.get(..self.section_count as usize).unwrap_or_default()
    }
}

/// The guest's part of the record: a kind and that kind's own structure.
#[derive(Debug, Clone, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct GuestRecord {
    kind: u32,
    reserved: u32,
    /// Where the guest's copy of the secrets page goes, 0 if the kernel chooses.
    pub secrets_page: u64,
    /// Where the guest's copy of the CPUID page goes, 0 if the kernel chooses.
    pub cpuid_page: u64,
    /// The boot vCPU's calling area, 0 if the kernel chooses.
    pub calling_area: u64,
    body: [u8; BODY_BYTES],
}

/// The guest, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guest<'a> {
    /// No guest.
    None,
    /// A bare-metal program.
    Elf(&'a ElfGuest),
    /// A Linux kernel.
    Linux(&'a LinuxGuest),
    /// UEFI firmware.
    Firmware(&'a FirmwareGuest),
}

impl GuestRecord {
    /// The record of a guest; the addresses of its pages are still 0.
    #[must_use]
    pub fn encode(guest: Guest<'_>) -> Self {
        let mut record = Self::new_zeroed();
        let (kind, bytes) = match guest {
            Guest::None => (GuestKind::None, &[][..]),
            Guest::Elf(elf) => (GuestKind::Elf, elf.as_bytes()),
            Guest::Linux(linux) => (GuestKind::Linux, linux.as_bytes()),
            Guest::Firmware(firmware) => (GuestKind::Firmware, firmware.as_bytes()),
        };
        record.kind = kind as u32;
        for (place, byte) in record.body.iter_mut().zip(bytes) {
            *place = *byte;
        }
        record
    }

    /// The guest.
    ///
    /// # Errors
    /// If the kind is unknown or a count is larger than its table.
    pub fn decode(&self) -> Result<Guest<'_>, InvalidHandoff> {
        match self.kind {
            kind if kind == GuestKind::None as u32 => Ok(Guest::None),
            kind if kind == GuestKind::Elf as u32 => {
                let elf: &ElfGuest = body(&self.body)?;
                if elf.pages.is_valid() && elf.zeroed.is_valid() {
                    Ok(Guest::Elf(elf))
                } else {
                    Err(InvalidHandoff::Count)
                }
            }
            kind if kind == GuestKind::Linux as u32 => Ok(Guest::Linux(body(&self.body)?)),
            kind if kind == GuestKind::Firmware as u32 => {
                let firmware: &FirmwareGuest = body(&self.body)?;
                let sections = firmware.section_count as usize <= MAXIMUM_FIRMWARE_SECTIONS;
                if sections && firmware.pages.is_valid() {
                    Ok(Guest::Firmware(firmware))
                } else {
                    Err(InvalidHandoff::Count)
                }
            }
            kind => Err(InvalidHandoff::GuestKind(kind)),
        }
    }
}

fn body<T: FromBytes + KnownLayout + Immutable>(bytes: &[u8]) -> Result<&T, InvalidHandoff> {
    T::ref_from_prefix(bytes).map(|(value, _)| value).map_err(|_| InvalidHandoff::Length)
}

const _: () = {
    assert!(size_of::<ElfGuest>() <= BODY_BYTES);
    assert!(size_of::<LinuxGuest>() <= BODY_BYTES);
    assert!(size_of::<FirmwareGuest>() <= BODY_BYTES);
    // The body is read in place, so it needs the alignment of the structures in it.
    assert!(core::mem::offset_of!(GuestRecord, body) % align_of::<FirmwareGuest>() == 0);
};
