//! Raw TPM bytes on a stream, as swtpm has them: a command says its size in its own header.

use crate::machine::{Engine, Machine, header_only, lock};
use crate::wire::{self, BUFFER_BYTES, ConnectionError, HEADER_BYTES};
use std::io::{self, Read, Write};
use std::sync::Mutex;

/// TPM_RC_COMMAND_SIZE.
const RC_COMMAND_SIZE: u32 = 0x142;

/// Serves commands until the other side closes the connection.
///
/// Where the size in a header is beyond every buffer, the end of the command cannot be known: it is answered by
/// TPM_RC_COMMAND_SIZE and the connection is closed.
pub fn serve<E: Engine>(
    machine: &Mutex<Machine<E>>,
    reader: &mut impl Read,
    writer: &mut impl Write,
) -> Result<(), ConnectionError> {
    while let Some(header) = read_header(reader)? {
        let size = u32::from_be_bytes([header[2], header[3], header[4], header[5]]);
        let Some(size_bytes) = usize::try_from(size).ok().filter(|size| *size <= BUFFER_BYTES) else {
            wire::write(writer, &header_only(RC_COMMAND_SIZE))?;
            return Err(ConnectionError::TooLong(size));
        };
        let mut command = header.to_vec();
        command.resize(size_bytes.max(HEADER_BYTES), 0);
        reader.read_exact(command.get_mut(HEADER_BYTES..).unwrap_or_default())?;
        let response = lock(machine)?.execute(&command);
        wire::write(writer, &response)?;
    }
    Ok(())
}

/// Reads the next header, or nothing where the stream ends before it.
fn read_header(reader: &mut impl Read) -> Result<Option<[u8; HEADER_BYTES]>, ConnectionError> {
    let mut header = [0; HEADER_BYTES];
    let mut filled = 0;
    while filled < HEADER_BYTES {
        match reader.read(&mut header[filled..])? {
            0 if filled == 0 => return Ok(None),
            0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            count => filled += count,
        }
    }
    Ok(Some(header))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::tests::{echo, events};

    #[test]
    fn two_commands_in_one_packet_are_two_commands() {
        let machine = echo();
        let command = [0x80, 1, 0, 0, 0, 11, 0, 0, 1, 0x44, 7];
        let mut answer = Vec::new();
        serve(&machine, &mut [command, command].concat().as_slice(), &mut answer).unwrap();
        assert_eq!(answer, [command, command].concat());
    }

    #[test]
    fn a_size_below_the_header_reaches_the_engine_as_a_header() {
        let machine = echo();
        let command = [0x80, 1, 0, 0, 0, 3, 0, 0, 1, 0x44];
        serve(&machine, &mut command.as_slice(), &mut Vec::new()).unwrap();
        assert_eq!(events(&machine), ["power on", "0: 10 bytes"]);
    }

    #[test]
    fn a_size_beyond_every_buffer_is_answered_and_ends_the_connection() {
        for size in [[0, 0, 0x10, 1], [0xff; 4]] {
            let machine = echo();
            let mut answer = Vec::new();
            let command = [&[0x80, 1][..], &size, &[0, 0, 1, 0x44]].concat();
            let error = serve(&machine, &mut command.as_slice(), &mut answer).unwrap_err();
            assert!(matches!(error, ConnectionError::TooLong(_)));
            assert_eq!(answer, header_only(RC_COMMAND_SIZE));
            assert_eq!(events(&machine), ["power on"]);
        }
    }

    #[test]
    fn a_command_that_ends_early_is_not_executed() {
        for length in 1..12 {
            let machine = echo();
            let command = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0];
            let error = serve(&machine, &mut &command[..length], &mut Vec::new()).unwrap_err();
            assert!(matches!(error, ConnectionError::Stream(_)));
            assert_eq!(events(&machine), ["power on"]);
        }
    }
}
