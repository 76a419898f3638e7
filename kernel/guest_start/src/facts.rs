//! What is known of the VM and its processor when a guest starts.

use core::ops::Range;
use snp_abi::cpuid::{CpuidPage, CpuidQuery};
use snp_abi::rmp::Vmpl;

/// The PC's video memory: no memory map shows it, and no page of it is RAM.
pub const VIDEO_MEMORY: Range<u64> = 0xa_0000..0xc_0000;

/// A range of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryRange {
    /// First byte.
    pub start: u64,
    /// First byte behind it.
    pub end: u64,
}

impl MemoryRange {
    /// Whether all of another range lies in this one.
    pub fn holds(&self, start: u64, end: u64) -> bool {
        self.start <= start && end <= self.end
    }

    /// Whether the ranges have a byte in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.start < other.end && other.start < self.end
    }
}

/// The VM, as image, host and processor describe it.
#[derive(Clone, Copy, Debug)]
pub struct VmFacts<'a> {
    /// RAM of the VM, in order, without the video memory.
    pub memory: &'a [MemoryRange],
    /// APIC ids, that of the boot vCPU first.
    pub apic_ids: &'a [u32],
    /// The firmware's own region.
    pub region: MemoryRange,
    /// The bit of a page table entry that makes a mapping private.
    pub c_bit: u64,
    /// The CPUID page, as the security processor checked it.
    pub cpuid: &'a CpuidPage,
    /// SEV_FEATURES that the guest's VMSAs have.
    pub sev_features: u64,
    /// The guest's level.
    pub vmpl: Vmpl,
}

impl VmFacts<'_> {
    /// Whether all of a range is RAM.
    pub fn is_memory(&self, start: u64, end: u64) -> bool {
        self.memory.iter().any(|range| range.holds(start, end))
    }

    /// The processor's signature: CPUID leaf 1, EAX.
    pub fn signature(&self) -> u32 {
        self.cpuid.row(CpuidQuery { leaf: 1, subleaf: 0 }).map_or(0, |row| row.registers.eax)
    }
}
