//! The engine's cryptography: thin, typed layers over RustCrypto, and the few constructions that only TPM 2.0 has.
//!
//! Source: TPM 2.0 library specification 1.84, Part 1 annexes B (RSA) and C (ECC) and chapter "Cryptographic
//! Subsystem"; the standards named in each file.
//!
//! # What is claimed against side channels
//!
//! The observer is somebody who measures how long commands take, or which cache lines and branches the engine touches:
//! another guest of the host, or the guest itself.
//!
//! * Comparisons of digests, HMACs and paddings, unpadding by RSAES and OAEP, AES (by processor instructions, or in its
//!   bit-sliced form where none are detected, as in the firmware), hashes, and everything that multiplies a point or a
//!   scalar by a secret take a time that does not depend on secrets, and no branch or index does.
//! * Private RSA operations are of that kind too. They are blinded besides, with a fresh factor for each, so that the
//!   caller does not choose what is exponentiated; this is the answer to RUSTSEC-2023-0071, whose crate is not used. The
//!   result is checked before it leaves, so that a calculation disturbed by heat or voltage gives no prime away.
//! * TPM2_RSA_Decrypt has to tell a wrong padding from a right one, by its response code. That one bit is the protocol's,
//!   and whoever may use the key can ask for it.
//!
//! Shown by `tests/conformance/constant_time`: counts of instructions and branches that are the same for two secrets.
//!
//! Not claimed:
//!
//! * The search for primes takes a time that depends on where primes are, and marks multiples of small ones in a table.
//!   A primary key is searched for again whenever its template is created again.
//! * What the compiler makes of constant-time source, power consumption, radiation, speculation and memory that was
//!   spilled to the stack. Secrets are wiped where they are kept; copies that the compiler made on its way are not.
//! * Verification and encryption with public keys, where nothing is secret but the message.
//!
//! # Where the time goes
//!
//! * An RSA-2048 signature from the stored prime is 11.3 million instructions, nearly all in the two exponentiations modulo the
//!   primes. Blinding and the Chinese remainder theorem need inverses; they come out of the exponentiations (`rsa/number.rs`).
//!   Nothing is kept between two operations.
//! * An RSA-2048 key: some sixty tests with base two, ten with random bases. Of Montgomery's square, which is nearly all of
//!   them, two thirds are the reduction. Sums by columns, unrolled (`rsa/columns.rs`), take 3,300 instructions, 2,600 where the
//!   processor has MULX; rows in blocks of four words a fifth more; words of 58 or 61 bits, whose products add up without
//!   carries, fewer with MULX, but more time. A deeper sieve costs what it saves. `cargo run -p differential --bin tpm_bench
//!   --release` compares with libtpms.
//! * A P-256 signature or public key: the generator's multiple, which a comb of fixed sums (`ecc/p256_base.rs`) makes in a
//!   third of the time of any other point's.
//! * TPM2_Load: the parent's two KDFs, HMAC and AES, 7 us in all. What was made or imported here is not checked again.
//!
//! # Memory
//!
//! Expanded keys and messages are on the heap. Stacks, measured in the release profile in steps of 8 KiB: 40 KiB for a
//! private operation with 4096 bits, 32 KiB for making such a key and for every operation on curves, 16 KiB for all that
//! concerns RSA keys of 2048 bits. The tests run the deepest ones within 64 KiB.

pub mod ecc;
pub mod hash;
pub mod hmac;
pub mod kdf;
#[cfg(feature = "post_quantum")]
pub mod post_quantum;
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

#[cfg(test)]
mod stack_tests {
    extern crate std;

    use super::*;

    const STACK_BYTES: usize = 64 << 10;

    fn within_the_stack(operation: impl FnOnce() + Send + 'static) {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(operation);
        thread.unwrap().join().unwrap();
    }

    /// The kernel's stacks have no more. One that is too small ends the whole test program.
    #[test]
    fn the_deepest_operations_fit_the_kernels_stack() {
        within_the_stack(|| {
            let mut random = Drbg::instantiate(&[19; random::INSTANTIATE_BYTES], b"");
            let key = RsaPrivateKey::generate(4096, 0, &mut random).unwrap();
            let key = RsaPrivateKey::from_prime(key.public(), &key.prime()).unwrap();
            let scheme = RsaSignature::Rsapss(HashAlgorithm::Sha512);
            let signature = key.sign(scheme, &[1; 64], &mut random).unwrap();
            assert!(key.public().verify(scheme, &[1; 64], &signature));
        });
        for curve in EccCurve::ALL {
            within_the_stack(move || {
                let mut random = Drbg::instantiate(&[19; random::INSTANTIATE_BYTES], b"");
                let key = ecc::generate(curve, &mut random);
                let signature = ecc::sign_ecdsa(curve, &key.private, &[1; 32], &mut random).unwrap();
                assert!(ecc::verify_ecdsa(curve, &key.public, &[1; 32], &signature));
                assert!(ecc::multiply_and_add(curve, &[2], &key.public, &[3], &key.public).is_some());
            });
        }
    }
}
