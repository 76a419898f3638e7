//! The start of a guest on the emulator's model: what is placed, validated, filled and granted, and what a host can do about it.
//!
//! The VM is that of the services' tests.

#![allow(dead_code, reason = "the services' tests use more of their VM than these do")]

#[path = "../../../svsm_protocol/tests/services/invariants.rs"]
mod invariants;
#[path = "../../../svsm_protocol/tests/services/memory.rs"]
mod memory;
#[path = "../../../svsm_protocol/tests/services/vm.rs"]
mod vm;

mod double_mapping;
mod guests;
mod large_vms;
