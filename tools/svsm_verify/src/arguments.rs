//! The command line of `svsm-verify`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use svsm_verify::Nonce;
use svsm_verify::vtpm::hash::HashAlgorithm;

/// Verifies that an SNP report vouches for a vTPM, and that a quote is rooted in it. Offline.
///
/// Exit status: 0 verified (or done), 1 refused, 2 wrong usage, 3 a file that cannot be read, is malformed, or cannot be
/// written, 4 verified under a test root that the policy names and the command line does not.
#[derive(Parser)]
#[command(
    name = "svsm-verify",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub struct Arguments {
    /// What else to do.
    #[command(subcommand)]
    pub action: Option<Action>,
    /// A check.
    #[command(flatten)]
    pub check: Option<CheckArguments>,
}

/// What else to do.
#[derive(Subcommand)]
pub enum Action {
    /// Verify, then wrap a secret so that only the verified TPM can open it
    Release(Box<ReleaseArguments>),
    /// Challenge the guest to prove that its attestation key lives beside its endorsement key
    #[command(visible_alias = "make-credential")]
    Challenge(ChallengeArguments),
    /// Print which certificates and revocation list to download, and from where
    FetchCerts(FetchArguments),
    /// Write evidence as one JSON file
    Pack {
        /// The evidence
        #[arg(long)]
        evidence: PathBuf,
        /// The file to write
        #[arg(long)]
        output: PathBuf,
    },
}

/// What to check, and by what.
#[derive(Args)]
pub struct CheckArguments {
    /// The evidence: a directory, or a JSON file
    #[arg(long, value_name = "DIR|FILE")]
    pub evidence: PathBuf,
    /// What was sent to the guest for this session, exactly 64 bytes
    #[arg(long, value_name = "HEX")]
    pub nonce: Nonce,
    /// What is accepted
    #[arg(long, value_name = "policy.toml")]
    pub policy: PathBuf,
    /// More certificates, PEM or DER
    #[arg(long, value_name = "DIR")]
    pub certs: Option<PathBuf>,
    /// An image that is accepted; may be given more than once
    #[arg(long, value_name = "IMAGE.igvm")]
    pub image: Vec<PathBuf>,
    /// What `challenge` kept; the guest's answer is part of the evidence
    #[arg(long, value_name = "FILE")]
    pub challenge: Option<PathBuf>,
    /// A revocation list of AMD's, DER or PEM; may be given more than once
    #[arg(long, value_name = "FILE")]
    pub crl: Vec<PathBuf>,
    /// Trust this root too: for emulated machines, proves nothing about hardware
    #[arg(long, value_name = "FILE")]
    pub test_root: Option<PathBuf>,
    /// Judge certificates at this time instead of now, in seconds since 1970
    #[arg(long, value_name = "SECONDS")]
    pub time: Option<u64>,
    /// Print the machine-readable claims set
    #[arg(long)]
    pub json: bool,
    /// Write a page for people as well
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Write a signed attestation result (EAR) as JWT, or as CWT if the name ends in .cwt
    #[arg(long, value_name = "FILE", requires = "ear_key")]
    pub ear: Option<PathBuf>,
    /// The verifier's key for it: P-256, PKCS#8, PEM
    #[arg(long, value_name = "FILE")]
    pub ear_key: Option<PathBuf>,
}

/// What to release.
#[derive(Args)]
pub struct ReleaseArguments {
    /// What to check first.
    #[command(flatten)]
    pub check: CheckArguments,
    /// The secret; as a credential at most 32 bytes, sealed at most 128
    #[arg(long, value_name = "FILE")]
    pub secret: PathBuf,
    /// The credential to write; with --seal-to a directory for sealed.pub, sealed.dup and sealed.seed
    #[arg(long, value_name = "FILE|DIR")]
    pub output: PathBuf,
    /// Seal to the quoted values of these PCRs instead, for instance sha256:4,8,9
    #[arg(long, value_name = "BANK:PCRS")]
    pub seal_to: Option<SealTo>,
}

/// Whom to challenge.
#[derive(Args)]
pub struct ChallengeArguments {
    /// The evidence: its manifest and its ak.pub name the keys
    #[arg(long, value_name = "DIR|FILE")]
    pub evidence: PathBuf,
    /// The credential to write, for tpm2_activatecredential in the guest
    #[arg(long, value_name = "FILE")]
    pub output: PathBuf,
    /// What to keep for the check; whoever reads it can answer in the guest's place
    #[arg(long, value_name = "FILE")]
    pub keep: PathBuf,
}

/// Whose certificates.
#[derive(Args)]
pub struct FetchArguments {
    /// The evidence
    #[arg(long, value_name = "DIR|FILE")]
    pub evidence: PathBuf,
    /// The processor, where a report of version 2 does not name it
    #[arg(long, value_parser = ["Milan", "Genoa", "Turin"])]
    pub product: Option<String>,
}

/// PCRs of one bank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealTo {
    /// The bank.
    pub bank: HashAlgorithm,
    /// The PCRs.
    pub indices: Vec<u32>,
}

impl std::str::FromStr for SealTo {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (bank, list) = text.split_once(':').ok_or("PCRs are written like sha256:4,8,9")?;
        let bank = HashAlgorithm::of_name(bank).ok_or("banks are sha1, sha256, sha384 and sha512")?;
        let indices: Result<Vec<u32>, _> = list.split(',').map(str::parse).collect();
        match indices {
            Ok(indices) if indices.iter().all(|index| *index < 24) => Ok(Self { bank, indices }),
            _ => Err("PCRs are numbers below 24, with commas between them"),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn pcrs_to_seal_to_are_a_bank_and_numbers() {
        assert_eq!("sha256:4,8".parse(), Ok(SealTo { bank: HashAlgorithm::Sha256, indices: vec![4, 8] }));
        for wrong in ["4,8", "md5:1", "sha256:24", "sha256:", "sha256:-1"] {
            assert!(wrong.parse::<SealTo>().is_err(), "{wrong}");
        }
    }
}
