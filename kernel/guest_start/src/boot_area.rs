//! The pages that a directly booted guest finds at its start: boot parameters, cc_blob, secrets, CPUID page, calling
//! area, page tables. They lie together, just below the firmware's region.
//!
//! The contract is Linux's (`Documentation/arch/x86/boot.rst`, 64-bit entry, and `asm/sev.h`); bare-metal guests get the same.

use crate::facts::{MemoryRange, VmFacts};
use crate::long_mode;
use crate::memory::{CannotStart, GuestMemory};
use alloc::vec::Vec;
use core::mem::offset_of;
use core::ops::Range;
use snp_abi::address::{PAGE_BYTES, PAGE_LENGTH};
use snp_abi::linux::{
    BootParameters, CcBlob, CcBlobSetupData, E820Entry, E820Kind, SETUP_EVENT_LOG, SETUP_HEADER_OFFSET,
    SetupDataHeader, SetupHeader,
};
use snp_abi::secrets::{GuestArea, SecretsPage};
use svsm_protocol::PageState;
use zerocopy::{FromZeros, IntoBytes};

/// Pages of the area.
pub const PAGES: u64 = 16;
/// First, because Linux wants its setup data outside of reserved memory.
const SETUP_DATA: u64 = 0;
/// Setup data too: the event log, after the node's header.
const EVENT_LOG: u64 = 1;
const EVENT_LOG_PAGES: u64 = 2;
const EVENT_LOG_BYTES: usize = EVENT_LOG_PAGES as usize * PAGE_LENGTH;
const BOOT_PARAMETERS: u64 = 3;
const SECRETS: u64 = 4;
const CPUID: u64 = 5;
const CALLING_AREA: u64 = 6;
const COMMAND_LINE: u64 = 7;
const DESCRIPTORS: u64 = 8;
const CC_BLOB: u64 = 9;
const TABLES: u64 = 10;
const MASK_32: u64 = 0xffff_ffff;

/// The PC's ROM area, below 1 MiB.
const ROM_AREA: Range<u64> = 0xc_0000..0x10_0000;

/// The area, filled and granted.
pub struct BootArea {
    start: u64,
}

impl BootArea {
    /// Where the area lies: below the region, in RAM.
    pub fn place(facts: &VmFacts<'_>) -> Result<Self, CannotStart> {
        let end = facts.region.start;
        let start = end.checked_sub(PAGES * PAGE_BYTES).ok_or(CannotStart::Memory)?;
        if facts.is_memory(start, end) && end <= MASK_32 {
            Ok(Self { start })
        } else {
            Err(CannotStart::Memory)
        }
    }

    fn page(&self, number: u64) -> u64 {
        self.start.saturating_add(number.saturating_mul(PAGE_BYTES))
    }

    /// The area's addresses.
    pub fn range(&self) -> Range<u64> {
        self.start..self.page(PAGES)
    }

    /// The boot parameters, for RSI.
    pub fn boot_parameters(&self) -> u64 {
        self.page(BOOT_PARAMETERS)
    }

    /// The command line.
    pub fn command_line(&self) -> u64 {
        self.page(COMMAND_LINE)
    }

    /// The calling area of the boot vCPU.
    pub fn calling_area(&self) -> u64 {
        self.page(CALLING_AREA)
    }

    /// The GDT.
    pub fn descriptors(&self) -> u64 {
        self.page(DESCRIPTORS)
    }

    /// The top page table.
    pub fn tables(&self) -> u64 {
        self.page(TABLES)
    }

    /// What the guest that ran before left in its part of the secrets page; none if it has given the page away.
    pub fn last_guest_area(&self, memory: &mut GuestMemory<'_>) -> Option<GuestArea> {
        let mut area = GuestArea::new_zeroed();
        let place = self.page(SECRETS).saturating_add(offset_of!(SecretsPage, guest_area) as u64);
        memory.read(place, area.as_mut_bytes()).ok().map(|()| area)
    }

    /// Fills and grants every page; `parameters` get the addresses of what they point to.
    pub fn fill(
        &self,
        memory: &mut GuestMemory<'_>,
        secrets: &dyn Fn(u64) -> SecretsPage,
        mut parameters: BootParameters,
        command_line: &[u8],
        event_log: &[u8],
    ) -> Result<(), CannotStart> {
        parameters.setup_header.setup_data = self.page(SETUP_DATA).into();
        parameters.setup_header.command_line = (self.command_line() as u32).into();
        let facts = memory.facts;
        let mut provide =
            |number: u64, contents: &[u8], state| memory.provide(self.page(number), contents, state);
        provide(BOOT_PARAMETERS, parameters.as_bytes(), PageState::Guest)?;
        let blob = self.page(CC_BLOB);
        let mut node = CcBlobSetupData::new(blob as u32);
        if !event_log.is_empty() {
            node.next = self.page(EVENT_LOG).into();
        }
        provide(SETUP_DATA, node.as_bytes(), PageState::Guest)?;
        let log = event_log_node(event_log).ok_or(CannotStart::Memory)?;
        for (number, page) in (EVENT_LOG..).zip(log.chunks(PAGE_LENGTH)) {
            provide(number, page, PageState::Guest)?;
        }
        provide(CC_BLOB, CcBlob::new(self.page(SECRETS), self.page(CPUID)).as_bytes(), PageState::Guest)?;
        provide(SECRETS, secrets(self.calling_area()).as_bytes(), PageState::Guest)?;
        provide(CPUID, facts.cpuid.as_bytes(), PageState::Guest)?;
        provide(CALLING_AREA, &[], PageState::CallingArea)?;
        provide(COMMAND_LINE, command_line, PageState::Guest)?;
        provide(DESCRIPTORS, long_mode::GDT.as_bytes(), PageState::Guest)?;
        for (number, table) in (TABLES..).zip(long_mode::tables(self.tables(), facts.c_bit)) {
            provide(number, table.as_bytes(), PageState::Guest)?;
        }
        Ok(())
    }

    /// Boot parameters with the memory map: RAM, but for the firmware's region, this area, and the ACPI tables, which lie
    /// below this area.
    pub fn parameters(&self, facts: &VmFacts<'_>, acpi: Option<MemoryRange>) -> BootParameters {
        let region = facts.region;
        let mut parameters = BootParameters::new_zeroed();
        let mut count = 0u8;
        let mut push = |start: u64, end: u64, kind: E820Kind| {
            if let Some(slot) = parameters.e820_table.get_mut(usize::from(count)).filter(|_| start < end) {
                *slot = E820Entry::new(start, end.saturating_sub(start), kind);
                count = count.saturating_add(1);
            }
        };
        let usable_end = self.page(EVENT_LOG + EVENT_LOG_PAGES);
        let acpi = acpi.unwrap_or(MemoryRange { start: usable_end, end: usable_end });
        for range in facts.memory {
            // Linux scans the PC's ROM area, which is the guest's memory, but no RAM to use.
            let range = MemoryRange {
                start: if range.start == ROM_AREA.start { ROM_AREA.end } else { range.start },
                ..*range
            };
            let holds_area = range.start <= acpi.start && region.end <= range.end;
            if !holds_area {
                push(range.start, range.end, E820Kind::Ram);
                continue;
            }
            push(range.start, acpi.start, E820Kind::Ram);
            push(acpi.start, acpi.end, E820Kind::Acpi);
            push(acpi.end, usable_end, E820Kind::Ram);
            push(usable_end, region.end, E820Kind::Reserved);
            push(region.end, range.end, E820Kind::Ram);
        }
        parameters.e820_entries = count;
        parameters
    }

    /// Completes the boot parameters, which the guest has already, with a kernel's setup header.
    pub fn set_header(
        &self,
        memory: &mut GuestMemory<'_>,
        mut header: SetupHeader,
    ) -> Result<(), CannotStart> {
        header.setup_data = self.page(SETUP_DATA).into();
        header.command_line = (self.command_line() as u32).into();
        let place = self.boot_parameters().saturating_add(SETUP_HEADER_OFFSET as u64);
        memory.write(place, header.as_bytes())
    }
}

/// The pages of the log's node; none if the log is too long.
fn event_log_node(log: &[u8]) -> Option<Vec<u8>> {
    let header = SetupDataHeader::last(SETUP_EVENT_LOG, u32::try_from(log.len()).ok()?);
    let mut node = header.as_bytes().to_vec();
    node.extend_from_slice(log);
    let fits = node.len() <= EVENT_LOG_BYTES;
    node.resize(EVENT_LOG_BYTES, 0);
    fits.then_some(node)
}
