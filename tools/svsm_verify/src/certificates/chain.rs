//! The path from the certificate of a report's key to a root that the relying party trusts.

use snp_abi::report::{AttestationReport, SigningKey};
use snp_abi::tcb::Generation;

use super::{Certificate, Endorsed, InvalidCertificate, roots};

/// A path that was checked: the root signed the intermediate, the intermediate signed the leaf, and each may.
#[derive(Debug, Clone)]
pub struct Chain {
    /// VCEK or VLEK.
    pub leaf: Certificate,
    /// What it certifies.
    pub endorsed: Endorsed,
    /// ASK or ASVK.
    pub intermediate: Certificate,
    /// ARK.
    pub root: Certificate,
    /// Which processors the chain is for.
    pub generation: Generation,
    /// Whether the root is a test root, which proves nothing about hardware.
    pub is_under_test_root: bool,
}

/// Why there is no path to a trusted root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoChain {
    /// The report is not signed, or by a key that has no certificates.
    #[error("the report names no key that could have signed it")]
    NoSigningKey,
    /// The certificate of the report's key is missing.
    #[error("the evidence has no {0} certificate; `svsm-verify fetch-certs` says where AMD has it")]
    NoLeaf(&'static str),
    /// The leaf's issuer is missing.
    #[error("the evidence has no certificate `{0}` that could have signed the report's key")]
    NoIntermediate(String),
    /// The issuer may not sign certificates.
    #[error("`{0}` is no certification authority")]
    NoAuthority(String),
    /// An authority may not have another one below it.
    #[error("`{0}` may not have authorities below it")]
    PathLength(String),
    /// The report's key has a certificate that is for something else.
    #[error("the certificate `{0}` is not for signing reports")]
    KeyUsage(String),
    /// Whoever does not understand a critical extension must refuse the certificate.
    #[error("`{0}` has the critical extension {1}, which is not understood")]
    CriticalExtension(String, String),
    /// A signature is wrong.
    #[error("`{subject}` is not signed by `{issuer}`")]
    NotSigned {
        /// Whose signature is wrong.
        subject: String,
        /// Who should have made it.
        issuer: String,
    },
    /// The chain ends elsewhere.
    #[error("the chain ends at `{0}`, which is none of the pinned roots")]
    UnpinnedRoot(String),
    /// Product name and root contradict each other, or a test chain names no product.
    #[error("the certificate `{0}` is for another product than its root, or for none that is known")]
    Product(String),
    /// A built-in certificate cannot be read.
    #[error("a built-in certificate is damaged: {0}")]
    BuiltIn(#[from] InvalidCertificate),
}

/// The certificate's name in messages and files.
#[must_use]
pub const fn leaf_name(key: SigningKey) -> &'static str {
    match key {
        SigningKey::Vcek => "VCEK",
        SigningKey::Vlek => "VLEK",
        SigningKey::None => "signing",
    }
}

/// Roots that are trusted beside AMD's, for tests: they prove nothing about hardware.
#[derive(Debug, Clone, Copy, Default)]
pub struct TestRoots<'a> {
    /// This certificate.
    pub named: Option<&'a Certificate>,
    /// Those of the evidence that have these fingerprints.
    pub fingerprints: &'a [crate::policy::Hex],
}

/// Finds the path for a report.
///
/// Several certificates may claim to be for its key: those of older TCBs, or what somebody put beside it. Those of the report's chip and TCB are
/// tried first, and the first whose path holds is taken. If there is none, the answer is about the first of the best.
///
/// # Errors
/// [`NoChain`] says how far the path reached.
pub fn find(
    certificates: &[Certificate],
    report: &AttestationReport,
    test_roots: TestRoots<'_>,
) -> Result<Chain, NoChain> {
    let key = report.key_information.signing_key().unwrap_or(SigningKey::None);
    if key == SigningKey::None {
        return Err(NoChain::NoSigningKey);
    }
    let mut leaves: Vec<_> = certificates.iter().filter(|certificate| is_leaf(certificate, key)).collect();
    leaves.sort_by_key(|certificate| std::cmp::Reverse(fitness(certificate, report)));
    let best = leaves.first().map(|certificate| fitness(certificate, report));
    let trust = Trust::new(certificates, test_roots)?;
    let mut first = None;
    for leaf in leaves.into_iter().take_while(|leaf| Some(fitness(leaf, report)) == best) {
        match trust.path(leaf, key) {
            Ok(chain) => return Ok(chain),
            Err(reason) => first = first.or(Some(reason)),
        }
    }
    Err(first.unwrap_or(NoChain::NoLeaf(leaf_name(key))))
}

/// Whether the certificate is for a key of this kind.
fn is_leaf(certificate: &Certificate, key: SigningKey) -> bool {
    matches!(
        (certificate.endorsed(), key),
        (Some(Endorsed::Chip(_)), SigningKey::Vcek) | (Some(Endorsed::Cloud(_)), SigningKey::Vlek)
    )
}

/// What [`fitness`] is where chip and TCB are the report's.
pub const PERFECT: u8 = 0b11;

/// How well a certificate's claims suit the report: chip and TCB, the chip alone, the TCB alone, neither.
#[must_use]
pub fn fitness(certificate: &Certificate, report: &AttestationReport) -> u8 {
    let is_chip = match certificate.endorsed() {
        Some(Endorsed::Chip(number)) => is_number_of(&number, &report.chip_id),
        Some(Endorsed::Cloud(_)) => true,
        None => false,
    };
    let is_tcb = certificate
        .generation()
        .is_some_and(|generation| certificate.tcb(generation) == Some(report.reported_tcb.parts(generation)));
    u8::from(is_chip) << 1 | u8::from(is_tcb)
}

/// Whether a chip's number, of 8 or of 64 bytes, is the one that a report has; zeros follow the shorter one there.
#[must_use]
pub fn is_number_of(number: &[u8], of_report: &[u8]) -> bool {
    of_report.starts_with(number) && of_report.iter().skip(number.len()).all(|byte| *byte == 0)
}

/// The certificates that a path may be made of.
struct Trust {
    intermediates: Vec<Certificate>,
    /// AMD's, in the order of the products, then those of tests.
    roots: Vec<Certificate>,
}

impl Trust {
    fn new(certificates: &[Certificate], test_roots: TestRoots<'_>) -> Result<Self, NoChain> {
        let mut roots = Vec::new();
        let mut built_in = Vec::new();
        for product in roots::PRODUCTS {
            roots.push(product.root()?);
            built_in.push(product.intermediate()?);
        }
        roots.extend(test_roots.named.cloned());
        let is_named = |certificate: &&Certificate| {
            test_roots.fingerprints.iter().any(|listed| listed.0 == certificate.fingerprint())
        };
        roots.extend(certificates.iter().filter(is_named).cloned());
        // A root signs no report's key itself.
        let is_below = |certificate: &Certificate| {
            !certificate.names_as_issuer(certificate)
                && !roots.iter().any(|root| root.der() == certificate.der())
        };
        let intermediates = certificates.iter().cloned().chain(built_in).filter(is_below).collect();
        Ok(Self { intermediates, roots })
    }

    /// The path from a leaf to a root.
    fn path(&self, leaf: &Certificate, key: SigningKey) -> Result<Chain, NoChain> {
        let endorsed = leaf.endorsed().ok_or(NoChain::NoLeaf(leaf_name(key)))?;
        let intermediate = signer(leaf, &self.intermediates, || NoChain::NoIntermediate(leaf.issuer()))?;
        let root = signer(intermediate, &self.roots, || NoChain::UnpinnedRoot(intermediate.issuer()))?;
        for certificate in [leaf, intermediate, root] {
            if let Some(extension) = certificate.unknown_critical() {
                return Err(NoChain::CriticalExtension(certificate.subject(), extension));
            }
        }
        if !leaf.is_for_reports() {
            return Err(NoChain::KeyUsage(leaf.subject()));
        }
        if !root.allows_path_of(1) {
            return Err(NoChain::PathLength(root.subject()));
        }
        let product = self.roots.iter().position(|candidate| candidate.der() == root.der());
        let of_root = product.and_then(|index| roots::PRODUCTS.get(index)).map(|product| product.generation);
        let generation = match (of_root, leaf.generation()) {
            (Some(root), Some(leaf)) if root == leaf => root,
            (None, Some(leaf)) => leaf,
            _ => return Err(NoChain::Product(leaf.subject())),
        };
        Ok(Chain {
            leaf: leaf.clone(),
            endorsed,
            intermediate: intermediate.clone(),
            root: root.clone(),
            generation,
            is_under_test_root: of_root.is_none(),
        })
    }
}

/// The certificate among `candidates` that signed `subject`.
fn signer<'a>(
    subject: &Certificate,
    candidates: &'a [Certificate],
    none: impl Fn() -> NoChain,
) -> Result<&'a Certificate, NoChain> {
    let named = || candidates.iter().filter(|candidate| subject.names_as_issuer(candidate));
    let first = named().next().ok_or_else(none)?;
    let mut authorities = named().filter(|candidate| candidate.is_authority()).peekable();
    if authorities.peek().is_none() {
        return Err(NoChain::NoAuthority(first.subject()));
    }
    authorities
        .find(|candidate| candidate.signed(subject))
        .ok_or_else(|| NoChain::NotSigned { subject: subject.subject(), issuer: first.subject() })
}
