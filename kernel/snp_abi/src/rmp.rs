//! Operands and results of PVALIDATE, RMPADJUST and RMPQUERY, VMPLs and their permissions (AMD 24593 volume 2,
//! 15.36, and volume 3), and what a violation looks like from outside.

use bitflags::bitflags;

use crate::wire_enum::wire_enum;

/// The bytes of PVALIDATE.
pub const PVALIDATE_INSTRUCTION: [u8; 4] = [0xF2, 0x0F, 0x01, 0xFF];
/// The bytes of RMPADJUST.
pub const RMPADJUST_INSTRUCTION: [u8; 4] = [0xF3, 0x0F, 0x01, 0xFE];
/// The bytes of RMPQUERY.
pub const RMPQUERY_INSTRUCTION: [u8; 4] = [0xF3, 0x0F, 0x01, 0xFD];

wire_enum! {
    /// Virtual machine privilege level; 0 is the most privileged. The order is numeric.
    pub enum Vmpl: u8 {
        /// The paravisor.
        Vmpl0 = 0,
        /// Unused by this firmware.
        Vmpl1 = 1,
        /// The guest operating system.
        Vmpl2 = 2,
        /// The least privileged.
        Vmpl3 = 3,
    }
}

/// Levels that exist.
pub const VMPL_COUNT: usize = Vmpl::ALL.len();

impl Vmpl {
    /// Position in a table with one row per level.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

bitflags! {
    /// What a VMPL may do with a page; the bits of RMPADJUST RDX 15:8 and of the RMP entry.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Permissions: u8 {
        /// Data reads.
        const READ = 1 << 0;
        /// Data writes; without `READ` an illegal setting.
        const WRITE = 1 << 1;
        /// Instruction fetch at CPL 3.
        const USER_EXECUTE = 1 << 2;
        /// Instruction fetch at CPL 0 to 2.
        const SUPERVISOR_EXECUTE = 1 << 3;
        /// Supervisor shadow stack.
        const SUPERVISOR_SHADOW_STACK = 1 << 4;
    }
}

impl Permissions {
    /// Everything that an ordinary guest page needs.
    pub const READ_WRITE_EXECUTE: Self =
        Self::READ.union(Self::WRITE).union(Self::USER_EXECUTE).union(Self::SUPERVISOR_EXECUTE);
}

wire_enum! {
    /// EAX after PVALIDATE, RMPADJUST, RMPQUERY and the host's RMP instructions.
    pub enum RmpStatus: u32 {
        /// Done.
        Success = 0,
        /// An operand is invalid.
        FailInput = 1,
        /// The page or the caller does not permit it.
        FailPermission = 2,
        /// The page is in use, by a running VMSA for instance.
        FailInUse = 3,
        /// Host only: a 2 MiB entry overlaps 4 KiB ones.
        FailOverlap = 4,
        /// The page size asked for is larger than the RMP entry's.
        FailSizeMismatch = 6,
    }
}

/// RMPADJUST's RDX.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RmpAdjust {
    /// The level whose permissions change.
    pub target: Vmpl,
    /// The new permissions.
    pub permissions: Permissions,
    /// Whether the page is a VMSA; only VMPL0 may set it.
    pub is_vmsa: bool,
}

/// RDX with a level or permission that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidAttributes;

impl RmpAdjust {
    const VMSA: u64 = 1 << 16;

    /// The attributes register.
    #[must_use]
    pub const fn encode(self) -> u64 {
        self.target.to_wire() as u64
            | (self.permissions.bits() as u64) << 8
            | if self.is_vmsa { Self::VMSA } else { 0 }
    }

    /// Reads the attributes register.
    ///
    /// # Errors
    /// If the level does not exist, a permission bit has no meaning, or bits 63:17 are not zero.
    pub const fn decode(value: u64) -> Result<Self, InvalidAttributes> {
        let (Some(target), Some(permissions)) =
            (Vmpl::from_wire(value as u8), Permissions::from_bits((value >> 8) as u8))
        else {
            return Err(InvalidAttributes);
        };
        if value >> 17 != 0 {
            return Err(InvalidAttributes);
        }
        Ok(Self { target, permissions, is_vmsa: value & Self::VMSA != 0 })
    }
}

/// RMPQUERY's RDX after the instruction: 7:0 the level asked about, 15:8 its permissions. The page size is in RCX.
///
/// Encoding and operands of RMPQUERY are secondary knowledge; no decision may rest on it alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RmpQuery {
    /// The level asked about.
    pub target: Vmpl,
    /// Its permissions.
    pub permissions: Permissions,
}

impl RmpQuery {
    /// The attributes register.
    #[must_use]
    pub const fn encode(self) -> u64 {
        self.target.to_wire() as u64 | (self.permissions.bits() as u64) << 8
    }

    /// Reads the attributes register.
    ///
    /// # Errors
    /// If the level does not exist or a permission bit has no meaning.
    pub const fn decode(value: u64) -> Result<Self, InvalidAttributes> {
        match (Vmpl::from_wire(value as u8), Permissions::from_bits((value >> 8) as u8)) {
            (Some(target), Some(permissions)) => Ok(Self { target, permissions }),
            _ => Err(InvalidAttributes),
        }
    }
}

bitflags! {
    /// `EXITINFO1` of a nested page fault (AMD 24593 volume 2, 15.25.6 and 15.36.10).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct NestedPageFault: u64 {
        /// The nested translation was present.
        const PRESENT = 1 << 0;
        /// The access was a write.
        const WRITE = 1 << 1;
        /// The access was made at CPL 3.
        const USER = 1 << 2;
        /// A reserved bit is set in a nested table entry.
        const RESERVED = 1 << 3;
        /// The access was an instruction fetch.
        const FETCH = 1 << 4;
        /// An RMP check failed.
        const RMP = 1 << 31;
        /// While translating the final guest-physical address.
        const FINAL = 1 << 32;
        /// While walking the guest's page tables.
        const PAGE_WALK = 1 << 33;
        /// The access was private: effective C-bit set.
        const ENCRYPTED = 1 << 34;
        /// Page sizes of RMP and nested table differ.
        const SIZE_MISMATCH = 1 << 35;
        /// The VMPL's permissions deny the access.
        const VMPL = 1 << 36;
        /// The supervisor shadow stack permission denies the access.
        const SHADOW_STACK = 1 << 37;
    }
}
