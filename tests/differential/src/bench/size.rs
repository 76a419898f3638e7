//! How large the engine is in the firmware, and its state when it is new.

use object::{Object, ObjectSymbol, SymbolKind};
use std::path::PathBuf;
use tpm_simulator::platform;
use tpm_simulator::random::Source;

/// The engine's crate and the cryptography that it brings, as Rust's symbol names spell crates: length, then name.
const CRATES: &[&str] = &[
    "3tpm",
    "3aes",
    "4p256",
    "4p384",
    "4p521",
    "4sha1",
    "4sha2",
    "4hmac",
    "5ecdsa",
    "6cipher",
    "7rfc6979",
    "8cfb_mode",
    "10primefield",
    "10primeorder",
    "13crypto_bigint",
    "13crypto_primes",
    "14elliptic_curve",
];

/// Bytes of machine code of the engine in the linked firmware.
pub fn engine_bytes() -> Result<u64, String> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let path = target.join("x86_64-unknown-none/firmware/kernel");
    let bytes =
        std::fs::read(&path).map_err(|error| format!("{}: {error}; run make kernel", path.display()))?;
    let file = object::File::parse(&*bytes).map_err(|error| format!("{}: {error}", path.display()))?;
    let total: u64 = file
        .symbols()
        .filter(|symbol| symbol.kind() == SymbolKind::Text)
        .filter(|symbol| symbol.name().is_ok_and(|name| CRATES.iter().any(|of| name.contains(of))))
        .map(|symbol| symbol.size())
        .sum();
    if total == 0 { Err(format!("{} does not hold the engine", path.display())) } else { Ok(total) }
}

/// Bytes of the state of a new TPM.
pub fn state_bytes() -> Result<usize, platform::BuildError> {
    Ok(platform::build(Source::System, None)?.export_state().len())
}
