//! The core protocol, but for PVALIDATE. Source: AMD 58019, chapter 6.

use crate::call_table;
use crate::failure::{Failure, Refusal};
use crate::ledger::{Claim, GuestAddress, GuestPage, PageState};
use crate::machine::{AccessChange, GuestAccess};
use crate::registry::VcpuContext;
use crate::serve::Request;
use core::mem::offset_of;
use snp_abi::address::{PageSize, is_aligned};
use snp_abi::svsm::core_protocol::{CONFIGURE_VIRTUAL_TOM_QUERY, ProtocolQuery, protocol_versions};
use snp_abi::vmsa::Vmsa;
use snp_abi::vmsa::start::EFER_SVME;

/// Bytes at the start of a calling area that a new owner finds cleared.
const CALLING_AREA_HEADER: [u8; 8] = [0; 8];

/// Answers a call that exists and is not offered.
pub fn unsupported(_: &mut Request<'_>) -> Result<(), Failure> {
    Err(Refusal::UnsupportedCall.into())
}

/// QUERY_PROTOCOL: RCX names a protocol and a version; RCX comes back with the versions served, or 0.
pub fn query_protocol(request: &mut Request<'_>) -> Result<(), Failure> {
    let query = ProtocolQuery::decode(request.arguments.rcx);
    let versions = call_table::protocol(request.svsm, query.protocol).map(|protocol| protocol.versions);
    let served = versions.filter(|(least, most)| (*least..=*most).contains(&query.version));
    request.arguments.rcx = protocol_versions(served.map(|(least, most)| (most, least)));
    Ok(())
}

/// CONFIGURE_VTOM: the query says that there is no virtual TOM; setting one is refused.
pub fn configure_virtual_tom(request: &mut Request<'_>) -> Result<(), Failure> {
    if request.arguments.rcx & CONFIGURE_VIRTUAL_TOM_QUERY == 0 {
        return Err(Refusal::InvalidRequest.into());
    }
    request.arguments.rcx = 0;
    Ok(())
}

/// REMAP_CA: RCX is the address of the caller's new calling area.
pub fn remap_calling_area(request: &mut Request<'_>) -> Result<(), Failure> {
    let address = request.arguments.rcx;
    if !is_aligned(address, PageSize::Small) {
        return Err(Refusal::InvalidParameter.into());
    }
    let old = request.context.calling_area;
    if address == old.address() {
        return Ok(());
    }
    let claim = claim_guest_page(request, address)?;
    let new = claim.page();
    request.machine.write(new, 0, &CALLING_AREA_HEADER);
    request.svsm.ledger.settle(claim, PageState::CallingArea);
    request.svsm.ledger.change_role(old, PageState::Guest);
    request.context.calling_area = new;
    Ok(())
}

fn claim_guest_page(request: &Request<'_>, address: u64) -> Result<Claim, Refusal> {
    let claim = request.svsm.ledger.claim(GuestAddress(address), PageSize::Small, PageState::Guest);
    claim.map_err(|error| error.refusal())
}

/// CREATE_VCPU: RCX is a page that holds a VMSA, RDX the new vCPU's calling area, R8 its APIC id.
pub fn create_vcpu(request: &mut Request<'_>) -> Result<(), Failure> {
    let (vmsa, calling_area) = (request.arguments.rcx, request.arguments.rdx);
    let aligned = is_aligned(vmsa, PageSize::Small) && is_aligned(calling_area, PageSize::Small);
    // KVM does not run a VMSA at a 2 MiB boundary (hardware erratum), so the guest learns it here.
    if !aligned || vmsa == calling_area || is_aligned(vmsa, PageSize::Large) {
        return Err(Refusal::InvalidParameter.into());
    }
    let apic_id = u32::try_from(request.arguments.r8).map_err(|_| Refusal::InvalidParameter)?;
    let vcpu = request.svsm.registry.by_apic_id(apic_id).ok_or(Refusal::InvalidParameter)?;
    if !request.svsm.registry.has_room(vcpu) {
        return Err(Refusal::InvalidRequest.into());
    }
    let vmsa = claim_guest_page(request, vmsa)?;
    let calling_area = match claim_guest_page(request, calling_area) {
        Ok(claim) => claim,
        Err(refusal) => {
            request.svsm.ledger.settle(vmsa, PageState::Guest);
            return Err(refusal.into());
        }
    };
    match make_vmsa(request, vmsa.page()) {
        Ok(()) => {}
        Err(failure) => {
            request.svsm.ledger.settle(vmsa, PageState::Guest);
            request.svsm.ledger.settle(calling_area, PageState::Guest);
            return Err(failure);
        }
    }
    let context = VcpuContext { vmsa: vmsa.page(), calling_area: calling_area.page() };
    request.machine.write(context.calling_area, 0, &CALLING_AREA_HEADER);
    if let Err(refusal) = request.svsm.registry.add(vcpu, context) {
        // Another vCPU took the last place meanwhile.
        unmake_vmsa(request, vmsa.page())?;
        request.svsm.ledger.settle(vmsa, PageState::Guest);
        request.svsm.ledger.settle(calling_area, PageState::Guest);
        return Err(refusal.into());
    }
    request.svsm.ledger.settle(vmsa, PageState::Vmsa);
    request.svsm.ledger.settle(calling_area, PageState::CallingArea);
    Ok(())
}

/// Takes the page from the guest first, then looks at it, then makes it a VMSA: the guest cannot change what was checked.
fn make_vmsa(request: &mut Request<'_>, page: GuestPage) -> Result<(), Failure> {
    request.machine.set_access(page, PageSize::Small, GuestAccess::None)?;
    request.machine.flush_translations();
    if !is_acceptable(request, page) {
        request.machine.set_access(page, PageSize::Small, GuestAccess::Full)?;
        return Err(Refusal::InvalidParameter.into());
    }
    request.machine.set_access(page, PageSize::Small, GuestAccess::Vmsa)?;
    Ok(())
}

/// A VMSA must be of the guest's own level, able to run, and with the features of its creator.
fn is_acceptable(request: &mut Request<'_>, page: GuestPage) -> bool {
    let mut vmpl = [0];
    request.machine.read(page, offset_of!(Vmsa, vmpl), &mut vmpl);
    let mut read = |page, offset| {
        let mut bytes = [0; 8];
        request.machine.read(page, offset, &mut bytes);
        u64::from_le_bytes(bytes)
    };
    let efer = read(page, offset_of!(Vmsa, efer));
    let features = read(page, offset_of!(Vmsa, sev_features));
    let own_features = read(request.context.vmsa, offset_of!(Vmsa, sev_features));
    vmpl == [request.svsm.guest_vmpl] && efer & EFER_SVME != 0 && features == own_features
}

/// Gives a former VMSA back to the guest as ordinary memory.
fn unmake_vmsa(request: &mut Request<'_>, page: GuestPage) -> Result<AccessChange, Failure> {
    if request.machine.set_access(page, PageSize::Small, GuestAccess::None)? == AccessChange::InUse {
        return Ok(AccessChange::InUse);
    }
    request.machine.flush_translations();
    Ok(request.machine.set_access(page, PageSize::Small, GuestAccess::Full)?)
}

/// DELETE_VCPU: RCX is the VMSA of a vCPU that does not run.
pub fn delete_vcpu(request: &mut Request<'_>) -> Result<(), Failure> {
    let address = request.arguments.rcx;
    if !is_aligned(address, PageSize::Small) || address == request.context.vmsa.address() {
        return Err(Refusal::InvalidParameter.into());
    }
    let (vcpu, context) = request.svsm.registry.remove(address)?;
    // From here on the host cannot enter the VMSA any more, even while the page still is one.
    let efer = set_runnable(request, context.vmsa, false);
    if unmake_vmsa(request, context.vmsa)? == AccessChange::InUse {
        set_runnable(request, context.vmsa, efer);
        let _ = request.svsm.registry.add(vcpu, context);
        return Err(Refusal::InvalidRequest.into());
    }
    request.svsm.ledger.change_role(context.vmsa, PageState::Guest);
    request.svsm.ledger.change_role(context.calling_area, PageState::Guest);
    Ok(())
}

/// Sets EFER.SVME of a VMSA; returns what it was.
fn set_runnable(request: &mut Request<'_>, vmsa: GuestPage, runnable: bool) -> bool {
    let mut bytes = [0; 8];
    request.machine.read(vmsa, offset_of!(Vmsa, efer), &mut bytes);
    let old = u64::from_le_bytes(bytes);
    let new = if runnable { old | EFER_SVME } else { old & !EFER_SVME };
    request.machine.write(vmsa, offset_of!(Vmsa, efer), &new.to_le_bytes());
    old & EFER_SVME != 0
}
