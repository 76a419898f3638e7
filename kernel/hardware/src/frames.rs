//! Frames of the firmware's own memory: validated when they are first needed, zeroed when they are handed out.

use crate::instructions;
use crate::own_memory;
use crate::region::{self, DIRECT_WINDOW};
use snp_abi::address::{LARGE_PAGE_BYTES, PAGE_BYTES};
use spin::Mutex;

/// The firmware's memory is exhausted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

/// Frames from the bottom, heap from the top of what the image left free.
struct Free {
    next: u64,
    validated: u64,
    end: u64,
    memory_is_shared: bool,
}

static FREE: Mutex<Free> = Mutex::new(Free { next: 0, validated: 0, end: 0, memory_is_shared: false });

/// Makes `start..end` of the region the frames' memory, once.
pub(crate) fn initialise(start: u64, end: u64, memory_is_shared: bool) {
    *FREE.lock() = Free { next: start, validated: start, end, memory_is_shared };
}

/// A frame of the firmware's own, zeroed; it is never given back.
#[derive(Debug)]
pub struct Frame {
    physical: u64,
}

impl Frame {
    /// Takes a frame.
    pub fn allocate() -> Result<Self, OutOfMemory> {
        let physical = FREE.lock().take(PAGE_BYTES)?;
        let frame = Self { physical };
        // SAFETY: the frame was validated by `take`, is mapped in the direct window, and is nobody else's.
        unsafe { instructions::zero(frame.virtual_address(), PAGE_BYTES) };
        Ok(frame)
    }

    /// Takes `count` frames that lie one behind the other, the first of them first.
    pub(crate) fn allocate_contiguous(count: u64) -> Result<impl Iterator<Item = Self>, OutOfMemory> {
        let bytes = count.checked_mul(PAGE_BYTES).ok_or(OutOfMemory)?;
        let first = FREE.lock().take(bytes)?;
        Ok((0..count).map(move |page| Self { physical: first + page * PAGE_BYTES }))
    }

    /// Physical address.
    pub fn physical(&self) -> u64 {
        self.physical
    }

    /// Virtual address in the direct window.
    pub(crate) fn virtual_address(&self) -> u64 {
        DIRECT_WINDOW | self.physical
    }

    /// The frame's bytes, for ever.
    pub fn into_bytes(self) -> &'static mut [u8; PAGE_BYTES as usize] {
        // SAFETY: the frame is mapped for ever, and consuming it makes this the only reference.
        unsafe { &mut *(self.virtual_address() as *mut [u8; PAGE_BYTES as usize]) }
    }
}

impl Free {
    fn take(&mut self, bytes: u64) -> Result<u64, OutOfMemory> {
        let physical = self.next;
        let end = physical.checked_add(bytes).filter(|end| *end <= self.end).ok_or(OutOfMemory)?;
        while self.validated < end {
            let next = (self.validated / LARGE_PAGE_BYTES + 1) * LARGE_PAGE_BYTES;
            let next = next.min(self.end);
            // SAFETY: the range is part of the region, unused so far, and mapped in the direct window.
            unsafe { own_memory::validate_range(DIRECT_WINDOW, self.validated, next, self.memory_is_shared) };
            self.validated = next;
        }
        self.next = end;
        Ok(physical)
    }
}

/// Takes the last `bytes` of the free memory, unzeroed: the heap. Returns the range.
pub(crate) fn take_top(bytes: u64) -> Result<(u64, u64), OutOfMemory> {
    let mut free = FREE.lock();
    let start = free.end.checked_sub(bytes).filter(|start| *start >= free.validated).ok_or(OutOfMemory)?;
    let end = core::mem::replace(&mut free.end, start);
    // SAFETY: the range is part of the region, unused so far, and mapped in the direct window.
    unsafe { own_memory::validate_range(DIRECT_WINDOW, start, end, free.memory_is_shared) };
    Ok((start, end))
}

/// Whether memory that was not launched is the host's until the guest asks for it.
pub fn memory_is_shared() -> bool {
    FREE.lock().memory_is_shared
}

/// Bytes of frames handed out, and bytes still free.
pub fn usage() -> (u64, u64) {
    let free = FREE.lock();
    (free.next.saturating_sub(region::start()), free.end.saturating_sub(free.next))
}
