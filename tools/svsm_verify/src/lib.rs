//! The relying party's side: verifies an SNP report that vouches for a vTPM, and quotes rooted in it.
#![forbid(unsafe_code)]
