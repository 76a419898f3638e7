//! Start of the kernel on the vCPU that boots: every other module gets its memory here, in the order in which they
//! need each other.

use crate::cpu::{self, Cpu, Prepared};
use crate::cpuid;
use crate::exceptions::Descriptors;
use crate::frames::{self, OutOfMemory};
use crate::heap;
use crate::instructions;
use crate::msr_protocol;
use crate::page_tables;
use crate::region;
use crate::serial;
use crate::termination::{Reason, terminate};
use crate::translations;
use log::LevelFilter;
use snp_abi::address::PAGE_LENGTH;
use snp_abi::ghcb::HypervisorFeatures;
use snp_abi::igvm_parameters::ENVIRONMENT_MEMORY_IS_SHARED;

/// What the hand-off record says, as far as this crate needs it. Addresses are physical.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// The firmware's region.
    pub region: (u64, u64),
    /// The CPUID page.
    pub cpuid_page: u64,
    /// What the image left free in the region.
    pub free: (u64, u64),
    /// Address of the loader's environment word; see [`snp_abi::igvm_parameters`].
    pub environment: u64,
    /// stage2, which is not needed any more.
    pub stage2: u64,
    /// Bytes for the heap.
    pub heap_bytes: u64,
    /// Most detailed level to log.
    pub log_level: LevelFilter,
}

/// Brings the vCPU up.
///
/// # Safety
/// Called once, first, by the kernel's entry; `layout` must be that of the measured record, whose page tables are in use.
pub unsafe fn start(layout: &Layout) -> Cpu {
    region::initialise(layout.region.0, layout.region.1, 0);
    // SAFETY: the caller answers for the record.
    let position = unsafe { cpuid::initialise(layout.cpuid_page) };
    let Some(position) = position else { terminate(Reason::CpuidPage) };
    region::initialise(layout.region.0, layout.region.1, position);
    msr_protocol::check_version();
    let needed = HypervisorFeatures::SNP | HypervisorFeatures::AP_CREATION | HypervisorFeatures::MULTI_VMPL;
    if !msr_protocol::hypervisor_features().contains(needed) {
        terminate(Reason::HypervisorFeatures);
    }
    let is_shared = environment(layout.environment) & ENVIRONMENT_MEMORY_IS_SHARED != 0;
    frames::initialise(layout.free.0, layout.free.1, is_shared);
    let cpu = first_cpu().unwrap_or_else(|OutOfMemory| terminate(Reason::OutOfMemory));
    // SAFETY: the kernel runs in the high half on its own stack; stage2's tables and stack are not used any more.
    unsafe { page_tables::drop_top_entry(layout.stage2) };
    heap::initialise(layout.heap_bytes).unwrap_or_else(|_| terminate(Reason::OutOfMemory));
    serial::initialise(layout.log_level);
    cpu
}

/// The vCPU that boots. Its handlers come first: what follows may have to recover from an exception.
fn first_cpu() -> Result<Cpu, OutOfMemory> {
    let base = cpu::lay_base(0)?;
    let descriptors = Descriptors::new(base.interrupt_stacks)?;
    // SAFETY: just laid, for this vCPU.
    unsafe { cpu::use_base(&base) };
    descriptors.load();
    translations::flush();
    let Prepared { cpu, .. } = cpu::prepare(0, &base)?;
    cpu::register_ghcb();
    Ok(cpu)
}

/// The loader's word on memory. A lie costs exits, or ends in a failed validation.
fn environment(physical: u64) -> u32 {
    let place = region::virtual_address(physical & !3);
    // SAFETY: the word lies in a launched page of the region, which the direct window maps; it is aligned.
    unsafe { (place as *const u32).read() }
}

/// Copies a launched page of the firmware's own region.
pub fn copy_page(physical: u64) -> [u8; PAGE_LENGTH] {
    let mut bytes = [0; PAGE_LENGTH];
    let place = region::virtual_address(physical);
    // SAFETY: the page lies in the region, which the direct window maps; the buffer is this function's.
    unsafe { instructions::copy(place, bytes.as_mut_ptr() as u64, PAGE_LENGTH) };
    bytes
}

/// Copies the secrets page out and overwrites it with zeros, so that its keys are nowhere but in the copy.
pub fn take_secrets_page(physical: u64) -> [u8; PAGE_LENGTH] {
    let bytes = copy_page(physical);
    let place = region::virtual_address(physical);
    if cpuid::page().is_some_and(|page| core::ptr::from_ref(page) as u64 == place) {
        terminate(Reason::Handoff);
    }
    // SAFETY: the measured record names the page. It lies in the region and holds nothing of Rust's: of the launched pages
    // only the CPUID page, which was ruled out, and the record are referenced, and the record is mapped read-only.
    unsafe { instructions::zero(place, PAGE_LENGTH as u64) };
    bytes
}
