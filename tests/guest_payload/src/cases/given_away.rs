//! Pages that the guest gives to the host without rescinding them, and then calls about: the firmware answers, and goes on.

use crate::boot::Boot;
use crate::check::{Check, expect_eq};
use crate::ghcb;
use crate::memory::fresh_page;
use crate::svsm::{self, call, call_from, entry, write_list};
use crate::vcpu::{apic_id, private_page};

const SHARED: u64 = 2;
const ATTEST_SERVICES: u64 = 1 << 32;
const VTPM_COMMAND: u64 = 2 << 32 | 1;

/// A page that was private, and is the host's.
fn given_away() -> Result<u64, crate::check::Failure> {
    let page = private_page();
    write_list(page, 0, &[entry(fresh_page(), false, true, false)]);
    expect_eq!(ghcb::change_state(page, SHARED), true, "the host takes {:#x}", page);
    Ok(page)
}

/// The ledger learns that the page is nobody's, so that it agrees with the machine when the run ends.
fn finish(page: u64) -> Check {
    expect_eq!(svsm::rescind(page), svsm::INVALID_ADDRESS, "rescinding {:#x}", page);
    Ok(())
}

pub fn list_in_a_page_of_the_hosts_is_refused(_: &Boot) -> Check {
    let page = given_away()?;
    expect_eq!(call(svsm::PVALIDATE, page).rax, svsm::INVALID_ADDRESS, "result");
    finish(page)
}

pub fn page_of_the_hosts_is_not_rescinded_and_not_validated_anew(_: &Boot) -> Check {
    let page = given_away()?;
    finish(page)?;
    expect_eq!(svsm::validate(page), svsm::INVALID_ADDRESS, "validation");
    finish(page)
}

pub fn calling_area_and_vmsa_in_pages_of_the_hosts_are_refused(_: &Boot) -> Check {
    let page = given_away()?;
    expect_eq!(call(svsm::REMAP_CA, page).rax, svsm::INVALID_ADDRESS, "REMAP_CA");
    let (area, boot) = (private_page(), svsm::boot_calling_area());
    expect_eq!(
        call_from(boot, svsm::CREATE_VCPU, page, area, u64::from(apic_id(0))).rax,
        svsm::INVALID_ADDRESS,
        "CREATE_VCPU"
    );
    finish(page)
}

pub fn buffers_in_pages_of_the_hosts_are_refused(_: &Boot) -> Check {
    let page = given_away()?;
    expect_eq!(call(ATTEST_SERVICES, page).rax, svsm::INVALID_ADDRESS, "ATTEST_SERVICES");
    let answer = call(VTPM_COMMAND, page).rax;
    // A firmware without a TPM does not know the protocol.
    expect_eq!(answer == svsm::INVALID_ADDRESS || answer == svsm::UNSUPPORTED_PROTOCOL, true, "VTPM_CMD");
    finish(page)
}
