//! CREATE_VCPU and DELETE_VCPU, for a vCPU that does not run it.

use crate::boot::Boot;
use crate::check::{Check, expect_eq};
use crate::memory::{read, write};
use crate::raw;
use crate::svsm;
use crate::vcpu::{VMSA_EFER, apic_id, create, delete, prepare};

pub fn vcpu_is_created_for_the_boot_processor_and_deleted(_: &Boot) -> Check {
    let created = prepare(1);
    expect_eq!(create(&created, apic_id(0)), svsm::SUCCESS, "create");
    expect_eq!(delete(created.vmsa), svsm::SUCCESS, "delete");
    Ok(())
}

/// Linux names the old calling area when it plugs a CPU in again.
pub fn calling_area_may_serve_the_next_vmsa_of_its_vcpu(_: &Boot) -> Check {
    let created = prepare(1);
    let area = svsm::boot_calling_area();
    let create = svsm::call_from(area, svsm::CREATE_VCPU, created.vmsa, area, apic_id(0).into());
    expect_eq!(create.rax, svsm::SUCCESS, "create");
    expect_eq!(svsm::call(svsm::QUERY_PROTOCOL, 1).served, true, "a call with both VMSAs");
    expect_eq!(svsm::rescind(area), svsm::INVALID_ADDRESS, "rescind the calling area");
    expect_eq!(delete(created.vmsa), svsm::SUCCESS, "delete");
    expect_eq!(svsm::rescind(area), svsm::INVALID_ADDRESS, "rescind the calling area afterwards");
    expect_eq!(svsm::call(svsm::QUERY_PROTOCOL, 1).served, true, "a call afterwards");
    Ok(())
}

pub fn vmsa_stays_readable_for_its_guest(_: &Boot) -> Check {
    let created = prepare(1);
    expect_eq!(create(&created, apic_id(0)), svsm::SUCCESS, "create");
    expect_eq!(read(created.vmsa + VMSA_EFER) & 1 << 12, 1 << 12, "EFER.SVME");
    expect_eq!(raw::rmpquery(created.vmsa, 2).1, 1, "permissions");
    expect_eq!(delete(created.vmsa), svsm::SUCCESS, "delete");
    Ok(())
}

pub fn deleted_vmsa_is_ordinary_memory_again(_: &Boot) -> Check {
    let created = prepare(1);
    expect_eq!(create(&created, apic_id(0)), svsm::SUCCESS, "create");
    expect_eq!(delete(created.vmsa), svsm::SUCCESS, "delete");
    expect_eq!(raw::rmpquery(created.vmsa, 2).1, 0xf, "permissions");
    write(created.vmsa, 0x55);
    expect_eq!(read(created.vmsa), 0x55, "value");
    expect_eq!(read(created.vmsa + VMSA_EFER) & 1 << 12, 0, "EFER.SVME");
    expect_eq!(svsm::rescind(created.vmsa), svsm::SUCCESS, "rescind the VMSA");
    expect_eq!(svsm::rescind(created.calling_area), svsm::SUCCESS, "rescind the calling area");
    Ok(())
}
