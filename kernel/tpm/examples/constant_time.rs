//! One operation of the TPM's cryptography with a secret from a file, for an instrument that counts what the processor does:
//! `tests/conformance/constant_time`. `constant_time OPERATION FILE`; `constant_time make FOLDER` writes the secrets.

use std::hint::black_box;
use std::path::Path;

use tpm::crypto::{
    Drbg, EccCurve, HashAlgorithm, Hmac, RsaEncryption, RsaPrivateKey, RsaPublicKey, RsaSignature, ecc,
};

const PRIME_BYTES: usize = 128;

fn drbg(seed: u8) -> Drbg {
    Drbg::instantiate(&[seed; 48], b"constant time")
}

fn rsa(secret: &[u8]) -> RsaPrivateKey {
    let (prime, modulus) = secret.split_at(PRIME_BYTES);
    let public = RsaPublicKey::new(modulus, 0).expect("a modulus");
    RsaPrivateKey::from_prime(&public, prime).expect("its prime")
}

fn curve(name: &str) -> EccCurve {
    match name {
        "p256" => EccCurve::P256,
        "p384" => EccCurve::P384,
        _ => EccCurve::P521,
    }
}

/// Does the operation; only what is secret differs between two files.
fn operate(operation: &str, secret: &[u8]) {
    let sha256 = HashAlgorithm::Sha256;
    match operation.split_once('-').unwrap_or((operation, "")) {
        ("rsa", "sign") => {
            let signed = rsa(secret).sign(RsaSignature::Rsassa(sha256), &[7; 32], &mut drbg(1));
            black_box(signed).expect("a signature");
        }
        ("rsa", scheme) => {
            // The key is the same in both files; what differs is the padding, wrong in one place or another.
            let (key, ciphertext) = secret.split_at(3 * PRIME_BYTES);
            let scheme = match scheme {
                "oaep" => RsaEncryption::Oaep { hash: sha256, label: b"label\0" },
                _ => RsaEncryption::Rsaes,
            };
            let opened = rsa(key).decrypt(scheme, ciphertext, &mut drbg(1));
            assert!(black_box(opened).is_err());
        }
        ("ecdsa", name) => {
            let signed = ecc::sign_ecdsa(curve(name), secret, &[7; 32], &mut drbg(1));
            black_box(signed).expect("a signature");
        }
        ("nonce", name) => {
            let mut random = Drbg::instantiate(secret, b"nonce");
            let signed = ecc::sign_ecdsa(curve(name), &[7; 32], &[7; 32], &mut random);
            black_box(signed).expect("a signature");
        }
        ("ecdh", name) => {
            let public = ecc::public_key(curve(name), &[9; 32]).expect("a point");
            black_box(ecc::multiply(curve(name), secret, &public)).expect("a shared secret");
        }
        ("hmac", _) => {
            let mut hmac = Hmac::new(sha256, b"key");
            hmac.update(b"message");
            assert!(!black_box(hmac.verify(secret)));
        }
        other => panic!("unknown operation {other:?}"),
    }
}

/// Two secrets for each operation, `OPERATION.0` and `OPERATION.1`.
fn make(folder: &Path) {
    let write = |operation: &str, number: usize, secret: &[u8]| {
        std::fs::write(folder.join(format!("{operation}.{number}")), secret).expect("a file is written");
    };
    let keys = [1, 2].map(|seed| RsaPrivateKey::generate(2048, 0, &mut drbg(seed)).expect("a key"));
    let stored = keys.each_ref().map(|key| [&key.prime(), key.public().modulus()].concat());
    let wrong_in = |place: usize| {
        let mut block = [0xaa; 256];
        (block[0], block[1], block[100]) = (0, 2, 0);
        block[place] = if place == 1 { 9 } else { 0 };
        keys[0].public().encrypt(RsaEncryption::Raw, &block, &mut drbg(3)).expect("a ciphertext")
    };
    for number in [0, 1] {
        write("rsa-sign", number, &stored[number]);
        let ciphertext = wrong_in([1, 5][number]);
        write("rsa-rsaes", number, &[stored[0].as_slice(), &ciphertext].concat());
        write("rsa-oaep", number, &[stored[0].as_slice(), &ciphertext].concat());
        for (name, curve) in [("p256", EccCurve::P256), ("p384", EccCurve::P384), ("p521", EccCurve::P521)] {
            let key = ecc::generate(curve, &mut drbg([4, 5][number]));
            write(&format!("ecdsa-{name}"), number, &key.private);
            write(&format!("ecdh-{name}"), number, &key.private);
            write(&format!("nonce-{name}"), number, &[[6, 7][number]; 48]);
        }
        let mut expected = tpm::crypto::hmac(HashAlgorithm::Sha256, b"key", &[b"message"]).to_vec();
        expected[[0, 31][number]] ^= 1;
        write("hmac", number, &expected);
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [make_secrets, folder] if make_secrets == "make" => make(Path::new(folder)),
        [operation, file] => operate(operation, &std::fs::read(file).expect("the secret")),
        _ => panic!("constant_time OPERATION FILE, or make FOLDER"),
    }
}
