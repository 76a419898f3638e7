//! Exits from the guest, by exit code. Source: AMD APM volume 2, appendix C.

mod control;
mod events;
mod exception;
pub mod intercepts;
mod invalid_opcode;
mod memory;
mod msr;
mod vmgexit;

use crate::finish::Verdict;
use crate::processor::Processor;
use crate::world::Guard;
use crate::{instructions, vmcb};
use core::sync::atomic::{AtomicBool, Ordering};
use model::vcpu::Run;
use snp_abi::cpuid::{CpuidQuery, CpuidRegisters};
use snp_abi::rmp::Vmpl;

pub use exception::deliver_vc;
pub use memory::VC_PAGE_NOT_VALIDATED;

const CR0_WRITE: u64 = 0x10;
const CR8_WRITE: u64 = 0x18;
const INVALID_OPCODE: u64 = 0x46;
const INTERRUPT: u64 = 0x60;
const NMI: u64 = 0x61;
const VIRTUAL_INTERRUPT: u64 = 0x64;
const CPUID: u64 = 0x72;
const INVD: u64 = 0x76;
const HLT: u64 = 0x78;
const IO: u64 = 0x7b;
const MSR: u64 = 0x7c;
const SHUTDOWN: u64 = 0x7f;
const VMRUN: u64 = 0x80;
const VMMCALL: u64 = 0x81;
const SKINIT: u64 = 0x86;
const WBINVD: u64 = 0x89;
const XSETBV: u64 = 0x8d;
const NESTED_PAGE_FAULT: u64 = 0x400;

/// Event injection: #UD and #GP(0), type exception.
const INJECT_UD: u64 = 1 << 31 | 3 << 8 | 6;
const INJECT_GP: u64 = 1 << 31 | 1 << 11 | 3 << 8 | 13;

/// Leaf 1 ECX: x2APIC.
const FEATURE_X2APIC: u32 = 1 << 21;
static HIDE_X2APIC: AtomicBool = AtomicBool::new(false);
static SHOW_INVLPGB: AtomicBool = AtomicBool::new(false);

/// Hides x2APIC mode from the guest. Where instructions are counted, QEMU 10.0 ends itself ("Bad icount read") when the APIC's timer
/// is reached by RDMSR or WRMSR; its registers in memory do not have that fault.
pub fn hide_x2apic() {
    HIDE_X2APIC.store(true, Ordering::SeqCst);
}

/// Shows INVLPGB in CPUID; whether it executes is another question.
pub fn show_invlpgb() {
    SHOW_INVLPGB.store(true, Ordering::SeqCst);
}

/// CPUID as QEMU's processor answers it.
pub fn raw_cpuid(query: CpuidQuery) -> CpuidRegisters {
    let mut raw = instructions::cpuid(query.leaf, query.subleaf);
    if query.leaf == 1 && HIDE_X2APIC.load(Ordering::SeqCst) {
        raw.ecx &= !FEATURE_X2APIC;
    }
    let mut registers = CpuidRegisters { eax: raw.eax, ebx: raw.ebx, ecx: raw.ecx, edx: raw.edx };
    model::cpuid::show_invlpgb(query, SHOW_INVLPGB.load(Ordering::SeqCst), &mut registers);
    registers
}

/// Handles one exit.
pub fn handle(cpu: &mut Processor, world: &mut Guard) {
    match cpu.vmcb.read(vmcb::EXIT_CODE) {
        // Noted by the stub; or another processor wanted this one out.
        INTERRUPT | NMI => {}
        // The guest takes interrupts again: the next entry injects the one that waits.
        VIRTUAL_INTERRUPT => {}
        CPUID => deliver_vc(cpu, world, CPUID),
        IO => deliver_vc(cpu, world, IO),
        INVD => deliver_vc(cpu, world, INVD),
        WBINVD => deliver_vc(cpu, world, WBINVD),
        NESTED_PAGE_FAULT => memory::fault(cpu, world),
        VMMCALL => vmmcall(cpu, world),
        MSR => msr::access(cpu, world),
        INVALID_OPCODE => invalid_opcode::handle(cpu, world),
        CR0_WRITE => control::write_cr0(cpu, world),
        CR8_WRITE => control::write_cr8(cpu, world),
        XSETBV => control::write_xcr0(cpu),
        HLT => halt(cpu, world),
        VMRUN | 0x82..=SKINIT => inject_ud(cpu),
        SHUTDOWN if world.attack_stopped(cpu.vcpu, "shut down") => {}
        SHUTDOWN => {
            cpu.dump("triple fault");
            if cpu.vmpl == Vmpl::Vmpl0 || world.settings.resets.is_none() {
                world.end(Verdict::Dead);
            }
            world.reset(cpu.vcpu, "a triple fault");
        }
        code => {
            cpu.dump("exit that the monitor does not expect");
            world.dead(cpu.vcpu, format_args!("unexpected exit {code:#x}"))
        }
    }
}

/// VMGEXIT reaches QEMU as VMMCALL: the prefix is ignored, so the bytes tell them apart.
fn vmmcall(cpu: &mut Processor, world: &mut Guard) {
    match invalid_opcode::fetch::<4>(cpu, world) {
        Some(snp_abi::ghcb::VMGEXIT_INSTRUCTION) => vmgexit::handle(cpu, world),
        _ => deliver_vc(cpu, world, VMMCALL),
    }
}

fn halt(cpu: &mut Processor, world: &mut Guard) {
    cpu.skip(1);
    let vcpu = cpu.vcpu;
    if !world.attack_stopped(vcpu, "halted") {
        world.model.vcpus[vcpu].set_run(Run::Halted);
    }
}

/// Injects #UD at the instruction.
fn inject_ud(cpu: &mut Processor) {
    cpu.vmcb.write(vmcb::EVENT_INJECTION, INJECT_UD);
}

/// Injects #GP(0) at the instruction.
fn inject_gp(cpu: &mut Processor) {
    cpu.vmcb.write(vmcb::EVENT_INJECTION, INJECT_GP);
}
