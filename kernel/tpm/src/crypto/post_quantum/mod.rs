//! Post-quantum keys: ML-KEM and ML-DSA (FIPS 203 and 204, both final), over RustCrypto's `ml-kem` and `ml-dsa`.
//!
//! Nobody outside has audited these two crates. Their source takes no branch and no index from secrets, by their own claim,
//! but for the number of attempts that a signature needs, which the standard makes public.

pub mod ml_dsa;
pub mod ml_kem;
pub mod shake;

#[cfg(test)]
mod tests;
