//! A reset of the guest: whatever it did before, VMPL0 has all of its memory and vCPUs afterwards.

use crate::pvalidate::{rescind, validate};
use crate::sequences::{self, Guest, any_call};
use crate::vm::{
    BOOT_AREA, BOOT_VMSA, Call, END, Fault, GRANTED, HOLE, MIB, Operation, REGION, REGION_END, View, Vm,
    context,
};
use crate::{invariants, vm};
use model::Contents;
use model::machine::Actor;
use model::rmp::State;
use proptest::prelude::*;
use proptest::sample::Index;
use snp_abi::address::{PAGE_BYTES, PageSize};
use snp_abi::ghcb::page_state::PageOperation;
use snp_abi::rmp::Vmpl;
use snp_abi::svsm::ResultCode;
use svsm_protocol::{GuestAddress, PageState, ResetError, Served, Stopped, Vcpu};

const VMSA: u64 = GRANTED.start + 0x1000;
const AREA: u64 = GRANTED.start + 0x2000;

impl Vm {
    fn reset(&self) -> Result<Stopped, ResetError> {
        let view = &mut View::new(self, 0);
        let stopped = self.svsm.stop_guest(view)?;
        self.svsm.retake_memory(&stopped, view)?;
        Ok(stopped)
    }

    /// The next guest's first vCPU.
    fn admit(&self, stopped: Stopped) {
        let view = &mut View::new(self, 0);
        let area = (BOOT_AREA, PageSize::Small);
        self.svsm.provide(&stopped, view, area, &[], PageState::CallingArea).unwrap();
        self.lock().lend_boot_vmsa();
        self.svsm.admit_guest(stopped, Vcpu(0), BOOT_VMSA, BOOT_AREA).unwrap();
    }

    /// The guest gives a page to the host, after it was rescinded.
    fn share(&self, page: u64) {
        let mut host = self.lock();
        let vm::Host { model, memory, .. } = &mut *host;
        let actor = Actor { vcpu: 0, vmpl: vm::GUEST };
        let size = PageSize::Small;
        model.change_page_state(actor, page, size, PageOperation::Shared, memory).unwrap();
    }

    fn state(&self, page: u64) -> PageState {
        self.svsm.ledger.state(GuestAddress(page))
    }
}

/// All memory but the firmware's is private, not validated and not granted, and the host knows no vCPU of the guest.
fn assert_all_is_taken(vm: &Vm) {
    invariants::check(vm);
    for page in (0..END).step_by(PAGE_BYTES as usize) {
        let expected = match page {
            _ if HOLE.contains(&page) => PageState::Absent,
            REGION..REGION_END => PageState::Own,
            _ => PageState::Unvalidated,
        };
        assert_eq!(vm.state(page), expected, "{page:#x}");
        let host = vm.lock();
        let entry = host.model.rmp.entry(page);
        assert!(entry.is_none_or(|entry| entry.is(State::ASSIGNED)), "{page:#x} is the host's");
        let is_vmsa = entry.is_some_and(|entry| entry.is(State::VMSA));
        assert!(!is_vmsa, "{page:#x} is a VMSA still");
    }
}

#[test]
fn every_role_of_a_page_ends_with_the_guest() {
    let vm = Vm::new();
    vm.prepare_vmsa(VMSA);
    assert_eq!(vm.create(VMSA, AREA, 1), ResultCode::Success);
    assert_eq!(vm.pvalidate(&[validate(2 * MIB) | 1, rescind(GRANTED.start)]).0, ResultCode::Success);
    vm.share(GRANTED.start);
    vm.lock().touch_everything();
    let _ = vm.reset().unwrap();
    assert_all_is_taken(&vm);
}

#[test]
fn no_call_is_served_until_the_next_guest_is_there() {
    let vm = Vm::new();
    vm.prepare_vmsa(VMSA);
    assert_eq!(vm.create(VMSA, AREA, 1), ResultCode::Success);
    vm.lock().memory.write(AREA, &[1]);
    let stopped = vm.reset().unwrap();
    let served = vm.svsm.serve(&mut View::new(&vm, 1), Vcpu(1)).unwrap();
    assert_eq!(served, Served::Nothing);
    vm.admit(stopped);
    let served = vm.svsm.serve(&mut View::new(&vm, 1), Vcpu(1)).unwrap();
    assert_eq!(served, Served::Nothing, "the last guest's call must not be the next one's");
}

/// A guest whose second vCPU the host has not stopped.
fn vm_that_runs() -> Vm {
    let vm = Vm::new();
    vm.prepare_vmsa(VMSA);
    assert_eq!(vm.create(VMSA, AREA, 1), ResultCode::Success);
    {
        let mut host = vm.lock();
        let vcpu = &mut host.model.vcpus[1];
        vcpu.vmsas[vm::GUEST.index()] = Some(VMSA);
        vcpu.current = Vmpl::Vmpl2;
        vcpu.inside = true;
    }
    vm
}

#[test]
fn a_vcpu_that_still_runs_is_not_reset() {
    let vm = vm_that_runs();
    assert!(matches!(vm.reset(), Err(ResetError::Running)));
    assert_eq!(vm.state(VMSA), PageState::Vmsa);
}

#[test]
fn a_vcpu_that_is_still_there_is_not_served_during_a_reset() {
    let calling = || {
        let vm = vm_that_runs();
        vm.lock().memory.write(AREA, &[1]);
        vm
    };
    let serve = |vm: &Vm| vm.svsm.serve(&mut View::new(vm, 1), Vcpu(1)).unwrap();
    let vm = calling();
    assert!(matches!(vm.reset(), Err(ResetError::Running)));
    assert_eq!(serve(&vm), Served::Nothing);
    assert!(matches!(serve(&calling()), Served::Call { .. }), "nothing but the reset held the call back");
}

#[test]
fn a_reset_waits_for_the_call_that_another_vcpu_has_served() {
    let vm = Vm::new();
    vm.prepare_vmsa(VMSA);
    assert_eq!(vm.create(VMSA, AREA, 1), ResultCode::Success);
    vm.write_list(AREA + 8, &[validate(GRANTED.end)], 0);
    std::thread::scope(|scope| {
        let (vm, mut thread) = (&vm, None);
        let mut meanwhile = |_: &Vm, _: Operation| {
            // The call is being served when the reset begins; it ends although the reset waits.
            let thread = &*thread.get_or_insert_with(|| scope.spawn(|| vm.reset()));
            // Time enough for a reset that does not wait.
            (0..1000).for_each(|_| std::thread::yield_now());
            assert!(!thread.is_finished(), "the reset did not wait");
        };
        let call = Call::core(1, AREA + 8);
        let answer = vm.call_during(1, context(VMSA, AREA), call, Some(&mut meanwhile)).unwrap();
        assert_eq!(answer.result, ResultCode::Success);
        let _ = thread.expect("the call does something").join().unwrap().unwrap();
    });
    assert_all_is_taken(&vm);
}

#[test]
fn a_reset_that_forgets_to_flush_is_noticed() {
    let vm = Vm::new();
    vm.lock().touch_everything();
    vm.lock().fault = Some(Fault::Flush);
    let _ = vm.reset().unwrap();
    let flushed = std::panic::catch_unwind(core::panic::AssertUnwindSafe(|| invariants::check(&vm)));
    assert!(flushed.is_err(), "the check passes without any flush");
}

#[test]
fn large_pages_that_the_rmp_holds_as_small_ones_are_taken_too() {
    let vm = Vm::new();
    assert_eq!(vm.pvalidate(&[validate(2 * MIB) | 1]).0, ResultCode::Success);
    // The host may split its entry whenever it wants.
    vm.lock().model.rmp.smash(2 * MIB);
    let _ = vm.reset().unwrap();
    assert_all_is_taken(&vm);
}

proptest! {
    #![proptest_config(sequences::configuration(48))]

    #[test]
    fn whatever_a_guest_did_a_reset_takes_everything_from_it(
        calls in prop::collection::vec((any::<Index>(), any_call()), 1..40)
    ) {
        let vm = Vm::new();
        let mut guest = Guest::new();
        for (who, plan) in calls {
            guest.call(&vm, who, &plan);
        }
        let stopped = vm.reset().unwrap();
        assert_all_is_taken(&vm);
        // And the next guest can have it all.
        vm.admit(stopped);
    }
}
