//! Secrets for a guest that was verified: wrapped so that only its TPM can open them.

use rand_core::CryptoRng;

use crate::claims::{Check, ClaimsSet};
use crate::evidence::Evidence;
use crate::manifest;
use crate::policy::Policy;
use crate::refusal::Refusal;
use crate::verify::{Activation, Question, verify};
use crate::vtpm::credential::{Challenge, Credential};
use crate::vtpm::hash::HashAlgorithm;
use crate::vtpm::import::{RequiredPcr, SealedObject};
use crate::vtpm::protection::CannotWrap;
use crate::vtpm::public_area::PublicArea;
use crate::vtpm::quote::Quote;

/// What to wrap a secret as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// A credential: it opens while the attestation key is loaded.
    Credential,
    /// A sealed object: it opens while these PCRs of a bank have the quoted values.
    Sealed(HashAlgorithm, Vec<u32>),
}

/// A wrapped secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Released {
    /// For `tpm2_activatecredential`.
    Credential(Credential),
    /// For `tpm2_import`.
    Sealed(SealedObject),
}

/// Why nothing was released.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotReleased {
    /// The evidence was refused; the answer says why.
    #[error("the evidence was refused")]
    Refused(Box<ClaimsSet>),
    /// The evidence holds no keys, or their structures are wrong.
    #[error("{0}")]
    Keys(Refusal),
    /// The secret cannot be wrapped for the endorsement key.
    #[error(transparent)]
    Wrap(#[from] CannotWrap),
}

/// The endorsement key of the manifest, which the evidence may choose, and the attestation key, neither of them verified.
///
/// # Errors
/// If one is missing or malformed.
pub fn claimed_keys(evidence: &Evidence) -> Result<(PublicArea, PublicArea), Refusal> {
    let manifest = manifest::read(&evidence.manifest)?;
    let endorsement_key = manifest.endorsement_key(evidence.ek_public.as_deref())?.clone();
    let public = evidence.ak_public.as_ref().ok_or(Refusal::Missing("attestation key (ak.pub)"))?;
    let attestation_key =
        PublicArea::parse_sized(public).map_err(|error| Refusal::Malformed("attestation key", error))?;
    Ok((endorsement_key, attestation_key))
}

/// Challenges the guest to prove that its attestation key lives beside its endorsement key. Nothing has to be verified before:
/// the answer counts only together with evidence that names the same two keys.
///
/// # Errors
/// If the evidence holds no usable keys.
pub fn challenge<R: CryptoRng + ?Sized>(
    evidence: &Evidence,
    random: &mut R,
) -> Result<(Challenge, Credential), NotReleased> {
    let (endorsement_key, attestation_key) = claimed_keys(evidence).map_err(NotReleased::Keys)?;
    Ok(Challenge::new(&endorsement_key, &attestation_key, random)?)
}

/// Verifies evidence and wraps a secret for the TPM that it proves.
///
/// A credential needs no challenge before it: it opens only if the attestation key, whose quote was verified, lives beside
/// the endorsement key, which the report vouches for. A sealed object is bound to the endorsement key and to PCR values, which
/// the TPM itself compares; the question's own challenge says what the quote behind these values is worth.
///
/// # Errors
/// If the evidence is refused, lacks a quote of the PCRs, or the secret does not fit.
pub fn release<R: CryptoRng + ?Sized>(
    evidence: &Evidence,
    policy: &Policy,
    question: &Question<'_>,
    secret: &[u8],
    form: &Form,
    random: &mut R,
) -> Result<(ClaimsSet, Released), NotReleased> {
    let mut policy = policy.clone();
    // Without keys there is nothing to wrap a secret for, whatever the policy would accept.
    policy.vtpm.required = true;
    let mut question = question.clone();
    if *form == Form::Credential {
        question.activation = Activation::ByRelease;
    }
    let answer = verify(evidence, &policy, &question);
    let is_proved = |check| answer.outcome(check).is_some_and(crate::Outcome::is_passed);
    if !answer.is_verified() || !is_proved(Check::ReportData) || !is_proved(Check::EndorsementKey) {
        return Err(NotReleased::Refused(Box::new(answer)));
    }
    let (endorsement_key, attestation_key) = claimed_keys(evidence).map_err(NotReleased::Keys)?;
    let released = match form {
        Form::Credential => {
            Released::Credential(Credential::make(&endorsement_key, &attestation_key.name(), secret, random)?)
        }
        Form::Sealed(bank, indices) => {
            let pcrs = quoted_pcrs(evidence, *bank, indices).map_err(NotReleased::Keys)?;
            Released::Sealed(SealedObject::seal(&endorsement_key, secret, *bank, &pcrs, random)?)
        }
    };
    Ok((answer, released))
}

/// Values of the named PCRs, ascending, out of a quote that was verified.
fn quoted_pcrs(
    evidence: &Evidence,
    bank: HashAlgorithm,
    indices: &[u32],
) -> Result<Vec<RequiredPcr>, Refusal> {
    let message = evidence.quote_message.as_deref().ok_or(Refusal::Missing("quote (quote.msg)"))?;
    let values = evidence.pcrs.as_deref().ok_or(Refusal::Missing("PCR values (pcrs.bin)"))?;
    let split = Quote::parse(message)?
        .split_values(values)
        .map_err(|error| Refusal::Malformed("PCR values", error))?;
    let mut indices = indices.to_vec();
    indices.sort_unstable();
    indices.dedup();
    let value = |index: u32| {
        let found = split.iter().find(|value| (value.0, value.1) == (bank, index));
        let value = found.ok_or(Refusal::NotQuoted(bank, index))?.2.to_vec();
        Ok(RequiredPcr { index, value })
    };
    indices.into_iter().map(value).collect()
}
