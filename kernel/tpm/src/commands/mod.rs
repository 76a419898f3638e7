//! What commands do, one file or folder for each chapter of Part 3.
//!
//! A handler has its command's name, takes its parameters, checks everything, and then changes: only the first part may fail. What
//! else is known about a command is its row in [`command_table`](crate::command_table).

pub mod asymmetric;
pub mod attestation;
pub mod audit;
pub mod capability;
pub mod clock;
pub mod context;
pub mod dictionary_attack;
pub mod duplication;
pub mod ephemeral;
pub mod hierarchy;
pub mod management;
pub mod nv;
pub mod object;
pub mod pcr;
pub mod policy;
pub mod random;
pub mod sequences;
pub mod session;
pub mod signing;
pub mod startup;
pub mod symmetric;
pub mod testing;
