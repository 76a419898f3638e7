//! Starts the guest that the image was built for, on the vCPU that boots, and starts it again when it was reset.

mod acpi;
mod boot_area;
mod elf;
mod firmware;
mod linux;
mod long_mode;
mod measured;
mod memory;
mod ram;

use crate::fw_cfg::FwCfg;
use crate::platform::Platform;
use crate::setup::{self, Facts, GUEST_VMPL, svsm};
use crate::vcpu::end_with;
use boot_area::BootArea;
use boot_handoff::{Guest, Handoff, LinuxGuest};
use hardware::cpu::Cpu;
use hardware::guest_vmsa::FirstVmsa;
use hardware::processors::StartError;
use hardware::region;
use hardware::termination::{Reason, terminate};
use measured::Measured;
use snp_abi::vmsa::Vmsa;
use svsm_protocol::{GuestPage, ResetError, VcpuContext};

/// Why a guest cannot be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CannotStart {
    /// The memory that it needs is not there, or not free.
    Memory,
    /// A blob is missing, too long or short, or does not have the measured hash.
    Blob,
    /// The kernel is not one that this firmware can start.
    Image,
}

/// Starts the guest of the image, and starts it again when it was reset.
pub struct Launcher {
    handoff: &'static Handoff,
    facts: Facts,
    /// The host's files, once they were needed: its pages stay shared.
    fw_cfg: Option<FwCfg>,
    /// The first vCPU's VMSA, once there is one.
    first_vmsa: Option<FirstVmsa>,
}

/// A guest that is ready.
pub struct Start {
    /// Registers of its first vCPU.
    pub vmsa: Vmsa,
    /// The first calling area.
    pub calling_area: u64,
}

impl Launcher {
    /// A launcher for the guest of this image on this machine.
    pub fn new(handoff: &'static Handoff, facts: Facts) -> Self {
        Self { handoff, facts, fw_cfg: None, first_vmsa: None }
    }

    /// Starts the guest; `false` if the image has none.
    pub fn start(&mut self, cpu: &mut Cpu) -> bool {
        let handoff = self.handoff;
        let Ok(guest) = handoff.guest.decode() else { terminate(Reason::Handoff) };
        let measured = || Measured::start(&handoff.guest);
        let prepared = match guest {
            Guest::None => {
                log::info!("no guest in this image");
                return false;
            }
            Guest::Elf(guest) => elf::prepare(cpu, guest, &self.facts, measured()),
            Guest::Linux(guest) => self.prepare_linux(cpu, guest, measured()),
            Guest::Firmware(guest) => {
                measured::start_tpm();
                firmware::prepare(cpu, &handoff.guest, guest, &self.facts)
            }
        };
        match prepared {
            Ok(start) => self.launch(&start),
            Err(CannotStart::Blob) => terminate(Reason::GuestBlob),
            Err(CannotStart::Memory | CannotStart::Image) => terminate(Reason::GuestImage),
        }
        true
    }

    fn prepare_linux(
        &mut self,
        cpu: &mut Cpu,
        guest: &LinuxGuest,
        measured: Measured,
    ) -> Result<Start, CannotStart> {
        let fw_cfg = match &mut self.fw_cfg {
            Some(fw_cfg) => fw_cfg,
            none => none.insert(FwCfg::new(cpu).map_err(|_| CannotStart::Memory)?),
        };
        linux::prepare(cpu, guest, &self.facts, fw_cfg, measured)
    }

    /// Hands the boot vCPU's guest VMSA to the host and makes it known to the services.
    fn launch(&mut self, start: &Start) {
        let Some(apic_id) = self.facts.apic_ids.first() else { terminate(Reason::Processors) };
        let vmsa = self.make_vmsa(start, *apic_id).unwrap_or_else(|error| {
            log::error!("guest VMSA: {error:?}");
            terminate(Reason::ApCreation)
        });
        let context = VcpuContext {
            vmsa: GuestPage::prepared_at_boot(vmsa),
            calling_area: GuestPage::prepared_at_boot(start.calling_area),
        };
        if svsm().registry.add(0, context).is_err() {
            terminate(Reason::Processors);
        }
        let kept = region::end() - region::start();
        log::info!(
            "guest starts at {:#x} on VMPL{}, {kept} bytes kept",
            start.vmsa.rip,
            GUEST_VMPL.to_wire()
        );
    }

    fn make_vmsa(&mut self, start: &Start, apic_id: u32) -> Result<u64, StartError> {
        let frame = match &mut self.first_vmsa {
            Some(frame) => frame,
            none => none.insert(FirstVmsa::new()?),
        };
        frame.make(&start.vmsa, GUEST_VMPL, apic_id)
    }

    /// Starts the guest again as it was first started: the same measured files, in memory that was taken from it and zeroed, with a
    /// TPM that was reset with it (kernel/doc/decisions/0020-vmpl0-restarts-the-guest.md).
    pub fn restart(&mut self, cpu: &mut Cpu) {
        // What the image itself had in memory belongs to the guest since, who has changed it.
        let Ok(Guest::Linux(LinuxGuest { kernel, initrd, command_line })) = self.handoff.guest.decode()
        else {
            log::error!("the guest was reset, and its image can be started once only");
            terminate(Reason::GuestReset)
        };
        if [kernel, initrd, command_line].iter().any(|blob| blob.embedded_at != 0) {
            log::error!("the guest was reset, and what the image embeds can be started once only");
            terminate(Reason::GuestReset)
        }
        log::info!("the guest was reset");
        let stopped = self.stop(cpu);
        stopped.unwrap_or_else(|error| match error {
            ResetError::Fatal(fatal) => end_with(fatal),
            error => {
                log::error!("the guest cannot be reset: {error:?}");
                terminate(Reason::GuestReset)
            }
        });
        if let Some(vtpm) = &svsm().vtpm
            && let Err(error) = vtpm.reset()
        {
            log::error!("the TPM cannot be reset: {error:?}");
            terminate(Reason::GuestReset);
        }
        self.start(cpu);
        svsm().admit_guest();
    }

    fn stop(&self, cpu: &mut Cpu) -> Result<(), ResetError> {
        let platform = &mut Platform::new(cpu);
        svsm().stop_guest(platform)?;
        let area = BootArea::place(&self.facts).ok();
        setup::continue_messages(area.and_then(|area| area.last_guest_area(platform)).as_ref());
        svsm().retake_memory(platform)
    }
}
