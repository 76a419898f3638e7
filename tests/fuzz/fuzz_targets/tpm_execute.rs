//! Sequences of commands to one TPM, by the harness of `cargo test`; here the fuzzer makes the choices.
#![no_main]
#![allow(dead_code, reason = "the harness also reads seeds")]

#[path = "../../../kernel/tpm/tests/fuzzing/mod.rs"]
mod fuzzing;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    fuzzing::run(bytes);
});
