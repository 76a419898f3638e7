//! The VM save area: a vCPU's registers at one VMPL, in a page of their own (AMD 24593 volume 2, table B-4).
//!
//! The page belongs to hardware while the vCPU runs. [`start`] holds the register states that a vCPU starts in.

mod control;
mod segment;
pub mod start;

use core::mem::offset_of;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub use control::{SevFeatures, VirtualInterrupt, VirtualInterruptFlags};
pub use segment::{Segment, SegmentAttributes};

/// `guest_exit_code` when VMRUN refused the VMSA.
pub const EXIT_CODE_INVALID: u64 = u64::MAX;
/// `guest_exit_code` when VMRUN found the VMSA busy.
pub const EXIT_CODE_BUSY: u64 = u64::MAX - 1;

/// The page; the reserved parts are zero in a page made here and kept in one that was read.
#[derive(Debug, Clone, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Vmsa {
    /// ES.
    pub es: Segment,
    /// CS.
    pub cs: Segment,
    /// SS.
    pub ss: Segment,
    /// DS.
    pub ds: Segment,
    /// FS.
    pub fs: Segment,
    /// GS.
    pub gs: Segment,
    /// Global descriptor table (base and limit only).
    pub gdtr: Segment,
    /// Local descriptor table.
    pub ldtr: Segment,
    /// Interrupt descriptor table (base and limit only).
    pub idtr: Segment,
    /// Task register.
    pub tr: Segment,
    /// Shadow stack pointer of CPL 0.
    pub pl0_ssp: u64,
    /// Shadow stack pointer of CPL 1.
    pub pl1_ssp: u64,
    /// Shadow stack pointer of CPL 2.
    pub pl2_ssp: u64,
    /// Shadow stack pointer of CPL 3.
    pub pl3_ssp: u64,
    /// User control-flow settings.
    pub u_cet: u64,
    reserved_0x0c8: [u8; 0x2],
    /// Privilege level of this VMSA.
    pub vmpl: u8,
    /// Current privilege level.
    pub cpl: u8,
    reserved_0x0cc: [u8; 0x4],
    /// EFER; `SVME` must be set for the VMSA to run.
    pub efer: u64,
    reserved_0x0d8: [u8; 0x68],
    /// XSS.
    pub xss: u64,
    /// CR4.
    pub cr4: u64,
    /// CR3.
    pub cr3: u64,
    /// CR0.
    pub cr0: u64,
    /// DR7.
    pub dr7: u64,
    /// DR6.
    pub dr6: u64,
    /// RFLAGS.
    pub rflags: u64,
    /// RIP.
    pub rip: u64,
    /// DR0.
    pub dr0: u64,
    /// DR1.
    pub dr1: u64,
    /// DR2.
    pub dr2: u64,
    /// DR3.
    pub dr3: u64,
    /// Address mask of DR0.
    pub dr0_addr_mask: u64,
    /// Address mask of DR1.
    pub dr1_addr_mask: u64,
    /// Address mask of DR2.
    pub dr2_addr_mask: u64,
    /// Address mask of DR3.
    pub dr3_addr_mask: u64,
    reserved_0x1c0: [u8; 0x18],
    /// RSP.
    pub rsp: u64,
    /// Supervisor control-flow settings.
    pub s_cet: u64,
    /// Shadow stack pointer.
    pub ssp: u64,
    /// Interrupt shadow stack table.
    pub isst_addr: u64,
    /// RAX.
    pub rax: u64,
    /// STAR.
    pub star: u64,
    /// LSTAR.
    pub lstar: u64,
    /// CSTAR.
    pub cstar: u64,
    /// SFMASK.
    pub sfmask: u64,
    /// `KERNEL_GS_BASE`.
    pub kernel_gs_base: u64,
    /// SYSENTER CS.
    pub sysenter_cs: u64,
    /// SYSENTER ESP.
    pub sysenter_esp: u64,
    /// SYSENTER EIP.
    pub sysenter_eip: u64,
    /// CR2.
    pub cr2: u64,
    reserved_0x248: [u8; 0x20],
    /// Page attribute table.
    pub g_pat: u64,
    /// Debug control.
    pub dbgctl: u64,
    /// Last branch source.
    pub br_from: u64,
    /// Last branch target.
    pub br_to: u64,
    /// Last exception source.
    pub last_excp_from: u64,
    /// Last exception target.
    pub last_excp_to: u64,
    reserved_0x298: [u8; 0x48],
    /// Speculation control.
    pub spec_ctrl: u64,
    /// Protection key rights.
    pub pkru: u32,
    /// `TSC_AUX`.
    pub tsc_aux: u32,
    /// Guest-owned TSC scale, 8.32 fixed point.
    pub tsc_scale: u64,
    /// Guest-owned TSC offset.
    pub tsc_offset: u64,
    /// Nonce of VMSA register protection.
    pub register_protection_nonce: u64,
    /// RCX.
    pub rcx: u64,
    /// RDX.
    pub rdx: u64,
    /// RBX.
    pub rbx: u64,
    /// Secure AVIC control.
    pub secure_avic_control: u64,
    /// RBP.
    pub rbp: u64,
    /// RSI.
    pub rsi: u64,
    /// RDI.
    pub rdi: u64,
    /// R8.
    pub r8: u64,
    /// R9.
    pub r9: u64,
    /// R10.
    pub r10: u64,
    /// R11.
    pub r11: u64,
    /// R12.
    pub r12: u64,
    /// R13.
    pub r13: u64,
    /// R14.
    pub r14: u64,
    /// R15.
    pub r15: u64,
    reserved_0x380: [u8; 0x10],
    /// First information word of the last automatic exit.
    pub guest_exit_info_1: u64,
    /// Second information word of the last automatic exit.
    pub guest_exit_info_2: u64,
    /// Event that the last automatic exit interrupted.
    pub guest_exit_int_info: u64,
    /// Next instruction of the last automatic exit.
    pub guest_nrip: u64,
    /// [`SevFeatures`].
    pub sev_features: u64,
    /// [`VirtualInterrupt`].
    pub vintr_ctrl: u64,
    /// Code of the last automatic exit; see [`EXIT_CODE_INVALID`] and [`EXIT_CODE_BUSY`].
    pub guest_exit_code: u64,
    /// Virtual top of memory.
    pub virtual_tom: u64,
    /// Translation cache tag, hardware's own.
    pub tlb_id: u64,
    /// Physical CPU tag; zero makes the next entry flush this VMSA's translations.
    pub pcpu_id: u64,
    /// Event to inject, in EVENTINJ form.
    pub event_inj: u64,
    /// XCR0.
    pub xcr0: u64,
    /// Which extended state is valid.
    pub xsave_valid_bitmap: [u8; 16],
    /// x87 data pointer.
    pub x87_dp: u64,
    /// MXCSR.
    pub mxcsr: u32,
    /// x87 tag word.
    pub x87_ftw: u16,
    /// x87 status word.
    pub x87_fsw: u16,
    /// x87 control word.
    pub x87_fcw: u16,
    /// x87 last opcode.
    pub x87_fop: u16,
    /// x87 data segment.
    pub x87_ds: u16,
    /// x87 code segment.
    pub x87_cs: u16,
    /// x87 instruction pointer.
    pub x87_rip: u64,
    /// x87 registers.
    pub fpreg_x87: [u8; 80],
    /// XMM registers.
    pub fpreg_xmm: [u8; 256],
    /// Upper halves of the YMM registers.
    pub fpreg_ymm: [u8; 256],
    /// Last branch records.
    pub lbr_stack: [u8; 256],
    /// Last branch record filter.
    pub lbr_select: u64,
    reserved_0x778: [u8; 0x888],
}

impl Vmsa {
    /// Whether hardware would enter this VMSA at all: EFER.SVME is set.
    #[must_use]
    pub const fn is_runnable(&self) -> bool {
        self.efer & start::EFER_SVME != 0
    }
}

// Offsets on which Linux, the igvm crate, openvmm and coconut agree.
const _: () = {
    assert!(size_of::<Vmsa>() == 0x1000);
    assert!(offset_of!(Vmsa, es) == 0x000);
    assert!(offset_of!(Vmsa, cs) == 0x010);
    assert!(offset_of!(Vmsa, ss) == 0x020);
    assert!(offset_of!(Vmsa, ds) == 0x030);
    assert!(offset_of!(Vmsa, fs) == 0x040);
    assert!(offset_of!(Vmsa, gs) == 0x050);
    assert!(offset_of!(Vmsa, gdtr) == 0x060);
    assert!(offset_of!(Vmsa, ldtr) == 0x070);
    assert!(offset_of!(Vmsa, idtr) == 0x080);
    assert!(offset_of!(Vmsa, tr) == 0x090);
    assert!(offset_of!(Vmsa, pl0_ssp) == 0x0a0);
    assert!(offset_of!(Vmsa, pl1_ssp) == 0x0a8);
    assert!(offset_of!(Vmsa, pl2_ssp) == 0x0b0);
    assert!(offset_of!(Vmsa, pl3_ssp) == 0x0b8);
    assert!(offset_of!(Vmsa, u_cet) == 0x0c0);
    assert!(offset_of!(Vmsa, vmpl) == 0x0ca);
    assert!(offset_of!(Vmsa, cpl) == 0x0cb);
    assert!(offset_of!(Vmsa, efer) == 0x0d0);
    assert!(offset_of!(Vmsa, xss) == 0x140);
    assert!(offset_of!(Vmsa, cr4) == 0x148);
    assert!(offset_of!(Vmsa, cr3) == 0x150);
    assert!(offset_of!(Vmsa, cr0) == 0x158);
    assert!(offset_of!(Vmsa, dr7) == 0x160);
    assert!(offset_of!(Vmsa, dr6) == 0x168);
    assert!(offset_of!(Vmsa, rflags) == 0x170);
    assert!(offset_of!(Vmsa, rip) == 0x178);
    assert!(offset_of!(Vmsa, dr0) == 0x180);
    assert!(offset_of!(Vmsa, dr1) == 0x188);
    assert!(offset_of!(Vmsa, dr2) == 0x190);
    assert!(offset_of!(Vmsa, dr3) == 0x198);
    assert!(offset_of!(Vmsa, dr0_addr_mask) == 0x1a0);
    assert!(offset_of!(Vmsa, dr1_addr_mask) == 0x1a8);
    assert!(offset_of!(Vmsa, dr2_addr_mask) == 0x1b0);
    assert!(offset_of!(Vmsa, dr3_addr_mask) == 0x1b8);
    assert!(offset_of!(Vmsa, rsp) == 0x1d8);
    assert!(offset_of!(Vmsa, s_cet) == 0x1e0);
    assert!(offset_of!(Vmsa, ssp) == 0x1e8);
    assert!(offset_of!(Vmsa, isst_addr) == 0x1f0);
    assert!(offset_of!(Vmsa, rax) == 0x1f8);
    assert!(offset_of!(Vmsa, star) == 0x200);
    assert!(offset_of!(Vmsa, lstar) == 0x208);
    assert!(offset_of!(Vmsa, cstar) == 0x210);
    assert!(offset_of!(Vmsa, sfmask) == 0x218);
    assert!(offset_of!(Vmsa, kernel_gs_base) == 0x220);
    assert!(offset_of!(Vmsa, sysenter_cs) == 0x228);
    assert!(offset_of!(Vmsa, sysenter_esp) == 0x230);
    assert!(offset_of!(Vmsa, sysenter_eip) == 0x238);
    assert!(offset_of!(Vmsa, cr2) == 0x240);
    assert!(offset_of!(Vmsa, g_pat) == 0x268);
    assert!(offset_of!(Vmsa, dbgctl) == 0x270);
    assert!(offset_of!(Vmsa, br_from) == 0x278);
    assert!(offset_of!(Vmsa, br_to) == 0x280);
    assert!(offset_of!(Vmsa, last_excp_from) == 0x288);
    assert!(offset_of!(Vmsa, last_excp_to) == 0x290);
    assert!(offset_of!(Vmsa, spec_ctrl) == 0x2e0);
    assert!(offset_of!(Vmsa, pkru) == 0x2e8);
    assert!(offset_of!(Vmsa, tsc_aux) == 0x2ec);
    assert!(offset_of!(Vmsa, tsc_scale) == 0x2f0);
    assert!(offset_of!(Vmsa, tsc_offset) == 0x2f8);
    assert!(offset_of!(Vmsa, register_protection_nonce) == 0x300);
    assert!(offset_of!(Vmsa, rcx) == 0x308);
    assert!(offset_of!(Vmsa, rdx) == 0x310);
    assert!(offset_of!(Vmsa, rbx) == 0x318);
    assert!(offset_of!(Vmsa, secure_avic_control) == 0x320);
    assert!(offset_of!(Vmsa, rbp) == 0x328);
    assert!(offset_of!(Vmsa, rsi) == 0x330);
    assert!(offset_of!(Vmsa, rdi) == 0x338);
    assert!(offset_of!(Vmsa, r8) == 0x340);
    assert!(offset_of!(Vmsa, r9) == 0x348);
    assert!(offset_of!(Vmsa, r10) == 0x350);
    assert!(offset_of!(Vmsa, r11) == 0x358);
    assert!(offset_of!(Vmsa, r12) == 0x360);
    assert!(offset_of!(Vmsa, r13) == 0x368);
    assert!(offset_of!(Vmsa, r14) == 0x370);
    assert!(offset_of!(Vmsa, r15) == 0x378);
    assert!(offset_of!(Vmsa, guest_exit_info_1) == 0x390);
    assert!(offset_of!(Vmsa, guest_exit_info_2) == 0x398);
    assert!(offset_of!(Vmsa, guest_exit_int_info) == 0x3a0);
    assert!(offset_of!(Vmsa, guest_nrip) == 0x3a8);
    assert!(offset_of!(Vmsa, sev_features) == 0x3b0);
    assert!(offset_of!(Vmsa, vintr_ctrl) == 0x3b8);
    assert!(offset_of!(Vmsa, guest_exit_code) == 0x3c0);
    assert!(offset_of!(Vmsa, virtual_tom) == 0x3c8);
    assert!(offset_of!(Vmsa, tlb_id) == 0x3d0);
    assert!(offset_of!(Vmsa, pcpu_id) == 0x3d8);
    assert!(offset_of!(Vmsa, event_inj) == 0x3e0);
    assert!(offset_of!(Vmsa, xcr0) == 0x3e8);
    assert!(offset_of!(Vmsa, xsave_valid_bitmap) == 0x3f0);
    assert!(offset_of!(Vmsa, x87_dp) == 0x400);
    assert!(offset_of!(Vmsa, mxcsr) == 0x408);
    assert!(offset_of!(Vmsa, x87_ftw) == 0x40c);
    assert!(offset_of!(Vmsa, x87_fsw) == 0x40e);
    assert!(offset_of!(Vmsa, x87_fcw) == 0x410);
    assert!(offset_of!(Vmsa, x87_fop) == 0x412);
    assert!(offset_of!(Vmsa, x87_ds) == 0x414);
    assert!(offset_of!(Vmsa, x87_cs) == 0x416);
    assert!(offset_of!(Vmsa, x87_rip) == 0x418);
    assert!(offset_of!(Vmsa, fpreg_x87) == 0x420);
    assert!(offset_of!(Vmsa, fpreg_xmm) == 0x470);
    assert!(offset_of!(Vmsa, fpreg_ymm) == 0x570);
    assert!(offset_of!(Vmsa, lbr_stack) == 0x670);
    assert!(offset_of!(Vmsa, lbr_select) == 0x770);
};
