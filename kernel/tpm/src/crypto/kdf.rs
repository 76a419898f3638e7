//! Key derivation: KDFa (SP 800-108 in counter mode), KDFe (SP 800-56A), MGF1, and the XOR obfuscation built on KDFa.
//!
//! Source: TPM 2.0 Part 1, "Key Derivation Function" (KDFa, KDFe) and "XOR Parameter Obfuscation"; PKCS #1 (MGF1).

use alloc::vec::Vec;

use zeroize::Zeroizing;

use super::hash::{Digest, HashAlgorithm, Hasher};
use super::hmac::Hmac;

/// Bytes that are wiped when dropped.
pub type SecretBytes = Zeroizing<Vec<u8>>;

/// KDFa: HMAC over a counter, the label, both contexts and the number of bits.
///
/// `label` carries no terminating zero; it is added here, as Part 1 asks. Where `bits` is no multiple of eight, the
/// surplus bits at the front are zero.
pub fn kdfa(
    algorithm: HashAlgorithm,
    key: &[u8],
    label: &[u8],
    context_u: &[u8],
    context_v: &[u8],
    bits: u32,
) -> SecretBytes {
    counter_mode(algorithm, key, &[label, terminator(label), context_u, context_v, &bits.to_be_bytes()], bits)
}

/// The counter mode of SP 800-108, section 4.1: HMAC, a counter of 32 bits in front of the fixed input.
fn counter_mode(algorithm: HashAlgorithm, key: &[u8], fixed_input: &[&[u8]], bits: u32) -> SecretBytes {
    let keyed = Hmac::new(algorithm, key);
    derive(bits, |counter| {
        let mut hmac = keyed.clone();
        hmac.update(&counter.to_be_bytes());
        fixed_input.iter().for_each(|part| hmac.update(part));
        hmac.finish()
    })
}

/// KDFe: a hash over a counter, the shared secret `z`, the label and both parties' information.
///
/// `label` carries no terminating zero, as with [`kdfa`].
pub fn kdfe(
    algorithm: HashAlgorithm,
    z: &[u8],
    label: &[u8],
    party_u: &[u8],
    party_v: &[u8],
    bits: u32,
) -> SecretBytes {
    derive(bits, |counter| {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(&counter.to_be_bytes());
        hasher.update(z);
        hasher.update(label);
        hasher.update(terminator(label));
        hasher.update(party_u);
        hasher.update(party_v);
        hasher.finish()
    })
}

/// MGF1 of PKCS #1 (RFC 8017, appendix B.2.1): as many bytes as `mask` has.
pub fn mgf1(algorithm: HashAlgorithm, seed: &[u8], mask: &mut [u8]) {
    fill_by_counter(algorithm, seed, 0, mask);
}

/// Hashes of `seed` and a counter, one after the other.
fn fill_by_counter(algorithm: HashAlgorithm, seed: &[u8], first: u32, mask: &mut [u8]) {
    let mut seeded = Hasher::new(algorithm);
    seeded.update(seed);
    for (counter, block) in (first..).zip(mask.chunks_mut(algorithm.digest_bytes())) {
        let mut hasher = seeded.clone();
        hasher.update(&counter.to_be_bytes());
        for (to, from) in block.iter_mut().zip(hasher.finish().as_bytes()) {
            *to = *from;
        }
    }
}

/// KDF2 of ISO/IEC 18033-2, with which TPM2_ECC_Encrypt makes its mask: [`mgf1`] whose counter starts at one.
pub fn kdf2(algorithm: HashAlgorithm, z: &[u8], mask: &mut [u8]) {
    fill_by_counter(algorithm, z, 1, mask);
}

/// XOR obfuscation of `data` in place, by a mask from KDFa with the label "XOR"; it is its own inverse.
pub fn xor_obfuscation(
    algorithm: HashAlgorithm,
    key: &[u8],
    context_u: &[u8],
    context_v: &[u8],
    data: &mut [u8],
) {
    let bits = u32::try_from(data.len()).unwrap_or(u32::MAX).saturating_mul(8);
    let mask = kdfa(algorithm, key, b"XOR", context_u, context_v, bits);
    for (byte, mask) in data.iter_mut().zip(mask.iter()) {
        *byte ^= mask;
    }
}

/// The zero that ends a label, unless it came with one: callers of `TPM2_CreateLoaded` choose their labels themselves.
fn terminator(label: &[u8]) -> &'static [u8] {
    if label.last() == Some(&0) { &[] } else { &[0] }
}

/// As many blocks as `bits` needs, for counters from one on.
fn derive(bits: u32, block: impl Fn(u32) -> Digest) -> SecretBytes {
    let length = usize::try_from(bits.div_ceil(8)).unwrap_or(usize::MAX);
    let mut derived = Zeroizing::new(Vec::with_capacity(length));
    for counter in 1_u32.. {
        let missing = length.saturating_sub(derived.len());
        if missing == 0 {
            break;
        }
        derived.extend(block(counter).as_bytes().iter().take(missing));
    }
    if let (Some(first), 1..) = (derived.first_mut(), bits & 7) {
        *first &= !(0xff_u8 << (bits & 7));
    }
    derived
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;

    /// NIST CAVP, KDFCTR_gen: HMAC_SHA256, counter of 32 bits before the fixed input, count 0.
    #[test]
    fn counter_mode_gives_what_nist_published() {
        let key = hex!("dd1d91b7d90b2bd3138533ce92b272fbf8a369316aefe242e659cc0ae238afe0");
        let fixed_input = hex!(
            "01322b96b30acd197979444e468e1c5c6859bf1b1cf951b7e725303e237e46b864a145fab25e517b08f8683d0315bb2911d80a0e8aba17f3b413faac"
        );
        let derived = counter_mode(HashAlgorithm::Sha256, &key, &[&fixed_input], 128);
        assert_eq!(derived.as_slice(), hex!("10621342bfb0fd40046c0e29f2cfdbf0"));
    }

    /// RFC 7518, appendix C. Its "other information" begins with zeros, which stand for the label here.
    #[test]
    fn kdfe_gives_what_jose_published() {
        let z = hex!("9e56d91d817135d372834283bf84269cfb316ea3da806a48f6daa7798cfe90c4");
        let derived = kdfe(
            HashAlgorithm::Sha256,
            &z,
            &[0, 0, 0],
            b"\x07A128GCM\0\0\0\x05Alice",
            b"\0\0\0\x03Bob\0\0\0\x80",
            128,
        );
        assert_eq!(derived.as_slice(), hex!("56aa8deaf8236d205c2228cd71a7101a"));
    }

    #[test]
    fn kdfa_ends_the_label_with_exactly_one_zero() {
        let with = |label: &[u8]| kdfa(HashAlgorithm::Sha256, b"key", label, b"u", b"v", 256);
        assert_eq!(with(b"STORAGE"), with(b"STORAGE\0"));
        let fixed: &[&[u8]] = &[b"STORAGE\0uv", &256_u32.to_be_bytes()];
        assert_eq!(with(b"STORAGE"), counter_mode(HashAlgorithm::Sha256, b"key", fixed, 256));
    }

    #[test]
    fn surplus_bits_are_zero_and_blocks_join() {
        let odd = kdfa(HashAlgorithm::Sha1, b"key", b"label", b"", b"", 521);
        assert_eq!(odd.len(), 66);
        assert!(odd[0] <= 1);
        assert_eq!(kdfa(HashAlgorithm::Sha1, b"key", b"label", b"", b"", 0).len(), 0);
    }

    /// PKCS #1's test vectors of OAEP imply MGF1; this pair is the widely published one for SHA-1.
    #[test]
    fn mgf1_gives_what_is_published() {
        let mut mask = [0; 5];
        mgf1(HashAlgorithm::Sha1, b"foo", &mut mask);
        assert_eq!(mask, hex!("1ac9075cd4"));
        mgf1(HashAlgorithm::Sha1, b"bar", &mut mask);
        assert_eq!(mask, hex!("bc0c655e01"));
        let mut long = [0; 50];
        mgf1(HashAlgorithm::Sha256, b"bar", &mut long);
        assert_eq!(
            long,
            hex!(
                "382576a7841021cc28fc4c0948753fb8312090cea942ea4c4e735d10dc724b155f9f6069f289d61daca0cb814502ef04eae1"
            )
        );
    }

    #[test]
    fn kdf2_is_mgf1_from_its_second_block_on() {
        let (mut masks, mut mask) = ([0; 96], [0; 64]);
        mgf1(HashAlgorithm::Sha256, b"z", &mut masks);
        kdf2(HashAlgorithm::Sha256, b"z", &mut mask);
        assert_eq!(mask, masks[32..]);
    }

    #[test]
    fn xor_obfuscation_undoes_itself() {
        let mut data = *b"a parameter that spans more than one block of SHA-1";
        let plain = data;
        xor_obfuscation(HashAlgorithm::Sha1, b"key", b"newer", b"older", &mut data);
        assert_ne!(data, plain);
        xor_obfuscation(HashAlgorithm::Sha1, b"key", b"newer", b"older", &mut data);
        assert_eq!(data, plain);
    }
}
