//! The services on the emulator's model: what each call does, what it refuses, and the invariants of the design after
//! every call of random sequences. `kernel/doc/soundness.md` names the test of each invariant.

mod attestation;
mod core_calls;
mod corpus;
mod given_away;
mod in_use;
mod invariants;
mod memory;
mod pvalidate;
mod races;
mod resets;
mod sequences;
mod vcpus;
mod vm;
