//! The SVSM services that a guest calls: decoded once, looked up in one table, judged against the page
//! ledger, carried out through [`Machine`].
//!
//! Source: AMD 58019 (SVSM specification). The firmware implements [`Machine`] on hardware, the tests on the
//! emulator's model. A request either succeeds, or is refused and leaves no trace; what only a broken host or
//! processor can cause is [`Fatal`].
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

extern crate alloc;

mod attestation;
mod call_table;
mod core_calls;
mod failure;
mod guest_memory;
mod ledger;
mod machine;
pub mod measurement;
mod psp_channel;
mod pvalidate;
mod registry;
mod reset;
mod serve;
mod vtpm;

pub use call_table::{Call, PROTOCOLS, Protocol};
pub use failure::{Failure, Fatal, Refusal};
pub use ledger::{Claim, ClaimError, GuestAddress, GuestPage, Ledger, OutOfMemory, PageState};
pub use machine::{AccessChange, GuestAccess, Machine, Validation};
pub use psp_channel::{CERTIFICATE_BYTES, CERTIFICATE_PAGES, MessagePage, PspChannel};
pub use registry::{Registry, VcpuContext};
pub use reset::ResetError;
pub use serve::{Arguments, Served, Svsm, Vcpu};
pub use vtpm::{Vtpm, VtpmError};
