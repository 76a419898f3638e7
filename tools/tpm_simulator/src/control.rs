//! swtpm's control channel: the switches around a TPM whose commands come raw.
//!
//! Facts: swtpm's manual page `swtpm_ioctls` and its header `tpm_ioctl.h`. Each request is a number with its fields,
//! each answer starts with a result; a client may use one connection for one request or for many.

use crate::machine::{Engine, Machine, lock};
use crate::server::Ending;
use crate::wire::{self, BUFFER_BYTES, ConnectionError};
use std::io::{Read, Write};
use std::sync::Mutex;

const GET_CAPABILITY: u32 = 1;
const INIT: u32 = 2;
const SHUTDOWN: u32 = 3;
const GET_TPMESTABLISHED: u32 = 4;
const SET_LOCALITY: u32 = 5;
const HASH_START: u32 = 6;
const HASH_DATA: u32 = 7;
const HASH_END: u32 = 8;
const CANCEL_TPM_COMMAND: u32 = 9;
const STORE_VOLATILE: u32 = 10;
const RESET_TPMESTABLISHED: u32 = 11;
const STOP: u32 = 14;
const GET_CONFIG: u32 = 15;
const SET_BUFFERSIZE: u32 = 17;

/// What GET_CAPABILITY says: the bits of `tpm_ioctl.h` for the requests above (init, shutdown, the established bit and
/// its reset, locality, hashing, cancel, stop, config, buffer size).
const CAPABILITIES: u64 = 0x1 | 0x2 | 0x4 | 0x80 | 0x8 | 0x10 | 0x20 | 0x40 | 0x400 | 0x800 | 0x2000;

const SUCCESS: u32 = 0;
/// TPM_BAD_ORDINAL and TPM_BAD_LOCALITY of TPM 1.2, which the channel uses for both families.
const BAD_ORDINAL: u32 = 0x0a;
const BAD_LOCALITY: u32 = 0x3d;

/// Localities 0 to 4; those from 32 on are reached by no bus (PC Client PTP 6.2).
const HIGHEST_LOCALITY: u8 = 4;

/// Serves requests until the other side closes the connection.
pub fn serve<E: Engine>(
    machine: &Mutex<Machine<E>>,
    reader: &mut impl Read,
    writer: &mut impl Write,
) -> Result<Option<Ending>, ConnectionError> {
    while let Some(request) = wire::read_u32_or_end(reader)? {
        let Some(answer) = answer(machine, request, reader)? else {
            // What follows an unknown request is its own, and not to be taken for more requests.
            wire::write(writer, &BAD_ORDINAL.to_be_bytes())?;
            return Err(ConnectionError::UnknownRequest(request));
        };
        wire::write(writer, &answer)?;
        if request == SHUTDOWN {
            return Ok(Some(Ending::Requested));
        }
    }
    Ok(None)
}

/// Does what one request asks for; says the bytes of its answer, or nothing for an unknown one.
fn answer<E: Engine>(
    machine: &Mutex<Machine<E>>,
    request: u32,
    reader: &mut impl Read,
) -> Result<Option<Vec<u8>>, ConnectionError> {
    let mut result = SUCCESS;
    let mut rest = Vec::new();
    match request {
        GET_CAPABILITY => return Ok(Some(CAPABILITIES.to_be_bytes().to_vec())),
        INIT => {
            let _flags = wire::read_u32(reader)?;
            lock(machine)?.reset();
        }
        STOP => lock(machine)?.power_off(),
        SHUTDOWN | CANCEL_TPM_COMMAND | STORE_VOLATILE => {}
        GET_TPMESTABLISHED => rest.extend([u8::from(lock(machine)?.established()), 0, 0, 0]),
        RESET_TPMESTABLISHED => {
            let _locality = wire::read_u8(reader)?;
            lock(machine)?.reset_established();
        }
        SET_LOCALITY => {
            let locality = wire::read_u8(reader)?;
            if locality <= HIGHEST_LOCALITY {
                lock(machine)?.set_locality(locality);
            } else {
                result = BAD_LOCALITY;
            }
        }
        HASH_START => lock(machine)?.hash_start(),
        HASH_DATA => {
            let data = wire::read_sized(reader)?;
            lock(machine)?.hash_data(&data);
        }
        HASH_END => lock(machine)?.hash_end(),
        GET_CONFIG => rest.extend([0; 4]),
        SET_BUFFERSIZE => {
            let _wanted = wire::read_u32(reader)?;
            let fixed = u32::try_from(BUFFER_BYTES).unwrap_or_default().to_be_bytes();
            rest.extend([fixed, fixed, fixed].concat());
        }
        _ => return Ok(None),
    }
    Ok(Some([result.to_be_bytes().to_vec(), rest].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::tests::{echo, events};

    fn run(bytes: &[u8]) -> (Vec<u8>, Vec<String>) {
        let machine = echo();
        let mut answer = Vec::new();
        serve(&machine, &mut { bytes }, &mut answer).unwrap();
        (answer, events(&machine))
    }

    #[test]
    fn init_resets_and_a_hash_sequence_sets_the_established_bit() {
        let bytes = [
            &[0, 0, 0, 2, 0, 0, 0, 0][..],
            &[0, 0, 0, 6, 0, 0, 0, 7, 0, 0, 0, 1, 5, 0, 0, 0, 8],
            &[0, 0, 0, 4, 0, 0, 0, 11, 3, 0, 0, 0, 4],
        ]
        .concat();
        let (answer, events) = run(&bytes);
        let expected = [&[0; 16][..], &[0, 0, 0, 0, 1, 0, 0, 0], &[0; 4], &[0; 8]].concat();
        assert_eq!(answer, expected);
        assert_eq!(events, ["power on", "power on", "hash start", "hash 1 bytes", "hash end"]);
    }

    #[test]
    fn the_locality_is_set_for_raw_commands_up_to_4() {
        let machine = echo();
        let mut answer = Vec::new();
        serve(&machine, &mut [0, 0, 0, 5, 3, 0, 0, 0, 5, 5].as_slice(), &mut answer).unwrap();
        assert_eq!(answer, [0, 0, 0, 0, 0, 0, 0, 0x3d]);
        machine.lock().unwrap().execute(&[0]);
        assert_eq!(events(&machine), ["power on", "3: 1 bytes"]);
    }

    #[test]
    fn a_stopped_tpm_is_started_by_init() {
        let machine = echo();
        serve(&machine, &mut [0, 0, 0, 14].as_slice(), &mut Vec::new()).unwrap();
        assert_eq!(machine.lock().unwrap().execute(&[0]).len(), 10);
        serve(&machine, &mut [0, 0, 0, 2, 0, 0, 0, 0].as_slice(), &mut Vec::new()).unwrap();
        assert_eq!(events(&machine), ["power on", "power on"]);
    }

    #[test]
    fn buffer_sizes_and_capabilities_have_their_fixed_shapes() {
        assert_eq!(run(&[0, 0, 0, 17, 0, 0, 0, 0]).0, [0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 16, 0, 0, 0, 16, 0]);
        assert_eq!(run(&[0, 0, 0, 1]).0, CAPABILITIES.to_be_bytes());
    }

    #[test]
    fn shutdown_is_answered_and_ends_the_program() {
        let machine = echo();
        let mut answer = Vec::new();
        let outcome = serve(&machine, &mut [0, 0, 0, 3].as_slice(), &mut answer);
        assert!(matches!(outcome, Ok(Some(Ending::Requested))));
        assert_eq!(answer, [0; 4]);
    }

    #[test]
    fn an_unknown_request_is_refused_and_hostile_lengths_end_the_connection() {
        // CMD_GET_INFO of `swtpm_ioctl --info`: its flags and offset would be CMD_INIT and CMD_SHUTDOWN.
        let machine = echo();
        let (mut answer, bytes) = (Vec::new(), [0, 0, 0, 18, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3]);
        let outcome = serve(&machine, &mut bytes.as_slice(), &mut answer);
        assert!(matches!(outcome, Err(ConnectionError::UnknownRequest(18))));
        assert_eq!((answer, events(&machine)), (vec![0, 0, 0, 0x0a], vec!["power on".to_owned()]));
        let machine = echo();
        let outcome = serve(&machine, &mut [0, 0, 0, 7, 0xff, 0xff, 0xff, 0xff].as_slice(), &mut Vec::new());
        assert!(matches!(outcome, Err(ConnectionError::TooLong(u32::MAX))));
        assert_eq!(events(&machine), ["power on"]);
    }
}
