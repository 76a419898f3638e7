//! The rules of the machine, one by one: what each RMP instruction, page state change, access and host decision comes to.
//!
//! The numbers are those of the manuals (AMD APM volumes 2 and 3, GHCB specification), not those of the model's code.

mod access;
mod conversion;
mod hypervisor;
mod launch;
mod machine;
mod planes;
mod pvalidate;
mod rmpadjust;
mod stale;
mod vcpus;
