//! Golden vectors: the primary keys of the standard templates, from the seeds of the TPM that the driver manufactures.
//!
//! A change of the derivation would give every TPM in the field another endorsement key: it must not go unseen. How a seed
//! becomes a key is the vendor's own business (Part 1, section on primary object derivation), so no other TPM has the same keys.
//! `primary_vectors.py` computed them a second time, from the specifications that the derivation follows.

mod driver;

use driver::{Driver, put_sized, sized};
use hex_literal::hex;

const OWNER: u32 = 0x4000_0001;
const ENDORSEMENT: u32 = 0x4000_000B;

/// fixedTPM, fixedParent, sensitiveDataOrigin, adminWithPolicy, restricted, decrypt.
const ENDORSEMENT_KEY: u32 = 0x0003_00B2;
/// The same, with userWithAuth: the high range of the EK Credential Profile.
const ENDORSEMENT_KEY_HIGH: u32 = 0x0003_00F2;
/// fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, restricted, decrypt.
const STORAGE_KEY: u32 = 0x0003_0472;

/// PolicySecret(TPM_RH_ENDORSEMENT): PolicyA of the EK Credential Profile.
const POLICY_A: [u8; 32] = hex!("837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa");
const POLICY_B_SHA384: [u8; 48] = hex!(
    "b26e7d28d11a50bc53d882bcf5fd3a1a074148bb35d3b4e4cb1c0ad9bde419ca"
    "cb47ba09699646150f9fc000f3f80e12"
);

/// TPMI_ALG_HASH, and the AES key that protects what is below.
struct Strength {
    hash: u16,
    aes_bits: u16,
}

const SHA256: Strength = Strength { hash: 0x000B, aes_bits: 128 };
const SHA384: Strength = Strength { hash: 0x000C, aes_bits: 256 };

/// TPMT_PUBLIC up to the parameters that only one key type has.
fn template(key_type: u16, strength: &Strength, attributes: u32, policy: &[u8]) -> Vec<u8> {
    let mut public = [key_type.to_be_bytes(), strength.hash.to_be_bytes()].concat();
    public.extend(attributes.to_be_bytes());
    put_sized(&mut public, policy);
    for field in [0x0006, strength.aes_bits, 0x0043, 0x0010] {
        public.extend(field.to_be_bytes());
    }
    public
}

fn rsa_2048(attributes: u32, policy: &[u8]) -> Vec<u8> {
    let mut public = template(0x0001, &SHA256, attributes, policy);
    public.extend([0x08, 0x00, 0, 0, 0, 0]);
    put_sized(&mut public, &[0; 256]);
    public
}

fn ecc(curve: u16, strength: &Strength, attributes: u32, policy: &[u8], unique_bytes: usize) -> Vec<u8> {
    let mut public = template(0x0023, strength, attributes, policy);
    public.extend(curve.to_be_bytes());
    public.extend([0x00, 0x10]);
    put_sized(&mut public, &vec![0; unique_bytes]);
    put_sized(&mut public, &vec![0; unique_bytes]);
    public
}

/// The public area that TPM2_CreatePrimary answers.
fn primary(hierarchy: u32, template: &[u8]) -> Vec<u8> {
    let mut tpm = Driver::started();
    let create = tpm.command(0x131).handle(hierarchy).password(b"").bytes(&sized(&[0, 0, 0, 0]));
    create.bytes(&sized(template)).sized(b"").u32(0).run().unwrap().sized(0).to_vec()
}

/// The two coordinates at the end of a public area.
fn point(public: &[u8], bytes: usize) -> (&[u8], &[u8]) {
    let (rest, y) = public.split_at(public.len() - bytes);
    let rest = &rest[..rest.len() - 2];
    (&rest[rest.len() - bytes..], y)
}

#[test]
fn elliptic_endorsement_keys_are_those_that_python_derives() {
    let public = primary(ENDORSEMENT, &ecc(3, &SHA256, ENDORSEMENT_KEY, &POLICY_A, 32));
    let x = hex!("486f3b2116839762c2445c877aaae5451f20b75186c343205b992dd7eecac6c5");
    let y = hex!("4f699ca961c4d439ae2df30ef311be8525c851146dd4dfb62a58f1af4b92fa87");
    assert_eq!(point(&public, 32), (&x[..], &y[..]), "template L-2");

    let public = primary(ENDORSEMENT, &ecc(4, &SHA384, ENDORSEMENT_KEY_HIGH, &POLICY_B_SHA384, 0));
    let x = hex!(
        "6306fff49a7e657cdd74a13798cd998cefc492f75d28ef1c940b0f4d090217093ed46d0b31f2e5287c2550acac15a535"
    );
    let y = hex!(
        "12a4bd31e62c4db9c2702a855f75f3a77218ff311812afe3dfab37188248037449819716271fd94d8ac672312f1f29db"
    );
    assert_eq!(point(&public, 48), (&x[..], &y[..]), "template H-3");
}

#[test]
fn elliptic_storage_keys_are_those_that_python_derives() {
    let public = primary(OWNER, &ecc(3, &SHA256, STORAGE_KEY, b"", 32));
    let x = hex!("f0dac4e055176e42592d4596504509e23083df2f0c78b68360fefdedc0851646");
    let y = hex!("1f8346b6ff81429d24acf476ea207598d01ae8ad55f0c03b7b9febc7f3f4e7a6");
    assert_eq!(point(&public, 32), (&x[..], &y[..]));

    let public = primary(OWNER, &ecc(4, &SHA384, STORAGE_KEY, b"", 48));
    let x = hex!(
        "9059d31ff5592f7542a68c2735ed253b13f30af4b73f01e4ac19564a6c18e9ef59dfd3ab70483aace5551ec35757e9cc"
    );
    let y = hex!(
        "8c031572892a8fe10eef2809172ed9a3aee8f7cef42490a81f9f9fae9db1aa59769eb1a059ac285e931788f0d5bcc39d"
    );
    assert_eq!(point(&public, 48), (&x[..], &y[..]));
}

#[test]
fn rsa_endorsement_and_storage_keys_are_those_that_python_derives() {
    let public = primary(ENDORSEMENT, &rsa_2048(ENDORSEMENT_KEY, &POLICY_A));
    let modulus = &public[public.len() - 256..];
    assert_eq!(modulus[..16], hex!("b84d3e7fb41696a9f40ac9f246656647"), "template L-1");
    let public = primary(OWNER, &rsa_2048(STORAGE_KEY, b""));
    let modulus = &public[public.len() - 256..];
    assert_eq!(modulus[..16], hex!("96f26c4f3c473e4b59ce082014035ee5"), "SRK");
}
