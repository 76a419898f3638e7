//! A vCPU that starts in 64-bit mode with the first 4 GiB mapped one to one, all private.

use crate::facts::VmFacts;
use snp_abi::address::PAGE_BYTES;
use snp_abi::vmsa::start::{DR6_RESET, DR7_RESET, EFER_LMA, EFER_LME, EFER_NXE, EFER_SVME};
use snp_abi::vmsa::start::{MXCSR_RESET, PAT_RESET, RFLAGS_RESET, X87_CONTROL_FNINIT, XCR0_RESET};
use snp_abi::vmsa::{Segment, Vmsa};
use zerocopy::FromZeros;

/// Selectors that Linux's 64-bit entry asks for.
const CODE_SELECTOR: u16 = 0x10;
const DATA_SELECTOR: u16 = 0x18;
const TASK_SELECTOR: u16 = 0;
/// Null, null, 64-bit code, data.
pub const GDT: [u64; 4] = [0, 0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff];
const GDT_LIMIT: u32 = 31;
/// Attributes of an empty LDT and a busy TSS.
const LDT: u16 = 0x82;
const BUSY_TASK: u16 = 0x8b;
/// Paging, extension type, protection.
const CR0: u64 = 1 << 31 | 1 << 4 | 1;
const CR4_PAE: u64 = 1 << 5;
const PRESENT_WRITABLE: u64 = 3;
const LARGE: u64 = 1 << 7;
const GIGABYTES: u64 = 4;
/// Page tables: PML4, PDPT, one page directory a GiB.
pub const TABLE_COUNT: usize = 2 + GIGABYTES as usize;

/// One page table.
type Table = [u64; 512];

/// Page tables for the identity map, to lie one behind the other from `start` on.
pub fn tables(start: u64, c_bit: u64) -> impl Iterator<Item = Table> {
    let below =
        move |number: u64| start.saturating_add(number.saturating_mul(PAGE_BYTES)) | c_bit | PRESENT_WRITABLE;
    (0..TABLE_COUNT as u64).map(move |number| {
        core::array::from_fn(|index| {
            let index = index as u64;
            match number {
                0 if index == 0 => below(1),
                1 if index < GIGABYTES => below(index.saturating_add(2)),
                0 | 1 => 0,
                directory => {
                    (directory.saturating_sub(2) << 30 | index << 21) | c_bit | LARGE | PRESENT_WRITABLE
                }
            }
        })
    })
}

/// Where in guest memory lies what the vCPU starts with.
#[derive(Clone, Copy, Debug)]
pub struct Structures {
    /// The GDT.
    pub descriptors: u64,
    /// The top page table.
    pub tables: u64,
    /// The boot parameters, for RSI.
    pub boot_parameters: u64,
}

/// The VMSA of a guest that starts at `entry`, with the boot parameters in RSI.
pub fn vmsa(structures: Structures, entry: u64, facts: &VmFacts<'_>) -> Vmsa {
    let mut vmsa = Vmsa::new_zeroed();
    vmsa.cs = Segment::flat_code_64(CODE_SELECTOR);
    let data = Segment::flat_data(DATA_SELECTOR);
    (vmsa.ds, vmsa.es, vmsa.ss, vmsa.fs, vmsa.gs) = (data, data, data, data, data);
    vmsa.gdtr = Segment::new(0, 0, GDT_LIMIT, structures.descriptors);
    vmsa.ldtr = Segment::new(0, LDT, 0xffff, 0);
    vmsa.tr = Segment::new(TASK_SELECTOR, BUSY_TASK, 0xffff, 0);
    vmsa.vmpl = facts.vmpl.to_wire();
    vmsa.efer = EFER_LME | EFER_LMA | EFER_NXE | EFER_SVME;
    vmsa.cr0 = CR0;
    vmsa.cr3 = structures.tables | facts.c_bit;
    vmsa.cr4 = CR4_PAE;
    vmsa.rflags = RFLAGS_RESET;
    vmsa.rip = entry;
    vmsa.rsi = structures.boot_parameters;
    vmsa.dr6 = DR6_RESET;
    vmsa.dr7 = DR7_RESET;
    vmsa.g_pat = PAT_RESET;
    vmsa.xcr0 = XCR0_RESET;
    vmsa.mxcsr = MXCSR_RESET;
    vmsa.x87_fcw = X87_CONTROL_FNINIT;
    vmsa.sev_features = facts.sev_features;
    vmsa
}
