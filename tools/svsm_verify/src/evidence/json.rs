//! Evidence as one JSON file; every part is base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::{Evidence, EvidenceError, MAXIMUM_FILE_BYTES};
use crate::certificates::Certificate;

/// The format's name, in the field `format`.
pub const FORMAT: &str = "vouchsafe-evidence-1";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    report: String,
    #[serde(default)]
    manifest: String,
    #[serde(default)]
    certificates: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ek_public: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ak_public: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quote_message: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quote_signature: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pcrs: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event_log: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    activated: Option<String>,
}

/// Reads the single-file form.
///
/// # Errors
/// If it is malformed or of another format.
pub fn parse(bytes: &[u8]) -> Result<Evidence, EvidenceError> {
    if bytes.len() > MAXIMUM_FILE_BYTES {
        return Err(EvidenceError::TooLarge("the evidence".to_owned(), MAXIMUM_FILE_BYTES));
    }
    let file: File = serde_json::from_slice(bytes).map_err(|error| EvidenceError::Json(error.to_string()))?;
    if file.format != FORMAT {
        return Err(EvidenceError::Json("another format".to_owned()));
    }
    let mut evidence = Evidence {
        report: decode("report", &file.report)?,
        manifest: decode("manifest", &file.manifest)?,
        certificates: Vec::new(),
        ek_public: decode_optional("ek_public", file.ek_public)?,
        ak_public: decode_optional("ak_public", file.ak_public)?,
        quote_message: decode_optional("quote_message", file.quote_message)?,
        quote_signature: decode_optional("quote_signature", file.quote_signature)?,
        pcrs: decode_optional("pcrs", file.pcrs)?,
        event_log: decode_optional("event_log", file.event_log)?,
        activated: decode_optional("activated", file.activated)?,
    };
    for certificate in &file.certificates {
        evidence.add_certificates("certificates", &decode("certificates", certificate)?)?;
    }
    Ok(evidence)
}

/// Writes the single-file form.
#[must_use]
pub fn write(evidence: &Evidence) -> String {
    let encode = |bytes: &Vec<u8>| STANDARD.encode(bytes);
    let optional = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(encode);
    let certificate = |certificate: &Certificate| STANDARD.encode(certificate.der());
    let file = File {
        format: FORMAT.to_owned(),
        report: encode(&evidence.report),
        manifest: encode(&evidence.manifest),
        certificates: evidence.certificates.iter().map(certificate).collect(),
        ek_public: optional(&evidence.ek_public),
        ak_public: optional(&evidence.ak_public),
        quote_message: optional(&evidence.quote_message),
        quote_signature: optional(&evidence.quote_signature),
        pcrs: optional(&evidence.pcrs),
        event_log: optional(&evidence.event_log),
        activated: optional(&evidence.activated),
    };
    // A structure of strings always becomes JSON.
    serde_json::to_string_pretty(&file).unwrap_or_default()
}

fn decode(field: &str, text: &str) -> Result<Vec<u8>, EvidenceError> {
    STANDARD.decode(text).map_err(|error| EvidenceError::Json(format!("`{field}`: {error}")))
}

fn decode_optional(field: &str, text: Option<String>) -> Result<Option<Vec<u8>>, EvidenceError> {
    text.map(|text| decode(field, &text)).transpose()
}
