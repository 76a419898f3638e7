//! What silicon, PSP and host agreed on for SEV-SNP: layouts and numbers, both directions.
//!
//! Firmware and emulated machine use the same types, so that a field exists once. Nothing here acts: no
//! instruction is executed, no policy is decided, no memory outside the arguments is touched. Decoding accepts
//! hostile bytes and answers with a value or an error, never with a panic.
//!
//! Chapters follow the documents: the GHCB specification (AMD 56421) in [`ghcb`], the SNP firmware ABI
//! (AMD 56860) in [`secrets`], [`cpuid`], [`guest_message`], [`report`], [`id_block`] and [`launch`], volume 2
//! of the architecture manual (AMD 24593) in [`rmp`], [`vmsa`] and [`msr`], the SVSM specification (AMD 58019)
//! in [`svsm`], the guest's boot contract in [`linux`].
#![no_std]
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

// All structures are read and written in place with native integers.
const _: () = assert!(cfg!(target_endian = "little"), "the SNP ABI is little-endian");

mod wire_enum;

pub mod acpi;
pub mod address;
pub mod certificates;
pub mod cpuid;
pub mod ghcb;
pub mod guest_message;
pub mod guid;
pub mod id_block;
pub mod igvm_parameters;
pub mod launch;
pub mod linux;
pub mod msr;
pub mod policy;
pub mod psp_status;
pub mod report;
pub mod rmp;
pub mod secrets;
pub mod signature;
pub mod svsm;
pub mod tcb;
pub mod vmsa;
