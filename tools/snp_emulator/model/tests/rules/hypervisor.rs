//! The host's answers to the GHCB MSR protocol, as words of the register (GHCB specification, 2.3).

use crate::machine::{GUEST, NOWHERE, SMALL, Vm};
use core::mem::offset_of;
use model::host_profiles::Host;
use model::hypervisor::MsrOutcome;
use model::rmp::{Entry, State};
use model::vcpu::{GhcbPage, Run};
use model::{Contents, Fault};
use snp_abi::address::PageSize::Small;
use snp_abi::cpuid::CpuidRegisters;
use snp_abi::rmp::Vmpl;
use snp_abi::vmsa::Vmsa;

/// VMGEXIT of the boot vCPU with this register; the outcome and the register afterwards.
fn vmgexit(vm: &mut Vm, value: u64) -> (MsrOutcome, u64) {
    vm.machine.vcpus[0].channel().msr = value;
    let cpuid = |query: snp_abi::cpuid::CpuidQuery| CpuidRegisters {
        eax: query.leaf,
        ebx: 0x1111,
        ecx: 0x2222,
        edx: 0x3333,
    };
    let outcome = vm.machine.vmgexit(0, cpuid, &mut vm.memory);
    (outcome, vm.machine.vcpus[0].channel().msr)
}

fn answer(vm: &mut Vm, value: u64) -> u64 {
    let (outcome, msr) = vmgexit(vm, value);
    assert!(matches!(outcome, MsrOutcome::Answered(_)), "{outcome:?}");
    msr
}

#[test]
fn sev_information_tells_versions_1_to_2_and_c_bit_51() {
    let mut vm = Vm::new();
    let expected = 2 << 48 | 1 << 32 | 51 << 24 | 1;
    assert_eq!(answer(&mut vm, 0x002), expected);
    assert_eq!(vm.machine.initial_msr(), expected);
}

#[test]
fn cpuid_gives_the_register_that_was_asked_for() {
    let mut vm = Vm::new();
    for (register, value) in [(0u64, 0x8000_001fu64), (1, 0x1111), (2, 0x2222), (3, 0x3333)] {
        let request = 0x8000_001f << 32 | register << 30 | 4;
        assert_eq!(answer(&mut vm, request), value << 32 | register << 30 | 5);
    }
}

#[test]
fn kvm_keeps_the_bits_of_a_cpuid_request_that_mean_nothing() {
    let request = 0x40 << 32 | 0x12_3000 | 4;
    assert_eq!(answer(&mut Vm::on(Host::KvmMainline), request), 0x40 << 32 | 0x12_3000 | 5);
}

#[test]
fn the_host_has_no_preferred_ghcb() {
    assert_eq!(answer(&mut Vm::new(), 0x010), !0xfff | 0x011);
}

#[test]
fn a_ghcb_is_registered_where_there_is_memory() {
    let mut vm = Vm::with(true);
    assert_eq!(answer(&mut vm, SMALL | 0x012), SMALL | 0x013);
    assert_eq!(vm.machine.ghcb_page(0, SMALL), GhcbPage::Usable(SMALL));
    assert_eq!(answer(&mut vm, NOWHERE | 0x012), !0xfff | 0x013, "all ones mean refused");
}

#[test]
fn an_unregistered_or_private_ghcb_is_reported() {
    let mut vm = Vm::with(true);
    assert_eq!(vm.machine.ghcb_page(0, SMALL), GhcbPage::Unreadable);
    answer(&mut vm, SMALL | 0x012);
    vm.pvalidate(SMALL, Small, true);
    assert_eq!(vm.machine.ghcb_page(0, SMALL), GhcbPage::Unreadable);
    let whys: Vec<_> = vm.faults().into_iter().map(|fault| matches!(fault, Fault::Ghcb { .. })).collect();
    assert_eq!(whys, [true, true]);
}

#[test]
fn a_page_state_change_is_answered_with_an_error_code() {
    let mut vm = Vm::with(true);
    assert_eq!(answer(&mut vm, 1 << 52 | SMALL | 0x014), 0x015);
    assert!(vm.entry(SMALL).is(State::ASSIGNED));
    assert_eq!(answer(&mut vm, 2 << 52 | SMALL | 0x014), 0x015);
    assert_eq!(vm.entry(SMALL), Entry::SHARED);
    assert_eq!(answer(&mut vm, 1 << 52 | NOWHERE | 0x014), 1 << 32 | 0x015);
}

#[test]
fn hypervisor_features_are_the_hosts() {
    assert_eq!(answer(&mut Vm::new(), 0x080), 0x33 << 12 | 0x081);
    assert_eq!(answer(&mut Vm::on(Host::KvmPlanes), 0x080), 0x37 << 12 | 0x081);
    assert_eq!(answer(&mut Vm::on(Host::KvmMainline), 0x080), 0x03 << 12 | 0x081);
}

#[test]
fn a_termination_carries_set_and_code() {
    let (outcome, _) = vmgexit(&mut Vm::new(), 4 << 16 | 8 << 12 | 0x100);
    let MsrOutcome::Terminated(reason) = outcome else { panic!("{outcome:?}") };
    assert_eq!((reason.reason_set(), reason.reason_code()), (8, 4));
}

#[test]
fn unknown_requests_responses_and_reserved_bits_are_reported() {
    for value in [0x001, 0x003, 0x005, 0x018, 0x081, 0xf00, 0xfff, 0x1002, 3 << 52 | SMALL | 0x014] {
        let mut vm = Vm::new();
        assert_eq!(vmgexit(&mut vm, value).0, MsrOutcome::Malformed, "{value:#x}");
        assert!(matches!(vm.faults()[..], [Fault::Protocol { .. }]));
    }
}

#[test]
fn a_page_address_means_the_ghcb_page() {
    assert_eq!(vmgexit(&mut Vm::new(), SMALL).0, MsrOutcome::Page(SMALL));
}

#[test]
fn ap_reset_hold_stops_the_vcpu_and_is_answered_on_release() {
    let mut vm = Vm::new();
    let (outcome, msr) = vmgexit(&mut vm, 0x006);
    assert_eq!((outcome, msr & 0xfff), (MsrOutcome::Held, 0x007));
    assert_ne!(msr >> 12, 0, "released");
    assert_eq!(vm.machine.vcpus[0].run(), Run::Held);
}

#[test]
fn run_vmpl_switches_only_to_a_level_with_a_runnable_vmsa() {
    let mut vm = Vm::new();
    assert_eq!(answer(&mut vm, 2 << 32 | 0x016), 1 << 32 | 0x017, "no VMSA");
    vm.machine.vcpus[0].vmsas[2] = Some(SMALL);
    assert_eq!(answer(&mut vm, 2 << 32 | 0x016), 1 << 32 | 0x017, "EFER.SVME is 0");
    let efer = SMALL + offset_of!(Vmsa, efer) as u64;
    vm.memory.write(efer, &(1u64 << 12).to_le_bytes());
    vm.machine.vcpus[0].channel().msr = 2 << 32 | 0x016;
    let outcome = vm.machine.vmgexit(0, |_| CpuidRegisters::default(), &mut vm.memory);
    assert_eq!(outcome, MsrOutcome::Switched);
    assert_eq!(vm.machine.vcpus[0].current, Vmpl::Vmpl2);
    assert_eq!(vm.machine.vcpus[0].channels[0].msr, 0x017, "VMPL0 finds its answer when it runs again");
    assert_eq!(vm.machine.actor(0), GUEST);
}

#[test]
fn the_apic_id_list_is_the_configurations() {
    assert_eq!(Vm::new().machine.apic_ids(), [0, 5]);
}

const RUN_VMPL2: u64 = 2 << 32 | 0x016;
const GUEST_RESET: u64 = 0x8000_0001 << 32 | 0x017;

/// A machine whose VMPL0 has started a guest on both vCPUs.
fn machine_with_guest() -> Vm {
    let mut vm = Vm::new();
    for vcpu in &mut vm.machine.vcpus {
        vcpu.vmsas = [Some(0x1000), None, Some(SMALL), None];
        vcpu.current = Vmpl::Vmpl2;
        vcpu.set_run(Run::Running);
        vcpu.channels[2].registered = Some(SMALL);
    }
    vm
}

#[test]
fn a_reset_stops_every_vcpu_of_the_guest_and_tells_vmpl0_that_waits() {
    let mut vm = machine_with_guest();
    assert!(vm.machine.reset_guest());
    let [first, second] = &vm.machine.vcpus[..] else { panic!("two vCPUs") };
    assert_eq!((first.current, first.run()), (Vmpl::Vmpl0, Run::Running));
    assert_eq!(first.channels[0].msr, GUEST_RESET);
    assert_eq!((second.current, second.run()), (Vmpl::Vmpl0, Run::Halted));
    for vcpu in [first, second] {
        assert_eq!(vcpu.vmsas, [Some(0x1000), None, None, None]);
        assert_eq!(vcpu.channels[2].registered, None);
        assert_eq!(vcpu.generations[2], 1, "what it ran is not stored into the next one's VMSA");
    }
}

#[test]
fn vmpl0_that_runs_learns_of_a_reset_when_it_wants_to_run_its_guest() {
    let mut vm = machine_with_guest();
    vm.machine.vcpus[0].current = Vmpl::Vmpl0;
    vm.machine.vcpus[0].channels[0].msr = 0x1234;
    assert!(vm.machine.reset_guest());
    assert_eq!(vm.machine.vcpus[0].channels[0].msr, 0x1234, "what it asks meanwhile is not answered by this");
    assert_eq!(answer(&mut vm, RUN_VMPL2), GUEST_RESET);
    assert_eq!(answer(&mut vm, RUN_VMPL2), 1 << 32 | 0x017, "told once; the level has no VMSA");
}

#[test]
fn without_vmpl0_or_without_a_guest_there_is_nobody_to_leave_a_reset_to() {
    let mut vm = machine_with_guest();
    vm.machine.vcpus[0].vmsas[0] = None;
    assert!(!vm.machine.reset_guest());
    let mut vm = Vm::new();
    vm.machine.vcpus[0].vmsas[0] = Some(0x1000);
    assert!(!vm.machine.reset_guest());
}
