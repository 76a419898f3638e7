//! Stock guests on the emulated machine: what `make run GUEST=linux`, the tests and the benchmark share.
//!
//! The kernels are Debian's, fetched by `tools/setup/guests.sh`. An initrd is made here for each of them, from our own
//! first program (`tests/guest_init`) and the kernel's own modules.
#![forbid(unsafe_code)]

pub mod boot;
pub mod cpio;
pub mod fetched;
pub mod initrd;
pub mod modules;
pub mod programs;
