//! CREATE_VCPU and DELETE_VCPU requests that must be refused, and leave everything as it was.

use crate::boot::Boot;
use crate::check::{Check, expect_eq};
use crate::ghcb;
use crate::memory::{fresh_large_page, fresh_page, read, write};
use crate::raw;
use crate::svsm::{self, boot_calling_area, call, call_from};
use crate::vcpu::{
    Created, SVME, VMSA_EFER, VMSA_FEATURES, apic_id, create, delete, fill_vmsa, prepare, private_page,
};

/// Creating a vCPU is refused, and its pages are still ordinary memory.
fn refused(created: &Created, apic_id: u32, result: u64) -> Check {
    expect_eq!(create(created, apic_id), result, "create");
    expect_eq!(raw::rmpquery(created.vmsa, 2).1, 0xf, "permissions of the VMSA page");
    expect_eq!(svsm::rescind(created.vmsa), svsm::SUCCESS, "rescind the VMSA page");
    expect_eq!(svsm::rescind(created.calling_area), svsm::SUCCESS, "rescind the calling area");
    Ok(())
}

fn raw_create(vmsa: u64, calling_area: u64, apic_id: u64) -> u64 {
    call_from(boot_calling_area(), svsm::CREATE_VCPU, vmsa, calling_area, apic_id).rax
}

pub fn vmsa_must_be_aligned(_: &Boot) -> Check {
    let created = prepare(1);
    let id = u64::from(apic_id(0));
    expect_eq!(raw_create(created.vmsa + 8, created.calling_area, id), svsm::INVALID_PARAMETER, "VMSA");
    expect_eq!(
        raw_create(created.vmsa, created.calling_area + 8, id),
        svsm::INVALID_PARAMETER,
        "calling area"
    );
    Ok(())
}

pub fn vmsa_at_a_2_mib_boundary_is_refused(_: &Boot) -> Check {
    let page = fresh_large_page();
    expect_eq!(svsm::validate(page), svsm::SUCCESS, "validate");
    let area = private_page();
    fill_vmsa(page, 1, area);
    expect_eq!(raw_create(page, area, apic_id(0).into()), svsm::INVALID_PARAMETER, "create");
    Ok(())
}

pub fn vmsa_and_calling_area_must_differ(_: &Boot) -> Check {
    let created = prepare(1);
    expect_eq!(raw_create(created.vmsa, created.vmsa, apic_id(0).into()), svsm::INVALID_PARAMETER, "create");
    Ok(())
}

pub fn vmsa_in_svsm_memory_is_refused(boot: &Boot) -> Check {
    let created = prepare(1);
    let inside = boot.svsm_base + 0x3000;
    let id = u64::from(apic_id(0));
    expect_eq!(raw_create(inside, created.calling_area, id), svsm::INVALID_ADDRESS, "VMSA");
    expect_eq!(raw_create(created.vmsa, inside, id), svsm::INVALID_ADDRESS, "calling area");
    refused(&created, u32::MAX, svsm::INVALID_PARAMETER)
}

pub fn vmsa_in_unvalidated_memory_is_refused(_: &Boot) -> Check {
    let created = prepare(1);
    let id = u64::from(apic_id(0));
    expect_eq!(raw_create(fresh_page(), created.calling_area, id), svsm::INVALID_ADDRESS, "VMSA");
    expect_eq!(raw_create(created.vmsa, fresh_page(), id), svsm::INVALID_ADDRESS, "calling area");
    Ok(())
}

pub fn vmsa_in_shared_memory_is_refused(_: &Boot) -> Check {
    let created = prepare(1);
    let shared = private_page();
    ghcb::share(shared);
    let id = u64::from(apic_id(0));
    expect_eq!(raw_create(shared, created.calling_area, id), svsm::INVALID_ADDRESS, "VMSA");
    expect_eq!(raw_create(created.vmsa, shared, id), svsm::INVALID_ADDRESS, "calling area");
    Ok(())
}

pub fn vmsa_in_a_calling_area_is_refused(_: &Boot) -> Check {
    let area = private_page();
    let result = raw_create(boot_calling_area(), area, apic_id(0).into());
    expect_eq!(result, svsm::INVALID_ADDRESS, "create");
    expect_eq!(call(svsm::QUERY_PROTOCOL, 1).served, true, "calling area still works");
    Ok(())
}

pub fn vmsa_of_another_vmpl_is_refused(_: &Boot) -> Check {
    for vmpl in [1, 3] {
        let created = prepare(1);
        write(created.vmsa + 0xc8, vmpl << 16);
        refused(&created, apic_id(0), svsm::INVALID_PARAMETER)?;
    }
    Ok(())
}

pub fn vmsa_for_vmpl0_is_refused(_: &Boot) -> Check {
    let created = prepare(1);
    write(created.vmsa + 0xc8, 0);
    refused(&created, apic_id(0), svsm::INVALID_PARAMETER)
}

pub fn vmsa_without_svme_is_refused(_: &Boot) -> Check {
    let created = prepare(1);
    write(created.vmsa + VMSA_EFER, read(created.vmsa + VMSA_EFER) & !SVME);
    refused(&created, apic_id(0), svsm::INVALID_PARAMETER)
}

pub fn vmsa_with_other_features_is_refused(_: &Boot) -> Check {
    for features in [0, 3, 1 << 5 | 1, u64::MAX] {
        let created = prepare(1);
        write(created.vmsa + VMSA_FEATURES, features);
        refused(&created, apic_id(0), svsm::INVALID_PARAMETER)?;
    }
    Ok(())
}

pub fn unknown_apic_id_is_refused(_: &Boot) -> Check {
    refused(&prepare(1), 0x1234, svsm::INVALID_PARAMETER)
}

pub fn huge_apic_id_is_refused(_: &Boot) -> Check {
    let created = prepare(1);
    let id = 1 << 32 | u64::from(apic_id(0));
    expect_eq!(raw_create(created.vmsa, created.calling_area, id), svsm::INVALID_PARAMETER, "create");
    Ok(())
}

pub fn one_page_cannot_be_two_vmsas(_: &Boot) -> Check {
    let created = prepare(1);
    expect_eq!(create(&created, apic_id(0)), svsm::SUCCESS, "first");
    let area = private_page();
    expect_eq!(raw_create(created.vmsa, area, apic_id(0).into()), svsm::INVALID_ADDRESS, "second");
    expect_eq!(svsm::rescind(area), svsm::SUCCESS, "the second calling area is ordinary");
    expect_eq!(delete(created.vmsa), svsm::SUCCESS, "delete");
    Ok(())
}

pub fn calling_area_of_another_vcpu_is_refused(_: &Boot) -> Check {
    let created = prepare(1);
    let result = raw_create(created.vmsa, boot_calling_area(), apic_id(1).into());
    expect_eq!(result, svsm::INVALID_ADDRESS, "create");
    refused(&created, u32::MAX, svsm::INVALID_PARAMETER)
}

/// Runs a check on a VMSA that exists, and deletes it.
fn with_vmsa(check: impl FnOnce(&Created) -> Check) -> Check {
    let created = prepare(1);
    expect_eq!(create(&created, apic_id(0)), svsm::SUCCESS, "create");
    check(&created)?;
    expect_eq!(delete(created.vmsa), svsm::SUCCESS, "delete");
    Ok(())
}

pub fn vmsa_cannot_be_rescinded(_: &Boot) -> Check {
    with_vmsa(|created| {
        expect_eq!(svsm::rescind(created.vmsa), svsm::INVALID_ADDRESS, "rescind");
        expect_eq!(svsm::validate(created.vmsa), svsm::INVALID_ADDRESS, "validate");
        expect_eq!(raw::rmpquery(created.vmsa, 2).1, 1, "permissions");
        Ok(())
    })
}

pub fn vmsa_cannot_become_a_calling_area(_: &Boot) -> Check {
    with_vmsa(|created| {
        expect_eq!(call(svsm::REMAP_CA, created.vmsa).rax, svsm::INVALID_ADDRESS, "remap");
        Ok(())
    })
}

pub fn list_in_a_vmsa_is_refused(_: &Boot) -> Check {
    with_vmsa(|created| {
        expect_eq!(call(svsm::PVALIDATE, created.vmsa).rax, svsm::INVALID_ADDRESS, "PVALIDATE");
        Ok(())
    })
}

pub fn too_many_vmsas_for_one_vcpu_are_refused(_: &Boot) -> Check {
    let created: [Created; 3] = core::array::from_fn(|_| prepare(1));
    for vcpu in &created {
        expect_eq!(create(vcpu, apic_id(0)), svsm::SUCCESS, "create");
    }
    refused(&prepare(1), apic_id(0), svsm::INVALID_REQUEST)?;
    for vcpu in &created {
        expect_eq!(delete(vcpu.vmsa), svsm::SUCCESS, "delete");
    }
    Ok(())
}

pub fn deleting_what_is_no_vmsa_is_refused(boot: &Boot) -> Check {
    let page = private_page();
    for address in [page, page + 8, boot.svsm_base, fresh_page(), 1 << 45, u64::MAX] {
        expect_eq!(delete(address), svsm::INVALID_PARAMETER, "delete {:#x}", address);
    }
    Ok(())
}

pub fn deleting_the_own_vmsa_is_refused(boot: &Boot) -> Check {
    // The boot vCPU's VMSA is somewhere in the SVSM's memory.
    for page in (boot.svsm_base..boot.svsm_base + boot.svsm_size).step_by(4096) {
        expect_eq!(delete(page), svsm::INVALID_PARAMETER, "delete {:#x}", page);
    }
    Ok(())
}

pub fn deleting_twice_is_refused(_: &Boot) -> Check {
    let created = prepare(1);
    expect_eq!(create(&created, apic_id(0)), svsm::SUCCESS, "create");
    expect_eq!(delete(created.vmsa), svsm::SUCCESS, "delete");
    expect_eq!(delete(created.vmsa), svsm::INVALID_PARAMETER, "delete again");
    Ok(())
}

pub fn refused_vmsa_keeps_its_contents_and_rights(_: &Boot) -> Check {
    let created = prepare(1);
    write(created.vmsa + 0xc8, 3 << 16);
    let before = (read(created.vmsa + VMSA_EFER), read(created.vmsa + 0x178), read(created.vmsa + 0xc8));
    expect_eq!(create(&created, apic_id(0)), svsm::INVALID_PARAMETER, "create");
    let after = (read(created.vmsa + VMSA_EFER), read(created.vmsa + 0x178), read(created.vmsa + 0xc8));
    expect_eq!(after, before, "contents");
    write(created.vmsa, 1);
    Ok(())
}
