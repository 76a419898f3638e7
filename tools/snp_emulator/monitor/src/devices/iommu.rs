//! What devices may reach: an IOMMU between QEMU's PCI devices and memory, whose tables have the guest's shared pages and nothing
//! else.
//!
//! On hardware the IOMMU asks the RMP whether the host owns a page. Here QEMU's emulation of Intel's VT-d stands in, which
//! belongs to the monitor: its tables follow every change of page state, the guest does not see it. What it refuses, it tells
//! processor 0 by an NMI; that is a violation ([`World::judge_devices`]).
//!
//! Source: Intel VT-d specification 4.1, chapters 3 (legacy mode tables), 9 (their entries) and 11 (registers).

use crate::nested::{MapSize, NestedTables, Rights};
use crate::world::World;
use crate::{heap, physical};
use model::machine::Changed;
use model::{Fault, Machine};
use snp_abi::address::{LARGE_PAGE_BYTES, PAGE_BYTES, PageSize};
use snp_abi::rmp::Vmpl;

/// Where QEMU's q35 has the registers.
const REGISTERS: u64 = 0xfed9_0000;
const REGISTER_BYTES: u64 = 0x1000;
const GLOBAL_COMMAND: u64 = REGISTERS + 0x18;
const ROOT_TABLE: u64 = REGISTERS + 0x20;
const CONTEXT_COMMAND: u64 = REGISTERS + 0x28;
const FAULT_STATUS: u64 = REGISTERS + 0x34;
const FAULT_EVENT_CONTROL: u64 = REGISTERS + 0x38;
const FAULT_EVENT_DATA: u64 = REGISTERS + 0x3c;
const FAULT_EVENT_ADDRESS: u64 = REGISTERS + 0x40;
const FAULT_EVENT_UPPER_ADDRESS: u64 = REGISTERS + 0x44;
/// Offset of IOTLB invalidation and of the fault record, as QEMU's capability registers have them.
const INVALIDATE: u64 = REGISTERS + 0xf8;
const FAULT_RECORD: u64 = REGISTERS + 0x220;

const TRANSLATION_ENABLE: u32 = 1 << 31;
const SET_ROOT: u32 = 1 << 30;
const INVALIDATE_ALL_CONTEXTS: u64 = 1 << 63 | 1 << 61;
const INVALIDATE_ALL: u64 = 1 << 63 | 1 << 60;
/// Fault status: overflow, a record is pending.
const FAULT_OVERFLOW: u32 = 1;
const FAULT_PENDING: u32 = 1 << 1;
/// Of the record's second half: it is valid; the device that asked.
const RECORD_VALID: u64 = 1 << 63;
const RECORD_DEVICE: u64 = 0xffff;
/// An NMI for the processor that is no vCPU's.
const EVENT_ADDRESS: u32 = 0xfee0_0000 | (crate::apic::SPARE_ID as u32) << 12;
const EVENT_DATA: u32 = 4 << 8;

const PRESENT: u64 = 1;
/// Levels of the tables, and how a context entry says so (48 bits).
const LEVELS: u32 = 4;
const CONTEXT_WIDTH: u64 = 2;
const CONTEXT_DOMAIN: u64 = 1 << 8;
/// Entries of the root table (one for each bus) and of a context table (one for each device and function).
const ENTRIES: u64 = 256;
const ENTRY_BYTES: u64 = 16;

/// Whether an address is one of the IOMMU's registers, which are not the guest's.
pub fn is_register(address: u64) -> bool {
    (REGISTERS..REGISTERS + REGISTER_BYTES).contains(&address)
}

/// The IOMMU's tables.
pub struct Iommu {
    tables: NestedTables,
}

fn write_entry(table: u64, index: u64, low: u64, high: u64) {
    // SAFETY: the tables come from `heap::frame` for good, and the index is below `ENTRIES`.
    unsafe { ((table + index * ENTRY_BYTES) as *mut [u64; 2]).write_volatile([low, high]) };
}

impl Iommu {
    /// Turns it on, with tables in which devices reach nothing.
    pub fn new() -> Self {
        let tables = NestedTables::with_levels(LEVELS);
        let [root, contexts] = [(); 2].map(|()| heap::frame(1));
        for index in 0..ENTRIES {
            write_entry(root, index, contexts | PRESENT, 0);
            write_entry(contexts, index, tables.root() | PRESENT, CONTEXT_DOMAIN | CONTEXT_WIDTH);
        }
        physical::write_u64(ROOT_TABLE, root);
        physical::write_u32(GLOBAL_COMMAND, SET_ROOT);
        physical::write_u64(CONTEXT_COMMAND, INVALIDATE_ALL_CONTEXTS);
        physical::write_u64(INVALIDATE, INVALIDATE_ALL);
        physical::write_u32(FAULT_EVENT_DATA, EVENT_DATA);
        physical::write_u32(FAULT_EVENT_ADDRESS, EVENT_ADDRESS);
        physical::write_u32(FAULT_EVENT_UPPER_ADDRESS, 0);
        physical::write_u32(FAULT_EVENT_CONTROL, 0);
        physical::write_u32(GLOBAL_COMMAND, TRANSLATION_ENABLE);
        Self { tables }
    }

    /// Makes what devices reach of these pages agree with their state.
    pub fn follow(&mut self, model: &Machine, changed: Changed) {
        let Changed { address, size } = changed;
        let rights = Rights { write: true, execute: true };
        let pages = || (0..size.small_pages()).map(|page| address + page * PAGE_BYTES);
        let is_shared = |page: u64| model.host_may_access(page, PAGE_BYTES);
        if size == PageSize::Large && address.is_multiple_of(LARGE_PAGE_BYTES) && pages().all(is_shared) {
            self.tables.map(address, address, MapSize::Large, rights);
            return;
        }
        let mut any_private = false;
        for page in pages() {
            if is_shared(page) {
                self.tables.map(page, page, MapSize::Small, rights);
            } else {
                any_private |= self.tables.unmap(page, MapSize::Small);
            }
        }
        if any_private {
            physical::write_u64(INVALIDATE, INVALIDATE_ALL);
        }
    }

    /// The fault that is pending, as device and address.
    fn take_fault() -> Option<(u16, u64)> {
        if physical::read_u32(FAULT_STATUS) & (FAULT_PENDING | FAULT_OVERFLOW) == 0 {
            return None;
        }
        let address = physical::read_u64(FAULT_RECORD) & !(PAGE_BYTES - 1);
        let record = physical::read_u64(FAULT_RECORD + 8);
        // Both are cleared by writing ones.
        physical::write_u64(FAULT_RECORD + 8, RECORD_VALID);
        physical::write_u32(FAULT_STATUS, FAULT_OVERFLOW | FAULT_PENDING);
        (record & RECORD_VALID != 0).then_some(((record & RECORD_DEVICE) as u16, address))
    }
}

impl World {
    /// Lets devices reach what is shared at launch.
    pub fn admit_devices(&mut self) {
        for range in &self.settings.ram {
            for address in (range.start..range.start + range.bytes).step_by(LARGE_PAGE_BYTES as usize) {
                self.devices.iommu.follow(&self.model, Changed { address, size: PageSize::Large });
            }
        }
    }

    /// Reports what devices tried; processor 0 asks when an NMI arrives. Says whether there was anything.
    pub fn judge_devices(&mut self) -> bool {
        let Some((device, address)) = Iommu::take_fault() else { return false };
        // Which software told the device to, nobody knows: the guest owns the devices.
        let actor = model::machine::Actor { vcpu: 0, vmpl: Vmpl::Vmpl2 };
        self.model.report(actor, Fault::DeviceReach { address, device });
        self.judge();
        true
    }
}
