//! The core protocol, but for PVALIDATE. Source: AMD 58019, chapter 6.

use crate::call_table;
use crate::failure::{Failure, Refusal};
use crate::ledger::{Claim, GuestAddress, GuestPage, Ledger, PageState};
use crate::machine::{AccessChange, GuestAccess, Machine};
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
    if !request.svsm.registry.move_area(request.context, new) {
        request.svsm.ledger.change_role(old, PageState::Guest);
    }
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
    let vmsa = claim_guest_page(request, vmsa)?;
    let area = match claim_calling_area(request, vcpu, calling_area) {
        Ok(area) => area,
        Err(refusal) => {
            request.svsm.ledger.settle(vmsa, PageState::Guest);
            return Err(refusal.into());
        }
    };
    let context = VcpuContext { vmsa: vmsa.page(), calling_area: area.page() };
    let made = make_vcpu(request, vcpu, context, &area);
    let (vmsa_state, area_state) = match made {
        Ok(()) => (PageState::Vmsa, PageState::CallingArea),
        Err(Failure::Refusal(_)) => (PageState::Guest, PageState::Guest),
        Err(Failure::Fatal(_)) => return made,
    };
    request.svsm.ledger.settle(vmsa, vmsa_state);
    if let CallingArea::New(claim) = area {
        request.svsm.ledger.settle(claim, area_state);
    }
    made
}

/// The calling area of a vCPU that is being created.
enum CallingArea {
    /// Ordinary memory of the guest so far.
    New(Claim),
    /// That of another VMSA of the same vCPU: Linux names it again when it replugs a CPU, before it deletes the old VMSA.
    Shared(GuestPage),
}

impl CallingArea {
    fn page(&self) -> GuestPage {
        match self {
            Self::New(claim) => claim.page(),
            Self::Shared(page) => *page,
        }
    }
}

fn claim_calling_area(request: &Request<'_>, vcpu: usize, address: u64) -> Result<CallingArea, Refusal> {
    if request.svsm.registry.has_area(vcpu, address) {
        return Ok(CallingArea::Shared(GuestPage::prepared_at_boot(address)));
    }
    claim_guest_page(request, address).map(CallingArea::New)
}

/// The part of CREATE_VCPU between claim and settlement: the claimed pages are nobody else's meanwhile.
fn make_vcpu(
    request: &mut Request<'_>,
    vcpu: usize,
    context: VcpuContext,
    area: &CallingArea,
) -> Result<(), Failure> {
    match area {
        CallingArea::New(_) => request.svsm.registry.reserve(vcpu, context)?,
        CallingArea::Shared(_) => request.svsm.registry.reserve_sharing(vcpu, context)?,
    }
    let made = make_vmsa(request, &context);
    match (&made, area) {
        (Ok(()), _) => request.svsm.registry.confirm(vcpu, &context),
        (Err(_), CallingArea::New(_)) => {
            request.svsm.registry.cancel(vcpu, &context);
        }
        (Err(_), CallingArea::Shared(page)) => {
            // Whoever had it may have been deleted meanwhile, and left it to us.
            if !request.svsm.registry.cancel(vcpu, &context) {
                request.svsm.ledger.change_role(*page, PageState::Guest);
            }
        }
    }
    made
}

/// Takes the page from the guest first, then looks at it, then makes it a VMSA: the guest cannot change what was checked.
fn make_vmsa(request: &mut Request<'_>, context: &VcpuContext) -> Result<(), Failure> {
    let page = context.vmsa;
    request.machine.set_access(page, PageSize::Small, GuestAccess::None)?;
    request.machine.flush_translations();
    if !is_acceptable(request, page) {
        request.machine.set_access(page, PageSize::Small, GuestAccess::Full)?;
        return Err(Refusal::InvalidParameter.into());
    }
    request.machine.write(context.calling_area, 0, &CALLING_AREA_HEADER);
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

/// DELETE_VCPU: RCX is the VMSA of a vCPU that does not run.
pub fn delete_vcpu(request: &mut Request<'_>) -> Result<(), Failure> {
    let address = request.arguments.rcx;
    if !is_aligned(address, PageSize::Small) || address == request.context.vmsa.address() {
        return Err(Refusal::InvalidParameter.into());
    }
    let (ledger, machine) = (&request.svsm.ledger, &mut *request.machine);
    request.svsm.registry.remove(address, |context, is_shared| {
        free_vcpu(ledger, machine, context)?;
        if !is_shared {
            ledger.change_role(context.calling_area, PageState::Guest);
        }
        Ok(())
    })
}

/// Ends the role of a VMSA; that of its calling area is left to the caller.
///
/// # Errors
/// If the VMSA runs; nothing has changed then.
pub(crate) fn free_vcpu(
    ledger: &Ledger,
    machine: &mut dyn Machine,
    context: &VcpuContext,
) -> Result<(), Failure> {
    let is_own = ledger.state(GuestAddress(context.vmsa.address())) == PageState::Own;
    unmake_vmsa(machine, context.vmsa, is_own)?;
    if !is_own {
        ledger.change_role(context.vmsa, PageState::Guest);
    }
    Ok(())
}

/// Gives a former VMSA back to the guest as ordinary memory; the first one lies in the firmware's own memory and stays there.
///
/// RMPADJUST refuses a VMSA that runs, so its first success is the moment from which on the host cannot enter it (APM volume 2,
/// 15.36.12); what is refused has not changed anything.
fn unmake_vmsa(machine: &mut dyn Machine, page: GuestPage, is_own: bool) -> Result<(), Failure> {
    if machine.set_access(page, PageSize::Small, GuestAccess::None)? == AccessChange::InUse {
        return Err(Refusal::InvalidRequest.into());
    }
    machine.flush_translations();
    clear_svme(machine, page);
    if !is_own {
        machine.set_access(page, PageSize::Small, GuestAccess::Full)?;
    }
    Ok(())
}

/// Makes a VMSA one that cannot run, should its page become one again.
fn clear_svme(machine: &mut dyn Machine, vmsa: GuestPage) {
    let mut bytes = [0; 8];
    machine.read(vmsa, offset_of!(Vmsa, efer), &mut bytes);
    let efer = u64::from_le_bytes(bytes) & !EFER_SVME;
    machine.write(vmsa, offset_of!(Vmsa, efer), &efer.to_le_bytes());
}
