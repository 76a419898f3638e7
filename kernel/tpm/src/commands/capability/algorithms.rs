//! The algorithms that TPM2_GetCapability lists, with their TPMA_ALGORITHM.
// house_rules: table

use crate::structures::algorithms::id;

const ASYMMETRIC: u32 = 1 << 0;
const SYMMETRIC: u32 = 1 << 1;
const HASH: u32 = 1 << 2;
const OBJECT: u32 = 1 << 3;
const SIGNING: u32 = 1 << 8;
const ENCRYPTING: u32 = 1 << 9;
const METHOD: u32 = 1 << 10;

/// Each algorithm with its attributes, by number.
pub const ALGORITHMS: &[(u16, u32)] = &[
    (id::RSA, ASYMMETRIC | OBJECT),
    (id::SHA1, HASH),
    (id::HMAC, HASH | SIGNING),
    (id::AES, SYMMETRIC),
    (id::MGF1, HASH | METHOD),
    (id::KEYEDHASH, HASH | OBJECT | SIGNING | ENCRYPTING),
    (id::XOR, HASH | SYMMETRIC),
    (id::SHA256, HASH),
    (id::SHA384, HASH),
    (id::SHA512, HASH),
    (id::RSASSA, ASYMMETRIC | SIGNING),
    (id::RSAES, ASYMMETRIC | ENCRYPTING),
    (id::RSAPSS, ASYMMETRIC | SIGNING),
    (id::OAEP, ASYMMETRIC | ENCRYPTING),
    (id::ECDSA, ASYMMETRIC | SIGNING | METHOD),
    (id::ECDH, ASYMMETRIC | METHOD),
    (id::ECDAA, ASYMMETRIC | SIGNING),
    (id::ECSCHNORR, ASYMMETRIC | SIGNING),
    (id::ECMQV, ASYMMETRIC | METHOD),
    (id::KDF1_SP800_56A, HASH | METHOD),
    (id::KDF2, HASH | METHOD),
    (id::KDF1_SP800_108, HASH | METHOD),
    (id::ECC, ASYMMETRIC | OBJECT),
    (id::SYMCIPHER, OBJECT),
    (id::CTR, SYMMETRIC | ENCRYPTING),
    (id::OFB, SYMMETRIC | ENCRYPTING),
    (id::CBC, SYMMETRIC | ENCRYPTING),
    (id::CFB, SYMMETRIC | ENCRYPTING),
    (id::ECB, SYMMETRIC | ENCRYPTING),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn algorithms_are_listed_by_number() {
        assert!(ALGORITHMS.is_sorted_by(|left, right| left.0 < right.0));
    }
}
