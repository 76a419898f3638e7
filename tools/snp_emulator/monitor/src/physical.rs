//! Access to guest-visible physical memory and device registers, by copies only.
//!
//! The monitor maps the first 64 TiB one to one. What lies in the monitor's own part of memory
//! (its image, heap and tables) is Rust's and is refused here, so that the functions are safe: no
//! copy can reach an object that Rust knows of. Memory outside is written by the guest and by
//! devices at any time; nothing ever holds a reference into it.

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

static OWN_START: AtomicU64 = AtomicU64::new(0);
static OWN_END: AtomicU64 = AtomicU64::new(u64::MAX);
/// Parts of the monitor's range that became guest memory (start, end); a handful at most.
static RELEASED: [(AtomicU64, AtomicU64); 16] = [const { (AtomicU64::new(0), AtomicU64::new(0)) }; 16];
/// End of the identity map that boot/relocate.rs makes.
pub const MAPPED_BYTES: u64 = 64 << 40;

/// Names the range that belongs to the monitor itself; done once, before the first access.
pub fn reserve_own(start: u64, end: u64) {
    OWN_START.store(start, Ordering::SeqCst);
    OWN_END.store(end, Ordering::SeqCst);
}

/// Opens a part of the monitor's range: it becomes guest memory, and nothing of Rust's lies there any more.
pub fn release_own(start: u64, end: u64) {
    let slot = RELEASED
        .iter()
        .find(|slot| slot.1.load(Ordering::SeqCst) == 0)
        .expect("too many extra memory ranges");
    slot.0.store(start, Ordering::SeqCst);
    slot.1.store(end, Ordering::SeqCst);
}

fn is_released(address: u64, end: u64) -> bool {
    RELEASED
        .iter()
        .any(|slot| address >= slot.0.load(Ordering::Relaxed) && end <= slot.1.load(Ordering::Relaxed))
}

/// Whether an access to this range is none to the monitor's own memory, and within what is mapped.
pub fn is_reachable(address: u64, length: u64) -> bool {
    let Some(end) = address.checked_add(length) else { return false };
    let own = OWN_START.load(Ordering::Relaxed)..OWN_END.load(Ordering::Relaxed);
    (end <= own.start || address >= own.end || is_released(address, end)) && end <= MAPPED_BYTES
}

#[track_caller]
fn check(address: u64, length: u64) {
    assert!(is_reachable(address, length), "physical access {address:#x}+{length:#x} is not the guest's");
}

/// Copies `bytes.len()` bytes out of physical memory.
#[track_caller]
pub fn read_bytes(address: u64, bytes: &mut [u8]) {
    check(address, bytes.len() as u64);
    // SAFETY: the source is mapped and outside everything Rust owns (`check`), the destination is a
    // live slice of the same length; the compiler cannot see into the asm and assumes all of memory changed.
    unsafe {
        asm!("rep movsq", "mov rcx, rdx", "rep movsb", inout("rsi") address => _, inout("rdi") bytes.as_mut_ptr() => _,
            inout("rcx") bytes.len() / 8 => _, in("rdx") bytes.len() % 8, options(nostack, preserves_flags));
    }
}

/// Copies `bytes` into physical memory.
#[track_caller]
pub fn write_bytes(address: u64, bytes: &[u8]) {
    check(address, bytes.len() as u64);
    // SAFETY: as in `read_bytes`, with the directions exchanged.
    unsafe {
        asm!("rep movsq", "mov rcx, rdx", "rep movsb", inout("rsi") bytes.as_ptr() => _, inout("rdi") address => _,
            inout("rcx") bytes.len() / 8 => _, in("rdx") bytes.len() % 8, options(nostack, preserves_flags));
    }
}

macro_rules! scalar {
    ($read:ident, $write:ident, $type:ty, $class:ident, $modifier:literal) => {
        #[doc = concat!("Reads one `", stringify!($type), "` with a single access.")]
        #[track_caller]
        pub fn $read(address: u64) -> $type {
            check(address, size_of::<$type>() as u64);
            let value: $type;
            // SAFETY: mapped and not Rust's (`check`); x86 allows any alignment.
            unsafe {
                asm!(concat!("mov {value", $modifier, "}, [{address}]"), value = out($class) value,
                    address = in(reg) address, options(nostack, preserves_flags, readonly));
            }
            value
        }
        #[doc = concat!("Writes one `", stringify!($type), "` with a single access.")]
        #[track_caller]
        pub fn $write(address: u64, value: $type) {
            check(address, size_of::<$type>() as u64);
            // SAFETY: as for the read.
            unsafe {
                asm!(concat!("mov [{address}], {value", $modifier, "}"), value = in($class) value,
                    address = in(reg) address, options(nostack, preserves_flags));
            }
        }
    };
}
scalar!(read_u8, write_u8, u8, reg_byte, "");
scalar!(read_u16, write_u16, u16, reg, ":x");
scalar!(read_u32, write_u32, u32, reg, ":e");
scalar!(read_u64, write_u64, u64, reg, "");

/// Reads `N` words that lie `distance` bytes apart, the first at `address`.
#[track_caller]
pub fn read_spread<const N: usize>(address: u64, distance: u64) -> [u64; N] {
    check(address, distance * (N as u64 - 1) + 8);
    let mut values = [0; N];
    let mut at = address;
    for value in &mut values {
        // SAFETY: mapped and not Rust's (`check`); x86 allows any alignment.
        unsafe {
            asm!("mov {}, [{}]", out(reg) *value, in(reg) at, options(nostack, preserves_flags, readonly))
        };
        at += distance;
    }
    values
}

/// Writes words `distance` bytes apart, the first at `address`.
#[track_caller]
pub fn write_spread<const N: usize>(address: u64, distance: u64, values: [u64; N]) {
    check(address, distance * (N as u64 - 1) + 8);
    let mut at = address;
    for value in values {
        // SAFETY: as for the reads.
        unsafe { asm!("mov [{}], {}", in(reg) at, in(reg) value, options(nostack, preserves_flags)) };
        at += distance;
    }
}
