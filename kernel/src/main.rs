//! The kernel of the paravisor: what runs at VMPL0 for as long as the VM lives.
//!
//! This crate is wiring only: it reads what the image and the host handed over (`facts`, `secrets`), implements the services'
//! view of the machine on hardware (`machine`), starts the guest (`launcher`) and serves it (`vcpu`). The services are
//! `svsm_protocol`, the start of a guest is `guest_start`, everything that touches hardware is `hardware`.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod facts;
mod fw_cfg;
mod launcher;
mod machine;
mod psp_pages;
mod secrets;
mod services;
mod vcpu;
#[cfg(feature = "vtpm")]
mod vtpm;

use boot_handoff::Handoff;
use hardware::termination::{Reason, terminate};

/// The boot vCPU: called once by the entry code, with the record's address in the direct window.
#[expect(unsafe_code, reason = "entry symbols, called by the entry code in `hardware`")]
mod entry {
    use super::{Handoff, Reason, terminate};
    use crate::facts;

    #[unsafe(no_mangle)]
    extern "C" fn kernel_main(record: &'static [u8; 4096]) -> ! {
        let Ok(handoff) = Handoff::parse(record) else { terminate(Reason::Handoff) };
        let layout = facts::layout(handoff);
        // SAFETY: the entry code calls this once and first; the record is measured.
        let cpu = unsafe { hardware::boot::start(&layout) };
        crate::run(cpu, handoff)
    }

    #[unsafe(no_mangle)]
    extern "C" fn application_processor_main(argument: u64) -> ! {
        // SAFETY: the entry code passes RDI as the vCPU found it, once.
        let cpu = unsafe { hardware::processors::adopt(argument) };
        crate::vcpu::run(cpu, None)
    }
}

/// Sets the firmware up on the vCPU that boots, starts the others and the guest, and serves it.
fn run(mut cpu: hardware::cpu::Cpu, handoff: &'static Handoff) -> ! {
    secrets::keep(handoff);
    let facts = facts::read(handoff, &mut cpu);
    let stopped = services::install(&facts);
    services::start_processors(&facts);
    let (used, peak) = hardware::heap::usage();
    log::info!("{} vCPUs, heap {used} bytes, peak {peak}", facts.apic_ids.len());
    let launcher = launcher::Launcher::new(handoff, facts, stopped);
    vcpu::run(cpu, Some(launcher))
}

#[panic_handler]
fn panic(information: &core::panic::PanicInfo<'_>) -> ! {
    log::error!("{information}");
    terminate(Reason::Panic)
}
