//! The services' view of the machine, on the hardware of one vCPU.

use crate::facts::GUEST_VMPL;
use crate::psp_pages;
use hardware::cpu::Cpu;
use hardware::guest_access::NotValidated;
use hardware::termination::{Reason, terminate};
use hardware::translations;
use hardware::window::WindowError;
use snp_abi::address::{PAGE_BYTES, PageSize};
use snp_abi::ghcb::guest_request::GuestRequestOutcome;
use snp_abi::rmp::{Permissions, RmpAdjust, RmpStatus};
use svsm_protocol::{Fatal, GuestAccess, GuestPage, Lost, Machine, MessagePage, RmpError, Validation};

/// The machine as the services see it from one vCPU.
pub struct HardwareMachine<'a> {
    cpu: &'a mut Cpu,
}

impl<'a> HardwareMachine<'a> {
    /// The machine from this vCPU.
    pub fn new(cpu: &'a mut Cpu) -> Self {
        Self { cpu }
    }

    fn adjust(&mut self, address: u64, size: PageSize, adjust: RmpAdjust) -> Result<(), RmpError> {
        let status =
            owned(self.cpu.window.rmpadjust(address, size, adjust)).map_err(|Lost| RmpError::Lost)?;
        match status {
            Some(RmpStatus::Success) => Ok(()),
            status => Err(failed(status)),
        }
    }
}

/// What a status other than success means.
fn failed(status: Option<RmpStatus>) -> RmpError {
    match status {
        Some(RmpStatus::FailInUse) => RmpError::InUse,
        Some(RmpStatus::FailSizeMismatch) => RmpError::SizeMismatch,
        status => RmpError::Status(status),
    }
}

/// The ledger gives out guest memory only; that a window refuses one of its pages is a bug of ours.
fn owned<T>(result: Result<T, WindowError>) -> Result<T, Lost> {
    match result {
        Ok(value) => Ok(value),
        Err(WindowError::NotValidated(NotValidated)) => Err(Lost),
        Err(WindowError::NotGuestMemory) => terminate(Reason::Panic),
    }
}

impl Machine for HardwareMachine<'_> {
    fn read(&mut self, page: GuestPage, offset: usize, bytes: &mut [u8]) -> Result<(), Lost> {
        owned(self.cpu.window.read(page.address(), offset, bytes))
    }

    fn write(&mut self, page: GuestPage, offset: usize, bytes: &[u8]) -> Result<(), Lost> {
        owned(self.cpu.window.write(page.address(), offset, bytes))
    }

    fn read_words(&mut self, page: GuestPage, offsets: &[usize], words: &mut [u64]) -> Result<(), Lost> {
        owned(self.cpu.window.read_words(page.address(), offsets, words))
    }

    fn write_words(&mut self, page: GuestPage, words: &[(usize, u64)]) -> Result<(), Lost> {
        owned(self.cpu.window.write_words(page.address(), words))
    }

    fn request(&mut self, page: GuestPage, size: PageSize) {
        if owned(self.cpu.window.request(page.address(), size)).is_err() {
            terminate(Reason::PageStateChange);
        }
    }

    fn take_back(&mut self, page: GuestPage, size: PageSize) {
        if owned(self.cpu.window.take_back(page.address(), size)).is_err() {
            terminate(Reason::PageStateChange);
        }
    }

    fn zero(&mut self, page: GuestPage, size: PageSize) -> Result<(), Lost> {
        if cfg!(feature = "fault_skip_zeroing") {
            return Ok(());
        }
        owned(self.cpu.window.zero(page.address(), size))
    }

    fn pvalidate(&mut self, page: GuestPage, size: PageSize, validate: bool) -> Result<Validation, RmpError> {
        let done = owned(self.cpu.window.pvalidate(page.address(), size, validate));
        match done.map_err(|Lost| RmpError::Lost)? {
            (Some(RmpStatus::Success), false) => Ok(Validation::Changed),
            (Some(RmpStatus::Success), true) => Ok(Validation::Unchanged),
            (status, _) => Err(failed(status)),
        }
    }

    fn set_access(&mut self, page: GuestPage, size: PageSize, access: GuestAccess) -> Result<(), RmpError> {
        let (permissions, is_vmsa) = match access {
            GuestAccess::None => (Permissions::empty(), false),
            GuestAccess::Full => (Permissions::READ_WRITE_EXECUTE, false),
            GuestAccess::Vmsa => (Permissions::READ, true),
        };
        let adjust = RmpAdjust { target: GUEST_VMPL, permissions, is_vmsa };
        match self.adjust(page.address(), size, adjust) {
            // A 2 MiB page that the RMP holds as small ones.
            Err(RmpError::SizeMismatch) if size == PageSize::Large => (0..PageSize::Large.small_pages())
                .map(|part| page.address() + part * PAGE_BYTES)
                .try_for_each(|part| self.adjust(part, PageSize::Small, adjust)),
            done => done,
        }
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

/// Ends the firmware because host or processor broke the contract.
pub fn end_with(fatal: Fatal) -> ! {
    match fatal {
        Fatal::DoubleMapping => terminate(Reason::OwnPageValidation),
        Fatal::RmpStatus(status) => {
            log::error!("RMP instruction failed: {status:?}");
            terminate(Reason::PermissionChange)
        }
    }
}
