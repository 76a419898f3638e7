//! The vTPM's part of the evidence: keys, quote, event log, and secrets for the TPM.
//!
//! One file for each structure of the TPM 2.0 library specification. None of them decides: [`crate::verify()`] does.

pub mod credential;
pub mod event_log;
pub mod hash;
pub mod import;
pub mod protection;
pub mod public_area;
pub mod quote;
pub mod template;
