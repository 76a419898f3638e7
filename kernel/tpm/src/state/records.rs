//! The records that are made durable: one for each part that changes by itself.
//!
//! A command marks the records that it changed; each is written whole. Clock has its own small record, so that a tick rewrites
//! nothing else.

use alloc::vec::Vec;

use super::State;
use super::audit::{put_codes, read_codes};
use crate::hierarchy::Hierarchy;
use crate::nv::NvIndex;
use crate::pcr::BANKS;
use crate::response_code::ResponseCode;
use crate::structures::attributes::NvAttributes;
use crate::structures::handles::{Handle, HandleType};
use crate::structures::nv::NvType;
use crate::structures::pcr_selection::PcrSelectionList;
use crate::undo::Shared;
use crate::wire::{Marshal, Reader, Result, Secret, Unmarshal};

/// The name of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Record {
    /// Seeds, proofs, authorization values and policies.
    Hierarchies,
    DictionaryAttack,
    Clock,
    /// Allocation, authorization and policy of PCRs.
    Pcrs,
    Audit,
    /// Physical presence commands, algorithm set, and the highest counter.
    Settings,
    /// What TPM2_Shutdown saved.
    Orderly,
    /// An NV index or a persistent object.
    Entity(Handle),
}

impl Record {
    /// The records that always exist.
    pub const FIXED: &'static [Self] = &[
        Self::Hierarchies,
        Self::DictionaryAttack,
        Self::Clock,
        Self::Pcrs,
        Self::Audit,
        Self::Settings,
        Self::Orderly,
    ];

    /// The number outside: small ones for what always exists, handles for the rest.
    pub const fn to_wire(self) -> u32 {
        match self {
            Self::Hierarchies => 1,
            Self::DictionaryAttack => 2,
            Self::Clock => 3,
            Self::Pcrs => 4,
            Self::Audit => 5,
            Self::Settings => 6,
            Self::Orderly => 7,
            Self::Entity(handle) => handle.0,
        }
    }

    /// The record behind a number.
    pub fn from_wire(number: u32) -> Option<Self> {
        let fixed = Self::FIXED.iter().find(|record| record.to_wire() == number);
        let handle = Handle(number);
        match handle.kind() {
            HandleType::NvIndex | HandleType::Persistent => Some(Self::Entity(handle)),
            _ => fixed.copied(),
        }
    }
}

impl State {
    /// The bytes of a record; empty when it does not exist any more.
    pub fn record(&self, record: Record) -> Secret {
        let mut out = Vec::new();
        match record {
            Record::Hierarchies => self.put_hierarchies(&mut out),
            Record::DictionaryAttack => self.dictionary_attack.marshal(&mut out),
            Record::Clock => {
                self.clock.clock.marshal(&mut out);
                self.clock.reset_count.marshal(&mut out);
                self.clock.total_reset_count.marshal(&mut out);
                self.clock.epoch.marshal(&mut out);
            }
            Record::Pcrs => {
                self.pcrs.allocation().marshal(&mut out);
                self.pcrs.next_allocation.clone().unwrap_or_default().marshal(&mut out);
                self.pcrs.policy.marshal(&mut out);
            }
            Record::Audit => self.audit.marshal(&mut out),
            Record::Settings => {
                put_codes(&mut out, &self.physical_presence);
                self.algorithm_set.marshal(&mut out);
                self.nv.max_counter.marshal(&mut out);
            }
            Record::Orderly => self.put_orderly(&mut out),
            Record::Entity(handle) => {
                if let Some(index) = self.nv.indices.get(&handle) {
                    index.marshal(&mut out);
                } else if let Some(object) = self.nv.persistent.get(&handle) {
                    object.marshal(&mut out);
                }
            }
        }
        Secret::from(out)
    }

    /// Takes a record in.
    pub fn apply(&mut self, record: Record, bytes: &[u8]) -> Result<()> {
        let mut reader = Reader::new(bytes);
        match record {
            Record::Hierarchies => self.read_hierarchies(&mut reader)?,
            Record::DictionaryAttack => self.dictionary_attack = reader.read()?,
            Record::Clock => {
                self.clock.clock = reader.read()?;
                self.clock.durable_clock = self.clock.clock;
                self.clock.reset_count = reader.read()?;
                self.clock.total_reset_count = reader.read()?;
                self.clock.epoch = reader.read()?;
            }
            Record::Pcrs => self.read_pcrs(&mut reader)?,
            Record::Audit => self.audit = Shared::new(reader.read()?),
            Record::Settings => {
                self.physical_presence = Shared::new(read_codes(&mut reader)?);
                self.algorithm_set = reader.read()?;
                self.nv.max_counter = reader.read()?;
            }
            Record::Orderly => self.read_orderly(&mut reader)?,
            Record::Entity(handle) if handle.kind() == HandleType::NvIndex => {
                let index: NvIndex = reader.read()?;
                if index.public.attributes.is(NvType::Counter) && index.has(NvAttributes::WRITTEN) {
                    self.nv.note_counter(index.number());
                }
                self.nv.indices.insert(handle, index);
            }
            Record::Entity(handle) => {
                self.nv.persistent.insert(handle, reader.read()?);
            }
        }
        if reader.is_empty() { Ok(()) } else { Err(ResponseCode::SIZE) }
    }

    fn put_hierarchies(&self, out: &mut Vec<u8>) {
        let all = &self.hierarchies;
        for hierarchy in [&all.owner, &all.endorsement, &all.platform] {
            hierarchy.seed.marshal(out);
            hierarchy.proof.marshal(out);
        }
        for hierarchy in [&all.owner, &all.endorsement] {
            hierarchy.auth.marshal(out);
            hierarchy.policy.marshal(out);
        }
        all.lockout_auth.marshal(out);
        all.lockout_policy.marshal(out);
        all.clear_disabled.marshal(out);
    }

    fn read_hierarchies(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        let all = &mut *self.hierarchies;
        for hierarchy in [&mut all.owner, &mut all.endorsement, &mut all.platform] {
            let Hierarchy { seed, proof, .. } = hierarchy;
            *seed = read_secret(reader)?;
            *proof = read_secret(reader)?;
        }
        for hierarchy in [&mut all.owner, &mut all.endorsement] {
            hierarchy.auth = read_secret(reader)?;
            hierarchy.policy = reader.read()?;
        }
        all.lockout_auth = read_secret(reader)?;
        all.lockout_policy = reader.read()?;
        all.clear_disabled = reader.read()?;
        Ok(())
    }

    fn read_pcrs(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        let allocation: PcrSelectionList = reader.read()?;
        if !allocation.0.iter().map(|selection| selection.hash).eq(BANKS) {
            return Err(ResponseCode::VALUE);
        }
        for (bank, selection) in self.pcrs.banks.iter_mut().zip(allocation.0) {
            bank.allocation = selection;
        }
        let next: PcrSelectionList = reader.read()?;
        self.pcrs.next_allocation = (!next.0.is_empty()).then_some(next);
        self.pcrs.policy = reader.read()?;
        Ok(())
    }
}

/// A secret as a record holds it.
pub fn read_secret(reader: &mut Reader<'_>) -> Result<Secret> {
    reader.sized(usize::from(u16::MAX)).map(Secret::from)
}

/// Reads something that may be missing.
pub fn read_option<T: Unmarshal>(reader: &mut Reader<'_>) -> Result<Option<T>> {
    if reader.read::<bool>()? { reader.read().map(Some) } else { Ok(None) }
}

/// Appends something that may be missing.
pub fn put_option<T: Marshal>(out: &mut Vec<u8>, value: Option<&T>) {
    value.is_some().marshal(out);
    if let Some(value) = value {
        value.marshal(out);
    }
}
