//! Guest payloads: what of the guest at VMPL2 goes into the image, and what the record says about it.

use std::collections::BTreeMap;

use boot_handoff::{
    BlobDigest, ElfGuest, FirmwareGuest, Guest, GuestPages, GuestRecord, LinuxGuest, PageRange,
};
use sha2::{Digest, Sha256, Sha384};
use snp_abi::linux::{InvalidKernel, SetupHeader};
use zerocopy::FromZeros;

use crate::elf::{ElfError, LoadedElf, Placement};
use crate::layout::RegionPage;
use crate::ovmf::{FirmwareError, FirmwareLayout, kind};

/// A guest, ready for an image.
#[derive(Debug)]
pub struct Payload {
    /// The guest's part of the hand-off record.
    pub record: GuestRecord,
    /// Its pages in the image.
    pub pages: BTreeMap<u64, RegionPage>,
}

/// A Linux kernel for direct boot.
#[derive(Debug, Clone, Copy)]
pub struct LinuxSource<'a> {
    /// bzImage.
    pub kernel: &'a [u8],
    /// Initial RAM disk; empty for none.
    pub initrd: &'a [u8],
    /// Command line.
    pub command_line: &'a str,
    /// Carry the blobs in the image instead of only their hashes.
    pub embed: bool,
}

/// Bytes of a page.
const PAGE: u64 = 0x1000;
/// Longest command line: it has one page, with a final zero.
const MOST_COMMAND_LINE: usize = 0xFFF;

/// Why a payload cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// The program itself.
    #[error(transparent)]
    Elf(#[from] ElfError),
    /// It starts without paging.
    #[error("the entry {0:#x} is not below 4 GiB")]
    Entry(u64),
    /// Too scattered.
    #[error("its pages form {0} separate ranges, more than the record holds")]
    Ranges(usize),
    /// The kernel cannot be started.
    #[error("the kernel is no bzImage that can be started: {0:?}")]
    Kernel(InvalidKernel),
    /// The command line does not fit its page.
    #[error("the command line has {0} bytes, more than {MOST_COMMAND_LINE}")]
    CommandLine(usize),
    /// The kernel would not read all of the command line.
    #[error(
        "the command line has {0} bytes, and this kernel takes {1}: with a longer one it hangs, or does not see the end"
    )]
    CommandLineForKernel(usize, u32),
    /// The firmware itself.
    #[error(transparent)]
    Firmware(#[from] FirmwareError),
    /// Kernel hashes were asked for, and the firmware has no place for them.
    #[error("the firmware has no room for the hashes of kernel, initrd and command line")]
    NoHashRoom,
    /// A zero byte would end the command line early.
    #[error("the command line contains a zero byte")]
    CommandLineZero,
}

impl Payload {
    /// No guest.
    #[must_use]
    pub fn none() -> Self {
        Self { record: GuestRecord::encode(Guest::None), pages: BTreeMap::new() }
    }

    /// A bare-metal program at its physical addresses. Pages without content are not launched: the
    /// kernel validates and zeroes them.
    ///
    /// # Errors
    /// If the program cannot be loaded, starts above 4 GiB, or is too scattered.
    pub fn from_elf(file: &[u8]) -> Result<Self, PayloadError> {
        let program = LoadedElf::load(file, Placement::Physical)?;
        if program.entry >= 1 << 32 {
            return Err(PayloadError::Entry(program.entry));
        }
        let empty = program.pages.iter().filter(|(_, page)| page.content.is_none());
        let zeroed = record(&ranges_of(empty.map(|(address, _)| *address)))?;
        let pages: BTreeMap<u64, RegionPage> = program
            .pages
            .into_iter()
            .filter_map(|(address, page)| Some((address, RegionPage::Content(page.content?))))
            .collect();
        let launched = record(&ranges_of(pages.keys().copied()))?;
        let guest = ElfGuest { entry: program.entry, pages: launched, zeroed };
        Ok(Self { record: GuestRecord::encode(Guest::Elf(&guest)), pages })
    }

    /// UEFI firmware, and with `linux` the hashes of the blobs that it will load over fw_cfg.
    ///
    /// # Errors
    /// If the file is no firmware for SEV-SNP, or has no room for hashes that are asked for.
    pub fn from_firmware(file: &[u8], linux: Option<&LinuxSource<'_>>) -> Result<Self, PayloadError> {
        let layout = FirmwareLayout::parse(file)?;
        let mut pages: BTreeMap<u64, RegionPage> = BTreeMap::new();
        for (address, chunk) in (layout.base..).step_by(PAGE as usize).zip(file.chunks_exact(PAGE as usize)) {
            let mut page = Box::new([0; PAGE as usize]);
            page.copy_from_slice(chunk);
            pages.insert(address, RegionPage::Content(page));
        }
        if let Some(linux) = linux {
            check_kernel(linux)?;
            let (address, page) = hash_page(&layout, linux)?;
            pages.insert(address, RegionPage::Content(page));
        }
        let mut guest = FirmwareGuest::new_zeroed();
        guest.pages = record(&ranges_of(pages.keys().copied()))?;
        guest.ap_reset_address = layout.ap_reset_address;
        guest.section_count = layout.sections.len() as u32;
        for (place, section) in guest.sections.iter_mut().zip(&layout.sections) {
            *place = *section;
        }
        let mut record = GuestRecord::encode(Guest::Firmware(&guest));
        let page = |kind| layout.section(kind).map_or(0, |section| u64::from(section.start));
        record.secrets_page = page(kind::SECRETS);
        record.cpuid_page = page(kind::CPUID);
        record.calling_area = page(kind::CALLING_AREA);
        Ok(Self { record, pages })
    }

    /// A Linux kernel, of which the image has the hashes; embedded blobs lie from `start` on, behind the region.
    ///
    /// # Errors
    /// If the kernel has no 64-bit entry, or the command line does not fit.
    pub fn from_linux(source: &LinuxSource<'_>, start: u64) -> Result<Self, PayloadError> {
        check_kernel(source)?;
        let line = source.command_line.as_bytes();
        if line.len() > MOST_COMMAND_LINE {
            return Err(PayloadError::CommandLine(line.len()));
        }
        if line.contains(&0) {
            return Err(PayloadError::CommandLineZero);
        }
        let mut pages = BTreeMap::new();
        let mut next = start;
        let mut blob = |bytes: &[u8]| {
            let embedded = source.embed && !bytes.is_empty();
            let embedded_at = if embedded { next } else { 0 };
            for chunk in bytes.chunks(PAGE as usize).filter(|_| embedded) {
                let mut page = Box::new([0; PAGE as usize]);
                page.iter_mut().zip(chunk).for_each(|(place, byte)| *place = *byte);
                pages.insert(next, RegionPage::Content(page));
                next = next.saturating_add(PAGE);
            }
            BlobDigest { length: bytes.len() as u64, sha384: Sha384::digest(bytes).into(), embedded_at }
        };
        let guest =
            LinuxGuest { kernel: blob(source.kernel), initrd: blob(source.initrd), command_line: blob(line) };
        Ok(Self { record: GuestRecord::encode(Guest::Linux(&guest)), pages })
    }
}

/// Whether the kernel can be started, with this command line.
fn check_kernel(source: &LinuxSource<'_>) -> Result<(), PayloadError> {
    let header = SetupHeader::parse(source.kernel).map_err(PayloadError::Kernel)?;
    let length = source.command_line.len();
    if header.takes_command_line(length as u64) {
        Ok(())
    } else {
        Err(PayloadError::CommandLineForKernel(length, header.command_line_size.get()))
    }
}

/// GUIDs of QEMU's table of kernel hashes (target/i386/sev.c), mixed-endian.
const HASH_TABLE: [u8; 16] =
    [0x06, 0xd6, 0x38, 0x94, 0x22, 0x4f, 0xc9, 0x4c, 0xb4, 0x79, 0xa7, 0x93, 0xd4, 0x11, 0xfd, 0x21];
const HASH_COMMAND_LINE: [u8; 16] =
    [0xd8, 0x2d, 0xd0, 0x97, 0x20, 0xbd, 0x94, 0x4c, 0xaa, 0x78, 0xe7, 0x71, 0x4d, 0x36, 0xab, 0x2a];
const HASH_INITRD: [u8; 16] =
    [0x31, 0xf7, 0xba, 0x44, 0x2f, 0x3a, 0xd7, 0x4b, 0x9a, 0xf1, 0x41, 0xe2, 0x91, 0x69, 0x78, 0x1d];
const HASH_KERNEL: [u8; 16] =
    [0x37, 0x94, 0xe7, 0x4d, 0xd2, 0xab, 0x7f, 0x42, 0xb8, 0x35, 0xd5, 0xb1, 0x72, 0xd2, 0x04, 0x5b];

/// The page with the hashes that the firmware checks its blobs against: SHA-256, the command line with its final zero.
fn hash_page(
    layout: &FirmwareLayout,
    linux: &LinuxSource<'_>,
) -> Result<(u64, Box<[u8; PAGE as usize]>), PayloadError> {
    let (start, room) = layout.kernel_hashes.ok_or(PayloadError::NoHashRoom)?;
    let mut command_line = linux.command_line.as_bytes().to_vec();
    command_line.push(0);
    let mut table = Vec::new();
    for (guid, bytes) in
        [(HASH_COMMAND_LINE, &command_line[..]), (HASH_INITRD, linux.initrd), (HASH_KERNEL, linux.kernel)]
    {
        table.extend_from_slice(&guid);
        table.extend_from_slice(&50u16.to_le_bytes());
        table.extend_from_slice(&Sha256::digest(bytes));
    }
    let length = HASH_TABLE.len().saturating_add(size_of::<u16>()).saturating_add(table.len()) as u16;
    let header = [&HASH_TABLE[..], &length.to_le_bytes()].concat();
    let table = [header, table].concat();
    let address = u64::from(start) & !(PAGE - 1);
    let mut page = Box::new([0; PAGE as usize]);
    let place =
        page.get_mut((u64::from(start) % PAGE) as usize..).and_then(|rest| rest.get_mut(..table.len()));
    let place = place.filter(|_| table.len() <= room as usize);
    place.ok_or(PayloadError::NoHashRoom)?.copy_from_slice(&table);
    Ok((address, page))
}

fn record(ranges: &[PageRange]) -> Result<GuestPages, PayloadError> {
    GuestPages::from_ranges(ranges).ok_or(PayloadError::Ranges(ranges.len()))
}

/// Joins ascending page addresses to ranges.
fn ranges_of(addresses: impl Iterator<Item = u64>) -> Vec<PageRange> {
    let mut ranges: Vec<PageRange> = Vec::new();
    for start in addresses {
        match ranges.last_mut() {
            Some(range) if range.end() == Some(start) => range.pages = range.pages.saturating_add(1),
            _ => ranges.push(PageRange { start, pages: 1 }),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_join_and_gaps_divide() {
        let ranges = ranges_of([0x1000, 0x2000, 0x4000].into_iter());
        assert_eq!(ranges, [PageRange { start: 0x1000, pages: 2 }, PageRange { start: 0x4000, pages: 1 }]);
    }
}
