//! The vTPM protocol: commands in and out of one page. Source: AMD 58019, chapter 8.

use crate::failure::{Failure, Refusal};
use crate::guest_call::{GuestCall, Operands, Registers, Results, ServedCall};
use crate::guest_memory::{GuestRange, zeroed};
use crate::svsm::Svsm;
use snp_abi::svsm::vtpm::{
    BUFFER_BYTES, CommandHeader, MAXIMUM_COMMAND_BYTES, MAXIMUM_RESPONSE_BYTES, ResponseHeader, SEND_COMMAND,
    SUPPORTED_COMMANDS,
};
use zerocopy::{FromBytes, IntoBytes};

/// Features of VTPM_QUERY: none is defined.
const FEATURES: u64 = 0;
/// Platform commands that have a bit in VTPM_QUERY's answer.
const NAMED_COMMANDS: u32 = 64;
/// The locality of an operating system; the others belong to firmware and to dynamic launch, which have no business here.
const LOCALITY: u8 = 0;

/// Whether the protocol exists here.
pub(crate) fn is_offered(svsm: &Svsm) -> bool {
    svsm.vtpm.is_some()
}

/// VTPM_QUERY: what the protocol can do.
pub(crate) struct Query;

/// RCX: the platform commands, RDX: the features.
#[derive(Default)]
pub(crate) struct Abilities {
    commands: u64,
    features: u64,
}

impl Results for Abilities {
    fn encode(self, registers: &mut Registers) {
        registers.rcx = self.commands;
        registers.rdx = self.features;
    }
}

impl ServedCall for Query {
    type Operands = ();
    type Results = Abilities;

    fn serve(_: &mut GuestCall<'_>, (): (), abilities: &mut Abilities) -> Result<(), Failure> {
        *abilities = Abilities { commands: SUPPORTED_COMMANDS, features: FEATURES };
        Ok(())
    }
}

/// VTPM_CMD: runs a command.
pub(crate) struct Command;

/// RCX: the address of the buffer, a page long at any alignment.
pub(crate) struct BufferPlace {
    address: u64,
}

impl Operands for BufferPlace {
    fn decode(registers: &Registers) -> Result<Self, Refusal> {
        let address = registers.rcx;
        if address == 0 { Err(Refusal::InvalidParameter) } else { Ok(Self { address }) }
    }
}

impl ServedCall for Command {
    type Operands = BufferPlace;
    type Results = ();

    fn serve(
        call: &mut GuestCall<'_>,
        BufferPlace { address }: BufferPlace,
        (): &mut (),
    ) -> Result<(), Failure> {
        let place = GuestRange::new(address, BUFFER_BYTES)?;
        let mut buffer = zeroed(BUFFER_BYTES)?;
        call.read_guest(place, &mut buffer)?;
        let (header, rest) =
            CommandHeader::read_from_prefix(&buffer).map_err(|_| Refusal::InvalidParameter)?;
        let command = check(&header, rest)?;
        let vtpm = call.svsm.vtpm.as_ref().ok_or(Refusal::UnsupportedProtocol)?;
        let mut response = zeroed(BUFFER_BYTES)?;
        let (head, body) =
            response.split_at_mut_checked(size_of::<ResponseHeader>()).ok_or(Refusal::InvalidRequest)?;
        let length = vtpm.execute(header.locality, command, body).map_err(|error| error.refusal())?;
        let length = length.min(MAXIMUM_RESPONSE_BYTES);
        let bytes = u32::try_from(length).map_err(|_| Refusal::InvalidRequest)?;
        head.copy_from_slice(ResponseHeader { length: bytes.into() }.as_bytes());
        let used = length.saturating_add(size_of::<ResponseHeader>());
        call.write_guest(GuestRange::new(address, used)?, &response)?;
        Ok(())
    }
}

/// The command's bytes, if the frame around it is one.
fn check<'a>(header: &CommandHeader, rest: &'a [u8]) -> Result<&'a [u8], Refusal> {
    let number = header.command.get();
    if number != SEND_COMMAND {
        // A command that could be there and is not; anything else is no command at all.
        let named = number < NAMED_COMMANDS;
        return Err(if named { Refusal::UnsupportedCall } else { Refusal::InvalidParameter });
    }
    let length = usize::try_from(header.length.get()).map_err(|_| Refusal::InvalidParameter)?;
    if header.locality != LOCALITY || length > MAXIMUM_COMMAND_BYTES {
        return Err(Refusal::InvalidParameter);
    }
    rest.get(..length).ok_or(Refusal::InvalidParameter)
}
