//! The folder that keeps keys and certificates: what is there is used, what is missing is made and written.

use super::{P384Key, PlatformError};
use der::pem::LineEnding;
use der::{Decode, DecodePem, EncodePem};
use p384::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use rsa::RsaPrivateKey;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use x509_cert::Certificate;

/// One processor's folder.
pub struct Store {
    folder: PathBuf,
}

fn name(path: &Path) -> String {
    path.display().to_string()
}

impl Store {
    /// Uses a folder; makes it if it is not there.
    pub fn new(folder: PathBuf) -> Result<Self, PlatformError> {
        std::fs::create_dir_all(&folder).map_err(|error| PlatformError::File(name(&folder), error))?;
        Ok(Self { folder })
    }

    /// A file's text, or the text made for it.
    fn text(
        &self,
        file: &str,
        make: impl FnOnce() -> Result<String, PlatformError>,
    ) -> Result<(PathBuf, String), PlatformError> {
        let path = self.folder.join(file);
        match std::fs::read_to_string(&path) {
            Ok(text) => return Ok((path, text)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(PlatformError::File(name(&path), error)),
        }
        let text = make()?;
        self.keep(&path, &text).map_err(|error| PlatformError::File(name(&path), error))?;
        // Another run may have been quicker: what lies there now counts.
        let text = std::fs::read_to_string(&path).map_err(|error| PlatformError::File(name(&path), error))?;
        Ok((path, text))
    }

    /// Writes a whole file or none, and leaves one that is there.
    fn keep(&self, path: &Path, text: &str) -> std::io::Result<()> {
        // A temporary file is only its owner's to read, and stays so.
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(text.as_bytes())?;
        match file.persist_noclobber(path) {
            Ok(_) => Ok(()),
            Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error.error),
        }
    }

    /// An RSA key.
    pub fn rsa_key(
        &self,
        who: &str,
        make: impl FnOnce() -> Result<RsaPrivateKey, PlatformError>,
    ) -> Result<RsaPrivateKey, PlatformError> {
        let (path, text) = self.text(&format!("{who}.key"), || {
            let pem = make()?.to_pkcs8_pem(LineEnding::LF);
            pem.map(|pem| pem.to_string()).map_err(|error| PlatformError::Making(error.to_string()))
        })?;
        RsaPrivateKey::from_pkcs8_pem(&text)
            .map_err(|error| PlatformError::Content(name(&path), error.to_string()))
    }

    /// A key on P-384.
    pub fn p384_key(&self, who: &str, make: impl FnOnce() -> P384Key) -> Result<P384Key, PlatformError> {
        let (path, text) = self.text(&format!("{who}.key"), || {
            let pem = make().to_pkcs8_pem(LineEnding::LF);
            pem.map(|pem| pem.to_string()).map_err(|error| PlatformError::Making(error.to_string()))
        })?;
        P384Key::from_pkcs8_pem(&text).map_err(|error| PlatformError::Content(name(&path), error.to_string()))
    }

    /// A certificate, DER.
    pub fn certificate(
        &self,
        who: &str,
        make: impl FnOnce() -> Result<Vec<u8>, PlatformError>,
    ) -> Result<Vec<u8>, PlatformError> {
        let (path, text) = self.text(&format!("{who}.pem"), || pem(&make()?))?;
        let wrong = |error: der::Error| PlatformError::Content(name(&path), error.to_string());
        let certificate = Certificate::from_pem(&text).map_err(wrong)?;
        der::Encode::to_der(&certificate).map_err(wrong)
    }

    /// The chip's id.
    pub fn chip_id(&self, make: impl FnOnce() -> [u8; 64]) -> Result<[u8; 64], PlatformError> {
        let (path, text) = self.text("chip_id", || Ok(igvm::show::hex(&make()) + "\n"))?;
        let digits: Vec<u8> =
            text.trim().chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
        let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        bytes.try_into().map_err(|_| PlatformError::Content(name(&path), "not 64 hexadecimal bytes".into()))
    }
}

fn pem(certificate: &[u8]) -> Result<String, PlatformError> {
    let made = Certificate::from_der(certificate).and_then(|certificate| certificate.to_pem(LineEnding::LF));
    made.map_err(|error| PlatformError::Making(error.to_string()))
}
