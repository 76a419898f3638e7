//! AMD's certificate revocation lists: issued and signed by a product's root, they list intermediates (AMD 57230; RFC 5280, 5).

use std::time::Duration;

use der::{Decode, Document, Reader as _, SliceReader};
use x509_cert::crl::CertificateList;

use super::{Certificate, RSASSA_PSS};

/// A longer list is not read.
pub const MAXIMUM_BYTES: usize = 1 << 20;

/// Why bytes are no revocation list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidList {
    /// Longer than [`MAXIMUM_BYTES`].
    #[error("it is larger than {MAXIMUM_BYTES} bytes")]
    TooLarge,
    /// No list in DER or PEM.
    #[error("it is no certificate revocation list: {0}")]
    Encoding(der::Error),
}

/// Why a list does not say that a certificate is good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Revocation {
    /// No list of the chain's root was given.
    #[error(
        "no revocation list of `{0}` was given: `svsm-verify fetch-certs` says where it is, --crl takes it"
    )]
    NoList(String),
    /// It is not by the root.
    #[error("the revocation list is not signed by `{0}`")]
    NotSigned(String),
    /// It is not of this time.
    #[error("the revocation list of `{0}` is not valid at the time of this check: fetch a new one")]
    Outdated(String),
    /// It has a critical extension that is not understood.
    #[error("the revocation list has the critical extension {0}, which is not understood")]
    CriticalExtension(String),
    /// A certificate stands on it.
    #[error("`{0}` was revoked by its issuer")]
    Revoked(String),
}

/// A list. Until it is checked against its issuer, everything in it is a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationList {
    signed_part: Vec<u8>,
    parsed: CertificateList,
}

impl RevocationList {
    /// Reads DER or PEM.
    ///
    /// # Errors
    /// If it is too long or no list.
    pub fn read(bytes: &[u8]) -> Result<Self, InvalidList> {
        if bytes.len() > MAXIMUM_BYTES {
            return Err(InvalidList::TooLarge);
        }
        match std::str::from_utf8(bytes) {
            Ok(text) if text.trim_start().starts_with("-----BEGIN") => {
                let (_, document) = Document::from_pem(text.trim()).map_err(InvalidList::Encoding)?;
                Self::from_der(document.as_bytes())
            }
            _ => Self::from_der(bytes),
        }
    }

    fn from_der(bytes: &[u8]) -> Result<Self, InvalidList> {
        let parsed = CertificateList::from_der(bytes).map_err(InvalidList::Encoding)?;
        let signed_part = SliceReader::new(bytes).and_then(|mut reader| {
            reader.sequence(|inner| {
                let signed = inner.tlv_bytes()?;
                inner.tlv_bytes()?;
                inner.tlv_bytes()?;
                Ok::<_, der::Error>(signed.to_vec())
            })
        });
        Ok(Self { signed_part: signed_part.map_err(InvalidList::Encoding)?, parsed })
    }

    /// Whether the list names this issuer.
    #[must_use]
    pub fn names(&self, issuer: &Certificate) -> bool {
        self.parsed.tbs_cert_list.issuer == *issuer.parsed.tbs_certificate().subject()
    }

    /// Says that `issuer` made the list, that it is of this time, and that none of its certificates given here stands on it.
    ///
    /// # Errors
    /// [`Revocation`] says which of it does not hold.
    pub fn check(
        &self,
        issuer: &Certificate,
        issued: &[&Certificate],
        now: Duration,
    ) -> Result<(), Revocation> {
        let list = &self.parsed.tbs_cert_list;
        let is_pss = self.parsed.signature_algorithm.oid == RSASSA_PSS
            && self.parsed.signature_algorithm == list.signature;
        if !is_pss || !issuer.signed_bytes(&self.signed_part, self.parsed.signature.as_bytes()) {
            return Err(Revocation::NotSigned(issuer.subject()));
        }
        let extensions = list.crl_extensions.iter().flatten();
        if let Some(unknown) = extensions.clone().find(|extension| extension.critical) {
            return Err(Revocation::CriticalExtension(unknown.extn_id.to_string()));
        }
        // A list without a next update says that nobody will tell when it is old.
        let begins = list.this_update.to_unix_duration();
        let ends = list.next_update.map(|time| time.to_unix_duration());
        if !ends.is_some_and(|end| (begins..=end).contains(&now)) {
            return Err(Revocation::Outdated(issuer.subject()));
        }
        let is_listed = |certificate: &&&Certificate| {
            list.revoked_certificates
                .iter()
                .flatten()
                .any(|row| row.serial_number.as_bytes() == certificate.serial())
        };
        match issued.iter().find(is_listed) {
            Some(revoked) => Err(Revocation::Revoked(revoked.subject())),
            None => Ok(()),
        }
    }
}
