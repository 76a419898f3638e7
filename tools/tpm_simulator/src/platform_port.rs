//! The platform port of the TCG reference simulator: the switches of the machine around the TPM.
//!
//! Facts: `TpmTcpProtocol.h` and `TcpServer.c` of the TCG reference code. Every request is a number, answered by zero.

use crate::machine::{Engine, Machine, lock};
use crate::server::Ending;
use crate::wire::{self, BUFFER_BYTES, ConnectionError};
use std::io::{Read, Write};
use std::sync::Mutex;

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Switch {
    PowerOn,
    PowerOff,
    Reset,
    Presence(bool),
    /// The storage's own power: without it nothing can be made durable.
    Storage(bool),
    /// Cancelling and the cache of keys: no command waits, and there is no cache.
    Nothing,
    /// The sizes of buffers, which nobody here sets.
    Sizes,
    /// Whether a countdown timer, whose handle follows, has fired: there are none.
    TimerFired,
    Failure,
    EndOfSession,
    Stop,
}

/// Every request number that is served, in order.
const SWITCHES: &[(u32, Switch)] = &[
    (1, Switch::PowerOn),
    (2, Switch::PowerOff),
    (3, Switch::Presence(true)),
    (4, Switch::Presence(false)),
    (9, Switch::Nothing),
    (10, Switch::Nothing),
    (11, Switch::Storage(true)),
    (12, Switch::Storage(false)),
    (13, Switch::Nothing),
    (14, Switch::Nothing),
    (17, Switch::Reset),
    (18, Switch::Reset),
    (20, Switch::EndOfSession),
    (21, Switch::Stop),
    (25, Switch::Sizes),
    (26, Switch::TimerFired),
    (30, Switch::Failure),
];

/// Serves requests until the session ends.
pub fn serve<E: Engine>(
    machine: &Mutex<Machine<E>>,
    reader: &mut impl Read,
    writer: &mut impl Write,
) -> Result<Option<Ending>, ConnectionError> {
    while let Some(request) = wire::read_u32_or_end(reader)? {
        let Some((_, switch)) = SWITCHES.iter().find(|(number, _)| *number == request) else {
            return Err(ConnectionError::UnknownRequest(request));
        };
        match switch {
            Switch::PowerOn => lock(machine)?.power_on(),
            Switch::PowerOff => lock(machine)?.power_off(),
            Switch::Reset => lock(machine)?.reset(),
            Switch::Presence(asserted) => lock(machine)?.assert_physical_presence(*asserted),
            Switch::Storage(powered) => lock(machine)?.power_storage(*powered),
            Switch::Nothing => {}
            Switch::Sizes => {
                let bytes = u32::try_from(BUFFER_BYTES).unwrap_or_default().to_be_bytes();
                wire::write(writer, &[[0, 0, 0, 8], bytes, bytes].concat())?;
            }
            Switch::TimerFired => {
                let _timer = wire::read_u32(reader)?;
                wire::write(writer, &[0; 4])?;
            }
            Switch::Failure => lock(machine)?.fail(),
            Switch::EndOfSession => return Ok(None),
            Switch::Stop => return Ok(Some(Ending::Requested)),
        }
        wire::write(writer, &[0; 4])?;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::tests::{echo, events};

    #[test]
    fn the_table_is_sorted() {
        assert!(SWITCHES.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn switches_reach_the_machine_and_are_answered_by_zero() {
        let machine = echo();
        let requests = [1_u32, 9, 17, 2, 1, 3, 4, 20, 17];
        let bytes: Vec<u8> = requests.iter().flat_map(|request| request.to_be_bytes()).collect();
        let mut answer = Vec::new();
        assert!(matches!(serve(&machine, &mut bytes.as_slice(), &mut answer), Ok(None)));
        assert_eq!(answer, [0; 28]);
        assert_eq!(events(&machine), ["power on", "power on", "power on", "presence true", "presence false"]);
    }

    #[test]
    fn the_machine_can_lose_its_storage_and_fail() {
        let machine = echo();
        let bytes: Vec<u8> = [12_u32, 11, 30].iter().flat_map(|request| request.to_be_bytes()).collect();
        let mut answer = Vec::new();
        assert!(matches!(serve(&machine, &mut bytes.as_slice(), &mut answer), Ok(None)));
        assert_eq!(answer, [0; 12]);
        assert_eq!(events(&machine), ["power on", "storage false", "storage true", "failure"]);
    }

    #[test]
    fn requests_with_answers_of_their_own_have_their_shapes() {
        let run = |bytes: &[u8]| {
            let mut answer = Vec::new();
            serve(&echo(), &mut { bytes }, &mut answer).unwrap();
            answer
        };
        assert_eq!(run(&[0, 0, 0, 25]), [0, 0, 0, 8, 0, 0, 16, 0, 0, 0, 16, 0, 0, 0, 0, 0]);
        assert_eq!(run(&[0, 0, 0, 26, 0x40, 0, 1, 0x10]), [0; 8]);
    }

    #[test]
    fn an_unknown_number_ends_the_connection() {
        let machine = echo();
        let outcome = serve(&machine, &mut [0, 0, 0, 31].as_slice(), &mut Vec::new());
        assert!(matches!(outcome, Err(ConnectionError::UnknownRequest(31))));
    }
}
