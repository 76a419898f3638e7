//! A TPM 2.0 engine: bytes in, bytes out.
#![no_std]
#![forbid(unsafe_code)]
