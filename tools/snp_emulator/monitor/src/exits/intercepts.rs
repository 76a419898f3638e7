//! Which events of the guest come to the monitor.

use crate::vmcb::{self, Vmcb};
use crate::{heap, instructions};
use core::sync::atomic::{AtomicU64, Ordering};

const VM_HSAVE_PA: u32 = 0xc001_0117;
/// Writes of CR0 (bit 16) and CR8 (bit 24).
const CONTROL_REGISTERS: u64 = 1 << 16 | 1 << 24;
/// Exception #UD; then the first word of instruction intercepts in bits 63:32: INTR, NMI, SMI, INIT, VINTR,
/// CPUID, INVD, HLT, INVLPGA, IOIO, MSR, FERR freeze, shutdown.
const EXCEPTIONS: u64 = 1 << 6;
const FIRST_WORD: u64 = 1
    | 1 << 1
    | 1 << 2
    | 1 << 3
    | 1 << 4
    | 1 << 18
    | 1 << 22
    | 1 << 24
    | 1 << 26
    | 1 << 27
    | 1 << 28
    | 1 << 30
    | 1 << 31;
/// VMRUN, VMMCALL, VMLOAD, VMSAVE, STGI, CLGI, SKINIT, WBINVD, XSETBV.
const SECOND_WORD: u64 = 0x7f | 1 << 9 | 1 << 13;

/// MSRs that a guest reads and writes without exit: they are switched with the VMCB, or harmless.
/// EFER, STAR to SFMASK, FS, GS, kernel GS, TSC_AUX, SYSENTER, TSC.
const DIRECT_MSRS: &[u32] = &[
    0xc000_0080,
    0xc000_0081,
    0xc000_0082,
    0xc000_0083,
    0xc000_0084,
    0xc000_0100,
    0xc000_0101,
    0xc000_0102,
    0xc000_0103,
    0x174,
    0x175,
    0x176,
    0x10,
];

static IO_PERMISSIONS: AtomicU64 = AtomicU64::new(0);
static MSR_PERMISSIONS: AtomicU64 = AtomicU64::new(0);

/// Makes the permission maps that all processors share; once.
pub fn prepare() {
    let io = heap::frame(3);
    heap::fill_frames(io, 3, 0xff);
    IO_PERMISSIONS.store(io, Ordering::SeqCst);
    let msr = heap::frame(2);
    heap::fill_frames(msr, 2, 0xff);
    for register in DIRECT_MSRS {
        heap::clear_bits(msr, msr_bit(*register), 2);
    }
    MSR_PERMISSIONS.store(msr, Ordering::SeqCst);
}

/// Has reads of an MSR come to the monitor.
pub fn watch_reads(register: u32) {
    heap::set_bit(MSR_PERMISSIONS.load(Ordering::SeqCst), msr_bit(register));
}

/// Position of an MSR's read bit in the map (APM volume 2, 15.11).
fn msr_bit(register: u32) -> usize {
    let index = match register {
        0..=0x1fff => register,
        0xc000_0000..=0xc000_1fff => register - 0xc000_0000 + 0x2000,
        _ => register - 0xc001_0000 + 0x4000,
    };
    index as usize * 2
}

/// Sets up the control area of a VMCB.
pub fn apply(vmcb: &mut Vmcb, vcpu: usize) {
    vmcb.write(vmcb::INTERCEPT_CONTROL_REGISTERS, CONTROL_REGISTERS);
    vmcb.write(vmcb::INTERCEPT_EXCEPTIONS, EXCEPTIONS | FIRST_WORD << 32);
    vmcb.write(vmcb::INTERCEPT_SVM, SECOND_WORD);
    vmcb.write(vmcb::IO_PERMISSIONS, IO_PERMISSIONS.load(Ordering::SeqCst));
    vmcb.write(vmcb::MSR_PERMISSIONS, MSR_PERMISSIONS.load(Ordering::SeqCst));
    vmcb.write(vmcb::ADDRESS_SPACE, vcpu as u64 + 1);
    vmcb.write(vmcb::NESTED_CONTROL, 1);
}

/// Writes of CR3 and CR4, and INVLPG in the first word of instruction intercepts: what ends this processor's translations.
const LOCAL_FLUSHES: u64 = 1 << 19 | 1 << 20;
const INVLPG: u64 = 1 << 25;

/// Whether the guest's local flushes are to be seen at the next entry.
pub fn watch_flushes(vmcb: &mut Vmcb, watch: bool) {
    let (registers, word) = if watch { (LOCAL_FLUSHES, INVLPG) } else { (0, 0) };
    vmcb.write(vmcb::INTERCEPT_CONTROL_REGISTERS, CONTROL_REGISTERS | registers);
    vmcb.write(vmcb::INTERCEPT_EXCEPTIONS, EXCEPTIONS | (FIRST_WORD | word) << 32);
}

/// Gives this processor the page in which VMRUN keeps the host's state.
pub fn enable_svm(frame: u64) {
    // SAFETY: the frame is for this processor's VMRUN alone; EFER.SVME was set at boot.
    unsafe { instructions::write_msr(VM_HSAVE_PA, frame) };
}
