//! One call from a guest vCPU: read once from the VMSA, looked up, carried out, answered in the VMSA.

use crate::call_table::PROTOCOLS;
use crate::failure::{Failure, Fatal, Refusal};
use crate::guest_call::{GuestCall, Registers, protocol};
use crate::guest_vcpus::VcpuContext;
use crate::machine::{Lost, Machine};
use crate::svsm::{Svsm, Vcpu};
use core::mem::offset_of;
use snp_abi::svsm::{CALL_PENDING_OFFSET, CallNumber, ResultCode};
use snp_abi::vmsa::Vmsa;
use snp_abi::vmsa::start::EFER_SVME;

/// What a wake-up of VMPL0 turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// No call was pending, or the guest has given its calling area or VMSA away, and cannot be answered.
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
    ///
    /// # Errors
    /// If host or processor broke the contract.
    pub fn serve(&self, machine: &mut dyn Machine, vcpu: Vcpu) -> Result<Served, Fatal> {
        let calling = |context: &VcpuContext, is_shared: &dyn Fn() -> bool| {
            let mut pending = [0];
            let read = machine.read(context.calling_area, CALL_PENDING_OFFSET, &mut pending);
            // Of two VMSAs with one calling area, the one that left by VMGEXIT called; a new one has not run yet.
            read.is_ok() && pending == [PENDING] && (!is_shared() || left_by_vmgexit(machine, context))
        };
        let Some(mut context) = self.vcpus.start(vcpu.0, calling) else { return Ok(Served::Nothing) };
        let served = self.serve_call(machine, &mut context);
        self.vcpus.finish(vcpu.0, &context);
        served
    }

    fn serve_call(&self, machine: &mut dyn Machine, context: &mut VcpuContext) -> Result<Served, Fatal> {
        let taken = machine.write(context.calling_area, CALL_PENDING_OFFSET, &[0]);
        let Ok(mut vmsa) = taken.and_then(|()| GuestVmsa::suspend(machine, context)) else {
            return Ok(Served::Nothing);
        };
        let number = CallNumber::decode(vmsa.rax);
        let result = match self.call(machine, number, context, &mut vmsa.registers) {
            Ok(()) => ResultCode::Success,
            Err(Failure::Refusal(refusal)) => refusal.result_code(),
            Err(Failure::Fatal(fatal)) => return Err(fatal),
        };
        match vmsa.resume(machine, context, result) {
            Ok(()) => Ok(Served::Call { number, result }),
            Err(Lost) => Ok(Served::Nothing),
        }
    }

    /// Looks a call up and carries it out; the registers get its results.
    fn call(
        &self,
        machine: &mut dyn Machine,
        number: CallNumber,
        context: &mut VcpuContext,
        registers: &mut Registers,
    ) -> Result<(), Failure> {
        let row = protocol(PROTOCOLS, self, number.protocol).ok_or(Refusal::UnsupportedProtocol)?;
        let row = row.call(number.call).ok_or(Refusal::UnsupportedCall)?;
        let mut call = GuestCall { svsm: self, machine, context, protocols: PROTOCOLS };
        (row.serve)(&mut call, registers)
    }
}

fn left_by_vmgexit(machine: &mut dyn Machine, context: &VcpuContext) -> bool {
    let mut code = 0;
    let read = machine.read_words(context.vmsa, &[EXIT_CODE], core::slice::from_mut(&mut code));
    read.is_ok() && code == VMGEXIT
}

/// A guest's VMSA while its call is served: EFER.SVME is off, so that the host cannot run it meanwhile.
struct GuestVmsa {
    rax: u64,
    efer: u64,
    registers: Registers,
}

const EXIT_CODE: usize = offset_of!(Vmsa, guest_exit_code);
const EFER: usize = offset_of!(Vmsa, efer);
const RAX: usize = offset_of!(Vmsa, rax);
const RCX: usize = offset_of!(Vmsa, rcx);
const RDX: usize = offset_of!(Vmsa, rdx);
const R8: usize = offset_of!(Vmsa, r8);
const R9: usize = offset_of!(Vmsa, r9);

impl GuestVmsa {
    fn suspend(machine: &mut dyn Machine, context: &VcpuContext) -> Result<Self, Lost> {
        let mut efer = 0;
        machine.read_words(context.vmsa, &[EFER], core::slice::from_mut(&mut efer))?;
        machine.write_words(context.vmsa, &[(EFER, efer & !EFER_SVME)])?;
        let mut words = [0; 5];
        machine.read_words(context.vmsa, &[RAX, RCX, RDX, R8, R9], &mut words)?;
        let [rax, rcx, rdx, r8, r9] = words;
        Ok(Self { rax, efer, registers: Registers { rcx, rdx, r8, r9 } })
    }

    fn resume(
        self,
        machine: &mut dyn Machine,
        context: &VcpuContext,
        result: ResultCode,
    ) -> Result<(), Lost> {
        let Registers { rcx, rdx, r8, r9 } = self.registers;
        let answer = [
            (RAX, result.encode()),
            (RCX, rcx),
            (RDX, rdx),
            (R8, r8),
            (R9, r9),
            (EFER, self.efer | EFER_SVME),
        ];
        machine.write_words(context.vmsa, &answer)
    }
}
