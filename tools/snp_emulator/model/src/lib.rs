//! The rules of an SEV-SNP machine, without any hardware: what the RMP, the security processor and the
//! host of a confidential VM decide.
//!
//! One model, two shells: the emulator's monitor asks it about every exit of a real guest, and the tests of
//! the SVSM services use it as their machine. Sources: AMD APM volume 2 (24593) 15.34-15.36, SNP
//! firmware ABI (56860), GHCB (56421). What no manual decides follows KVM, and says so.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod access;
pub mod attack;
pub mod audit;
pub mod conversion;
pub mod cpu_hotplug;
pub mod cpuid;
pub mod guest_request;
pub mod hypervisor;
pub mod instructions;
pub mod kvm_clock;
pub mod launch;
pub mod machine;
pub mod plan;
pub mod psp;
pub mod rmp;
pub mod stale;
pub mod statistics;
pub mod vcpu;
pub mod violation;

pub use host_profiles;
pub use machine::{Configuration, Machine};
pub use violation::{Fault, Kind, Violation};

/// The contents of guest memory, as the shell stores them.
pub trait Contents {
    /// Makes the contents of pages meaningless, as a page is that changed hands. `bytes` is a multiple of 4096.
    fn scramble(&mut self, address: u64, bytes: u64);
    /// Whether the page at `address` still has something of what [`Self::scramble`] left.
    fn is_scrambled(&self, address: u64) -> bool;
    /// Copies bytes out; `false` where there is no memory.
    fn read(&self, address: u64, bytes: &mut [u8]) -> bool;
    /// Copies bytes in; `false` where there is no memory.
    fn write(&mut self, address: u64, bytes: &[u8]) -> bool;
}
