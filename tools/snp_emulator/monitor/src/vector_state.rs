//! x87, SSE and AVX state of a VMSA, exchanged with the processor when another VMSA comes to run.

use crate::heap;
use core::arch::asm;

/// XSAVE components that the processor of this machine has: x87, SSE, AVX.
pub const COMPONENTS: u64 = 7;
const AREA_BYTES: usize = 1024;
const LEGACY_BYTES: usize = 512;
/// Offset of XSTATE_BV in the area, and of the AVX component.
const HEADER: usize = 512;
const UPPER_HALVES: usize = 576;

/// One processor's XSAVE area.
pub struct VectorState {
    area: u64,
}

impl VectorState {
    /// Takes a page for the area.
    pub fn new() -> Self {
        Self { area: heap::frame(1) }
    }

    /// Takes the state out of the processor; returns it as an XSAVE image (standard form).
    pub fn save(&mut self) -> [u8; AREA_BYTES] {
        // SAFETY: the area is page aligned and large enough for components 0 to 2; XCR0 is 7 in the monitor.
        unsafe {
            asm!("xsave64 [{}]", in(reg) self.area, in("eax") COMPONENTS as u32, in("edx") 0,
                options(nostack, preserves_flags));
        }
        // SAFETY: the page is this object's and was just written by the processor.
        unsafe { (self.area as *const [u8; AREA_BYTES]).read_volatile() }
    }

    /// Puts an XSAVE image into the processor.
    pub fn restore(&mut self, image: &[u8; AREA_BYTES]) {
        // SAFETY: the page is this object's.
        unsafe { (self.area as *mut [u8; AREA_BYTES]).write_volatile(*image) };
        // SAFETY: the image is built by `image`, with a clean header; MXCSR is masked there.
        unsafe {
            asm!("xrstor64 [{}]", in(reg) self.area, in("eax") COMPONENTS as u32, in("edx") 0,
                options(nostack, preserves_flags));
        }
    }
}

/// Bits of MXCSR that may be set; others would fault in XRSTOR.
const MXCSR_MASK: u32 = 0x2_ffff;

/// The floating-point part of a VMSA, in the VMSA's own order (offset 0x400 to 0x670).
pub const VMSA_OFFSET: u64 = 0x400;
/// Its length in bytes.
pub const VMSA_BYTES: usize = 0x270;

/// Builds the XSAVE image for the floating-point part of a VMSA.
pub fn image(vmsa: &[u8; VMSA_BYTES]) -> [u8; AREA_BYTES] {
    let mut image = [0u8; AREA_BYTES];
    image[0..2].copy_from_slice(&vmsa[0x10..0x12]); // FCW
    image[2..4].copy_from_slice(&vmsa[0x0e..0x10]); // FSW
    image[4] = abridged_tag(u16::from_le_bytes([vmsa[0x0c], vmsa[0x0d]]));
    image[6..8].copy_from_slice(&vmsa[0x12..0x14]); // FOP
    image[8..16].copy_from_slice(&vmsa[0x18..0x20]); // RIP
    image[16..24].copy_from_slice(&vmsa[0x00..0x08]); // DP
    let mxcsr = u32::from_le_bytes([vmsa[8], vmsa[9], vmsa[10], vmsa[11]]) & MXCSR_MASK;
    image[24..28].copy_from_slice(&mxcsr.to_le_bytes());
    for register in 0..8 {
        image[32 + 16 * register..][..10].copy_from_slice(&vmsa[0x20 + 10 * register..][..10]);
    }
    image[160..416].copy_from_slice(&vmsa[0x70..0x170]);
    image[UPPER_HALVES..UPPER_HALVES + 256].copy_from_slice(&vmsa[0x170..0x270]);
    image[HEADER] = COMPONENTS as u8;
    image
}

/// Writes an XSAVE image back into the floating-point part of a VMSA.
pub fn to_vmsa(image: &[u8; AREA_BYTES], vmsa: &mut [u8; VMSA_BYTES]) {
    let present = image[HEADER];
    let legacy: &[u8] = &image[..LEGACY_BYTES];
    vmsa[0x10..0x12].copy_from_slice(&legacy[0..2]);
    vmsa[0x0e..0x10].copy_from_slice(&legacy[2..4]);
    vmsa[0x0c..0x0e].copy_from_slice(&full_tag(legacy[4]).to_le_bytes());
    vmsa[0x12..0x14].copy_from_slice(&legacy[6..8]);
    vmsa[0x18..0x20].copy_from_slice(&legacy[8..16]);
    vmsa[0x00..0x08].copy_from_slice(&legacy[16..24]);
    vmsa[0x08..0x0c].copy_from_slice(&legacy[24..28]);
    for register in 0..8 {
        vmsa[0x20 + 10 * register..][..10].copy_from_slice(&legacy[32 + 16 * register..][..10]);
    }
    vmsa[0x70..0x170].copy_from_slice(&legacy[160..416]);
    // A component in its initial state is not written by XSAVE.
    let upper = if present & 4 != 0 { &image[UPPER_HALVES..UPPER_HALVES + 256] } else { &[0u8; 256][..] };
    vmsa[0x170..0x270].copy_from_slice(upper);
}

/// One bit a register, as FXSAVE has it, from the two bits of the full x87 tag word (3 = empty).
fn abridged_tag(full: u16) -> u8 {
    (0..8).filter(|register| full >> (2 * register) & 3 != 3).fold(0, |tag, register| tag | 1 << register)
}

/// The full tag word with "valid" for every register in use.
fn full_tag(abridged: u8) -> u16 {
    (0..8).filter(|register| abridged >> register & 1 == 0).fold(0, |tag, register| tag | 3 << (2 * register))
}
