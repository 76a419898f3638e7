//! Requests to the host through the GHCB MSR, which need no memory: used before and beside the GHCB page.

use crate::instructions;
use crate::termination::{Reason, terminate};
use snp_abi::ghcb::HypervisorFeatures;
use snp_abi::ghcb::PROTOCOL_VERSION;
use snp_abi::ghcb::msr_protocol::{RUN_VMPL_GUEST_RESET, Request, Response};
use snp_abi::ghcb::page_state::PageOperation;
use snp_abi::msr;
use snp_abi::rmp::Vmpl;

/// One exchange. The MSR does not name a GHCB page afterwards: [`crate::ghcb`] does that before each use.
fn exchange(request: Request) -> Response {
    // SAFETY: the GHCB MSR exists in every SEV-ES guest and does not change addressing.
    unsafe { instructions::write_msr(msr::GHCB, request.encode()) };
    // SAFETY: no request of this module changes memory that Rust uses; page state changes say so themselves.
    unsafe { instructions::vmgexit() };
    // SAFETY: as above.
    let answer = unsafe { instructions::read_msr(msr::GHCB) };
    Response::decode(answer).unwrap_or_else(|_| terminate(Reason::HostAnswer))
}

/// Ends the firmware unless the host speaks version 2 of the protocol.
pub fn check_version() {
    match exchange(Request::SevInformation) {
        Response::SevInformation { maximum_version, minimum_version, .. }
            if (minimum_version..=maximum_version).contains(&PROTOCOL_VERSION) => {}
        Response::SevInformation { .. } => terminate(Reason::GhcbVersion),
        _ => terminate(Reason::HostAnswer),
    }
}

/// What the host can do.
pub fn hypervisor_features() -> HypervisorFeatures {
    match exchange(Request::HypervisorFeatures) {
        Response::HypervisorFeatures(features) => features,
        _ => terminate(Reason::HostAnswer),
    }
}

/// Asks the host to make one page private or shared.
///
/// # Safety
/// Nothing of Rust's may lie in the page: its contents and its owner change.
pub unsafe fn change_page_state(address: u64, operation: PageOperation) {
    match exchange(Request::PageStateChange { address, operation }) {
        Response::PageStateChange { error: 0 } => {}
        _ => terminate(Reason::PageStateChange),
    }
}

/// Registers this vCPU's GHCB page.
pub fn register_ghcb(address: u64) {
    match exchange(Request::RegisterGhcb { address }) {
        Response::RegisterGhcb { address: Some(registered) } if registered == address => {}
        _ => terminate(Reason::GhcbRegistration),
    }
}

/// Why a lower VMPL does not run on this vCPU any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// It ran, and it or the host handed the vCPU back.
    Returned,
    /// The guest asked the host for a reset.
    GuestReset,
    /// The host cannot run it.
    Refused,
}

/// Runs a lower VMPL on this vCPU until it, or the host, hands the vCPU back.
pub fn run_vmpl(vmpl: Vmpl) -> RunEnd {
    match exchange(Request::RunVmpl { vmpl }) {
        Response::RunVmpl { error: 0 } => RunEnd::Returned,
        Response::RunVmpl { error: RUN_VMPL_GUEST_RESET } => RunEnd::GuestReset,
        Response::RunVmpl { .. } => RunEnd::Refused,
        _ => terminate(Reason::HostAnswer),
    }
}
