//! What commands do, one file for each chapter of Part 3.
//!
//! A chapter exports `HANDLERS`: which command is carried out by which function. A command without a handler is not
//! advertised and answers TPM_RC_COMMAND_CODE; the rest of what is known about it is its row in
//! [`command_table`](crate::command_table). A handler takes its parameters, checks everything, and then changes: only the
//! first part may fail.

pub mod asymmetric;
pub mod attestation;
pub mod audit;
pub mod authorization;
pub mod capability;
pub mod clock;
pub mod context;
pub mod credentials;
pub mod dictionary_attack;
pub mod duplication;
pub mod ephemeral;
pub mod hierarchy;
pub mod loading;
pub mod management;
pub mod nonvolatile;
pub mod objects;
pub mod pcr;
pub mod random;
pub mod sequences;
pub mod sessions;
pub mod signing;
pub mod startup;
pub mod symmetric;
pub mod testing;

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
    symmetric::HANDLERS,
    sequences::HANDLERS,
    loading::HANDLERS,
    ephemeral::HANDLERS,
    duplication::HANDLERS,
    credentials::HANDLERS,
    audit::HANDLERS,
    asymmetric::HANDLERS,
    authorization::HANDLERS,
    nonvolatile::HANDLERS,
    testing::HANDLERS,
    management::HANDLERS,
    dictionary_attack::HANDLERS,
    clock::HANDLERS,
];
