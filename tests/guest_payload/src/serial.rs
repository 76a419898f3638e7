//! Lines on the serial port, through the GHCB.

use crate::ghcb;
use core::fmt::{self, Write};

const PORT: u64 = 0x3f8;

/// One line under construction.
pub struct Line {
    bytes: [u8; 240],
    length: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if let Some(place) = self.bytes.get_mut(self.length) {
                *place = byte;
                self.length += 1;
            }
        }
        Ok(())
    }
}

/// Prints a line; only the boot vCPU has a GHCB, so only it prints.
pub fn line(arguments: fmt::Arguments<'_>) {
    if !ghcb::is_ready() {
        return;
    }
    let mut line = Line { bytes: [0; 240], length: 0 };
    let _ = writeln!(line, "{arguments}");
    ghcb::output_bytes(PORT, &line.bytes[..line.length]);
}

macro_rules! println {
    ($($argument:tt)*) => { $crate::serial::line(format_args!($($argument)*)) };
}
pub(crate) use println;
