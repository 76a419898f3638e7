//! A test root, what it signs, and keys for reports, in the shape of AMD's certificates.

use std::str::FromStr;
use std::sync::OnceLock;
use std::time::Duration;

use const_oid::ObjectIdentifier;
use der::asn1::{BitString, Ia5String, OctetString, UtcTime};
use der::{Any, Decode, Encode};
use getrandom::SysRng;
use p384::ecdsa::SigningKey;
use rand_core::UnwrapErr;
use rsa::pkcs1::EncodeRsaPublicKey;
use rsa::pss::SigningKey as PssKey;
use rsa::signature::{RandomizedSigner, SignatureEncoding};
use rsa::{RsaPrivateKey, RsaPublicKey};
use sha2::Sha384;
use svsm_verify::certificates::Certificate;
use x509_cert::builder::profile::BuilderProfile;
use x509_cert::builder::{Builder, CertificateBuilder};
use x509_cert::certificate::{Rfc5280, TbsCertificate, Version};
use x509_cert::crl::{CertificateList, RevokedCert, TbsCertList};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, KeyUsages};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{
    AlgorithmIdentifier, DynSignatureAlgorithmIdentifier, SubjectPublicKeyInfoOwned, SubjectPublicKeyInfoRef,
};
use x509_cert::time::{Time, Validity};

/// The processor of a test.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Product {
    Milan,
    Genoa,
    Turin,
}

impl Product {
    fn name(self) -> &'static str {
        match self {
            Self::Milan => "Milan-B1",
            Self::Genoa => "Genoa-B1",
            Self::Turin => "Turin-C1",
        }
    }

    /// Bytes of a chip's number.
    pub fn chip_bytes(self) -> usize {
        if self == Self::Turin { 8 } else { 64 }
    }
}

/// What a report key's certificate says.
#[derive(Clone)]
pub struct Endorsement {
    pub product: Product,
    /// The chip's number, for a VCEK.
    pub chip: Option<Vec<u8>>,
    /// The cloud's name, for a VLEK.
    pub cloud: Option<String>,
    /// FMC, boot loader, TEE, SNP, microcode.
    pub tcb: [u8; 5],
    pub not_after: Duration,
}

impl Endorsement {
    pub fn chip(product: Product) -> Self {
        Self {
            product,
            chip: Some(vec![0xC1; product.chip_bytes()]),
            cloud: None,
            tcb: [2, 7, 0, 22, 209],
            not_after: Duration::from_secs(2_000_000_000),
        }
    }

    pub fn cloud(product: Product, name: &str) -> Self {
        Self { chip: None, cloud: Some(name.to_owned()), ..Self::chip(product) }
    }

    /// The key with which the report is signed.
    pub fn key(&self) -> &'static SigningKey {
        static KEY: OnceLock<SigningKey> = OnceLock::new();
        KEY.get_or_init(|| SigningKey::from_slice(&[0x5A; 48]).unwrap())
    }

    fn public(&self) -> SubjectPublicKeyInfoOwned {
        let point = self.key().verifying_key().to_sec1_point(false);
        SubjectPublicKeyInfoOwned {
            algorithm: AlgorithmIdentifier {
                oid: ObjectIdentifier::new_unwrap("1.2.840.10045.2.1"),
                parameters: Some(Any::from(ObjectIdentifier::new_unwrap("1.3.132.0.34"))),
            },
            subject_public_key: BitString::from_bytes(point.as_bytes()).unwrap(),
        }
    }

    fn extensions(&self) -> Vec<Extension> {
        let number = |number: u8| number.to_der().unwrap();
        let text = |text: &str| Ia5String::new(text).unwrap().to_der().unwrap();
        let [fmc, boot_loader, tee, snp, microcode] = self.tcb;
        let mut values = vec![
            ("1.3.6.1.4.1.3704.1.1", number(1)),
            ("1.3.6.1.4.1.3704.1.2", text(self.product.name())),
            ("1.3.6.1.4.1.3704.1.3.1", number(boot_loader)),
            ("1.3.6.1.4.1.3704.1.3.2", number(tee)),
            ("1.3.6.1.4.1.3704.1.3.3", number(snp)),
            ("1.3.6.1.4.1.3704.1.3.8", number(microcode)),
        ];
        if self.product == Product::Turin {
            values.push(("1.3.6.1.4.1.3704.1.3.9", number(fmc)));
        }
        values.extend(self.chip.iter().map(|chip| ("1.3.6.1.4.1.3704.1.4", chip.clone())));
        values.extend(self.cloud.iter().map(|cloud| ("1.3.6.1.4.1.3704.1.5", text(cloud))));
        values.into_iter().map(|(oid, value)| extension(oid, false, &value)).collect()
    }
}

/// A root with an intermediate.
pub struct Authority {
    pub root: Certificate,
    pub intermediate: Certificate,
    intermediate_key: PssKey<Sha384>,
    intermediate_name: Name,
    root_key: PssKey<Sha384>,
    root_name: Name,
}

/// What a test's revocation list says.
pub struct List {
    /// Serial numbers; every certificate here has 1.
    pub revoked: Vec<u32>,
    pub this_update: Duration,
    pub next_update: Option<Duration>,
    /// Has an extension that nobody understands, and must.
    pub has_critical_extension: bool,
}

impl Authority {
    /// The one that the tests trust.
    pub fn first() -> &'static Self {
        static FIRST: OnceLock<Authority> = OnceLock::new();
        FIRST.get_or_init(|| Self::new("ARK-Test", "SEV-Test", true))
    }

    /// One with the same names and other keys.
    pub fn impostor() -> &'static Self {
        static IMPOSTOR: OnceLock<Authority> = OnceLock::new();
        IMPOSTOR.get_or_init(|| Self::new("ARK-Test", "SEV-Test", true))
    }

    /// One with other names.
    pub fn other() -> &'static Self {
        static OTHER: OnceLock<Authority> = OnceLock::new();
        OTHER.get_or_init(|| Self::new("ARK-Other", "SEV-Other", true))
    }

    /// One whose intermediate may not sign certificates.
    pub fn with_powerless_intermediate() -> &'static Self {
        static POWERLESS: OnceLock<Authority> = OnceLock::new();
        POWERLESS.get_or_init(|| Self::new("ARK-Test", "SEV-Powerless", false))
    }

    fn new(root: &str, intermediate: &str, may_sign: bool) -> Self {
        let (root_key, intermediate_key) = (rsa_key(), rsa_key());
        let (root_name, intermediate_name) = (name(root), name(intermediate));
        let far = Duration::from_secs(2_100_000_000);
        let may = |ca: bool| {
            let usage = if ca { KeyUsages::KeyCertSign } else { KeyUsages::DigitalSignature };
            let constraints = BasicConstraints { ca, path_len_constraint: None };
            vec![
                extension("2.5.29.19", true, &constraints.to_der().unwrap()),
                extension("2.5.29.15", true, &KeyUsage(usage.into()).to_der().unwrap()),
            ]
        };
        let sign = |subject: &Name, key: &PssKey<Sha384>, ca| {
            let shape = Shape { issuer: root_name.clone(), subject: subject.clone(), extensions: may(ca) };
            certificate(shape, rsa_public(key), far, &root_key)
        };
        Self {
            root: sign(&root_name, &root_key, true),
            intermediate: sign(&intermediate_name, &intermediate_key, may_sign),
            intermediate_key,
            intermediate_name,
            root_key,
            root_name,
        }
    }

    /// A revocation list of the root's, in DER.
    pub fn revoke(&self, list: &List) -> Vec<u8> {
        let revoked = list.revoked.iter().map(|serial| RevokedCert {
            serial_number: SerialNumber::from(*serial),
            revocation_date: time(list.this_update),
            crl_entry_extensions: None,
        });
        let critical = list.has_critical_extension.then(|| vec![extension("1.2.3.4", true, &[5, 0])]);
        let tbs = TbsCertList::<Rfc5280> {
            version: Version::V2,
            signature: self.root_key.signature_algorithm_identifier().unwrap(),
            issuer: self.root_name.clone(),
            this_update: time(list.this_update),
            next_update: list.next_update.map(time),
            revoked_certificates: Some(revoked.collect()),
            crl_extensions: critical,
        };
        let signature = self.root_key.sign_with_rng(&mut UnwrapErr(SysRng), &tbs.to_der().unwrap());
        let signature_algorithm = tbs.signature.clone();
        let signature = BitString::from_bytes(&signature.to_vec()).unwrap();
        CertificateList::<Rfc5280> { tbs_cert_list: tbs, signature_algorithm, signature }.to_der().unwrap()
    }

    /// A certificate for a report key by the root itself, without an intermediate.
    pub fn certify_by_root(&self, endorsement: &Endorsement) -> Certificate {
        let extensions = endorsement.extensions();
        let shape = Shape { issuer: self.root_name.clone(), subject: name("SEV-VCEK"), extensions };
        certificate(shape, endorsement.public(), endorsement.not_after, &self.root_key)
    }

    /// A certificate for a report key with one more extension.
    pub fn certify_with(
        &self,
        endorsement: &Endorsement,
        oid: &str,
        critical: bool,
        value: &[u8],
    ) -> Certificate {
        let mut extensions = endorsement.extensions();
        extensions.push(extension(oid, critical, value));
        let shape = Shape { issuer: self.intermediate_name.clone(), subject: name("SEV-VCEK"), extensions };
        certificate(shape, endorsement.public(), endorsement.not_after, &self.intermediate_key)
    }

    /// The certificate for a report key.
    pub fn certify(&self, endorsement: &Endorsement) -> Certificate {
        let subject = name(if endorsement.chip.is_some() { "SEV-VCEK" } else { "SEV-VLEK" });
        let shape =
            Shape { issuer: self.intermediate_name.clone(), subject, extensions: endorsement.extensions() };
        certificate(shape, endorsement.public(), endorsement.not_after, &self.intermediate_key)
    }
}

/// Names and extensions of a certificate; the builder adds nothing of its own.
struct Shape {
    issuer: Name,
    subject: Name,
    extensions: Vec<Extension>,
}

impl BuilderProfile for Shape {
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

fn certificate(
    shape: Shape,
    key: SubjectPublicKeyInfoOwned,
    not_after: Duration,
    signer: &PssKey<Sha384>,
) -> Certificate {
    let validity = Validity::new(time(Duration::from_secs(1_600_000_000)), time(not_after));
    let builder = CertificateBuilder::new(shape, SerialNumber::from(1_u32), validity, key).unwrap();
    let built = builder.build_with_rng::<_, rsa::pss::Signature, _>(signer, &mut UnwrapErr(SysRng)).unwrap();
    Certificate::from_der(&built.to_der().unwrap()).unwrap()
}

fn time(since: Duration) -> Time {
    Time::UtcTime(UtcTime::from_unix_duration(since).unwrap())
}

fn extension(oid: &str, critical: bool, value: &[u8]) -> Extension {
    let extn_value = OctetString::new(value).unwrap();
    Extension { extn_id: ObjectIdentifier::new_unwrap(oid), critical, extn_value }
}

fn name(common: &str) -> Name {
    Name::from_str(&format!("CN={common},O=Test,C=US")).unwrap()
}

fn rsa_key() -> PssKey<Sha384> {
    PssKey::new(RsaPrivateKey::new(&mut UnwrapErr(SysRng), 2048).unwrap())
}

fn rsa_public(key: &PssKey<Sha384>) -> SubjectPublicKeyInfoOwned {
    let public = RsaPublicKey::from(key.as_ref());
    let key = public.to_pkcs1_der().unwrap();
    SubjectPublicKeyInfoOwned {
        algorithm: AlgorithmIdentifier {
            oid: ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1"),
            parameters: Some(Any::from_der(&[5, 0]).unwrap()),
        },
        subject_public_key: BitString::from_bytes(key.as_bytes()).unwrap(),
    }
}
