//! Direct boot of a Linux kernel: the image has the hashes, the host (or the image) the bytes.
//!
//! Each blob is copied into private memory piece by piece and hashed there; a blob that is missing, longer or
//! shorter than the image says, or different ends the firmware before the guest runs. Contract:
//! Linux Documentation/arch/x86/boot.rst, 64-bit boot protocol.

use super::acpi::{self, Tables};
use super::boot_area::BootArea;
use super::measured::Measured;
use super::memory::{grant_launched, read_bytes, write_bytes};
use super::{CannotStart, Start, long_mode, ram};
use crate::fw_cfg::{FwCfg, FwCfgError};
use crate::platform::Platform;
use crate::setup::{Facts, GUEST_VMPL, MemoryRange};
use boot_handoff::{BlobDigest, LinuxGuest};
use hardware::cpu::Cpu;
use hardware::region;
use sha2::{Digest, Sha384};
use snp_abi::address::{PAGE_BYTES, PAGE_LENGTH};
use snp_abi::linux::{BootParameters, ENTRY_64_OFFSET, LOADER_UNDEFINED, SetupHeader};

const KERNEL_FILE: &str = "opt/org.vouchsafe/kernel";
const INITRD_FILE: &str = "opt/org.vouchsafe/initrd";
const COMMAND_LINE_FILE: &str = "opt/org.vouchsafe/cmdline";
/// Room for ACPI tables, kept below the boot area.
const ACPI_ROOM: u64 = acpi::MOST_BYTES as u64 + PAGE_BYTES;
/// Longest command line: a page, with its final zero.
const MOST_COMMAND_LINE: u64 = PAGE_BYTES - 1;
/// Where kernels must not lie: the first MiB belongs to the PC.
const FIRST_MIB: u64 = 1 << 20;
const FOUR_GIB: u64 = 1 << 32;

/// Why a blob is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BlobError {
    FwCfg(FwCfgError),
    Length,
    Hash,
}

impl From<FwCfgError> for BlobError {
    fn from(error: FwCfgError) -> Self {
        Self::FwCfg(error)
    }
}

/// A guest that is being put together.
struct Loader<'a, 'b> {
    platform: &'a mut Platform<'b>,
    fw_cfg: &'a mut FwCfg,
    facts: &'a Facts,
}

/// Loads the guest and prepares its first vCPU.
pub fn prepare(
    cpu: &mut Cpu,
    guest: &LinuxGuest,
    facts: &Facts,
    fw_cfg: &mut FwCfg,
    mut measured: Measured,
) -> Result<Start, CannotStart> {
    let area = BootArea::place(facts)?;
    let platform = &mut Platform::new(cpu);
    for blob in [&guest.kernel, &guest.initrd, &guest.command_line] {
        if blob.embedded_at != 0 {
            grant_launched(platform, blob.embedded_at, blob.length.div_ceil(PAGE_BYTES))?;
        }
    }
    let mut command_line = [0; PAGE_LENGTH];
    let mut loader = Loader { platform, fw_cfg, facts };
    let length = loader.command_line(&guest.command_line, &mut command_line)?;
    let (parameters, tables) = loader.parameters(&area)?;
    let command_line = command_line.get(..length).unwrap_or_default();
    // What is measured by a digest is compared with it before it runs.
    measured.kernel(&guest.kernel);
    measured.initrd(&guest.initrd);
    measured.command_line(&guest.command_line, command_line.strip_suffix(&[0]).unwrap_or(command_line));
    area.fill(loader.platform, parameters, command_line, measured.finish())?;
    let bytes = ram::provide_all(loader.platform, facts)?;
    log::info!("{} MiB of memory granted", bytes >> 20);
    if let Some(tables) = &tables {
        tables.place(loader.platform);
    }
    let entry = loader.kernel_and_initrd(guest, &area)?;
    Ok(Start { vmsa: long_mode::vmsa(&area, entry, GUEST_VMPL), calling_area: area.calling_area() })
}

impl Loader<'_, '_> {
    fn command_line(
        &mut self,
        blob: &BlobDigest,
        text: &mut [u8; PAGE_LENGTH],
    ) -> Result<usize, CannotStart> {
        if blob.length > MOST_COMMAND_LINE {
            return Err(CannotStart::Blob);
        }
        self.blob(COMMAND_LINE_FILE, blob, |_, offset, part| {
            if let Some(place) = text.get_mut(offset..offset + part.len()) {
                place.copy_from_slice(part);
            }
        })?;
        Ok(blob.length as usize + 1)
    }

    /// Boot parameters with memory map and ACPI tables, which lie just below the boot area.
    fn parameters(&mut self, area: &BootArea) -> Result<(BootParameters, Option<Tables>), CannotStart> {
        let start = area.range().start.checked_sub(ACPI_ROOM).ok_or(CannotStart::Memory)?;
        let start = start / PAGE_BYTES * PAGE_BYTES;
        let tables = match Tables::read(self.fw_cfg, start) {
            Ok(tables) => Some(tables),
            Err(error) => {
                log::warn!("no ACPI tables: {error:?}");
                None
            }
        };
        let room = tables.as_ref().map_or(0, |tables| tables.bytes.next_multiple_of(PAGE_BYTES));
        let acpi = MemoryRange { start, end: start + room };
        let mut parameters = area.parameters(self.facts, (room > 0).then_some(acpi));
        let root = tables.as_ref().and_then(Tables::root_pointer).unwrap_or(0);
        parameters.acpi_root_pointer = root.into();
        Ok((parameters, tables))
    }

    /// Copies a blob into private memory and checks its length and hash; `each` gets offsets and bytes.
    fn blob(
        &mut self,
        name: &str,
        blob: &BlobDigest,
        mut each: impl FnMut(&mut Platform<'_>, usize, &[u8]),
    ) -> Result<(), CannotStart> {
        let mut hash = Sha384::new();
        let checked = self.pieces(name, blob, |platform, offset, part| {
            hash.update(part);
            each(platform, offset, part);
        });
        let checked = checked.and_then(|()| {
            if hash.finalize().as_slice() == blob.sha384 { Ok(()) } else { Err(BlobError::Hash) }
        });
        checked.map_err(|error| {
            log::error!("{name}: {error:?}");
            CannotStart::Blob
        })
    }

    fn pieces(
        &mut self,
        name: &str,
        blob: &BlobDigest,
        mut each: impl FnMut(&mut Platform<'_>, usize, &[u8]),
    ) -> Result<(), BlobError> {
        let platform = &mut *self.platform;
        if blob.length == 0 {
            return Ok(());
        }
        if blob.embedded_at != 0 {
            let mut copy = [0; PAGE_LENGTH];
            for offset in (0..blob.length).step_by(PAGE_LENGTH) {
                let count = (blob.length - offset).min(PAGE_BYTES) as usize;
                let part = copy.get_mut(..count).ok_or(BlobError::Length)?;
                read_bytes(platform, blob.embedded_at + offset, part);
                each(platform, offset as usize, part);
            }
            return Ok(());
        }
        let file = self.fw_cfg.find(name)?;
        if u64::from(file.bytes) != blob.length {
            return Err(BlobError::Length);
        }
        self.fw_cfg.read(file, |offset, part| {
            each(platform, offset, part);
            Ok::<(), BlobError>(())
        })
    }

    /// Puts kernel and initrd in place and completes the boot parameters; returns the entry.
    fn kernel_and_initrd(&mut self, guest: &LinuxGuest, area: &BootArea) -> Result<u64, CannotStart> {
        let first = self.first_page(KERNEL_FILE, &guest.kernel).map_err(|error| {
            log::error!("{KERNEL_FILE}: {error:?}");
            CannotStart::Blob
        })?;
        let header = SetupHeader::parse_start(&first, guest.kernel.length).map_err(|error| {
            log::error!("the kernel is not bootable: {error:?}");
            CannotStart::Image
        })?;
        let kernel = self.kernel_place(&header, &guest.kernel).ok_or(CannotStart::Memory)?;
        let setup = header.protected_mode_offset();
        let mut same = false;
        self.blob(KERNEL_FILE, &guest.kernel, |platform, offset, part| {
            // The header was read before the hash was known: it must be the one that the hash covers.
            same |= offset == 0 && part.starts_with(&first);
            let skipped = setup.saturating_sub(offset).min(part.len());
            let target = kernel.start + (offset + skipped).saturating_sub(setup) as u64;
            write_bytes(platform, target, part.get(skipped..).unwrap_or_default());
        })?;
        if !same {
            return Err(CannotStart::Blob);
        }
        let initrd = self.initrd(&guest.initrd, &header, kernel)?;
        let mut finished = header;
        finished.loader_type = LOADER_UNDEFINED;
        finished.ramdisk_image = (initrd as u32).into();
        finished.ramdisk_size = (guest.initrd.length as u32).into();
        area.set_header(self.platform, finished);
        log::info!("kernel at {:#x}, initrd at {initrd:#x}", kernel.start);
        Ok(kernel.start + ENTRY_64_OFFSET)
    }

    /// The first page of a blob, unverified.
    fn first_page(&mut self, name: &str, blob: &BlobDigest) -> Result<[u8; PAGE_LENGTH], BlobError> {
        let mut page = [0; PAGE_LENGTH];
        if blob.length < PAGE_BYTES {
            return Err(BlobError::Length);
        }
        if blob.embedded_at != 0 {
            read_bytes(self.platform, blob.embedded_at, &mut page);
        } else {
            let file = self.fw_cfg.find(name)?;
            self.fw_cfg.read_start(file, &mut page)?;
        }
        Ok(page)
    }

    /// Where the kernel goes: at its preferred address if there is room, else at the first aligned place.
    fn kernel_place(&self, header: &SetupHeader, blob: &BlobDigest) -> Option<MemoryRange> {
        let alignment = u64::from(header.kernel_alignment.get()).max(PAGE_BYTES);
        let size = u64::from(header.initial_size.get()).max(blob.length);
        if !alignment.is_power_of_two() {
            return None;
        }
        let preferred = header.preferred_address.get();
        let fits = |start: u64| {
            let end = start.checked_add(size)?;
            self.is_free(start, end).then_some(MemoryRange { start, end })
        };
        let candidates =
            self.facts.memory.iter().flat_map(|range| [range.start, region::end().max(range.start)]);
        fits(preferred).or_else(|| {
            candidates.map(|start| start.max(FIRST_MIB).next_multiple_of(alignment)).find_map(fits)
        })
    }

    /// Whether a range is RAM below 4 GiB outside of what the firmware uses.
    fn is_free(&self, start: u64, end: u64) -> bool {
        let used_start =
            region::start().saturating_sub(ACPI_ROOM + (super::boot_area::PAGES + 1) * PAGE_BYTES);
        let outside = end <= used_start || start >= region::end();
        let in_memory = self.facts.memory.iter().any(|range| range.start <= start && end <= range.end);
        outside && in_memory && end <= FOUR_GIB && start >= FIRST_MIB
    }

    /// Loads the initrd as high as the kernel allows; one that the image carries stays where it is.
    fn initrd(
        &mut self,
        blob: &BlobDigest,
        header: &SetupHeader,
        kernel: MemoryRange,
    ) -> Result<u64, CannotStart> {
        if blob.length == 0 {
            return Ok(0);
        }
        if blob.embedded_at != 0 {
            self.blob(INITRD_FILE, blob, |_, _, _| {})?;
            return Ok(blob.embedded_at);
        }
        let limit = u64::from(header.initrd_maximum_address.get()) + 1;
        let place = |end: u64| {
            let start = end.min(limit).checked_sub(blob.length)? / PAGE_BYTES * PAGE_BYTES;
            let apart = start >= kernel.end || start + blob.length <= kernel.start;
            (self.is_free(start, start + blob.length) && apart).then_some(start)
        };
        let ends = self.facts.memory.iter().rev().flat_map(|range| {
            [
                range.end,
                region::start().saturating_sub(2 * ACPI_ROOM).min(range.end),
                kernel.start.min(range.end),
            ]
        });
        let start = ends.filter_map(place).next().ok_or(CannotStart::Memory)?;
        self.blob(INITRD_FILE, blob, |platform, offset, part| {
            write_bytes(platform, start + offset as u64, part)
        })?;
        Ok(start)
    }
}
