//! KVM's contract: planes, AP creation and the MSR protocol as they answer (`host_profiles::contract` names the sources).

use crate::machine::{GUEST, LARGE, NOWHERE, PAGE, PARAVISOR, SMALL, Vm};
use model::Fault;
use model::host_profiles::Host;
use model::hypervisor::MsrOutcome;
use model::machine::Actor;
use model::vcpu::{GhcbPage, HostEnd, Run};
use snp_abi::cpuid::CpuidRegisters;
use snp_abi::ghcb::ap_creation::{ApCreation, ApCreationRequest};
use snp_abi::ghcb::event::MalformedRequest;
use snp_abi::ghcb::page_state::PageStateError;
use snp_abi::rmp::Vmpl;

const RUN_VMPL0: u64 = 0x016;
const RUN_VMPL2: u64 = 2 << 32 | 0x016;
const SNP: u64 = 1;

/// VMGEXIT of the boot vCPU with this register; the outcome and the register of that level afterwards.
fn vmgexit(vm: &mut Vm, value: u64) -> (MsrOutcome, u64) {
    let level = vm.machine.vcpus[0].current.index();
    vm.machine.vcpus[0].channel().msr = value;
    let outcome = vm.machine.vmgexit(0, |_| CpuidRegisters::default(), &mut vm.memory);
    (outcome, vm.machine.vcpus[0].channels[level].msr)
}

fn create(vm: &mut Vm, actor: Actor, apic_id: u32, vmpl: Vmpl, request: ApCreationRequest) {
    let creation = ApCreation { apic_id, vmpl, request };
    vm.machine.create_ap(actor, creation, SMALL, SNP, &vm.memory).unwrap();
}

/// A machine whose VMPL0 has a VMSA on both vCPUs and waits on the second.
fn planes() -> Vm {
    let mut vm = Vm::on(Host::KvmPlanes);
    for (vcpu, run) in vm.machine.vcpus.iter_mut().zip([Run::Running, Run::Halted]) {
        vcpu.vmsas[0] = Some(0x1000);
        vcpu.set_run(run);
    }
    vm
}

#[test]
fn a_level_that_nobody_created_ends_the_vm_and_is_no_answer() {
    let mut vm = planes();
    let (outcome, _) = vmgexit(&mut vm, RUN_VMPL2);
    assert!(matches!(outcome, MsrOutcome::Ended(HostEnd::RunFailed(_))), "{outcome:?}");
    assert_eq!(vmgexit(&mut vm, 4 << 32 | 0x016), (MsrOutcome::Answered(None), 1 << 32 | 0x017));
}

#[test]
fn creation_never_switches_and_run_vmpl_wakes() {
    let mut vm = planes();
    create(&mut vm, PARAVISOR, 0, Vmpl::Vmpl2, ApCreationRequest::CreateOnInit);
    assert_eq!((vm.machine.vcpus[0].current, vm.machine.vcpus[0].runs[2]), (Vmpl::Vmpl0, Run::Stopped));
    assert_eq!(vmgexit(&mut vm, RUN_VMPL2), (MsrOutcome::Switched, 0x017));
    assert_eq!((vm.machine.vcpus[0].current, vm.machine.vcpus[0].run()), (Vmpl::Vmpl2, Run::Running));
    // HLT does not stop a plane, and RUN_VMPL ends it.
    vm.machine.vcpus[0].set_run(Run::Halted);
    assert_eq!(vm.machine.vcpus[0].current, Vmpl::Vmpl2);
    vm.machine.vcpus[0].interrupt_vmpl0();
    assert_eq!(vmgexit(&mut vm, RUN_VMPL2).0, MsrOutcome::Switched);
    assert_eq!(vm.machine.vcpus[0].run(), Run::Running);
}

#[test]
fn a_creation_by_the_guest_ends_hlt_of_vmpl0_which_has_to_run_the_level() {
    let mut vm = planes();
    create(&mut vm, GUEST, 5, Vmpl::Vmpl2, ApCreationRequest::Create);
    let second = &vm.machine.vcpus[1];
    assert_eq!((second.current, second.run(), second.runs[2]), (Vmpl::Vmpl0, Run::Running, Run::Running));
}

#[test]
fn the_lowest_plane_that_wants_to_runs() {
    let mut vm = planes();
    create(&mut vm, PARAVISOR, 0, Vmpl::Vmpl2, ApCreationRequest::Create);
    vmgexit(&mut vm, RUN_VMPL2);
    // The host has an event for VMPL0: the level below stays runnable.
    vm.machine.vcpus[0].interrupt_vmpl0();
    assert_eq!((vm.machine.vcpus[0].current, vm.machine.vcpus[0].runnable), (Vmpl::Vmpl0, 0b101));
    assert_eq!(vm.machine.vcpus[0].channels[0].msr, 0x017, "as if the level had called");
    vmgexit(&mut vm, RUN_VMPL2);
    assert_eq!(vmgexit(&mut vm, RUN_VMPL0).0, MsrOutcome::Switched);
    assert_eq!((vm.machine.vcpus[0].current, vm.machine.vcpus[0].runnable), (Vmpl::Vmpl0, 1));
    assert_eq!(vmgexit(&mut vm, RUN_VMPL0).0, MsrOutcome::Switched, "one's own level stays");
    assert_eq!(vm.machine.vcpus[0].current, Vmpl::Vmpl0);
}

#[test]
fn a_plane_without_a_vmsa_ends_the_vm_when_it_is_entered() {
    let mut vm = planes();
    create(&mut vm, PARAVISOR, 0, Vmpl::Vmpl2, ApCreationRequest::Create);
    create(&mut vm, PARAVISOR, 0, Vmpl::Vmpl2, ApCreationRequest::Destroy);
    assert_eq!(vmgexit(&mut vm, RUN_VMPL2).0, MsrOutcome::Switched, "the host cannot know yet");
    assert!(matches!(vm.machine.check_vmsa(0, &vm.memory), Err(HostEnd::RunFailed(_))));
}

#[test]
fn a_destroyed_level_sleeps_until_another_vmsa_comes() {
    let mut vm = planes();
    create(&mut vm, PARAVISOR, 0, Vmpl::Vmpl2, ApCreationRequest::Create);
    vmgexit(&mut vm, RUN_VMPL2);
    let other = Actor { vcpu: 1, vmpl: Vmpl::Vmpl2 };
    create(&mut vm, other, 0, Vmpl::Vmpl2, ApCreationRequest::Destroy);
    assert_eq!((vm.machine.vcpus[0].current, vm.machine.vcpus[0].run()), (Vmpl::Vmpl2, Run::Stopped));
    create(&mut vm, other, 0, Vmpl::Vmpl2, ApCreationRequest::Create);
    assert_eq!(vm.machine.vcpus[0].run(), Run::Running);
}

#[test]
fn creation_refuses_what_kvm_refuses_and_looks_at_no_contents() {
    let mut vm = planes();
    let creation = |apic_id, vmpl| ApCreation { apic_id, vmpl, request: ApCreationRequest::Create };
    let good = creation(5, Vmpl::Vmpl2);
    let cases = [
        ("unknown APIC id", PARAVISOR, creation(1, Vmpl::Vmpl2), SMALL),
        ("VMPL0 by a lower level", GUEST, creation(5, Vmpl::Vmpl0), SMALL),
        ("VMPL0 by itself", PARAVISOR, creation(0, Vmpl::Vmpl0), SMALL),
        ("unaligned", GUEST, good, SMALL + 8),
        ("2 MiB aligned", GUEST, good, LARGE),
        ("beyond 40 bits", GUEST, good, 1 << 40 | SMALL),
    ];
    for (what, actor, creation, vmsa) in cases {
        let refused = vm.machine.create_ap(actor, creation, vmsa, SNP, &vm.memory);
        assert_eq!(refused, Err(MalformedRequest::InvalidInput), "{what}");
    }
    // No memory there, and a level above the caller's: both are accepted.
    assert_eq!(vm.machine.create_ap(GUEST, good, NOWHERE + PAGE, SNP, &vm.memory), Ok(1));
    assert_eq!(vm.machine.create_ap(GUEST, creation(5, Vmpl::Vmpl1), SMALL, SNP, &vm.memory), Ok(1));
    assert!(
        matches!(vm.machine.check_vmsa(0, &vm.memory), Err(HostEnd::EntryFailed(_))),
        "page 0x1000 is no VMSA"
    );
    let other_features = vm.machine.create_ap(GUEST, good, SMALL, SNP | 1 << 5, &vm.memory);
    assert_eq!(other_features, Err(MalformedRequest::InvalidInput), "the first creation fixed the level's");
}

#[test]
fn mainline_has_no_level_below_vmpl0() {
    let mut vm = Vm::on(Host::KvmMainline);
    assert_eq!(
        vmgexit(&mut vm, RUN_VMPL2),
        (MsrOutcome::Answered(None), RUN_VMPL2),
        "the request comes back"
    );
    let creation = ApCreation { apic_id: 5, vmpl: Vmpl::Vmpl2, request: ApCreationRequest::Create };
    let refused = vm.machine.create_ap(PARAVISOR, creation, SMALL, SNP, &vm.memory);
    assert_eq!(refused, Err(MalformedRequest::InvalidInput));
}

#[test]
fn the_fork_refuses_levels_without_a_vmsa() {
    let mut vm = Vm::on(Host::KvmCoconut);
    assert_eq!(vmgexit(&mut vm, RUN_VMPL2), (MsrOutcome::Answered(None), 1 << 32 | 0x017));
}

#[test]
fn requests_are_read_as_kvm_reads_them() {
    let mut vm = planes();
    // Registration is never refused; bits that nobody looks at change nothing.
    assert_eq!(vmgexit(&mut vm, NOWHERE | 0x012).1, NOWHERE | 0x013);
    assert_eq!(vmgexit(&mut vm, 1 << 40 | 0x080).1, 0x37 << 12 | 0x081);
    // Page states: private without memory fails with bit 63, shared is ignored; other operations fail.
    assert_eq!(vmgexit(&mut vm, 1 << 52 | NOWHERE | 0x014).1, 1 << 63 | 0x015);
    assert_eq!(vmgexit(&mut vm, 2 << 52 | NOWHERE | 0x014).1, 0x015);
    assert_eq!(vmgexit(&mut vm, 3 << 52 | SMALL | 0x014).1, 1 << 63 | 0x015);
    let (outcome, msr) = vmgexit(&mut vm, 0x006);
    assert_eq!((outcome, msr), (MsrOutcome::Held, 0x007), "released by nobody yet");
}

#[test]
fn unknown_requests_come_back_and_a_guest_that_never_stops_is_told_on() {
    let mut vm = planes();
    assert_eq!(vmgexit(&mut vm, 0xf00), (MsrOutcome::Answered(None), 0xf00));
    assert_eq!(vm.faults(), []);
    for _ in 0..1000 {
        vmgexit(&mut vm, 0xf00);
    }
    assert!(matches!(vm.faults()[..], [Fault::Protocol { value: 0xf00, .. }]));
}

#[test]
fn an_unregistered_ghcb_is_told_so_in_the_page() {
    let mut vm = planes();
    assert_eq!(vm.machine.ghcb_page(0, SMALL), GhcbPage::Unregistered(SMALL));
    assert_eq!(vm.faults(), []);
}

#[test]
fn a_list_of_page_state_changes_is_read_as_kvm_reads_it() {
    let mut vm = planes();
    let entry = |vm: &mut Vm, word| vm.machine.change_entry(GUEST, word, &mut vm.memory).map(|_| ());
    let (private, shared, large) = (1 << 52, 2 << 52, 1 << 56);
    assert_eq!(entry(&mut vm, private | SMALL), Ok(()));
    assert_eq!(entry(&mut vm, private | SMALL), Ok(()), "private already");
    assert_eq!(entry(&mut vm, 3 << 52 | SMALL), Ok(()), "hints are skipped");
    assert_eq!(entry(&mut vm, 9 << 52 | SMALL), Ok(()), "and so is what nobody knows");
    assert_eq!(entry(&mut vm, private | large | SMALL), Err(PageStateError::InvalidEntry), "not aligned");
    assert_eq!(entry(&mut vm, private | SMALL | 2), Err(PageStateError::InvalidEntry), "beyond its pages");
    assert_eq!(entry(&mut vm, private | NOWHERE), Err(PageStateError::Generic), "no memory");
    assert_eq!(entry(&mut vm, shared | NOWHERE), Ok(()), "ignored");
    assert_eq!(model::conversion::done(private | SMALL), private | SMALL | 1);
    assert_eq!(model::conversion::done(private | large | LARGE), private | large | LARGE | 512);
}

#[test]
fn init_and_a_start_up_ipi_start_a_launch_vmsa_and_end_reset_hold() {
    let mut vm = planes();
    let second = &mut vm.machine.vcpus[1];
    second.set_run(Run::Stopped);
    assert!(!second.start_up(Vmpl::Vmpl0));
    assert_eq!(second.run(), Run::Stopped, "no INIT came before");
    second.initialise(Vmpl::Vmpl0);
    second.start_up(Vmpl::Vmpl0);
    assert_eq!(second.run(), Run::Running);
    second.initialise(Vmpl::Vmpl0);
    assert_eq!(second.run(), Run::Running, "what runs goes on");
    // Held by the MSR protocol: the answer says why it goes on. Held by an event: its GHCB page has to.
    second.channels[0].msr = 0x007;
    second.set_run(Run::Held);
    assert!(!second.start_up(Vmpl::Vmpl0));
    assert_eq!((second.run(), second.channels[0].msr), (Run::Running, 1 << 12 | 0x007));
    second.channels[0].msr = SMALL;
    second.set_run(Run::Held);
    assert!(second.start_up(Vmpl::Vmpl0));
}
