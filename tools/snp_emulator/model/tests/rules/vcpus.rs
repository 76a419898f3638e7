//! VMSAs, VMRUN's checks and AP creation (APM volume 2, 15.36.12; GHCB specification, "SNP AP creation").

use crate::machine::{GUEST, LARGE, NOWHERE, PAGE, PARAVISOR, SMALL, Vm, operand};
use core::mem::offset_of;
use model::vcpu::{HostEnd, Run};
use model::{Contents, Fault};
use snp_abi::address::PageSize::Small;
use snp_abi::ghcb::ap_creation::{ApCreation, ApCreationRequest};
use snp_abi::ghcb::event::MalformedRequest;
use snp_abi::rmp::{Permissions, RmpAdjust, Vmpl};
use snp_abi::vmsa::Vmsa;

const SVME: u64 = 1 << 12;
const SNP: u64 = 1;

/// A VMSA for VMPL2 with these fields, and the RMP attribute.
fn vmsa(vm: &mut Vm, vmpl: u8, efer: u64, features: u64) {
    vm.give(SMALL);
    vm.grant(SMALL, Vmpl::Vmpl2, Permissions::empty());
    vm.machine.flush_all();
    vm.memory.write(SMALL + offset_of!(Vmsa, vmpl) as u64, &[vmpl]);
    vm.memory.write(SMALL + offset_of!(Vmsa, efer) as u64, &efer.to_le_bytes());
    vm.memory.write(SMALL + offset_of!(Vmsa, sev_features) as u64, &features.to_le_bytes());
    let adjust = RmpAdjust { target: Vmpl::Vmpl2, permissions: Permissions::READ, is_vmsa: true };
    vm.adjust(PARAVISOR, operand(SMALL, Small), adjust.encode());
}

/// What VMRUN of the boot vCPU at VMPL2 says of the page.
fn vmrun(vm: &mut Vm) -> Result<u64, HostEnd> {
    vm.machine.vcpus[0].vmsas[2] = Some(SMALL);
    vm.machine.vcpus[0].current = Vmpl::Vmpl2;
    vm.machine.check_vmsa(0, &vm.memory)
}

#[test]
fn vmrun_takes_a_complete_vmsa() {
    let mut vm = Vm::new();
    vmsa(&mut vm, 2, SVME, SNP);
    assert_eq!(vmrun(&mut vm), Ok(SMALL));
    assert_eq!(vm.faults(), []);
}

#[test]
fn vmrun_refuses_a_vmsa_of_another_level_without_svme_or_without_snp() {
    for (vmpl, efer, features) in [(0, SVME, SNP), (3, SVME, SNP), (2, 0, SNP), (2, SVME, 0)] {
        let mut vm = Vm::new();
        vmsa(&mut vm, vmpl, efer, features);
        assert!(matches!(vmrun(&mut vm), Err(HostEnd::EntryFailed(_))));
        assert!(matches!(vm.faults()[..], [Fault::BadVmsa { address: SMALL, .. }]));
    }
}

#[test]
fn vmrun_refuses_pages_without_the_attribute_or_validation() {
    let mut vm = Vm::new();
    vmsa(&mut vm, 2, SVME, SNP);
    vm.grant(SMALL, Vmpl::Vmpl2, Permissions::READ);
    assert!(vmrun(&mut vm).is_err(), "RMPADJUST without the attribute took it away");
    let mut vm = Vm::new();
    vmsa(&mut vm, 2, SVME, SNP);
    vm.pvalidate(SMALL, Small, false);
    assert!(matches!(vmrun(&mut vm), Err(HostEnd::EntryFailed(_))));
}

fn creation(apic_id: u32, vmpl: Vmpl, request: ApCreationRequest) -> ApCreation {
    ApCreation { apic_id, vmpl, request }
}

#[test]
fn ap_creation_installs_the_vmsa_and_runs_it() {
    let mut vm = Vm::new();
    vmsa(&mut vm, 2, SVME, SNP);
    let create = creation(5, Vmpl::Vmpl2, ApCreationRequest::Create);
    assert_eq!(vm.machine.create_ap(GUEST, create, SMALL, SNP, &vm.memory), Ok(1));
    let vcpu = &vm.machine.vcpus[1];
    assert_eq!((vcpu.vmsas[2], vcpu.current, vcpu.run()), (Some(SMALL), Vmpl::Vmpl2, Run::Running));
    assert_eq!(vcpu.generations[2], 1);
}

#[test]
fn creation_on_init_waits_for_it() {
    let mut vm = Vm::new();
    vmsa(&mut vm, 2, SVME, SNP);
    let create = creation(5, Vmpl::Vmpl2, ApCreationRequest::CreateOnInit);
    assert_eq!(vm.machine.create_ap(GUEST, create, SMALL, SNP, &vm.memory), Ok(1));
    assert_eq!(vm.machine.vcpus[1].run(), Run::Stopped);
}

#[test]
fn destruction_takes_the_vmsa_away() {
    let mut vm = Vm::new();
    vmsa(&mut vm, 2, SVME, SNP);
    let create = creation(5, Vmpl::Vmpl2, ApCreationRequest::Create);
    vm.machine.create_ap(GUEST, create, SMALL, SNP, &vm.memory).unwrap();
    let destroy = creation(5, Vmpl::Vmpl2, ApCreationRequest::Destroy);
    assert_eq!(vm.machine.create_ap(GUEST, destroy, 0, 0, &vm.memory), Ok(1));
    assert_eq!(vm.machine.vcpus[1].vmsas[2], None);
    assert_ne!(vm.machine.vcpus[1].run(), Run::Running);
}

#[test]
fn malformed_ap_creations_are_invalid_input_and_change_nothing() {
    let mut vm = Vm::new();
    vmsa(&mut vm, 2, SVME, SNP);
    let good = creation(5, Vmpl::Vmpl2, ApCreationRequest::Create);
    let cases = [
        ("unknown APIC id", creation(1, Vmpl::Vmpl2, ApCreationRequest::Create), SMALL, SNP),
        ("level above the caller's", creation(5, Vmpl::Vmpl0, ApCreationRequest::Create), SMALL, SNP),
        ("destroys a level above", creation(5, Vmpl::Vmpl1, ApCreationRequest::Destroy), SMALL, SNP),
        ("unaligned", good, SMALL + 8, SNP),
        ("2 MiB aligned", good, LARGE, SNP),
        ("address 0", good, 0, SNP),
        ("no memory", good, NOWHERE + PAGE, SNP),
        ("other features", good, SMALL, SNP | 1 << 3),
    ];
    for (what, creation, address, features) in cases {
        let refused = vm.machine.create_ap(GUEST, creation, address, features, &vm.memory);
        assert_eq!(refused, Err(MalformedRequest::InvalidInput), "{what}");
        assert_eq!(vm.machine.vcpus[1].vmsas, [None; 4], "{what}");
    }
}
