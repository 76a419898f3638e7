//! Evidence as a directory of files.

use std::io::ErrorKind;
use std::path::Path;

use super::{Evidence, EvidenceError, MAXIMUM_PART_BYTES, read_bounded};
use crate::certificates::MAXIMUM_COUNT;

/// The report.
pub const REPORT: &str = "report.bin";
/// The manifest.
pub const MANIFEST: &str = "manifest.bin";
/// The table of certificates of an extended request.
pub const CERTIFICATE_TABLE: &str = "certs.bin";
/// The folder of certificates.
pub const CERTIFICATES: &str = "certs";

/// A file that may be missing: its name, its value, and the place for its value.
struct Optional {
    name: &'static str,
    value: fn(&Evidence) -> &Option<Vec<u8>>,
    place: fn(&mut Evidence) -> &mut Option<Vec<u8>>,
}

macro_rules! optional {
    ($($name:literal => $field:ident,)+) => {
        &[$(Optional {
            name: $name,
            value: |evidence| &evidence.$field,
            place: |evidence| &mut evidence.$field,
        },)+]
    };
}

/// Every file that may be missing.
const OPTIONAL: &[Optional] = optional! {
    "ek.pub" => ek_public,
    "ak.pub" => ak_public,
    "quote.msg" => quote_message,
    "quote.sig" => quote_signature,
    "pcrs.bin" => pcrs,
    "eventlog.bin" => event_log,
    "activated.bin" => activated,
};

/// Reads a directory. The report must be there; whether anything else must be is the policy's business.
///
/// # Errors
/// If the report is missing or a file cannot be read.
pub fn read(directory: &Path) -> Result<Evidence, EvidenceError> {
    let mut evidence = Evidence {
        report: read_bounded(&directory.join(REPORT), MAXIMUM_PART_BYTES)?,
        manifest: read_optional(&directory.join(MANIFEST))?.unwrap_or_default(),
        ..Evidence::default()
    };
    for part in OPTIONAL {
        *(part.place)(&mut evidence) = read_optional(&directory.join(part.name))?;
    }
    if let Some(table) = read_optional(&directory.join(CERTIFICATE_TABLE))?
        && !table.is_empty()
    {
        evidence.add_certificates(CERTIFICATE_TABLE, &table)?;
    }
    let certificates = directory.join(CERTIFICATES);
    if certificates.is_dir() {
        add_certificates(&mut evidence, &certificates)?;
    }
    Ok(evidence)
}

/// Adds every certificate file of a folder, in the order of their names.
///
/// # Errors
/// If the folder or a file in it cannot be read, or there are too many.
pub fn add_certificates(evidence: &mut Evidence, folder: &Path) -> Result<(), EvidenceError> {
    let failed = |error| EvidenceError::Io(folder.display().to_string(), error);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let suffix = path.extension().and_then(|suffix| suffix.to_str());
        if !matches!(suffix, Some("pem" | "der" | "crt" | "cer" | "bin")) {
            return Err(EvidenceError::NoCertificate(path.display().to_string()));
        }
        paths.push(path);
        if paths.len() > MAXIMUM_COUNT {
            return Err(EvidenceError::TooManyCertificates);
        }
    }
    paths.sort();
    for path in paths {
        let bytes = read_bounded(&path, MAXIMUM_PART_BYTES)?;
        evidence.add_certificates(&path.display().to_string(), &bytes)?;
    }
    Ok(())
}

/// Writes evidence as a directory that [`read`] reads.
///
/// # Errors
/// If the operating system refuses.
pub fn write(evidence: &Evidence, directory: &Path) -> std::io::Result<()> {
    let certificates = directory.join(CERTIFICATES);
    std::fs::create_dir_all(&certificates)?;
    std::fs::write(directory.join(REPORT), &evidence.report)?;
    std::fs::write(directory.join(MANIFEST), &evidence.manifest)?;
    for part in OPTIONAL {
        if let Some(value) = (part.value)(evidence) {
            std::fs::write(directory.join(part.name), value)?;
        }
    }
    for (index, certificate) in evidence.certificates.iter().enumerate() {
        std::fs::write(certificates.join(format!("{index}.der")), certificate.der())?;
    }
    Ok(())
}

fn read_optional(path: &Path) -> Result<Option<Vec<u8>>, EvidenceError> {
    match read_bounded(path, MAXIMUM_PART_BYTES) {
        Err(EvidenceError::Io(_, error)) if error.kind() == ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}
