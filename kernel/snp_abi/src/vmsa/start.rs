//! Register states in which a vCPU starts.

use zerocopy::FromZeros;

use super::{Segment, SevFeatures, Vmsa};
use crate::rmp::Vmpl;

/// EFER bit 12: without it a VMSA cannot be entered.
pub const EFER_SVME: u64 = 1 << 12;
/// EFER bit 8: long mode enabled.
pub const EFER_LME: u64 = 1 << 8;
/// EFER bit 10: long mode active.
pub const EFER_LMA: u64 = 1 << 10;
/// EFER bit 11: no-execute pages.
pub const EFER_NXE: u64 = 1 << 11;

/// CR0 of a protected-mode start as KVM leaves it: PE, ET, NE; no paging.
pub const CR0_PROTECTED_MODE: u64 = 0x31;
/// CR0 after INIT: CD, NW, ET.
pub const CR0_AFTER_INIT: u64 = 0x6000_0010;
/// CR4 bit 6, machine check exceptions: KVM keeps it set in every guest.
pub const CR4_MCE: u64 = 1 << 6;
/// RFLAGS with nothing but the bit that is always one.
pub const RFLAGS_RESET: u64 = 0x2;
/// DR6 after reset.
pub const DR6_RESET: u64 = 0xFFFF_0FF0;
/// DR7 after reset.
pub const DR7_RESET: u64 = 0x400;
/// PAT after reset.
pub const PAT_RESET: u64 = 0x0007_0406_0007_0406;
/// XCR0 after reset: x87 only.
pub const XCR0_RESET: u64 = 1;
/// MXCSR after reset.
pub const MXCSR_RESET: u32 = 0x1F80;
/// x87 control word after FNINIT, which QEMU uses for the start.
pub const X87_CONTROL_FNINIT: u16 = 0x37F;
/// x87 control word after INIT.
pub const X87_CONTROL_INIT: u16 = 0x40;
/// x87 tag word after INIT.
pub const X87_TAG_INIT: u16 = 0x5555;

const REAL_MODE_LIMIT: u32 = 0xFFFF;

impl Vmsa {
    /// The firmware's first vCPU: 32-bit flat protected mode without paging, the only start that KVM allows for
    /// measured firmware besides real mode (it overrides CR0). CS is selector 8, data segments are selector 0x10.
    #[must_use]
    pub fn protected_mode_start(entry: u32, features: SevFeatures) -> Self {
        let mut vmsa = Self::reset_state(features);
        vmsa.cs = Segment::flat_code_32(0x08);
        let data = Segment::flat_data(0x10);
        (vmsa.es, vmsa.ss, vmsa.ds, vmsa.fs, vmsa.gs) = (data, data, data, data, data);
        vmsa.gdtr.limit = REAL_MODE_LIMIT;
        // No vector fits into the IDT: whatever is injected before the firmware has one of its own shuts the vCPU down.
        vmsa.idtr.limit = 0;
        vmsa.ldtr = Segment::new(0, 0x82, REAL_MODE_LIMIT, 0);
        vmsa.tr = Segment::new(0, 0x8B, REAL_MODE_LIMIT, 0);
        vmsa.cr0 = CR0_PROTECTED_MODE;
        vmsa.cr4 = CR4_MCE;
        vmsa.rip = u64::from(entry);
        vmsa.x87_fcw = X87_CONTROL_FNINIT;
        vmsa
    }

    /// A vCPU that the firmware does not start: as the first one, at instructions that halt.
    #[must_use]
    pub fn parked(place: u32, features: SevFeatures) -> Self {
        Self::protected_mode_start(place, features)
    }

    /// An application processor in real mode at a start-up IPI vector, as Linux builds it for AP creation.
    #[must_use]
    pub fn start_up(vector: u8, vmpl: Vmpl, features: SevFeatures) -> Self {
        let mut vmsa = Self::reset_state(features);
        vmsa.vmpl = vmpl.to_wire();
        vmsa.cs = Segment::new(u16::from(vector) << 8, 0x9A, REAL_MODE_LIMIT, u64::from(vector) << 12);
        let data = Segment::new(0, 0x92, REAL_MODE_LIMIT, 0);
        (vmsa.es, vmsa.ss, vmsa.ds, vmsa.fs, vmsa.gs) = (data, data, data, data, data);
        vmsa.gdtr.limit = REAL_MODE_LIMIT;
        vmsa.idtr.limit = REAL_MODE_LIMIT;
        vmsa.ldtr = Segment::new(0, 0x82, REAL_MODE_LIMIT, 0);
        vmsa.tr = Segment::new(0, 0x83, REAL_MODE_LIMIT, 0);
        vmsa.cr0 = CR0_AFTER_INIT;
        vmsa.cr4 = CR4_MCE;
        vmsa.x87_ftw = X87_TAG_INIT;
        vmsa.x87_fcw = X87_CONTROL_INIT;
        vmsa
    }

    /// What all starts share: everything zero but the registers whose reset value is not.
    #[must_use]
    pub fn reset_state(features: SevFeatures) -> Self {
        let mut vmsa = Self::new_zeroed();
        vmsa.efer = EFER_SVME;
        vmsa.rflags = RFLAGS_RESET;
        vmsa.dr6 = DR6_RESET;
        vmsa.dr7 = DR7_RESET;
        vmsa.g_pat = PAT_RESET;
        vmsa.xcr0 = XCR0_RESET;
        vmsa.mxcsr = MXCSR_RESET;
        vmsa.sev_features = features.bits();
        vmsa
    }
}
