//! The boot contract of a Linux guest: boot parameters, memory map, and where it finds secrets and CPUID pages
//! (Linux `Documentation/arch/x86/boot.rst`, `uapi/asm/bootparam.h`, `asm/sev.h`).
//!
//! All multi-byte fields are unaligned little-endian types, because the setup header starts at an odd offset.

use core::mem::offset_of;

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, little_endian};

use crate::wire_enum::wire_enum;

type U16 = little_endian::U16;
type U32 = little_endian::U32;
type U64 = little_endian::U64;

/// `AMDE`: magic of the [`CcBlob`].
pub const CC_BLOB_MAGIC: u32 = 0x4544_4D41;

/// `cc_blob_sev_info`: tells Linux where its secrets page and CPUID page are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct CcBlob {
    /// [`CC_BLOB_MAGIC`].
    pub magic: U32,
    /// Version; Linux does not look at it.
    pub version: U16,
    reserved_0x06: U16,
    /// Secrets page.
    pub secrets_address: U64,
    /// Bytes of the secrets page.
    pub secrets_length: U32,
    reserved_0x14: U32,
    /// CPUID page.
    pub cpuid_address: U64,
    /// Bytes of the CPUID page.
    pub cpuid_length: U32,
    reserved_0x24: U32,
}

impl CcBlob {
    /// The blob for two pages.
    #[must_use]
    pub const fn new(secrets_address: u64, cpuid_address: u64) -> Self {
        Self {
            magic: U32::new(CC_BLOB_MAGIC),
            version: U16::new(1),
            reserved_0x06: U16::ZERO,
            secrets_address: U64::new(secrets_address),
            secrets_length: U32::new(0x1000),
            reserved_0x14: U32::ZERO,
            cpuid_address: U64::new(cpuid_address),
            cpuid_length: U32::new(0x1000),
            reserved_0x24: U32::ZERO,
        }
    }
}

/// Type of the `setup_data` node that leads to the [`CcBlob`].
pub const SETUP_CC_BLOB: u32 = 7;

/// Type of a `setup_data` node that holds a TCG event log. The number is this project's own: Linux leaves nodes of unknown
/// types alone, and shows all of them to user space in `/sys/kernel/boot_params/setup_data`.
pub const SETUP_EVENT_LOG: u32 = 0x5643_4C47;

/// Start of a `setup_data` node; the payload follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct SetupDataHeader {
    /// Address of the next node, 0 at the end.
    pub next: U64,
    /// What the payload is.
    pub kind: U32,
    /// Bytes of the payload.
    pub length: U32,
}

impl SetupDataHeader {
    /// The last node of a list.
    #[must_use]
    pub const fn last(kind: u32, length: u32) -> Self {
        Self { next: U64::ZERO, kind: U32::new(kind), length: U32::new(length) }
    }
}

/// A `setup_data` node with the address of a [`CcBlob`] as its payload; the blob must lie below 4 GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct CcBlobSetupData {
    /// Address of the next node, 0 at the end.
    pub next: U64,
    /// [`SETUP_CC_BLOB`].
    pub kind: U32,
    /// Bytes of the payload: 4.
    pub length: U32,
    /// Address of the blob.
    pub blob_address: U32,
}

impl CcBlobSetupData {
    /// The only node of a list.
    #[must_use]
    pub const fn new(blob_address: u32) -> Self {
        Self {
            next: U64::ZERO,
            kind: U32::new(SETUP_CC_BLOB),
            length: U32::new(4),
            blob_address: U32::new(blob_address),
        }
    }
}

wire_enum! {
    /// Kind of an E820 range.
    pub enum E820Kind: u32 {
        /// RAM.
        Ram = 1,
        /// Not for use.
        Reserved = 2,
        /// ACPI tables; RAM once they were read.
        Acpi = 3,
        /// ACPI storage that sleeps must keep.
        AcpiNonVolatile = 4,
        /// Broken.
        Unusable = 5,
        /// Persistent memory.
        Persistent = 7,
    }
}

/// A range of the memory map, 20 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct E820Entry {
    /// First address.
    pub address: U64,
    /// Bytes.
    pub length: U64,
    /// [`E820Kind`].
    pub kind: U32,
}

impl E820Entry {
    /// A range.
    #[must_use]
    pub const fn new(address: u64, length: u64, kind: E820Kind) -> Self {
        let kind = U32::new(kind.to_wire());
        Self { address: U64::new(address), length: U64::new(length), kind }
    }
}

/// Ranges that fit in the boot parameters.
pub const MAXIMUM_E820_ENTRIES: usize = 128;

bitflags! {
    /// `xloadflags`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct ExtendedLoadFlags: u16 {
        /// The kernel has the 64-bit entry at offset 0x200.
        const KERNEL_64 = 1 << 0;
        /// Kernel, command line and initrd may lie above 4 GiB.
        const ABOVE_4G = 1 << 1;
        /// 32-bit EFI handover.
        const EFI_HANDOVER_32 = 1 << 2;
        /// 64-bit EFI handover.
        const EFI_HANDOVER_64 = 1 << 3;
        /// kexec with EFI runtime services.
        const EFI_KEXEC = 1 << 4;
        /// Five-level paging is understood.
        const FIVE_LEVEL = 1 << 5;
        /// Five-level paging is built in.
        const FIVE_LEVEL_ENABLED = 1 << 6;
        /// Memory encryption is built in.
        const MEMORY_ENCRYPTION = 1 << 7;
    }
}

/// `HdrS`.
pub const SETUP_HEADER_MAGIC: u32 = 0x5372_6448;
/// Offset of the setup header in kernel image and boot parameters.
pub const SETUP_HEADER_OFFSET: usize = 0x1F1;
/// `boot_flag`.
pub const BOOT_FLAG: u16 = 0xAA55;
/// `type_of_loader` of a loader without a number of its own.
pub const LOADER_UNDEFINED: u8 = 0xFF;
/// `loadflags` bit 0: the protected-mode part goes to 1 MiB or above.
pub const LOADED_HIGH: u8 = 1 << 0;
/// Offset of the 64-bit entry from the start of the protected-mode part.
pub const ENTRY_64_OFFSET: u64 = 0x200;

/// The setup header, 0x1F1 to 0x26B.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct SetupHeader {
    /// 512-byte sectors of the real-mode part after the first; 0 means 4.
    pub setup_sectors: u8,
    /// Obsolete.
    pub root_flags: U16,
    /// 16-byte units of the protected-mode part.
    pub system_size: U32,
    /// Obsolete.
    pub ram_size: U16,
    /// Video mode.
    pub video_mode: U16,
    /// Obsolete.
    pub root_device: U16,
    /// [`BOOT_FLAG`].
    pub boot_flag: U16,
    /// Jump over the header; its second byte says where the header ends.
    pub jump: U16,
    /// [`SETUP_HEADER_MAGIC`].
    pub magic: U32,
    /// Boot protocol version, 0x20F for 2.15.
    pub version: U16,
    /// Obsolete.
    pub real_mode_switch: U32,
    /// Obsolete.
    pub start_system_segment: U16,
    /// Offset of the version string, minus 0x200.
    pub kernel_version: U16,
    /// Who loads.
    pub loader_type: u8,
    /// See [`LOADED_HIGH`].
    pub load_flags: u8,
    /// Obsolete.
    pub setup_move_size: U16,
    /// 32-bit entry.
    pub code32_start: U32,
    /// Initrd address, low half.
    pub ramdisk_image: U32,
    /// Initrd bytes, low half.
    pub ramdisk_size: U32,
    /// Obsolete.
    pub boot_sector_kludge: U32,
    /// End of the real-mode heap.
    pub heap_end: U16,
    /// Loader's version.
    pub extended_loader_version: u8,
    /// Loader's extended type.
    pub extended_loader_type: u8,
    /// Command line address, low half.
    pub command_line: U32,
    /// Highest address that an initrd may use.
    pub initrd_maximum_address: U32,
    /// Alignment of the load address.
    pub kernel_alignment: U32,
    /// Whether the kernel may be loaded elsewhere.
    pub is_relocatable: u8,
    /// Smallest alignment, as a power of two.
    pub minimum_alignment: u8,
    /// [`ExtendedLoadFlags`].
    pub extended_load_flags: U16,
    /// Longest command line, without its zero byte.
    pub command_line_size: U32,
    /// Paravirtual environment; 0 for a PC.
    pub hardware_subarchitecture: U32,
    /// Data for it.
    pub hardware_subarchitecture_data: U64,
    /// Offset of the compressed kernel.
    pub payload_offset: U32,
    /// Bytes of the compressed kernel.
    pub payload_length: U32,
    /// First `setup_data` node.
    pub setup_data: U64,
    /// Preferred load address.
    pub preferred_address: U64,
    /// Bytes that the kernel needs at its load address before it has a memory map.
    pub initial_size: U32,
    /// EFI handover entry.
    pub handover_offset: U32,
    /// Offset of the kernel information.
    pub kernel_information_offset: U32,
}

/// Why a file cannot be booted directly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidKernel {
    /// Too short, or without boot flag and magic.
    NotAKernel,
    /// A boot protocol older than 2.12, which has no 64-bit entry flag; the version is given.
    ProtocolVersion(u16),
    /// No 64-bit entry.
    No64BitEntry,
    /// The real-mode part, the protected-mode part or the compressed kernel in it reaches beyond the file.
    Truncated,
}

impl SetupHeader {
    /// Reads the header of a bzImage that has the 64-bit entry.
    ///
    /// # Errors
    /// If the file is no such kernel.
    pub fn parse(image: &[u8]) -> Result<Self, InvalidKernel> {
        Self::parse_start(image, image.len() as u64)
    }

    /// As [`Self::parse`], for the first bytes of an image of `length` bytes; a page is enough.
    ///
    /// # Errors
    /// As for [`Self::parse`].
    pub fn parse_start(image: &[u8], length: u64) -> Result<Self, InvalidKernel> {
        let (header, _) = image
            .get(SETUP_HEADER_OFFSET..)
            .and_then(|tail| Self::read_from_prefix(tail).ok())
            .ok_or(InvalidKernel::NotAKernel)?;
        if header.boot_flag.get() != BOOT_FLAG || header.magic.get() != SETUP_HEADER_MAGIC {
            return Err(InvalidKernel::NotAKernel);
        }
        if header.version.get() < 0x20C {
            return Err(InvalidKernel::ProtocolVersion(header.version.get()));
        }
        let flags = ExtendedLoadFlags::from_bits_truncate(header.extended_load_flags.get());
        if !flags.contains(ExtendedLoadFlags::KERNEL_64) {
            return Err(InvalidKernel::No64BitEntry);
        }
        if !header.is_within(length) {
            return Err(InvalidKernel::Truncated);
        }
        Ok(header)
    }

    /// Whether all that the header speaks of lies in a file of `length` bytes. What follows, such as a signature, is not looked at: newer
    /// kernels end with no checksum.
    fn is_within(&self, length: u64) -> bool {
        let offset = self.protected_mode_offset() as u64;
        // 32-bit numbers in 64 bits: nothing overflows.
        let system = u64::from(self.system_size.get()).saturating_mul(16);
        let payload = u64::from(self.payload_offset.get()).saturating_add(self.payload_length.get().into());
        offset < length && offset.saturating_add(system) <= length && payload <= system
    }

    /// Whether a command line of `length` bytes, without its zero byte, is one that the kernel takes whole. It maps no more of a longer
    /// one than this, and hangs without a word.
    #[must_use]
    pub const fn takes_command_line(&self, length: u64) -> bool {
        length <= self.command_line_size.get() as u64
    }

    /// Offset of the protected-mode part in the image.
    #[must_use]
    pub const fn protected_mode_offset(&self) -> usize {
        // At most 256 sectors of 512 bytes: cannot overflow.
        match self.setup_sectors {
            0 => 5 * 512,
            sectors => (sectors as usize).wrapping_add(1).wrapping_mul(512),
        }
    }
}

/// `boot_params`, the page to which RSI points at the 64-bit entry.
#[derive(Debug, Clone, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct BootParameters {
    /// Text screen; zeros for none.
    pub screen_information: [u8; 0x40],
    reserved_0x040: [u8; 0x30],
    /// Address of the ACPI root pointer.
    pub acpi_root_pointer: U64,
    reserved_0x078: [u8; 0x48],
    /// Initrd address, high half.
    pub extended_ramdisk_image: U32,
    /// Initrd bytes, high half.
    pub extended_ramdisk_size: U32,
    /// Command line address, high half.
    pub extended_command_line: U32,
    reserved_0x0cc: [u8; 0x70],
    /// Address of the [`CcBlob`]; only for a kernel that was not compressed.
    pub cc_blob_address: U32,
    reserved_0x140: [u8; 0xA8],
    /// Ranges in [`BootParameters::e820_table`].
    pub e820_entries: u8,
    reserved_0x1e9: [u8; 6],
    /// Zero, or the kernel clears what it does not know.
    pub sentinel: u8,
    reserved_0x1f0: u8,
    /// Copied from the kernel image, loader fields filled in.
    pub setup_header: SetupHeader,
    reserved_0x26c: [u8; 0x64],
    /// The memory map.
    pub e820_table: [E820Entry; MAXIMUM_E820_ENTRIES],
    reserved_0xcd0: [u8; 0x330],
}

// Offsets printed by a C program over the uapi header.
const _: () = {
    assert!(size_of::<CcBlob>() == 40);
    assert!(offset_of!(CcBlob, secrets_address) == 8);
    assert!(offset_of!(CcBlob, cpuid_address) == 24);
    assert!(size_of::<CcBlobSetupData>() == 20);
    assert!(size_of::<SetupDataHeader>() == 16);
    assert!(size_of::<E820Entry>() == 20);
    assert!(size_of::<SetupHeader>() == 123);
    assert!(size_of::<BootParameters>() == 0x1000);
    assert!(offset_of!(BootParameters, acpi_root_pointer) == 0x070);
    assert!(offset_of!(BootParameters, extended_ramdisk_image) == 0x0C0);
    assert!(offset_of!(BootParameters, extended_command_line) == 0x0C8);
    assert!(offset_of!(BootParameters, cc_blob_address) == 0x13C);
    assert!(offset_of!(BootParameters, e820_entries) == 0x1E8);
    assert!(offset_of!(BootParameters, sentinel) == 0x1EF);
    assert!(offset_of!(BootParameters, setup_header) == SETUP_HEADER_OFFSET);
    assert!(offset_of!(BootParameters, e820_table) == 0x2D0);
    assert!(offset_of!(BootParameters, setup_header.boot_flag) == 0x1FE);
    assert!(offset_of!(BootParameters, setup_header.magic) == 0x202);
    assert!(offset_of!(BootParameters, setup_header.loader_type) == 0x210);
    assert!(offset_of!(BootParameters, setup_header.code32_start) == 0x214);
    assert!(offset_of!(BootParameters, setup_header.ramdisk_image) == 0x218);
    assert!(offset_of!(BootParameters, setup_header.command_line) == 0x228);
    assert!(offset_of!(BootParameters, setup_header.kernel_alignment) == 0x230);
    assert!(offset_of!(BootParameters, setup_header.extended_load_flags) == 0x236);
    assert!(offset_of!(BootParameters, setup_header.setup_data) == 0x250);
    assert!(offset_of!(BootParameters, setup_header.preferred_address) == 0x258);
    assert!(offset_of!(BootParameters, setup_header.initial_size) == 0x260);
};
