//! Non-volatile memory: indices and persistent objects. Part 1, section on NV memory.
//!
//! What is here is in memory; [`State::mark`](crate::state::State::mark) names what has to become durable, and the engine
//! commits it before the response leaves.

use alloc::vec::Vec;

use crate::crypto::hash::hash;
use crate::object::Object;
use crate::structures::attributes::NvAttributes;
use crate::structures::buffers::Name;
use crate::structures::limits::{MAX_DIGEST_BYTES, MAX_NV_USER_BYTES};
use crate::structures::nv::{NvPublic, NvType};
use crate::undo::{Journaled, Weighed};
use crate::wire::{Marshal, Reader, Result, Secret, Unmarshal};

/// An index with its contents.
#[derive(Debug, Clone)]
pub struct NvIndex {
    pub public: NvPublic,
    pub auth: Secret,
    /// As many bytes as the public area says.
    pub data: Secret,
}

impl NvIndex {
    /// The Name: the hash of the public area behind its algorithm.
    pub fn name(&self) -> Name {
        let mut name = self.public.name_hash.to_bytes();
        name.extend_from_slice(hash(self.public.name_hash, &[&self.public.to_bytes()]).as_bytes());
        Name::from(name.as_slice())
    }

    pub fn has(&self, attributes: NvAttributes) -> bool {
        self.public.attributes.has(attributes)
    }

    /// The contents of a counter, a bit field, or a PIN index as a number.
    pub fn number(&self) -> u64 {
        Reader::new(self.data.as_bytes()).read().unwrap_or(0)
    }

    /// pinCount and pinLimit of a PIN index.
    pub fn pin(&self) -> (u32, u32) {
        let mut reader = Reader::new(self.data.as_bytes());
        (reader.read().unwrap_or(0), reader.read().unwrap_or(0))
    }

    /// Changes pinCount.
    pub fn set_pin_count(&mut self, count: u32) {
        for (to, from) in self.data.as_mut_bytes().iter_mut().zip(count.to_be_bytes()) {
            *to = from;
        }
    }

    /// Whether it counts authorizations of its own.
    pub fn is_pin(&self) -> bool {
        self.public.attributes.is(NvType::PinFail) || self.public.attributes.is(NvType::PinPass)
    }
}

impl Marshal for NvIndex {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.public.marshal(out);
        self.auth.marshal(out);
        self.data.marshal(out);
    }
}

impl Unmarshal for NvIndex {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            public: reader.read()?,
            auth: Secret::from(reader.sized(usize::from(u16::MAX))?),
            data: Secret::from(reader.sized(usize::from(u16::MAX))?),
        })
    }
}

/// What an index takes besides its contents: its place among the others, here and in durable memory.
const OVERHEAD_BYTES: usize = 128;

impl NvIndex {
    /// What an index with this public area takes of the memory for indices.
    pub fn needed_bytes(public: &NvPublic) -> usize {
        // The authorization value may become as long as a digest.
        let parts = [public.policy.len(), public.name_hash.digest_bytes(), usize::from(public.data_bytes)];
        parts.iter().fold(OVERHEAD_BYTES, |sum, bytes| sum.saturating_add(*bytes))
    }
}

impl Weighed for NvIndex {
    fn weight(&self) -> usize {
        Self::needed_bytes(&self.public)
    }
}

impl Weighed for Object {
    fn weight(&self) -> usize {
        0
    }
}

/// All indices and persistent objects, by handle.
#[derive(Debug, Default)]
pub struct NvStore {
    pub indices: Journaled<NvIndex>,
    pub persistent: Journaled<Object>,
    /// The greatest value that any counter has or had: a new one starts above it.
    pub max_counter: u64,
    max_counter_before: u64,
}

impl NvStore {
    /// What is left for indices, each taking [`NvIndex::needed_bytes`].
    pub const fn free_bytes(&self) -> usize {
        MAX_NV_USER_BYTES.saturating_sub(self.indices.weight())
    }

    /// How many more counters can be defined.
    pub fn free_counters(&self) -> usize {
        const COUNTER_BYTES: usize = OVERHEAD_BYTES + 8 + MAX_DIGEST_BYTES;
        self.free_bytes() / COUNTER_BYTES
    }

    /// Notes the value of a counter.
    pub fn note_counter(&mut self, value: u64) {
        self.max_counter = self.max_counter.max(value);
    }

    /// What is now is what [`Self::undo`] comes back to.
    pub fn begin(&mut self) {
        self.indices.begin();
        self.persistent.begin();
        self.max_counter_before = self.max_counter;
    }

    /// Brings back what was there at [`Self::begin`].
    pub fn undo(&mut self) {
        self.indices.undo();
        self.persistent.undo();
        self.max_counter = self.max_counter_before;
    }
}
