//! The services' view of the machine, on the hardware of one vCPU.

use crate::psp_pages;
use crate::setup::GUEST_VMPL;
use hardware::cpu::Cpu;
use hardware::termination::{Reason, terminate};
use hardware::translations;
use hardware::window::NotGuestMemory;
use snp_abi::address::{PAGE_BYTES, PageSize};
use snp_abi::ghcb::guest_request::GuestRequestOutcome;
use snp_abi::rmp::{Permissions, RmpAdjust, RmpStatus};
use svsm_protocol::{AccessChange, Fatal, GuestAccess, GuestPage, Machine, MessagePage, Validation};

/// One vCPU as the services see it.
pub struct Platform<'a> {
    cpu: &'a mut Cpu,
}

impl<'a> Platform<'a> {
    /// The platform on this vCPU.
    pub fn new(cpu: &'a mut Cpu) -> Self {
        Self { cpu }
    }

    fn adjust(&mut self, address: u64, size: PageSize, adjust: RmpAdjust) -> Result<AccessChange, Fatal> {
        match owned(self.cpu.window.rmpadjust(address, size, adjust)) {
            Some(RmpStatus::Success) => Ok(AccessChange::Done),
            Some(RmpStatus::FailInUse) => Ok(AccessChange::InUse),
            Some(RmpStatus::FailSizeMismatch) if size == PageSize::Large => {
                self.adjust_parts(address, adjust)
            }
            status => Err(Fatal::RmpStatus(status)),
        }
    }

    /// A 2 MiB page that the RMP holds as small ones.
    fn adjust_parts(&mut self, address: u64, adjust: RmpAdjust) -> Result<AccessChange, Fatal> {
        for part in 0..PageSize::Large.small_pages() {
            self.adjust(address + part * PAGE_BYTES, PageSize::Small, adjust)?;
        }
        Ok(AccessChange::Done)
    }
}

/// The ledger gives out guest memory only; that a window refuses one of its pages is a bug of ours.
fn owned<T>(result: Result<T, NotGuestMemory>) -> T {
    result.unwrap_or_else(|NotGuestMemory| terminate(Reason::Panic))
}

impl Machine for Platform<'_> {
    fn read(&mut self, page: GuestPage, offset: usize, bytes: &mut [u8]) {
        owned(self.cpu.window.read(page.address(), offset, bytes));
    }

    fn write(&mut self, page: GuestPage, offset: usize, bytes: &[u8]) {
        owned(self.cpu.window.write(page.address(), offset, bytes));
    }

    fn request(&mut self, page: GuestPage, size: PageSize) {
        owned(self.cpu.window.request(page.address(), size));
    }

    fn take_back(&mut self, page: GuestPage, size: PageSize) {
        owned(self.cpu.window.take_back(page.address(), size));
    }

    fn zero(&mut self, page: GuestPage, size: PageSize) {
        if cfg!(feature = "fault_skip_zeroing") {
            return;
        }
        owned(self.cpu.window.zero(page.address(), size));
    }

    fn pvalidate(&mut self, page: GuestPage, size: PageSize, validate: bool) -> Result<Validation, Fatal> {
        match owned(self.cpu.window.pvalidate(page.address(), size, validate)) {
            (Some(RmpStatus::Success), false) => Ok(Validation::Changed),
            (Some(RmpStatus::Success), true) => Ok(Validation::Unchanged),
            (Some(RmpStatus::FailSizeMismatch), _) if size == PageSize::Large => Ok(Validation::SizeMismatch),
            (status, _) => Err(Fatal::RmpStatus(status)),
        }
    }

    fn set_access(
        &mut self,
        page: GuestPage,
        size: PageSize,
        access: GuestAccess,
    ) -> Result<AccessChange, Fatal> {
        let (permissions, is_vmsa) = match access {
            GuestAccess::None => (Permissions::empty(), false),
            GuestAccess::Full => (Permissions::READ_WRITE_EXECUTE, false),
            GuestAccess::Vmsa => (Permissions::READ, true),
        };
        self.adjust(page.address(), size, RmpAdjust { target: GUEST_VMPL, permissions, is_vmsa })
    }

    fn flush_translations(&mut self) {
        if cfg!(feature = "fault_skip_flush") {
            return;
        }
        translations::flush();
    }

    fn guest_request(
        &mut self,
        request: &MessagePage,
        response: &mut MessagePage,
        certificates: Option<&mut [u8]>,
    ) -> Option<GuestRequestOutcome> {
        psp_pages::exchange(self.cpu, request, response, certificates)
    }
}
