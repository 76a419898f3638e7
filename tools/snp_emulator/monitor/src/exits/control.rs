//! Control registers that the monitor has to watch.

use super::{inject_gp, inject_ud, invalid_opcode};
use crate::instructions;
use crate::processor::Processor;
use crate::vector_state;
use crate::vmcb;
use crate::world::Guard;

const CR0_PROTECTED: u64 = 1;
const CR0_TASK_SWITCHED: u64 = 1 << 3;
const CR0_EXTENSION: u64 = 1 << 4;
const CR0_PAGING: u64 = 1 << 31;
const EFER_LONG_ENABLE: u64 = 1 << 8;
const EFER_LONG_ACTIVE: u64 = 1 << 10;
const CR4_PAE: u64 = 1 << 5;

/// A general register by its number in an instruction; RSP and RAX live in the VMCB.
fn general(cpu: &Processor, number: u8) -> u64 {
    let r = &cpu.registers;
    match number {
        0 => cpu.vmcb.read(vmcb::RAX),
        1 => r.rcx,
        2 => r.rdx,
        3 => r.rbx,
        4 => cpu.vmcb.read(vmcb::RSP),
        5 => r.rbp,
        6 => r.rsi,
        7 => r.rdi,
        8 => r.r8,
        9 => r.r9,
        10 => r.r10,
        11 => r.r11,
        12 => r.r12,
        13 => r.r13,
        14 => r.r14,
        _ => r.r15,
    }
}

/// MOV CR0, LMSW and CLTS: paging decides between the two sets of nested tables.
pub fn write_cr0(cpu: &mut Processor, world: &mut Guard) {
    let Some(bytes) = invalid_opcode::fetch::<4>(cpu, world) else { return inject_ud(cpu) };
    let (rex, bytes) = if bytes[0] & 0xf0 == 0x40 && crate::translate::long_mode(&cpu.vmcb) {
        (bytes[0] & 0xf, &bytes[1..])
    } else {
        (0, &bytes[..3])
    };
    let old = cpu.vmcb.read(vmcb::CR0);
    let prefix = u64::from(rex != 0);
    let register = |modrm: u8| general(cpu, modrm & 7 | (rex & 1) << 3);
    let (new, length) = match (bytes[0], bytes[1], bytes[2]) {
        (0x0f, 0x22, modrm) => (register(modrm), 3 + prefix),
        (0x0f, 0x06, _) => (old & !CR0_TASK_SWITCHED, 2 + prefix),
        // LMSW with a register operand changes bits 3:0 and cannot clear PE.
        (0x0f, 0x01, modrm) if modrm >= 0xf0 && modrm & 0x38 == 0x30 => {
            (old & !0xe | register(modrm) & 0xf | old & CR0_PROTECTED, 3 + prefix)
        }
        _ => {
            cpu.dump("CR0 write that the monitor cannot decode");
            world.dead(cpu.vcpu, format_args!("undecoded CR0 write {bytes:x?}"));
        }
    };
    apply_cr0(cpu, old, new | CR0_EXTENSION, length);
}

fn apply_cr0(cpu: &mut Processor, old: u64, new: u64, length: u64) {
    let efer = cpu.vmcb.read(vmcb::EFER);
    let turns_on = new & !old & CR0_PAGING != 0;
    let turns_off = old & !new & CR0_PAGING != 0;
    let long = efer & EFER_LONG_ENABLE != 0;
    if new & CR0_PAGING != 0 && new & CR0_PROTECTED == 0
        || turns_on && long && cpu.vmcb.read(vmcb::CR4) & CR4_PAE == 0
    {
        return inject_gp(cpu);
    }
    if turns_on && long {
        cpu.vmcb.write(vmcb::EFER, efer | EFER_LONG_ACTIVE);
    } else if turns_off {
        cpu.vmcb.write(vmcb::EFER, efer & !EFER_LONG_ACTIVE);
    }
    cpu.vmcb.write(vmcb::CR0, new);
    cpu.skip(length);
}

/// MOV to CR8: it goes to the real APIC. Intercepted because QEMU 10.0 can abort on it while a virtual
/// interrupt is pending.
pub fn write_cr8(cpu: &mut Processor, world: &mut Guard) {
    // 44 0F 22 /r, or F0 0F 22 /0 outside of long mode.
    let Some(bytes) = invalid_opcode::fetch::<4>(cpu, world) else { return inject_ud(cpu) };
    let high = if bytes[0] & 0xf0 == 0x40 { (bytes[0] & 1) << 3 } else { 0 };
    let value = general(cpu, bytes[3] & 7 | high);
    if value > 0xf {
        return inject_gp(cpu);
    }
    cpu.set_task_priority(value);
    cpu.skip(4);
}

/// XSETBV: QEMU's processor has the register, the monitor checks the value.
pub fn write_xcr0(cpu: &mut Processor) {
    let value = cpu.vmcb.read(vmcb::RAX) & 0xffff_ffff | cpu.registers.rdx << 32;
    let valid =
        value & 1 != 0 && value & !vector_state::COMPONENTS == 0 && (value & 4 == 0 || value & 2 != 0);
    if cpu.registers.rcx as u32 != 0 || !valid || cpu.vmcb.cpl() != 0 {
        return inject_gp(cpu);
    }
    // SAFETY: checked above against what the processor supports.
    unsafe { instructions::write_xcr0(value) };
    cpu.skip(3);
}
