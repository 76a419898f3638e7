//! HMAC (FIPS 198-1) over the engine's hashes, with a running state that can be exported.

use alloc::vec::Vec;
use core::fmt;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use super::hash::{Digest, HashAlgorithm, Hasher, LONGEST_BLOCK_BYTES, hash};

const INNER_PAD: u8 = 0x36;
const OUTER_PAD: u8 = 0x5c;

/// An HMAC under way. Both hashes have taken the padded key, so clones of a fresh one cost no key set-up.
#[derive(Clone)]
pub struct Hmac {
    inner: Hasher,
    outer: Hasher,
}

impl Hmac {
    /// Starts an HMAC with a key of any length.
    pub fn new(algorithm: HashAlgorithm, key: &[u8]) -> Self {
        let mut block = Zeroizing::new([0_u8; LONGEST_BLOCK_BYTES]);
        let length = algorithm.block_bytes();
        if key.len() > length {
            place(block.as_mut_slice(), &hash(algorithm, &[key]));
        } else {
            place(block.as_mut_slice(), key);
        }
        let (inner, outer) = (Hasher::new(algorithm), Hasher::new(algorithm));
        let mut hmac = Self { inner, outer };
        for (hasher, pad) in [(&mut hmac.inner, INNER_PAD), (&mut hmac.outer, OUTER_PAD)] {
            let mut padded = *block;
            padded.iter_mut().for_each(|byte| *byte ^= pad);
            hasher.update(padded.get(..length).unwrap_or_default());
            padded.zeroize();
        }
        hmac
    }

    /// The hash underneath.
    pub fn algorithm(&self) -> HashAlgorithm {
        self.inner.algorithm()
    }

    /// Authenticates more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.inner.update(bytes);
    }

    /// Ends the HMAC.
    pub fn finish(self) -> Digest {
        let mut outer = self.outer;
        outer.update(&self.inner.finish());
        outer.finish()
    }

    /// Whether `expected` is the HMAC, in constant time. A wrong length is a wrong HMAC.
    pub fn verify(self, expected: &[u8]) -> bool {
        self.finish().as_bytes().ct_eq(expected).into()
    }

    /// The running state, without the algorithm. It is as good as the key.
    pub fn export_state(&self) -> Zeroizing<Vec<u8>> {
        let mut state = self.inner.export_state();
        state.extend_from_slice(&self.outer.export_state());
        state
    }

    /// The HMAC whose state was exported, or `None` when `state` is none of this algorithm.
    pub fn import_state(algorithm: HashAlgorithm, state: &[u8]) -> Option<Self> {
        let (inner, outer) = state.split_at_checked(state.len() >> 1)?;
        Some(Self {
            inner: Hasher::import_state(algorithm, inner)?,
            outer: Hasher::import_state(algorithm, outer)?,
        })
    }
}

impl fmt::Debug for Hmac {
    /// Prints the algorithm alone.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Hmac({:?})", self.algorithm())
    }
}

fn place(block: &mut [u8], bytes: &[u8]) {
    for (to, from) in block.iter_mut().zip(bytes) {
        *to = *from;
    }
}

/// The HMAC of `parts`, one after the other.
pub fn hmac(algorithm: HashAlgorithm, key: &[u8], parts: &[&[u8]]) -> Digest {
    let mut hmac = Hmac::new(algorithm, key);
    for part in parts {
        hmac.update(part);
    }
    hmac.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;

    /// RFC 2202, case 2, and RFC 4231, test case 2.
    #[test]
    fn short_keys_give_what_is_published() {
        let cases: [(HashAlgorithm, &[u8]); 4] = [
            (HashAlgorithm::Sha1, &hex!("effcdf6ae5eb2fa2d27416d5f184df9c259a7c79")),
            (
                HashAlgorithm::Sha256,
                &hex!("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
            ),
            (
                HashAlgorithm::Sha384,
                &hex!(
                    "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649"
                ),
            ),
            (
                HashAlgorithm::Sha512,
                &hex!(
                    "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"
                ),
            ),
        ];
        for (algorithm, expected) in cases {
            let result = hmac(algorithm, b"Jefe", &[b"what do ya want ", b"for nothing?"]);
            assert_eq!(result.as_bytes(), expected, "{algorithm:?}");
        }
    }

    /// RFC 4231, test case 6: a key longer than a block is hashed first.
    #[test]
    fn long_keys_give_what_is_published() {
        let message = b"Test Using Larger Than Block-Size Key - Hash Key First";
        let result = hmac(HashAlgorithm::Sha256, &[0xaa; 131], &[message]);
        assert_eq!(
            result.as_bytes(),
            hex!("60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54")
        );
        let result = hmac(HashAlgorithm::Sha512, &[0xaa; 131], &[message]);
        assert_eq!(
            result.as_bytes(),
            hex!(
                "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f3526b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598"
            )
        );
    }

    #[test]
    fn a_running_state_survives_export() {
        for algorithm in HashAlgorithm::ALL {
            let mut running = Hmac::new(algorithm, b"key");
            running.update(b"first half, ");
            let mut revived = Hmac::import_state(algorithm, &running.export_state()).unwrap();
            revived.update(b"second half");
            assert!(revived.verify(&hmac(algorithm, b"key", &[b"first half, second half"])));
            assert!(Hmac::import_state(algorithm, &running.export_state()[1..]).is_none());
        }
    }

    #[test]
    fn verification_refuses_a_prefix_and_a_changed_bit() {
        let mut expected = hmac(HashAlgorithm::Sha256, b"key", &[b"message"]).to_vec();
        let running = || {
            let mut running = Hmac::new(HashAlgorithm::Sha256, b"key");
            running.update(b"message");
            running
        };
        assert!(running().verify(&expected));
        assert!(!running().verify(&expected[..31]));
        expected[31] ^= 1;
        assert!(!running().verify(&expected));
    }
}
