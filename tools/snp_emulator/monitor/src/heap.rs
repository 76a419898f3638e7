//! The monitor's heap, and frames that hardware reads (VMCBs, nested page tables).
//!
//! Frames are taken from the heap, page aligned; identity mapping makes their address the physical one.

use alloc::alloc::{Layout, alloc_zeroed};
use linked_list_allocator::LockedHeap;

#[global_allocator]
static HEAP: LockedHeap = LockedHeap::empty();

/// Bytes of a page.
pub const PAGE: usize = 4096;

/// Makes `start..end` (identity mapped, unused) the heap; called once.
pub fn initialise(start: u64, end: u64) {
    // SAFETY: boot hands over the rest of the monitor's own range, which nothing else uses, once.
    unsafe { HEAP.lock().init(start as *mut u8, (end - start) as usize) };
}

/// Bytes of heap in use now.
pub fn used_bytes() -> usize {
    HEAP.lock().used()
}

/// Takes `count` zeroed, contiguous frames for good; returns their physical address.
pub fn frame(count: usize) -> u64 {
    let layout = Layout::from_size_align(count * PAGE, PAGE).expect("frame layout");
    // SAFETY: the layout has a non-zero size.
    let address = unsafe { alloc_zeroed(layout) } as u64;
    assert!(address != 0, "the monitor is out of memory: give it more with a larger reserve");
    address
}

/// Fills frames with a byte.
pub fn fill_frames(address: u64, count: usize, value: u8) {
    // SAFETY: the frames come from `frame` and are not shared yet.
    unsafe { core::ptr::write_bytes(address as *mut u8, value, count * PAGE) };
}

/// Clears `count` bits from bit number `first` of frames that are used as a bitmap.
pub fn clear_bits(address: u64, first: usize, count: usize) {
    for bit in first..first + count {
        let byte = (address + bit as u64 / 8) as *mut u8;
        // SAFETY: as for `fill_frames`; permission maps are 2 or 3 frames, and the numbers come from tables.
        let old = unsafe { byte.read() };
        // SAFETY: as above.
        unsafe { byte.write(old & !(1 << (bit % 8))) };
    }
}

/// Sets one bit of such frames.
pub fn set_bit(address: u64, bit: usize) {
    let byte = (address + bit as u64 / 8) as *mut u8;
    // SAFETY: as for `clear_bits`.
    let old = unsafe { byte.read() };
    // SAFETY: as above.
    unsafe { byte.write(old | 1 << (bit % 8)) };
}

/// Takes frames that become guest memory: outside of what [`crate::physical`] protects, they are Rust's no more.
pub fn guest_frames(count: usize) -> u64 {
    let address = frame(count);
    crate::physical::release_own(address, address + (count * PAGE) as u64);
    address
}

/// Takes a stack for good; returns the address of its top, 16-byte aligned.
pub fn permanent_stack(bytes: usize) -> u64 {
    frame(bytes / PAGE) + bytes as u64
}
