//! Application processors: their memory and first VMSA, made by the vCPU that boots.

use crate::cpu::{self, Cpu, Prepared};
use crate::cpuid;
use crate::exceptions::Descriptors;
use crate::frames::{Frame, OutOfMemory};
use crate::instructions;
use crate::kernel_entry;
use crate::page_tables;
use alloc::boxed::Box;
use core::arch::asm;
use snp_abi::address::{LARGE_PAGE_BYTES, PAGE_BYTES, PageSize};
use snp_abi::ghcb::ap_creation::{ApCreation, ApCreationRequest};
use snp_abi::rmp::{Permissions, RmpAdjust, RmpStatus, Vmpl};
use snp_abi::vmsa::{Segment, Vmsa};
use zerocopy::{FromZeros, IntoBytes};

/// Why a vCPU cannot be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartError {
    /// No memory for its stacks.
    OutOfMemory,
    /// RMPADJUST refused to make its VMSA.
    Vmsa,
    /// The host refused to start it.
    Host,
}

impl From<OutOfMemory> for StartError {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

/// Attributes as a VMSA packs them: 64-bit code, data, busy 64-bit TSS.
const CODE: u16 = 0xa9b;
const DATA: u16 = 0xc93;
const TASK: u16 = 0x08b;

/// A frame that may hold a VMSA: not at a 2 MiB boundary, where KVM refuses it.
pub(crate) fn vmsa_frame() -> Result<Frame, OutOfMemory> {
    let frame = Frame::allocate()?;
    if frame.physical().is_multiple_of(LARGE_PAGE_BYTES) { Frame::allocate() } else { Ok(frame) }
}

/// Makes a frame of the firmware's own a VMSA that a VMPL may run and, below VMPL0, only read.
pub(crate) fn make_vmsa(frame: &Frame, vmsa: &Vmsa, reader: Option<Vmpl>) -> bool {
    let place = frame.virtual_address();
    // SAFETY: the frame is the caller's and exactly one page; the VMSA does not run yet.
    unsafe { instructions::copy(vmsa.as_bytes().as_ptr() as u64, place, PAGE_BYTES as usize) };
    let permissions = if reader.is_some() { Permissions::READ } else { Permissions::empty() };
    // The VMSA attribute is set together with the rights of some lower VMPL; VMPL1 where nobody gets any.
    let adjust = RmpAdjust { target: reader.unwrap_or(Vmpl::Vmpl1), permissions, is_vmsa: true };
    // SAFETY: the frame holds nothing but the VMSA.
    unsafe { instructions::rmpadjust(place, PageSize::Small, adjust) == Some(RmpStatus::Success) }
}

/// Starts vCPU number `index` with this APIC id; it calls `application_processor_main(&mut Cpu)`.
pub fn start(index: usize, apic_id: u32) -> Result<(), StartError> {
    let base = cpu::lay_base(index)?;
    let Prepared { cpu, stack_top } = cpu::prepare(index, &base)?;
    let descriptors = Descriptors::new(base.interrupt_stacks)?;
    let argument = Box::into_raw(Box::new(cpu)) as u64;
    let vmsa = first_state(&descriptors, base.local(), stack_top, argument);
    let frame = vmsa_frame()?;
    if !make_vmsa(&frame, &vmsa, None) {
        return Err(StartError::Vmsa);
    }
    let creation = ApCreation { apic_id, vmpl: Vmpl::Vmpl0, request: ApCreationRequest::Create };
    let created = cpu::with_ghcb(|ghcb| ghcb.create_ap(creation, frame.physical(), vmsa.sev_features));
    match created {
        Some(Ok(())) => Ok(()),
        _ => Err(StartError::Host),
    }
}

/// Takes the vCPU's own state from the argument that its VMSA carried.
///
/// # Safety
/// `argument` must be RDI as the new vCPU found it, and be taken once.
pub unsafe fn adopt(argument: u64) -> Cpu {
    // SAFETY: `start` put the address of a leaked box there, for this vCPU alone.
    let cpu = unsafe { Box::from_raw(argument as *mut Cpu) };
    // Its base came with the VMSA.
    cpu::register_ghcb();
    *cpu
}

fn segment(selector: u16, attributes: u16, limit: u32, base: u64) -> Segment {
    let mut segment = Segment::new_zeroed();
    segment.selector = selector;
    segment.attributes = snp_abi::vmsa::SegmentAttributes(attributes);
    segment.limit = limit;
    segment.base = base;
    segment
}

/// The state in which the kernel runs: 64-bit, with this vCPU's own tables and stack.
fn first_state(descriptors: &Descriptors, local: u64, stack_top: u64, argument: u64) -> Vmsa {
    let tables = descriptors.for_vmsa();
    let mut vmsa = Vmsa::new_zeroed();
    vmsa.cs = segment(tables.code, CODE, u32::MAX, 0);
    let data = segment(tables.data, DATA, u32::MAX, 0);
    vmsa.ss = data;
    vmsa.ds = data;
    vmsa.es = data;
    vmsa.fs = segment(0, DATA, u32::MAX, 0);
    vmsa.gs = segment(0, DATA, u32::MAX, local);
    vmsa.gdtr = segment(0, 0, tables.gdt.1.into(), tables.gdt.0);
    vmsa.idtr = segment(0, 0, tables.idt.1.into(), tables.idt.0);
    vmsa.tr = segment(tables.task, TASK, tables.task_state.1.into(), tables.task_state.0);
    let (cr0, cr4, efer) = control_registers();
    vmsa.cr0 = cr0;
    vmsa.cr4 = cr4;
    vmsa.cr3 = page_tables::root();
    vmsa.efer = efer;
    vmsa.rflags = 2;
    vmsa.rip = kernel_entry::application_processor();
    vmsa.rsp = stack_top;
    vmsa.rdi = argument;
    vmsa.g_pat = 0x0007_0406_0007_0406;
    vmsa.dr6 = 0xffff_0ff0;
    vmsa.dr7 = 0x400;
    vmsa.xcr0 = 1;
    vmsa.mxcsr = 0x1f80;
    vmsa.x87_fcw = 0x37f;
    vmsa.sev_features = cpuid::sev_features();
    vmsa
}

fn control_registers() -> (u64, u64, u64) {
    let (cr0, cr4): (u64, u64);
    // SAFETY: reading control registers has no side effect.
    unsafe { asm!("mov {}, cr0", out(reg) cr0, options(nomem, nostack, preserves_flags)) };
    // SAFETY: as above.
    unsafe { asm!("mov {}, cr4", out(reg) cr4, options(nomem, nostack, preserves_flags)) };
    // SAFETY: EFER is readable in every guest.
    let efer = unsafe { instructions::read_msr(snp_abi::msr::EFER) };
    (cr0, cr4, efer | snp_abi::vmsa::start::EFER_SVME)
}
