//! The host's side of the GHCB MSR protocol. Events with a GHCB page are taken apart by the shell, which
//! has the page; the decisions behind them are methods of [`Machine`] too.
//!
//! Source: GHCB specification (56421), 2.3; unknown requests end the guest, as KVM does.

use crate::Contents;
use crate::machine::{Changed, Machine};
use crate::vcpu::Run;
use crate::violation::Fault;
use alloc::vec::Vec;
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
    /// A request that KVM would kill the guest for; it was reported.
    Malformed,
}

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
        let Ok(request) = Request::decode(value) else {
            self.report(actor, Fault::Protocol { value, why: "unknown or malformed MSR request" });
            return MsrOutcome::Malformed;
        };
        let mut changed = None;
        let response = match request {
            Request::UseGhcb { address } => return MsrOutcome::Page(address),
            Request::Terminate(reason) => return MsrOutcome::Terminated(reason),
            Request::SevInformation => sev_information(),
            Request::Cpuid { function, register } => {
                let registers = cpuid(CpuidQuery { leaf: function, subleaf: 0 });
                Response::Cpuid { value: pick(registers, register), register }
            }
            Request::ApResetHold => {
                self.vcpus[vcpu].run = Run::Held;
                self.vcpus[vcpu].channel().msr = Response::ApResetHold { released: true }.encode();
                return MsrOutcome::Held;
            }
            Request::PreferredGhcb => Response::PreferredGhcb { address: None },
            Request::RegisterGhcb { address } => {
                Response::RegisterGhcb { address: self.register_ghcb(vcpu, address) }
            }
            Request::PageStateChange { address, operation } => {
                match self.change_page_state(actor, address, PageSize::Small, operation, contents) {
                    Ok(pages) => {
                        changed = pages;
                        Response::PageStateChange { error: 0 }
                    }
                    Err(_) => Response::PageStateChange { error: 1 },
                }
            }
            Request::RunVmpl { .. } if vcpu == 0 && core::mem::take(&mut self.reset_pending) => {
                Response::RunVmpl { error: RUN_VMPL_GUEST_RESET }
            }
            Request::RunVmpl { vmpl } => {
                let from = actor.vmpl.index();
                if self.run_vmpl(vcpu, vmpl, contents) {
                    self.vcpus[vcpu].channels[from].msr = Response::RunVmpl { error: 0 }.encode();
                    return MsrOutcome::Switched;
                }
                Response::RunVmpl { error: 1 }
            }
            Request::HypervisorFeatures => Response::HypervisorFeatures(self.configuration.features),
        };
        self.vcpus[vcpu].channel().msr = response.encode();
        MsrOutcome::Answered(changed)
    }

    fn register_ghcb(&mut self, vcpu: usize, address: u64) -> Option<u64> {
        self.rmp.entry(address)?;
        self.vcpus[vcpu].channel().registered = Some(address);
        Some(address)
    }

    /// The APIC ids, as the APIC id list event gives them.
    pub fn apic_ids(&self) -> Vec<u32> {
        self.vcpus.iter().map(|vcpu| vcpu.apic_id).collect()
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
