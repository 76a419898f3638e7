//! The monitor's own line to the launcher: QEMU's debug console at I/O port 0xE9.
//!
//! Each line is `KIND text`; the launcher (`snp_emulator::report`) turns `log` lines into
//! `machine: ...` on stderr and reads the others. The guest's serial port is not touched by this.

use crate::instructions;
use core::fmt::{self, Write};
use spin::Mutex;

const DEBUG_CONSOLE: u16 = 0xe9;
static LINE: Mutex<()> = Mutex::new(());

struct Port;

impl Write for Port {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // SAFETY: the debug console only takes bytes out; it writes no memory.
        unsafe { instructions::out_bytes(DEBUG_CONSOLE, text.as_bytes()) };
        Ok(())
    }
}

/// Writes one line; lines of several processors do not mix.
pub fn line(kind: &str, text: fmt::Arguments<'_>) {
    let _guard = LINE.lock();
    // Nothing can be done about a console that fails, and `Port` never does.
    let _ = writeln!(Port, "{kind} {text}");
}

/// Writes a line from a place that may have interrupted another line (panic).
pub fn emergency_line(kind: &str, text: fmt::Arguments<'_>) {
    let _ = writeln!(Port, "\n{kind} {text}");
}

/// Prints a line that the launcher shows as `machine: ...`.
#[macro_export]
macro_rules! log {
    ($($argument:tt)*) => { $crate::console::line("log", format_args!($($argument)*)) };
}
