//! The loop of one vCPU: run the guest, wake, serve its call, run the guest.

use crate::platform::Platform;
use crate::setup::{GUEST_VMPL, svsm};
use hardware::cpu::Cpu;
use hardware::termination::{Reason, terminate};
use hardware::{instructions, msr_protocol};
use svsm_protocol::{Fatal, Served, Vcpu};

/// The guest was started on this vCPU.
pub struct Started;

/// Serves this vCPU's guest for ever; without one of its own, waits until another vCPU creates it.
pub fn run(mut cpu: Cpu, started: Option<Started>) -> ! {
    let vcpu = Vcpu(cpu.index());
    // The host runs VMPL0 of this vCPU again when its guest calls.
    let ran = started.is_some() && msr_protocol::run_vmpl(GUEST_VMPL);
    if !ran {
        instructions::halt();
    }
    loop {
        let served = match svsm().serve(&mut Platform::new(&mut cpu), vcpu) {
            Ok(served) => served,
            Err(Fatal::DoubleMapping) => terminate(Reason::OwnPageValidation),
            Err(Fatal::RmpStatus(status)) => {
                log::error!("RMP instruction failed: {status:?}");
                terminate(Reason::PermissionChange)
            }
        };
        if let Served::Call { number, result } = served {
            log::trace!("vCPU {} call {}.{} -> {result:?}", vcpu.0, number.protocol, number.call);
        }
        let ran = msr_protocol::run_vmpl(GUEST_VMPL);
        if !ran && matches!(served, Served::Nothing) {
            // No guest here any more, or not yet.
            instructions::halt();
        }
    }
}
