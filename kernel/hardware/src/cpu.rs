//! Per-CPU memory: where a vCPU's stacks, GHCB, windows and descriptor tables lie.
//!
//! Each vCPU has 8 MiB of virtual addresses of its own. Between the parts are pages that are never mapped, so
//! that a stack that grows too long faults instead of running into something:
//!
//! | offset | what |
//! |---|---|
//! | 0x001000 | GHCB (shared) |
//! | 0x003000 | small window |
//! | 0x014000, 0x018000, 0x01c000 | interrupt stacks 1 to 3, two pages each |
//! | 0x020000 | further shared pages, one slot each |
//! | 0x100000 | kernel stack, growing down to 0x0e0000: key generation in the vTPM needs the most |
//! | 0x200000 | large window |

use crate::frames::{Frame, OutOfMemory};
use crate::ghcb::Ghcb;
use crate::instructions;
use crate::page_tables::{self, Mapping};
use crate::shared::{SharedBuffer, SharedPage};
use crate::window::Window;
use core::cell::UnsafeCell;
use snp_abi::address::PAGE_BYTES;

const CPU_AREAS: u64 = 0xffff_fe00_0000_0000;
const AREA_BYTES: u64 = 8 << 20;
const GHCB: u64 = 0x1000;
const SMALL_WINDOW: u64 = 0x3000;
const STACK_TOP: u64 = 0x10_0000;
const STACK_PAGES: u64 = 32;
const INTERRUPT_STACK_TOPS: [u64; 3] = [0x1_4000, 0x1_8000, 0x1_c000];
const INTERRUPT_STACK_PAGES: u64 = 2;
const SHARED_PAGES: u64 = 0x2_0000;
const SHARED_PAGE_SLOTS: u64 = 64;
const LARGE_WINDOW: u64 = 0x20_0000;
const GS_BASE: u32 = 0xc000_0101;

/// vCPUs that fit the address space set aside.
pub const MAXIMUM_CPUS: usize = 4096;

/// What interrupt handlers and the log reach through GS: this vCPU's GHCB and number.
#[repr(C)]
pub(crate) struct CpuLocal {
    /// Its own address, for a single load.
    own: u64,
    /// The vCPU's number.
    pub(crate) index: u64,
    /// The GHCB; used by one context at a time ([`with_ghcb`]).
    ghcb: UnsafeCell<Ghcb>,
    busy: UnsafeCell<bool>,
}

/// What one vCPU owns and uses by itself.
#[derive(Debug)]
pub struct Cpu {
    index: usize,
    base: u64,
    shared_pages: u64,
    /// Windows into guest memory.
    pub window: Window,
}

/// A vCPU's memory, prepared by the vCPU that starts it.
pub(crate) struct Prepared {
    pub(crate) cpu: Cpu,
    pub(crate) local: u64,
    pub(crate) stack_top: u64,
    pub(crate) interrupt_stacks: [u64; 3],
}

/// Makes the memory of vCPU number `index`.
pub(crate) fn prepare(index: usize) -> Result<Prepared, OutOfMemory> {
    if index >= MAXIMUM_CPUS {
        return Err(OutOfMemory);
    }
    let base = CPU_AREAS + index as u64 * AREA_BYTES;
    map_stack(base + STACK_TOP, STACK_PAGES)?;
    for top in INTERRUPT_STACK_TOPS {
        map_stack(base + top, INTERRUPT_STACK_PAGES)?;
    }
    let ghcb = Ghcb::new(base + GHCB)?;
    let place = Frame::allocate()?.virtual_address();
    let local = CpuLocal {
        own: place,
        index: index as u64,
        ghcb: UnsafeCell::new(ghcb),
        busy: UnsafeCell::new(false),
    };
    // SAFETY: the frame is fresh, large enough and aligned; it stays this vCPU's for ever.
    unsafe { (place as *mut CpuLocal).write(local) };
    let window = Window::new(base + SMALL_WINDOW, base + LARGE_WINDOW)?;
    Ok(Prepared {
        cpu: Cpu { index, base, shared_pages: 0, window },
        local: place,
        stack_top: base + STACK_TOP,
        interrupt_stacks: INTERRUPT_STACK_TOPS.map(|top| base + top),
    })
}

fn map_stack(top: u64, pages: u64) -> Result<(), OutOfMemory> {
    for page in 1..=pages {
        let frame = Frame::allocate()?;
        // SAFETY: the address is set aside for this stack, the frame is fresh.
        unsafe { page_tables::map(top - page * PAGE_BYTES, frame.physical(), Mapping::Private)? };
    }
    Ok(())
}

impl Cpu {
    /// Number of the vCPU.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Shares one more page with the host.
    pub fn share_page(&mut self) -> Result<SharedPage, OutOfMemory> {
        SharedPage::new(self.take_slots(1)?)
    }

    /// Shares pages that lie one behind the other.
    pub fn share_buffer(&mut self, pages: u64) -> Result<SharedBuffer, OutOfMemory> {
        SharedBuffer::new(self.take_slots(pages)?, pages)
    }

    fn take_slots(&mut self, pages: u64) -> Result<u64, OutOfMemory> {
        let end = self
            .shared_pages
            .checked_add(pages)
            .filter(|end| *end <= SHARED_PAGE_SLOTS)
            .ok_or(OutOfMemory)?;
        let first = core::mem::replace(&mut self.shared_pages, end);
        Ok(self.base + SHARED_PAGES + first * PAGE_BYTES)
    }
}

/// Makes `local` this vCPU's, and registers its GHCB with the host.
///
/// # Safety
/// `local` must come from [`prepare`] and be no other vCPU's.
pub(crate) unsafe fn adopt(local: u64) {
    // SAFETY: GS is used for `CpuLocal` only.
    unsafe { instructions::write_msr(GS_BASE, local) };
    register_ghcb();
}

/// Registers this vCPU's GHCB with the host.
pub(crate) fn register_ghcb() {
    with_ghcb(|ghcb| ghcb.register());
}

fn local() -> Option<&'static CpuLocal> {
    // SAFETY: GS_BASE is readable without #VC; it is 0 until `adopt`.
    let base = unsafe { instructions::read_msr(GS_BASE) };
    // SAFETY: `adopt` put the address of a `CpuLocal` there that lives for ever and is this vCPU's alone.
    (base != 0).then(|| unsafe { &*(base as *const CpuLocal) })
}

/// Number of the vCPU that runs this code.
pub fn current_index() -> usize {
    local().map_or(0, |local| local.index as usize)
}

/// Uses this vCPU's GHCB; none before it has one, or inside another use (a handler that interrupted it).
pub fn with_ghcb<R>(use_it: impl FnOnce(&mut Ghcb) -> R) -> Option<R> {
    let local = local()?;
    // SAFETY: only this vCPU touches the flag, and a handler that interrupts in between puts it back.
    if unsafe { local.busy.get().replace(true) } {
        return None;
    }
    // SAFETY: the flag was clear, so this is the only reference until it is cleared again.
    let result = use_it(unsafe { &mut *local.ghcb.get() });
    // SAFETY: as for the first use of the flag.
    unsafe { local.busy.get().write(false) };
    Some(result)
}
