//! The virtual machine control block of one processor, by named fields.
//!
//! Source of the offsets: AMD APM volume 2, appendix B. The state save area (0x400) has the layout of
//! a VMSA up to 0x297, so that a VMSA page moves in and out by copying.

use crate::heap;

/// An eight-byte field, by its offset in the VMCB.
#[derive(Clone, Copy)]
pub struct Field(u16);

macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident = $offset:literal;)*) => {
        $($(#[$doc])* pub const $name: Field = Field($offset);)*
    };
}
fields! {
    /// CR reads (15:0) and writes (31:16), DR reads and writes.
    INTERCEPT_CONTROL_REGISTERS = 0x000;
    /// Exceptions (31:0), then the first word of instruction intercepts.
    INTERCEPT_EXCEPTIONS = 0x008;
    /// The second word of instruction intercepts.
    INTERCEPT_SVM = 0x010;
    /// Physical address of the I/O permission map.
    IO_PERMISSIONS = 0x040;
    /// Physical address of the MSR permission map.
    MSR_PERMISSIONS = 0x048;
    /// ASID (31:0) and TLB control (39:32).
    ADDRESS_SPACE = 0x058;
    /// V_TPR, V_IRQ, V_INTR_MASKING; vector in 39:32.
    VIRTUAL_INTERRUPT = 0x060;
    /// Interrupt shadow.
    INTERRUPT_SHADOW = 0x068;
    EXIT_CODE = 0x070;
    EXIT_INFO_1 = 0x078;
    EXIT_INFO_2 = 0x080;
    EXIT_INTERRUPT_INFO = 0x088;
    /// Bit 0: nested paging.
    NESTED_CONTROL = 0x090;
    EVENT_INJECTION = 0x0a8;
    NESTED_CR3 = 0x0b0;
    CS = 0x410;
    CS_BASE = 0x418;
    SS = 0x420;
    SS_BASE = 0x428;
    GS_BASE = 0x458;
    IDTR_LIMIT = 0x480;
    IDTR_BASE = 0x488;
    TR_BASE = 0x498;
    EFER = 0x4d0;
    CR4 = 0x548;
    CR3 = 0x550;
    CR0 = 0x558;
    RFLAGS = 0x570;
    RIP = 0x578;
    RSP = 0x5d8;
    RAX = 0x5f8;
    CR2 = 0x640;
}

/// Start of the state save area.
pub const SAVE_AREA: usize = 0x400;
/// Bytes of the save area that have the VMSA's layout.
pub const SAVE_AREA_BYTES: usize = 0x298;
/// Current privilege level, one byte.
const CPL: usize = 0x4cb;

/// One VMCB; the page belongs to the processor that made it.
pub struct Vmcb {
    address: u64,
}

impl Vmcb {
    /// Takes a zeroed page for a VMCB.
    pub fn new() -> Self {
        Self { address: heap::frame(1) }
    }

    /// Physical address, the operand of VMRUN.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Reads a field.
    pub fn read(&self, field: Field) -> u64 {
        // SAFETY: the page is this object's, the offset is inside it; the processor changes it only in VMRUN.
        unsafe { ((self.address + u64::from(field.0)) as *const u64).read_volatile() }
    }

    /// Writes a field.
    pub fn write(&mut self, field: Field, value: u64) {
        // SAFETY: as for `read`.
        unsafe { ((self.address + u64::from(field.0)) as *mut u64).write_volatile(value) };
    }

    /// Writes a word of the save area by its offset in a VMSA; the offset is a multiple of 8 below [`SAVE_AREA_BYTES`].
    pub fn write_save_area(&mut self, offset: usize, value: u64) {
        assert!(offset < SAVE_AREA_BYTES && offset.is_multiple_of(8));
        // SAFETY: as for `read`; the offset was checked.
        unsafe { ((self.address + (SAVE_AREA + offset) as u64) as *mut u64).write_volatile(value) };
    }

    /// Current privilege level.
    pub fn cpl(&self) -> u8 {
        // SAFETY: as for `read`.
        unsafe { ((self.address + CPL as u64) as *const u8).read_volatile() & 3 }
    }

    /// Sets the current privilege level.
    pub fn set_cpl(&mut self, level: u8) {
        // SAFETY: as for `read`.
        unsafe { ((self.address + CPL as u64) as *mut u8).write_volatile(level) };
    }

    /// The VMSA-shaped part of the save area, to copy a VMSA from or to.
    pub fn save_area(&mut self) -> &mut [u8; SAVE_AREA_BYTES] {
        // SAFETY: the page is this object's, which is borrowed, and the part lies inside it; the processor changes it only in VMRUN.
        unsafe { &mut *((self.address + SAVE_AREA as u64) as *mut [u8; SAVE_AREA_BYTES]) }
    }
}
