//! Keys of fixed seeds, published vectors, and what wrong inputs are answered with.

use super::*;
use crate::crypto::{Drbg, hash};
use alloc::vec;
use hex_literal::hex;

/// Gives the same bytes to whoever asks.
struct Fixed(Vec<u8>);

impl Random for Fixed {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.copy_from_slice(&self.0);
    }
}

impl Fixed {
    /// The bits that make `scalar` the private key or nonce: eight zeros, and the scalar less one.
    fn leading_to(scalar: &[u8]) -> Self {
        let mut bits = vec![0; 8];
        bits.extend_from_slice(scalar);
        *bits.last_mut().unwrap() -= 1;
        Self(bits)
    }
}

fn drbg(seed: u8) -> Drbg {
    Drbg::instantiate(&[seed; 48], b"")
}

/// A row of RFC 6979, appendix A.2: curve, hash of "sample", private key, nonce, r, s.
struct Published {
    curve: EccCurve,
    hash: HashAlgorithm,
    private: &'static [u8],
    nonce: &'static [u8],
    r: &'static [u8],
    s: &'static [u8],
}

#[rustfmt::skip]
const PUBLISHED: &[Published] = &[
    Published {
        curve: EccCurve::P256,
        hash: HashAlgorithm::Sha256,
        private: &hex!("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721"),
        nonce: &hex!("a6e3c57dd01abe90086538398355dd4c3b17aa873382b0f24d6129493d8aad60"),
        r: &hex!("efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"),
        s: &hex!("f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"),
    },
    Published {
        curve: EccCurve::P384,
        hash: HashAlgorithm::Sha384,
        private: &hex!("6b9d3dad2e1b8c1c05b19875b6659f4de23c3b667bf297ba9aa47740787137d896d5724e4c70a825f872c9ea60d2edf5"),
        nonce: &hex!("94ed910d1a099dad3254e9242ae85abde4ba15168eaf0ca87a555fd56d10fbca2907e3e83ba95368623b8c4686915cf9"),
        r: &hex!("94edbb92a5ecb8aad4736e56c691916b3f88140666ce9fa73d64c4ea95ad133c81a648152e44acf96e36dd1e80fabe46"),
        s: &hex!("99ef4aeb15f178cea1fe40db2603138f130e740a19624526203b6351d0a3a94fa329c145786e679e7b82c71a38628ac8"),
    },
    Published {
        curve: EccCurve::P521,
        hash: HashAlgorithm::Sha512,
        private: &hex!("00fad06daa62ba3b25d2fb40133da757205de67f5bb0018fee8c86e1b68c7e75caa896eb32f1f47c70855836a6d16fcc1466f6d8fbec67db89ec0c08b0e996b83538"),
        nonce: &hex!("01dae2ea071f8110dc26882d4d5eae0621a3256fc8847fb9022e2b7d28e6f10198b1574fdd03a9053c08a1854a168aa5a57470ec97dd5ce090124ef52a2f7ecbffd3"),
        r: &hex!("00c328fafcbd79dd77850370c46325d987cb525569fb63c5d3bc53950e6d4c5f174e25a1ee9017b5d450606add152b534931d7d4e8455cc91f9b15bf05ec36e377fa"),
        s: &hex!("00617cce7cf5064806c467f678d3b4080d6f1cc50af26ca209417308281b68af282623eaa63e5b5c0723d8b8c37ff0777b1a20f8ccb1dccc43997f1ee0e44da4a67a"),
    },
];

#[test]
fn ecdsa_gives_what_is_published_and_verifies_it() {
    for row in PUBLISHED {
        let digest = hash(row.hash, &[b"sample"]);
        let expected = EccSignature { r: row.r.to_vec(), s: row.s.to_vec() };
        let mut random = Fixed::leading_to(row.nonce);
        let signature = sign_ecdsa(row.curve, row.private, &digest, &mut random).unwrap();
        assert_eq!(signature, expected, "{:?}", row.curve);
        let public = public_key(row.curve, row.private).unwrap();
        assert!(verify_ecdsa(row.curve, &public, &digest, &signature));
        assert!(!verify_ecdsa(row.curve, &public, &hash(row.hash, &[b"other"]), &signature));
        let swapped = EccSignature { r: expected.s, s: expected.r };
        assert!(!verify_ecdsa(row.curve, &public, &digest, &swapped));
    }
}

/// RFC 6979, appendix A.2.5.
#[test]
fn a_public_key_is_what_is_published() {
    let public = public_key(EccCurve::P256, PUBLISHED[0].private).unwrap();
    assert_eq!(public.x, hex!("60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"));
    assert_eq!(public.y, hex!("7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299"));
}

/// NIST CAVP, ECC CDH primitive: P-256, count 0.
#[test]
fn a_shared_secret_is_what_nist_published() {
    let peer = EccPoint {
        x: hex!("700c48f77f56584c5cc632ca65640db91b6bacce3a4df6b42ce7cc838833d287").to_vec(),
        y: hex!("db71e509e3fd9b060ddb20ba5c51dcc5948d46fbf640dfe0441782cab85fa4ac").to_vec(),
    };
    let private = hex!("7d7dc5f71eb29ddaf80d6214632eeae03d9058af1fb6d22ed80badb62bc1a534");
    let shared = multiply(EccCurve::P256, &private, &peer).unwrap();
    assert_eq!(shared.x, hex!("46fc62106420ff012e54a434fbdd2d25ccc5852060561e68040dd7778997bd7b"));
}

/// What a seed gives must never change: endorsement keys come from it. The numbers were calculated by a program in
/// another language.
#[test]
fn keys_of_a_fixed_seed_stay_what_they_are() {
    let expected: [&[u8]; 3] = [
        &hex!("042170f397ffdd4abcdaea8ec6bc1d718000a32957cacc90e424a5fd99439854"),
        &hex!(
            "452e875a71004c3613410d1f8cafb01d94c10e61cb3433ad210193f7d23ce966739ccb9955c5d8f7dd614d66603992dd"
        ),
        &hex!(
            "0183988cecf2c797d4572cd4e5087f57e89d57dbe94fcf5b2f352d45c8ced0d1463a16528303c7a83053fd8bd186d47591cbba17edb9ce3837093e43a5f3d3ac6809"
        ),
    ];
    for (curve, expected) in EccCurve::ALL.into_iter().zip(expected) {
        let key = generate(curve, &mut drbg(7));
        assert_eq!(key.public.x, expected, "{curve:?}");
        assert_eq!(public_key(curve, &key.private), Some(key.public.clone()));
        assert!(is_on_curve(curve, &key.public.x, &key.public.y));
        assert_eq!(key.private.len(), curve.bytes());
    }
}

#[test]
fn private_keys_are_above_zero_and_below_the_order() {
    for curve in EccCurve::ALL {
        let mut order = curve.parameters().n.to_vec();
        assert!(!is_private_key(curve, &order));
        *order.last_mut().unwrap() -= 1;
        assert!(is_private_key(curve, &order));
        assert!(!is_private_key(curve, &vec![0; curve.bytes()]));
        assert!(!is_private_key(curve, &[]));
        assert!(is_private_key(curve, &[1]));
        // All bits set come out as a scalar as well, and so does what is a multiple of the order less one.
        for bits in [vec![0xff; curve.bytes() + 8], [vec![0; 8], order].concat()] {
            assert!(is_private_key(curve, &generate(curve, &mut Fixed(bits)).private));
        }
    }
}

#[test]
fn parameters_describe_the_curve_that_is_calculated_on() {
    for curve in EccCurve::ALL {
        let parameters = curve.parameters();
        let generator = public_key(curve, &[1]).unwrap();
        assert_eq!((generator.x.as_slice(), generator.y.as_slice()), (parameters.g_x, parameters.g_y));
        // -G shares the first coordinate with G, and [n - 1]G is -G.
        let mut last = parameters.n.to_vec();
        *last.last_mut().unwrap() -= 1;
        assert_eq!(public_key(curve, &last).unwrap().x, parameters.g_x);
        assert_eq!(multiply(curve, parameters.n, &generator), None);
        for constant in [parameters.p, parameters.a, parameters.b, parameters.n] {
            assert_eq!(constant.len(), curve.bytes());
        }
        assert_eq!(EccCurve::from_wire(curve.to_wire()), Some(curve));
    }
    assert_eq!(EccCurve::from_wire(0x0010), None);
}

#[test]
fn points_beside_the_curve_are_refused() {
    for curve in EccCurve::ALL {
        let mut point = generate(curve, &mut drbg(1)).public;
        assert!(multiply(curve, &[2], &point).is_some());
        *point.y.last_mut().unwrap() ^= 1;
        assert!(!is_on_curve(curve, &point.x, &point.y));
        assert_eq!(multiply(curve, &[2], &point), None);
        assert!(!is_on_curve(curve, &[], &[]));
        assert!(!is_on_curve(curve, curve.parameters().p, &point.y));
        assert!(!is_on_curve(curve, &[1; 67], &[1; 67]));
    }
}

#[test]
fn sums_of_products_agree_with_products() {
    for curve in EccCurve::ALL {
        let generator = public_key(curve, &[1]).unwrap();
        let double = multiply(curve, &[2], &generator).unwrap();
        let seven = multiply_and_add(curve, &[3], &generator, &[2], &double).unwrap();
        assert_eq!(Some(seven), public_key(curve, &[7]));
        let mut minus_one = curve.parameters().n.to_vec();
        *minus_one.last_mut().unwrap() -= 1;
        assert_eq!(multiply_and_add(curve, &[1], &generator, &minus_one, &generator), None);
    }
}

#[test]
fn schnorr_signatures_verify_and_changed_ones_do_not() {
    for curve in EccCurve::ALL {
        for algorithm in HashAlgorithm::ALL {
            let key = generate(curve, &mut drbg(2));
            let digest = hash(algorithm, &[b"message"]);
            let signature = sign_schnorr(curve, &key.private, algorithm, &digest, &mut drbg(3)).unwrap();
            let verify = |digest: &[u8], signature: &EccSignature| {
                verify_schnorr(curve, &key.public, algorithm, digest, signature)
            };
            assert!(verify(&digest, &signature), "{curve:?} {algorithm:?}");
            assert!(!verify(&hash(algorithm, &[b"other"]), &signature));
            for change in [
                |changed: &mut EccSignature| changed.r[20] ^= 1,
                |changed: &mut EccSignature| changed.s[20] ^= 1,
            ] {
                let mut changed = signature.clone();
                change(&mut changed);
                assert!(!verify(&digest, &changed));
            }
        }
    }
}

/// s = r + H(nonce || digest) * d says that [s]G = R + [H(nonce || digest)]Q.
#[test]
fn ecdaa_signatures_satisfy_their_equation() {
    for curve in EccCurve::ALL {
        let algorithm = HashAlgorithm::Sha512;
        let key = generate(curve, &mut drbg(4));
        let committed = commit_scalar(curve, &[5; 32], b"name", 6).unwrap();
        let signature =
            sign_ecdaa(curve, &key.private, &committed, algorithm, b"digest", &mut drbg(5)).unwrap();
        let challenge = hash(algorithm, &[&signature.r, b"digest"]);
        let generator = public_key(curve, &[1]).unwrap();
        let right = multiply_and_add(curve, &committed, &generator, &challenge, &key.public);
        assert_eq!(public_key(curve, &signature.s), right, "{curve:?}");
    }
}

#[test]
fn commitments_depend_on_nonce_name_and_counter() {
    let scalar = |nonce: &[u8], name: &[u8], counter| commit_scalar(EccCurve::P256, nonce, name, counter);
    let first = scalar(b"nonce", b"name", 1).unwrap();
    assert!(is_private_key(EccCurve::P256, &first));
    assert_eq!(scalar(b"nonce", b"name", 1), Some(first.clone()));
    for other in [scalar(b"other", b"name", 1), scalar(b"nonce", b"other", 1), scalar(b"nonce", b"name", 2)] {
        assert_ne!(other, Some(first.clone()));
    }
}

#[test]
fn signatures_of_zero_or_of_the_order_are_refused() {
    for curve in EccCurve::ALL {
        let key = generate(curve, &mut drbg(6));
        for wrong in [&[0][..], curve.parameters().n, &[]] {
            for signature in [
                EccSignature { r: wrong.to_vec(), s: vec![1] },
                EccSignature { r: vec![1], s: wrong.to_vec() },
            ] {
                assert!(!verify_ecdsa(curve, &key.public, &[1; 32], &signature));
                let algorithm = HashAlgorithm::Sha256;
                assert!(!verify_schnorr(curve, &key.public, algorithm, &[1; 32], &signature));
            }
        }
    }
}
