//! Numbers and length-prefixed bytes on a stream: big-endian, and never longer than what a TPM can take.

use std::io::{self, Read, Write};

/// The largest command, and the largest response, in bytes.
pub const BUFFER_BYTES: usize = 4096;

/// The size of the header of a command and of a response (Part 1, 16.2): tag, size, code.
pub const HEADER_BYTES: usize = 10;

/// Why a connection ends before its other side closes it.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The socket failed, or ended in the middle of a message.
    #[error("the connection broke: {0}")]
    Stream(#[from] io::Error),
    /// A length that no command has.
    #[error("a message of {0} bytes, where at most {BUFFER_BYTES} are possible")]
    TooLong(u32),
    /// A number that the protocol does not know.
    #[error("an unknown request number {0}")]
    UnknownRequest(u32),
    /// The engine panicked in another connection, and nothing is known about its state.
    #[error("the engine failed in another connection")]
    EngineLost,
}

/// Reads a big-endian number, or nothing where the stream ends before its first byte.
pub fn read_u32_or_end(reader: &mut impl Read) -> Result<Option<u32>, ConnectionError> {
    let mut bytes = [0; 4];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Some(u32::from_be_bytes(bytes)))
}

/// Reads a big-endian number that has to be there.
pub fn read_u32(reader: &mut impl Read) -> Result<u32, ConnectionError> {
    let mut bytes = [0; 4];
    reader.read_exact(&mut bytes)?;
    Ok(u32::from_be_bytes(bytes))
}

/// Reads one byte that has to be there.
pub fn read_u8(reader: &mut impl Read) -> Result<u8, ConnectionError> {
    let mut byte = [0; 1];
    reader.read_exact(&mut byte)?;
    Ok(byte[0])
}

/// Reads a number of bytes, then as many. The number is believed only up to [`BUFFER_BYTES`].
pub fn read_sized(reader: &mut impl Read) -> Result<Vec<u8>, ConnectionError> {
    let length = read_u32(reader)?;
    let Some(length_bytes) = usize::try_from(length).ok().filter(|length| *length <= BUFFER_BYTES) else {
        return Err(ConnectionError::TooLong(length));
    };
    let mut bytes = vec![0; length_bytes];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Writes bytes at once, so that a response is one packet.
pub fn write(writer: &mut impl Write, bytes: &[u8]) -> Result<(), ConnectionError> {
    writer.write_all(bytes)?;
    Ok(writer.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_ends_between_messages_is_no_error() {
        assert!(matches!(read_u32_or_end(&mut [].as_slice()), Ok(None)));
    }

    #[test]
    fn a_stream_that_ends_inside_a_number_is_an_error() {
        assert!(matches!(read_u32_or_end(&mut [0, 0, 0].as_slice()), Err(ConnectionError::Stream(_))));
    }

    #[test]
    fn a_length_beyond_the_largest_command_is_refused_without_reading_on() {
        let mut stream = [0xff, 0xff, 0xff, 0xff, 1, 2].as_slice();
        assert!(matches!(read_sized(&mut stream), Err(ConnectionError::TooLong(u32::MAX))));
        assert_eq!(stream, [1, 2]);
        let mut stream = [0, 0, 0x10, 0x01].as_slice();
        assert!(matches!(read_sized(&mut stream), Err(ConnectionError::TooLong(0x1001))));
    }

    #[test]
    fn bytes_that_are_promised_and_missing_are_an_error() {
        assert!(matches!(read_sized(&mut [0, 0, 0, 3, 1, 2].as_slice()), Err(ConnectionError::Stream(_))));
    }

    #[test]
    fn the_largest_command_is_read() {
        let mut message = vec![0, 0, 0x10, 0];
        message.extend([7; BUFFER_BYTES]);
        assert_eq!(read_sized(&mut message.as_slice()).unwrap(), [7; BUFFER_BYTES]);
    }
}
