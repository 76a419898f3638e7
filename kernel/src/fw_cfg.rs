//! QEMU's fw_cfg device: files from the host, by DMA into shared pages.
//!
//! Everything that comes from here is the host's word. It is copied into private memory before anything looks at it;
//! who uses it checks it, by hash where the image has one. Source: QEMU docs/specs/fw_cfg.rst.

use guest_start::{FileError, HostFile, HostFiles};
use hardware::cpu::{self, Cpu};
use hardware::frames::OutOfMemory;
use hardware::shared::{SharedBuffer, SharedPage};
use snp_abi::ghcb::event::IoSize;

const DMA_HIGH: u16 = 0x514;
const DMA_LOW: u16 = 0x518;
const CONTROL_ERROR: u32 = 1;
const CONTROL_READ: u32 = 2;
const CONTROL_SKIP: u32 = 4;
const CONTROL_SELECT: u32 = 8;
const CONTROL_WRITE: u32 = 16;
const FILE_DIRECTORY: u16 = 0x19;
const ENTRY_BYTES: usize = 64;
const NAME_OFFSET: usize = 8;
/// Files that the directory is searched through; QEMU has a few dozen.
const MOST_FILES: usize = 1024;
/// Pages of the buffer: what one request moves.
const BUFFER_PAGES: u64 = 32;
/// Times that the status of a request is read before the device counts as broken.
const PATIENCE: usize = 1000;

/// The device.
pub struct FwCfg {
    request: SharedPage,
    buffer: SharedBuffer,
}

impl FwCfg {
    /// Shares the pages that the device needs.
    pub fn new(cpu: &mut Cpu) -> Result<Self, OutOfMemory> {
        Ok(Self { request: cpu.share_page()?, buffer: cpu.share_buffer(BUFFER_PAGES)? })
    }

    /// One request; returns when the device is done.
    fn request(&mut self, control: u32, length: usize) -> Result<(), FileError> {
        let buffer = self.buffer.physical();
        let length = length as u32;
        // Big-endian: control, length, address.
        let first = u64::from(control.swap_bytes()) | u64::from(length.swap_bytes()) << 32;
        self.request.write_word(0, first);
        self.request.write_word(8, buffer.swap_bytes());
        let place = self.request.physical();
        let sent = cpu::with_ghcb(|ghcb| {
            ghcb.output(DMA_HIGH, IoSize::Dword, ((place >> 32) as u32).swap_bytes())?;
            ghcb.output(DMA_LOW, IoSize::Dword, (place as u32).swap_bytes())
        });
        if !matches!(sent, Some(Ok(()))) {
            return Err(FileError::Device);
        }
        for _ in 0..PATIENCE {
            match (self.request.read_word(0) as u32).swap_bytes() {
                0 => return Ok(()),
                status if status & CONTROL_ERROR != 0 => return Err(FileError::Device),
                _ => {}
            }
        }
        Err(FileError::Device)
    }
}

impl HostFiles for FwCfg {
    fn find(&mut self, name: &str) -> Result<HostFile, FileError> {
        let mut count = [0; 4];
        self.request(u32::from(FILE_DIRECTORY) << 16 | CONTROL_SELECT | CONTROL_READ, count.len())?;
        self.buffer.read(0, &mut count);
        let count = (u32::from_be_bytes(count) as usize).min(MOST_FILES);
        let at_once = self.buffer.bytes() / ENTRY_BYTES;
        let mut left = count;
        while left > 0 {
            let part = left.min(at_once);
            self.request(CONTROL_READ, part * ENTRY_BYTES)?;
            for index in 0..part {
                let mut entry = [0; ENTRY_BYTES];
                self.buffer.read(index * ENTRY_BYTES, &mut entry);
                if let Some(file) = matching(&entry, name) {
                    return Ok(file);
                }
            }
            left -= part;
        }
        Err(FileError::NoFile)
    }

    fn read(&mut self, file: HostFile, each: &mut dyn FnMut(usize, &[u8])) -> Result<(), FileError> {
        let mut control = u32::from(file.key) << 16 | CONTROL_SELECT | CONTROL_READ;
        let mut offset = 0;
        let mut copy = [0; 4096];
        while offset < file.bytes as usize {
            let length = self.buffer.bytes().min(file.bytes as usize - offset);
            self.request(control, length)?;
            control = CONTROL_READ;
            let mut done = 0;
            while done < length {
                let count = copy.len().min(length - done);
                let Some(part) = copy.get_mut(..count) else { return Err(FileError::Device) };
                self.buffer.read(done, part);
                each(offset + done, part);
                done += count;
            }
            offset += length;
        }
        Ok(())
    }

    fn read_start(&mut self, file: HostFile, bytes: &mut [u8]) -> Result<(), FileError> {
        let length = bytes.len().min(self.buffer.bytes());
        self.request(u32::from(file.key) << 16 | CONTROL_SELECT | CONTROL_READ, length)?;
        self.buffer.read(0, bytes);
        Ok(())
    }

    fn write(&mut self, file: HostFile, offset: u32, bytes: &[u8]) -> Result<(), FileError> {
        self.request(u32::from(file.key) << 16 | CONTROL_SELECT | CONTROL_SKIP, offset as usize)?;
        self.buffer.write(bytes);
        self.request(CONTROL_WRITE, bytes.len().min(self.buffer.bytes()))
    }
}

fn matching(entry: &[u8; ENTRY_BYTES], name: &str) -> Option<HostFile> {
    let text = entry.get(NAME_OFFSET..)?;
    let length = text.iter().position(|byte| *byte == 0)?;
    if text.get(..length)? != name.as_bytes() {
        return None;
    }
    let bytes = u32::from_be_bytes(*entry.first_chunk()?);
    let key = u16::from_be_bytes(*entry.get(4..)?.first_chunk()?);
    Some(HostFile { key, bytes })
}
