//! NIST's vectors and those of another implementation (`vectors.txt`), golden keys, and what wrong inputs are answered with.

use std::string::{String, ToString};
use std::vec::Vec;

use super::ml_dsa::{self, MlDsaSet, Representative};
use super::ml_kem::{self, MlKemSet};
use super::shake::shake256;
use crate::crypto::{Drbg, HashAlgorithm, Random, hash};

extern crate std;

const VECTORS: &str = include_str!("vectors.txt");

/// The cases of one kind, each the fields behind it.
fn cases(kind: &str) -> Vec<Vec<&'static str>> {
    let lines = VECTORS.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let cases: Vec<_> = lines.filter(|fields| fields[0] == kind).map(|fields| fields[1..].to_vec()).collect();
    assert!(!cases.is_empty(), "{kind}");
    cases
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn sha256(data: &[u8]) -> String {
    hash(HashAlgorithm::Sha256, &[data]).iter().map(|byte| std::format!("{byte:02x}")).collect()
}

fn kem(field: &str) -> MlKemSet {
    MlKemSet::from_wire(field.parse().unwrap()).unwrap()
}

fn dsa(field: &str) -> MlDsaSet {
    MlDsaSet::from_wire(field.parse().unwrap()).unwrap()
}

/// Gives the same bytes for ever.
struct Fixed(Vec<u8>);

impl Random for Fixed {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.copy_from_slice(&self.0);
    }
}

fn drbg() -> Drbg {
    Drbg::instantiate(&[5; 48], b"")
}

#[test]
fn keys_of_seeds_are_those_that_nist_published() {
    for case in cases("kem-key") {
        let public = kem(case[0]).public_key(&bytes(case[1])).unwrap();
        assert_eq!(public.len(), kem(case[0]).public_bytes());
        assert_eq!(sha256(&public), case[2]);
    }
    for case in cases("dsa-key") {
        let public = dsa(case[0]).public_key(&bytes(case[1])).unwrap();
        assert_eq!(public.len(), dsa(case[0]).public_bytes());
        assert_eq!(sha256(&public), case[2]);
    }
}

#[test]
fn encapsulations_are_those_that_nist_published() {
    for case in cases("kem-encapsulate") {
        let (secret, ciphertext) =
            kem(case[0]).encapsulate(&bytes(case[1]), &mut Fixed(bytes(case[2]))).unwrap();
        assert_eq!(ciphertext.len(), kem(case[0]).ciphertext_bytes());
        assert_eq!((sha256(&ciphertext).as_str(), secret.as_slice()), (case[3], bytes(case[4]).as_slice()));
    }
}

#[test]
fn decapsulations_and_implicit_rejections_are_those_of_another_implementation() {
    for case in cases("kem-decapsulate") {
        let secret = kem(case[0]).decapsulate(&bytes(case[1]), &bytes(case[2])).unwrap();
        assert_eq!(secret.as_slice(), bytes(case[3]));
    }
}

#[test]
fn signatures_are_valid_where_nist_says_so() {
    for case in cases("dsa-verify") {
        let (public, message) = (bytes(case[1]), bytes(case[2]));
        let representative = shake256(&[&shake256(&[&public]), &message]);
        let valid = dsa(case[0]).verify(&public, &representative, &bytes(case[3]));
        assert_eq!(valid.to_string(), case[4]);
    }
}

#[test]
fn signatures_are_those_of_another_implementation() {
    for case in cases("dsa-sign") {
        let (set, seed, context, message) = (dsa(case[0]), bytes(case[1]), bytes(case[3]), bytes(case[4]));
        let public = set.public_key(&seed).unwrap();
        let algorithm = match case[2] {
            "sha256" => Some(HashAlgorithm::Sha256),
            "sha384" => Some(HashAlgorithm::Sha384),
            "sha512" => Some(HashAlgorithm::Sha512),
            _ => None,
        };
        let representative = match algorithm {
            Some(algorithm) => {
                let digest = hash(algorithm, &[&message]);
                Representative::of_digest(&public, &context, algorithm, &digest).unwrap()
            }
            None => {
                let mut representative = Representative::of_message(&public, &context).unwrap();
                let (first, second) = message.split_at(4);
                representative.update(first);
                let mut representative =
                    Representative::import_state(&representative.export_state()).unwrap();
                representative.update(second);
                representative
            }
        };
        let representative = representative.finish();
        let signature = set.sign(&seed, &representative, &mut Fixed(bytes(case[5]))).unwrap();
        assert_eq!(signature.len(), set.signature_bytes());
        assert_eq!(sha256(&signature), case[6]);
        assert!(set.verify(&public, &representative, &signature));
        for index in [0, signature.len() / 2, signature.len() - 1] {
            let mut changed = signature.clone();
            changed[index] ^= 1;
            assert!(!set.verify(&public, &representative, &changed), "{index}");
        }
        assert!(!set.verify(&public, &[0; ml_dsa::REPRESENTATIVE_BYTES], &signature));
    }
}

#[test]
fn inputs_of_other_sizes_are_refused() {
    for set in MlKemSet::ALL {
        assert!(set.public_key(&[1; ml_kem::SEED_BYTES - 1]).is_none());
        let public = set.public_key(&[1; ml_kem::SEED_BYTES]).unwrap();
        assert!(set.is_public_key(&public));
        assert!(!set.is_public_key(&public[1..]));
        assert!(set.encapsulate(&public[1..], &mut drbg()).is_none());
        assert!(set.decapsulate(&[1; ml_kem::SEED_BYTES], &[0; 5]).is_none());
        // FIPS 203, section 7.2: coefficients at or above the modulus are refused.
        assert!(!set.is_public_key(&std::vec![0xff; set.public_bytes()]));
    }
    for set in MlDsaSet::ALL {
        assert!(set.public_key(&[1; ml_dsa::SEED_BYTES + 1]).is_none());
        assert!(set.sign(&[1; 31], &[0; 64], &mut drbg()).is_none());
        assert!(!set.verify(&[0; 5], &[0; 64], &std::vec![0; set.signature_bytes()]));
        assert!(!set.verify(&std::vec![0; set.public_bytes()], &[0; 64], &[0; 5]));
    }
    assert!(Representative::of_message(&[], &[0; ml_dsa::LONGEST_CONTEXT_BYTES]).is_some());
    assert!(Representative::of_message(&[], &[0; ml_dsa::LONGEST_CONTEXT_BYTES + 1]).is_none());
    assert!(Representative::of_digest(&[], &[], HashAlgorithm::Sha1, &[0; 20]).is_none());
    assert!(Representative::of_digest(&[], &[], HashAlgorithm::Sha256, &[0; 20]).is_none());
}

/// The stacks of the firmware's vCPUs have 64 KiB.
#[test]
fn every_operation_fits_the_kernels_stack() {
    let operation = || {
        for set in MlKemSet::ALL {
            let public = set.public_key(&[1; ml_kem::SEED_BYTES]).unwrap();
            let (secret, ciphertext) = set.encapsulate(&public, &mut drbg()).unwrap();
            assert_eq!(set.decapsulate(&[1; ml_kem::SEED_BYTES], &ciphertext).unwrap(), secret);
        }
        for set in MlDsaSet::ALL {
            let public = set.public_key(&[1; ml_dsa::SEED_BYTES]).unwrap();
            let signature = set.sign(&[1; ml_dsa::SEED_BYTES], &[2; 64], &mut drbg()).unwrap();
            assert!(set.verify(&public, &[2; 64], &signature));
        }
    };
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(operation);
    thread.unwrap().join().unwrap();
}

/// What the operations need, as the crates are built today: decided by trial.
const STACK_BYTES: usize = 256 << 10;
