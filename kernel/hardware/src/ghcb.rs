//! The GHCB page of one vCPU: requests to the host that do not fit a register.
//!
//! Answers are judged after they were copied out of the page. Source: GHCB specification (56421).

use crate::frames::OutOfMemory;
use crate::instructions;
use crate::msr_protocol;
use crate::shared::{SharedBuffer, SharedPage};
use crate::termination::{Reason, terminate};
use core::mem::offset_of;
use snp_abi::address::{PAGE_BYTES, PageSize};
use snp_abi::ghcb::ap_creation::ApCreation;
use snp_abi::ghcb::event::{ExitCode, HostAnswer, IoInformation, IoSize};
use snp_abi::ghcb::guest_request::GuestRequestOutcome;
use snp_abi::ghcb::msr_protocol::Request;
use snp_abi::ghcb::page::{GhcbField, GhcbPage, SHARED_BUFFER_BYTES, SHARED_BUFFER_OFFSET, ValidBitmap};
use snp_abi::ghcb::page_state::{PageOperation, PageStateEntry, PageStateWord};
use snp_abi::ghcb::{PROTOCOL_VERSION, USAGE_STANDARD};
use snp_abi::msr;

/// The host answered an event with an exception or a complaint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// One vCPU's GHCB.
#[derive(Debug)]
pub struct Ghcb {
    page: SharedPage,
    valid: ValidBitmap,
}

impl Ghcb {
    /// Shares a frame with the host and maps it at an unused virtual address.
    pub(crate) fn new(virtual_address: u64) -> Result<Self, OutOfMemory> {
        let mut page = SharedPage::new(virtual_address)?;
        // Version and usage are the last six bytes of the page.
        let word = offset_of!(GhcbPage, protocol_version) - 2;
        page.write_word(word, u64::from(PROTOCOL_VERSION) << 16 | u64::from(USAGE_STANDARD) << 32);
        Ok(Self { page, valid: ValidBitmap::default() })
    }

    /// Registers the page for the vCPU that calls.
    pub(crate) fn register(&self) {
        msr_protocol::register_ghcb(self.page.physical());
    }

    fn set(&mut self, field: GhcbField, value: u64) {
        self.page.write_word(field.offset(), value);
        self.valid = self.valid.with(field);
    }

    fn field(&self, field: GhcbField) -> u64 {
        self.page.read_word(field.offset())
    }

    /// One event; the fields that it needs were set before. Returns the second information word.
    fn call(&mut self, code: ExitCode, first: u64, second: u64) -> Result<u64, Refused> {
        self.set(GhcbField::SwExitCode, code.to_wire().into());
        self.set(GhcbField::SwExitInfo1, first);
        self.set(GhcbField::SwExitInfo2, second);
        let valid = core::mem::take(&mut self.valid);
        self.page.write_word(ValidBitmap::OFFSET, valid.low);
        self.page.write_word(ValidBitmap::OFFSET + 8, valid.high);
        let address = self.page.physical();
        // SAFETY: the MSR names this vCPU's GHCB; it does not change addressing.
        unsafe { instructions::write_msr(msr::GHCB, Request::UseGhcb { address }.encode()) };
        // SAFETY: the events of this module change no memory that Rust uses.
        unsafe { instructions::vmgexit() };
        match HostAnswer::decode(self.field(GhcbField::SwExitInfo1), self.field(GhcbField::SwExitInfo2)) {
            Ok(HostAnswer::Done { information }) => Ok(information),
            Ok(_) => Err(Refused),
            Err(_) => terminate(Reason::HostAnswer),
        }
    }

    /// Writes bytes to an I/O port, as many as the shared buffer holds at a time.
    pub fn out_bytes(&mut self, port: u16, bytes: &[u8]) -> Result<(), Refused> {
        for part in bytes.chunks(SHARED_BUFFER_BYTES) {
            self.page.write(SHARED_BUFFER_OFFSET, part);
            let mut information = IoInformation::plain(port, IoSize::Byte, false);
            information.is_string = true;
            information.is_repeated = true;
            self.set(GhcbField::SwScratch, self.page.physical() + SHARED_BUFFER_OFFSET as u64);
            self.call(ExitCode::Ioio, information.encode(), part.len() as u64)?;
        }
        Ok(())
    }

    /// Reads bytes from an I/O port, as many as the shared buffer holds at a time.
    pub fn in_bytes(&mut self, port: u16, bytes: &mut [u8]) -> Result<(), Refused> {
        for part in bytes.chunks_mut(SHARED_BUFFER_BYTES) {
            let mut information = IoInformation::plain(port, IoSize::Byte, true);
            information.is_string = true;
            information.is_repeated = true;
            self.set(GhcbField::SwScratch, self.page.physical() + SHARED_BUFFER_OFFSET as u64);
            self.call(ExitCode::Ioio, information.encode(), part.len() as u64)?;
            self.page.read(SHARED_BUFFER_OFFSET, part);
        }
        Ok(())
    }

    /// OUT.
    pub fn output(&mut self, port: u16, size: IoSize, value: u32) -> Result<(), Refused> {
        self.set(GhcbField::Rax, value.into());
        self.call(ExitCode::Ioio, IoInformation::plain(port, size, false).encode(), 0).map(|_| ())
    }

    /// IN.
    pub fn input(&mut self, port: u16, size: IoSize) -> Result<u32, Refused> {
        self.set(GhcbField::Rax, 0);
        self.call(ExitCode::Ioio, IoInformation::plain(port, size, true).encode(), 0)?;
        Ok(self.field(GhcbField::Rax) as u32)
    }

    /// CPUID by the host: EAX, EBX, ECX, EDX.
    pub fn cpuid(&mut self, leaf: u32, subleaf: u32) -> Result<[u32; 4], Refused> {
        self.set(GhcbField::Rax, leaf.into());
        self.set(GhcbField::Rcx, subleaf.into());
        self.set(GhcbField::Xcr0, 1);
        self.call(ExitCode::Cpuid, 0, 0)?;
        let fields = [GhcbField::Rax, GhcbField::Rbx, GhcbField::Rcx, GhcbField::Rdx];
        Ok(fields.map(|field| self.field(field) as u32))
    }

    /// Creates or destroys a vCPU's VMSA with the host.
    pub fn create_ap(&mut self, creation: ApCreation, vmsa: u64, features: u64) -> Result<(), Refused> {
        self.set(GhcbField::Rax, features);
        self.call(ExitCode::ApCreation, creation.encode(), vmsa).map(|_| ())
    }

    /// Asks the host to make a page private or shared, as one page of this size.
    ///
    /// # Safety
    /// Nothing of Rust's may lie in the page: its contents and its owner change.
    pub(crate) unsafe fn change_page_state(
        &mut self,
        address: u64,
        operation: PageOperation,
        size: PageSize,
    ) -> Result<(), Refused> {
        // Header: entry 0 is the first and the last.
        self.page.write_word(SHARED_BUFFER_OFFSET, 0);
        let PageStateWord(entry) = PageStateEntry::new(address, operation, size).encode();
        self.page.write_word(SHARED_BUFFER_OFFSET + 8, entry);
        self.set(GhcbField::SwScratch, self.page.physical() + SHARED_BUFFER_OFFSET as u64);
        let refused = self.call(ExitCode::PageStateChange, 0, 0)?;
        // Done when the host says so and its index went past the entry.
        if refused == 0 && self.page.read_word(SHARED_BUFFER_OFFSET) & 0xffff == 1 {
            Ok(())
        } else {
            Err(Refused)
        }
    }

    /// Hands a sealed message to the security processor; with data pages as an extended request.
    pub fn guest_request(
        &mut self,
        request: &SharedPage,
        response: &SharedPage,
        data: Option<&SharedBuffer>,
    ) -> Result<GuestRequestOutcome, Refused> {
        let code = match data {
            Some(data) => {
                self.set(GhcbField::Rax, data.physical());
                self.set(GhcbField::Rbx, (data.bytes() as u64) / PAGE_BYTES);
                ExitCode::ExtendedGuestRequest
            }
            None => ExitCode::GuestRequest,
        };
        self.call(code, request.physical(), response.physical()).map(GuestRequestOutcome::decode)
    }

    /// Asks for the list of APIC ids in `buffer`: a count, then the ids, 32 bits each. The host may write anything there.
    pub fn apic_ids(&mut self, buffer: &SharedPage) -> Result<(), Refused> {
        let address = buffer.physical();
        self.set(GhcbField::Rax, 1);
        self.call(ExitCode::ApicIdList, address, 0)?;
        // RAX comes back as the number of pages that the list needs.
        if self.field(GhcbField::Rax) > 1 { Err(Refused) } else { Ok(()) }
    }
}

const _: () = assert!(offset_of!(GhcbPage, protocol_version) as u64 == PAGE_BYTES - 6);
