//! One call from a guest vCPU: read once from the VMSA, looked up, carried out, answered in the VMSA.

use crate::call_table;
use crate::failure::{Failure, Fatal, Refusal};
use crate::ledger::Ledger;
use crate::machine::Machine;
use crate::psp_channel::PspChannel;
use crate::registry::{Registry, VcpuContext};
use crate::vtpm::Vtpm;
use alloc::boxed::Box;
use core::mem::offset_of;
use snp_abi::svsm::{CALL_PENDING_OFFSET, CallNumber, ResultCode};
use snp_abi::vmsa::Vmsa;
use snp_abi::vmsa::start::EFER_SVME;

/// The state of the services, shared by all vCPUs.
pub struct Svsm {
    /// Who has which page.
    pub ledger: Ledger,
    /// The guest's vCPUs.
    pub registry: Registry,
    /// The guest's VMPL, 1 to 3.
    pub guest_vmpl: u8,
    /// The way to the security processor.
    pub channel: PspChannel,
    /// The TPM, if there is one.
    pub vtpm: Option<Box<dyn Vtpm>>,
}

/// Number of a vCPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vcpu(pub usize);

/// The argument registers of a call; results go back in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    /// RCX.
    pub rcx: u64,
    /// RDX.
    pub rdx: u64,
    /// R8.
    pub r8: u64,
    /// R9.
    pub r9: u64,
}

/// A call in progress, as its handler sees it.
pub(crate) struct Request<'a> {
    pub svsm: &'a Svsm,
    pub machine: &'a mut dyn Machine,
    pub context: &'a mut VcpuContext,
    pub arguments: Arguments,
}

/// What a wake-up of VMPL0 turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// No call was pending.
    Nothing,
    /// This call was answered with this code.
    Call {
        /// Protocol and call.
        number: CallNumber,
        /// RAX.
        result: ResultCode,
    },
}

const PENDING: u8 = 1;
/// GUEST_EXIT_CODE of VMGEXIT (APM volume 2, appendix C).
const VMGEXIT: u64 = 0x403;

impl Svsm {
    /// Serves the call that is pending on a vCPU, if there is one.
    pub fn serve(&self, machine: &mut dyn Machine, vcpu: Vcpu) -> Result<Served, Fatal> {
        let calling = |context: &VcpuContext, is_shared: bool| {
            let mut pending = [0];
            machine.read(context.calling_area, CALL_PENDING_OFFSET, &mut pending);
            // Of two VMSAs with one calling area, the one that left by VMGEXIT called; a new one has not run yet.
            let mut left_by = || read_u64(machine, context, offset_of!(Vmsa, guest_exit_code));
            pending == [PENDING] && (!is_shared || left_by() == VMGEXIT)
        };
        let Some(mut context) = self.registry.start(vcpu.0, calling) else { return Ok(Served::Nothing) };
        machine.write(context.calling_area, CALL_PENDING_OFFSET, &[0]);
        let mut vmsa = GuestVmsa::suspend(machine, &context);
        let number = CallNumber::decode(vmsa.rax);
        let outcome = self.call(machine, number, &mut context, &mut vmsa.arguments);
        let result = match outcome {
            Ok(()) => ResultCode::Success,
            Err(Failure::Refusal(refusal)) => refusal.result_code(),
            Err(Failure::Fatal(fatal)) => return Err(fatal),
        };
        vmsa.resume(machine, &context, result);
        self.registry.finish(vcpu.0, &context);
        Ok(Served::Call { number, result })
    }

    /// Looks a call up and carries it out; `arguments` become its results.
    pub(crate) fn call(
        &self,
        machine: &mut dyn Machine,
        number: CallNumber,
        context: &mut VcpuContext,
        arguments: &mut Arguments,
    ) -> Result<(), Failure> {
        let protocol = call_table::protocol(self, number.protocol).ok_or(Refusal::UnsupportedProtocol)?;
        let call = protocol.call(number.call).ok_or(Refusal::UnsupportedCall)?;
        let mut request = Request { svsm: self, machine, context, arguments: *arguments };
        let outcome = (call.handler)(&mut request);
        *arguments = request.arguments;
        outcome
    }
}

/// A guest's VMSA while its call is served: EFER.SVME is off, so that the host cannot run it meanwhile.
struct GuestVmsa {
    rax: u64,
    efer: u64,
    arguments: Arguments,
}

const RCX: usize = offset_of!(Vmsa, rcx);
const RDX: usize = offset_of!(Vmsa, rdx);
const R8: usize = offset_of!(Vmsa, r8);
const R9: usize = offset_of!(Vmsa, r9);

fn read_u64(machine: &mut dyn Machine, context: &VcpuContext, offset: usize) -> u64 {
    let mut bytes = [0; 8];
    machine.read(context.vmsa, offset, &mut bytes);
    u64::from_le_bytes(bytes)
}

fn write_u64(machine: &mut dyn Machine, context: &VcpuContext, offset: usize, value: u64) {
    machine.write(context.vmsa, offset, &value.to_le_bytes());
}

impl GuestVmsa {
    fn suspend(machine: &mut dyn Machine, context: &VcpuContext) -> Self {
        let efer = read_u64(machine, context, offset_of!(Vmsa, efer));
        write_u64(machine, context, offset_of!(Vmsa, efer), efer & !EFER_SVME);
        Self {
            rax: read_u64(machine, context, offset_of!(Vmsa, rax)),
            efer,
            arguments: Arguments {
                rcx: read_u64(machine, context, RCX),
                rdx: read_u64(machine, context, RDX),
                r8: read_u64(machine, context, R8),
                r9: read_u64(machine, context, R9),
            },
        }
    }

    fn resume(self, machine: &mut dyn Machine, context: &VcpuContext, result: ResultCode) {
        write_u64(machine, context, offset_of!(Vmsa, rax), result.encode());
        let Arguments { rcx, rdx, r8, r9 } = self.arguments;
        for (offset, value) in [(RCX, rcx), (RDX, rdx), (R8, r8), (R9, r9)] {
            write_u64(machine, context, offset, value);
        }
        write_u64(machine, context, offset_of!(Vmsa, efer), self.efer | EFER_SVME);
    }
}
