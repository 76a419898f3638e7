//! Why a check failed. Each reason is a value, so that services and tests need not read sentences.

use snp_abi::report::InvalidReport;
use snp_abi::tcb::{Generation, TcbParts};

use crate::certificates::chain::NoChain;
use crate::certificates::revocation::Revocation;
use crate::claims::Check;
use crate::manifest::InvalidManifest;
use crate::policy::MinimumFirmware;
use crate::reader::{Malformed, hex};
use crate::vtpm::credential::NotActivated;
use crate::vtpm::hash::HashAlgorithm;
use crate::vtpm::quote::{InvalidQuote, InvalidSignature};

/// A reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Another check had to pass first.
    #[error("not judged, because `{}` failed", .0.name())]
    NotJudged(Check),
    /// The evidence lacks a part that the policy demands.
    #[error("the evidence has no {0}")]
    Missing(&'static str),
    /// A part is longer than anything genuine.
    #[error("the {0} cannot be read: {1}")]
    Malformed(&'static str, Malformed),

    /// No report.
    #[error("{}", invalid_report(.0))]
    Report(InvalidReport),
    /// No path to a root.
    #[error(transparent)]
    Chain(#[from] NoChain),
    /// A revocation list does not clear the chain.
    #[error(transparent)]
    Revocation(#[from] Revocation),
    /// Something that has no meaning in this version is set.
    #[error("the {0} has something set that has no meaning in its version")]
    Reserved(&'static str),
    /// A certificate is not valid at the time of the check.
    #[error("the certificate `{0}` is not valid at the time of this check")]
    Expired(String),
    /// The report was changed, or another key signed it.
    #[error("the report was changed, or signed by another key than the certificate's")]
    ReportSignature,
    /// The policy does not accept this kind of key.
    #[error("the policy does not accept reports signed by a {0}")]
    SigningKey(&'static str),
    /// The host turned signing off.
    #[error("the host masked the chip's key (MASK_CHIP_KEY): the report's signature means nothing")]
    MaskedChipKey,
    /// The policy does not accept this product.
    #[error("the policy does not accept {0:?}")]
    Product(Generation),
    /// The report is from another processor than the certificates.
    #[error("the report is from {0:?}, the certificates are for {1:?}")]
    OtherProduct(Option<Generation>, Generation),
    /// The certificate does not say for which TCB its key was derived.
    #[error("the certificate does not say for which TCB its key was derived")]
    CertificateWithoutTcb,
    /// Report and certificate name different TCBs.
    #[error("the report's TCB is {}, the certificate's {}", tcb(.0), tcb(.1))]
    CertifiedTcb(TcbParts, TcbParts),
    /// The policy names no minimum.
    #[error("the policy has no [tcb.{0:?}], so nothing says what is new enough")]
    NoMinimumTcb(Generation),
    /// The TCB is older than the policy's minimum.
    #[error("the {0} TCB is {found}, older than the minimum {minimum}", found = tcb(.1), minimum = tcb(.2))]
    OldTcb(&'static str, TcbParts, TcbParts),
    /// The platform has bits that nobody knows here.
    #[error(
        "the platform information has the unknown bits {0:#x}; `allow_unknown` in [platform] lets them pass"
    )]
    UnknownPlatform(u64),
    /// A bit of the platform information is not as demanded.
    #[error("the platform's `{0}` is {set}", set = if *.1 { "not set" } else { "set" })]
    Platform(&'static str, bool),
    /// The report's layout is too old to hold what is asked.
    #[error("the report has version {0}, older than {1}")]
    OldReport(u32, u32),
    /// The security processor's firmware is too old.
    #[error("the security processor's firmware, running or committed, is {0}, older than {1}")]
    OldFirmware(MinimumFirmware, MinimumFirmware),
    /// The host could go back to older firmware.
    #[error("what runs on the security processor is not committed: the host can go back to older firmware")]
    NotCommitted,
    /// Mitigations are missing.
    #[error("the {0} mitigation vector is {1:#x}, without bits of {2:#x}")]
    Mitigations(&'static str, u64, u64),
    /// The host hides the chip.
    #[error("the host masked the chip's number (MASK_CHIP_ID); `allow_masked_chip_id` lets that pass")]
    MaskedChipId,
    /// The report's chip is not the certificate's.
    #[error("the report is from chip {}, the certificate for chip {}", short(.0), short(.1))]
    OtherChip(Vec<u8>, Vec<u8>),
    /// The policy does not list the chip or the cloud.
    #[error("the policy does not list {0}")]
    NotListed(String),

    /// The policy word is not one that the PSP accepts.
    #[error("the guest policy {0:#x} has bits that have no meaning")]
    GuestPolicyBits(u64),
    /// The host may read the guest's memory.
    #[error("the guest policy {0:#x} lets the host debug the guest, which reveals its memory")]
    DebugAllowed(u64),
    /// A migration agent may take the guest along.
    #[error("the guest policy {0:#x} lets a migration agent move the guest")]
    MigrationAllowed(u64),
    /// Some other demand on the guest policy is not met.
    #[error("the guest policy {0:#x} {1}")]
    GuestPolicy(u64, &'static str),
    /// The image asks for another policy.
    #[error("the guest policy is {0:#x}, and the image asks for {1:#x}")]
    OtherGuestPolicy(u64, u64),
    /// Another level asked.
    #[error("the report was asked for at VMPL {0}, and not {1}")]
    Vmpl(u32, u32),
    /// Nothing says which image is expected.
    #[error("nothing says which image is expected: give --image, or launch_digests in the policy")]
    NoExpectedMeasurement,
    /// Another image, or another configuration of it.
    #[error("the launch digest is {found}, and none of the {1} that are accepted", found = hex(.0))]
    Measurement(Vec<u8>, usize),
    /// ID block or keys are others.
    #[error("the {0} is {found}, which the policy does not accept", found = hex(.1))]
    Identity(&'static str, Vec<u8>),
    /// The image is too old.
    #[error("the guest's security version is {0}, older than {1}")]
    OldGuest(u32, u32),
    /// The host's data is other.
    #[error("the host's data is {}", hex(.0))]
    HostData(Vec<u8>),

    /// The report answers another nonce; a replay, or another session.
    #[error("the report is about another nonce, {}", short(.0))]
    OtherNonce(Vec<u8>),
    /// The report is about another manifest, as another VM's report would be.
    #[error("the report is about another manifest: the manifest was changed, or the report is another VM's")]
    OtherManifest,
    /// The report's data is not what the policy says.
    #[error("the report's data is {}", short(.0))]
    ReportData(Vec<u8>),
    /// The manifest names no key.
    #[error("manifest: {0}")]
    Manifest(#[from] InvalidManifest),
    /// The policy does not accept this version.
    #[error("the policy does not accept a manifest of version {0}")]
    ManifestVersion(u32),
    /// The endorsement key of the evidence is not the manifest's.
    #[error("the evidence's endorsement key is not the one that the manifest names")]
    OtherEndorsementKey,
    /// A key has the wrong attributes.
    #[error("the {0} is no {1} that its TPM made and never lets go")]
    KeyAttributes(&'static str, &'static str),
    /// SHA-1 names can be made to collide.
    #[error("the attestation key's name is a SHA-1, which two keys can share")]
    WeakName,
    /// Nobody challenged the guest.
    #[error("no challenge was given: make one with `svsm-verify challenge`, and check with --challenge")]
    NoChallenge,
    /// The challenge was not met.
    #[error(transparent)]
    NotActivated(#[from] NotActivated),
    /// No quote.
    #[error("quote: {0}")]
    Quote(#[from] InvalidQuote),
    /// The quote's signature is wrong.
    #[error("quote signature: {0}")]
    QuoteSignature(#[from] InvalidSignature),
    /// The quote answers another nonce.
    #[error("the quote is about another nonce, {}", short(.0))]
    ReplayedQuote(Vec<u8>),
    /// The PCR values are not those of the quote.
    #[error("the PCR values are not those that were quoted")]
    PcrDigest,
    /// The log has no digests for a bank that was quoted.
    #[error("the event log has no digests for the bank {bank}, which was quoted", bank = .0.name())]
    BankNotLogged(HashAlgorithm),
    /// The log leads to another value.
    #[error("the event log does not lead to {bank}:{1}: an entry was removed, added or changed", bank = .0.name())]
    EventLog(HashAlgorithm, u32),
    /// No bank of the quote holds the PCRs that must be quoted.
    #[error(
        "the quote does not hold PCR {1} in {bank}; the policy asks for all of its PCRs in one of its banks",
        bank = .0.map_or("a bank of the policy", HashAlgorithm::name)
    )]
    PcrNotQuoted(Option<HashAlgorithm>, u32),
    /// The policy asks about a PCR that is not quoted.
    #[error("the quote does not cover {bank}:{1}", bank = .0.name())]
    NotQuoted(HashAlgorithm, u32),
    /// A PCR has a value that the policy does not list.
    #[error("{bank}:{1} is {found}, which the policy does not accept", bank = .0.name(), found = hex(.2))]
    PcrValue(HashAlgorithm, u32, Vec<u8>),
    /// What the policy demands was not measured at that place.
    #[error("{bank}:{1} {2}", bank = .0.name())]
    Event(HashAlgorithm, u32, &'static str),
}

fn invalid_report(error: &InvalidReport) -> String {
    match error {
        InvalidReport::Length(length) => format!("the report has {length} bytes, not 1184"),
        InvalidReport::Version(version) => format!("the report has version {version}, not 2 to 5"),
        InvalidReport::SignatureAlgorithm(number) => {
            format!("the report's signature algorithm is {number}, not ECDSA P-384 with SHA-384")
        }
    }
}

/// A TCB in a few words.
#[must_use]
pub fn tcb(parts: &TcbParts) -> String {
    let TcbParts { fmc, boot_loader, tee, snp, microcode } = parts;
    let fmc = fmc.map_or(String::new(), |fmc| format!("fmc {fmc}, "));
    format!("({fmc}boot loader {boot_loader}, tee {tee}, snp {snp}, microcode {microcode})")
}

/// The beginning of bytes in hexadecimal.
fn short(bytes: &[u8]) -> String {
    match bytes.get(..16) {
        Some(start) if bytes.len() > 16 => format!("{}…", hex(start)),
        _ => hex(bytes),
    }
}
