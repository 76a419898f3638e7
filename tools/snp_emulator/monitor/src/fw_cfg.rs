//! QEMU's fw_cfg device, as the monitor uses it for its own files. The guest's view is in
//! `devices/fw_cfg_view.rs`.
//!
//! Source: QEMU docs/specs/fw_cfg.rst.

use crate::instructions;
use alloc::vec;
use alloc::vec::Vec;

/// Selects an item (16 bits).
pub const SELECTOR: u16 = 0x510;
/// One byte of the selected item.
pub const DATA: u16 = 0x511;
/// DMA request address, high half, big-endian.
pub const DMA_HIGH: u16 = 0x514;
/// Low half; writing it starts the request.
pub const DMA_LOW: u16 = 0x518;
/// Control bits of a DMA request.
pub const DMA_ERROR: u32 = 1;
pub const DMA_READ: u32 = 2;
pub const DMA_SKIP: u32 = 4;
pub const DMA_SELECT: u32 = 8;
pub const DMA_WRITE: u32 = 16;

const FILE_DIRECTORY: u16 = 0x19;
const DIRECTORY_ENTRY: usize = 64;

/// One file of the device.
#[derive(Clone, Copy, Debug)]
pub struct File {
    /// Selector key.
    pub key: u16,
    /// Size in bytes.
    pub bytes: u32,
}

/// One DMA request; `false` if the device reports an error.
///
/// # Safety
/// `length` bytes at physical `address` must be the caller's to overwrite (for reads).
pub unsafe fn transfer(control: u32, address: u64, length: u32) -> bool {
    // The heap is identity mapped, so a heap address is a physical one.
    let mut request = vec![0u8; 16];
    request[0..4].copy_from_slice(&control.to_be_bytes());
    request[4..8].copy_from_slice(&length.to_be_bytes());
    request[8..16].copy_from_slice(&address.to_be_bytes());
    let place = request.as_mut_ptr();
    // SAFETY: the high half only is stored by the device; nothing starts yet.
    unsafe { instructions::out_u32(DMA_HIGH, ((place as u64 >> 32) as u32).swap_bytes()) };
    // SAFETY: QEMU finishes the request before the OUT returns; it writes the caller's buffer and the control word.
    unsafe { instructions::out_u32(DMA_LOW, (place as u32).swap_bytes()) };
    // SAFETY: the vector is alive; the device has written its first word.
    let control = unsafe { place.cast::<[u8; 4]>().read_volatile() };
    u32::from_be_bytes(control) & DMA_ERROR == 0
}

/// Reads an item from its start into a heap buffer.
pub fn read_key(key: u16, bytes: usize) -> Vec<u8> {
    let mut contents = vec![0; bytes];
    let control = u32::from(key) << 16 | DMA_SELECT | DMA_READ;
    // SAFETY: the vector is alive and as long as the request says.
    let done = unsafe { transfer(control, contents.as_mut_ptr() as u64, bytes as u32) };
    assert!(done, "fw_cfg refused to read item {key:#x}");
    contents
}

/// Finds a file by name.
pub fn find(name: &str) -> Option<File> {
    let count = read_key(FILE_DIRECTORY, 4);
    let count = u32::from_be_bytes(*count.first_chunk()?) as usize;
    let directory = read_key(FILE_DIRECTORY, 4 + count * DIRECTORY_ENTRY);
    let (entries, _) = directory.get(4..)?.as_chunks::<DIRECTORY_ENTRY>();
    let entry =
        entries.iter().find(|entry| entry[8..].split(|byte| *byte == 0).next() == Some(name.as_bytes()))?;
    Some(File {
        bytes: u32::from_be_bytes([entry[0], entry[1], entry[2], entry[3]]),
        key: u16::from_be_bytes([entry[4], entry[5]]),
    })
}

/// Reads a whole file; none if there is no such file.
pub fn read(name: &str) -> Option<Vec<u8>> {
    let file = find(name)?;
    Some(read_key(file.key, file.bytes as usize))
}

/// Whether a port belongs to the device.
pub fn is_port(port: u16) -> bool {
    (SELECTOR..DMA_LOW + 4).contains(&port)
}
