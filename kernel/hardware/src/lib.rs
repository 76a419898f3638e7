//! Everything in the firmware that needs `unsafe`: instructions, the GHCB, page tables, descriptor
//! tables, per-CPU memory, heap, and windows into guest memory.
//!
//! The crates above say what is to be done in safe code; `kernel/doc/soundness.md` argues why what is offered here
//! is sound. Stage2 uses the first few modules only.
#![no_std]
#![expect(unsafe_code, reason = "this crate is where the firmware touches hardware")]

#[cfg(feature = "kernel")]
extern crate alloc;

pub mod instructions;
pub mod msr_protocol;
pub mod own_memory;
#[cfg(feature = "stage2")]
pub mod stage2_entry;
pub mod termination;

#[cfg(feature = "kernel")]
pub mod boot;
#[cfg(feature = "kernel")]
pub mod cpu;
#[cfg(feature = "kernel")]
pub mod cpuid;
#[cfg(feature = "kernel")]
pub mod entropy;
#[cfg(feature = "kernel")]
mod exceptions;
#[cfg(feature = "kernel")]
pub mod frames;
#[cfg(feature = "kernel")]
pub mod ghcb;
#[cfg(feature = "kernel")]
pub mod guest_access;
#[cfg(feature = "kernel")]
pub mod guest_vmsa;
#[cfg(feature = "kernel")]
pub mod heap;
#[cfg(feature = "kernel")]
mod kernel_entry;
#[cfg(feature = "kernel")]
mod page_tables;
#[cfg(feature = "kernel")]
pub mod processors;
#[cfg(feature = "kernel")]
pub mod region;
#[cfg(feature = "kernel")]
mod serial;
#[cfg(feature = "kernel")]
pub mod shared;
#[cfg(feature = "kernel")]
pub mod translations;
#[cfg(feature = "kernel")]
mod vc;
#[cfg(feature = "kernel")]
pub mod window;
