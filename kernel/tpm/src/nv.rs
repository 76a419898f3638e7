//! Non-volatile memory: indices and persistent objects. Part 1, section on NV memory.
//!
//! What is here is in memory; [`State::mark`](crate::state::State::mark) names what has to become durable, and the engine
//! commits it before the response leaves.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::crypto::hash::hash;
use crate::object::Object;
use crate::structures::attributes::NvAttributes;
use crate::structures::buffers::Name;
use crate::structures::handles::Handle;
use crate::structures::limits::MAX_NV_USER_BYTES;
use crate::structures::nv::{NvPublic, NvType};
use crate::wire::{Marshal, Reader, Result, Secret, Unmarshal, put_sized};

/// An index with its contents.
#[derive(Debug, Clone)]
pub struct NvIndex {
    pub public: NvPublic,
    pub auth: Secret,
    /// As many bytes as the public area says.
    pub data: Vec<u8>,
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
        Reader::new(&self.data).read().unwrap_or(0)
    }

    /// pinCount and pinLimit of a PIN index.
    pub fn pin(&self) -> (u32, u32) {
        let mut reader = Reader::new(&self.data);
        (reader.read().unwrap_or(0), reader.read().unwrap_or(0))
    }

    /// Changes pinCount.
    pub fn set_pin_count(&mut self, count: u32) {
        for (to, from) in self.data.iter_mut().zip(count.to_be_bytes()) {
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
        put_sized(out, &self.data);
    }
}

impl Unmarshal for NvIndex {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            public: reader.read()?,
            auth: Secret::from(reader.sized(usize::from(u16::MAX))?),
            data: reader.sized(usize::from(u16::MAX))?.to_vec(),
        })
    }
}

/// All indices and persistent objects, by handle.
#[derive(Debug, Clone, Default)]
pub struct NvStore {
    pub indices: BTreeMap<Handle, NvIndex>,
    pub persistent: BTreeMap<Handle, Object>,
    /// The greatest value that any deleted counter had: a new counter starts above it.
    pub max_counter: u64,
}

impl NvStore {
    /// What the indices take up, without their overhead.
    pub fn used_bytes(&self) -> usize {
        self.indices.values().fold(0, |sum, index| sum.saturating_add(usize::from(index.public.data_bytes)))
    }

    /// Whether an index of `data_bytes` still fits.
    pub fn has_room_for(&self, data_bytes: usize) -> bool {
        self.used_bytes().saturating_add(data_bytes) <= MAX_NV_USER_BYTES
    }

    /// The greatest value that any counter has or had: a new one starts above it.
    pub fn greatest_counter(&self) -> u64 {
        let counters = self
            .indices
            .values()
            .filter(|index| index.public.attributes.is(NvType::Counter) && index.has(NvAttributes::WRITTEN));
        counters.map(NvIndex::number).max().unwrap_or(0).max(self.max_counter)
    }
}
