//! The machine's ACPI tables, put into guest memory the way firmware does: by the host's table-loader script.
//!
//! The tables are the host's, unmeasured: a guest trusts them as far as it trusts any virtual hardware. The script is
//! carried out on copies in the firmware's heap; nothing in it can reach memory outside of the tables' own range.
//! Source: QEMU hw/acpi/bios-linker-loader.c.

use crate::host_files::{FileError, HostFiles};
use crate::memory::{CannotStart, GuestMemory};
use alloc::vec::Vec;

const SCRIPT: &str = "etc/table-loader";
const ROOT_POINTER: &str = "etc/acpi/rsdp";
const ENTRY_BYTES: usize = 128;
const NAME_BYTES: usize = 56;
const TWO_NAMES: usize = NAME_BYTES * 2;
const CHECKSUM_START: usize = NAME_BYTES + 4;
const CHECKSUM_LENGTH: usize = NAME_BYTES + 8;
const COMMAND_ALLOCATE: u32 = 1;
const COMMAND_ADD_POINTER: u32 = 2;
const COMMAND_ADD_CHECKSUM: u32 = 3;
const COMMAND_WRITE_POINTER: u32 = 4;
/// All files together; QEMU's tables are some hundred KiB.
pub const MOST_BYTES: usize = 1 << 20;
const MOST_FILES: usize = 16;
const MOST_ENTRIES: usize = 4096;

/// Why the tables cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcpiError {
    /// The device failed, or the machine has no tables.
    Host(FileError),
    /// The script is malformed, or asks for what it must not.
    Script,
}

impl From<FileError> for AcpiError {
    fn from(error: FileError) -> Self {
        Self::Host(error)
    }
}

/// One file of the script.
struct Blob {
    name: [u8; NAME_BYTES],
    contents: Vec<u8>,
    address: u64,
}

/// The tables, laid out for an address, and not in guest memory yet.
pub struct Tables {
    blobs: Vec<Blob>,
    /// Bytes that they take, from the address on.
    pub bytes: u64,
}

impl Tables {
    /// Reads and links the machine's tables for `address`, page aligned.
    pub fn read(files: &mut dyn HostFiles, address: u64) -> Result<Self, AcpiError> {
        let script = read_file(files, SCRIPT)?;
        let mut tables = Self { blobs: Vec::new(), bytes: 0 };
        tables.blobs.try_reserve_exact(MOST_FILES).map_err(|_| AcpiError::Script)?;
        for entry in script.chunks_exact(ENTRY_BYTES).take(MOST_ENTRIES) {
            let Some(words) = entry.first_chunk::<4>() else { return Err(AcpiError::Script) };
            let arguments = entry.get(4..).ok_or(AcpiError::Script)?;
            match u32::from_le_bytes(*words) {
                COMMAND_ALLOCATE => tables.allocate(files, arguments, address)?,
                COMMAND_ADD_POINTER => tables.add_pointer(arguments).ok_or(AcpiError::Script)?,
                COMMAND_ADD_CHECKSUM => tables.add_checksum(arguments).ok_or(AcpiError::Script)?,
                COMMAND_WRITE_POINTER => tables.write_pointer(files, arguments)?,
                // QEMU pads with zeros and may add commands that older firmware skips.
                _ => {}
            }
        }
        Ok(tables)
    }

    /// Address of the RSDP.
    pub fn root_pointer(&self) -> Option<u64> {
        Some(self.blob(ROOT_POINTER.as_bytes())?.address)
    }

    /// Writes the tables to their places, which the guest has as memory already.
    ///
    /// # Errors
    /// If the guest does not have it.
    pub fn place(&self, memory: &mut GuestMemory<'_>) -> Result<(), CannotStart> {
        self.blobs.iter().try_for_each(|blob| memory.write(blob.address, &blob.contents))
    }

    fn index(&self, name: &[u8]) -> Option<usize> {
        let length = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        let name = name.get(..length)?;
        self.blobs.iter().position(|blob| blob.name.split(|byte| *byte == 0).next() == Some(name))
    }

    fn blob(&self, name: &[u8]) -> Option<&Blob> {
        self.index(name).and_then(|index| self.blobs.get(index))
    }

    /// ALLOCATE: name, alignment, zone. All files lie one behind the other; the zone only matters to BIOS guests.
    fn allocate(&mut self, files: &mut dyn HostFiles, arguments: &[u8], base: u64) -> Result<(), AcpiError> {
        let name: [u8; NAME_BYTES] = *arguments.first_chunk().ok_or(AcpiError::Script)?;
        let alignment = u64::from(word(arguments, NAME_BYTES).ok_or(AcpiError::Script)?);
        let start = base.checked_add(self.bytes).ok_or(AcpiError::Script)?;
        if !alignment.is_power_of_two() || alignment > MOST_BYTES as u64 || self.blobs.len() == MOST_FILES {
            return Err(AcpiError::Script);
        }
        let address = start.checked_next_multiple_of(alignment).ok_or(AcpiError::Script)?;
        let text = name.split(|byte| *byte == 0).next().and_then(|text| core::str::from_utf8(text).ok());
        let contents = read_file(files, text.ok_or(AcpiError::Script)?)?;
        let end = address.checked_add(contents.len() as u64).ok_or(AcpiError::Script)?;
        self.bytes = end.saturating_sub(base);
        if self.bytes > MOST_BYTES as u64 {
            return Err(AcpiError::Script);
        }
        self.blobs.push(Blob { name, contents, address });
        Ok(())
    }

    /// ADD_POINTER: file with the pointer, file that it points to, offset, size. The pointer is relative so far.
    fn add_pointer(&mut self, arguments: &[u8]) -> Option<()> {
        let target = self.blob(arguments.get(NAME_BYTES..TWO_NAMES)?)?.address;
        let offset = word(arguments, TWO_NAMES)? as usize;
        let size = usize::from(*arguments.get(TWO_NAMES + 4)?);
        let index = self.index(arguments.get(..NAME_BYTES)?)?;
        let place = self.blobs.get_mut(index)?.contents.get_mut(offset..offset.checked_add(size)?)?;
        if !matches!(size, 1 | 2 | 4 | 8) {
            return None;
        }
        let mut bytes = [0; 8];
        bytes.get_mut(..size)?.copy_from_slice(place);
        let pointer = u64::from_le_bytes(bytes).checked_add(target)?;
        place.copy_from_slice(pointer.to_le_bytes().get(..size)?);
        Some(())
    }

    /// ADD_CHECKSUM: file, where the checksum stands, first byte and length of what it covers.
    fn add_checksum(&mut self, arguments: &[u8]) -> Option<()> {
        let (result, start) =
            (word(arguments, NAME_BYTES)? as usize, word(arguments, CHECKSUM_START)? as usize);
        let length = word(arguments, CHECKSUM_LENGTH)? as usize;
        let index = self.index(arguments.get(..NAME_BYTES)?)?;
        let contents = &mut self.blobs.get_mut(index)?.contents;
        let covered = contents.get(start..start.checked_add(length)?)?;
        let sum = covered.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        let place = contents.get_mut(result)?;
        *place = place.wrapping_sub(sum);
        Some(())
    }

    /// WRITE_POINTER: a fw_cfg file that learns the address of another: file, target, offset in file and target, size.
    fn write_pointer(&self, files: &mut dyn HostFiles, arguments: &[u8]) -> Result<(), AcpiError> {
        let fields = || {
            let target = self.blob(arguments.get(NAME_BYTES..TWO_NAMES)?)?.address;
            let offset = word(arguments, TWO_NAMES)?;
            let pointer = target.checked_add(word(arguments, TWO_NAMES + 4)?.into())?;
            let size = usize::from(*arguments.get(TWO_NAMES + 8)?).min(8);
            let name = arguments.get(..NAME_BYTES)?.split(|byte| *byte == 0).next()?;
            Some((core::str::from_utf8(name).ok()?, offset, pointer, size))
        };
        let (name, offset, pointer, size) = fields().ok_or(AcpiError::Script)?;
        let file = files.find(name)?;
        files.write(file, offset, pointer.to_le_bytes().get(..size).unwrap_or_default())?;
        Ok(())
    }
}

fn word(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}

/// Reads a whole file into the heap.
fn read_file(files: &mut dyn HostFiles, name: &str) -> Result<Vec<u8>, AcpiError> {
    let file = files.find(name)?;
    let length = file.bytes as usize;
    let mut contents = Vec::new();
    if length > MOST_BYTES || contents.try_reserve_exact(length).is_err() {
        return Err(AcpiError::Script);
    }
    files.read(file, &mut |_, part| contents.extend_from_slice(part))?;
    Ok(contents)
}
