//! Challenges and released secrets: only the right TPM opens them, and only for evidence that verifies.

mod synthetic;

use getrandom::SysRng;
use rand_core::UnwrapErr;
use svsm_verify::release::{Form, NotReleased, Released, challenge, release};
use svsm_verify::vtpm::credential::{Challenge, NotActivated};
use svsm_verify::vtpm::hash::HashAlgorithm;
use svsm_verify::vtpm::protection::CannotWrap;
use svsm_verify::{Activation, Check, Evidence, Nonce, Policy, Question, Refusal};
use synthetic::tpm::{Key, sized, unsized_one};
use synthetic::{Machine, NONCE, NOW, judge_with, policy, sha256};

const SECRET: &[u8] = b"the key of an encrypted disk, 32";

fn demanding() -> String {
    policy("").replace("require_activation = false", "require_activation = true")
}

/// A machine whose guest works below this key: version 0 of the manifest knows RSA alone, version 1 lists several.
fn with_endorsement_key(endorsement_key: &'static Key) -> Machine {
    let is_rsa = std::ptr::eq(endorsement_key, Key::endorsement_rsa());
    let listed_keys =
        if is_rsa { Vec::new() } else { vec![Key::other_endorsement_rsa(), Key::endorsement_p256()] };
    Machine { endorsement_key, listed_keys, ..Machine::genuine() }
}

fn release_for(
    machine: &Machine,
    evidence: &Evidence,
    secret: &[u8],
    form: &Form,
) -> Result<Released, NotReleased> {
    let policy = Policy::parse(&demanding()).unwrap();
    let question = Question { test_root: Some(machine.root()), ..Question::new(Nonce::new(*NONCE), NOW) };
    release(evidence, &policy, &question, secret, form, &mut UnwrapErr(SysRng)).map(|(_, released)| released)
}

#[test]
fn a_challenge_proves_that_both_keys_live_in_one_tpm() {
    for endorsement_key in [Key::endorsement_rsa(), Key::endorsement_p256()] {
        let machine = with_endorsement_key(endorsement_key);
        let mut evidence = machine.evidence();
        let (kept, credential) = challenge(&evidence, &mut UnwrapErr(SysRng)).unwrap();
        let kept = Challenge::from_json(&kept.to_json()).unwrap();
        evidence.activated = endorsement_key.activate(&machine.attestation_key.name(), &credential.to_file());
        let answer = judge_with(&evidence, &demanding(), &machine.root(), Activation::Challenge(&kept));
        assert!(answer.is_verified(), "{}", answer.to_text());
    }
}

#[test]
fn a_credential_does_not_open_beside_another_key_or_in_another_tpm() {
    let machine = Machine::genuine();
    let (_, credential) = challenge(&machine.evidence(), &mut UnwrapErr(SysRng)).unwrap();
    let name = machine.attestation_key.name();
    assert!(machine.endorsement_key.activate(&name, &credential.to_file()).is_some());
    let foreign = Key::foreign_attestation_rsa().name();
    assert_eq!(machine.endorsement_key.activate(&foreign, &credential.to_file()), None);
    assert_eq!(Key::other_endorsement_rsa().activate(&name, &credential.to_file()), None);
}

#[test]
fn a_wrong_answer_or_anothers_challenge_is_refused() {
    let machine = Machine::genuine();
    let mut evidence = machine.evidence();
    let (kept, _) = challenge(&evidence, &mut UnwrapErr(SysRng)).unwrap();
    let refusal = |evidence: &Evidence, kept: &Challenge| {
        let answer = judge_with(evidence, &demanding(), &machine.root(), Activation::Challenge(kept));
        answer.refusal(Check::KeyActivation).cloned()
    };
    assert_eq!(refusal(&evidence, &kept), Some(Refusal::Missing("answer to the challenge (activated.bin)")));
    for answer in [vec![], vec![0; 32], vec![0; 33]] {
        evidence.activated = Some(answer);
        assert_eq!(refusal(&evidence, &kept), Some(Refusal::NotActivated(NotActivated::WrongSecret)));
    }
    for (other, reason) in [
        (
            Machine { endorsement_key: Key::other_endorsement_rsa(), ..Machine::genuine() },
            NotActivated::OtherEndorsementKey,
        ),
        (
            Machine { attestation_key: Key::foreign_attestation_rsa(), ..Machine::genuine() },
            NotActivated::OtherAttestationKey,
        ),
    ] {
        let (kept, _) = challenge(&other.evidence(), &mut UnwrapErr(SysRng)).unwrap();
        assert_eq!(refusal(&evidence, &kept), Some(Refusal::NotActivated(reason)));
    }
}

#[test]
fn nothing_passes_without_a_challenge_when_one_is_demanded() {
    let answer = Machine::genuine().judge(&demanding());
    assert_eq!(answer.refusal(Check::KeyActivation), Some(&Refusal::NoChallenge));
    assert!(!answer.is_verified());
}

#[test]
fn a_released_secret_opens_in_the_verified_tpm_only() {
    for endorsement_key in [Key::endorsement_rsa(), Key::endorsement_p256()] {
        let machine = with_endorsement_key(endorsement_key);
        let released = release_for(&machine, &machine.evidence(), SECRET, &Form::Credential).unwrap();
        let Released::Credential(credential) = released else { panic!("a credential was asked for") };
        let name = machine.attestation_key.name();
        assert_eq!(endorsement_key.activate(&name, &credential.to_file()).as_deref(), Some(SECRET));
        assert_eq!(Key::other_endorsement_rsa().activate(&name, &credential.to_file()), None);
    }
}

#[test]
fn nothing_is_released_to_another_measurement() {
    let mut machine = Machine::genuine();
    machine.report.measurement = [0xD2; 48];
    let refused = release_for(&machine, &machine.evidence(), SECRET, &Form::Credential);
    let Err(NotReleased::Refused(answer)) = refused else { panic!("{refused:?}") };
    assert!(matches!(answer.refusal(Check::Measurement), Some(Refusal::Measurement(..))));
}

#[test]
fn nothing_is_released_without_proved_keys_whatever_the_policy_accepts() {
    let machine = Machine::genuine();
    let mut evidence = machine.evidence();
    evidence.manifest =
        Machine { endorsement_key: Key::other_endorsement_rsa(), ..Machine::genuine() }.manifest();
    evidence.ek_public = None;
    // The policy gives the report's data, so that the manifest is not covered.
    let data: String = evidence.report[0x50..0x90].iter().map(|byte| format!("{byte:02x}")).collect();
    let text = policy(&format!("[guest]\nreport_data = \"{data}\""))
        .replace("require_activation = false", "required = false");
    let policy = Policy::parse(&text).unwrap();
    let question = Question { test_root: Some(machine.root()), ..Question::new(Nonce::new(*NONCE), NOW) };
    let refused = release(&evidence, &policy, &question, SECRET, &Form::Credential, &mut UnwrapErr(SysRng));
    assert!(matches!(refused, Err(NotReleased::Refused(_))));
}

#[test]
fn a_secret_that_does_not_fit_is_refused() {
    let machine = Machine::genuine();
    let refused = release_for(&machine, &machine.evidence(), &[1; 33], &Form::Credential);
    assert!(matches!(refused, Err(NotReleased::Wrap(CannotWrap::TooLong(33, 32)))));
}

#[test]
fn a_sealed_secret_is_bound_to_the_parent_and_to_the_quoted_pcrs() {
    let machine = Machine::genuine();
    let mut evidence = machine.evidence();
    let (kept, credential) = challenge(&evidence, &mut UnwrapErr(SysRng)).unwrap();
    let name = machine.attestation_key.name();
    evidence.activated = machine.endorsement_key.activate(&name, &credential.to_file());
    let policy = Policy::parse(&demanding()).unwrap();
    let question = Question {
        test_root: Some(machine.root()),
        activation: Activation::Challenge(&kept),
        ..Question::new(Nonce::new(*NONCE), NOW)
    };
    let form = Form::Sealed(HashAlgorithm::Sha256, vec![9, 8]);
    let mut random = UnwrapErr(SysRng);
    let (_, released) = release(&evidence, &policy, &question, &[7; 100], &form, &mut random).unwrap();
    let Released::Sealed(sealed) = released else { panic!("a sealed object was asked for") };
    let sensitive = machine.endorsement_key.import(&sealed.public, &sealed.duplicate, &sealed.seed).unwrap();
    // Type, no authorisation value, obfuscation value, secret.
    assert_eq!(sensitive[..4], [0, 8, 0, 0]);
    let (_, secret) = unsized_one(&sensitive[4..]);
    assert_eq!(secret, sized(&[7; 100]));
    let other = Key::other_endorsement_rsa();
    assert_eq!(other.import(&sealed.public, &sealed.duplicate, &sealed.seed), None);

    // TPM2_PolicyPCR, after Part 3, 23.7.
    let pcrs = machine.log.pcrs();
    let values = sha256(&[pcrs[&8].clone(), pcrs[&9].clone()].concat());
    let selection = [0, 0, 0, 1, 0x00, 0x0B, 3, 0x00, 0x03, 0x00];
    let digest = sha256(&[&[0; 32][..], &[0, 0, 1, 0x7F], &selection, &values].concat());
    assert!(sealed.public.windows(32).any(|window| window == digest));
}
