//! What a case says when it fails: one sentence with the values.

use core::fmt::{self, Write};

/// Why a case failed.
pub struct Failure {
    text: [u8; 112],
    length: usize,
}

impl Failure {
    pub fn new(arguments: fmt::Arguments<'_>) -> Self {
        let mut failure = Self { text: [0; 112], length: 0 };
        let _ = failure.write_fmt(arguments);
        failure
    }

    pub fn text(&self) -> &str {
        core::str::from_utf8(&self.text[..self.length]).unwrap_or("?")
    }
}

impl Write for Failure {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if let Some(place) = self.text.get_mut(self.length) {
                *place = byte;
                self.length += 1;
            }
        }
        Ok(())
    }
}

/// Result of a case.
pub type Check = Result<(), Failure>;

/// Fails a case unless two values are equal.
macro_rules! expect_eq {
    ($actual:expr, $expected:expr, $what:literal $(, $argument:expr)*) => {{
        let (actual, expected) = ($actual, $expected);
        if actual != expected {
            return Err($crate::check::Failure::new(format_args!(
                concat!($what, ": {:#x?} instead of {:#x?}"), $($argument,)* actual, expected)));
        }
    }};
}
pub(crate) use expect_eq;
