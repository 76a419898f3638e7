//! The relying party's side: verifies that an SNP report vouches for a vTPM, and that a quote is rooted in it.
//!
//! [`verify()`] judges [`Evidence`], which a guest sent, by a [`Policy`], which the relying party wrote, and gives a
//! [`ClaimsSet`] with one entry for each [`Check`]. It is offline and keeps no state; what it needs to know besides stands in
//! a [`Question`].
//!
//! ```
//! use std::time::Duration;
//! use svsm_verify::{Check, Evidence, Nonce, Policy, Question, verify};
//!
//! let policy = Policy::parse("version = 1").unwrap();
//! let now = Duration::from_secs(1_790_000_000);
//! let answer = verify(&Evidence::default(), &policy, &Question::new(Nonce::new([7; 64]), now));
//! assert!(!answer.is_verified());
//! assert!(answer.refusal(Check::ReportLayout).is_some());
//! ```
//!
//! # The chain of proof
//! A pinned AMD root signed the chain below it; that chain's last key signed the report; the report names the launched image
//! and, by its data, this nonce and this manifest; the manifest names the endorsement key that was born in the image's VMPL0;
//! a credential proves that the attestation key lives beside it; and the attestation key signed PCR values, to which the
//! event log leads.
//!
//! # Modules
//! [`evidence`] and [`policy`] read input, [`certificates`], [`manifest`] and [`vtpm`] hold what is in it, [`measurement`]
//! what it is compared with. `GUIDE.md` leads through the work step by step.
//!
//! Layouts follow AMD 56860 (report), AMD 57230 (certificates), AMD 58019 (manifest), and the TCG's TPM 2.0 library and PC
//! Client specifications. The `sev` crate judges in the tests, not here: it verifies a report that it wrote anew rather than
//! the bytes that came.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

pub mod certificates;
pub mod claims;
pub mod evidence;
pub mod fetch;
pub mod manifest;
pub mod measurement;
pub mod nonce;
pub mod policy;
pub mod reader;
pub mod refusal;
pub mod release;
pub mod results;
pub mod vtpm;

mod verify;

pub use claims::{Check, ClaimsSet, Outcome};
pub use evidence::Evidence;
pub use nonce::Nonce;
pub use policy::Policy;
pub use refusal::Refusal;
pub use verify::{Activation, Question, verify};
