//! Calls by several vCPUs, served on the emulator's model. The fake machine, the sequences and the invariants are those of
//! `cargo test`; here the fuzzer makes the choices.
#![no_main]
#![allow(dead_code, unused_imports, reason = "the modules of the tests hold more than fuzzing needs")]

#[path = "../../../kernel/svsm_protocol/tests/services/invariants.rs"]
mod invariants;
#[path = "../../../kernel/svsm_protocol/tests/services/memory.rs"]
mod memory;
#[path = "../../../kernel/svsm_protocol/tests/services/sequences.rs"]
mod sequences;
#[path = "../../../kernel/svsm_protocol/tests/services/vm.rs"]
mod vm;

use libfuzzer_sys::fuzz_target;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use sequences::{Guest, any_call};
use snp_abi::svsm::ResultCode;
use vm::{APIC_IDS, Vm, context};

const CALLS: usize = 24;
/// How many bytes choose a call. They are a seed: proptest's own source of given bytes ends in zeros, which a choice that
/// rejects zero would draw for ever.
const CHOICE_BYTES: usize = 4;

fn runner(choice: &[u8]) -> TestRunner {
    let mut seed = [0; 32];
    seed.iter_mut().zip(choice).for_each(|(to, from)| *to = *from);
    TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &seed))
}

fuzz_target!(|bytes: &[u8]| {
    let vm = Vm::new();
    let mut guest = Guest::new();
    let strategy = (any::<Index>(), any_call());
    for choice in bytes.chunks(CHOICE_BYTES).take(CALLS) {
        let Ok(tree) = strategy.new_tree(&mut runner(choice)) else { return };
        let (who, plan) = tree.current();
        let number = who.index(guest.places.len());
        let (vcpu, place) = guest.places[number];
        let call = guest.prepare(&vm, &plan, place.calling_area + 8);
        // Checks the invariants, and that a refused call left no trace.
        let Ok(answer) = vm.call_from(vcpu, place, call) else {
            panic!("a guest ended the firmware by {call:?}")
        };
        if answer.result != ResultCode::Success {
            continue;
        }
        match call.rax {
            0 => guest.places[number].1 = context(place.vmsa, call.rcx),
            2 => {
                let vcpu = APIC_IDS.iter().position(|id| u64::from(*id) == call.r8);
                guest.places.push((vcpu.unwrap_or_default(), context(call.rcx, call.rdx)));
            }
            3 => guest.places.retain(|(_, place)| place.vmsa != call.rcx),
            _ => {}
        }
    }
});
