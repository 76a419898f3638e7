//! Walks a guest's own page tables, as the processor would: for instruction bytes, #VC frames and
//! the operands of PVALIDATE and RMPADJUST.
//!
//! Page tables are read as private memory whatever their C-bit says (AMD APM volume 2, 15.36.10).

use crate::backing::Backing;
use crate::vmcb::{self, Vmcb};

/// Position of the C-bit on this machine.
pub const C_BIT: u64 = 1 << 51;
const ADDRESS: u64 = 0x0007_ffff_ffff_f000;
const PRESENT: u64 = 1;
const WRITABLE: u64 = 2;
const LARGE: u64 = 0x80;
const CR0_PAGING: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const CR4_LA57: u64 = 1 << 12;
const EFER_LMA: u64 = 1 << 10;

/// Where a linear address leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// Guest-physical address, without the C-bit.
    pub address: u64,
    /// The mapping is private: the C-bit is set, or paging is off.
    pub private: bool,
    /// Bytes of the page that the mapping covers.
    pub page_bytes: u64,
    /// Every level allows writes.
    pub writable: bool,
}

/// Whether the guest runs with paging.
pub fn paging(vmcb: &Vmcb) -> bool {
    vmcb.read(vmcb::CR0) & CR0_PAGING != 0
}

/// Whether the guest runs in long mode.
pub fn long_mode(vmcb: &Vmcb) -> bool {
    vmcb.read(vmcb::EFER) & EFER_LMA != 0
}

/// Translates a linear address; none if it is not mapped.
pub fn translate(vmcb: &Vmcb, memory: &Backing, linear: u64) -> Option<Translation> {
    if !paging(vmcb) {
        return Some(Translation { address: linear, private: true, page_bytes: 4096, writable: true });
    }
    let cr3 = vmcb.read(vmcb::CR3);
    let cr4 = vmcb.read(vmcb::CR4);
    if long_mode(vmcb) {
        walk(memory, cr3 & ADDRESS, levels(cr4), linear)
    } else if cr4 & CR4_PAE != 0 {
        walk(memory, cr3 & 0xffff_ffe0, 3, linear & 0xffff_ffff)
    } else {
        walk_legacy(memory, cr3 & 0xffff_f000, linear as u32)
    }
}

/// The word at a linear address under these page tables of long mode.
pub fn word(memory: &Backing, cr3: u64, levels: u32, linear: u64) -> Option<u64> {
    memory.read_u64(walk(memory, cr3 & ADDRESS, levels, linear)?.address)
}

/// Levels of page tables in long mode.
pub fn levels(cr4: u64) -> u32 {
    if cr4 & CR4_LA57 != 0 { 5 } else { 4 }
}

fn walk(memory: &Backing, root: u64, levels: u32, linear: u64) -> Option<Translation> {
    let mut table = root;
    let mut writable = true;
    for level in (1..=levels).rev() {
        let shift = 12 + 9 * (level - 1);
        // The page-directory-pointer table of PAE has four entries; linear addresses end at bit 31 there.
        let entry = memory.read_u64(table + (linear >> shift & 511) * 8)?;
        if entry & PRESENT == 0 {
            return None;
        }
        let pae_top = levels == 3 && level == 3;
        writable &= entry & WRITABLE != 0 || pae_top;
        if level == 1 || (entry & LARGE != 0 && level <= 3 && !pae_top) {
            let mask = (1 << shift) - 1;
            let address = (entry & ADDRESS & !mask) | (linear & mask);
            return Some(Translation {
                address,
                private: entry & C_BIT != 0,
                page_bytes: mask + 1,
                writable,
            });
        }
        table = entry & ADDRESS;
    }
    None
}

/// Two-level paging without PAE has no room for a C-bit: everything is private.
fn walk_legacy(memory: &Backing, root: u64, linear: u32) -> Option<Translation> {
    let read = |table: u64, index: u32| {
        let mut bytes = [0; 4];
        memory.read(table + u64::from(index) * 4, &mut bytes).then(|| u32::from_le_bytes(bytes))
    };
    let directory = read(root, linear >> 22)?;
    if directory & PRESENT as u32 == 0 {
        return None;
    }
    if directory & LARGE as u32 != 0 {
        let address = u64::from(directory & 0xffc0_0000 | linear & 0x3f_ffff);
        let writable = directory & WRITABLE as u32 != 0;
        return Some(Translation { address, private: true, page_bytes: 4 << 20, writable });
    }
    let entry = read(u64::from(directory & 0xffff_f000), linear >> 12 & 1023)?;
    let address = u64::from(entry & 0xffff_f000 | linear & 0xfff);
    let writable = entry & directory & WRITABLE as u32 != 0;
    (entry & PRESENT as u32 != 0).then_some(Translation {
        address,
        private: true,
        page_bytes: 4096,
        writable,
    })
}

/// Copies bytes at a linear address; `false` if a page is not mapped or has no memory.
pub fn read(vmcb: &Vmcb, memory: &Backing, linear: u64, bytes: &mut [u8]) -> bool {
    let mut done = 0;
    while done < bytes.len() {
        let at = linear.wrapping_add(done as u64);
        let count = ((4096 - at % 4096) as usize).min(bytes.len() - done);
        let Some(place) = translate(vmcb, memory, at) else { return false };
        if !memory.read(place.address, &mut bytes[done..done + count]) {
            return false;
        }
        done += count;
    }
    true
}

/// Writes bytes at a linear address, within the page rights that a push would need.
pub fn write(vmcb: &Vmcb, memory: &Backing, linear: u64, bytes: &[u8]) -> bool {
    let mut done = 0;
    while done < bytes.len() {
        let at = linear.wrapping_add(done as u64);
        let count = ((4096 - at % 4096) as usize).min(bytes.len() - done);
        let Some(place) = translate(vmcb, memory, at) else { return false };
        if !place.writable || !memory.write(place.address, &bytes[done..done + count]) {
            return false;
        }
        done += count;
    }
    true
}
