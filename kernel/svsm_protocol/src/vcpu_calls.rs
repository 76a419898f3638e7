//! The core protocol's calls about vCPUs: their VMSAs and calling areas. Source: AMD 58019, chapter 6.

use crate::failure::{Failure, Refusal};
use crate::grant::reopen;
use crate::guest_call::{GuestCall, Operands, Registers, ServedCall};
use crate::guest_vcpus::VcpuContext;
use crate::ledger::{Claim, GuestAddress, GuestPage, Ledger, PageState};
use crate::machine::{GuestAccess, Lost, Machine, RmpError};
use core::mem::offset_of;
use snp_abi::address::{PageSize, is_aligned};
use snp_abi::vmsa::Vmsa;
use snp_abi::vmsa::start::EFER_SVME;

/// Bytes at the start of a calling area that a new owner finds cleared.
const CALLING_AREA_HEADER: [u8; 8] = [0; 8];
const EFER: usize = offset_of!(Vmsa, efer);
const SEV_FEATURES: usize = offset_of!(Vmsa, sev_features);

/// RCX: the address of a page.
pub(crate) struct PageOperand {
    address: u64,
}

impl Operands for PageOperand {
    fn decode(registers: &Registers) -> Result<Self, Refusal> {
        let address = registers.rcx;
        if is_aligned(address, PageSize::Small) {
            Ok(Self { address })
        } else {
            Err(Refusal::InvalidParameter)
        }
    }
}

/// REMAP_CA: gives the caller another calling area.
pub(crate) struct RemapCallingArea;

impl ServedCall for RemapCallingArea {
    type Operands = PageOperand;
    type Results = ();

    fn serve(call: &mut GuestCall<'_>, operands: PageOperand, (): &mut ()) -> Result<(), Failure> {
        let old = call.context.calling_area;
        if operands.address == old.address() {
            return Ok(());
        }
        let claim = claim_guest_page(&call.svsm.ledger, operands.address, &[PageState::Guest])?;
        let new = claim.page();
        if let Err(lost) = call.machine.write(new, 0, &CALLING_AREA_HEADER) {
            call.svsm.ledger.settle(claim, PageState::Guest);
            return Err(lost.into());
        }
        call.svsm.ledger.settle(claim, PageState::CallingArea);
        if !call.svsm.vcpus.move_area(call.context, new) {
            call.svsm.ledger.change_role(old, PageState::Guest);
        }
        call.context.calling_area = new;
        Ok(())
    }
}

fn claim_guest_page(ledger: &Ledger, address: u64, from: &[PageState]) -> Result<Claim, Refusal> {
    ledger.claim(GuestAddress(address), PageSize::Small, from).map_err(|error| error.refusal())
}

/// CREATE_VCPU: makes a page a VMSA.
pub(crate) struct CreateVcpu;

/// RCX: the page that holds the VMSA, RDX: the new vCPU's calling area, R8: its APIC id.
pub(crate) struct NewVcpu {
    vmsa: u64,
    calling_area: u64,
    apic_id: u32,
}

impl Operands for NewVcpu {
    fn decode(registers: &Registers) -> Result<Self, Refusal> {
        let (vmsa, calling_area) = (registers.rcx, registers.rdx);
        let aligned = is_aligned(vmsa, PageSize::Small) && is_aligned(calling_area, PageSize::Small);
        // KVM does not run a VMSA at a 2 MiB boundary (hardware erratum), so the guest learns it here.
        if !aligned || vmsa == calling_area || is_aligned(vmsa, PageSize::Large) {
            return Err(Refusal::InvalidParameter);
        }
        let apic_id = u32::try_from(registers.r8).map_err(|_| Refusal::InvalidParameter)?;
        Ok(Self { vmsa, calling_area, apic_id })
    }
}

impl ServedCall for CreateVcpu {
    type Operands = NewVcpu;
    type Results = ();

    fn serve(call: &mut GuestCall<'_>, new: NewVcpu, (): &mut ()) -> Result<(), Failure> {
        let ledger = &call.svsm.ledger;
        let vcpu = call.svsm.vcpus.by_apic_id(new.apic_id).ok_or(Refusal::InvalidParameter)?;
        // A page that an earlier, interrupted request left held may become a VMSA: it is taken from the guest in any case.
        let vmsa = claim_guest_page(ledger, new.vmsa, &[PageState::Guest, PageState::Held])?;
        let area = match claim_calling_area(call, vcpu, new.calling_area) {
            Ok(area) => area,
            Err(refusal) => {
                let from = vmsa.from();
                ledger.settle(vmsa, from);
                return Err(refusal.into());
            }
        };
        let context = VcpuContext { vmsa: vmsa.page(), calling_area: area.page() };
        let made = make_vcpu(call, vcpu, context, &area, vmsa.from());
        let (vmsa_state, area_state, outcome) = match made {
            Ok(()) => (PageState::Vmsa, PageState::CallingArea, Ok(())),
            Err((Failure::Refusal(refusal), state)) => (state, PageState::Guest, Err(refusal.into())),
            Err((fatal, _)) => return Err(fatal),
        };
        ledger.settle(vmsa, vmsa_state);
        if let CallingArea::New(claim) = area {
            ledger.settle(claim, area_state);
        }
        outcome
    }
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

fn claim_calling_area(call: &GuestCall<'_>, vcpu: usize, address: u64) -> Result<CallingArea, Refusal> {
    if let Some(page) = call.svsm.vcpus.area(vcpu, address) {
        return Ok(CallingArea::Shared(page));
    }
    claim_guest_page(&call.svsm.ledger, address, &[PageState::Guest]).map(CallingArea::New)
}

/// Why a page did not become a VMSA, and the state that it is in now.
type NotMade = (Failure, PageState);

/// The part of CREATE_VCPU between claim and settlement: the claimed pages are nobody else's meanwhile.
fn make_vcpu(
    call: &mut GuestCall<'_>,
    vcpu: usize,
    context: VcpuContext,
    area: &CallingArea,
    from: PageState,
) -> Result<(), NotMade> {
    let vcpus = &call.svsm.vcpus;
    let reserved = match area {
        CallingArea::New(_) => vcpus.reserve(vcpu, context),
        CallingArea::Shared(_) => vcpus.reserve_sharing(vcpu, context),
    };
    reserved.map_err(|refusal| (refusal.into(), from))?;
    let made = make_vmsa(call, &context, from);
    match (&made, area) {
        (Ok(()), _) => call.svsm.vcpus.confirm(vcpu, &context),
        (Err(_), CallingArea::New(_)) => {
            call.svsm.vcpus.cancel(vcpu, &context);
        }
        (Err(_), CallingArea::Shared(page)) => {
            // Whoever had it may have been deleted meanwhile, and left it to us.
            if !call.svsm.vcpus.cancel(vcpu, &context) {
                call.svsm.ledger.change_role(*page, PageState::Guest);
            }
        }
    }
    made
}

/// Takes the page from the guest first, then looks at it, then makes it a VMSA: the guest cannot change what was checked.
fn make_vmsa(call: &mut GuestCall<'_>, context: &VcpuContext, from: PageState) -> Result<(), NotMade> {
    let page = context.vmsa;
    let taken = call.machine.set_access(page, PageSize::Small, GuestAccess::None);
    taken.map_err(|error| (error.failure(), from))?;
    call.machine.flush_translations();
    let failure = match seal_vmsa(call, context) {
        Ok(()) => return Ok(()),
        Err(failure) => failure,
    };
    Err((failure, reopen(call.machine, page, PageSize::Small)))
}

/// Judges a page that the guest cannot change any more, and makes it a VMSA.
fn seal_vmsa(call: &mut GuestCall<'_>, context: &VcpuContext) -> Result<(), Failure> {
    if !is_acceptable(call, context.vmsa)? {
        return Err(Refusal::InvalidParameter.into());
    }
    call.machine.write(context.calling_area, 0, &CALLING_AREA_HEADER)?;
    let made = call.machine.set_access(context.vmsa, PageSize::Small, GuestAccess::Vmsa);
    made.map_err(RmpError::failure)
}

/// A VMSA must be of the guest's own level, able to run, and with the features of its creator.
fn is_acceptable(call: &mut GuestCall<'_>, page: GuestPage) -> Result<bool, Lost> {
    let mut vmpl = [0];
    call.machine.read(page, offset_of!(Vmsa, vmpl), &mut vmpl)?;
    let [mut efer, mut features] = [0; 2];
    call.machine.read_words(page, &[EFER], core::slice::from_mut(&mut efer))?;
    call.machine.read_words(page, &[SEV_FEATURES], core::slice::from_mut(&mut features))?;
    let mut own_features = 0;
    call.machine.read_words(call.context.vmsa, &[SEV_FEATURES], core::slice::from_mut(&mut own_features))?;
    Ok(vmpl == [call.svsm.guest_vmpl] && efer & EFER_SVME != 0 && features == own_features)
}

/// DELETE_VCPU: ends the VMSA of a vCPU that does not run.
pub(crate) struct DeleteVcpu;

impl ServedCall for DeleteVcpu {
    type Operands = PageOperand;
    type Results = ();

    fn serve(call: &mut GuestCall<'_>, operands: PageOperand, (): &mut ()) -> Result<(), Failure> {
        if operands.address == call.context.vmsa.address() {
            return Err(Refusal::InvalidParameter.into());
        }
        let (ledger, machine) = (&call.svsm.ledger, &mut *call.machine);
        call.svsm.vcpus.remove(operands.address, |context, is_shared| {
            free_vcpu(ledger, machine, context)?;
            if !is_shared {
                ledger.change_role(context.calling_area, PageState::Guest);
            }
            Ok(())
        })
    }
}

/// Ends the role of a VMSA and gives its page back to the guest as ordinary memory; the first one lies in the firmware's own
/// memory and stays there. The role of its calling area is left to the caller.
///
/// RMPADJUST refuses a VMSA that runs, so its first success is the moment from which on the host cannot enter it (APM volume 2,
/// 15.36.12); what is refused has not changed anything.
///
/// # Errors
/// [`Refusal::InvalidRequest`] if the VMSA runs, [`Refusal::InvalidAddress`] if the host has its page; nothing has changed then.
pub(crate) fn free_vcpu(
    ledger: &Ledger,
    machine: &mut dyn Machine,
    context: &VcpuContext,
) -> Result<(), Failure> {
    let page = context.vmsa;
    let is_own = ledger.state(GuestAddress(page.address())) == PageState::Own;
    match machine.set_access(page, PageSize::Small, GuestAccess::None) {
        Ok(()) => {}
        Err(RmpError::InUse) => return Err(Refusal::InvalidRequest.into()),
        Err(error) => return Err(error.failure()),
    }
    machine.flush_translations();
    // One that is lost cannot run in any case.
    let (Ok(()) | Err(Lost)) = clear_svme(machine, page);
    if !is_own {
        let state = reopen(machine, page, PageSize::Small);
        ledger.change_role(page, state);
    }
    Ok(())
}

/// Makes a VMSA one that cannot run, should its page become one again.
fn clear_svme(machine: &mut dyn Machine, vmsa: GuestPage) -> Result<(), Lost> {
    let mut efer = 0;
    machine.read_words(vmsa, &[EFER], core::slice::from_mut(&mut efer))?;
    machine.write_words(vmsa, &[(EFER, efer & !EFER_SVME)])
}
