//! The processors whose identity a machine can take: what their PSP says about itself.
//!
//! CPUID stays that of the processor that QEMU emulates; the identity is what report, certificates and secrets page say.

use snp_abi::report::{FirmwareVersion, PlatformInformation};
use snp_abi::tcb::{TcbParts, TcbVersion};

/// A processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuModel {
    /// Zen 3 server; reports of version 2.
    Milan,
    /// Zen 4 server; reports of version 3.
    Genoa,
    /// Zen 5 server; reports of version 5.
    Turin,
}

/// What is known of a processor.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// Name on the command line.
    pub name: &'static str,
    /// Name in certificates.
    pub product: &'static str,
    /// Combined family, model, stepping.
    pub processor: (u8, u8, u8),
    /// Version of its reports.
    pub report_version: u32,
    /// Its firmware.
    pub firmware: FirmwareVersion,
    /// Its TCB, in parts.
    pub tcb: TcbParts,
    /// How many bytes of the chip id differ from zero.
    pub chip_id_bytes: usize,
    /// State of the platform.
    pub platform: PlatformInformation,
}

/// All processors. Versions are those of evidence seen in public.
const IDENTITIES: [(CpuModel, Identity); 3] = [
    (
        CpuModel::Milan,
        Identity {
            name: "milan",
            product: "Milan",
            processor: (0x19, 0x01, 0x01),
            report_version: 2,
            firmware: FirmwareVersion::new(1, 55, 29),
            tcb: TcbParts { fmc: None, boot_loader: 4, tee: 0, snp: 0x18, microcode: 0xDB },
            chip_id_bytes: 64,
            platform: PlatformInformation::SMT,
        },
    ),
    (
        CpuModel::Genoa,
        Identity {
            name: "genoa",
            product: "Genoa",
            processor: (0x19, 0x11, 0x01),
            report_version: 3,
            firmware: FirmwareVersion::new(1, 55, 39),
            tcb: TcbParts { fmc: None, boot_loader: 10, tee: 0, snp: 0x17, microcode: 0x54 },
            chip_id_bytes: 64,
            platform: PlatformInformation::SMT.union(PlatformInformation::ECC),
        },
    ),
    (
        CpuModel::Turin,
        Identity {
            name: "turin",
            product: "Turin",
            processor: (0x1A, 0x02, 0x01),
            report_version: 5,
            firmware: FirmwareVersion::new(1, 58, 4),
            tcb: TcbParts { fmc: Some(1), boot_loader: 1, tee: 1, snp: 4, microcode: 0x4D },
            chip_id_bytes: 8,
            platform: PlatformInformation::SMT
                .union(PlatformInformation::ECC)
                .union(PlatformInformation::ALIAS_CHECK_COMPLETE),
        },
    ),
];

impl CpuModel {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Milan, Self::Genoa, Self::Turin];

    /// What is known of it.
    pub const fn identity(self) -> &'static Identity {
        &IDENTITIES[self as usize].1
    }

    /// The model with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|model| model.identity().name == name)
    }

    /// The TCB version; current, committed, reported and at launch are the same here.
    pub const fn tcb(self) -> TcbVersion {
        self.identity().tcb.version()
    }

    /// Family, model, stepping in the form of CPUID leaf 1 EAX.
    pub const fn signature(self) -> u32 {
        let (family, model, stepping) = self.identity().processor;
        let (family, model) = (family as u32, model as u32);
        (family - 0xF) << 20 | (model >> 4) << 16 | 0xF << 8 | (model & 0xF) << 4 | stepping as u32
    }

    /// A chip id of this processor from 64 random bytes.
    pub fn chip_id(self, mut random: [u8; 64]) -> [u8; 64] {
        random[self.identity().chip_id_bytes..].fill(0);
        random
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use snp_abi::tcb::Generation;

    #[test]
    fn the_table_is_in_the_order_of_the_models() {
        for (index, (model, identity)) in IDENTITIES.iter().enumerate() {
            assert_eq!(*model as usize, index);
            assert_eq!(CpuModel::from_name(identity.name), Some(*model));
        }
        assert_eq!(CpuModel::from_name("rome"), None);
    }

    #[test]
    fn the_processors_are_of_their_generation() {
        let generation = |model: CpuModel| {
            let (family, model, _) = model.identity().processor;
            Generation::of_processor(family, model)
        };
        assert_eq!(generation(CpuModel::Milan), Some(Generation::Milan));
        assert_eq!(generation(CpuModel::Genoa), Some(Generation::Genoa));
        assert_eq!(generation(CpuModel::Turin), Some(Generation::Turin));
        assert_eq!(CpuModel::Milan.signature(), 0x00a0_0f11);
        assert_eq!(CpuModel::Turin.signature(), 0x00b0_0f21);
    }
}
