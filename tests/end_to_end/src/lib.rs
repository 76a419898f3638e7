//! Host-side runner of the emulated tests.
#![forbid(unsafe_code)]
