//! Evidence: what the guest sends, as bytes. Nothing in it is believed before [`crate::verify()`] has judged it.
//!
//! There are two forms with the same content, a [directory] for people and shells and one [JSON file](json)
//! for services:
//!
//! | file | JSON field | content |
//! |---|---|---|
//! | `report.bin` | `report` | the attestation report, 1184 bytes |
//! | `manifest.bin` | `manifest` | the services manifest, or the vTPM's alone |
//! | `certs/*`, `certs.bin` | `certificates` | PEM or DER files, and the table of an extended request; JSON: a list of DER |
//! | `ek.pub` | `ek_public` | TPM2B_PUBLIC of the endorsement key (optional; the manifest decides) |
//! | `ak.pub` | `ak_public` | TPM2B_PUBLIC of the attestation key |
//! | `quote.msg` | `quote_message` | TPMS_ATTEST |
//! | `quote.sig` | `quote_signature` | TPMT_SIGNATURE |
//! | `pcrs.bin` | `pcrs` | values of the quoted PCRs, one after another (`tpm2_quote -F values`) |
//! | `eventlog.bin` | `event_log` | crypto-agile event log |
//! | `activated.bin` | `activated` | the secret out of a challenge's credential |

pub mod directory;
pub mod json;

use std::path::Path;

use snp_abi::certificates::CertificateTable;

use crate::certificates::{Certificate, InvalidCertificate, MAXIMUM_COUNT, from_pem};

/// No part of the evidence is larger.
pub const MAXIMUM_PART_BYTES: usize = 16 << 20;
/// A single-file form that is larger is not read.
pub const MAXIMUM_FILE_BYTES: usize = 64 << 20;

/// What a guest sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// ATTESTATION_REPORT.
    pub report: Vec<u8>,
    /// Manifest, of either form.
    pub manifest: Vec<u8>,
    /// Certificates in no particular order.
    pub certificates: Vec<Certificate>,
    /// TPM2B_PUBLIC of the endorsement key.
    pub ek_public: Option<Vec<u8>>,
    /// TPM2B_PUBLIC of the attestation key.
    pub ak_public: Option<Vec<u8>>,
    /// TPMS_ATTEST.
    pub quote_message: Option<Vec<u8>>,
    /// TPMT_SIGNATURE.
    pub quote_signature: Option<Vec<u8>>,
    /// Values of the quoted PCRs.
    pub pcrs: Option<Vec<u8>>,
    /// Crypto-agile event log.
    pub event_log: Option<Vec<u8>>,
    /// The secret out of a challenge's credential.
    pub activated: Option<Vec<u8>>,
}

/// Why evidence cannot be read at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// The operating system says why.
    #[error("{0}: {1}")]
    Io(String, std::io::Error),
    /// A pipe, a device, a folder where a file should be.
    #[error("{0}: this is no regular file")]
    NoFile(String),
    /// A file among the certificates that is none.
    #[error(
        "{0}: certificates have names that end in pem, der, crt, cer or bin; nothing else may lie beside them"
    )]
    NoCertificate(String),
    /// A part is too large.
    #[error("{0} is larger than {1} bytes")]
    TooLarge(String, usize),
    /// There are too many certificates.
    #[error("there are more than {MAXIMUM_COUNT} certificates")]
    TooManyCertificates,
    /// A certificate cannot be read.
    #[error("{0}: {1}")]
    Certificate(String, InvalidCertificate),
    /// A certificate table cannot be read.
    #[error("{0}: no table of certificates")]
    CertificateTable(String),
    /// The single-file form is malformed.
    #[error("no evidence of the single-file format: {0}")]
    Json(String),
}

impl Evidence {
    /// Reads a directory, or a file of the single-file form.
    ///
    /// # Errors
    /// If a part that must exist does not, or one cannot be read.
    pub fn read(path: &Path) -> Result<Self, EvidenceError> {
        if path.is_dir() {
            directory::read(path)
        } else {
            json::parse(&read_bounded(path, MAXIMUM_FILE_BYTES)?)
        }
    }

    /// Adds certificates from PEM, DER, or the certificate table of an extended request; `name` is for messages.
    ///
    /// # Errors
    /// If they cannot be read or are too many.
    pub fn add_certificates(&mut self, name: &str, bytes: &[u8]) -> Result<(), EvidenceError> {
        let in_file = |error| EvidenceError::Certificate(name.to_owned(), error);
        // DER starts with a sequence longer than 255 bytes; PEM is text; the GUIDs of a table are not, and the row of zeros that
        // ends it is the whole table of a host that has no certificates.
        let found = match bytes {
            [0, ..] => of_table(name, bytes)?,
            [0x30, 0x82, ..] => vec![Certificate::from_der(bytes).map_err(in_file)?],
            _ if std::str::from_utf8(bytes).is_ok() => from_pem(bytes).map_err(in_file)?,
            _ => of_table(name, bytes)?,
        };
        self.certificates.extend(found);
        if self.certificates.len() > MAXIMUM_COUNT {
            return Err(EvidenceError::TooManyCertificates);
        }
        Ok(())
    }
}

/// Certificates of the table; entries that hold something else are left out.
fn of_table(name: &str, bytes: &[u8]) -> Result<Vec<Certificate>, EvidenceError> {
    use snp_abi::certificates::{ARK, ASK, VCEK, VLEK};

    let table =
        CertificateTable::parse(bytes).map_err(|_| EvidenceError::CertificateTable(name.to_owned()))?;
    let mut found = Vec::new();
    for (guid, blob) in table.iter() {
        if ![ARK, ASK, VCEK, VLEK].contains(&guid) {
            continue;
        }
        if found.len() >= MAXIMUM_COUNT {
            return Err(EvidenceError::TooManyCertificates);
        }
        let certificate = match blob {
            [0x30, ..] => Certificate::from_der(blob).map(|certificate| vec![certificate]),
            _ => from_pem(blob),
        };
        found.extend(certificate.map_err(|error| EvidenceError::Certificate(name.to_owned(), error))?);
    }
    Ok(found)
}

/// Reads a regular file that is not longer than `limit`. Pipes and devices are refused before they can block or go on for ever.
pub(crate) fn read_bounded(path: &Path, limit: usize) -> Result<Vec<u8>, EvidenceError> {
    let name = path.display().to_string();
    let failed = |error| EvidenceError::Io(path.display().to_string(), error);
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(EvidenceError::NoFile(name));
    }
    let file = std::fs::File::open(path).map_err(failed)?;
    read_up_to(file, limit).map_err(failed)?.ok_or(EvidenceError::TooLarge(name, limit))
}

/// Reads to the end, `None` if there is more than `limit`.
///
/// # Errors
/// If the operating system refuses.
pub fn read_up_to(source: impl std::io::Read, limit: usize) -> std::io::Result<Option<Vec<u8>>> {
    use std::io::Read as _;

    let mut bytes = Vec::new();
    let ceiling = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    source.take(ceiling).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= limit).then_some(bytes))
}
