//! The certificates behind a report's signature: reading them, AMD's extensions in them, and the path to a pinned root.
//!
//! Neighbours: [`roots`] holds AMD's published roots, [`chain`] finds the path. Chapters: AMD 57230 (certificates and key
//! distribution), RFC 5280 for the format, RFC 4055 for RSASSA-PSS.

pub mod chain;
pub mod revocation;
pub mod roots;

use std::time::Duration;

use const_oid::ObjectIdentifier;
use der::asn1::Ia5StringRef;
use der::{Decode, Document, Reader as _, SliceReader};
use p384::ecdsa::VerifyingKey;
use rsa::pkcs1::DecodeRsaPublicKey;
use rsa::traits::PublicKeyParts;
use rsa::{Pss, RsaPublicKey};
use sha2::{Digest, Sha384};
use snp_abi::tcb::{Generation, TcbParts};
use x509_cert::Certificate as X509;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage};

/// A certificate that is larger is not read.
pub const MAXIMUM_BYTES: usize = 16 << 10;
/// More certificates are not looked at.
pub const MAXIMUM_COUNT: usize = 16;

/// Bytes of the salt in AMD's signatures: as many as SHA-384 has.
const SALT_BYTES: usize = 48;
/// Shorter RSA keys sign no certificates.
const MINIMUM_RSA_BYTES: usize = 256;

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSASSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const SECP384R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");

/// AMD's extensions, all below 1.3.6.1.4.1.3704.1.
mod extension {
    use const_oid::ObjectIdentifier;

    pub const PRODUCT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.2");
    pub const BOOT_LOADER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.1");
    pub const TEE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.2");
    pub const SNP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.3");
    pub const MICROCODE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.8");
    pub const FMC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.9");
    pub const HARDWARE_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.4");
    pub const CLOUD: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.5");
}

/// Why bytes are no certificate that this program can use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidCertificate {
    /// Longer than [`MAXIMUM_BYTES`].
    #[error("it is larger than {MAXIMUM_BYTES} bytes")]
    TooLarge,
    /// No X.509 certificate in DER.
    #[error("it is no X.509 certificate: {0}")]
    Encoding(der::Error),
    /// PEM was expected.
    #[error("it has no PEM block of a certificate")]
    NotText,
    /// The signature's algorithm inside and outside of the signed part differ.
    #[error("it names two signature algorithms")]
    TwoAlgorithms,
}

/// What a report's signing certificate says about its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endorsed {
    /// A VCEK: the key of this chip, 64 bytes, or 8 from Turin on.
    Chip(Vec<u8>),
    /// A VLEK: the key of this cloud.
    Cloud(String),
}

/// A certificate. Until [`chain`] has found its path to a root, everything in it is a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    signed_part: Vec<u8>,
    parsed: X509,
}

impl Certificate {
    /// Reads DER.
    ///
    /// # Errors
    /// If the bytes are too many, are no certificate, or contradict themselves.
    pub fn from_der(bytes: &[u8]) -> Result<Self, InvalidCertificate> {
        if bytes.len() > MAXIMUM_BYTES {
            return Err(InvalidCertificate::TooLarge);
        }
        let parsed = X509::from_der(bytes).map_err(InvalidCertificate::Encoding)?;
        let signed_part = signed_part(bytes).map_err(InvalidCertificate::Encoding)?.to_vec();
        if parsed.tbs_certificate().signature() != parsed.signature_algorithm() {
            return Err(InvalidCertificate::TwoAlgorithms);
        }
        Ok(Self { der: bytes.to_vec(), signed_part, parsed })
    }

    /// The certificate's bytes.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// SHA-384 of the certificate's bytes.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 48] {
        Sha384::digest(&self.der).into()
    }

    /// The subject's name, for messages.
    #[must_use]
    pub fn subject(&self) -> String {
        common_name(self.parsed.tbs_certificate().subject())
    }

    /// The issuer's name, for messages.
    #[must_use]
    pub fn issuer(&self) -> String {
        common_name(self.parsed.tbs_certificate().issuer())
    }

    /// Whether `issuer` has the name that this certificate's issuer should have.
    #[must_use]
    pub fn names_as_issuer(&self, issuer: &Self) -> bool {
        self.parsed.tbs_certificate().issuer() == issuer.parsed.tbs_certificate().subject()
    }

    /// Whether the certificate may sign others (RFC 5280, 4.2.1.3 and 4.2.1.9).
    #[must_use]
    pub fn is_authority(&self) -> bool {
        let constraints = self.parsed.tbs_certificate().get_extension::<BasicConstraints>();
        let usage = self.parsed.tbs_certificate().get_extension::<KeyUsage>();
        matches!(constraints, Ok(Some((_, BasicConstraints { ca: true, .. }))))
            && matches!(usage, Ok(Some((_, usage))) if usage.key_cert_sign())
    }

    /// Whether so many authorities may stand below this one.
    #[must_use]
    pub fn allows_path_of(&self, authorities: u8) -> bool {
        let constraints = self.parsed.tbs_certificate().get_extension::<BasicConstraints>();
        matches!(constraints, Ok(Some((_, constraints)))
            if constraints.path_len_constraint.is_none_or(|most| most >= authorities))
    }

    /// Whether the certificate may be that of a report's key: no authority, and a key usage, if it has one, that signs.
    #[must_use]
    pub fn is_for_reports(&self) -> bool {
        let constraints = self.parsed.tbs_certificate().get_extension::<BasicConstraints>();
        let usage = self.parsed.tbs_certificate().get_extension::<KeyUsage>();
        matches!(constraints, Ok(None | Some((_, BasicConstraints { ca: false, .. }))))
            && matches!(usage, Ok(None)) | matches!(&usage, Ok(Some((_, usage))) if usage.digital_signature())
    }

    /// A critical extension that this program does not understand, and so must not overlook (RFC 5280, 4.2).
    #[must_use]
    pub fn unknown_critical(&self) -> Option<String> {
        let extensions = self.parsed.tbs_certificate().extensions()?;
        let is_unknown = |extension: &&x509_cert::ext::Extension| {
            extension.critical && ![BASIC_CONSTRAINTS, KEY_USAGE].contains(&extension.extn_id)
        };
        extensions.iter().find(is_unknown).map(|extension| extension.extn_id.to_string())
    }

    /// The serial number's bytes.
    #[must_use]
    pub fn serial(&self) -> &[u8] {
        self.parsed.tbs_certificate().serial_number().as_bytes()
    }

    /// Whether this certificate's RSA key signed `other`.
    #[must_use]
    pub fn signed(&self, other: &Self) -> bool {
        let is_pss = other.parsed.signature_algorithm().oid == RSASSA_PSS;
        is_pss && self.signed_bytes(&other.signed_part, other.parsed.signature().as_bytes())
    }

    /// Whether this certificate's RSA key made a signature in the one way that AMD signs: RSASSA-PSS with SHA-384.
    fn signed_bytes(&self, bytes: &[u8], signature: Option<&[u8]>) -> bool {
        let (Some(key), Some(signature)) = (self.rsa_key(), signature) else { return false };
        let padding = Pss::<Sha384>::new_with_salt(SALT_BYTES);
        key.verify(padding, &Sha384::digest(bytes), signature).is_ok()
    }

    fn rsa_key(&self) -> Option<RsaPublicKey> {
        let info = self.parsed.tbs_certificate().subject_public_key_info();
        if info.algorithm.oid != RSA_ENCRYPTION {
            return None;
        }
        let key = RsaPublicKey::from_pkcs1_der(info.subject_public_key.as_bytes()?).ok()?;
        (key.size() >= MINIMUM_RSA_BYTES).then_some(key)
    }

    /// The key with which reports are signed, if the certificate has such a key.
    #[must_use]
    pub fn report_key(&self) -> Option<VerifyingKey> {
        let info = self.parsed.tbs_certificate().subject_public_key_info();
        let curve = info.algorithm.parameters.as_ref()?.decode_as::<ObjectIdentifier>().ok()?;
        if info.algorithm.oid != EC_PUBLIC_KEY || curve != SECP384R1 {
            return None;
        }
        VerifyingKey::from_sec1_bytes(info.subject_public_key.as_bytes()?).ok()
    }

    /// Whether the certificate is valid at a time, given since 1970.
    #[must_use]
    pub fn is_valid_at(&self, now: Duration) -> bool {
        let validity = self.parsed.tbs_certificate().validity();
        (validity.not_before.to_unix_duration()..=validity.not_after.to_unix_duration()).contains(&now)
    }

    /// The generation that the product name names, for instance `Milan-B0`.
    #[must_use]
    pub fn generation(&self) -> Option<Generation> {
        let name = Ia5StringRef::from_der(self.extension(extension::PRODUCT_NAME)?).ok()?;
        let product = name.as_str().split('-').next()?;
        roots::PRODUCTS.iter().find(|row| row.name == product).map(|row| row.generation)
    }

    /// Whose key this is, if it is a VCEK's or a VLEK's certificate.
    #[must_use]
    pub fn endorsed(&self) -> Option<Endorsed> {
        match (self.extension(extension::HARDWARE_ID), self.extension(extension::CLOUD)) {
            (Some(number), None) => hardware_id(number).map(|number| Endorsed::Chip(number.to_vec())),
            (None, Some(name)) => {
                Ia5StringRef::from_der(name).ok().map(|name| Endorsed::Cloud(name.as_str().to_owned()))
            }
            _ => None,
        }
    }

    /// The TCB for which the key was derived, `None` if a part is missing or has no place in that generation.
    #[must_use]
    pub fn tcb(&self, generation: Generation) -> Option<TcbParts> {
        let part = |oid| u8::from_der(self.extension(oid)?).ok();
        let fmc = part(extension::FMC);
        if fmc.is_some() != generation.has_fmc() {
            return None;
        }
        Some(TcbParts {
            fmc,
            boot_loader: part(extension::BOOT_LOADER)?,
            tee: part(extension::TEE)?,
            snp: part(extension::SNP)?,
            microcode: part(extension::MICROCODE)?,
        })
    }

    /// An extension's value; none if it stands there twice.
    fn extension(&self, oid: ObjectIdentifier) -> Option<&[u8]> {
        let extensions = self.parsed.tbs_certificate().extensions()?;
        let mut found = extensions.iter().filter(|extension| extension.extn_id == oid);
        match (found.next(), found.next()) {
            (Some(extension), None) => Some(extension.extn_value.as_bytes()),
            _ => None,
        }
    }
}

/// The chip's number, as AMD writes it, without a tag of its own, or as an OCTET STRING. The length tells which it is: the number's
/// own first bytes may look like a tag.
fn hardware_id(value: &[u8]) -> Option<&[u8]> {
    match (value.len(), value) {
        (8 | 64, _) => Some(value),
        (10, [0x04, 0x08, number @ ..]) | (66, [0x04, 0x40, number @ ..]) => Some(number),
        _ => None,
    }
}

/// The bytes that are signed, as they stand in the certificate: encoding the parsed form again could differ.
fn signed_part(certificate: &[u8]) -> Result<&[u8], der::Error> {
    SliceReader::new(certificate)?.sequence(|inner| {
        let signed = inner.tlv_bytes()?;
        inner.tlv_bytes()?;
        inner.tlv_bytes()?;
        Ok(signed)
    })
}

/// The common name, or the whole name where there is none.
fn common_name(name: &x509_cert::name::Name) -> String {
    let text = name.to_string();
    let common = text.split(',').find_map(|part| part.trim().strip_prefix("CN="));
    let shown = common.unwrap_or(&text);
    // It goes into messages: nobody may draw on a terminal with it.
    shown.chars().filter(|letter| !letter.is_control()).take(64).collect()
}

/// Reads every certificate in PEM text.
///
/// # Errors
/// If a block cannot be read, or there is none.
pub fn from_pem(text: &[u8]) -> Result<Vec<Certificate>, InvalidCertificate> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    let text = std::str::from_utf8(text).map_err(|_| InvalidCertificate::NotText)?;
    let starts = text.match_indices(BEGIN).map(|(start, _)| start).take(MAXIMUM_COUNT);
    let certificates: Vec<_> = starts
        .map(|start| {
            let block = text.get(start..).unwrap_or_default();
            let end = block.get(BEGIN.len()..).and_then(|rest| rest.find("-----BEGIN "));
            let block = end.and_then(|end| block.get(..end.saturating_add(BEGIN.len()))).unwrap_or(block);
            // A PEM block ends with its last line; what stands between two blocks is a comment.
            let (_, document) = Document::from_pem(until_end(block)).map_err(InvalidCertificate::Encoding)?;
            Certificate::from_der(document.as_bytes())
        })
        .collect::<Result<_, _>>()?;
    if certificates.is_empty() { Err(InvalidCertificate::NotText) } else { Ok(certificates) }
}

fn until_end(block: &str) -> &str {
    const END: &str = "-----END CERTIFICATE-----";
    let end = block.find(END).map_or(block.len(), |at| at.saturating_add(END.len()));
    block.get(..end).unwrap_or(block)
}
