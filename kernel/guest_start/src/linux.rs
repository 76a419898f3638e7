//! Direct boot of a Linux kernel: the image has the hashes, the host (or the image) the bytes.
//!
//! Each blob is copied into private memory piece by piece and hashed there; a blob that is missing, longer or
//! shorter than the image says, or different ends the firmware before the guest runs. Contract:
//! Linux Documentation/arch/x86/boot.rst, 64-bit boot protocol.

use crate::acpi::{self, Tables};
use crate::boot_area::{self, BootArea};
use crate::facts::MemoryRange;
use crate::host_files::{FileError, HostFiles};
use crate::long_mode;
use crate::measured::Measured;
use crate::memory::{CannotStart, GuestMemory};
use crate::surroundings::{ReadyGuest, Surroundings};
use boot_handoff::{BlobDigest, GuestRecord, LinuxGuest};
use sha2::{Digest, Sha384};
use snp_abi::address::{PAGE_BYTES, PAGE_LENGTH};
use snp_abi::linux::{BootParameters, ENTRY_64_OFFSET, LOADER_UNDEFINED, SetupHeader};

const KERNEL_FILE: &str = "opt/org.vouchsafe/kernel";
const INITRD_FILE: &str = "opt/org.vouchsafe/initrd";
const COMMAND_LINE_FILE: &str = "opt/org.vouchsafe/cmdline";
/// Room for ACPI tables, kept below the boot area.
const ACPI_ROOM: u64 = acpi::MOST_BYTES as u64 + PAGE_BYTES;
/// What lies below the firmware's region and is no place for a kernel or an initrd.
const BOOT_ROOM: u64 = ACPI_ROOM + (boot_area::PAGES + 1) * PAGE_BYTES;
/// Longest command line: a page, with its final zero.
const MOST_COMMAND_LINE: u64 = PAGE_BYTES - 1;
/// Where kernels must not lie: the first MiB belongs to the PC.
const FIRST_MIB: u64 = 1 << 20;
const FOUR_GIB: u64 = 1 << 32;

/// Why a blob is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BlobError {
    Host(FileError),
    Length,
    Hash,
    /// It does not fit where it has to go.
    Target(CannotStart),
}

impl From<FileError> for BlobError {
    fn from(error: FileError) -> Self {
        Self::Host(error)
    }
}

/// A guest that is being put together.
struct Loader<'a, 'b> {
    memory: &'a mut GuestMemory<'b>,
    files: &'a mut dyn HostFiles,
}

/// What takes the pieces of a blob, with their offsets.
type Piece<'a> = &'a mut dyn FnMut(&mut GuestMemory<'_>, usize, &[u8]) -> Result<(), CannotStart>;

/// Loads the guest and prepares its first vCPU.
pub fn prepare(
    record: &GuestRecord,
    guest: &LinuxGuest,
    surroundings: &mut Surroundings<'_>,
) -> Result<ReadyGuest, CannotStart> {
    let memory = &mut surroundings.memory;
    let (svsm, facts) = (memory.svsm, memory.facts);
    let mut measured = Measured::start(svsm.vtpm.as_deref(), record)?;
    let area = BootArea::place(facts)?;
    for blob in [&guest.kernel, &guest.initrd, &guest.command_line] {
        if blob.embedded_at != 0 {
            memory.grant_launched(blob.embedded_at, blob.length.div_ceil(PAGE_BYTES))?;
        }
    }
    let mut command_line = [0; PAGE_LENGTH];
    let files = surroundings.files.as_deref_mut().ok_or(CannotStart::Blob)?;
    let mut loader = Loader { memory, files };
    let length = loader.command_line(&guest.command_line, &mut command_line)?;
    let (parameters, tables) = loader.parameters(&area)?;
    let command_line = command_line.get(..length).unwrap_or_default();
    // What is measured by a digest is compared with it before it runs.
    measured.kernel(&guest.kernel)?;
    measured.initrd(&guest.initrd)?;
    measured.command_line(&guest.command_line, command_line.strip_suffix(&[0]).unwrap_or(command_line))?;
    area.fill(loader.memory, surroundings.secrets, parameters, command_line, measured.finish()?)?;
    let bytes = loader.memory.provide_all()?;
    log::info!("{} MiB of memory granted", bytes >> 20);
    if let Some(tables) = &tables {
        tables.place(loader.memory)?;
    }
    let entry = loader.kernel_and_initrd(guest, &area)?;
    Ok(ReadyGuest {
        vmsa: long_mode::vmsa(area.structures(), entry, facts),
        calling_area: area.calling_area(),
    })
}

impl Loader<'_, '_> {
    /// Reads the command line; returns its length with the final zero.
    fn command_line(
        &mut self,
        blob: &BlobDigest,
        text: &mut [u8; PAGE_LENGTH],
    ) -> Result<usize, CannotStart> {
        if blob.length > MOST_COMMAND_LINE {
            return Err(CannotStart::Blob);
        }
        self.blob(COMMAND_LINE_FILE, blob, &mut |_, offset, part| {
            let place = text.get_mut(offset..).and_then(|text| text.get_mut(..part.len()));
            place.ok_or(CannotStart::Blob)?.copy_from_slice(part);
            Ok(())
        })?;
        usize::try_from(blob.length.saturating_add(1)).map_err(|_| CannotStart::Blob)
    }

    /// Boot parameters with memory map and ACPI tables, which lie just below the boot area.
    fn parameters(&mut self, area: &BootArea) -> Result<(BootParameters, Option<Tables>), CannotStart> {
        let start = area.range().start.checked_sub(ACPI_ROOM).ok_or(CannotStart::Memory)?;
        let start = page_below(start);
        let tables = match Tables::read(self.files, start) {
            Ok(tables) => Some(tables),
            Err(error) => {
                log::warn!("no ACPI tables: {error:?}");
                None
            }
        };
        let room = tables.as_ref().map_or(0, |tables| tables.bytes.next_multiple_of(PAGE_BYTES));
        let acpi = MemoryRange { start, end: start.saturating_add(room) };
        let mut parameters = area.parameters(self.memory.facts, (room > 0).then_some(acpi));
        let root = tables.as_ref().and_then(Tables::root_pointer).unwrap_or(0);
        parameters.acpi_root_pointer = root.into();
        Ok((parameters, tables))
    }

    /// Copies a blob into private memory and checks its length and hash; `each` gets offsets and bytes.
    fn blob(&mut self, name: &str, blob: &BlobDigest, each: Piece<'_>) -> Result<(), CannotStart> {
        let mut hash = Sha384::new();
        let checked = self.pieces(name, blob, &mut |memory, offset, part| {
            hash.update(part);
            each(memory, offset, part)
        });
        let checked = checked.and_then(|()| {
            if hash.finalize().as_slice() == blob.sha384 { Ok(()) } else { Err(BlobError::Hash) }
        });
        checked.map_err(|error| {
            log::error!("{name}: {error:?}");
            match error {
                BlobError::Target(error) => error,
                BlobError::Host(_) | BlobError::Length | BlobError::Hash => CannotStart::Blob,
            }
        })
    }

    fn pieces(&mut self, name: &str, blob: &BlobDigest, each: Piece<'_>) -> Result<(), BlobError> {
        if blob.length == 0 {
            return Ok(());
        }
        if blob.embedded_at != 0 {
            return self.embedded_pieces(blob, each).map_err(BlobError::Target);
        }
        let file = self.files.find(name)?;
        if u64::from(file.bytes) != blob.length {
            return Err(BlobError::Length);
        }
        let memory = &mut *self.memory;
        let mut taken = Ok(());
        self.files.read(file, &mut |offset, part| {
            if taken.is_ok() {
                taken = each(memory, offset, part);
            }
        })?;
        taken.map_err(BlobError::Target)
    }

    /// The pieces of a blob that the image launched.
    fn embedded_pieces(&mut self, blob: &BlobDigest, each: Piece<'_>) -> Result<(), CannotStart> {
        let mut copy = [0; PAGE_LENGTH];
        for offset in (0..blob.length).step_by(PAGE_LENGTH) {
            let count = blob.length.saturating_sub(offset).min(PAGE_BYTES) as usize;
            let part = copy.get_mut(..count).ok_or(CannotStart::Memory)?;
            self.memory.read(blob.embedded_at.saturating_add(offset), part)?;
            let offset = usize::try_from(offset).map_err(|_| CannotStart::Memory)?;
            each(self.memory, offset, part)?;
        }
        Ok(())
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
        if !header.takes_command_line(guest.command_line.length) {
            log::error!(
                "the command line is longer than the kernel's {} bytes",
                header.command_line_size.get()
            );
            return Err(CannotStart::Image);
        }
        let kernel = self.kernel_place(&header, &guest.kernel).ok_or(CannotStart::Memory)?;
        let setup = header.protected_mode_offset();
        let mut same = false;
        self.blob(KERNEL_FILE, &guest.kernel, &mut |memory, offset, part| {
            // The header was read before the hash was known: it must be the one that the hash covers.
            same |= offset == 0 && part.starts_with(&first);
            let skipped = setup.saturating_sub(offset).min(part.len());
            let target = offset.saturating_add(skipped).saturating_sub(setup) as u64;
            memory.write(kernel.start.saturating_add(target), part.get(skipped..).unwrap_or_default())
        })?;
        if !same {
            return Err(CannotStart::Blob);
        }
        let initrd = self.initrd(&guest.initrd, &header, kernel)?;
        let mut finished = header;
        finished.loader_type = LOADER_UNDEFINED;
        finished.ramdisk_image = u32::try_from(initrd).map_err(|_| CannotStart::Memory)?.into();
        finished.ramdisk_size = u32::try_from(guest.initrd.length).map_err(|_| CannotStart::Blob)?.into();
        area.set_header(self.memory, finished)?;
        log::info!("kernel at {:#x}, initrd at {initrd:#x}", kernel.start);
        kernel.start.checked_add(ENTRY_64_OFFSET).ok_or(CannotStart::Memory)
    }

    /// The first page of a blob, unverified.
    fn first_page(&mut self, name: &str, blob: &BlobDigest) -> Result<[u8; PAGE_LENGTH], BlobError> {
        let mut page = [0; PAGE_LENGTH];
        if blob.length < PAGE_BYTES {
            return Err(BlobError::Length);
        }
        if blob.embedded_at != 0 {
            self.memory.read(blob.embedded_at, &mut page).map_err(BlobError::Target)?;
        } else {
            let file = self.files.find(name)?;
            self.files.read_start(file, &mut page)?;
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
        let facts = self.memory.facts;
        let candidates =
            facts.memory.iter().flat_map(|range| [range.start, facts.region.end.max(range.start)]);
        let aligned = |start: u64| start.max(FIRST_MIB).checked_next_multiple_of(alignment);
        fits(preferred).or_else(|| candidates.filter_map(aligned).find_map(fits))
    }

    /// Whether a range is RAM below 4 GiB outside of what the firmware uses.
    fn is_free(&self, start: u64, end: u64) -> bool {
        let facts = self.memory.facts;
        let used_start = facts.region.start.saturating_sub(BOOT_ROOM);
        let outside = end <= used_start || start >= facts.region.end;
        outside && facts.is_memory(start, end) && end <= FOUR_GIB && start >= FIRST_MIB
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
            self.blob(INITRD_FILE, blob, &mut |_, _, _| Ok(()))?;
            return Ok(blob.embedded_at);
        }
        let start = self.initrd_place(blob, header, kernel).ok_or(CannotStart::Memory)?;
        self.blob(INITRD_FILE, blob, &mut |memory, offset, part| {
            memory.write(start.saturating_add(offset as u64), part)
        })?;
        Ok(start)
    }

    fn initrd_place(&self, blob: &BlobDigest, header: &SetupHeader, kernel: MemoryRange) -> Option<u64> {
        let facts = self.memory.facts;
        let limit = u64::from(header.initrd_maximum_address.get()).saturating_add(1);
        let place = |end: u64| {
            let start = page_below(end.min(limit).checked_sub(blob.length)?);
            let end = start.checked_add(blob.length)?;
            let apart = !kernel.overlaps(&MemoryRange { start, end });
            (self.is_free(start, end) && apart).then_some(start)
        };
        let below_region = facts.region.start.saturating_sub(ACPI_ROOM.saturating_mul(2));
        let mut ends = facts
            .memory
            .iter()
            .rev()
            .flat_map(|range| [range.end, below_region.min(range.end), kernel.start.min(range.end)]);
        ends.find_map(place)
    }
}

fn page_below(address: u64) -> u64 {
    (address / PAGE_BYTES).saturating_mul(PAGE_BYTES)
}
