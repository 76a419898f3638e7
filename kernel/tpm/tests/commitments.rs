//! TPM2_Commit with a second point: its answers, computed elsewhere, and what the signature of the commitment says about them.
//! Part 1, annexes C.2 and C.4.2; the points come from `commit_vectors.py`.

mod driver;

use driver::keys::*;
use driver::{Answer, Driver, sized};
use hex_literal::hex;
use p256::elliptic_curve::PrimeField;
use p256::elliptic_curve::ops::Reduce;
use p256::elliptic_curve::sec1::{FromSec1Point, Sec1Point};
use p256::{AffinePoint, NistP256, ProjectivePoint, Scalar};
use sha2::{Digest, Sha256};

/// What the verifier sends: the hash of it is the x coordinate of a point.
const SEED: &[u8] = b"seed 0";
const X2: [u8; 32] = hex!("2f5c36ed794f639044eb85ca9d72d419045ab90d9db3cf19c7c9855cda3c0c1e");
const Y2: [u8; 32] = hex!("26a66d918395e83bcd4a6364abe023e8e64a5ece216684ce655184e91850478d");
const OTHER_Y2: [u8; 32] = hex!("d959926d7c6a17c532b59c9b541fdc1719b5a132de997b319aae7b16e7afb872");
/// Seven times that point.
const KX: [u8; 32] = hex!("0e05021f083b1ed846e2b72737fc56e560ceac39fd9a2b0006ff1834c824ca69");
const KY: [u8; 32] = hex!("368e306d96e75613aa5a5fb67c274be49cc4589ad76bd5932161f330ef4cc6c1");
/// The public point of the scalar seven.
const SEVEN: [[u8; 32]; 2] = [
    hex!("8e533b6fa0bf7b4625bb30667c01fb607ef9f8b8a80fef5b300628703187b2a3"),
    hex!("73eb1dbde03318366d069f83a6f5900053c73633cb041b21c55e1a86c1f400b4"),
];
const GENERATOR: [[u8; 32]; 2] = [
    hex!("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"),
    hex!("4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"),
];

/// A key that signs by ECDAA with SHA-256, whose scalar is seven.
fn signer(tpm: &mut Driver) -> u32 {
    let parameters = &P256_ECDAA[..P256_ECDAA.len() - 4];
    let public = [template(ECC, USER | NO_DA | SIGN, b"", parameters), point(&SEVEN)].concat();
    let mut scalar = [0; 32];
    scalar[31] = 7;
    let private = [&ECC.to_be_bytes()[..], &[0; 4], &sized(&scalar)].concat();
    let load = tpm.command(0x167).sized(&private).sized(&public).u32(NULL);
    load.run().expect("TPM2_LoadExternal").handle
}

fn point(coordinates: &[[u8; 32]; 2]) -> Vec<u8> {
    coordinates.iter().flat_map(|coordinate| sized(coordinate)).collect()
}

fn commit(tpm: &mut Driver, key: u32, p1: &[u8], y2: &[u8]) -> Answer {
    let command = tpm.command(0x18B).handle(key).password(b"").sized(p1);
    command.sized(if y2.is_empty() { b"" } else { SEED }).sized(y2).run().expect("TPM2_Commit")
}

/// K, L and E, each two sized coordinates.
fn points(answer: &Answer) -> Vec<Vec<u8>> {
    answer.all_sized().into_iter().take(3).collect()
}

/// Uses a commitment up: the challenge and the answer of the signature of a digest.
fn sign(tpm: &mut Driver, key: u32, committed: &Answer) -> (Scalar, Scalar) {
    const DIGEST: [u8; 32] = [5; 32];
    let counter = &committed.parameters[committed.parameters.len() - 2..];
    let command = tpm.command(0x15D).handle(key).password(b"").sized(&DIGEST);
    let command = command.bytes(&[&[0, 0x1A, 0, 0x0B][..], counter].concat());
    let answer = command.bytes(&[0x80, 0x24, 0x40, 0, 0, 7, 0, 0]).run().expect("TPM2_Sign");
    let nonce = answer.sized(4);
    let challenge = Sha256::new().chain_update(nonce).chain_update(DIGEST).finalize();
    let s = answer.sized(4 + 2 + nonce.len());
    let mut padded = [0; 32];
    padded[32 - s.len()..].copy_from_slice(s);
    let challenge = <Scalar as Reduce<p256::FieldBytes>>::reduce(&challenge);
    (challenge, Scalar::from_repr(padded.into()).unwrap())
}

fn on_the_curve(coordinates: &[u8]) -> ProjectivePoint {
    let (x, y) = (&coordinates[2..34], &coordinates[36..68]);
    let encoded = [&[4][..], x, y].concat();
    let encoded = Sec1Point::<NistP256>::from_bytes(encoded).unwrap();
    AffinePoint::from_sec1_point(&encoded).unwrap().into()
}

#[test]
fn the_second_point_is_multiplied_by_the_key() {
    let mut tpm = Driver::started();
    let key = signer(&mut tpm);
    let k = |tpm: &mut Driver, y2: &[u8]| points(&commit(tpm, key, &[0; 4], y2))[0].clone();
    assert_eq!(k(&mut tpm, &Y2), point(&[KX, KY]));
    let other = k(&mut tpm, &OTHER_Y2);
    assert_eq!(on_the_curve(&other), -on_the_curve(&point(&[KX, KY])));
}

#[test]
fn both_points_are_multiplied_by_what_the_signature_answers_with() {
    let mut tpm = Driver::started();
    let key = signer(&mut tpm);
    let committed = commit(&mut tpm, key, &point(&GENERATOR), &Y2);
    let (challenge, s) = sign(&mut tpm, key, &committed);
    let [k, l, e] = points(&committed).iter().map(|point| on_the_curve(point)).collect::<Vec<_>>()[..] else {
        panic!("three points");
    };
    let second = on_the_curve(&point(&[X2, Y2]));
    assert_eq!(second * s, l + k * challenge);
    assert_eq!(ProjectivePoint::GENERATOR * s, e + on_the_curve(&point(&SEVEN)) * challenge);
}

/// The generator stands for the first point only where there is no second.
#[test]
fn points_that_were_not_given_are_not_answered() {
    let mut tpm = Driver::started();
    let key = signer(&mut tpm);
    const NOTHING: [u8; 4] = [0; 4];
    let only_second = points(&commit(&mut tpm, key, &NOTHING, &Y2));
    assert_eq!((only_second[1].len(), &only_second[2][..]), (68, &NOTHING[..]));
    let neither = commit(&mut tpm, key, &NOTHING, b"");
    let (challenge, s) = sign(&mut tpm, key, &neither);
    let neither = points(&neither);
    assert_eq!(neither[..2], [NOTHING, NOTHING]);
    let expected = on_the_curve(&neither[2]) + on_the_curve(&point(&SEVEN)) * challenge;
    assert_eq!(ProjectivePoint::GENERATOR * s, expected);
}
