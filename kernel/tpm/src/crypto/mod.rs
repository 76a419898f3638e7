//! The engine's cryptography: thin, typed layers over RustCrypto, and the few constructions that only TPM 2.0 has.
//!
//! Source: TPM 2.0 library specification 1.84, Part 1 annexes B (RSA) and C (ECC) and chapter "Cryptographic
//! Subsystem"; the standards named in each file.

pub mod ecc;
pub mod hash;
pub mod hmac;
pub mod kdf;
pub mod random;
pub mod rsa;
pub mod symmetric;

pub use ecc::{EccCurve, EccKey, EccPoint, EccSignature};
pub use hash::{Digest, HashAlgorithm, Hasher, hash};
pub use hmac::{Hmac, hmac};
pub use kdf::{SecretBytes, kdf2, kdfa, kdfe, mgf1, xor_obfuscation};
pub use random::{DerivationRandom, Drbg, Random};
pub use rsa::{RsaEncryption, RsaFailure, RsaPrivateKey, RsaPublicKey, RsaSignature};
pub use symmetric::{Aes, CipherMode};
