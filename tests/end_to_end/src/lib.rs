//! What the host-side programs of the emulated tests share: where the built things are, how the emulated machine is
//! started, and how verdicts are written down.
//!
//! The programs are `end_to_end` (the emulated tests), `bench_firmware` (figures) and `results` (adds up all test stages).
#![forbid(unsafe_code)]

pub mod built;
pub mod emulator;
pub mod figures;
pub mod verdict;
