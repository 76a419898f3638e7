//! Interrupts and vector state: what the emulated machine must take care of because QEMU does not.
//!
//! QEMU 10.0 can abort on MOV to CR8 while a virtual interrupt is pending, and FXRSTOR on one processor can destroy the
//! virtualisation state of its CPU 0. The machine intercepts CR8 and keeps CPU 0 out of guests.

use crate::boot::Boot;
use crate::check::{Check, expect_eq};
use crate::exception;
use crate::ghcb;
use crate::svsm::{self, call_from};
use crate::vcpu::{apic_id, has_finished, result, start, start_work, stop};
use core::arch::asm;
use core::cell::UnsafeCell;

const APIC_BASE: u64 = 0x1b;
const X2APIC_ENABLE: u64 = 1 << 10;
const SPURIOUS_VECTOR: u64 = 0x80f;
const END_OF_INTERRUPT: u64 = 0x80b;
const COMMAND: u64 = 0x830;
const SOFTWARE_ENABLE: u64 = 0x1ff;
/// Fixed delivery, level assert.
const ASSERT: u64 = 1 << 14;
const HIGHEST_PRIORITY: u64 = 15;
/// Of a lower priority class than the other one.
const LOWER_VECTOR: u64 = 0x30;

fn write_cr8(value: u64) {
    // SAFETY: the task priority only holds back interrupts.
    unsafe { asm!("mov cr8, {}", in(reg) value, options(nomem, nostack, preserves_flags)) };
}

fn read_cr8() -> u64 {
    let value;
    // SAFETY: as for `write_cr8`.
    unsafe { asm!("mov {}, cr8", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Takes what is pending now.
fn allow_interrupts() {
    // SAFETY: the handler counts and returns; interrupts are off again afterwards.
    unsafe { asm!("sti", "nop", "nop", "cli", options(nostack)) };
}

fn enable_apic() {
    ghcb::write_msr(APIC_BASE, ghcb::read_msr(APIC_BASE) | X2APIC_ENABLE);
    ghcb::write_msr(SPURIOUS_VECTOR, SOFTWARE_ENABLE);
}

fn interrupt_self() {
    interrupt_self_by(exception::INTERRUPT_VECTOR);
}

fn interrupt_self_by(vector: u64) {
    ghcb::write_msr(COMMAND, u64::from(apic_id(0)) << 32 | ASSERT | vector);
}

pub fn interrupt_waits_for_the_interrupt_flag_and_comes_once(_: &Boot) -> Check {
    enable_apic();
    let before = exception::interrupts();
    interrupt_self();
    expect_eq!(svsm::call(svsm::QUERY_PROTOCOL, 1).served, true, "a call with an interrupt pending");
    expect_eq!(exception::interrupts(), before, "interrupts while they are off");
    allow_interrupts();
    expect_eq!(exception::interrupts(), before + 1, "interrupts");
    ghcb::write_msr(END_OF_INTERRUPT, 0);
    allow_interrupts();
    expect_eq!(exception::interrupts(), before + 1, "interrupts after the end of the first");
    Ok(())
}

pub fn task_priority_can_be_written_with_an_interrupt_pending(_: &Boot) -> Check {
    enable_apic();
    let before = exception::interrupts();
    interrupt_self();
    for round in 0..2000 {
        write_cr8(round % (HIGHEST_PRIORITY + 1));
        expect_eq!(read_cr8(), round % (HIGHEST_PRIORITY + 1), "CR8 in round {}", round);
    }
    write_cr8(0);
    allow_interrupts();
    expect_eq!(exception::interrupts(), before + 1, "interrupts");
    ghcb::write_msr(END_OF_INTERRUPT, 0);
    Ok(())
}

pub fn task_priority_holds_interrupts_back(_: &Boot) -> Check {
    enable_apic();
    let before = exception::interrupts();
    write_cr8(HIGHEST_PRIORITY);
    interrupt_self();
    allow_interrupts();
    expect_eq!(exception::interrupts(), before, "interrupts at the highest priority");
    write_cr8(0);
    allow_interrupts();
    expect_eq!(exception::interrupts(), before + 1, "interrupts at the lowest priority");
    ghcb::write_msr(END_OF_INTERRUPT, 0);
    Ok(())
}

/// The machine takes an interrupt from the APIC before the guest does, so that an end of the lower one that the guest means ends the
/// higher one there, which can come again. No interrupt may be in service in the end.
pub fn interrupts_that_overtake_each_other_all_end(_: &Boot) -> Check {
    enable_apic();
    let before = exception::interrupts();
    interrupt_self_by(LOWER_VECTOR);
    allow_interrupts();
    expect_eq!(exception::interrupts(), before + 1, "the lower interrupt");
    interrupt_self();
    ghcb::write_msr(END_OF_INTERRUPT, 0);
    interrupt_self();
    let mut ended = before + 1;
    loop {
        allow_interrupts();
        if exception::interrupts() == ended {
            break;
        }
        ended += 1;
        ghcb::write_msr(END_OF_INTERRUPT, 0);
    }
    expect_eq!(ended > before + 1, true, "the higher interrupt came");
    interrupt_self_by(LOWER_VECTOR);
    allow_interrupts();
    expect_eq!(exception::interrupts(), ended + 1, "the lower interrupt again");
    ghcb::write_msr(END_OF_INTERRUPT, 0);
    Ok(())
}

#[repr(C, align(16))]
struct VectorState(UnsafeCell<[u8; 512]>);
// SAFETY: only the vCPU that runs `restore_vector_state` touches it.
unsafe impl Sync for VectorState {}
static VECTOR_STATE: VectorState = VectorState(UnsafeCell::new([0; 512]));

fn restore_vector_state(times: u64, _: u64) -> u64 {
    let area = VECTOR_STATE.0.get();
    // SAFETY: the area is large enough and aligned; this program keeps nothing in vector registers.
    unsafe { asm!("fxsave [{}]", in(reg) area, options(nostack, preserves_flags)) };
    for _ in 0..times {
        // SAFETY: the area holds what FXSAVE wrote.
        unsafe { asm!("fxrstor [{}]", in(reg) area, options(nostack, preserves_flags)) };
    }
    times
}

pub fn vector_state_is_restored_while_others_enter_and_leave(_: &Boot) -> Check {
    // Enough for the fault to show in most runs on a QEMU that has it, when a vCPU runs on CPU 0.
    const TIMES: u64 = 4_000_000;
    let created = start(1);
    start_work(1, restore_vector_state, TIMES);
    let mut calls = 0u64;
    while !has_finished(1) {
        let answer = call_from(svsm::boot_calling_area(), svsm::QUERY_PROTOCOL, 1, 0, 0);
        expect_eq!(answer.rcx, 1 << 32 | 1, "answer to call {}", calls);
        calls += 1;
    }
    expect_eq!(result(1)?, TIMES, "restores");
    expect_eq!(calls > 0, true, "calls meanwhile");
    expect_eq!(stop(1, &created), svsm::SUCCESS, "delete");
    Ok(())
}
