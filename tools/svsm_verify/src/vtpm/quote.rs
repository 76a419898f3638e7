//! TPMS_ATTEST of a quote and the signature over it (TPM 2.0 Part 2, 10.12 and 11.3; Part 3, 18.4).

use ecdsa_verify::verify_ecdsa;
use rsa::{BoxedUint, Pkcs1v15Sign, Pss, RsaPublicKey};
use sha2::{Sha256, Sha384, Sha512};

use super::hash::HashAlgorithm;
use super::public_area::{Key, PublicArea, coordinate};
use crate::reader::{Malformed, Reader};

/// `TPM_GENERATED_VALUE`: the TPM made the structure and not its user.
const GENERATED_VALUE: u32 = 0xFF54_4347;
/// `TPM_ST_ATTEST_QUOTE`.
const ATTEST_QUOTE: u16 = 0x8018;
/// More banks than any TPM has.
const MAXIMUM_BANKS: u32 = 16;
/// A longer bitmap names PCRs that no TPM has.
const MAXIMUM_BITMAP_BYTES: u8 = 4;

const RSASSA: u16 = 0x0014;
const RSAPSS: u16 = 0x0016;
const ECDSA: u16 = 0x0018;

/// The PCRs of one bank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// The bank.
    pub bank: HashAlgorithm,
    /// Numbers of the PCRs, ascending.
    pub indices: Vec<u32>,
}

/// A quoted PCR: its bank, its number, its value.
pub type PcrValue<'a> = (HashAlgorithm, u32, &'a [u8]);

/// What a quote says. Until its signature is verified, everything in it is a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    /// What makes it fresh.
    pub extra_data: Vec<u8>,
    /// Milliseconds that the TPM counted.
    pub clock: u64,
    /// Resets of the TPM.
    pub reset_count: u32,
    /// Restarts since the last reset.
    pub restart_count: u32,
    /// Version of the TPM's firmware.
    pub firmware_version: u64,
    /// Which PCRs are quoted.
    pub selections: Vec<Selection>,
    /// Digest over their values.
    pub pcr_digest: Vec<u8>,
}

/// Why a quote cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidQuote {
    /// Its structure.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Not made by a TPM.
    #[error("its magic number is {0:#x}, so no TPM vouches for it")]
    Magic(u32),
    /// No TPM makes two selections of one bank.
    #[error("it names the bank {0} twice")]
    BankTwice(&'static str),
    /// Another kind of attestation.
    #[error("its type is {0:#x}, and no quote's")]
    Type(u16),
}

/// Why a signature does not vouch for a quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSignature {
    /// Its structure.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Scheme or hash are too weak, or not those of the key.
    #[error("scheme {0:#x} or hash `{1}` is not what the key signs with, or too weak")]
    Scheme(u16, &'static str),
    /// The key is no valid key.
    #[error("the attestation key is no valid public key")]
    Key,
    /// Another key made it, or the message was changed.
    #[error("it was not made by this attestation key over this message")]
    Wrong,
}

impl Quote {
    /// Reads a TPMS_ATTEST that fills the bytes.
    ///
    /// # Errors
    /// If it does not, or is no quote.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidQuote> {
        let mut reader = Reader::new(bytes);
        match reader.u32("magic")? {
            GENERATED_VALUE => {}
            other => return Err(InvalidQuote::Magic(other)),
        }
        match reader.u16("type")? {
            ATTEST_QUOTE => {}
            other => return Err(InvalidQuote::Type(other)),
        }
        reader.sized("qualifiedSigner")?;
        let extra_data = reader.sized("extraData")?.to_vec();
        let clock = reader.u64("clock")?;
        let (reset_count, restart_count) = (reader.u32("resetCount")?, reader.u32("restartCount")?);
        reader.u8("safe")?;
        let firmware_version = reader.u64("firmwareVersion")?;
        let selections = selections(&mut reader)?;
        let is_twice = |selection: &&Selection| {
            selections.iter().filter(|other| other.bank == selection.bank).count() > 1
        };
        if let Some(twice) = selections.iter().find(is_twice) {
            return Err(InvalidQuote::BankTwice(twice.bank.name()));
        }
        let pcr_digest = reader.sized("pcrDigest")?.to_vec();
        reader.finish()?;
        Ok(Self { extra_data, clock, reset_count, restart_count, firmware_version, selections, pcr_digest })
    }

    /// Cuts the values of the quoted PCRs, which follow each other in the order of the quote, into pieces.
    ///
    /// # Errors
    /// If they do not add up.
    pub fn split_values<'a>(&self, values: &'a [u8]) -> Result<Vec<PcrValue<'a>>, Malformed> {
        let mut reader = Reader::new(values);
        let mut split = Vec::new();
        for selection in &self.selections {
            for index in &selection.indices {
                let value = reader.bytes("PCR values", selection.bank.digest_bytes())?;
                split.push((selection.bank, *index, value));
            }
        }
        reader.finish()?;
        Ok(split)
    }
}

fn selections(reader: &mut Reader<'_>) -> Result<Vec<Selection>, Malformed> {
    let count = reader.u32("pcrSelect.count")?;
    if count > MAXIMUM_BANKS {
        return Err(Malformed::TooLarge("pcrSelect.count", count as usize));
    }
    (0..count)
        .map(|_| {
            let bank = HashAlgorithm::of_number("pcrSelect.hash", reader.u16("pcrSelect.hash")?)?;
            let bytes = reader.u8("pcrSelect.sizeofSelect")?;
            if bytes > MAXIMUM_BITMAP_BYTES {
                return Err(Malformed::TooLarge("pcrSelect.sizeofSelect", usize::from(bytes)));
            }
            let bitmap = reader.bytes("pcrSelect.pcrSelect", usize::from(bytes))?;
            let indices =
                (0_u32..).zip(bitmap.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1)));
            let indices = indices.filter(|(_, bit)| *bit == 1).map(|(index, _)| index).collect();
            Ok(Selection { bank, indices })
        })
        .collect()
}

/// Reads a TPMT_SIGNATURE and verifies that `key` made it over `message`.
///
/// # Errors
/// If it did not, or not with the only scheme that the key has.
pub fn verify_signature(key: &PublicArea, message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
    let mut reader = Reader::new(signature);
    let scheme = reader.u16("sigAlg")?;
    let hash = HashAlgorithm::of_number("signature.hash", reader.u16("signature.hash")?)?;
    if hash == HashAlgorithm::Sha1 || key.scheme.is_some_and(|fixed| fixed != (scheme, hash)) {
        return Err(InvalidSignature::Scheme(scheme, hash.name()));
    }
    let digest = hash.digest(&[message]);
    match (&key.key, scheme) {
        (Key::Rsa { exponent, modulus }, RSASSA | RSAPSS) => {
            let signature = reader.sized("sig")?;
            reader.finish()?;
            let modulus = BoxedUint::from_be_slice_vartime(modulus);
            let exponent = BoxedUint::from(*exponent);
            let key = RsaPublicKey::new(modulus, exponent).map_err(|_| InvalidSignature::Key)?;
            verify_rsa(&key, scheme, hash, &digest, signature).map_err(|_| InvalidSignature::Wrong)
        }
        (Key::Ecc { curve, x, y }, ECDSA) => {
            let r = coordinate(reader.sized("r")?, *curve)?;
            let s = coordinate(reader.sized("s")?, *curve)?;
            reader.finish()?;
            verify_ecdsa(*curve, [x, y], &digest, [&r, &s])
        }
        _ => Err(InvalidSignature::Scheme(scheme, hash.name())),
    }
}

fn verify_rsa(
    key: &RsaPublicKey,
    scheme: u16,
    hash: HashAlgorithm,
    digest: &[u8],
    signature: &[u8],
) -> Result<(), rsa::Error> {
    // TPMs choose the longest salt that fits, or one as long as the digest (Part 1, B.7): any length is accepted.
    fn pss<D: sha2::Digest>() -> Pss<D> {
        Pss { salt_len: None, ..Pss::new() }
    }
    match (scheme, hash) {
        (RSASSA, HashAlgorithm::Sha256) => key.verify(Pkcs1v15Sign::new::<Sha256>(), digest, signature),
        (RSASSA, HashAlgorithm::Sha384) => key.verify(Pkcs1v15Sign::new::<Sha384>(), digest, signature),
        (RSASSA, HashAlgorithm::Sha512) => key.verify(Pkcs1v15Sign::new::<Sha512>(), digest, signature),
        (RSAPSS, HashAlgorithm::Sha256) => key.verify(pss::<Sha256>(), digest, signature),
        (RSAPSS, HashAlgorithm::Sha384) => key.verify(pss::<Sha384>(), digest, signature),
        (RSAPSS, HashAlgorithm::Sha512) => key.verify(pss::<Sha512>(), digest, signature),
        _ => Err(rsa::Error::Verification),
    }
}

mod ecdsa_verify {
    //! ECDSA on the three curves; each curve's crate has types of its own.

    use super::super::public_area::Curve;
    use super::InvalidSignature;

    macro_rules! verify_on {
        ($curve:ident, $point:expr, $digest:expr, $signature:expr) => {{
            use $curve::ecdsa::signature::hazmat::PrehashVerifier;
            let key =
                $curve::ecdsa::VerifyingKey::from_sec1_bytes($point).map_err(|_| InvalidSignature::Key)?;
            let signature =
                $curve::ecdsa::Signature::from_slice($signature).map_err(|_| InvalidSignature::Wrong)?;
            key.verify_prehash($digest, &signature).map_err(|_| InvalidSignature::Wrong)
        }};
    }

    /// Verifies a signature over a digest; coordinates and numbers have the curve's size.
    pub fn verify_ecdsa(
        curve: Curve,
        [x, y]: [&[u8]; 2],
        digest: &[u8],
        [r, s]: [&[u8]; 2],
    ) -> Result<(), InvalidSignature> {
        let point = [&[4], x, y].concat();
        let signature = [r, s].concat();
        match curve {
            Curve::P256 => verify_on!(p256, &point, digest, &signature),
            Curve::P384 => verify_on!(p384, &point, digest, &signature),
            Curve::P521 => verify_on!(p521, &point, digest, &signature),
        }
    }
}
