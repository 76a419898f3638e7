//! RDMSR and WRMSR that are not the guest's own: registers of the VMSA, the GHCB MSR, and #VC for the rest.

use super::{deliver_vc, inject_gp, invalid_opcode, vmgexit};
use crate::attack;
use crate::processor::Processor;
use crate::vmcb;
use crate::world::Guard;
use core::mem::offset_of;
use snp_abi::ghcb::VMGEXIT_INSTRUCTION;
use snp_abi::msr::{self, SevStatus};
use snp_abi::vmsa::{SevFeatures, Vmsa};

const VC_MSR: u64 = 0x7c;
const SPECULATION_CONTROL: u32 = 0x48;
const PREDICTION_COMMAND: u32 = 0x49;
const DEBUG_CONTROL: u32 = 0x1d9;

/// Registers that hardware keeps in the VMSA and switches with it, but QEMU does not.
const IN_VMSA: &[(u32, usize)] = &[
    (msr::PAT, offset_of!(Vmsa, g_pat)),
    (msr::XSS, offset_of!(Vmsa, xss)),
    (SPECULATION_CONTROL, offset_of!(Vmsa, spec_ctrl)),
    (DEBUG_CONTROL, offset_of!(Vmsa, dbgctl)),
];

/// Handles an MSR exit.
pub fn access(cpu: &mut Processor, world: &mut Guard) {
    let register = cpu.registers.rcx as u32;
    let write = cpu.vmcb.read(vmcb::EXIT_INFO_1) == 1;
    let value = cpu.vmcb.read(vmcb::RAX) & 0xffff_ffff | cpu.registers.rdx << 32;
    let vcpu = cpu.vcpu;
    if !write && attack::read_msr(cpu, world, register) {
        return;
    }
    match (register, write) {
        (msr::GHCB, true) => world.model.vcpus[vcpu].channel().msr = value,
        (msr::GHCB, false) => give(cpu, world.model.vcpus[vcpu].channel().msr),
        (msr::SEV_STATUS, false) => {
            let features = world.vmsa_word(vcpu, offset_of!(Vmsa, sev_features));
            give(cpu, SevStatus::of_snp_guest(SevFeatures::from_bits_retain(features)).bits());
        }
        (msr::SEV_STATUS, true) => return inject_gp(cpu),
        (PREDICTION_COMMAND, true) => {}
        _ => match IN_VMSA.iter().find(|(number, _)| *number == register) {
            Some((_, offset)) if write => cpu.set_save_word(*offset, world, value),
            Some((_, offset)) => give(cpu, world.vmsa_word(vcpu, *offset)),
            None => return deliver_vc(cpu, world, VC_MSR),
        },
    }
    cpu.skip(2);
    // Guests write the MSR and leave with the very next instruction: one exit serves for both. The instruction
    // counts, as it would if the guest ran it.
    if (register, write) == (msr::GHCB, true)
        && invalid_opcode::fetch(cpu, world) == Some(VMGEXIT_INSTRUCTION)
    {
        let vmpl = cpu.vmpl;
        world.clock.leave(vcpu, vmpl, 1);
        vmgexit::handle(cpu, world);
    }
}

fn give(cpu: &mut Processor, value: u64) {
    cpu.vmcb.write(vmcb::RAX, value & 0xffff_ffff);
    cpu.registers.rdx = value >> 32;
}
