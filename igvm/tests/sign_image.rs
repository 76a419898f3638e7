//! Signing: what the ID block says, that its signatures hold, and what happens to the rest of the file.

mod synthetic_elf;

use igvm::build::{BuildOptions, GuestSource, build};
use igvm::launch::{DEFAULT_CPU_SIGNATURE, LaunchPlan};
use igvm::layout::RegionOptions;
use igvm::sign::{Identity, SignError, SignOptions, sign};
use p384::SecretKey;
use p384::ecdsa::signature::Verifier;
use p384::ecdsa::{Signature, SigningKey, VerifyingKey};
use p384::pkcs8::{EncodePrivateKey, LineEnding};
use snp_abi::policy::GuestPolicy;
use snp_abi::signature::{EcdsaPublicKey, EcdsaSignature};
use zerocopy::IntoBytes;

fn image() -> Vec<u8> {
    let (stage2, kernel) = (synthetic_elf::stage2(0x0800_0000), synthetic_elf::kernel());
    let region = RegionOptions { base: 0x0800_0000, size: 0x0100_0000, with_madt: true, log_level: 3 };
    let policy = GuestPolicy::DEFAULT;
    build(&BuildOptions { stage2: &stage2, kernel: &kernel, guest: GuestSource::None, region, policy })
        .unwrap()
}

/// A private key for tests only, made from a number that everybody knows.
fn key(fill: u8) -> SecretKey {
    SecretKey::from_slice(&[fill; 48]).unwrap()
}

fn pem(fill: u8) -> String {
    key(fill).to_pkcs8_pem(LineEnding::LF).unwrap().to_string()
}

fn options<'a>(id_key: &'a str, author_key: Option<&'a str>) -> SignOptions<'a> {
    SignOptions { identity: None, vcpus: None, cpu_signature: DEFAULT_CPU_SIGNATURE, id_key, author_key }
}

fn holds(key: &SecretKey, psp_key: &EcdsaPublicKey, message: &[u8], signature: &EcdsaSignature) -> bool {
    let verifying = VerifyingKey::from(&SigningKey::from(key.clone()));
    let point = verifying.to_sec1_point(false);
    let coordinates = (psp_key.x.to_big_endian().unwrap(), psp_key.y.to_big_endian().unwrap());
    assert_eq!(point.x().unwrap().as_slice(), coordinates.0);
    assert_eq!(point.y().unwrap().as_slice(), coordinates.1);
    let (r, s) = (signature.r.to_big_endian().unwrap(), signature.s.to_big_endian().unwrap());
    verifying.verify(message, &Signature::from_scalars(r, s).unwrap()).is_ok()
}

#[test]
fn the_id_block_binds_digest_identity_and_policy() {
    let image = image();
    let identity = Identity { family_id: [1; 16], image_id: [2; 16], guest_svn: 3 };
    let id_key = pem(1);
    let signed = sign(&image, &SignOptions { identity: Some(identity), ..options(&id_key, None) }).unwrap();
    let plan = LaunchPlan::of_bytes(&signed).unwrap();
    let (block, authentication) = plan.id_block.as_ref().unwrap();
    assert_eq!(block.launch_digest, LaunchPlan::of_bytes(&image).unwrap().digest(1, 0));
    assert_eq!((block.family_id, block.image_id, block.guest_svn), ([1; 16], [2; 16], 3));
    assert_eq!((block.version, block.policy), (1, GuestPolicy::DEFAULT));
    assert_eq!((authentication.id_key_algorithm, authentication.author_key_algorithm), (1, 0));
    assert!(holds(&key(1), &authentication.id_key, block.as_bytes(), &authentication.id_block_signature));
}

#[test]
fn the_author_key_vouches_for_the_id_key() {
    let (id_key, author_key) = (pem(1), pem(2));
    let signed = sign(&image(), &options(&id_key, Some(&author_key))).unwrap();
    let plan = LaunchPlan::of_bytes(&signed).unwrap();
    let (_, authentication) = plan.id_block.as_ref().unwrap();
    let message = authentication.id_key.as_bytes();
    assert!(holds(&key(2), &authentication.author_key, message, &authentication.id_key_signature));
    assert!(!holds(&key(2), &authentication.author_key, &message[1..], &authentication.id_key_signature));
}

#[test]
fn signing_leaves_digest_and_launch_alone() {
    let (image, id_key) = (image(), pem(1));
    let signed = sign(&image, &options(&id_key, None)).unwrap();
    let (before, after) = (LaunchPlan::of_bytes(&image).unwrap(), LaunchPlan::of_bytes(&signed).unwrap());
    assert_eq!(before.pages, after.pages);
    assert_eq!(before.digest(1, 0), after.digest(1, 0));
    assert!(after.warnings.is_empty());
    assert_eq!(sign(&image, &options(&id_key, None)).unwrap(), signed, "signing is reproducible");
}

#[test]
fn signing_again_keeps_the_identity_and_replaces_the_block() {
    let (first, second) = (pem(1), pem(2));
    let identity = Identity { family_id: [1; 16], image_id: [2; 16], guest_svn: 3 };
    let signed = sign(&image(), &SignOptions { identity: Some(identity), ..options(&first, None) }).unwrap();
    let again = sign(&signed, &options(&second, None)).unwrap();
    let plan = LaunchPlan::of_bytes(&again).unwrap();
    let (block, authentication) = plan.id_block.as_ref().unwrap();
    assert_eq!((block.family_id, block.guest_svn), ([1; 16], 3));
    assert!(holds(&key(2), &authentication.id_key, block.as_bytes(), &authentication.id_block_signature));
}

#[test]
fn keys_are_read_in_the_forms_that_openssl_writes() {
    let sec1 = key(1).to_sec1_pem(LineEnding::LF).unwrap();
    // `openssl ecparam -genkey` writes the curve's name in front.
    let with_parameters = format!(
        "-----BEGIN EC PARAMETERS-----\nBgUrgQQAIg==\n-----END EC PARAMETERS-----\n{}",
        sec1.as_str()
    );
    let image = image();
    let signed = sign(&image, &options(&pem(1), None)).unwrap();
    for form in [sec1.as_str(), &with_parameters] {
        assert_eq!(sign(&image, &options(form, None)).unwrap(), signed);
    }
}

#[test]
fn other_keys_and_files_are_refused() {
    let image = image();
    for bad in [
        "",
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----",
    ] {
        assert!(matches!(sign(&image, &options(bad, None)), Err(SignError::Key("ID", _))), "{bad}");
    }
    let id_key = pem(1);
    assert!(matches!(sign(&image, &options(&id_key, Some("x"))), Err(SignError::Key("author", _))));
    assert!(matches!(sign(b"IGVM", &options(&id_key, None)), Err(SignError::Launch(_))));
}
