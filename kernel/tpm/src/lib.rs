//! A TPM 2.0 engine: bytes in, bytes out.
//!
//! [`Tpm::execute`] carries out one command of the TPM 2.0 library specification, version 1.84. All state lives in the value;
//! what it needs from the machine around it is [`Platform`]. The way of a command: `engine` reads the header and looks the
//! command up in `command_table`, `session` checks who may do it, `commands` (a file for each chapter of Part 3) does it, and
//! what changed becomes durable, record by record, before the response leaves.
#![doc = ""]
#![doc = include_str!("../doc/commands.md")]
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

pub mod crypto;

mod call;
mod clock;
mod command_table;
mod commands;
mod context;
mod dictionary_attack;
mod engine;
mod hierarchy;
mod mode;
mod nv;
mod object;
mod pcr;
mod platform;
mod response_code;
mod self_test;
mod session;
mod state;
mod structures;
mod wire;

pub use command_table::command_name;
pub use engine::{ManufactureError, Tpm};
pub use platform::{CommitFailure, EntropyFailure, Platform, StateChange};
pub use response_code::ResponseCode;
pub use state::blob::{StateError, assemble as assemble_state, records as state_records};
