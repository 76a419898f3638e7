//! X.509 certificates in the form of AMD's key distribution service: RSA-4096 authorities that sign with RSASSA-PSS and
//! SHA-384, endorsement keys on P-384, and AMD's extensions (AMD 57230).

use super::{P384Key, PlatformError, fresh_random};
use crate::arguments::EndorsementKind;
use chacha20::ChaCha20Rng;
use chacha20::rand_core::Rng;
use der::asn1::{GeneralizedTime, Ia5String, OctetString};
use der::oid::ObjectIdentifier;
use der::{DateTime, Decode, Encode};
use model::psp::identity::Identity;
use rsa::RsaPrivateKey;
use rsa::pss::SigningKey;
use rsa::signature::Keypair;
use sha2::Sha384;
use std::str::FromStr;
use x509_cert::Certificate;
use x509_cert::builder::profile::BuilderProfile;
use x509_cert::builder::{Builder, CertificateBuilder};
use x509_cert::certificate::TbsCertificate;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, KeyUsages};
use x509_cert::ext::{Extension, ToExtension};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{SubjectPublicKeyInfoOwned, SubjectPublicKeyInfoRef};
use x509_cert::time::{Time, Validity};

const AUTHORITY_BITS: usize = 4096;
/// 1.3.6.1.4.1.3704.1: AMD's extensions.
const STRUCTURE_VERSION: &str = "1.3.6.1.4.1.3704.1.1";
const PRODUCT_NAME: &str = "1.3.6.1.4.1.3704.1.2";
const BOOT_LOADER: &str = "1.3.6.1.4.1.3704.1.3.1";
const TEE: &str = "1.3.6.1.4.1.3704.1.3.2";
const SNP: &str = "1.3.6.1.4.1.3704.1.3.3";
const RESERVED_SPL: [&str; 4] =
    ["1.3.6.1.4.1.3704.1.3.4", "1.3.6.1.4.1.3704.1.3.5", "1.3.6.1.4.1.3704.1.3.6", "1.3.6.1.4.1.3704.1.3.7"];
const MICROCODE: &str = "1.3.6.1.4.1.3704.1.3.8";
const FMC: &str = "1.3.6.1.4.1.3704.1.3.9";
const HARDWARE_ID: &str = "1.3.6.1.4.1.3704.1.4";
const CLOUD_ID: &str = "1.3.6.1.4.1.3704.1.5";
/// The cloud that the VLEK of a test belongs to.
const CLOUD: &str = "snp-emulator";
/// First and last year of every certificate: fixed, so that equal runs make equal certificates.
const YEARS: (u16, u16) = (2025, 2045);

/// A key that signs certificates, and its own certificate.
pub struct Authority {
    /// The key.
    pub key: RsaPrivateKey,
    /// DER.
    pub certificate: Vec<u8>,
}

/// What an endorsement certificate says.
pub struct Chip<'a> {
    /// The processor.
    pub identity: &'static Identity,
    /// VCEK or VLEK.
    pub kind: EndorsementKind,
    /// Its unique id.
    pub chip_id: &'a [u8; 64],
    /// The key that is certified.
    pub key: &'a P384Key,
}

fn making(error: impl ToString) -> PlatformError {
    PlatformError::Making(error.to_string())
}

/// A new key for an authority.
pub fn rsa_key() -> Result<RsaPrivateKey, PlatformError> {
    RsaPrivateKey::new(&mut fresh_random()?, AUTHORITY_BITS).map_err(making)
}

/// A new key on P-384.
pub fn p384_key(random: &mut ChaCha20Rng) -> P384Key {
    loop {
        let mut bytes = [0; 48];
        random.fill_bytes(&mut bytes);
        // All but one of 2^190 numbers are keys.
        if let Ok(key) = P384Key::from_slice(&bytes) {
            return key;
        }
    }
}

/// The root's own certificate.
pub fn root(key: &RsaPrivateKey, product: &str) -> Result<Vec<u8>, PlatformError> {
    let subject = format!("ARK-{product}");
    let key_info = authority_key(key)?;
    let profile = Profile { issuer: name(&subject)?, subject: name(&subject)?, extensions: authority()? };
    issue(key, profile, key_info, 1, &mut fresh_random()?)
}

/// The certificate of the key that signs endorsement keys.
pub fn signer(
    root: &Authority,
    key: &RsaPrivateKey,
    product: &str,
    kind: EndorsementKind,
) -> Result<Vec<u8>, PlatformError> {
    let subject = match kind {
        EndorsementKind::Vcek => format!("SEV-{product}"),
        EndorsementKind::Vlek => format!("SEV-VLEK-{product}"),
    };
    let profile = Profile { issuer: subject_of(root)?, subject: name(&subject)?, extensions: authority()? };
    issue(&root.key, profile, authority_key(key)?, 2, &mut fresh_random()?)
}

/// The certificate of the key that signs reports.
pub fn endorsement(
    signer: &Authority,
    chip: &Chip<'_>,
    random: &mut ChaCha20Rng,
) -> Result<Vec<u8>, PlatformError> {
    let subject = match chip.kind {
        EndorsementKind::Vcek => "SEV-VCEK",
        EndorsementKind::Vlek => "SEV-VLEK",
    };
    let key = SubjectPublicKeyInfoOwned::from_key(&chip.key.public_key()).map_err(making)?;
    let extensions = chip_extensions(chip).map_err(making)?;
    let profile = Profile { issuer: subject_of(signer)?, subject: name(subject)?, extensions };
    issue(&signer.key, profile, key, 3, random)
}

fn name(common: &str) -> Result<Name, PlatformError> {
    Name::from_str(&format!("CN={common},O=Test platform of snp-emulator,OU=Not AMD")).map_err(making)
}

fn subject_of(authority: &Authority) -> Result<Name, PlatformError> {
    let certificate = Certificate::from_der(&authority.certificate).map_err(making)?;
    Ok(certificate.tbs_certificate().subject().clone())
}

fn authority_key(key: &RsaPrivateKey) -> Result<SubjectPublicKeyInfoOwned, PlatformError> {
    let key = SigningKey::<Sha384>::new(key.clone());
    SubjectPublicKeyInfoOwned::from_key(&key.verifying_key()).map_err(making)
}

fn issue(
    key: &RsaPrivateKey,
    profile: Profile,
    subject_key: SubjectPublicKeyInfoOwned,
    serial: u8,
    random: &mut ChaCha20Rng,
) -> Result<Vec<u8>, PlatformError> {
    let year = |year| {
        let date = DateTime::new(year, 1, 1, 0, 0, 0).map_err(making)?;
        Ok::<_, PlatformError>(Time::GeneralTime(GeneralizedTime::from_date_time(date)))
    };
    let validity = Validity::new(year(YEARS.0)?, year(YEARS.1)?);
    let serial = SerialNumber::new(&[serial]).map_err(making)?;
    let builder = CertificateBuilder::new(profile, serial, validity, subject_key).map_err(making)?;
    let signer = SigningKey::<Sha384>::new(key.clone());
    let certificate = builder.build_with_rng::<_, rsa::pss::Signature, _>(&signer, random);
    certificate.map_err(making)?.to_der().map_err(making)
}

/// Names and extensions of one certificate.
struct Profile {
    issuer: Name,
    subject: Name,
    extensions: Vec<Extension>,
}

impl BuilderProfile for Profile {
    fn get_issuer(&self, _: &Name) -> Name {
        self.issuer.clone()
    }

    fn get_subject(&self) -> Name {
        self.subject.clone()
    }

    fn build_extensions(
        &self,
        _: SubjectPublicKeyInfoRef<'_>,
        _: SubjectPublicKeyInfoRef<'_>,
        _: &TbsCertificate,
    ) -> x509_cert::builder::Result<Vec<Extension>> {
        Ok(self.extensions.clone())
    }
}

fn authority() -> Result<Vec<Extension>, PlatformError> {
    let none = Name::default();
    let constraints = BasicConstraints { ca: true, path_len_constraint: None };
    let usage = KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign);
    let constraints = constraints.to_extension(&none, &[]).map_err(making)?;
    let usage = usage.to_extension(&none, &[]).map_err(making)?;
    Ok(vec![constraints, usage])
}

/// What AMD's certificates say about chip and TCB.
fn chip_extensions(chip: &Chip<'_>) -> Result<Vec<Extension>, der::Error> {
    let tcb = chip.identity.tcb;
    let mut extensions = vec![
        extension(STRUCTURE_VERSION, 0u8.to_der()?)?,
        extension(PRODUCT_NAME, Ia5String::new(chip.identity.product)?.to_der()?)?,
        extension(BOOT_LOADER, tcb.boot_loader.to_der()?)?,
        extension(TEE, tcb.tee.to_der()?)?,
        extension(SNP, tcb.snp.to_der()?)?,
        extension(MICROCODE, tcb.microcode.to_der()?)?,
    ];
    for reserved in RESERVED_SPL {
        extensions.push(extension(reserved, 0u8.to_der()?)?);
    }
    if let Some(fmc) = tcb.fmc {
        extensions.push(extension(FMC, fmc.to_der()?)?);
    }
    match chip.kind {
        // The id is not wrapped in a DER string of its own.
        EndorsementKind::Vcek => {
            let id = &chip.chip_id[..chip.identity.chip_id_bytes];
            extensions.push(extension(HARDWARE_ID, id.to_vec())?);
        }
        EndorsementKind::Vlek => extensions.push(extension(CLOUD_ID, Ia5String::new(CLOUD)?.to_der()?)?),
    }
    Ok(extensions)
}

fn extension(identifier: &str, value: Vec<u8>) -> Result<Extension, der::Error> {
    Ok(Extension {
        extn_id: ObjectIdentifier::new(identifier).map_err(der::Error::from)?,
        critical: false,
        extn_value: OctetString::new(value)?,
    })
}
