//! The forgery of decision 0022, really built: a genuine report about a nonce of 64 bytes, shown as one about its first 32 and
//! a manifest whose key is the forger's.

mod synthetic;

use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, Odd, Resize};
use sha2::{Digest, Sha512};
use svsm_verify::manifest::{self, InvalidManifest};
use svsm_verify::vtpm::public_area::{Key as PublicKey, PublicArea};
use svsm_verify::vtpm::template::NotOfTemplate;
use svsm_verify::{Check, Nonce, Refusal, nonce::InvalidNonce};
use synthetic::tpm::Key;
use synthetic::{Machine, judge, policy};

/// What the relying party sent, one that is content with 32 bytes.
const SENT: [u8; 32] = *b"thirty-two bytes of a short one!";
/// Bits of the forged modulus: six free bytes and the genuine manifest.
const BITS: u32 = 2560;

/// The head of a public area of RSA-2560 that lacks the end of its modulus: restricted decryption, no policy, AES-128 in CFB mode.
fn head(free: u64) -> [u8; 32] {
    let mut head = [0; 32];
    head[..26].copy_from_slice(&hex_literal::hex!(
        "0001 000b 000300f2 0000 0006 0080 0043 0010 0a00 00000000 0140"
    ));
    head[26..].copy_from_slice(&free.to_be_bytes()[2..]);
    head
}

fn number(bytes: &[u8]) -> BoxedUint {
    BoxedUint::from_be_slice(bytes, BITS).unwrap()
}

fn power(base: &BoxedUint, exponent: &BoxedUint, modulus: &BoxedUint) -> BoxedUint {
    let odd: Odd<BoxedUint> = modulus.to_odd().unwrap();
    BoxedMontyForm::new(base.clone(), &BoxedMontyParams::new_vartime(odd)).pow(exponent).retrieve()
}

fn is_prime(candidate: &[u8]) -> bool {
    let small = (3_u32..2000).step_by(2);
    let rest =
        |divisor: u32| candidate.iter().fold(0_u32, |rest, byte| (rest << 8 | u32::from(*byte)) % divisor);
    if small.into_iter().any(|divisor| rest(divisor) == 0) {
        return false;
    }
    let modulus = number(candidate);
    let less = modulus.wrapping_sub(BoxedUint::one_with_precision(BITS));
    power(&BoxedUint::from(2_u8).resize(BITS), &less, &modulus) == BoxedUint::one_with_precision(BITS)
}

/// A head that makes the whole, with the genuine manifest behind it, the public area of a key with a prime modulus.
fn forged_head(genuine: &[u8]) -> [u8; 32] {
    (0x8000_0000_0000..).map(head).find(|head| is_prime(&[&head[26..], genuine].concat())).unwrap()
}

#[test]
fn a_border_between_nonce_and_manifest_that_was_moved_is_refused() {
    let mut machine = Machine { lists_all_services: false, ..Machine::genuine() };
    let genuine = machine.manifest();
    assert_eq!(26 + 6 + genuine.len(), 26 + BITS as usize / 8);
    let head = forged_head(&genuine);
    let forged = [&head[..], &genuine].concat();

    // The guest asks VMPL0, honestly, with 64 bytes.
    let asked = [SENT, head].concat();
    machine.nonce.clone_from(&asked);
    machine.attestation_key = Key::foreign_attestation_rsa();
    let mut evidence = machine.evidence();
    evidence.manifest.clone_from(&forged);
    evidence.ek_public = None;
    // Whoever computes the specification's formula with the short nonce finds that the report is about it and the forgery.
    let data = Sha512::new().chain_update(SENT).chain_update(&forged).finalize();
    assert_eq!(evidence.report[0x50..0x90], data[..]);

    // The forged key is a key, and the forger has its private exponent.
    let PublicKey::Rsa { modulus, exponent } = PublicArea::parse(&forged).unwrap().key else { panic!("RSA") };
    let prime = number(&modulus);
    let order = prime.wrapping_sub(BoxedUint::one_with_precision(BITS));
    let public = BoxedUint::from(exponent).resize(BITS);
    let private = public.invert_mod(&order.to_nz().unwrap()).unwrap();
    let secret = number(b"a seed of a credential");
    assert_eq!(power(&power(&secret, &public, &prime), &private, &prime), secret);

    // First lock: no such nonce can be asked about.
    assert_eq!(Nonce::try_from(SENT.as_slice()), Err(InvalidNonce));
    // Second lock: no key of that shape stands in a manifest.
    let reason = InvalidManifest::Template(NotOfTemplate::Field("algorithm or size"));
    assert_eq!(manifest::read(&forged), Err(reason));
    // And whatever 64 bytes a relying party sent, the report is not about them and the forgery.
    let answer = judge(&evidence, &policy(""), &machine.root());
    assert_eq!(answer.refusal(Check::EndorsementKey), Some(&Refusal::Manifest(reason)));
    assert_eq!(answer.refusal(Check::ReportData), Some(&Refusal::OtherManifest));
    assert!(!answer.is_verified());
}
