//! Sealed objects for a distant TPM: what `tpm2_import` takes, bound to PCR values (TPM 2.0 Part 1, 23.3; Part 3, 13.3).
//!
//! A credential can be opened while the attestation key is loaded, whatever the PCRs say by then. A sealed object names the
//! PCR values in its policy, so that the TPM itself refuses once they have changed.

use rand_core::CryptoRng;

use super::hash::HashAlgorithm;
use super::protection::{CannotWrap, protect, sized, wrap_seed};
use super::public_area::PublicArea;

/// `TPM_ALG_KEYEDHASH`.
const KEYED_HASH: u16 = 0x0008;
/// `TPM_ALG_NULL`.
const ALGORITHM_NULL: u16 = 0x0010;
/// `TPM_CC_PolicyPCR`.
const POLICY_PCR: u32 = 0x0000_017F;
/// A wrong authorisation does not count towards the lockout; there is none but the policy.
const NO_DICTIONARY_ATTACK: u32 = 1 << 10;
/// Bytes that TPMs seal at most (`MAX_SYM_DATA`).
pub const MAXIMUM_SECRET_BYTES: usize = 128;
/// PCRs that a selection's bitmap names.
const BITMAP_BYTES: usize = 3;

/// A PCR value that must hold when the object is unsealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequiredPcr {
    /// Number of the PCR, below 24.
    pub index: u32,
    /// Its value.
    pub value: Vec<u8>,
}

/// The three files of `tpm2_import`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedObject {
    /// TPM2B_PUBLIC, for `-u`.
    pub public: Vec<u8>,
    /// TPM2B_PRIVATE, for `-i`.
    pub duplicate: Vec<u8>,
    /// TPM2B_ENCRYPTED_SECRET, for `-s`.
    pub seed: Vec<u8>,
}

impl SealedObject {
    /// Seals a secret for the TPM with `parent`, to be read while the PCRs of one bank have these values. The values are in
    /// ascending order of their PCRs.
    ///
    /// # Errors
    /// If the parent cannot be used, or the secret is longer than [`MAXIMUM_SECRET_BYTES`].
    pub fn seal<R: CryptoRng + ?Sized>(
        parent: &PublicArea,
        secret: &[u8],
        bank: HashAlgorithm,
        pcrs: &[RequiredPcr],
        random: &mut R,
    ) -> Result<Self, CannotWrap> {
        if secret.len() > MAXIMUM_SECRET_BYTES {
            return Err(CannotWrap::TooLong(secret.len(), MAXIMUM_SECRET_BYTES));
        }
        let hash = HashAlgorithm::Sha256;
        let mut obfuscation = vec![0; hash.digest_bytes()];
        random.fill_bytes(&mut obfuscation);
        let public = [
            &KEYED_HASH.to_be_bytes()[..],
            &hash.number().to_be_bytes(),
            &NO_DICTIONARY_ATTACK.to_be_bytes(),
            &sized(&policy(bank, pcrs)),
            &ALGORITHM_NULL.to_be_bytes(),
            &sized(&hash.digest(&[&obfuscation, secret])),
        ]
        .concat();
        let name = [&hash.number().to_be_bytes()[..], &hash.digest(&[&public])].concat();
        // TPMT_SENSITIVE: no authorisation value, the obfuscation value, the secret.
        let sensitive =
            [&KEYED_HASH.to_be_bytes()[..], &sized(&[]), &sized(&obfuscation), &sized(secret)].concat();
        let wrapped = wrap_seed(parent, b"DUPLICATE", random)?;
        let duplicate = protect(parent, &wrapped.seed, &name, &sized(&sensitive))?;
        Ok(Self { public: sized(&public), duplicate: sized(&duplicate), seed: sized(&wrapped.encrypted) })
    }
}

/// The policy digest of one TPM2_PolicyPCR (Part 3, 23.7), SHA-256.
fn policy(bank: HashAlgorithm, pcrs: &[RequiredPcr]) -> Vec<u8> {
    let hash = HashAlgorithm::Sha256;
    let mut bitmap = [0_u8; BITMAP_BYTES];
    for pcr in pcrs {
        if let Some(byte) = bitmap.get_mut(pcr.index as usize / 8) {
            *byte |= 1 << (pcr.index % 8);
        }
    }
    let values: Vec<&[u8]> = pcrs.iter().map(|pcr| pcr.value.as_slice()).collect();
    let selection =
        [&1_u32.to_be_bytes()[..], &bank.number().to_be_bytes(), &[BITMAP_BYTES as u8], &bitmap].concat();
    let start = vec![0; hash.digest_bytes()];
    hash.digest(&[&start, &POLICY_PCR.to_be_bytes(), &selection, &hash.digest(&values)])
}
