//! What the TPM signs about itself, and what it says about a creation: Part 2, sections 10.11, 10.12 and 15.

use alloc::vec::Vec;

use super::attributes::Locality;
use super::buffers::{Buffer, DigestBuffer, Name};
use super::limits::MAX_DATA_BYTES;
use super::pcr_selection::PcrSelectionList;
use super::tickets::tag;
use crate::crypto::hash::HashAlgorithm;
use crate::wire::{Marshal, put_sized};

/// TPM2B_DATA.
pub type Data = Buffer<MAX_DATA_BYTES>;

/// TPMS_CLOCK_INFO.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClockInfo {
    pub clock: u64,
    pub reset_count: u32,
    pub restart_count: u32,
    pub safe: bool,
}

impl Marshal for ClockInfo {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.clock.marshal(out);
        self.reset_count.marshal(out);
        self.restart_count.marshal(out);
        self.safe.marshal(out);
    }
}

/// TPMS_TIME_INFO.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimeInfo {
    pub time: u64,
    pub clock_info: ClockInfo,
}

impl Marshal for TimeInfo {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.time.marshal(out);
        self.clock_info.marshal(out);
    }
}

/// TPMU_ATTEST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attested {
    Certify { name: Name, qualified_name: Name },
    Creation { object_name: Name, creation_hash: DigestBuffer },
    Quote { selection: PcrSelectionList, digest: DigestBuffer },
    CommandAudit { counter: u64, digest_hash: u16, audit_digest: DigestBuffer, command_digest: DigestBuffer },
    SessionAudit { exclusive: bool, digest: DigestBuffer },
    Time { time: TimeInfo, firmware_version: u64 },
    Nv { index_name: Name, offset: u16, contents: Vec<u8> },
    NvDigest { index_name: Name, digest: DigestBuffer },
}

/// TPMS_ATTEST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attest {
    pub qualified_signer: Name,
    pub extra_data: Data,
    pub clock_info: ClockInfo,
    pub firmware_version: u64,
    pub attested: Attested,
}

/// TPM_GENERATED_VALUE: what no other signed structure begins with.
pub const GENERATED: u32 = 0xFF54_4347;

impl Attested {
    const fn tag(&self) -> u16 {
        match self {
            Self::Certify { .. } => tag::ATTEST_CERTIFY,
            Self::Creation { .. } => tag::ATTEST_CREATION,
            Self::Quote { .. } => tag::ATTEST_QUOTE,
            Self::CommandAudit { .. } => tag::ATTEST_COMMAND_AUDIT,
            Self::SessionAudit { .. } => tag::ATTEST_SESSION_AUDIT,
            Self::Time { .. } => tag::ATTEST_TIME,
            Self::Nv { .. } => tag::ATTEST_NV,
            Self::NvDigest { .. } => tag::ATTEST_NV_DIGEST,
        }
    }
}

impl Marshal for Attested {
    fn marshal(&self, out: &mut Vec<u8>) {
        match self {
            Self::Certify { name, qualified_name } => {
                name.marshal(out);
                qualified_name.marshal(out);
            }
            Self::Creation { object_name, creation_hash } => {
                object_name.marshal(out);
                creation_hash.marshal(out);
            }
            Self::Quote { selection, digest } => {
                selection.marshal(out);
                digest.marshal(out);
            }
            Self::CommandAudit { counter, digest_hash, audit_digest, command_digest } => {
                counter.marshal(out);
                digest_hash.marshal(out);
                audit_digest.marshal(out);
                command_digest.marshal(out);
            }
            Self::SessionAudit { exclusive, digest } => {
                exclusive.marshal(out);
                digest.marshal(out);
            }
            Self::Time { time, firmware_version } => {
                time.marshal(out);
                firmware_version.marshal(out);
            }
            Self::Nv { index_name, offset, contents } => {
                index_name.marshal(out);
                offset.marshal(out);
                put_sized(out, contents);
            }
            Self::NvDigest { index_name, digest } => {
                index_name.marshal(out);
                digest.marshal(out);
            }
        }
    }
}

impl Marshal for Attest {
    fn marshal(&self, out: &mut Vec<u8>) {
        GENERATED.marshal(out);
        self.attested.tag().marshal(out);
        self.qualified_signer.marshal(out);
        self.extra_data.marshal(out);
        self.clock_info.marshal(out);
        self.firmware_version.marshal(out);
        self.attested.marshal(out);
    }
}

/// TPMS_CREATION_DATA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreationData {
    pub selection: PcrSelectionList,
    pub pcr_digest: DigestBuffer,
    pub locality: Locality,
    /// `None` where the parent is a hierarchy.
    pub parent_name_hash: Option<HashAlgorithm>,
    pub parent_name: Name,
    pub parent_qualified_name: Name,
    pub outside_info: Data,
}

impl Marshal for CreationData {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.selection.marshal(out);
        self.pcr_digest.marshal(out);
        self.locality.marshal(out);
        self.parent_name_hash.marshal(out);
        self.parent_name.marshal(out);
        self.parent_qualified_name.marshal(out);
        self.outside_info.marshal(out);
    }
}
