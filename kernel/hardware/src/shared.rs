//! Pages that the firmware shares with the host: GHCBs, message buffers.
//!
//! The host may change such a page at any time. It is written and read by copies and single accesses, never
//! referenced.

use crate::frames::{Frame, OutOfMemory};
use crate::instructions;
use crate::msr_protocol;
use crate::page_tables::{self, Mapping};
use crate::termination::{Reason, terminate};
use crate::translations;
use alloc::vec::Vec;
use snp_abi::address::{PAGE_BYTES, PAGE_LENGTH, PageSize};
use snp_abi::ghcb::page_state::PageOperation;
use snp_abi::rmp::RmpStatus;

/// One shared page.
#[derive(Debug)]
pub struct SharedPage {
    place: u64,
    physical: u64,
}

impl SharedPage {
    /// Gives a frame to the host and maps it at an unused virtual address.
    pub(crate) fn new(virtual_address: u64) -> Result<Self, OutOfMemory> {
        Self::of_frame(Frame::allocate()?, virtual_address)
    }

    /// As [`Self::new`], with a frame that the caller took.
    pub(crate) fn of_frame(frame: Frame, virtual_address: u64) -> Result<Self, OutOfMemory> {
        let physical = frame.physical();
        // SAFETY: the frame is nobody else's and is not touched through the direct window any more.
        let rescinded = unsafe { instructions::pvalidate(frame.virtual_address(), PageSize::Small, false) };
        if rescinded != (Some(RmpStatus::Success), false) {
            terminate(Reason::OwnPageValidation);
        }
        translations::flush();
        // SAFETY: as above; nothing of Rust's lies in the frame.
        unsafe { msr_protocol::change_page_state(physical, PageOperation::Shared) };
        // SAFETY: the virtual address is unused, and this is the only mapping that is used from here on.
        unsafe { page_tables::map(virtual_address, physical, Mapping::Shared)? };
        // SAFETY: just mapped; nothing of Rust's lies there.
        unsafe { instructions::zero(virtual_address, PAGE_BYTES) };
        Ok(Self { place: virtual_address, physical })
    }

    /// Physical address, for the host.
    pub fn physical(&self) -> u64 {
        self.physical
    }

    /// Writes a word; `offset` is a multiple of 8 in the page.
    pub fn write_word(&mut self, offset: usize, value: u64) {
        let offset = offset & (PAGE_LENGTH - 8);
        // SAFETY: mapped writable, inside the page and aligned; a single access to memory that the host shares.
        unsafe { ((self.place + offset as u64) as *mut u64).write_volatile(value) };
    }

    /// Reads a word; `offset` is a multiple of 8 in the page.
    pub fn read_word(&self, offset: usize) -> u64 {
        let offset = offset & (PAGE_LENGTH - 8);
        // SAFETY: as for `write_word`.
        unsafe { ((self.place + offset as u64) as *const u64).read_volatile() }
    }

    /// Copies bytes into the page; what does not fit is left out.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        let offset = offset.min(PAGE_LENGTH);
        let count = bytes.len().min(PAGE_LENGTH - offset);
        // SAFETY: the range lies in the page, the source is a live slice.
        unsafe { instructions::copy(bytes.as_ptr() as u64, self.place + offset as u64, count) };
    }

    /// Copies bytes out of the page; what does not fit is left as it is.
    pub fn read(&self, offset: usize, bytes: &mut [u8]) {
        let offset = offset.min(PAGE_LENGTH);
        let count = bytes.len().min(PAGE_LENGTH - offset);
        // SAFETY: the range lies in the page, the target is a live slice.
        unsafe { instructions::copy(self.place + offset as u64, bytes.as_mut_ptr() as u64, count) };
    }
}

/// Shared pages that lie one behind the other: a buffer for devices.
#[derive(Debug)]
pub struct SharedBuffer {
    pages: Vec<SharedPage>,
}

impl SharedBuffer {
    /// Shares `count` frames, mapped from an unused virtual address on.
    pub(crate) fn new(virtual_address: u64, count: u64) -> Result<Self, OutOfMemory> {
        let mut pages = Vec::new();
        pages.try_reserve_exact(count as usize).map_err(|_| OutOfMemory)?;
        for (number, frame) in (0..).zip(Frame::allocate_contiguous(count)?) {
            pages.push(SharedPage::of_frame(frame, virtual_address + number * PAGE_BYTES)?);
        }
        Ok(Self { pages })
    }

    /// Bytes of the buffer.
    pub fn bytes(&self) -> usize {
        self.pages.len() * PAGE_LENGTH
    }

    /// Physical address of its first byte.
    pub fn physical(&self) -> u64 {
        self.pages.first().map_or(0, SharedPage::physical)
    }

    /// Copies bytes in, from the start; what does not fit is left out.
    pub fn write(&mut self, bytes: &[u8]) {
        for (page, part) in self.pages.iter_mut().zip(bytes.chunks(PAGE_LENGTH)) {
            page.write(0, part);
        }
    }

    /// Copies bytes out; what lies outside is left as it is.
    pub fn read(&self, offset: usize, bytes: &mut [u8]) {
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done;
            let Some(page) = self.pages.get(at / PAGE_LENGTH) else { return };
            let within = at % PAGE_LENGTH;
            let count = (PAGE_LENGTH - within).min(bytes.len() - done);
            if let Some(part) = bytes.get_mut(done..done + count) {
                page.read(within, part);
            }
            done += count;
        }
    }
}
