//! Tickets and structure tags: Part 2, sections 6.9 and 10.7.

use alloc::vec::Vec;

use super::buffers::DigestBuffer;
use super::handles::{Handle, HandleKind};
use crate::response_code::ResponseCode;
use crate::wire::{Marshal, Reader, Result, Unmarshal};

/// TPM_ST values.
pub mod tag {
    pub const RSP_COMMAND: u16 = 0x00C4;
    pub const NO_SESSIONS: u16 = 0x8001;
    pub const SESSIONS: u16 = 0x8002;
    pub const ATTEST_NV: u16 = 0x8014;
    pub const ATTEST_COMMAND_AUDIT: u16 = 0x8015;
    pub const ATTEST_SESSION_AUDIT: u16 = 0x8016;
    pub const ATTEST_CERTIFY: u16 = 0x8017;
    pub const ATTEST_QUOTE: u16 = 0x8018;
    pub const ATTEST_TIME: u16 = 0x8019;
    pub const ATTEST_CREATION: u16 = 0x801A;
    pub const ATTEST_NV_DIGEST: u16 = 0x801C;
    pub const CREATION: u16 = 0x8021;
    pub const VERIFIED: u16 = 0x8022;
    pub const AUTH_SECRET: u16 = 0x8023;
    pub const HASHCHECK: u16 = 0x8024;
    pub const AUTH_SIGNED: u16 = 0x8025;
}

/// TPMT_TK_CREATION, TPMT_TK_VERIFIED, TPMT_TK_AUTH or TPMT_TK_HASHCHECK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    pub tag: u16,
    pub hierarchy: Handle,
    pub digest: DigestBuffer,
}

impl Ticket {
    /// The ticket that proves nothing.
    pub const fn null(tag: u16) -> Self {
        Self { tag, hierarchy: Handle::NULL, digest: DigestBuffer::new() }
    }

    /// A ticket with one of `tags`: TPM_RC_TAG for another.
    pub fn unmarshal_tagged(reader: &mut Reader<'_>, tags: &[u16]) -> Result<Self> {
        let tag = reader.read()?;
        if !tags.contains(&tag) {
            return Err(ResponseCode::TAG);
        }
        Ok(Self { tag, hierarchy: HandleKind::Hierarchy.unmarshal(reader)?, digest: reader.read()? })
    }

    /// TPMT_TK_CREATION.
    pub fn unmarshal_creation(reader: &mut Reader<'_>) -> Result<Self> {
        Self::unmarshal_tagged(reader, &[tag::CREATION])
    }

    /// TPMT_TK_VERIFIED.
    pub fn unmarshal_verified(reader: &mut Reader<'_>) -> Result<Self> {
        Self::unmarshal_tagged(reader, &[tag::VERIFIED])
    }

    /// TPMT_TK_AUTH.
    pub fn unmarshal_auth(reader: &mut Reader<'_>) -> Result<Self> {
        Self::unmarshal_tagged(reader, &[tag::AUTH_SIGNED, tag::AUTH_SECRET])
    }

    /// TPMT_TK_HASHCHECK.
    pub fn unmarshal_hash_check(reader: &mut Reader<'_>) -> Result<Self> {
        Self::unmarshal_tagged(reader, &[tag::HASHCHECK])
    }
}

impl Marshal for Ticket {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.tag.marshal(out);
        self.hierarchy.marshal(out);
        self.digest.marshal(out);
    }
}

/// TPM_SU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartupType {
    Clear,
    State,
}

impl Unmarshal for StartupType {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self> {
        match reader.read::<u16>()? {
            0 => Ok(Self::Clear),
            1 => Ok(Self::State),
            _ => Err(ResponseCode::VALUE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_of_another_kind_is_a_tag_error() {
        let bytes = [0x80, 0x22, 0x40, 0, 0, 7, 0, 0];
        assert_eq!(Ticket::unmarshal_verified(&mut Reader::new(&bytes)), Ok(Ticket::null(tag::VERIFIED)));
        assert_eq!(Ticket::unmarshal_creation(&mut Reader::new(&bytes)), Err(ResponseCode::TAG));
        let foreign = [0x80, 0x22, 0x40, 0, 0, 9, 0, 0];
        assert_eq!(Ticket::unmarshal_verified(&mut Reader::new(&foreign)), Err(ResponseCode::VALUE));
    }
}
