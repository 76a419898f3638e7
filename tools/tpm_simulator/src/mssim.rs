//! The command port's protocol of the TCG reference simulator: request numbers, and commands with their locality.
//!
//! Facts: `TpmTcpProtocol.h` and `TcpServer.c` of the TCG reference code. Every request but the end of a session is
//! answered, and the answer ends with a zero number.

use crate::machine::{Engine, Machine, lock};
use crate::server::Ending;
use crate::wire::{self, ConnectionError};
use std::io::{Read, Write};
use std::sync::Mutex;

const SIGNAL_HASH_START: u32 = 5;
const SIGNAL_HASH_DATA: u32 = 6;
const SIGNAL_HASH_END: u32 = 7;
const SEND_COMMAND: u32 = 8;
const REMOTE_HANDSHAKE: u32 = 15;
const SESSION_END: u32 = 20;
const STOP: u32 = 21;

/// What a handshake says of this side: its version, and that it has a platform port and physical presence.
const SERVER_VERSION: u32 = 1;
const PLATFORM_AND_PRESENCE: u32 = 0x02 | 0x04;

/// Serves requests until the session ends.
pub fn serve<E: Engine>(
    machine: &Mutex<Machine<E>>,
    reader: &mut impl Read,
    writer: &mut impl Write,
) -> Result<Option<Ending>, ConnectionError> {
    while let Some(request) = wire::read_u32_or_end(reader)? {
        let mut answer = Vec::new();
        match request {
            SIGNAL_HASH_START => lock(machine)?.hash_start(),
            SIGNAL_HASH_DATA => {
                let data = wire::read_sized(reader)?;
                lock(machine)?.hash_data(&data);
            }
            SIGNAL_HASH_END => lock(machine)?.hash_end(),
            SEND_COMMAND => {
                let locality = wire::read_u8(reader)?;
                let command = wire::read_sized(reader)?;
                let response = lock(machine)?.execute_at(locality, &command);
                let length = u32::try_from(response.len()).unwrap_or_default();
                answer.extend(length.to_be_bytes());
                answer.extend(response);
            }
            REMOTE_HANDSHAKE => {
                let _client_version = wire::read_u32(reader)?;
                answer.extend(SERVER_VERSION.to_be_bytes());
                answer.extend(PLATFORM_AND_PRESENCE.to_be_bytes());
            }
            SESSION_END => return Ok(None),
            STOP => return Ok(Some(Ending::Requested)),
            unknown => return Err(ConnectionError::UnknownRequest(unknown)),
        }
        answer.extend([0; 4]);
        wire::write(writer, &answer)?;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::tests::{echo, events};

    type Outcome = Result<Option<Ending>, ConnectionError>;

    fn run(bytes: &[u8]) -> (Outcome, Vec<u8>, Vec<String>) {
        let machine = echo();
        let mut answer = Vec::new();
        let outcome = serve(&machine, &mut { bytes }, &mut answer);
        (outcome, answer, events(&machine))
    }

    #[test]
    fn a_hash_sequence_reaches_the_engine_in_order() {
        let bytes = [&[0, 0, 0, 5, 0, 0, 0, 6, 0, 0, 0, 2, 9, 9][..], &[0, 0, 0, 7]].concat();
        let (outcome, answer, events) = run(&bytes);
        assert!(matches!(outcome, Ok(None)));
        assert_eq!(answer, [0; 12]);
        assert_eq!(events, ["power on", "hash start", "hash 2 bytes", "hash end"]);
    }

    #[test]
    fn a_handshake_is_answered_by_version_and_abilities() {
        assert_eq!(run(&[0, 0, 0, 15, 0, 0, 0, 1]).1, [0, 0, 0, 1, 0, 0, 0, 6, 0, 0, 0, 0]);
    }

    #[test]
    fn a_command_of_no_bytes_is_one_for_the_engine_to_refuse() {
        let (outcome, answer, events) = run(&[0, 0, 0, 8, 0, 0, 0, 0, 0]);
        assert!(outcome.is_ok());
        assert_eq!(answer, [0; 8]);
        assert_eq!(events, ["power on", "0: 0 bytes"]);
    }

    #[test]
    fn a_hostile_length_ends_the_connection_without_an_answer() {
        for request in [8, 6] {
            let locality: &[u8] = if request == 8 { &[0] } else { &[] };
            let bytes = [&[0, 0, 0, request], locality, &[0x7f, 0xff, 0xff, 0xff, 1, 2, 3]].concat();
            let (outcome, answer, events) = run(&bytes);
            assert!(matches!(outcome, Err(ConnectionError::TooLong(0x7fff_ffff))));
            assert!(answer.is_empty());
            assert_eq!(events, ["power on"]);
        }
    }

    #[test]
    fn a_stream_that_ends_anywhere_in_a_command_executes_nothing() {
        let whole = [0, 0, 0, 8, 0, 0, 0, 0, 2, 0x80, 1];
        for length in 1..whole.len() {
            let (outcome, _, events) = run(&whole[..length]);
            assert!(matches!(outcome, Err(ConnectionError::Stream(_))), "{length}");
            assert_eq!(events, ["power on"]);
        }
    }

    #[test]
    fn stop_and_the_end_of_a_session_are_told_apart() {
        assert!(matches!(run(&[0, 0, 0, 20]).0, Ok(None)));
        assert!(matches!(run(&[0, 0, 0, 21]).0, Ok(Some(Ending::Requested))));
        assert!(matches!(run(&[0, 0, 0, 99]).0, Err(ConnectionError::UnknownRequest(99))));
    }
}
