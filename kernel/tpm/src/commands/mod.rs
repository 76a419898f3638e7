//! What commands do, one file for each chapter of Part 3.
//!
//! A chapter exports `HANDLERS`: which command is carried out by which function. A command without a handler is not
//! advertised and answers TPM_RC_COMMAND_CODE; the rest of what is known about it is its row in
//! [`command_table`](crate::command_table). A handler takes its parameters, checks everything, and then changes: only the
//! first part may fail.

pub mod attestation;
pub mod authorization;
pub mod capability;
pub mod context;
pub mod hierarchy;
pub mod nonvolatile;
pub mod objects;
pub mod pcr;
pub mod random;
pub mod sessions;
pub mod signing;
pub mod startup;

use crate::call::Handler;
use crate::command_table::CommandCode;

/// What each chapter carries out.
pub const CHAPTERS: &[&[(CommandCode, Handler)]] = &[
    startup::HANDLERS,
    sessions::HANDLERS,
    objects::HANDLERS,
    random::HANDLERS,
    pcr::HANDLERS,
    hierarchy::HANDLERS,
    context::HANDLERS,
    capability::HANDLERS,
    attestation::HANDLERS,
    signing::HANDLERS,
    authorization::HANDLERS,
    nonvolatile::HANDLERS,
];
