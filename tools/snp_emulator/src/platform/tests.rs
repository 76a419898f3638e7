//! The chain as a verifier sees it, with smaller authorities than the real ones, for speed.

use super::*;
use der::asn1::ObjectIdentifier;
use der::referenced::OwnedToRef;
use der::{Decode, Encode};
use rsa::RsaPrivateKey;
use rsa::pss::{Signature, VerifyingKey};
use rsa::signature::Verifier;
use sha2::Sha384;
use x509_cert::Certificate;

fn authority_key() -> RsaPrivateKey {
    RsaPrivateKey::new(&mut fresh_random().unwrap(), 2048).unwrap()
}

fn chain(model: CpuModel, kind: EndorsementKind) -> [Vec<u8>; 3] {
    let identity = model.identity();
    let (root_key, signer_key) = (authority_key(), authority_key());
    let root = certificates::root(&root_key, identity.product).unwrap();
    let root = Authority { key: root_key, certificate: root };
    let signer = certificates::signer(&root, &signer_key, identity.product, kind).unwrap();
    let signer = Authority { key: signer_key, certificate: signer };
    let mut random = random(true).unwrap();
    let (chip_id, key) = (new_chip(model, &mut random), certificates::p384_key(&mut random));
    let chip = Chip { identity, kind, chip_id: &chip_id, key: &key };
    let leaf = certificates::endorsement(&signer, &chip, &mut random).unwrap();
    [root.certificate, signer.certificate, leaf]
}

fn parse(certificate: &[u8]) -> Certificate {
    Certificate::from_der(certificate).unwrap()
}

fn is_signed_by(certificate: &[u8], issuer: &[u8]) -> bool {
    let (certificate, issuer) = (parse(certificate), parse(issuer));
    let key = issuer.tbs_certificate().subject_public_key_info().owned_to_ref();
    let key = VerifyingKey::<Sha384>::new_with_salt_len(rsa::RsaPublicKey::try_from(key).unwrap(), 48);
    let signature = Signature::try_from(certificate.signature().raw_bytes()).unwrap();
    key.verify(&certificate.tbs_certificate().to_der().unwrap(), &signature).is_ok()
}

fn extension(certificate: &[u8], identifier: &str) -> Option<Vec<u8>> {
    let identifier = ObjectIdentifier::new_unwrap(identifier);
    let certificate = parse(certificate);
    let extensions = certificate.tbs_certificate().extensions()?;
    let found = extensions.iter().find(|extension| extension.extn_id == identifier)?;
    Some(found.extn_value.as_bytes().to_vec())
}

#[test]
fn each_certificate_is_signed_by_the_next() {
    let [root, signer, leaf] = chain(CpuModel::Milan, EndorsementKind::Vcek);
    assert!(is_signed_by(&leaf, &signer));
    assert!(is_signed_by(&signer, &root));
    assert!(is_signed_by(&root, &root));
    assert!(!is_signed_by(&leaf, &root));
    let [_, other, _] = chain(CpuModel::Milan, EndorsementKind::Vcek);
    assert!(!is_signed_by(&leaf, &other));
}

#[test]
fn endorsement_certificates_name_chip_and_tcb_as_amds_do() {
    let [_, _, milan] = chain(CpuModel::Milan, EndorsementKind::Vcek);
    assert_eq!(extension(&milan, "1.3.6.1.4.1.3704.1.3.1"), Some(vec![2, 1, 4]));
    assert_eq!(extension(&milan, "1.3.6.1.4.1.3704.1.3.8"), Some(vec![2, 2, 0, 0xDB]));
    assert_eq!(extension(&milan, "1.3.6.1.4.1.3704.1.4").map(|id| id.len()), Some(64));
    assert_eq!(extension(&milan, "1.3.6.1.4.1.3704.1.3.9"), None);
    let [_, _, turin] = chain(CpuModel::Turin, EndorsementKind::Vcek);
    assert_eq!(extension(&turin, "1.3.6.1.4.1.3704.1.3.9"), Some(vec![2, 1, 1]));
    assert_eq!(extension(&turin, "1.3.6.1.4.1.3704.1.4").map(|id| id.len()), Some(8));
    let [_, _, cloud] = chain(CpuModel::Genoa, EndorsementKind::Vlek);
    assert_eq!(extension(&cloud, "1.3.6.1.4.1.3704.1.4"), None);
    assert_eq!(extension(&cloud, "1.3.6.1.4.1.3704.1.5"), Some(b"\x16\x0Csnp-emulator".to_vec()));
}

#[test]
fn what_the_folder_keeps_is_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path().join("milan")).unwrap();
    let mut random = fresh_random().unwrap();
    let first = store.p384_key("vcek", || certificates::p384_key(&mut random)).unwrap();
    let again = store.p384_key("vcek", || panic!("made twice")).unwrap();
    assert_eq!(first.to_bytes(), again.to_bytes());
    let chip_id = store.chip_id(|| [7; 64]).unwrap();
    assert_eq!(store.chip_id(|| panic!("made twice")).unwrap(), chip_id);
    std::fs::write(folder.path().join("milan/chip_id"), "12").unwrap();
    assert!(matches!(store.chip_id(|| [7; 64]), Err(PlatformError::Content(..))));
}
