//! The host's side of the GHCB MSR protocol. Events with a GHCB page are taken apart by the shell, which
//! has the page; the decisions behind them are methods of [`Machine`] too.
//!
//! Source: GHCB specification (56421), 2.3, and `host_profiles::contract` for what it leaves to the host.

use crate::Contents;
use crate::machine::{Changed, Machine};
use crate::vcpu::{HostEnd, Run, Switch};
use crate::violation::Fault;
use alloc::vec::Vec;
use host_profiles::contract::{Levels, UnknownRequest};
use snp_abi::address::PageSize;
use snp_abi::cpuid::{CpuidQuery, CpuidRegisters};
use snp_abi::ghcb::PROTOCOL_VERSION;
use snp_abi::ghcb::msr_protocol::{CpuidRegister, RUN_VMPL_GUEST_RESET, Request, Response};
use snp_abi::ghcb::termination::Termination;

/// Position of the C-bit that this host announces.
pub const C_BIT_POSITION: u8 = 51;

/// What a VMGEXIT through the MSR came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MsrOutcome {
    /// Answered in the MSR; mappings to remove.
    Answered(Option<Changed>),
    /// The request is in the GHCB page at this address.
    Page(u64),
    /// Another VMPL of the vCPU runs now.
    Switched,
    /// The vCPU sleeps.
    Held,
    /// The guest ends itself.
    Terminated(Termination),
    /// A request that this host ends the guest for; it was reported.
    Malformed,
    /// The host cannot go on.
    Ended(HostEnd),
}

/// So many requests in a row that the host does not know are no probing any more.
const MOST_UNKNOWN_REQUESTS: u32 = 1000;
/// Bits of a CPUID request that mean nothing and that KVM's answer keeps: it replaces value and code only (sev.c:4364).
const KVM_KEEPS_OF_CPUID: u64 = 0x3fff_f000;
/// Bit 63: how KVM says that a page state change failed (sev.c:3784).
const KVM_PAGE_STATE_ERROR: u32 = 1 << 31;

impl Machine {
    /// The value that the GHCB MSR has before the first request.
    pub fn initial_msr(&self) -> u64 {
        sev_information().encode()
    }

    /// VMGEXIT: decides about the current value of the vCPU's GHCB MSR.
    pub fn vmgexit(
        &mut self,
        vcpu: usize,
        cpuid: impl FnOnce(CpuidQuery) -> CpuidRegisters,
        contents: &mut dyn Contents,
    ) -> MsrOutcome {
        let actor = self.actor(vcpu);
        let value = self.vcpus[vcpu].channel().msr;
        let follows_kvm = self.configuration.contract.follows_kvm;
        let request = match Request::decode(value) {
            Err(_) if follows_kvm => kvm_reading(value),
            request => request.map_err(|_| None),
        };
        let request = match request {
            Ok(request) => request,
            Err(None) => return self.unknown_request(vcpu, value),
            Err(Some(Response::RunVmpl { .. })) if self.configuration.contract.levels == Levels::One => {
                return self.unknown_request(vcpu, value);
            }
            Err(Some(answer)) => {
                self.vcpus[vcpu].channel().msr = answer.encode();
                return MsrOutcome::Answered(None);
            }
        };
        self.vcpus[vcpu].unknown_requests = 0;
        let mut changed = None;
        let mut kept = 0;
        let response = match request {
            Request::UseGhcb { address } => return MsrOutcome::Page(address),
            Request::Terminate(reason) => return MsrOutcome::Terminated(reason),
            Request::SevInformation => sev_information(),
            Request::Cpuid { function, register } => {
                let registers = cpuid(CpuidQuery { leaf: function, subleaf: 0 });
                kept = if follows_kvm { value & KVM_KEEPS_OF_CPUID } else { 0 };
                Response::Cpuid { value: pick(registers, register), register }
            }
            Request::ApResetHold => {
                // KVM presets 0, and says 1 only for a second start-up IPI (sev.c:4963).
                let state = &mut self.vcpus[vcpu];
                state.set_run(Run::Held);
                state.channel().msr = Response::ApResetHold { released: !follows_kvm }.encode();
                return MsrOutcome::Held;
            }
            Request::PreferredGhcb => Response::PreferredGhcb { address: None },
            Request::RegisterGhcb { address } => {
                // KVM looks at nothing (sev.c:4364).
                let refused = !follows_kvm && self.rmp.entry(address).is_none();
                let address = (!refused).then_some(address);
                let channel = self.vcpus[vcpu].channel();
                channel.registered = address.or(channel.registered);
                Response::RegisterGhcb { address }
            }
            Request::PageStateChange { address, operation } => {
                match self.change_page_state(actor, address, PageSize::Small, operation, contents) {
                    Ok(pages) => {
                        changed = pages;
                        Response::PageStateChange { error: 0 }
                    }
                    Err(_) if follows_kvm => Response::PageStateChange { error: KVM_PAGE_STATE_ERROR },
                    Err(_) => Response::PageStateChange { error: 1 },
                }
            }
            Request::RunVmpl { .. } if vcpu == 0 && core::mem::take(&mut self.reset_pending) => {
                Response::RunVmpl { error: RUN_VMPL_GUEST_RESET }
            }
            Request::RunVmpl { vmpl } => {
                let from = actor.vmpl.index();
                match self.run_vmpl(vcpu, vmpl, contents) {
                    Switch::Done => {
                        self.vcpus[vcpu].channels[from].msr = Response::RunVmpl { error: 0 }.encode();
                        return MsrOutcome::Switched;
                    }
                    Switch::Refused => Response::RunVmpl { error: 1 },
                    Switch::Unknown => return self.unknown_request(vcpu, value),
                    Switch::Ends(end) => return MsrOutcome::Ended(end),
                }
            }
            Request::HypervisorFeatures => Response::HypervisorFeatures(self.configuration.contract.features),
        };
        self.vcpus[vcpu].channel().msr = response.encode() | kept;
        MsrOutcome::Answered(changed)
    }

    /// KVM leaves the register as it is, so that the guest reads its own request (sev.c:4489). A guest that never stops asking is
    /// told on after a while.
    fn unknown_request(&mut self, vcpu: usize, value: u64) -> MsrOutcome {
        let actor = self.actor(vcpu);
        if self.configuration.contract.unknown_request == UnknownRequest::EndsGuest {
            self.report(actor, Fault::Protocol { value, why: "unknown or malformed MSR request" });
            return MsrOutcome::Malformed;
        }
        let state = &mut self.vcpus[vcpu];
        state.unknown_requests += 1;
        if state.unknown_requests == MOST_UNKNOWN_REQUESTS {
            let why = "the same unknown MSR request over and over; the answer is the request itself";
            self.report(actor, Fault::Protocol { value, why });
        }
        MsrOutcome::Answered(None)
    }

    /// The APIC ids, as the APIC id list event gives them.
    pub fn apic_ids(&self) -> Vec<u32> {
        self.vcpus.iter().map(|vcpu| vcpu.apic_id).collect()
    }
}

/// Bits of a request that KVM looks at, by code: it ignores the others.
const KVM_LOOKS_AT: [(u64, u64); 6] = [
    (0x002, 0xfff),
    (0x004, 0xffff_ffff_c000_0fff),
    (0x006, 0xfff),
    (0x010, 0xfff),
    (0x080, 0xfff),
    (0x100, 0x00ff_ffff),
];

/// What KVM makes of a value that is no request by the letter of the specification: a request all the same, a refusal, or nothing.
fn kvm_reading(value: u64) -> Result<Request, Option<Response>> {
    match value & 0xfff {
        // Operations other than private and shared fail (sev.c:3784); levels that do not exist are refused (planes 58).
        0x014 => Request::decode(value & 0x00ff_ffff_ffff_ffff)
            .map_err(|_| Some(Response::PageStateChange { error: KVM_PAGE_STATE_ERROR })),
        0x016 => Request::decode(value & 0xff_0000_0fff).map_err(|_| Some(Response::RunVmpl { error: 1 })),
        code => {
            let row = KVM_LOOKS_AT.iter().find(|(known, _)| *known == code);
            row.and_then(|(_, mask)| Request::decode(value & mask).ok()).ok_or(None)
        }
    }
}

fn sev_information() -> Response {
    Response::SevInformation {
        maximum_version: PROTOCOL_VERSION,
        minimum_version: 1,
        c_bit_position: C_BIT_POSITION,
    }
}

fn pick(registers: CpuidRegisters, register: CpuidRegister) -> u32 {
    match register {
        CpuidRegister::Eax => registers.eax,
        CpuidRegister::Ebx => registers.ebx,
        CpuidRegister::Ecx => registers.ecx,
        CpuidRegister::Edx => registers.edx,
    }
}
