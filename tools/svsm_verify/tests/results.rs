//! Results for services and for people: signed EAR as JWT and CWT, and the page.

mod synthetic;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coset::{CoseSign1, TaggedCborSerializable};
use p256::ecdsa::signature::Verifier;
use p256::ecdsa::{Signature, SigningKey, VerifyingKey};
use p256::pkcs8::EncodePrivateKey;
use serde_json::Value;
use svsm_verify::Nonce;
use svsm_verify::results::ear::{CannotSign, Context, PROFILE, ResultKey, status, vector};
use svsm_verify::results::html;
use synthetic::{Machine, NONCE, judge, policy};

const CONTEXT: Context<'static> =
    Context { nonce: Nonce::new(*NONCE), issued_at: 1_790_000_000, policy: "policy.toml" };

fn key() -> (ResultKey, VerifyingKey) {
    let key = SigningKey::from_slice(&[0x33; 32]).unwrap();
    let secret = p256::SecretKey::from_slice(&[0x33; 32]).unwrap();
    let pem = secret.to_pkcs8_pem(p256::pkcs8::LineEnding::LF).unwrap();
    (ResultKey::from_pem(&pem).unwrap(), *key.verifying_key())
}

fn value(answer: &svsm_verify::ClaimsSet, name: &str) -> i8 {
    vector(answer).into_iter().find(|claim| claim.1 == name).unwrap().2
}

#[test]
fn a_jwt_carries_status_vector_and_nonce_and_its_signature_holds() {
    let (signer, verifier) = key();
    let answer = Machine::genuine().judge(&policy(""));
    let token = signer.jwt(&answer, &CONTEXT);
    let parts: Vec<_> = token.split('.').collect();
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
    let signature = Signature::from_slice(&decode(parts[2])).unwrap();
    let signed = format!("{}.{}", parts[0], parts[1]);
    verifier.verify(signed.as_bytes(), &signature).unwrap();
    assert!(verifier.verify(format!("{signed}x").as_bytes(), &signature).is_err());
    let claims: Value = serde_json::from_slice(&decode(parts[1])).unwrap();
    assert_eq!((&claims["eat_profile"], &claims["iat"]), (&PROFILE.into(), &1_790_000_000.into()));
    assert_eq!(claims["eat_nonce"], URL_SAFE_NO_PAD.encode(NONCE));
    let appraisal = &claims["submods"]["svsm-vtpm"];
    assert_eq!(appraisal["ear.trustworthiness-vector"]["executables"], 3);
    assert_eq!(appraisal["ear.veraison.annotated-evidence"]["snp"]["vmpl"], 0);
    assert!(matches!(ResultKey::from_pem("no key"), Err(CannotSign::Key)));
}

#[test]
fn a_cwt_says_the_same_by_numbers() {
    let (signer, verifier) = key();
    let answer = Machine::genuine().judge(&policy(""));
    let token = CoseSign1::from_tagged_slice(&signer.cwt(&answer, &CONTEXT).unwrap()).unwrap();
    let verified = token.verify_signature(&[], |signature, bytes| {
        verifier.verify(bytes, &Signature::from_slice(signature).unwrap())
    });
    verified.unwrap();
    let claims: ciborium::Value = ciborium::from_reader(token.payload.unwrap().as_slice()).unwrap();
    let of = |map: &ciborium::Value, key: ciborium::Value| {
        map.as_map().unwrap().iter().find(|entry| entry.0 == key).unwrap().1.clone()
    };
    assert_eq!(of(&claims, 10.into()), ciborium::Value::Bytes(NONCE.to_vec()));
    let appraisal = of(&of(&claims, 266.into()), "svsm-vtpm".into());
    assert_eq!(of(&of(&appraisal, 1001.into()), 2.into()), 3.into());
}

#[test]
fn a_test_root_is_unrecognised_hardware_and_whatever_is_refused_is_contraindicated() {
    let machine = Machine::genuine();
    let answer = machine.judge(&policy(""));
    assert!(answer.is_verified());
    assert_eq!((value(&answer, "hardware"), status(&answer).1), (97, "contraindicated"));
    let mut debug = Machine::genuine();
    debug.report.policy |= 1 << 19;
    let answer = debug.judge(&policy(""));
    assert_eq!((value(&answer, "configuration"), value(&answer, "runtime-opaque")), (96, 96));
    let mut evidence = machine.evidence();
    evidence.report[0x140] ^= 1;
    let answer = judge(&evidence, &policy(""), &machine.root());
    assert_eq!((value(&answer, "hardware"), status(&answer).1), (99, "contraindicated"));
    let nothing = judge(&svsm_verify::Evidence::default(), &policy(""), &machine.root());
    assert_eq!(status(&nothing).1, "contraindicated");
}

#[test]
fn the_page_shows_each_check_and_no_markup_of_the_guests() {
    let mut machine = Machine::genuine();
    machine.log.events.push((9, 0xD, b"<script>alert('\"')</script>".to_vec()));
    let evidence = machine.evidence();
    let answer = machine.judge(&policy(""));
    let page = html::page(&answer, &evidence);
    assert!(page.contains("VERIFIED (TEST ROOT)") && page.contains("&lt;script&gt;alert(&#39;&quot;&#39;)"));
    assert!(!page.contains("<script"));
    for check in svsm_verify::Check::ALL {
        assert!(page.contains(&format!("<td>{}</td>", check.name())));
    }
}
