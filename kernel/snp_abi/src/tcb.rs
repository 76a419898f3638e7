//! TCB versions: the security versions of the platform's parts, packed by processor generation (AMD 56860,
//! "TCB_VERSION").

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Processor generations that differ in keys, certificates or TCB layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Generation {
    /// Zen 3 server.
    Milan,
    /// Zen 4 server, with Bergamo and Siena.
    Genoa,
    /// Zen 5 server.
    Turin,
    /// Zen 6 server.
    Venice,
}

impl Generation {
    /// From the combined family and model of a version 3 report (table of the `sev` crate).
    #[must_use]
    pub const fn of_processor(family: u8, model: u8) -> Option<Self> {
        match (family, model) {
            (0x19, 0x00..=0x0F) => Some(Self::Milan),
            (0x19, 0x10..=0x1F | 0xA0..=0xAF) => Some(Self::Genoa),
            (0x1A, 0x00..=0x11) => Some(Self::Turin),
            (0x1A, 0x50..=0x57 | 0x90..=0xAF | 0xC0..=0xC7) => Some(Self::Venice),
            _ => None,
        }
    }

    /// Whether TCB versions have the layout that came with Turin.
    #[must_use]
    pub const fn has_fmc(self) -> bool {
        matches!(self, Self::Turin | Self::Venice)
    }
}

/// A TCB version's 8 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct TcbVersion(pub u64);

/// A TCB version in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcbParts {
    /// Firmware of the FMC, from Turin on.
    pub fmc: Option<u8>,
    /// PSP boot loader.
    pub boot_loader: u8,
    /// PSP operating system.
    pub tee: u8,
    /// SNP firmware.
    pub snp: u8,
    /// CPU microcode.
    pub microcode: u8,
}

impl TcbVersion {
    /// Takes the word apart.
    #[must_use]
    pub const fn parts(self, generation: Generation) -> TcbParts {
        let [b0, b1, b2, b3, _, _, b6, microcode] = self.0.to_le_bytes();
        if generation.has_fmc() {
            TcbParts { fmc: Some(b0), boot_loader: b1, tee: b2, snp: b3, microcode }
        } else {
            TcbParts { fmc: None, boot_loader: b0, tee: b1, snp: b6, microcode }
        }
    }
}

impl TcbParts {
    /// Puts the word together; parts without [`TcbParts::fmc`] get the older layout.
    #[must_use]
    pub const fn version(self) -> TcbVersion {
        let Self { fmc, boot_loader, tee, snp, microcode } = self;
        TcbVersion(u64::from_le_bytes(match fmc {
            Some(fmc) => [fmc, boot_loader, tee, snp, 0, 0, 0, microcode],
            None => [boot_loader, tee, 0, 0, 0, 0, snp, microcode],
        }))
    }

    /// Whether every part is at least as new as in `floor`.
    #[must_use]
    pub fn is_at_least(&self, floor: &Self) -> bool {
        self.fmc >= floor.fmc
            && self.boot_loader >= floor.boot_loader
            && self.tee >= floor.tee
            && self.snp >= floor.snp
            && self.microcode >= floor.microcode
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milan_and_turin_pack_differently() {
        let milan = TcbVersion(0xDB18_0000_0000_0004);
        let parts = TcbParts { fmc: None, boot_loader: 4, tee: 0, snp: 0x18, microcode: 0xDB };
        assert_eq!(milan.parts(Generation::Milan), parts);
        assert_eq!(parts.version(), milan);
        let turin = TcbVersion(0x4D00_0000_0401_0201);
        let parts = TcbParts { fmc: Some(1), boot_loader: 2, tee: 1, snp: 4, microcode: 0x4D };
        assert_eq!(turin.parts(Generation::Turin), parts);
        assert_eq!(parts.version(), turin);
    }

    #[test]
    fn one_older_part_makes_the_whole_older() {
        let floor = TcbVersion(0x0202_0000_0000_0202).parts(Generation::Genoa);
        assert!(floor.is_at_least(&floor));
        for older in [0x0102_0000_0000_0303, 0x0301_0000_0000_0303, 0x0303_0000_0000_0103] {
            assert!(!TcbVersion(older).parts(Generation::Genoa).is_at_least(&floor), "{older:#x}");
        }
    }

    #[test]
    fn generations_follow_family_and_model() {
        assert_eq!(Generation::of_processor(0x19, 0x01), Some(Generation::Milan));
        assert_eq!(Generation::of_processor(0x19, 0xA0), Some(Generation::Genoa));
        assert_eq!(Generation::of_processor(0x1A, 0x02), Some(Generation::Turin));
        assert_eq!(Generation::of_processor(0x17, 0x31), None);
    }
}
