//! Revocation lists, and certificates that a chain may not be made of.

mod synthetic;

use std::time::Duration;

use svsm_verify::certificates::chain::NoChain;
use svsm_verify::certificates::revocation::{Revocation, RevocationList};
use svsm_verify::{Check, ClaimsSet, Evidence, Nonce, Policy, Question, Refusal, verify};
use synthetic::certificates::{Authority, Endorsement, List, Product};
use synthetic::{Machine, NONCE, NOW, policy};

const DEMANDING: &str = "[certificates]\nrequire_crl = true";

fn list() -> List {
    List {
        revoked: vec![77],
        this_update: NOW - Duration::from_secs(1000),
        next_update: Some(NOW + Duration::from_secs(1000)),
        has_critical_extension: false,
    }
}

fn judge(evidence: &Evidence, lists: &[Vec<u8>]) -> ClaimsSet {
    let lists = lists.iter().map(|list| RevocationList::read(list).unwrap()).collect();
    let root = Authority::first().root.clone();
    let question =
        Question { test_root: Some(root), revocation_lists: lists, ..Question::new(Nonce::new(*NONCE), NOW) };
    verify(evidence, &Policy::parse(&policy(DEMANDING)).unwrap(), &question)
}

#[test]
fn a_list_of_the_root_that_does_not_name_the_chain_clears_it() {
    let evidence = Machine::genuine().evidence();
    let answer = judge(&evidence, &[Authority::first().revoke(&list())]);
    assert!(answer.is_verified(), "{}", answer.to_text());
}

#[test]
fn a_revoked_certificate_and_a_list_that_proves_nothing_are_refused() {
    let root = || "ARK-Test".to_owned();
    let first = Authority::first();
    let cases = [
        (vec![], Revocation::NoList(root())),
        // A list of somebody else does not count.
        (vec![Authority::other().revoke(&list())], Revocation::NoList(root())),
        (vec![first.revoke(&List { revoked: vec![3, 1], ..list() })], Revocation::Revoked(root())),
        (vec![Authority::impostor().revoke(&list())], Revocation::NotSigned(root())),
        (
            vec![first.revoke(&List { next_update: Some(NOW - Duration::from_secs(1)), ..list() })],
            Revocation::Outdated(root()),
        ),
        (
            vec![first.revoke(&List { this_update: NOW + Duration::from_secs(1), ..list() })],
            Revocation::Outdated(root()),
        ),
        (vec![first.revoke(&List { next_update: None, ..list() })], Revocation::Outdated(root())),
        (
            vec![first.revoke(&List { has_critical_extension: true, ..list() })],
            Revocation::CriticalExtension("1.2.3.4".to_owned()),
        ),
        // One good list beside one that names the chain does not help.
        (
            vec![first.revoke(&list()), first.revoke(&List { revoked: vec![1], ..list() })],
            Revocation::Revoked(root()),
        ),
    ];
    for (lists, reason) in cases {
        let answer = judge(&Machine::genuine().evidence(), &lists);
        assert_eq!(answer.refusal(Check::CertificateRevocation), Some(&Refusal::Revocation(reason)));
        assert!(!answer.is_verified());
    }
}

#[test]
fn no_changed_byte_of_a_list_is_accepted() {
    let genuine = Authority::first().revoke(&list());
    for offset in (0..genuine.len()).step_by(3) {
        let mut changed = genuine.clone();
        changed[offset] ^= 1;
        let Ok(read) = RevocationList::read(&changed) else { continue };
        let root = &Authority::first().root;
        assert!(!read.names(root) || read.check(root, &[], NOW).is_err(), "byte {offset}");
    }
    for text in [&b""[..], b"-----BEGIN X509 CRL-----", &[0x30; 40]] {
        assert!(RevocationList::read(text).is_err());
    }
    assert!(RevocationList::read(&vec![0x30; (1 << 20) + 1]).is_err());
}

#[test]
fn leaves_by_the_root_itself_and_with_critical_extensions_or_other_uses_are_refused() {
    let authority = Authority::first();
    let endorsement = Endorsement::chip(Product::Genoa);
    let leaf = || "SEV-VCEK".to_owned();
    // Key usage: keyCertSign alone; basic constraints: an authority.
    let cases = [
        (authority.certify_by_root(&endorsement), NoChain::NoIntermediate("ARK-Test".to_owned())),
        (
            authority.certify_with(&endorsement, "1.2.3.4", true, &[5, 0]),
            NoChain::CriticalExtension(leaf(), "1.2.3.4".to_owned()),
        ),
        (authority.certify_with(&endorsement, "2.5.29.15", true, &[3, 2, 2, 4]), NoChain::KeyUsage(leaf())),
        (
            authority.certify_with(&endorsement, "2.5.29.19", true, &[0x30, 3, 1, 1, 0xFF]),
            NoChain::KeyUsage(leaf()),
        ),
    ];
    for (certificate, reason) in cases {
        let mut evidence = Machine::genuine().evidence();
        evidence.certificates = vec![certificate, authority.intermediate.clone(), authority.root.clone()];
        let answer = judge(&evidence, &[authority.revoke(&list())]);
        assert_eq!(answer.refusal(Check::CertificateChain), Some(&Refusal::Chain(reason)));
    }
    // What is not critical may be overlooked, and a key usage that signs is a leaf's.
    for certificate in [
        authority.certify_with(&endorsement, "1.2.3.4", false, &[5, 0]),
        authority.certify_with(&endorsement, "2.5.29.15", true, &[3, 2, 7, 0x80]),
    ] {
        let mut evidence = Machine::genuine().evidence();
        evidence.certificates[0] = certificate;
        let answer = judge(&evidence, &[authority.revoke(&list())]);
        assert!(answer.is_verified(), "{}", answer.to_text());
    }
}
