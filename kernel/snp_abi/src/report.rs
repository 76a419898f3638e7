//! The attestation report, versions 2 to 5 (AMD 56860, "ATTESTATION_REPORT").

use core::mem::offset_of;

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::policy::GuestPolicy;
use crate::signature::{ALGORITHM_ECDSA_P384_SHA384, EcdsaSignature};
use crate::tcb::{Generation, TcbVersion};
use crate::wire_enum::wire_enum;

/// Bytes of a report.
pub const REPORT_BYTES: usize = 0x4A0;
/// Bytes that the signature covers.
pub const SIGNED_BYTES: usize = 0x2A0;
/// Versions whose layout is known.
pub const KNOWN_VERSIONS: core::ops::RangeInclusive<u32> = 2..=5;

wire_enum! {
    /// Which key signed a report.
    pub enum SigningKey: u8 {
        /// The chip's.
        Vcek = 0,
        /// The cloud's.
        Vlek = 1,
        /// None: the report is not signed.
        None = 7,
    }
}

bitflags! {
    /// State of the platform.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct PlatformInformation: u64 {
        /// Sibling threads are on.
        const SMT = 1 << 0;
        /// Transparent encryption of all memory is on.
        const TSME = 1 << 1;
        /// Memory has ECC.
        const ECC = 1 << 2;
        /// Running average power limit is off.
        const RAPL_DISABLED = 1 << 3;
        /// Ciphertext hiding is on.
        const CIPHERTEXT_HIDING = 1 << 4;
        /// Memory was checked for aliases.
        const ALIAS_CHECK_COMPLETE = 1 << 5;
        /// SEV-TIO is on.
        const SEV_TIO = 1 << 7;
        // A later platform's bits stay visible.
        const _ = !0;
    }
}

/// The key information word at 0x48.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct KeyInformation(pub u32);

impl KeyInformation {
    /// The word for these settings.
    #[must_use]
    pub const fn new(signing_key: SigningKey, is_chip_key_masked: bool, has_author_key: bool) -> Self {
        Self(has_author_key as u32 | (is_chip_key_masked as u32) << 1 | (signing_key.to_wire() as u32) << 2)
    }

    /// Whether an author key vouched for the ID key.
    #[must_use]
    pub const fn has_author_key(self) -> bool {
        self.0 & 1 != 0
    }

    /// Whether the host masked chip id and signature.
    #[must_use]
    pub const fn is_chip_key_masked(self) -> bool {
        self.0 & 1 << 1 != 0
    }

    /// Which key signed, `None` for an unknown number.
    #[must_use]
    pub const fn signing_key(self) -> Option<SigningKey> {
        SigningKey::from_wire((self.0 >> 2) as u8 & 0b111)
    }
}

/// Version of the PSP's firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FirmwareVersion {
    /// Build number.
    pub build: u8,
    /// Minor ABI version.
    pub minor: u8,
    /// Major ABI version.
    pub major: u8,
    reserved: u8,
}

impl FirmwareVersion {
    /// A version.
    #[must_use]
    pub const fn new(major: u8, minor: u8, build: u8) -> Self {
        Self { build, minor, major, reserved: 0 }
    }
}

/// The report.
#[derive(Debug, Clone, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct AttestationReport {
    /// Version of this layout.
    pub version: u32,
    /// Security version of the guest, from the ID block.
    pub guest_svn: u32,
    /// The guest's policy.
    pub policy: GuestPolicy,
    /// From the ID block.
    pub family_id: [u8; 16],
    /// From the ID block.
    pub image_id: [u8; 16],
    /// Level that asked.
    pub vmpl: u32,
    /// 1 for ECDSA P-384 with SHA-384.
    pub signature_algorithm: u32,
    /// TCB that runs now.
    pub current_tcb: TcbVersion,
    /// [`PlatformInformation`].
    pub platform_information: u64,
    /// Which keys are involved.
    pub key_information: KeyInformation,
    reserved_0x04c: u32,
    /// The asker's data.
    pub report_data: [u8; 64],
    /// The launch digest.
    pub measurement: [u8; 48],
    /// The host's data, given at launch.
    pub host_data: [u8; 32],
    /// Digest of the ID key.
    pub id_key_digest: [u8; 48],
    /// Digest of the author key.
    pub author_key_digest: [u8; 48],
    /// This guest's report id.
    pub report_id: [u8; 32],
    /// Its migration agent's report id.
    pub report_id_migration_agent: [u8; 32],
    /// The TCB for which the endorsement key was derived.
    pub reported_tcb: TcbVersion,
    /// Combined CPU family, from version 3 on.
    pub cpu_family: u8,
    /// Combined CPU model, from version 3 on.
    pub cpu_model: u8,
    /// CPU stepping, from version 3 on.
    pub cpu_stepping: u8,
    reserved_0x18b: [u8; 21],
    /// The chip, zero if masked.
    pub chip_id: [u8; 64],
    /// TCB below which the platform cannot go back.
    pub committed_tcb: TcbVersion,
    /// Running firmware.
    pub current_version: FirmwareVersion,
    /// Committed firmware.
    pub committed_version: FirmwareVersion,
    /// TCB when the guest was launched.
    pub launch_tcb: TcbVersion,
    /// Mitigations at launch, from version 5 on.
    pub launch_mitigations: u64,
    /// Mitigations now, from version 5 on.
    pub current_mitigations: u64,
    reserved_0x208: [u8; 152],
    /// By the endorsement key over the bytes before it.
    pub signature: EcdsaSignature,
}

/// Why bytes are no report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidReport {
    /// Not exactly [`REPORT_BYTES`] long; the length is given.
    Length(usize),
    /// A version whose layout is unknown.
    Version(u32),
    /// A signature algorithm other than ECDSA P-384.
    SignatureAlgorithm(u32),
}

impl AttestationReport {
    /// Reads a report. The signature is not verified: until it is, every field is a claim.
    ///
    /// # Errors
    /// If length, version or signature algorithm are unknown.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidReport> {
        let report = Self::read_from_bytes(bytes).map_err(|_| InvalidReport::Length(bytes.len()))?;
        if !KNOWN_VERSIONS.contains(&report.version) {
            return Err(InvalidReport::Version(report.version));
        }
        if report.signature_algorithm != ALGORITHM_ECDSA_P384_SHA384 {
            return Err(InvalidReport::SignatureAlgorithm(report.signature_algorithm));
        }
        Ok(report)
    }

    /// The bytes that the signature covers.
    #[must_use]
    pub fn signed_bytes(&self) -> &[u8] {
        self.as_bytes().get(..SIGNED_BYTES).unwrap_or_default()
    }

    /// The processor generation, `None` if the report does not name one that is known: version 2 never does, and
    /// its reader has to know the generation from elsewhere.
    #[must_use]
    pub const fn generation(&self) -> Option<Generation> {
        if self.version < 3 { None } else { Generation::of_processor(self.cpu_family, self.cpu_model) }
    }

    /// State of the platform.
    #[must_use]
    pub const fn platform(&self) -> PlatformInformation {
        PlatformInformation::from_bits_retain(self.platform_information)
    }
}

const _: () = {
    assert!(size_of::<AttestationReport>() == REPORT_BYTES);
    assert!(offset_of!(AttestationReport, policy) == 0x008);
    assert!(offset_of!(AttestationReport, family_id) == 0x010);
    assert!(offset_of!(AttestationReport, image_id) == 0x020);
    assert!(offset_of!(AttestationReport, vmpl) == 0x030);
    assert!(offset_of!(AttestationReport, signature_algorithm) == 0x034);
    assert!(offset_of!(AttestationReport, current_tcb) == 0x038);
    assert!(offset_of!(AttestationReport, platform_information) == 0x040);
    assert!(offset_of!(AttestationReport, key_information) == 0x048);
    assert!(offset_of!(AttestationReport, report_data) == 0x050);
    assert!(offset_of!(AttestationReport, measurement) == 0x090);
    assert!(offset_of!(AttestationReport, host_data) == 0x0C0);
    assert!(offset_of!(AttestationReport, id_key_digest) == 0x0E0);
    assert!(offset_of!(AttestationReport, author_key_digest) == 0x110);
    assert!(offset_of!(AttestationReport, report_id) == 0x140);
    assert!(offset_of!(AttestationReport, report_id_migration_agent) == 0x160);
    assert!(offset_of!(AttestationReport, reported_tcb) == 0x180);
    assert!(offset_of!(AttestationReport, cpu_family) == 0x188);
    assert!(offset_of!(AttestationReport, chip_id) == 0x1A0);
    assert!(offset_of!(AttestationReport, committed_tcb) == 0x1E0);
    assert!(offset_of!(AttestationReport, current_version) == 0x1E8);
    assert!(offset_of!(AttestationReport, committed_version) == 0x1EC);
    assert!(offset_of!(AttestationReport, launch_tcb) == 0x1F0);
    assert!(offset_of!(AttestationReport, launch_mitigations) == 0x1F8);
    assert!(offset_of!(AttestationReport, current_mitigations) == 0x200);
    assert!(offset_of!(AttestationReport, signature) == SIGNED_BYTES);
};
