//! #VC in VMPL0: the instructions that an SNP guest cannot execute by itself, carried out with the host's help.
//!
//! The kernel's own code asks the host directly; this is for code that it did not write. CPUID is
//! answered from the page that the security processor checked, never by the host. Source: GHCB specification 2.4.

use crate::cpu;
use crate::cpuid;
use crate::exceptions::TrapFrame;
use crate::instructions;
use snp_abi::ghcb::event::{ExitCode, IoSize};

const OPERAND_SIZE_PREFIX: u8 = 0x66;
const CPUID: [u8; 2] = [0x0f, 0xa2];
const RDMSR: [u8; 2] = [0x0f, 0x32];
const WRMSR: [u8; 2] = [0x0f, 0x30];
const RDTSC: [u8; 2] = [0x0f, 0x31];

/// Carries out the instruction that caused #VC and steps over it; `false` for anything that is not expected.
pub(crate) fn emulate(frame: &mut TrapFrame) -> bool {
    let Ok(code) = u32::try_from(frame.error_code) else { return false };
    let bytes = instruction(frame);
    let length = match ExitCode::from_wire(code) {
        Some(ExitCode::Cpuid) if bytes.starts_with(&CPUID) => cpuid_instruction(frame),
        Some(ExitCode::Msr) if bytes.starts_with(&RDMSR) => read_msr(frame),
        Some(ExitCode::Msr) if bytes.starts_with(&WRMSR) => write_msr(frame),
        Some(ExitCode::Rdtsc) if bytes.starts_with(&RDTSC) => None,
        Some(ExitCode::Ioio) => io(frame, bytes),
        _ => None,
    };
    match length {
        Some(length) => {
            frame.rip += length;
            true
        }
        None => false,
    }
}

/// The first bytes of the instruction: they lie in the kernel's own text, or the firmware is lost anyway.
fn instruction(frame: &TrapFrame) -> [u8; 3] {
    let mut bytes = [0; 3];
    // SAFETY: RIP points at an instruction that was just fetched; two more bytes of text follow every
    // instruction of interest (link.ld pads the text).
    unsafe { instructions::copy(frame.rip, bytes.as_mut_ptr() as u64, bytes.len()) };
    bytes
}

fn cpuid_instruction(frame: &mut TrapFrame) -> Option<u64> {
    let result = cpuid::query(frame.rax as u32, frame.rcx as u32);
    frame.rax = result.eax.into();
    frame.rbx = result.ebx.into();
    frame.rcx = result.ecx.into();
    frame.rdx = result.edx.into();
    Some(2)
}

fn read_msr(frame: &mut TrapFrame) -> Option<u64> {
    let value = cpu::with_ghcb(|ghcb| ghcb.read_msr(frame.rcx as u32))?.ok()?;
    frame.rax = value & 0xffff_ffff;
    frame.rdx = value >> 32;
    Some(2)
}

fn write_msr(frame: &mut TrapFrame) -> Option<u64> {
    let value = frame.rax & 0xffff_ffff | frame.rdx << 32;
    cpu::with_ghcb(|ghcb| ghcb.write_msr(frame.rcx as u32, value))?.ok()?;
    Some(2)
}

/// IN and OUT with the port in DX or in the instruction; string forms are not used by anything.
fn io(frame: &mut TrapFrame, bytes: [u8; 3]) -> Option<u64> {
    let (prefix, opcode, immediate) = match bytes {
        [OPERAND_SIZE_PREFIX, opcode, immediate] => (1, opcode, immediate),
        [opcode, immediate, _] => (0, opcode, immediate),
    };
    let (port, length) = match opcode {
        0xe4..=0xe7 => (u16::from(immediate), 2),
        0xec..=0xef => (frame.rdx as u16, 1),
        _ => return None,
    };
    let size = match (opcode & 1, prefix) {
        (0, _) => IoSize::Byte,
        (_, 1) => IoSize::Word,
        _ => IoSize::Dword,
    };
    if opcode & 2 == 0 {
        let value = cpu::with_ghcb(|ghcb| ghcb.input(port, size))?.ok()?;
        let mask = u64::MAX >> (64 - 8 * u32::from(size.bytes()));
        // A 32-bit IN clears the upper half of RAX, the others keep the rest.
        let kept = if size == IoSize::Dword { 0 } else { frame.rax & !mask };
        frame.rax = kept | u64::from(value) & mask;
    } else {
        let value = frame.rax as u32;
        cpu::with_ghcb(|ghcb| ghcb.output(port, size, value))?.ok()?;
    }
    Some(length + prefix)
}
