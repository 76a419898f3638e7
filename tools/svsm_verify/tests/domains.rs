//! Domain separation: every kind of evidence is offered at every kind's door, and opens its own alone.

mod synthetic;

use sha2::{Digest, Sha384};
use svsm_verify::Evidence;
use synthetic::tpm::Key;
use synthetic::{Machine, NONCE, judge, policy};

/// A kind of evidence, and the policy of those who ask for it.
struct Kind {
    name: &'static str,
    evidence: Evidence,
    policy: String,
}

/// What a client of the RCAR protocol puts into a report: SHA-384 over a canonical JSON text, then zeros.
fn rcar_data() -> [u8; 64] {
    let runtime = r#"{"additional-evidence":"","nonce":"AAAA","tee-pubkey":{"alg":"RSA-OAEP-256","e":"AQAB","kty":"RSA","n":"AQ"}}"#;
    let mut data = [0; 64];
    data[..48].copy_from_slice(&Sha384::digest(runtime));
    data
}

/// A report about data of its own, and the vTPM's parts beside it, which it does not cover.
fn report(data: [u8; 64], vmpl: u32) -> Evidence {
    let machine = Machine::genuine();
    let mut fields = machine.report.clone();
    (fields.data, fields.vmpl) = (data, vmpl);
    Evidence { report: fields.signed(machine.endorsement.key()), ..machine.evidence() }
}

fn without_vtpm(data: &[u8], vmpl: u32) -> String {
    let data: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = policy(&format!("[guest]\nvmpl = {vmpl}\nreport_data = \"{data}\""));
    text.replace("require_activation = false", "required = false")
}

fn kinds() -> Vec<Kind> {
    let single = Machine { lists_all_services: false, ..Machine::genuine() };
    let listed =
        Machine { listed_keys: vec![Key::endorsement_rsa(), Key::attestation_rsa()], ..Machine::genuine() };
    let mut kinds = vec![
        Kind {
            name: "SVSM, version 0",
            evidence: single.evidence(),
            policy: policy("manifest_versions = [0]"),
        },
        Kind {
            name: "SVSM, version 1",
            evidence: listed.evidence(),
            policy: policy("manifest_versions = [1]"),
        },
        Kind { name: "RCAR", evidence: report(rcar_data(), 0), policy: without_vtpm(&rcar_data(), 0) },
    ];
    for (vmpl, name) in
        ["plain, VMPL 0", "plain, VMPL 1", "plain, VMPL 2", "plain, VMPL 3"].into_iter().enumerate()
    {
        let vmpl = vmpl as u32;
        kinds.push(Kind { name, evidence: report(*NONCE, vmpl), policy: without_vtpm(NONCE, vmpl) });
    }
    kinds
}

#[test]
fn every_kind_of_evidence_opens_its_own_door_and_no_other() {
    let kinds = kinds();
    let root = Machine::genuine().root();
    for door in &kinds {
        for kind in &kinds {
            let answer = judge(&kind.evidence, &door.policy, &root);
            let is_own = door.name == kind.name;
            assert_eq!(
                answer.is_verified(),
                is_own,
                "{} at the door of {}: {}",
                kind.name,
                door.name,
                answer.to_text()
            );
        }
    }
}

#[test]
fn a_quote_alone_opens_no_door() {
    for kind in kinds() {
        let evidence = Evidence { report: Vec::new(), manifest: Vec::new(), ..kind.evidence };
        assert!(!judge(&evidence, &kind.policy, &Machine::genuine().root()).is_verified(), "{}", kind.name);
    }
}
