//! What is durable, and how changes become so.
//!
//! What was not made durable did not happen: the engine commits what a command changed before its answer leaves, and takes the
//! command back where the platform refuses. What a failed try leaves is the exception: it is never taken back.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::platform::{Platform, StateChange};
use crate::response_code::ResponseCode;
use crate::state::{Record, State};
use crate::wire::{Result, Secret};

/// What authorization checks need of the machine.
pub trait Witness {
    /// Whether physical presence is asserted.
    fn physical_presence(&mut self) -> bool;

    /// Makes everything that changed so far durable: from here on it is not taken back.
    ///
    /// # Errors
    /// TPM_RC_NV_UNAVAILABLE: nothing was made durable.
    fn commit(&mut self, state: &mut State) -> Result<()>;
}

/// The platform, and each record as it was last made durable.
pub struct Storage<P> {
    pub platform: P,
    durable: BTreeMap<Record, Secret>,
}

impl<P: Platform> Storage<P> {
    pub const fn new(platform: P, durable: BTreeMap<Record, Secret>) -> Self {
        Self { platform, durable }
    }

    /// All records as they were last made durable.
    pub const fn records(&self) -> &BTreeMap<Record, Secret> {
        &self.durable
    }

    /// Whether a record is as it was last made durable.
    pub fn is_durable(&self, record: Record, bytes: &Secret) -> bool {
        match self.durable.get(&record) {
            Some(durable) => durable == bytes,
            None => bytes.is_empty(),
        }
    }

    /// Makes everything that waits durable, all of it or nothing.
    ///
    /// # Errors
    /// TPM_RC_NV_UNAVAILABLE: all of it waits still.
    pub fn store(&mut self, state: &mut State) -> Result<()> {
        if state.is_clean() {
            return Ok(());
        }
        let records: Vec<(Record, Secret)> =
            state.changed().map(|record| (record, state.record(record))).collect();
        let changes: Vec<StateChange<'_>> = records
            .iter()
            .filter(|(record, bytes)| !self.is_durable(*record, bytes))
            .map(|(record, bytes)| StateChange { record: record.to_wire(), bytes: bytes.as_bytes() })
            .collect();
        if !changes.is_empty() && self.platform.commit(&changes).is_err() {
            return Err(ResponseCode::NV_UNAVAILABLE);
        }
        for (record, bytes) in records {
            if record == Record::Clock {
                state.clock.durable_clock = state.clock.clock;
            }
            if bytes.is_empty() {
                self.durable.remove(&record);
            } else {
                self.durable.insert(record, bytes);
            }
        }
        state.settle();
        Ok(())
    }
}

impl<P: Platform> Witness for Storage<P> {
    fn physical_presence(&mut self) -> bool {
        self.platform.physical_presence()
    }

    fn commit(&mut self, state: &mut State) -> Result<()> {
        self.store(state)?;
        state.begin();
        Ok(())
    }
}
