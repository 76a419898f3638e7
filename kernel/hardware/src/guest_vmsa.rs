//! The first VMSA of the guest: a frame of the firmware's own, lent to the guest's VMPL.

use crate::cpu;
use crate::processors::{StartError, make_vmsa, vmsa_frame};
use crate::window;
use snp_abi::ghcb::ap_creation::{ApCreation, ApCreationRequest};
use snp_abi::rmp::Vmpl;
use snp_abi::vmsa::Vmsa;

/// Makes the VMSA in which the guest starts on the vCPU with this APIC id, and tells the host; returns its
/// physical address, which windows reach from now on.
pub fn create(vmsa: &Vmsa, vmpl: Vmpl, apic_id: u32) -> Result<u64, StartError> {
    let frame = vmsa_frame()?;
    if !make_vmsa(&frame, vmsa, Some(vmpl)) {
        return Err(StartError::Vmsa);
    }
    window::lend(frame.physical())?;
    // "On INIT" installs the VMSA without running it: this vCPU still runs VMPL0.
    let creation = ApCreation { apic_id, vmpl, request: ApCreationRequest::CreateOnInit };
    let created = cpu::with_ghcb(|ghcb| ghcb.create_ap(creation, frame.physical(), vmsa.sev_features));
    match created {
        Some(Ok(())) => Ok(frame.physical()),
        _ => Err(StartError::Host),
    }
}
