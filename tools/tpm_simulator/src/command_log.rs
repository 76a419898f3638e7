//! The log of `--log commands`: one line on stderr for each command, and for what happens to the machine.

use std::time::Instant;

/// Where lines go, if anywhere.
pub struct CommandLog {
    started: Option<Instant>,
}

impl CommandLog {
    /// A log that says nothing.
    pub fn silent() -> Self {
        Self { started: None }
    }

    /// A log on stderr, with seconds since now.
    pub fn on_stderr() -> Self {
        Self { started: Some(Instant::now()) }
    }

    /// Notes a command and what came of it.
    pub fn command(&self, locality: u8, command: &[u8], response: &[u8]) {
        if let Some(started) = self.started {
            eprintln!("{:10.6} {}", started.elapsed().as_secs_f64(), line(locality, command, response));
        }
    }

    /// Notes what happened to the machine.
    pub fn event(&self, event: &str) {
        if let Some(started) = self.started {
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
    let code = number(command, CODE).map_or_else(|| "no code".to_owned(), |code| format!("{code:#010x}"));
    let result = number(response, CODE).map_or_else(|| "no code".to_owned(), |code| format!("{code:#05x}"));
    format!("locality {locality} command {code} {} bytes -> {result} {} bytes", command.len(), response.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_codes_and_sizes() {
        let command = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0];
        let response = [0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0];
        assert_eq!(line(2, &command, &response), "locality 2 command 0x00000144 12 bytes -> 0x100 10 bytes");
    }

    #[test]
    fn bytes_without_a_header_are_no_reason_to_fail() {
        assert_eq!(line(0, &[1], &[]), "locality 0 command no code 1 bytes -> no code 0 bytes");
    }
}
