//! The CPUID page: leaves that the PSP has checked, and how a guest reads them (AMD 56860, "CPUID reporting").
//!
//! [`CpuidPage::answer`] follows the rules of Linux's `snp_cpuid`, because the guest's table and the firmware's must
//! be read alike. A few values belong to one vCPU and come from the host or from the vCPU's own registers.

use core::mem::offset_of;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Entries that fit in the page.
pub const MAXIMUM_ENTRIES: usize = 64;

/// Leaf 0xD: extended state.
pub const LEAF_EXTENDED_STATE: u32 = 0xD;
/// Leaf 0x8000_001F: memory encryption.
pub const LEAF_MEMORY_ENCRYPTION: u32 = 0x8000_001F;

/// Leaves whose result depends on ECX (Linux `cpuid_function_is_indexed`).
const INDEXED_LEAVES: [u32; 14] =
    [0x4, 0x7, 0xB, 0xD, 0xF, 0x10, 0x12, 0x14, 0x17, 0x18, 0x1D, 0x1E, 0x1F, 0x8000_001D];

/// Bytes of the legacy XSAVE area and its header, where extended components start.
const LEGACY_SAVE_AREA_BYTES: u32 = 0x240;

/// A CPUID instruction's input, EAX and ECX.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuidQuery {
    /// EAX.
    pub leaf: u32,
    /// ECX.
    pub subleaf: u32,
}

/// A CPUID instruction's result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CpuidRegisters {
    /// EAX.
    pub eax: u32,
    /// EBX.
    pub ebx: u32,
    /// ECX.
    pub ecx: u32,
    /// EDX.
    pub edx: u32,
}

/// One row of the page.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CpuidEntry {
    /// EAX of the instruction.
    pub leaf: u32,
    /// ECX of the instruction.
    pub subleaf: u32,
    /// XCR0 for which the row holds.
    pub xcr0: u64,
    /// XSS for which the row holds.
    pub xss: u64,
    /// The result.
    pub registers: CpuidRegisters,
    /// Zero.
    pub reserved: u64,
}

/// The page.
#[derive(Debug, Clone, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CpuidPage {
    /// Rows in use.
    pub count: u32,
    /// Zero.
    pub reserved_0x004: [u8; 12],
    /// The rows.
    pub entries: [CpuidEntry; MAXIMUM_ENTRIES],
    reserved_0xc10: [u8; 0x3F0],
}

/// Why a CPUID page cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidCpuid {
    /// No rows, or more than fit.
    Count(u32),
    /// XCR0 or XSS enable a component without a row: the size of the save area is unknown.
    UnknownStateComponent,
}

/// What of a vCPU's registers changes CPUID results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessorState {
    /// CR4.OSXSAVE.
    pub os_xsave: bool,
    /// CR4.PKE.
    pub protection_keys: bool,
    /// XCR0; 1 while CR4.OSXSAVE is clear.
    pub xcr0: u64,
    /// XSS; 0 if the processor has no XSAVES.
    pub xss: u64,
}

impl CpuidPage {
    /// The rows in use, none if the count is impossible.
    #[must_use]
    pub fn rows(&self) -> &[CpuidEntry] {
        self.entries.get(..self.count as usize).unwrap_or_default()
    }

    /// Refuses a page without rows or with more than fit, as Linux does at boot.
    ///
    /// # Errors
    /// [`InvalidCpuid::Count`].
    pub const fn check(&self) -> Result<(), InvalidCpuid> {
        match self.count {
            1..=64 => Ok(()),
            count => Err(InvalidCpuid::Count(count)),
        }
    }

    /// The checked row for a query, before any per-vCPU value is put in.
    ///
    /// For sub-leaves 0 and 1 of leaf 0xD only the row of the legacy state (XCR0 1 or 3, XSS 0) counts.
    #[must_use]
    pub fn row(&self, query: CpuidQuery) -> Option<&CpuidEntry> {
        let indexed = INDEXED_LEAVES.contains(&query.leaf);
        self.rows().iter().find(|row| {
            let legacy = matches!(row.xcr0, 1 | 3) && row.xss == 0;
            row.leaf == query.leaf
                && (!indexed || row.subleaf == query.subleaf)
                && (legacy || row.leaf != LEAF_EXTENDED_STATE || row.subleaf > 1)
        })
    }

    /// Position of the C-bit in a page table entry, from leaf 0x8000_001F; `None` if the leaf is missing, shows no
    /// SEV, or names a bit outside 32..=51, where page table entries have none to spare.
    #[must_use]
    pub fn c_bit_position(&self) -> Option<u32> {
        let registers = self.row(CpuidQuery { leaf: LEAF_MEMORY_ENCRYPTION, subleaf: 0 })?.registers;
        let position = registers.ebx & 0x3F;
        let is_sev = registers.eax & 1 << 1 != 0;
        (is_sev && (32..=51).contains(&position)).then_some(position)
    }

    /// The result of a CPUID instruction on a vCPU with these registers.
    ///
    /// `ask_host` is called for the few values that belong to one vCPU: APIC ids and node.
    ///
    /// # Errors
    /// [`InvalidCpuid::UnknownStateComponent`] for leaf 0xD of an impossible state; `ask_host`'s own error.
    pub fn answer<E: From<InvalidCpuid>>(
        &self,
        query: CpuidQuery,
        state: ProcessorState,
        mut ask_host: impl FnMut(CpuidQuery) -> Result<CpuidRegisters, E>,
    ) -> Result<CpuidRegisters, E> {
        let found = self.row(query).map(|row| row.registers);
        if found.is_none() && !self.is_in_range(query.leaf) {
            return Ok(CpuidRegisters::default());
        }
        let mut result = found.unwrap_or_default();
        match query.leaf {
            0x1 => {
                let host = ask_host(query)?;
                result.ebx = merge(result.ebx, host.ebx, 0xFF00_0000);
                result.edx = merge(result.edx, host.edx, 1 << 9);
                if state.os_xsave {
                    result.ecx |= 1 << 27;
                }
            }
            0x7 => result.ecx = merge(result.ecx, u32::from(state.protection_keys) << 4, 1 << 4),
            0xB => result.edx = ask_host(CpuidQuery { leaf: 0xB, subleaf: 0 })?.edx,
            LEAF_EXTENDED_STATE if query.subleaf <= 1 => {
                result.ebx = self.save_area_bytes(query.subleaf, result.eax, state)?;
            }
            0x8000_001E => {
                let host = ask_host(query)?;
                result.eax = host.eax;
                result.ebx = merge(result.ebx, host.ebx, 0xFF);
                result.ecx = merge(result.ecx, host.ecx, 0xFF);
            }
            _ => {}
        }
        Ok(result)
    }

    /// Whether a leaf lies in one of the ranges that leaves 0, 0x4000_0000 and 0x8000_0000 announce.
    fn is_in_range(&self, leaf: u32) -> bool {
        let base = match leaf >> 28 {
            0x0..=0x3 => 0,
            0x4..=0x7 => 0x4000_0000,
            _ => 0x8000_0000,
        };
        let maximum = self.row(CpuidQuery { leaf: base, subleaf: 0 }).map_or(0, |row| row.registers.eax);
        leaf <= maximum
    }

    /// Bytes of the XSAVE area for the enabled components, from the sizes and offsets of sub-leaves 2 to 63.
    fn save_area_bytes(
        &self,
        subleaf: u32,
        instructions: u32,
        state: ProcessorState,
    ) -> Result<u32, InvalidCpuid> {
        // Sub-leaf 1 EAX: bit 1 XSAVEC, bit 3 XSAVES; both use the compacted form, and only XSAVES saves XSS state.
        let (compacted, xss) = match subleaf {
            1 => (instructions & 0b1010 != 0, if instructions & 0b1000 != 0 { state.xss } else { 0 }),
            _ => (false, 0),
        };
        let xcr0 = if state.os_xsave { state.xcr0 } else { 1 };
        let enabled = xcr0 | xss;
        let (mut found, mut bytes) = (0_u64, LEGACY_SAVE_AREA_BYTES);
        for row in self.rows() {
            if row.leaf != LEAF_EXTENDED_STATE || !(2..64).contains(&row.subleaf) {
                continue;
            }
            let component = 1_u64.checked_shl(row.subleaf).unwrap_or(0);
            if enabled & component == 0 || found & component != 0 {
                continue;
            }
            found |= component;
            let (size, offset) = (row.registers.eax, row.registers.ebx);
            bytes = if compacted { bytes.wrapping_add(size) } else { bytes.max(size.wrapping_add(offset)) };
        }
        if found == enabled & !0b11 { Ok(bytes) } else { Err(InvalidCpuid::UnknownStateComponent) }
    }
}

/// The bits of `mask` from the host, the others from the table.
const fn merge(table: u32, host: u32, mask: u32) -> u32 {
    table & !mask | host & mask
}

const _: () = {
    assert!(size_of::<CpuidEntry>() == 48);
    assert!(offset_of!(CpuidEntry, xcr0) == 0x08);
    assert!(offset_of!(CpuidEntry, xss) == 0x10);
    assert!(offset_of!(CpuidEntry, registers) == 0x18);
    assert!(offset_of!(CpuidEntry, reserved) == 0x28);
    assert!(offset_of!(CpuidPage, entries) == 0x10);
    assert!(size_of::<CpuidPage>() == 0x1000);
};
