//! Per-CPU memory: where a vCPU's stacks, GHCB, windows and descriptor tables lie.
//!
//! Each vCPU has 8 MiB of virtual addresses of its own. Between the parts are pages that are never mapped, so
//! that a stack that grows too long faults instead of running into something:
//!
//! | offset | what |
//! |---|---|
//! | 0x001000 | GHCB (shared) |
//! | 0x003000 | small windows, one page each |
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
use core::arch::asm;
use core::cell::UnsafeCell;
use core::mem::offset_of;
use snp_abi::address::PAGE_BYTES;

const CPU_AREAS: u64 = 0xffff_fe00_0000_0000;
const AREA_BYTES: u64 = 8 << 20;
const GHCB: u64 = 0x1000;
const SMALL_WINDOWS: u64 = 0x3000;
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
    /// The GHCB, once there is one; used by one context at a time ([`with_ghcb`]).
    ghcb: UnsafeCell<Option<Ghcb>>,
    busy: UnsafeCell<bool>,
    /// #VC is being handled.
    in_vc: UnsafeCell<bool>,
}

const _: () = assert!(offset_of!(CpuLocal, own) == 0);

/// What one vCPU owns and uses by itself.
#[derive(Debug)]
pub struct Cpu {
    index: usize,
    base: u64,
    shared_pages: u64,
    /// Windows into guest memory.
    pub window: Window,
}

/// What handlers of exceptions need on a vCPU: laid before everything else of it.
pub(crate) struct Base {
    local: &'static CpuLocal,
    pub(crate) interrupt_stacks: [u64; 3],
}

impl Base {
    /// GS's base.
    pub(crate) fn local(&self) -> u64 {
        self.local.own
    }
}

/// A vCPU's memory, prepared by the vCPU that starts it.
pub(crate) struct Prepared {
    pub(crate) cpu: Cpu,
    pub(crate) stack_top: u64,
}

fn area(index: usize) -> Result<u64, OutOfMemory> {
    if index < MAXIMUM_CPUS { Ok(CPU_AREAS + index as u64 * AREA_BYTES) } else { Err(OutOfMemory) }
}

/// Lays the base of vCPU number `index`.
pub(crate) fn lay_base(index: usize) -> Result<Base, OutOfMemory> {
    let area = area(index)?;
    for top in INTERRUPT_STACK_TOPS {
        map_stack(area + top, INTERRUPT_STACK_PAGES)?;
    }
    let place = Frame::allocate()?.virtual_address();
    let local = CpuLocal {
        own: place,
        index: index as u64,
        ghcb: UnsafeCell::new(None),
        busy: UnsafeCell::new(false),
        in_vc: UnsafeCell::new(false),
    };
    // SAFETY: the frame is fresh, large enough and aligned; it stays this vCPU's for ever.
    unsafe { (place as *mut CpuLocal).write(local) };
    // SAFETY: written just above; what changes in it is in cells.
    let local = unsafe { &*(place as *const CpuLocal) };
    Ok(Base { local, interrupt_stacks: INTERRUPT_STACK_TOPS.map(|top| area + top) })
}

/// Makes the rest of the memory of vCPU number `index`, which does not run yet, or is the one that calls.
pub(crate) fn prepare(index: usize, base: &Base) -> Result<Prepared, OutOfMemory> {
    let area = area(index)?;
    map_stack(area + STACK_TOP, STACK_PAGES)?;
    let ghcb = Ghcb::new(area + GHCB)?;
    // SAFETY: the vCPU has no GHCB yet, so that nobody holds a reference to it.
    unsafe { base.local.ghcb.get().write(Some(ghcb)) };
    let window = Window::new(area + SMALL_WINDOWS, area + LARGE_WINDOW)?;
    let cpu = Cpu { index, base: area, shared_pages: 0, window };
    Ok(Prepared { cpu, stack_top: area + STACK_TOP })
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

/// Makes a base that of the vCPU that runs; an application processor gets its own by its VMSA.
///
/// # Safety
/// The base must be no other vCPU's.
pub(crate) unsafe fn use_base(base: &Base) {
    // SAFETY: GS is used for `CpuLocal` only.
    unsafe { instructions::write_msr(GS_BASE, base.local()) };
}

/// Registers this vCPU's GHCB with the host.
pub(crate) fn register_ghcb() {
    with_ghcb(|ghcb| ghcb.register());
}

/// This vCPU's record, by a load that no host can intercept, as it could RDMSR: whoever answers for GS's base says where VMPL0 writes.
/// Before [`use_base`] the load faults.
fn local() -> &'static CpuLocal {
    let place: u64;
    // SAFETY: GS's base is that of this vCPU's record, whose first word is its own address.
    unsafe { asm!("mov {}, gs:[0]", out(reg) place, options(nostack, preserves_flags, readonly)) };
    // SAFETY: `lay_base` made the record, which lives for ever; it is this vCPU's alone.
    unsafe { &*(place as *const CpuLocal) }
}

/// Begins to handle #VC; `false` if it is being handled already: whatever raised it again took the stack of the first.
pub(crate) fn enter_vc() -> bool {
    // SAFETY: only this vCPU touches the flag.
    !unsafe { local().in_vc.get().replace(true) }
}

/// Ends what [`enter_vc`] began.
pub(crate) fn leave_vc() {
    // SAFETY: only this vCPU touches the flag.
    unsafe { local().in_vc.get().write(false) };
}

/// Uses this vCPU's GHCB; none before it has one, or inside another use (a handler that interrupted it).
pub fn with_ghcb<R>(use_it: impl FnOnce(&mut Ghcb) -> R) -> Option<R> {
    let local = local();
    // SAFETY: only this vCPU touches the flag, and a handler that interrupts in between puts it back.
    if unsafe { local.busy.get().replace(true) } {
        return None;
    }
    // SAFETY: the flag was clear, so this is the only reference until it is cleared again.
    let ghcb = unsafe { &mut *local.ghcb.get() };
    let result = ghcb.as_mut().map(use_it);
    // SAFETY: as for the first use of the flag.
    unsafe { local.busy.get().write(false) };
    result
}
