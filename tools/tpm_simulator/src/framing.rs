//! Tells the framings of a command port apart by the first bytes of a connection.
//!
//! A raw connection opens with the tag of a command, 80 01 or 80 02. A connection of the reference simulator's
//! protocol opens with a request number below 256, so with two zero bytes. Neither can open with the other's.

use crate::machine::{Engine, Machine};
use crate::server::Ending;
use crate::wire::ConnectionError;
use crate::{mssim, raw};
use std::io::{Read, Write};
use std::sync::Mutex;

/// Serves one connection of a command port until its other side closes it.
pub fn serve<E: Engine>(
    machine: &Mutex<Machine<E>>,
    reader: &mut impl Read,
    writer: &mut impl Write,
) -> Result<Option<Ending>, ConnectionError> {
    let mut first = [0; 2];
    let mut filled = 0;
    while filled < first.len() {
        match reader.read(&mut first[filled..])? {
            0 => return Ok(None),
            count => filled += count,
        }
    }
    let mut whole = first.as_slice().chain(reader);
    if first == [0, 0] {
        mssim::serve(machine, &mut whole, writer)
    } else {
        raw::serve(machine, &mut whole, writer)?;
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::tests::{echo, events};

    fn answers(bytes: &[u8]) -> (Vec<u8>, Vec<String>) {
        let machine = echo();
        let mut answer = Vec::new();
        serve(&machine, &mut { bytes }, &mut answer).unwrap();
        (answer, events(&machine))
    }

    #[test]
    fn a_tag_opens_a_raw_connection() {
        let command = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0];
        assert_eq!(answers(&command), (command.to_vec(), vec!["power on".into(), "0: 12 bytes".into()]));
    }

    #[test]
    fn a_request_number_opens_a_connection_of_the_reference_protocol() {
        let (answer, events) = answers(&[0, 0, 0, 8, 3, 0, 0, 0, 2, 0x80, 1]);
        assert_eq!(answer, [0, 0, 0, 2, 0x80, 1, 0, 0, 0, 0]);
        assert_eq!(events, ["power on", "3: 2 bytes"]);
    }

    #[test]
    fn a_connection_that_says_nothing_or_one_byte_is_closed_quietly() {
        assert_eq!(answers(&[]).0, []);
        assert_eq!(answers(&[0x80]).0, []);
    }
}
