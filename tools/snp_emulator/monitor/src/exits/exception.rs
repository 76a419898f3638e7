//! Delivers #VC the way the processor would: QEMU knows no error code for vector 29, so the
//! frame is built here, from the guest's own IDT, TSS and stacks.
//!
//! Source: AMD APM volume 2, 8.9 (long mode) and 8.7 (legacy gates).

use crate::processor::Processor;
use crate::translate;
use crate::vmcb;
use crate::world::Guard;
use model::Fault;
use snp_abi::ghcb::event::VC_VECTOR;
use snp_abi::rmp::Vmpl;

const RFLAGS_TRAP: u64 = 1 << 8;
const RFLAGS_INTERRUPT: u64 = 1 << 9;
const RFLAGS_NESTED: u64 = 1 << 14;
const RFLAGS_RESUME: u64 = 1 << 16;
const CR0_PROTECTED: u64 = 1;
/// Gate: present bit and the low bit of the type, which is 1 for a trap gate.
const GATE_PRESENT: u64 = 1 << 47;
const GATE_TRAP: u64 = 1 << 40;
const CODE_LONG: u64 = 1 << 9;
/// Attributes of a 64-bit code segment of ring 0, as the VMCB packs them.
const LONG_CODE_ATTRIBUTES: u64 = 0xa9b;

/// A gate of the guest's IDT, of either form.
struct Gate {
    selector: u64,
    offset: u64,
    stack: u64,
    trap: bool,
}

/// Delivers #VC with this error code at the current instruction; what cannot be delivered is a violation.
pub fn deliver_vc(cpu: &mut Processor, world: &mut Guard, code: u64) {
    let delivered = if translate::long_mode(&cpu.vmcb) {
        deliver_long(cpu, world, code)
    } else {
        deliver_legacy(cpu, world, code)
    };
    cpu.vmcb.write(vmcb::INTERRUPT_SHADOW, 0);
    if let Err(why) = delivered {
        if world.attack_stopped(cpu.vcpu, why) {
            return;
        }
        cpu.dump("#VC without handler");
        if world.attack.is_on() && cpu.vmpl == Vmpl::Vmpl0 {
            // The host asked for it, and gets the VM's end.
            world.dead(cpu.vcpu, format_args!("#VC({code:#x}): {why}"));
        }
        let actor = world.model.actor(cpu.vcpu);
        world.model.report(actor, Fault::NoHandler { code, why });
        // Not even a lenient machine can go on: the processor would triple-fault.
        world.judge();
        world.dead(cpu.vcpu, format_args!("#VC({code:#x}): {why}"));
    }
}

fn read_u64(cpu: &Processor, world: &Guard, linear: u64) -> Option<u64> {
    let mut bytes = [0; 8];
    translate::read(&cpu.vmcb, &world.memory, linear, &mut bytes).then(|| u64::from_le_bytes(bytes))
}

fn deliver_long(cpu: &mut Processor, world: &mut Guard, code: u64) -> Result<(), &'static str> {
    let gate = long_gate(cpu, world)?;
    let cpl = cpu.vmcb.cpl();
    let old_stack = cpu.vmcb.read(vmcb::RSP);
    let task_state = cpu.vmcb.read(vmcb::TR_BASE);
    let stack = match (gate.stack, cpl) {
        (0, 0) => Some(old_stack),
        (0, _) => read_u64(cpu, world, task_state + 4),
        (number, _) => read_u64(cpu, world, task_state + 0x24 + (number - 1) * 8),
    };
    let stack = stack.ok_or("the TSS is not mapped")? & !15;
    let selector = |field| cpu.vmcb.read(field) & 0xffff;
    let frame = [
        code,
        cpu.vmcb.read(vmcb::RIP),
        selector(vmcb::CS),
        cpu.vmcb.read(vmcb::RFLAGS),
        old_stack,
        selector(vmcb::SS),
    ];
    let top = stack.wrapping_sub(48);
    let bytes = frame.map(u64::to_le_bytes);
    push(cpu, world, top, bytes.as_flattened())?;
    cpu.vmcb.write(vmcb::RSP, top);
    cpu.vmcb.write(vmcb::RIP, gate.offset);
    enter_handler(cpu, &gate);
    cpu.vmcb.write(vmcb::CS, gate.selector | LONG_CODE_ATTRIBUTES << 16 | 0xffff_ffff << 32);
    cpu.vmcb.write(vmcb::CS_BASE, 0);
    if cpl != 0 {
        cpu.vmcb.write(vmcb::SS, 0);
        cpu.vmcb.set_cpl(0);
    }
    Ok(())
}

fn long_gate(cpu: &Processor, world: &Guard) -> Result<Gate, &'static str> {
    let at = u64::from(VC_VECTOR) * 16;
    if idt_limit(cpu) < at + 15 {
        return Err("the IDT is too short");
    }
    let base = cpu.vmcb.read(vmcb::IDTR_BASE).wrapping_add(at);
    let low = read_u64(cpu, world, base).ok_or("the IDT is not mapped")?;
    let high = read_u64(cpu, world, base + 8).ok_or("the IDT is not mapped")?;
    let gate = gate(low).ok_or("the gate is not present")?;
    Ok(Gate { offset: gate.offset | high << 32, stack: low >> 32 & 7, ..gate })
}

fn deliver_legacy(cpu: &mut Processor, world: &mut Guard, code: u64) -> Result<(), &'static str> {
    if cpu.vmcb.read(vmcb::CR0) & CR0_PROTECTED == 0 {
        // What starts in real mode has no handler for #VC; where it gets one all the same, somebody else made it.
        return if world.attack.is_on() { deliver_real(cpu, world) } else { Err("the vCPU is in real mode") };
    }
    if cpu.vmcb.cpl() != 0 {
        return Err("the vCPU is in legacy mode at CPL 3");
    }
    let at = u64::from(VC_VECTOR) * 8;
    if idt_limit(cpu) < at + 7 {
        return Err("the IDT is too short");
    }
    let base = cpu.vmcb.read(vmcb::IDTR_BASE).wrapping_add(at) & 0xffff_ffff;
    let gate =
        gate(read_u64(cpu, world, base).ok_or("the IDT is not mapped")?).ok_or("the gate is not present")?;
    let selector = cpu.vmcb.read(vmcb::CS) & 0xffff;
    let frame =
        [code, cpu.vmcb.read(vmcb::RIP), selector, cpu.vmcb.read(vmcb::RFLAGS)].map(|word| word as u32);
    let top = (cpu.vmcb.read(vmcb::RSP) as u32).wrapping_sub(16);
    let linear = u64::from(top.wrapping_add(cpu.vmcb.read(vmcb::SS_BASE) as u32));
    let bytes = frame.map(u32::to_le_bytes);
    push(cpu, world, linear, bytes.as_flattened())?;
    cpu.vmcb.write(vmcb::RSP, top.into());
    cpu.vmcb.write(vmcb::RIP, gate.offset & 0xffff_ffff);
    enter_handler(cpu, &gate);
    let segment = cpu.vmcb.read(vmcb::CS) & !0xffff & !(CODE_LONG << 16);
    cpu.vmcb.write(vmcb::CS, segment | gate.selector);
    Ok(())
}

/// By the vector table of real mode: code segment and offset, no error code (APM volume 2, 8.6).
fn deliver_real(cpu: &mut Processor, world: &mut Guard) -> Result<(), &'static str> {
    let at = u64::from(VC_VECTOR) * 4;
    let vector = cpu.vmcb.read(vmcb::IDTR_BASE).wrapping_add(at);
    let actor = world.model.actor(cpu.vcpu);
    let mut entry = [0; 4];
    if idt_limit(cpu) < at + 3
        || !world.model.allows(actor, vector, false)
        || !translate::read(&cpu.vmcb, &world.memory, vector, &mut entry)
    {
        return Err("shuts down: it has no vector table");
    }
    let [offset_low, offset_high, segment_low, segment_high] = entry;
    let (offset, segment) =
        (u16::from_le_bytes([offset_low, offset_high]), u16::from_le_bytes([segment_low, segment_high]));
    let frame = [cpu.vmcb.read(vmcb::RIP), cpu.vmcb.read(vmcb::CS), cpu.vmcb.read(vmcb::RFLAGS)];
    let bytes = frame.map(|word| (word as u16).to_le_bytes());
    let top = (cpu.vmcb.read(vmcb::RSP) as u16).wrapping_sub(6);
    push(cpu, world, u64::from(top).wrapping_add(cpu.vmcb.read(vmcb::SS_BASE)), bytes.as_flattened())?;
    cpu.vmcb.write(vmcb::RSP, top.into());
    cpu.vmcb.write(vmcb::RIP, offset.into());
    cpu.vmcb.write(vmcb::RFLAGS, cpu.vmcb.read(vmcb::RFLAGS) & !(RFLAGS_TRAP | RFLAGS_INTERRUPT));
    cpu.vmcb.write(vmcb::CS, cpu.vmcb.read(vmcb::CS) & !0xffff | u64::from(segment));
    cpu.vmcb.write(vmcb::CS_BASE, u64::from(segment) << 4);
    Ok(())
}

fn idt_limit(cpu: &Processor) -> u64 {
    cpu.vmcb.read(vmcb::IDTR_LIMIT) >> 32 & 0xffff
}

fn gate(low: u64) -> Option<Gate> {
    (low & GATE_PRESENT != 0).then_some(Gate {
        selector: low >> 16 & 0xffff,
        offset: low & 0xffff | (low >> 48) << 16,
        stack: 0,
        trap: low & GATE_TRAP != 0,
    })
}

fn enter_handler(cpu: &mut Processor, gate: &Gate) {
    let mut cleared = RFLAGS_TRAP | RFLAGS_NESTED | RFLAGS_RESUME;
    if !gate.trap {
        cleared |= RFLAGS_INTERRUPT;
    }
    cpu.vmcb.write(vmcb::RFLAGS, cpu.vmcb.read(vmcb::RFLAGS) & !cleared);
}

/// Writes the frame, where the VMPL itself may write.
fn push(cpu: &Processor, world: &Guard, linear: u64, bytes: &[u8]) -> Result<(), &'static str> {
    let actor = world.model.actor(cpu.vcpu);
    for end in [linear, linear.wrapping_add(bytes.len() as u64 - 1)] {
        let place = translate::translate(&cpu.vmcb, &world.memory, end).ok_or("the stack is not mapped")?;
        if place.private && !world.model.allows(actor, place.address, true) {
            return Err("the stack is not memory that this VMPL can write");
        }
    }
    if !translate::write(&cpu.vmcb, &world.memory, linear, bytes) {
        return Err("the stack cannot be written");
    }
    Ok(())
}
