//! How large the engine is in the firmware, and its state when it is new.

use object::{Object, ObjectSymbol, SymbolKind};
use std::path::PathBuf;
use tpm_simulator::platform;
use tpm_simulator::random::Source;

/// The engine's crate and the cryptography that it brings.
const CRATES: &[&str] = &[
    "tpm",
    "aes",
    "p256",
    "p384",
    "p521",
    "sha1",
    "sha2",
    "hmac",
    "ecdsa",
    "cipher",
    "rfc6979",
    "cfb_mode",
    "primefield",
    "primeorder",
    "crypto_bigint",
    "crypto_primes",
    "elliptic_curve",
];

/// Whether a symbol, as the linker has it, is of the engine: a path in one of its crates, whose name has its length before it,
/// or an implementation or instance for one of its types, whose path has dots and stands in brackets.
fn is_of_the_engine(symbol: &str) -> bool {
    CRATES.iter().any(|name| {
        symbol.contains(&format!("{}{name}", name.len())) || symbol.contains(&format!("${name}.."))
    })
}

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
        .filter(|symbol| symbol.name().is_ok_and(is_of_the_engine))
        .map(|symbol| symbol.size())
        .sum();
    if total == 0 { Err(format!("{} does not hold the engine", path.display())) } else { Ok(total) }
}

/// Bytes of the state of a new TPM.
pub fn state_bytes() -> Result<usize, platform::BuildError> {
    Ok(platform::build(Source::System, None, None)?.export_state().len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_implementations_count_and_other_crates_do_not() {
        for symbol in [
            "_ZN3tpm6engine3run17h0E",
            "_ZN4core3ptr38drop_in_place$LT$tpm..state..State$GT$17h0E",
            "_ZN65_$LT$u64$u20$as$u20$aes..backends..soft..Word$GT$8bitslice17h0E",
            "_ZN70_$LT$tpm..structures..public..Public$u20$as$u20$tpm..wire..Marshal$GT$7marshal17h0E",
        ] {
            assert!(is_of_the_engine(symbol), "{symbol}");
        }
        for symbol in [
            "_ZN6kernel5guest5start17h0E",
            "_ZN4core3ptr51drop_in_place$LT$kernel..vtpm..platform..Memory$GT$17h0E",
            "_ZN7aes_gcm39AesGcm$LT$Aes$GT$11compute_tag17h0E",
        ] {
            assert!(!is_of_the_engine(symbol), "{symbol}");
        }
    }
}
