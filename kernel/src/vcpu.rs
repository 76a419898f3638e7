//! The loop of one vCPU: run the guest, wake, serve its call, run the guest.

use crate::facts::GUEST_VMPL;
use crate::launcher::Launcher;
use crate::machine::{HardwareMachine, end_with};
use crate::services::svsm;
use hardware::cpu::Cpu;
use hardware::instructions;
use hardware::msr_protocol::{self, RunEnd};
use svsm_protocol::{Served, Vcpu};

/// Serves this vCPU's guest for ever; the vCPU that boots starts the guest, the others wait until one of their own is created.
pub fn run(mut cpu: Cpu, mut launcher: Option<Launcher>) -> ! {
    let vcpu = Vcpu(cpu.index());
    let is_started = launcher.as_mut().is_some_and(|launcher| launcher.start(&mut cpu));
    // The host runs VMPL0 of this vCPU again when its guest calls.
    let mut end = if is_started { msr_protocol::run_vmpl(GUEST_VMPL) } else { RunEnd::Refused };
    if end == RunEnd::Refused {
        instructions::halt();
    }
    loop {
        if end == RunEnd::GuestReset
            && let Some(launcher) = &mut launcher
        {
            launcher.restart(&mut cpu);
        }
        let served =
            svsm().serve(&mut HardwareMachine::new(&mut cpu), vcpu).unwrap_or_else(|fatal| end_with(fatal));
        if let Served::Call { number, result } = served {
            log::trace!("vCPU {} call {}.{} -> {result:?}", vcpu.0, number.protocol, number.call);
        }
        end = msr_protocol::run_vmpl(GUEST_VMPL);
        if end == RunEnd::Refused && matches!(served, Served::Nothing) {
            // No guest here any more, or not yet.
            instructions::halt();
        }
    }
}
