//! CPUID of this guest, from the page that the security processor checked at launch.

use crate::instructions;
use crate::region;
use snp_abi::address::PAGE_LENGTH;
use snp_abi::cpuid::{CpuidPage, CpuidQuery, CpuidRegisters};
use spin::Once;
use zerocopy::FromBytes;

static PAGE: Once<&'static CpuidPage> = Once::new();

/// Takes the page, once; `None` if it is malformed.
///
/// # Safety
/// `physical` must be the CPUID page of the image: launched, mapped in the direct window, never written again.
pub(crate) unsafe fn initialise(physical: u64) -> Option<u32> {
    let place = region::DIRECT_WINDOW | physical;
    // SAFETY: the caller answers for the page; it is immutable from the launch on.
    let bytes = unsafe { &*(place as *const [u8; PAGE_LENGTH]) };
    let page = CpuidPage::ref_from_bytes(bytes).ok()?;
    page.check().ok()?;
    let position = page.c_bit_position()?;
    PAGE.call_once(|| page);
    Some(position)
}

/// The page as it was launched.
pub fn page() -> Option<&'static CpuidPage> {
    PAGE.get().copied()
}

/// A leaf as this vCPU would see it, without what only the host knows.
pub fn query(leaf: u32, subleaf: u32) -> CpuidRegisters {
    let row = page().and_then(|page| page.row(CpuidQuery { leaf, subleaf }));
    row.map(|row| row.registers).unwrap_or_default()
}

/// SEV_FEATURES of this guest, from SEV_STATUS.
pub fn sev_features() -> u64 {
    // SAFETY: SEV_STATUS is readable in every SEV guest without #VC.
    let status = unsafe { instructions::read_msr(snp_abi::msr::SEV_STATUS) };
    snp_abi::msr::SevStatus::from_bits_retain(status).features().bits()
}
