//! Starts the guest that the image was built for, on the vCPU that boots, and starts it again when it was reset.

use crate::facts::{Facts, GUEST_VMPL};
use crate::fw_cfg::FwCfg;
use crate::machine::{HardwareMachine, end_with};
use crate::secrets;
use crate::services::svsm;
use boot_handoff::{Guest, Handoff, LinuxGuest};
use guest_start::{CannotStart, GuestMemory, HostFiles, ReadyGuest, Surroundings};
use hardware::cpu::Cpu;
use hardware::guest_vmsa::FirstVmsa;
use hardware::processors::StartError;
use hardware::region;
use hardware::termination::{Reason, terminate};
use svsm_protocol::{ResetError, Stopped, Vcpu};

/// Starts the guest of the image, and starts it again when it was reset.
pub struct Launcher {
    handoff: &'static Handoff,
    facts: Facts,
    /// The host's files, once they were needed: its pages stay shared.
    fw_cfg: Option<FwCfg>,
    /// The first vCPU's VMSA, once there is one.
    first_vmsa: Option<FirstVmsa>,
    /// The proof that no guest runs, until one does.
    stopped: Option<Stopped>,
}

impl Launcher {
    /// A launcher for the guest of this image on this machine.
    pub fn new(handoff: &'static Handoff, facts: Facts, stopped: Stopped) -> Self {
        Self { handoff, facts, fw_cfg: None, first_vmsa: None, stopped: Some(stopped) }
    }

    /// Starts the guest; `false` if the image has none.
    pub fn start(&mut self, cpu: &mut Cpu) -> bool {
        let Some(stopped) = self.stopped.take() else { terminate(Reason::Panic) };
        match self.prepare(cpu, &stopped) {
            Ok(Some(guest)) => {
                self.launch(&guest, stopped);
                true
            }
            Ok(None) => false,
            Err(CannotStart::Blob) => terminate(Reason::GuestBlob),
            Err(CannotStart::Memory | CannotStart::Image) => terminate(Reason::GuestImage),
            Err(CannotStart::Measurement) => terminate(Reason::Measurement),
            Err(CannotStart::Fatal(fatal)) => end_with(fatal),
        }
    }

    fn prepare(&mut self, cpu: &mut Cpu, stopped: &Stopped) -> Result<Option<ReadyGuest>, CannotStart> {
        let record = &self.handoff.guest;
        let needs_files = matches!(record.decode(), Ok(Guest::Linux(_)));
        if needs_files && self.fw_cfg.is_none() {
            self.fw_cfg = Some(FwCfg::new(cpu).map_err(|_| CannotStart::Memory)?);
        }
        let facts = self.facts.of_vm();
        let machine = &mut HardwareMachine::new(cpu);
        let mut surroundings = Surroundings {
            memory: GuestMemory { facts: &facts, svsm: svsm(), stopped, machine },
            files: self.fw_cfg.as_mut().map(|files| files as &mut dyn HostFiles),
            secrets: &secrets::guest_secrets,
        };
        guest_start::prepare(record, &mut surroundings)
    }

    /// Hands the boot vCPU's guest VMSA to the host and makes it known to the services.
    fn launch(&mut self, start: &ReadyGuest, stopped: Stopped) {
        let Some(apic_id) = self.facts.apic_ids.first() else { terminate(Reason::Processors) };
        let vmsa = self.make_vmsa(start, *apic_id).unwrap_or_else(|error| {
            log::error!("guest VMSA: {error:?}");
            terminate(Reason::ApCreation)
        });
        if let Err(error) = svsm().admit_guest(stopped, Vcpu(0), vmsa, start.calling_area) {
            log::error!("the guest's first vCPU: {error:?}");
            terminate(Reason::GuestImage);
        }
        let kept = region::end() - region::start();
        log::info!(
            "guest starts at {:#x} on VMPL{}, {kept} bytes kept",
            start.vmsa.rip,
            GUEST_VMPL.to_wire()
        );
    }

    fn make_vmsa(&mut self, start: &ReadyGuest, apic_id: u32) -> Result<u64, StartError> {
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
        match self.stop(cpu) {
            Ok(stopped) => self.stopped = Some(stopped),
            Err(ResetError::Fatal(fatal)) => end_with(fatal),
            Err(error) => {
                log::error!("the guest cannot be reset: {error:?}");
                terminate(Reason::GuestReset)
            }
        }
        if let Some(vtpm) = &svsm().vtpm
            && let Err(error) = vtpm.reset()
        {
            log::error!("the TPM cannot be reset: {error:?}");
            terminate(Reason::GuestReset);
        }
        self.start(cpu);
    }

    fn stop(&self, cpu: &mut Cpu) -> Result<Stopped, ResetError> {
        let machine = &mut HardwareMachine::new(cpu);
        let stopped = svsm().stop_guest(machine)?;
        let facts = self.facts.of_vm();
        let memory = &mut GuestMemory { facts: &facts, svsm: svsm(), stopped: &stopped, machine };
        secrets::continue_messages(guest_start::last_guest_area(memory).as_ref());
        svsm().retake_memory(&stopped, machine)?;
        Ok(stopped)
    }
}
