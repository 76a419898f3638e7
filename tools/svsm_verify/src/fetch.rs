//! Where AMD's key distribution service has the certificates of a report (AMD 57230, chapter 4). Nothing is downloaded here.

use snp_abi::report::{AttestationReport, InvalidReport, SigningKey};

use crate::certificates::roots::Product;
use crate::certificates::{Certificate, Endorsed, chain, roots};
use crate::reader::hex;

/// The service.
const SERVICE: &str = "https://kdsintf.amd.com";

/// A file to download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    /// Where it is.
    pub address: String,
    /// What to save it as: certificates in the evidence's `certs` folder, [`LIST`] beside it, for `--crl`.
    pub file: &'static str,
}

/// The name of the revocation list.
pub const LIST: &str = "crl.der";

/// Why nothing can be said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CannotFetch {
    /// There is no report.
    #[error("the evidence has no attestation report that can be read")]
    Report(InvalidReport),
    /// Version 2 does not name the processor.
    #[error("the report does not name its processor: say which it is with --product Milan, Genoa or Turin")]
    UnknownProduct,
    /// Without a chip number there is no address.
    #[error("the host masked the chip's number, so that its certificate cannot be found")]
    MaskedChip,
    /// The report is not signed.
    #[error("the report names no key that signed it")]
    NoSigningKey,
}

/// The downloads that a report needs. `product` is for reports that do not name their processor.
///
/// # Errors
/// If the report does not say enough.
pub fn downloads(report: &[u8], product: Option<&Product>) -> Result<Vec<Download>, CannotFetch> {
    let report = AttestationReport::parse(report).map_err(CannotFetch::Report)?;
    let named = report.generation().and_then(roots::product);
    let product = named.or(product).ok_or(CannotFetch::UnknownProduct)?;
    let name = product.name;
    let list = |kind| Download { address: format!("{SERVICE}/{kind}/v1/{name}/crl"), file: LIST };
    match report.key_information.signing_key() {
        Some(SigningKey::Vcek) => Ok(vec![
            Download { address: vcek(&report, product)?, file: "vcek.der" },
            Download { address: format!("{SERVICE}/vcek/v1/{name}/cert_chain"), file: "cert_chain.pem" },
            list("vcek"),
        ]),
        // The VLEK itself is given to the cloud, which hands it to its guests in the extended request.
        Some(SigningKey::Vlek) => Ok(vec![
            Download { address: format!("{SERVICE}/vlek/v1/{name}/cert_chain"), file: "cert_chain.pem" },
            list("vlek"),
        ]),
        Some(SigningKey::None) | None => Err(CannotFetch::NoSigningKey),
    }
}

fn vcek(report: &AttestationReport, product: &Product) -> Result<String, CannotFetch> {
    let parts = report.reported_tcb.parts(product.generation);
    let number = match parts.fmc {
        Some(_) => report.chip_id.get(..8).unwrap_or_default(),
        None => &report.chip_id,
    };
    if number.iter().all(|byte| *byte == 0) {
        return Err(CannotFetch::MaskedChip);
    }
    let fmc = parts.fmc.map_or(String::new(), |fmc| format!("fmcSPL={fmc}&"));
    Ok(format!(
        "{SERVICE}/vcek/v1/{}/{}?{fmc}blSPL={}&teeSPL={}&snpSPL={}&ucodeSPL={}",
        product.name,
        hex(number),
        parts.boot_loader,
        parts.tee,
        parts.snp,
        parts.microcode,
    ))
}

/// Whether the evidence has the certificate of the report's key, for its chip and its TCB, already.
#[must_use]
pub fn has_leaf(certificates: &[Certificate], report: &[u8]) -> bool {
    let Ok(report) = AttestationReport::parse(report) else { return false };
    let key = report.key_information.signing_key();
    certificates.iter().any(|certificate| {
        let is_kind = matches!(
            (certificate.endorsed(), key),
            (Some(Endorsed::Chip(_)), Some(SigningKey::Vcek))
                | (Some(Endorsed::Cloud(_)), Some(SigningKey::Vlek))
        );
        is_kind && chain::fitness(certificate, &report) == chain::PERFECT
    })
}
