//! The platform port of the TCG reference simulator: the switches of the machine around the TPM.
//!
//! Facts: `TpmTcpProtocol.h` and `TcpServer.c` of the TCG reference code. Every request is a number, answered by zero.

use crate::machine::{Engine, Machine, lock};
use crate::server::Ending;
use crate::wire::{self, ConnectionError};
use std::io::{Read, Write};
use std::sync::Mutex;

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Switch {
    PowerOn,
    PowerOff,
    Reset,
    Presence(bool),
    /// Cancelling and the storage's own power: commands here are never long under way, and the storage is a file.
    Nothing,
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
    (11, Switch::Nothing),
    (12, Switch::Nothing),
    (17, Switch::Reset),
    (18, Switch::Reset),
    (20, Switch::EndOfSession),
    (21, Switch::Stop),
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
            Switch::Nothing => {}
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
        let requests = [1_u32, 11, 17, 2, 1, 3, 4, 20, 17];
        let bytes: Vec<u8> = requests.iter().flat_map(|request| request.to_be_bytes()).collect();
        let mut answer = Vec::new();
        assert!(matches!(serve(&machine, &mut bytes.as_slice(), &mut answer), Ok(None)));
        assert_eq!(answer, [0; 28]);
        assert_eq!(events(&machine), ["power on", "power on", "power on", "presence true", "presence false"]);
    }

    #[test]
    fn an_unknown_number_ends_the_connection() {
        let machine = echo();
        let outcome = serve(&machine, &mut [0, 0, 0, 30].as_slice(), &mut Vec::new());
        assert!(matches!(outcome, Err(ConnectionError::UnknownRequest(30))));
    }
}
