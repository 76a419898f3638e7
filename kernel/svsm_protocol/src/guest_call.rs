//! A guest's call: its registers, what a handler has while it serves it, and the rows of the call table.

use crate::failure::{Failure, Refusal};
use crate::guest_vcpus::VcpuContext;
use crate::machine::Machine;
use crate::svsm::Svsm;

/// The argument registers of a call; results go back in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registers {
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
pub(crate) struct GuestCall<'a> {
    pub svsm: &'a Svsm,
    pub machine: &'a mut dyn Machine,
    pub context: &'a mut VcpuContext,
    /// The table that the call was found in.
    pub protocols: &'static [ProtocolRow],
}

/// What a call takes out of the registers. What they hold is a claim: checks that need the ledger are the handler's.
pub(crate) trait Operands: Sized {
    /// # Errors
    /// If the registers break a rule that can be seen from them alone.
    fn decode(registers: &Registers) -> Result<Self, Refusal>;
}

/// What a call puts into the registers, also when it is refused; registers without a result stay as they are.
pub(crate) trait Results: Default {
    /// Puts the results that there are where the guest looks for them.
    fn encode(self, registers: &mut Registers);
}

/// A call without results in registers.
impl Results for () {
    fn encode(self, _: &mut Registers) {}
}

/// A call without operands.
impl Operands for () {
    fn decode(_: &Registers) -> Result<Self, Refusal> {
        Ok(())
    }
}

/// How a call is served.
pub(crate) trait ServedCall {
    /// What it takes.
    type Operands: Operands;
    /// What it gives.
    type Results: Results;

    /// Checks, then changes.
    ///
    /// # Errors
    /// If the call is refused, which leaves no trace but results, or host or processor broke the contract.
    fn serve(
        call: &mut GuestCall<'_>,
        operands: Self::Operands,
        results: &mut Self::Results,
    ) -> Result<(), Failure>;
}

/// One call of a protocol.
pub struct CallRow {
    /// Number in RAX bits 31:0.
    pub number: u32,
    /// Its name in the specification.
    pub name: &'static str,
    /// What carries it out, from registers to registers.
    pub(crate) serve: fn(&mut GuestCall<'_>, &mut Registers) -> Result<(), Failure>,
}

impl CallRow {
    /// The row of a call that is served by `C`.
    pub(crate) const fn of<C: ServedCall>(number: u32, name: &'static str) -> Self {
        Self { number, name, serve: serve::<C> }
    }
}

fn serve<C: ServedCall>(call: &mut GuestCall<'_>, registers: &mut Registers) -> Result<(), Failure> {
    let operands = C::Operands::decode(registers)?;
    let mut results = C::Results::default();
    let outcome = C::serve(call, operands, &mut results);
    results.encode(registers);
    outcome
}

/// One protocol.
pub struct ProtocolRow {
    /// Number in RAX bits 63:32.
    pub number: u32,
    /// Its name.
    pub name: &'static str,
    /// Lowest and highest version that is served.
    pub versions: (u32, u32),
    /// Whether this VM has it.
    pub(crate) is_offered: fn(&Svsm) -> bool,
    /// The calls, in order of their numbers.
    pub calls: &'static [CallRow],
}

impl ProtocolRow {
    /// The call with this number.
    pub(crate) fn call(&self, number: u32) -> Option<&'static CallRow> {
        self.calls.iter().find(|call| call.number == number)
    }
}

/// The protocol with this number, if this VM has it.
pub(crate) fn protocol(
    protocols: &'static [ProtocolRow],
    svsm: &Svsm,
    number: u32,
) -> Option<&'static ProtocolRow> {
    protocols.iter().find(|protocol| protocol.number == number && (protocol.is_offered)(svsm))
}
