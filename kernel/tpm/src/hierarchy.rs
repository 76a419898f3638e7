//! The four hierarchies and lockout: seeds, proofs, authorization, policies and enables. Part 1, section on hierarchies.

use alloc::vec::Vec;

use crate::crypto::hash::HashAlgorithm;
use crate::crypto::random::Random;
use crate::structures::buffers::DigestBuffer;
use crate::structures::handles::Handle;
use crate::wire::{Marshal, Reader, Result, Secret, Unmarshal};

const SEED_BYTES: usize = 64;
const PROOF_BYTES: usize = 64;

/// An authorization policy; no algorithm means no policy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    pub hash: Option<HashAlgorithm>,
    pub digest: DigestBuffer,
}

impl Marshal for Policy {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.hash.marshal(out);
        self.digest.marshal(out);
    }
}

impl Unmarshal for Policy {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self { hash: reader.read()?, digest: reader.read()? })
    }
}

/// One hierarchy.
#[derive(Debug, Clone, Default)]
pub struct Hierarchy {
    /// What primary objects are derived from.
    pub seed: Secret,
    /// The key of tickets and contexts.
    pub proof: Secret,
    pub auth: Secret,
    pub policy: Policy,
    pub enabled: bool,
}

/// All hierarchies.
#[derive(Debug, Clone, Default)]
pub struct Hierarchies {
    pub owner: Hierarchy,
    pub endorsement: Hierarchy,
    pub platform: Hierarchy,
    pub null: Hierarchy,
    pub lockout_auth: Secret,
    pub lockout_policy: Policy,
    /// phEnableNV: whether indices that the platform created are accessible.
    pub platform_nv_enabled: bool,
    /// TPM2_ClearControl: whether lockout may not clear.
    pub clear_disabled: bool,
}

impl Hierarchies {
    /// Fresh seeds and proofs, everything enabled, no authorization values.
    pub fn manufacture(random: &mut impl Random) -> Self {
        let mut hierarchies = Self::default();
        for hierarchy in [
            &mut hierarchies.owner,
            &mut hierarchies.endorsement,
            &mut hierarchies.platform,
            &mut hierarchies.null,
        ] {
            hierarchy.renew(random);
            hierarchy.enabled = true;
        }
        hierarchies.platform_nv_enabled = true;
        hierarchies
    }

    /// The hierarchy behind a handle.
    pub const fn of(&self, handle: Handle) -> Option<&Hierarchy> {
        match handle {
            Handle::OWNER => Some(&self.owner),
            Handle::ENDORSEMENT => Some(&self.endorsement),
            Handle::PLATFORM => Some(&self.platform),
            Handle::NULL => Some(&self.null),
            _ => None,
        }
    }

    /// The hierarchy behind a handle, to be changed.
    pub const fn of_mut(&mut self, handle: Handle) -> Option<&mut Hierarchy> {
        match handle {
            Handle::OWNER => Some(&mut self.owner),
            Handle::ENDORSEMENT => Some(&mut self.endorsement),
            Handle::PLATFORM => Some(&mut self.platform),
            Handle::NULL => Some(&mut self.null),
            _ => None,
        }
    }

    /// Whether the hierarchy exists and is enabled.
    pub fn is_enabled(&self, handle: Handle) -> bool {
        self.of(handle).is_some_and(|hierarchy| hierarchy.enabled)
    }

    /// The proof value of the hierarchy, empty for what is none.
    pub fn proof(&self, handle: Handle) -> &[u8] {
        self.of(handle).map_or(&[], |hierarchy| hierarchy.proof.as_bytes())
    }
}

impl Hierarchy {
    /// A new seed and a new proof.
    pub fn renew(&mut self, random: &mut impl Random) {
        self.seed = Secret::zeroed(SEED_BYTES);
        random.fill(self.seed.as_mut_bytes());
        self.renew_proof(random);
    }

    /// Enabled, without authorization value and policy.
    pub fn open(&mut self) {
        self.enabled = true;
        self.auth = Secret::new();
        self.policy = Policy::default();
    }

    /// A new proof: contexts and tickets made before are void.
    pub fn renew_proof(&mut self, random: &mut impl Random) {
        self.proof = Secret::zeroed(PROOF_BYTES);
        random.fill(self.proof.as_mut_bytes());
    }
}
