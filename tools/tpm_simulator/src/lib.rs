//! The TPM engine behind sockets: what stands between the world's TPM software and `kernel/tpm`.
//!
//! The program `tpm-simulator` listens; this library is the parts it is made of. [`machine`] is the one TPM that all
//! connections share. [`framing`] tells by the first bytes whether a connection speaks the protocol of the TCG
//! reference simulator ([`mssim`]) or raw TPM bytes ([`raw`]). [`platform_port`] and [`control`] are the side channels
//! of the two: power, reset, locality, hash sequences. Tests and benchmarks use the same parts without sockets.
#![forbid(unsafe_code)]

pub mod command_log;
pub mod control;
pub mod framing;
pub mod machine;
pub mod mssim;
pub mod platform;
pub mod platform_port;
pub mod random;
pub mod raw;
pub mod server;
pub mod state_file;
pub mod vtpm_proxy;
pub mod wire;
