//! A TPM 2.0 engine: bytes in, bytes out.
//!
//! [`Tpm::execute`] carries out one command of the TPM 2.0 library specification, version 1.85. All state lives in the value;
//! what it needs from the machine around it is [`Platform`]. The way of a command: `engine` reads the header and looks the
//! command up in `command_table`, `authorization` checks who may do it, `commands` (a file or folder for each chapter of Part 3)
//! does it, and what changed becomes durable, record by record, before the response leaves.
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

// Its rows are for the modules behind it.
#[macro_use]
mod command_table;

mod authorization;
mod clock;
mod command;
mod commands;
mod context;
mod dictionary_attack;
mod dispatch;
mod engine;
mod exported_state;
mod hierarchy;
mod mode;
mod nv;
mod object;
mod pcr;
mod platform;
mod request;
mod response_code;
mod self_test;
mod session;
mod state;
mod storage;
mod structures;
mod undo;
mod wire;

pub use command::command_name;
pub use engine::{ManufactureError, Tpm};
pub use exported_state::{StateError, assemble as assemble_state, records as state_records};
pub use platform::{BufferBytes, CommitFailure, EntropyFailure, Platform, StateChange};
pub use response_code::ResponseCode;
