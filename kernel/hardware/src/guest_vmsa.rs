//! The first VMSA of the guest: a frame of the firmware's own, lent to the guest's VMPL.

use crate::cpu;
use crate::frames::Frame;
use crate::processors::{StartError, make_vmsa, vmsa_frame};
use crate::window;
use snp_abi::ghcb::ap_creation::{ApCreation, ApCreationRequest};
use snp_abi::rmp::Vmpl;
use snp_abi::vmsa::Vmsa;

/// The frame, which is the VMSA for as long as the services know it, and can be made one again after that.
#[derive(Debug)]
pub struct FirstVmsa {
    frame: Frame,
}

impl FirstVmsa {
    /// Takes a frame for it, which windows reach from now on.
    pub fn new() -> Result<Self, StartError> {
        let frame = vmsa_frame()?;
        window::lend(frame.physical())?;
        Ok(Self { frame })
    }

    /// Makes the frame the VMSA in which the guest starts on the vCPU with this APIC id, and tells the host; returns its
    /// physical address. The frame must not be a VMSA at this moment.
    pub fn make(&mut self, vmsa: &Vmsa, vmpl: Vmpl, apic_id: u32) -> Result<u64, StartError> {
        if !make_vmsa(&self.frame, vmsa, Some(vmpl)) {
            return Err(StartError::Vmsa);
        }
        let address = self.frame.physical();
        // "On INIT" installs the VMSA without running it: this vCPU still runs VMPL0.
        let creation = ApCreation { apic_id, vmpl, request: ApCreationRequest::CreateOnInit };
        let created = cpu::with_ghcb(|ghcb| ghcb.create_ap(creation, address, vmsa.sev_features));
        match created {
            Some(Ok(())) => Ok(address),
            _ => Err(StartError::Host),
        }
    }
}
