//! Instructions that QEMU does not know: PVALIDATE, RMPADJUST, RMPQUERY, INVLPGB, TLBSYNC.
//! Everything else is the guest's own #UD.

use super::{VC_PAGE_NOT_VALIDATED, deliver_vc, inject_gp, inject_ud};
use crate::processor::Processor;
use crate::settings::Invlpgb;
use crate::translate;
use crate::vmcb;
use crate::world::Guard;
use model::instructions::{Completion, Operand};
use model::machine::Changed;
use snp_abi::address::PageSize;
use snp_abi::rmp::{PVALIDATE_INSTRUCTION, RMPADJUST_INSTRUCTION, RMPQUERY_INSTRUCTION, RmpStatus, Vmpl};

const INVLPGB: [u8; 3] = [0x0f, 0x01, 0xfe];
const TLBSYNC: [u8; 3] = [0x0f, 0x01, 0xff];
const RFLAGS_CARRY: u64 = 1;
const RFLAGS_ZERO: u64 = 1 << 6;
/// CF, PF, AF, ZF, SF, OF.
const RFLAGS_ARITHMETIC: u64 = 0x8d5;
/// INVLPGB RAX: which of virtual address, PCID and ASID limit the flush, and whether global entries go too.
const INVLPGB_BY_ADDRESS: u64 = 1;
const INVLPGB_BY_PCID: u64 = 1 << 1;
const INVLPGB_BY_ASID: u64 = 1 << 2;
const INVLPGB_GLOBAL: u64 = 1 << 3;
/// RAX 11:6; ECX 30:16; EDX 31:28; and the ASID in EDX 15:0.
const INVLPGB_RESERVED: u64 = 0xfc0;
const INVLPGB_COUNT_RESERVED: u32 = 0x7fff_0000;
const INVLPGB_TARGET_RESERVED: u32 = 0xf000_0000;
const INVLPGB_TARGET_ASID: u32 = 0xffff;

/// Instruction bytes at RIP; none if they cannot be read.
pub fn fetch<const LENGTH: usize>(cpu: &Processor, world: &Guard) -> Option<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    let rip = cpu.vmcb.read(vmcb::RIP);
    let linear = if translate::long_mode(&cpu.vmcb) {
        rip
    } else {
        rip.wrapping_add(cpu.vmcb.read(vmcb::CS_BASE)) & 0xffff_ffff
    };
    translate::read(&cpu.vmcb, &world.memory, linear, &mut bytes).then_some(bytes)
}

/// Handles a #UD exit.
pub fn handle(cpu: &mut Processor, world: &mut Guard) {
    match fetch::<3>(cpu, world) {
        Some(INVLPGB | TLBSYNC) if world.settings.invlpgb == Invlpgb::Missing => return inject_ud(cpu),
        Some(INVLPGB) => return invalidate(cpu, world),
        Some(TLBSYNC) => return synchronise(cpu, world),
        _ => {}
    }
    let execute = match fetch::<4>(cpu, world) {
        Some(PVALIDATE_INSTRUCTION) => pvalidate,
        Some(RMPADJUST_INSTRUCTION) => rmpadjust,
        Some(RMPQUERY_INSTRUCTION) => rmpquery,
        _ => return inject_ud(cpu),
    };
    if cpu.vmcb.cpl() != 0 {
        return inject_gp(cpu);
    }
    execute(cpu, world);
}

/// The operand in RAX and RCX.
fn operand(cpu: &Processor, world: &Guard) -> Result<Operand, RmpStatus> {
    let size = match cpu.registers.rcx {
        0 => PageSize::Small,
        1 => PageSize::Large,
        _ => return Err(RmpStatus::FailInput),
    };
    sized_operand(cpu, world, size)
}

/// The page that RAX points to, for an operand of this size.
fn sized_operand(cpu: &Processor, world: &Guard, size: PageSize) -> Result<Operand, RmpStatus> {
    let mut linear = cpu.vmcb.read(vmcb::RAX);
    if !translate::long_mode(&cpu.vmcb) {
        linear &= 0xffff_ffff;
    }
    if !linear.is_multiple_of(size.bytes()) {
        return Err(RmpStatus::FailInput);
    }
    let place = translate::translate(&cpu.vmcb, &world.memory, linear).ok_or(RmpStatus::FailInput)?;
    if size == PageSize::Large && place.page_bytes < size.bytes() && translate::paging(&cpu.vmcb) {
        return Err(RmpStatus::FailInput);
    }
    Ok(Operand { address: place.address, size, private: place.private })
}

fn finish(cpu: &mut Processor, world: &mut Guard, completion: Completion) {
    let Completion { status, carry, changed } = completion;
    world.remove(cpu.vcpu, changed);
    cpu.vmcb.write(vmcb::RAX, status.to_wire().into());
    let mut flags = cpu.vmcb.read(vmcb::RFLAGS) & !RFLAGS_ARITHMETIC;
    if carry {
        flags |= RFLAGS_CARRY;
    }
    if status == RmpStatus::Success {
        flags |= RFLAGS_ZERO;
    }
    cpu.vmcb.write(vmcb::RFLAGS, flags);
    cpu.skip(4);
}

fn failed(status: RmpStatus) -> Completion {
    Completion { status, carry: false, changed: None }
}

fn pvalidate(cpu: &mut Processor, world: &mut Guard) {
    let completion = match (operand(cpu, world), cpu.registers.rdx as u32) {
        (Ok(operand), validate @ 0..=1) => {
            let actor = world.model.actor(cpu.vcpu);
            let Operand { address, .. } = operand;
            let was_shared = world.model.host_may_access(address, 1);
            let completion = {
                let world = &mut **world;
                world.model.pvalidate(actor, operand, validate == 1, &mut world.memory)
            };
            if was_shared {
                // The host may have made the page private on the way.
                world.remove_converted(cpu.vcpu, Some(Changed { address, size: PageSize::Small }));
            }
            completion
        }
        (Err(status), _) => failed(status),
        (Ok(_), _) => failed(RmpStatus::FailInput),
    };
    finish(cpu, world, completion);
}

fn rmpadjust(cpu: &mut Processor, world: &mut Guard) {
    world.refresh_inside();
    let completion = match operand(cpu, world) {
        // As hardware does (APM volume 3). A firmware that has a handler for it lives on.
        Ok(operand) if cpu.vmpl == Vmpl::Vmpl0 && world.model.is_unvalidated(operand) => {
            return deliver_vc(cpu, world, VC_PAGE_NOT_VALIDATED);
        }
        Ok(operand) => {
            let actor = world.model.actor(cpu.vcpu);
            let world = &mut **world;
            world.model.rmpadjust(actor, operand, cpu.registers.rdx, &world.memory)
        }
        Err(status) => failed(status),
    };
    finish(cpu, world, completion);
}

fn rmpquery(cpu: &mut Processor, world: &mut Guard) {
    let target = Vmpl::from_wire(cpu.registers.rdx as u8);
    let completion = match (sized_operand(cpu, world, PageSize::Small), target) {
        (Ok(operand), Some(target)) => {
            let actor = world.model.actor(cpu.vcpu);
            let (completion, permissions, size) = world.model.rmpquery(actor, operand, target);
            if completion.status == RmpStatus::Success {
                cpu.registers.rdx = cpu.registers.rdx & 0xff | u64::from(permissions.bits()) << 8;
                cpu.registers.rcx = u64::from(size.to_wire());
            }
            completion
        }
        (Err(status), _) => failed(status),
        (Ok(_), None) => failed(RmpStatus::FailInput),
    };
    finish(cpu, world, completion);
}

/// INVLPGB starts a flush on all processors; only one that is not limited to addresses or a PCID, that names the guest's ASID (by 0 in
/// EDX), and that takes global entries too, is sure to reach every translation. What the manual reserves is #GP.
fn invalidate(cpu: &mut Processor, world: &mut Guard) {
    let limits = cpu.vmcb.read(vmcb::RAX);
    let (count, target) = (cpu.registers.rcx as u32, cpu.registers.rdx as u32);
    if cpu.vmcb.cpl() != 0
        || limits & INVLPGB_RESERVED != 0
        || count & INVLPGB_COUNT_RESERVED != 0
        || target & INVLPGB_TARGET_RESERVED != 0
    {
        return inject_gp(cpu);
    }
    let complete = limits & (INVLPGB_BY_ADDRESS | INVLPGB_BY_PCID) == 0
        && limits & INVLPGB_BY_ASID != 0
        && target & INVLPGB_TARGET_ASID == 0
        && limits & INVLPGB_GLOBAL != 0;
    let vcpu = cpu.vcpu;
    world.clock.flush_started[vcpu] |= complete;
    cpu.skip(3);
}

/// TLBSYNC waits until the flushes that this processor started are done everywhere.
fn synchronise(cpu: &mut Processor, world: &mut Guard) {
    let vcpu = cpu.vcpu;
    if core::mem::take(&mut world.clock.flush_started[vcpu]) {
        world.model.flush_all();
        world.shoot_down(vcpu);
    }
    cpu.skip(3);
}
