//! Keys of fixed seeds, published vectors, and what wrong inputs are answered with.

mod vectors;

use super::*;
use crate::crypto::{Drbg, hash};
use alloc::vec;
use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{Odd, U64, Uint};
use hex_literal::hex;
use montgomery::{Modulus, Residue};
use vectors::{ENCRYPTED, SIGNED};

const SHA_256: HashAlgorithm = HashAlgorithm::Sha256;

fn drbg(seed: u8) -> Drbg {
    Drbg::instantiate(&[seed; 48], b"")
}

fn key() -> RsaPrivateKey {
    RsaPrivateKey::generate(2048, 0, &mut drbg(7)).unwrap()
}

/// What a seed gives must never change: endorsement keys come from it. `tests/primary_vectors.py` calculates the
/// numbers, from the description in `prime.rs`.
#[test]
fn keys_of_a_fixed_seed_stay_what_they_are() {
    let expected = [
        (
            2048,
            hex!("32ea4c5943a76f91dda726927999ee5e46c6081241cc12c2d4f6926ff698abbf"),
            hex!("8d0f5fa1232139ad1c8cea3a52402c805cec67b7222ed1b026aca7c3e82df1b6"),
        ),
        (
            3072,
            hex!("8ec95ebbb9f2a3c102444baee21fe58c91c4a8ddcfcbba112f3b1f879ceb9092"),
            hex!("fe14577efc5cd6f5bc4c65c30f3bc6dd86e71c70e664c524da3c03e4d1e567bb"),
        ),
        (
            4096,
            hex!("ffca80eab2fc287f3f813930b3299ad13ff45ab442d364418763e405fc2dd0f6"),
            hex!("ede3f6b0264025fff0210dfcdd7d4397ab7da7f31bbe08e85067bd6e0666eade"),
        ),
    ];
    for (bits, prime, modulus) in expected {
        let key = RsaPrivateKey::generate(bits, 0, &mut drbg(7)).unwrap();
        assert_eq!(hash(SHA_256, &[&key.prime()]).as_bytes(), prime, "{bits}");
        assert_eq!(hash(SHA_256, &[key.public().modulus()]).as_bytes(), modulus, "{bits}");
    }
}

#[test]
fn published_signatures_verify_and_come_out_again() {
    for row in SIGNED {
        let public = RsaPublicKey::new(row.modulus, row.exponent).unwrap();
        assert!(public.verify(row.scheme, row.digest, row.signature), "{:?}", row.scheme);
        for index in [0, row.signature.len() / 2, row.signature.len() - 1] {
            let mut changed = row.signature.to_vec();
            changed[index] ^= 1;
            assert!(!public.verify(row.scheme, row.digest, &changed));
        }
        let mut other = row.digest.to_vec();
        other[0] ^= 1;
        assert!(!public.verify(row.scheme, &other, row.signature));
        if !row.prime.is_empty() {
            let key = RsaPrivateKey::from_prime(&public, row.prime).unwrap();
            assert_eq!(key.sign(row.scheme, row.digest, &mut drbg(1)).unwrap(), row.signature);
        }
    }
}

#[test]
fn published_ciphertexts_open() {
    for row in ENCRYPTED {
        let public = RsaPublicKey::new(row.modulus, 0).unwrap();
        let key = RsaPrivateKey::from_prime(&public, row.prime).unwrap();
        let message = key.decrypt(row.scheme, row.ciphertext, &mut drbg(1)).unwrap();
        assert_eq!(message.as_slice(), row.message);
        for index in [0, 100, 255] {
            let mut changed = row.ciphertext.to_vec();
            changed[index] ^= 1;
            let refused = key.decrypt(row.scheme, &changed, &mut drbg(1)).unwrap_err();
            assert_eq!(refused, RsaFailure::Value);
        }
    }
}

#[test]
fn every_scheme_undoes_itself() {
    let key = key();
    for hash in HashAlgorithm::ALL {
        let digest = vec![3; hash.digest_bytes()];
        for scheme in [RsaSignature::Rsassa(hash), RsaSignature::Rsapss(hash)] {
            let signature = key.sign(scheme, &digest, &mut drbg(2)).unwrap();
            assert!(key.public().verify(scheme, &digest, &signature), "{scheme:?}");
            assert!(!key.public().verify(scheme, &digest[1..], &signature), "{scheme:?}");
        }
        for scheme in [RsaEncryption::Rsaes, RsaEncryption::Oaep { hash, label: b"label\0" }] {
            for message in [&[][..], &[0; 5], &[0xff; 126 - 64]] {
                let ciphertext = key.public().encrypt(scheme, message, &mut drbg(3)).unwrap();
                let opened = key.decrypt(scheme, &ciphertext, &mut drbg(4)).unwrap();
                assert_eq!(opened.as_slice(), message, "{scheme:?}");
            }
        }
    }
}

#[test]
fn a_key_comes_back_from_either_prime() {
    let key = key();
    let again = RsaPrivateKey::from_prime(key.public(), &key.prime()).unwrap();
    let digest = [9; 32];
    let scheme = RsaSignature::Rsassa(SHA_256);
    let signature = key.sign(scheme, &digest, &mut drbg(1)).unwrap();
    assert_eq!(again.sign(scheme, &digest, &mut drbg(2)).unwrap(), signature);
}

#[test]
fn primes_that_do_not_belong_to_the_modulus_are_refused() {
    let (key, other) = (key(), RsaPrivateKey::generate(2048, 0, &mut drbg(8)).unwrap());
    let load = |prime: &[u8]| RsaPrivateKey::from_prime(key.public(), prime).unwrap_err();
    assert_eq!(load(&other.prime()), RsaFailure::Binding);
    assert_eq!(load(&key.prime()[1..]), RsaFailure::Binding);
    assert_eq!(load(&[0; 128]), RsaFailure::Binding);
    let mut one = [0; 128];
    one[127] = 1;
    assert_eq!(load(&one), RsaFailure::Binding);
    // A modulus that is a square has a "prime" without an inverse.
    let mut square = vec![0; 256];
    let mut half = [0xff; 128];
    half[0] = 0xff;
    // (2^1024 - 1)^2 = 2^2048 - 2^1025 + 1
    square[..127].fill(0xff);
    square[127] = 0xfe;
    square[255] = 1;
    let public = RsaPublicKey::new(&square, 0).unwrap();
    assert_eq!(RsaPrivateKey::from_prime(&public, &half).unwrap_err(), RsaFailure::Binding);
}

#[test]
fn a_faulty_half_is_noticed_before_anything_leaves() {
    let mut key = key();
    if let Size::Bits2048(halves) = &mut key.halves {
        halves.break_for_test();
    }
    let refused = key.sign(RsaSignature::Rsassa(SHA_256), &[9; 32], &mut drbg(1)).unwrap_err();
    assert_eq!(refused, RsaFailure::Fault);
}

#[test]
fn blinding_changes_nothing_but_the_calculation() {
    let key = key();
    let (mut first, mut second) = ([0x11; 256], [0x11; 256]);
    key.apply(&mut first, &mut drbg(1)).unwrap();
    key.apply(&mut second, &mut drbg(2)).unwrap();
    assert_eq!(first, second);
    key.public().apply(&mut first).unwrap();
    assert_eq!(first, [0x11; 256]);
    for small in [0, 1] {
        let mut block = [0; 256];
        block[255] = small;
        key.apply(&mut block, &mut drbg(3)).unwrap();
        assert_eq!((block[0], block[255]), (0, small));
    }
}

#[test]
fn numbers_at_or_above_the_modulus_are_refused() {
    let key = key();
    let mut modulus = key.public().modulus().to_vec();
    assert_eq!(key.public().apply(&mut modulus.clone()), Err(RsaFailure::Value));
    assert_eq!(key.apply(&mut modulus.clone(), &mut drbg(1)), Err(RsaFailure::Value));
    let decrypted = key.decrypt(RsaEncryption::Raw, &modulus, &mut drbg(1));
    assert_eq!(decrypted.unwrap_err(), RsaFailure::Size);
    assert_eq!(key.decrypt(RsaEncryption::Raw, &[1; 255], &mut drbg(1)).unwrap_err(), RsaFailure::Size);
    modulus.insert(0, 0);
    assert_eq!(
        key.public().encrypt(RsaEncryption::Raw, &modulus, &mut drbg(1)).unwrap_err(),
        RsaFailure::Value
    );
    let number = [&[0; 300][..], &[5]].concat();
    assert!(key.public().encrypt(RsaEncryption::Raw, &number, &mut drbg(1)).is_ok());
}

#[test]
fn messages_without_room_are_refused() {
    let key = key();
    let encrypt =
        |scheme, length: usize| key.public().encrypt(scheme, &vec![1; length], &mut drbg(1)).map(|_| ());
    assert_eq!(encrypt(RsaEncryption::Rsaes, 245), Ok(()));
    assert_eq!(encrypt(RsaEncryption::Rsaes, 246), Err(RsaFailure::Value));
    let oaep = RsaEncryption::Oaep { hash: SHA_256, label: b"" };
    assert_eq!(encrypt(oaep, 190), Ok(()));
    assert_eq!(encrypt(oaep, 191), Err(RsaFailure::Value));
    let small = RsaPublicKey::new(&[0xff; 128], 0).unwrap();
    let oaep = RsaEncryption::Oaep { hash: HashAlgorithm::Sha512, label: b"" };
    assert_eq!(small.encrypt(oaep, &[], &mut drbg(1)).unwrap_err(), RsaFailure::Hash);
    let scheme = RsaSignature::Rsassa(SHA_256);
    assert_eq!(key.sign(scheme, &[1; 31], &mut drbg(1)).unwrap_err(), RsaFailure::Value);
}

/// Blocks that break one rule each, made with the raw public operation.
#[test]
fn wrong_paddings_are_refused() {
    let key = key();
    let good = {
        let mut block = vec![0xaa; 256];
        block[..2].copy_from_slice(&[0, 2]);
        block[10] = 0;
        block
    };
    let open = |block: &[u8]| {
        let ciphertext = key.public().encrypt(RsaEncryption::Raw, block, &mut drbg(1)).unwrap();
        key.decrypt(RsaEncryption::Rsaes, &ciphertext, &mut drbg(1)).map(|message| message.len())
    };
    assert_eq!(open(&good), Ok(245));
    for (index, value) in [(1, 1), (9, 0), (2, 0), (10, 1), (0, 1)] {
        let mut wrong = good.clone();
        wrong[index] = value;
        assert_eq!(open(&wrong), Err(RsaFailure::Value), "{index}");
    }
}

#[test]
fn oaep_needs_a_one_behind_the_zeros() {
    let seed = [7; 32];
    let encode = |data_tail: &[u8]| {
        let mut data = hash(SHA_256, &[b"label"]).to_vec();
        data.resize(256 - 33 - data_tail.len(), 0);
        data.extend_from_slice(data_tail);
        let mut mask = vec![0; data.len()];
        crate::crypto::mgf1(SHA_256, &seed, &mut mask);
        data.iter_mut().zip(&mask).for_each(|(byte, mask)| *byte ^= mask);
        let mut masked_seed = vec![0; 32];
        crate::crypto::mgf1(SHA_256, &data, &mut masked_seed);
        masked_seed.iter_mut().zip(&seed).for_each(|(byte, seed)| *byte ^= seed);
        Zeroizing::new([&[0], masked_seed.as_slice(), &data].concat())
    };
    let open =
        |tail: &[u8]| padding::decode_oaep(SHA_256, b"label", encode(tail)).map(|found| found.to_vec());
    assert_eq!(open(&[1, 5, 6]), Some(vec![5, 6]));
    assert_eq!(open(&[1]), Some(vec![]));
    assert_eq!(open(&[2, 1, 5]), None);
    assert_eq!(open(&[]), None);
    assert_eq!(open(&[1, 1, 0]), Some(vec![1, 0]));
    let mut block = encode(&[1, 5]);
    block[0] = 1;
    assert_eq!(padding::decode_oaep(SHA_256, b"label", block), None);
    assert_eq!(padding::decode_oaep(SHA_256, b"other", encode(&[1, 5])), None);
}

#[test]
fn pss_accepts_every_salt_length_and_signs_with_the_digests() {
    assert_eq!(pss_salt_bytes(HashAlgorithm::Sha512, 128), 62);
    assert_eq!(pss_salt_bytes(HashAlgorithm::Sha512, 256), 64);
    assert_eq!(pss_salt_bytes(HashAlgorithm::Sha1, 128), 20);
}

#[test]
fn exponents_of_keys_are_primes_above_two_to_the_sixteenth() {
    for good in [65537, 65539, 4_294_967_291] {
        assert!(is_key_exponent(good), "{good}");
    }
    for wrong in [0, 1, 3, 17, 65535, 65536, 65541, 4_294_967_295, 4_293_001_441] {
        assert!(!is_key_exponent(wrong), "{wrong}");
    }
    let generate = |bits, exponent| RsaPrivateKey::generate(bits, exponent, &mut drbg(1)).map(|_| ());
    assert_eq!(generate(2048, 3), Err(RsaFailure::Range));
    assert_eq!(generate(1024, 0), Err(RsaFailure::Range));
    assert_eq!(generate(2048, 65539), Ok(()));
}

#[test]
fn moduli_of_other_sizes_or_kinds_are_refused() {
    assert!(RsaPublicKey::new(&[0xff; 128], 0).is_some());
    assert!(RsaPublicKey::new(&[0xff; 129], 0).is_none());
    assert!(RsaPublicKey::new(&[0x7f; 256], 0).is_none());
    assert!(RsaPublicKey::new(&[0xfe; 256], 0).is_none());
    assert!(RsaPublicKey::new(&[], 0).is_none());
}

/// [`montgomery`] against crypto-bigint's own arithmetic, at the edges and at random.
fn calculates_as_crypto_bigint_does<const WORDS: usize>() {
    let first = Uint::<WORDS>::ONE.wrapping_shl(Uint::<WORDS>::BITS - 1);
    let least = first.bitor(&Uint::ONE);
    let some = number::random_number::<WORDS>(&mut drbg(1)).bitor(&least);
    for number in [least, some, Uint::MAX] {
        let modulus = Modulus::new(&number).unwrap();
        let parameters = FixedMontyParams::new(Odd::new(number).unwrap());
        let radix = modulus.radix();
        let below = number.wrapping_sub(&Uint::ONE);
        let other = number::random_number::<WORDS>(&mut drbg(2));
        let same = |mine: &Residue<WORDS>, theirs: &FixedMontyForm<WORDS>| {
            assert_eq!(modulus.leave(mine), theirs.retrieve());
        };
        for left in [Uint::ZERO, Uint::ONE, below, other, Uint::MAX] {
            let (mine, theirs) = (modulus.enter(&left, &radix), FixedMontyForm::new(&left, &parameters));
            same(&mine, &theirs);
            same(&modulus.square(&mine), &theirs.square());
            same(&modulus.add(&mine, &mine), &theirs.double());
            same(&modulus.power_by_public(&mine, 65_537), &theirs.pow(&U64::from_u32(65_537)));
            for right in [Uint::ONE, below, other] {
                let product = theirs.mul(&FixedMontyForm::new(&right, &parameters));
                same(&modulus.multiply(&mine, &modulus.enter(&right, &radix)), &product);
            }
        }
        let two = FixedMontyForm::new(&Uint::from_u8(2), &parameters);
        let base = FixedMontyForm::new(&other, &parameters);
        for exponent in [Uint::ZERO, below] {
            same(&modulus.power_of_two(&exponent), &two.pow(&exponent));
            same(&modulus.power(&modulus.enter(&other, &radix), &exponent), &base.pow(&exponent));
        }
        same(&modulus.minus_one(), &FixedMontyForm::new(&below, &parameters));
    }
}

#[test]
fn every_size_is_calculated_with_as_crypto_bigint_does() {
    calculates_as_crypto_bigint_does::<16>();
    calculates_as_crypto_bigint_does::<24>();
    calculates_as_crypto_bigint_does::<32>();
    calculates_as_crypto_bigint_does::<48>();
}

/// 2^1024 - 1 has many factors. A key with it fails its own check.
#[test]
fn a_composite_in_the_place_of_a_prime_is_no_fault_of_the_calculation() {
    let key = key();
    let composite = Uint::<16>::MAX;
    let prime = Uint::<16>::from_be_slice(&key.prime());
    let (low, high) = composite.widening_mul(&prime);
    let modulus = [high.to_be_bytes().as_ref(), low.to_be_bytes().as_ref()].concat();
    let public = RsaPublicKey::new(&modulus, 0).unwrap();
    let wrong = RsaPrivateKey::from_prime(&public, composite.to_be_bytes().as_ref()).unwrap();
    let refused = wrong.sign(RsaSignature::Rsassa(SHA_256), &[9; 32], &mut drbg(1)).unwrap_err();
    assert_eq!(refused, RsaFailure::Binding);
}

/// A source of bits that broke down.
struct Stuck;

impl Random for Stuck {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

#[test]
fn a_source_of_bits_that_is_stuck_ends_in_a_failure_and_not_in_a_loop() {
    let key = key();
    assert_eq!(key.public().encrypt(RsaEncryption::Rsaes, &[1], &mut Stuck), Err(RsaFailure::Fault));
    let signed = key.sign(RsaSignature::Rsassa(SHA_256), &[9; 32], &mut Stuck);
    assert_eq!(signed.unwrap_err(), RsaFailure::Fault);
}

/// 2^1023 + 1155 is the first prime of 1024 bits.
#[test]
fn the_first_prime_of_its_size_passes_and_its_neighbours_do_not() {
    let number = |offset: u64| Uint::<16>::ONE.wrapping_shl(1023).wrapping_add(&Uint::from_u64(offset));
    let passes = |number: &Uint<16>| {
        let test = prime::MillerRabin::new(number).unwrap();
        (test.passes_base_two(), test.passes(&Uint::from_u64(3)))
    };
    assert_eq!(passes(&number(1155)), (true, true));
    assert_eq!(passes(&number(1157)), (false, false));
    assert_eq!(passes(&Uint::MAX), (false, false));
    assert!(prime::MillerRabin::new(&number(1156)).is_none());
}
