//! Translations that a TLB may still hold although the page's RMP entry changed.
//!
//! QEMU flushes its TLB on every VMRUN and VMEXIT, so a flush that the firmware forgot would never
//! show. The model remembers, for each page whose rights shrank while a translation may have been
//! cached, which vCPUs have not flushed since.

use alloc::collections::BTreeMap;
use snp_abi::address::{PAGE_BYTES, page_of};
use snp_abi::rmp::Vmpl;

/// Why a cached translation is old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The page was rescinded: even with the same rights it may be another page now.
    Rescinded,
    /// The VMPL's permissions shrank; granting them again makes the old translation right again.
    Restricted,
}

/// Who may still hold an old translation of a page.
#[derive(Clone, Copy, Debug, Default)]
struct Holders {
    vcpus: u32,
    rescinded: u8,
    restricted: u8,
}

/// All pages with old translations.
#[derive(Default)]
pub struct Stale {
    pages: BTreeMap<u64, Holders>,
}

impl Stale {
    /// Notes that `vmpls` (bit n) of the vCPUs in `vcpus` (bit n) may hold translations of pages that changed.
    pub fn note(&mut self, address: u64, pages: u64, vcpus: u32, vmpls: u8, cause: Cause) {
        if vmpls == 0 || vcpus == 0 {
            return;
        }
        for page in (0..pages).map(|page| address + page * PAGE_BYTES) {
            let holders = self.pages.entry(page).or_default();
            holders.vcpus |= vcpus;
            match cause {
                Cause::Rescinded => holders.rescinded |= vmpls,
                Cause::Restricted => holders.restricted |= vmpls,
            }
        }
    }

    /// The VMPL got its permissions back.
    pub fn granted(&mut self, address: u64, pages: u64, vmpl: Vmpl) {
        if self.pages.is_empty() {
            return;
        }
        for page in (0..pages).map(|page| address + page * PAGE_BYTES) {
            if let Some(holders) = self.pages.get_mut(&page) {
                holders.restricted &= !(1 << vmpl.index());
                if holders.restricted | holders.rescinded == 0 {
                    self.pages.remove(&page);
                }
            }
        }
    }

    /// Every vCPU flushed everything.
    pub fn flush_all(&mut self) {
        self.pages.clear();
    }

    /// One vCPU flushed everything.
    pub fn flush_vcpu(&mut self, vcpu: usize) {
        self.pages.retain(|_, holders| {
            holders.vcpus &= !(1 << vcpu);
            holders.vcpus != 0
        });
    }

    /// Whether this vCPU may hold any old translation.
    pub fn is_held_by_vcpu(&self, vcpu: usize) -> bool {
        self.pages.values().any(|holders| holders.vcpus >> vcpu & 1 != 0)
    }

    /// Whether this vCPU at this VMPL may hold an old translation of the page.
    pub fn held_by(&self, address: u64, vcpu: usize, vmpl: Vmpl) -> bool {
        self.pages.get(&page_of(address)).is_some_and(|holders| {
            let vmpls = holders.rescinded | holders.restricted;
            holders.vcpus >> vcpu & 1 != 0 && vmpls >> vmpl.index() & 1 != 0
        })
    }

    /// The first page of the range that anybody may hold an old translation of.
    pub fn first_in(&self, address: u64, bytes: u64) -> Option<u64> {
        self.pages.range(address..address + bytes).next().map(|(page, _)| *page)
    }
}
