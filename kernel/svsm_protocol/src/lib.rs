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
mod boot;
mod call_table;
mod core_calls;
mod failure;
mod grant;
mod guest_call;
mod guest_memory;
mod guest_vcpus;
mod ledger;
mod machine;
pub mod measurement;
mod psp_channel;
mod pvalidate;
mod reset;
mod serve;
mod svsm;
mod vcpu_calls;
mod vtpm;
mod vtpm_calls;

pub use boot::NotGiven;
pub use call_table::PROTOCOLS;
pub use failure::{Failure, Fatal, Refusal};
pub use grant::NotDone;
pub use guest_call::{CallRow, ProtocolRow};
pub use guest_vcpus::{GuestVcpus, VcpuContext};
pub use ledger::{AddressRange, GuestAddress, GuestPage, Ledger, OutOfMemory, PageState, Stopped};
pub use machine::{GuestAccess, Lost, Machine, MessagePage, RmpError, Validation};
pub use psp_channel::{CERTIFICATE_BYTES, CERTIFICATE_PAGES, PspChannel};
pub use reset::ResetError;
pub use serve::Served;
pub use svsm::{Svsm, Vcpu};
pub use vtpm::{Vtpm, VtpmError};
