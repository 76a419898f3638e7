//! The kernel's heap: a well-kept allocator over memory at the end of the region, with a record of its peak.
//!
//! Code that serves guests allocates with `try_reserve` and refuses when that fails.

use crate::frames::{self, OutOfMemory};
use crate::region::DIRECT_WINDOW;
use core::alloc::{GlobalAlloc, Layout};
use core::sync::atomic::{AtomicUsize, Ordering};
use linked_list_allocator::LockedHeap;

struct Heap {
    allocator: LockedHeap,
    used: AtomicUsize,
    peak: AtomicUsize,
}

#[global_allocator]
static HEAP: Heap =
    Heap { allocator: LockedHeap::empty(), used: AtomicUsize::new(0), peak: AtomicUsize::new(0) };

// SAFETY: both methods pass on to an allocator that keeps the contract; counting does not touch the memory.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's layout is passed on as it is.
        let place = unsafe { self.allocator.alloc(layout) };
        if !place.is_null() {
            let used = self.used.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
            self.peak.fetch_max(used, Ordering::Relaxed);
        }
        place
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        self.used.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's pointer and layout are passed on as they are.
        unsafe { self.allocator.dealloc(place, layout) };
    }
}

/// Makes the last `bytes` of the free memory the heap, once.
pub(crate) fn initialise(bytes: u64) -> Result<(), OutOfMemory> {
    let (start, end) = frames::take_top(bytes)?;
    // SAFETY: the range is validated, mapped writable in the direct window for ever, and nobody else's.
    unsafe { HEAP.allocator.lock().init((DIRECT_WINDOW | start) as *mut u8, (end - start) as usize) };
    Ok(())
}

/// Bytes in use now, and the most that ever were.
pub fn usage() -> (usize, usize) {
    (HEAP.used.load(Ordering::Relaxed), HEAP.peak.load(Ordering::Relaxed))
}
