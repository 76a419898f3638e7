//! The path from the certificate of a report's key to a root that the relying party trusts.

use snp_abi::report::SigningKey;
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

/// Finds the path for a report that says that it was signed by `key`.
///
/// # Errors
/// [`NoChain`] says how far the path reached.
pub fn find(
    certificates: &[Certificate],
    key: SigningKey,
    test_root: Option<&Certificate>,
) -> Result<Chain, NoChain> {
    let is_wanted = |certificate: &&Certificate| {
        matches!(
            (certificate.endorsed(), key),
            (Some(Endorsed::Chip(_)), SigningKey::Vcek) | (Some(Endorsed::Cloud(_)), SigningKey::Vlek)
        )
    };
    if key == SigningKey::None {
        return Err(NoChain::NoSigningKey);
    }
    let leaf = certificates.iter().find(is_wanted).ok_or(NoChain::NoLeaf(leaf_name(key)))?;
    let endorsed = leaf.endorsed().ok_or(NoChain::NoLeaf(leaf_name(key)))?;
    let mut intermediates = certificates.to_vec();
    for product in roots::PRODUCTS {
        intermediates.push(product.intermediate()?);
    }
    let intermediate = signer(leaf, &intermediates, || NoChain::NoIntermediate(leaf.issuer()))?;
    let mut pinned = Vec::new();
    for product in roots::PRODUCTS {
        pinned.push(product.root()?);
    }
    let built_in = pinned.len();
    pinned.extend(test_root.cloned());
    let root = signer(intermediate, &pinned, || NoChain::UnpinnedRoot(intermediate.issuer()))?;
    let product = pinned.iter().take(built_in).position(|candidate| candidate.der() == root.der());
    let of_root = product.and_then(|index| roots::PRODUCTS.get(index)).map(|product| product.generation);
    let generation = match (of_root, leaf.generation()) {
        (Some(root), Some(leaf)) if root == leaf => root,
        (Some(root), None) => root,
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
