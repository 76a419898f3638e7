//! The log of `--log commands`: one line on stderr for each command, and for what happens to the machine. With
//! `--log bytes` the command itself follows.

use std::time::Instant;
use tpm::{ResponseCode, command_name};

/// Where lines go, if anywhere.
pub struct CommandLog {
    started: Option<(Instant, Detail)>,
}

/// How much is said about a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// What it is called, and what came of it.
    Names,
    /// Its bytes as well.
    Bytes,
}

impl CommandLog {
    /// A log that says nothing.
    pub fn silent() -> Self {
        Self { started: None }
    }

    /// A log on stderr, with seconds since now.
    pub fn on_stderr(detail: Detail) -> Self {
        Self { started: Some((Instant::now(), detail)) }
    }

    /// Notes a command and what came of it.
    pub fn command(&self, locality: u8, command: &[u8], response: &[u8]) {
        if let Some((started, detail)) = self.started {
            eprintln!("{:10.6} {}", started.elapsed().as_secs_f64(), line(locality, command, response));
            if detail == Detail::Bytes {
                eprintln!("{}", hexadecimal(locality, command));
            }
        }
    }

    /// Notes what happened to the machine.
    pub fn event(&self, event: &str) {
        if let Some((started, _)) = self.started {
            eprintln!("{:10.6} {event}", started.elapsed().as_secs_f64());
        }
    }
}

/// The number at an offset of a header, where there is a whole header.
fn number(bytes: &[u8], offset: usize) -> Option<u32> {
    let field = bytes.get(offset..)?.first_chunk()?;
    Some(u32::from_be_bytes(*field))
}

/// The offset of a command's code and of a response's code.
const CODE: usize = 6;

fn line(locality: u8, command: &[u8], response: &[u8]) -> String {
    let code = match number(command, CODE) {
        None => "without a code".to_owned(),
        Some(code) => command_name(code).map_or_else(|| format!("{code:#010x}"), str::to_owned),
    };
    let result = match number(response, CODE) {
        None => "no code".to_owned(),
        Some(code) => ResponseCode::from_wire(code)
            .map_or_else(|| "success".to_owned(), |code| format!("{code} ({:#05x})", code.to_wire())),
    };
    format!(
        "locality {locality} command {code}, {} bytes -> {result}, {} bytes",
        command.len(),
        response.len()
    )
}

/// A command's locality and bytes, in a form that is easy to pick out of a log.
fn hexadecimal(locality: u8, command: &[u8]) -> String {
    let bytes: String = command.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("bytes {locality} {bytes}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_command_and_response() {
        let command = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0];
        let answered = |response: &[u8]| line(2, &command, response);
        assert_eq!(
            answered(&[0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0xD5]),
            "locality 2 command Startup, 12 bytes -> TPM_RC_SIZE, parameter 1 (0x1d5), 10 bytes"
        );
        assert_eq!(
            answered(&[0x80, 1, 0, 0, 0, 10, 0, 0, 0, 0]),
            "locality 2 command Startup, 12 bytes -> success, 10 bytes"
        );
    }

    #[test]
    fn a_command_that_is_unknown_is_told_by_its_code() {
        let command = [0x80, 1, 0, 0, 0, 10, 0x20, 0, 0, 1];
        let response = [0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0x43];
        assert_eq!(
            line(0, &command, &response),
            "locality 0 command 0x20000001, 10 bytes -> TPM_RC_COMMAND_CODE (0x143), 10 bytes"
        );
    }

    #[test]
    fn bytes_without_a_header_are_no_reason_to_fail() {
        assert_eq!(line(0, &[1], &[]), "locality 0 command without a code, 1 bytes -> no code, 0 bytes");
    }

    #[test]
    fn bytes_are_told_with_their_locality() {
        assert_eq!(hexadecimal(3, &[0x80, 0x01, 0xFF]), "bytes 3 8001ff");
    }
}
