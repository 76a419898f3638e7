//! #VC in VMPL0: one instruction that an SNP guest cannot execute by itself is carried out, and without the host.
//!
//! CPUID is executed by code that is not ours, and answered from the page that the security processor checked. Nothing else is served:
//! what VMPL0 wants from the host it asks for by itself, where the answer is judged, and a host that has an instruction of VMPL0's
//! intercepted must not choose its result. Source: GHCB specification 2.4.

use crate::cpuid;
use crate::exceptions::TrapFrame;
use crate::instructions;
use snp_abi::ghcb::event::ExitCode;

const CPUID: [u8; 2] = [0x0f, 0xa2];

/// Carries out the instruction that caused #VC and steps over it; `false` for anything that is not expected.
pub(crate) fn emulate(frame: &mut TrapFrame) -> bool {
    if frame.error_code != u64::from(ExitCode::Cpuid.to_wire()) || instruction(frame) != CPUID {
        return false;
    }
    let result = cpuid::query(frame.rax as u32, frame.rcx as u32);
    frame.rax = result.eax.into();
    frame.rbx = result.ebx.into();
    frame.rcx = result.ecx.into();
    frame.rdx = result.edx.into();
    frame.rip += CPUID.len() as u64;
    true
}

/// The first bytes of the instruction: they lie in the kernel's own text, or the firmware is lost anyway.
fn instruction(frame: &TrapFrame) -> [u8; 2] {
    let mut bytes = [0; 2];
    // SAFETY: RIP points at an instruction that was just fetched; more text follows every instruction (link.ld pads it).
    unsafe { instructions::copy(frame.rip, bytes.as_mut_ptr() as u64, bytes.len()) };
    bytes
}
