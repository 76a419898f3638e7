//! The guest policy: what the owner demands of the platform (AMD 56860, "guest policy").

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The policy's 64-bit word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct GuestPolicy(pub u64);

bitflags! {
    /// Bits 63:16 of the policy.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct PolicyFlags: u64 {
        /// Sibling threads may be on.
        const SMT_ALLOWED = 1 << 16;
        /// Always one.
        const RESERVED_ONE = 1 << 17;
        /// A migration agent may be bound.
        const MIGRATION_AGENT_ALLOWED = 1 << 18;
        /// The host may decrypt the guest's memory.
        const DEBUG_ALLOWED = 1 << 19;
        /// All vCPUs must run in one socket.
        const SINGLE_SOCKET = 1 << 20;
        /// CXL devices may be populated.
        const CXL_ALLOWED = 1 << 21;
        /// Memory must be encrypted with AES-256-XTS.
        const AES_256_XTS_REQUIRED = 1 << 22;
        /// Running average power limit must be off.
        const RAPL_DISABLED_REQUIRED = 1 << 23;
        /// Ciphertext hiding must be on.
        const CIPHERTEXT_HIDING_REQUIRED = 1 << 24;
        /// The host may not swap or move pages.
        const PAGE_SWAP_DISABLED = 1 << 25;
    }
}

impl GuestPolicy {
    /// QEMU's and this project's default: SMT allowed, no debug, no migration, any ABI version.
    pub const DEFAULT: Self = Self(PolicyFlags::SMT_ALLOWED.union(PolicyFlags::RESERVED_ONE).bits());

    /// Lowest acceptable ABI version of the PSP: (major, minor).
    #[must_use]
    pub const fn minimum_abi(self) -> (u8, u8) {
        ((self.0 >> 8) as u8, self.0 as u8)
    }

    /// The flags, with bits that no flag defines kept.
    #[must_use]
    pub const fn flags(self) -> PolicyFlags {
        PolicyFlags::from_bits_retain(self.0 & !0xFFFF)
    }

    /// Whether the PSP would accept the word: bit 17 is one and no unknown bit is set.
    #[must_use]
    pub const fn is_well_formed(self) -> bool {
        let flags = self.flags();
        flags.contains(PolicyFlags::RESERVED_ONE) && PolicyFlags::from_bits(flags.bits()).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_qemus() {
        assert_eq!(GuestPolicy::DEFAULT.0, 0x30000);
        assert!(GuestPolicy::DEFAULT.is_well_formed());
    }

    #[test]
    fn a_policy_without_bit_17_or_with_unknown_bits_is_malformed() {
        assert!(!GuestPolicy(0x10000).is_well_formed());
        assert!(!GuestPolicy(0x30000 | 1 << 26).is_well_formed());
        assert!(GuestPolicy(0x30000 | 0x0137).is_well_formed());
        assert_eq!(GuestPolicy(0x30137).minimum_abi(), (1, 0x37));
    }
}
