//! The vTPM protocol: commands in and out of one page. Source: AMD 58019, chapter 8.
//!
//! The engine is behind [`Vtpm`]. One vCPU uses it at a time; the others are told to call again, so that a command that takes
//! long (a key is made) holds up nobody's other calls.

use crate::failure::{Failure, Refusal};
use crate::guest_memory::GuestRange;
use crate::serve::{Request, Svsm};
use alloc::vec::Vec;
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

/// Why the TPM did not run a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VtpmError {
    /// Another vCPU's command is running.
    Busy,
    /// The TPM cannot do this at all.
    Unavailable,
}

impl VtpmError {
    pub(crate) fn refusal(self) -> Refusal {
        match self {
            Self::Busy => Refusal::Busy,
            Self::Unavailable => Refusal::InvalidRequest,
        }
    }
}

/// The VM's TPM.
pub trait Vtpm: Send + Sync {
    /// Runs a command and returns the length of its response, at most that of the buffer.
    ///
    /// # Errors
    /// If the command was not run; nothing has changed then.
    fn execute(&self, locality: u8, command: &[u8], response: &mut [u8]) -> Result<usize, VtpmError>;

    /// TPMT_PUBLIC of the RSA-2048 endorsement key that the TPM was made with.
    ///
    /// # Errors
    /// If the key is not there yet, or cannot be made.
    fn endorsement_key(&self) -> Result<Vec<u8>, VtpmError>;

    /// What a reset of its machine is for a TPM (`_TPM_Init`): PCRs and sessions are gone, keys and NV stay, and it waits for
    /// TPM2_Startup.
    ///
    /// # Errors
    /// If a command is running; nothing has changed then.
    fn reset(&self) -> Result<(), VtpmError>;
}

/// Whether the protocol exists here.
pub fn is_offered(svsm: &Svsm) -> bool {
    svsm.vtpm.is_some()
}

/// VTPM_QUERY: RCX comes back as the platform commands, RDX as the features.
pub fn query(request: &mut Request<'_>) -> Result<(), Failure> {
    request.arguments.rcx = SUPPORTED_COMMANDS;
    request.arguments.rdx = FEATURES;
    Ok(())
}

/// VTPM_CMD: RCX is the address of the buffer, a page long at any alignment.
pub fn command(request: &mut Request<'_>) -> Result<(), Failure> {
    let address = request.arguments.rcx;
    if address == 0 {
        return Err(Refusal::InvalidParameter.into());
    }
    let place = GuestRange::new(address, BUFFER_BYTES)?;
    let mut buffer = alloc::vec![0; BUFFER_BYTES];
    request.read_guest(place, &mut buffer)?;
    let (header, rest) = CommandHeader::read_from_prefix(&buffer).map_err(|_| Refusal::InvalidParameter)?;
    let command = check(&header, rest)?;
    let vtpm = request.svsm.vtpm.as_ref().ok_or(Refusal::UnsupportedProtocol)?;
    let mut response = alloc::vec![0; BUFFER_BYTES];
    let (head, body) =
        response.split_at_mut_checked(size_of::<ResponseHeader>()).ok_or(Refusal::InvalidRequest)?;
    let length = vtpm.execute(header.locality, command, body).map_err(|error| error.refusal())?;
    let length = length.min(MAXIMUM_RESPONSE_BYTES);
    let bytes = u32::try_from(length).map_err(|_| Refusal::InvalidRequest)?;
    head.copy_from_slice(ResponseHeader { length: bytes.into() }.as_bytes());
    let used = length.saturating_add(size_of::<ResponseHeader>());
    request.write_guest(GuestRange::new(address, used)?, &response)?;
    Ok(())
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
