//! Credentials: what TPM2_MakeCredential makes and TPM2_ActivateCredential opens (TPM 2.0 Part 1, 24).
//!
//! Only the TPM that holds the endorsement key can open one, and only if the key with the named name is loaded in that same
//! TPM. So whoever hands back the secret has proved that the attestation key lives beside the endorsement key.

use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};

use super::protection::{CannotWrap, protect, sized, wrap_seed};
use super::public_area::PublicArea;
use crate::reader::{from_hex, hex};

/// Opens a credential file of tpm2-tools.
const FILE_MAGIC: u32 = 0xBADC_C0DE;
/// Its version.
const FILE_VERSION: u32 = 1;
/// Bytes of a challenge's secret.
const CHALLENGE_BYTES: usize = 32;

/// A credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// TPM2B_ID_OBJECT.
    pub id_object: Vec<u8>,
    /// TPM2B_ENCRYPTED_SECRET.
    pub encrypted_secret: Vec<u8>,
}

impl Credential {
    /// Wraps a secret so that only the TPM with `endorsement_key` can open it, and only while the object with the name is
    /// loaded.
    ///
    /// # Errors
    /// If the key cannot be used for it, or the secret is longer than the key's hash.
    pub fn make<R: CryptoRng + ?Sized>(
        endorsement_key: &PublicArea,
        name: &[u8],
        secret: &[u8],
        random: &mut R,
    ) -> Result<Self, CannotWrap> {
        let room = endorsement_key.name_algorithm.digest_bytes();
        if secret.len() > room {
            return Err(CannotWrap::TooLong(secret.len(), room));
        }
        let wrapped = wrap_seed(endorsement_key, b"IDENTITY", random)?;
        let id_object = protect(endorsement_key, &wrapped.seed, name, &sized(secret))?;
        Ok(Self { id_object: sized(&id_object), encrypted_secret: sized(&wrapped.encrypted) })
    }

    /// The file that `tpm2_activatecredential -i` takes.
    #[must_use]
    pub fn to_file(&self) -> Vec<u8> {
        let (magic, version) = (FILE_MAGIC.to_be_bytes(), FILE_VERSION.to_be_bytes());
        [&magic[..], &version, &self.id_object, &self.encrypted_secret].concat()
    }
}

/// What the relying party keeps of a challenge until the guest's answer comes. It is secret: whoever reads it can answer.
#[derive(Clone, PartialEq, Eq)]
pub struct Challenge {
    secret: Vec<u8>,
    endorsement_key: Vec<u8>,
    attestation_key: Vec<u8>,
}

/// Why an answer to a challenge proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotActivated {
    /// The challenge was for another endorsement key.
    #[error("the challenge was made for another endorsement key")]
    OtherEndorsementKey,
    /// The challenge was for another attestation key.
    #[error("the challenge was made for another attestation key")]
    OtherAttestationKey,
    /// The guest did not open the credential.
    #[error("the answer is not the challenge's secret: the TPM did not open the credential")]
    WrongSecret,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChallengeFile {
    format: String,
    secret: String,
    endorsement_key_name: String,
    attestation_key_name: String,
}

/// The format's name.
const CHALLENGE_FORMAT: &str = "vouchsafe-challenge-1";

impl Challenge {
    /// A new challenge, and the credential for the guest.
    ///
    /// # Errors
    /// If the endorsement key cannot be used for it.
    pub fn new<R: CryptoRng + ?Sized>(
        endorsement_key: &PublicArea,
        attestation_key: &PublicArea,
        random: &mut R,
    ) -> Result<(Self, Credential), CannotWrap> {
        let mut secret = vec![0; CHALLENGE_BYTES];
        random.fill_bytes(&mut secret);
        let name = attestation_key.name();
        let credential = Credential::make(endorsement_key, &name, &secret, random)?;
        Ok((Self { secret, endorsement_key: endorsement_key.name(), attestation_key: name }, credential))
    }

    /// Whether the guest's answer proves that both keys live in one TPM.
    ///
    /// # Errors
    /// If it does not.
    pub fn judge(
        &self,
        endorsement_key: &PublicArea,
        attestation_key: &PublicArea,
        answer: &[u8],
    ) -> Result<(), NotActivated> {
        if self.endorsement_key != endorsement_key.name() {
            return Err(NotActivated::OtherEndorsementKey);
        }
        if self.attestation_key != attestation_key.name() {
            return Err(NotActivated::OtherAttestationKey);
        }
        // Every byte is compared, so that the time tells nothing about the secret.
        let difference = self.secret.iter().zip(answer).fold(0, |sum, (left, right)| sum | (left ^ right));
        if self.secret.len() != answer.len() || difference != 0 {
            return Err(NotActivated::WrongSecret);
        }
        Ok(())
    }

    /// The file that the relying party keeps.
    #[must_use]
    pub fn to_json(&self) -> String {
        let file = ChallengeFile {
            format: CHALLENGE_FORMAT.to_owned(),
            secret: hex(&self.secret),
            endorsement_key_name: hex(&self.endorsement_key),
            attestation_key_name: hex(&self.attestation_key),
        };
        // Four strings always become JSON.
        serde_json::to_string_pretty(&file).unwrap_or_default()
    }

    /// Reads such a file; `None` if it is none.
    #[must_use]
    pub fn from_json(text: &str) -> Option<Self> {
        let file: ChallengeFile = serde_json::from_str(text).ok()?;
        let secret = from_hex(&file.secret)?;
        if file.format != CHALLENGE_FORMAT || secret.len() != CHALLENGE_BYTES {
            return None;
        }
        Some(Self {
            secret,
            endorsement_key: from_hex(&file.endorsement_key_name)?,
            attestation_key: from_hex(&file.attestation_key_name)?,
        })
    }
}
