//! What power cycles do: TPM reset, TPM restart, TPM resume. Part 1, section on operational states; Part 3, TPM2_Startup.

use alloc::vec::Vec;

use super::records::{put_option, read_option, read_secret};
use super::{Record, State};
use crate::hierarchy::Policy;
use crate::object::Loaded;
use crate::pcr::{BANKS, attributes};
use crate::structures::attributes::NvAttributes;
use crate::structures::handles::Handle;
use crate::structures::limits::PCR_COUNT;
use crate::structures::nv::NvType;
use crate::structures::tickets::StartupType;
use crate::undo::Shared;
use crate::wire::{Marshal, Reader, Result, Secret};

/// Which kind of start it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Startup(CLEAR) without a saved state.
    Reset,
    /// Startup(CLEAR) after Shutdown(STATE).
    Restart,
    /// Startup(STATE) after Shutdown(STATE).
    Resume,
}

/// How a power cycle began. A resume has to begin as the cycle did whose state it brings back: Part 3, TPM2_Startup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Beginning {
    /// An H-CRTM was measured before TPM2_Startup.
    pub measured: bool,
    /// TPM2_Startup came from locality 3.
    pub at_locality_3: bool,
}

impl State {
    /// How the power cycle begins that TPM2_Startup at `locality` starts.
    pub fn beginning_at(&self, locality: u8) -> Beginning {
        Beginning { measured: self.pcrs.hcrtm_measured, at_locality_3: locality == 3 }
    }

    /// Starts up: everything volatile gets its start value or its saved one.
    pub fn start_up(&mut self, start: Start, locality: u8) {
        self.beginning = self.beginning_at(locality);
        if start == Start::Reset {
            self.hierarchies.null.renew(&mut self.random);
            self.hierarchies.null.enabled = true;
            self.clock.reset_count = self.clock.reset_count.wrapping_add(1);
            self.clock.total_reset_count = self.clock.total_reset_count.saturating_add(1);
            self.clock.restart_count = 0;
            self.clock.clear_count = 0;
            self.object_context_counter = 0;
            self.sessions = Shared::default();
            self.commitments.renew(&mut self.random);
            self.audit.digest = None;
        } else {
            self.clock.restart_count = self.clock.restart_count.wrapping_add(1);
        }
        if start != Start::Resume {
            let hierarchies = &mut *self.hierarchies;
            hierarchies.owner.enabled = true;
            hierarchies.endorsement.enabled = true;
            hierarchies.platform_nv_enabled = true;
            hierarchies.platform.auth = Secret::new();
            hierarchies.platform.policy = Policy::default();
            self.read_only = false;
            self.pcrs.auth = Secret::new();
        }
        self.mark(Record::Clock);
        // Part 3, TPM2_Startup: phEnable is SET by each startup.
        self.hierarchies.platform.enabled = true;
        if start == Start::Restart {
            self.clock.clear_count = self.clock.clear_count.wrapping_add(1);
        }
        self.sessions.drop_loaded();
        self.was_orderly = self.orderly.is_some();
        self.clock.safe = self.was_orderly;
        self.objects = Shared::default();
        self.dictionary_attack.start_up(self.was_orderly);
        self.mark(Record::DictionaryAttack);
        if start == Start::Reset && self.pcrs.next_allocation.is_some() {
            self.pcrs.apply_allocation();
            self.mark(Record::Pcrs);
        }
        self.pcrs.start_up(start == Start::Resume, locality);
        if start == Start::Reset {
            // No session of before is left that could have looked at them.
            self.pcrs.update_counter = 0;
        }
        self.start_up_indices(start);
        self.orderly = None;
        self.mark(Record::Orderly);
    }

    /// Locks that last until startup end, and what TPMA_NV_CLEAR_STCLEAR asks for. Orderly indices were kept with Shutdown.
    fn start_up_indices(&mut self, start: Start) {
        let mut changed = Vec::new();
        for (handle, index) in self.nv.indices.iter() {
            let before = index.public.attributes;
            let mut after = before;
            if start != Start::Resume {
                after = after.with(NvAttributes::READ_LOCKED, false);
                // Orderly data lives through a restart, and not through a reset; counters keep what they counted.
                let is_lost = before.has(NvAttributes::CLEAR_STCLEAR)
                    || before.has(NvAttributes::ORDERLY) && start == Start::Reset;
                if is_lost && !before.is(NvType::Counter) {
                    after = after.with(NvAttributes::WRITTEN, false);
                }
                // A define lock outlives startup as long as the index is written.
                let defined = after.has(NvAttributes::WRITE_DEFINE) && after.has(NvAttributes::WRITTEN);
                if !defined {
                    after = after.with(NvAttributes::WRITE_LOCKED, false);
                }
            }
            if after != before {
                changed.push((*handle, after));
            }
        }
        for (handle, attributes) in changed {
            if let Some(index) = self.nv.indices.get_mut(handle) {
                index.public.attributes = attributes;
            }
            self.mark(Record::Entity(handle));
        }
    }

    /// What TPM2_Shutdown saves: for STATE everything that a resume brings back.
    pub(super) fn put_orderly(&self, out: &mut Vec<u8>) {
        let kind = match self.orderly {
            None => 0_u8,
            Some(StartupType::Clear) => 1,
            Some(StartupType::State) => 2,
        };
        kind.marshal(out);
        if self.orderly != Some(StartupType::State) {
            return;
        }
        let all = &self.hierarchies;
        all.null.seed.marshal(out);
        all.null.proof.marshal(out);
        for hierarchy in [&all.owner, &all.endorsement, &all.platform] {
            hierarchy.enabled.marshal(out);
        }
        all.platform_nv_enabled.marshal(out);
        all.platform.auth.marshal(out);
        all.platform.policy.marshal(out);
        self.read_only.marshal(out);
        self.clock.restart_count.marshal(out);
        self.clock.clear_count.marshal(out);
        self.object_context_counter.marshal(out);
        self.pcrs.update_counter.marshal(out);
        self.pcrs.auth.marshal(out);
        for pcr in (0..PCR_COUNT).filter(|pcr| attributes(*pcr).saved) {
            for bank in BANKS {
                if let Some(value) = self.pcrs.value(bank, pcr) {
                    out.extend_from_slice(value);
                }
            }
        }
        let audit = self.audit.digest.as_ref().map(|digest| Secret::from(digest.as_bytes()));
        put_option(out, audit.as_ref());
        self.beginning.measured.marshal(out);
        self.beginning.at_locality_3.marshal(out);
        self.commitments.marshal(out);
        self.sessions.put_saved(out);
    }

    /// Takes in what TPM2_Shutdown saved.
    pub(super) fn read_orderly(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        self.orderly = match reader.read::<u8>()? {
            0 => None,
            1 => Some(StartupType::Clear),
            2 => Some(StartupType::State),
            _ => return Err(crate::response_code::ResponseCode::VALUE),
        };
        if self.orderly != Some(StartupType::State) {
            return Ok(());
        }
        let all = &mut *self.hierarchies;
        all.null.seed = read_secret(reader)?;
        all.null.proof = read_secret(reader)?;
        for hierarchy in [&mut all.owner, &mut all.endorsement, &mut all.platform] {
            hierarchy.enabled = reader.read()?;
        }
        all.platform_nv_enabled = reader.read()?;
        all.platform.auth = read_secret(reader)?;
        all.platform.policy = reader.read()?;
        self.read_only = reader.read()?;
        self.clock.restart_count = reader.read()?;
        self.clock.clear_count = reader.read()?;
        self.object_context_counter = reader.read()?;
        self.pcrs.update_counter = reader.read()?;
        self.pcrs.auth = read_secret(reader)?;
        for pcr in (0..PCR_COUNT).filter(|pcr| attributes(*pcr).saved) {
            for bank in BANKS {
                if self.pcrs.value(bank, pcr).is_some() {
                    let value = reader.take(bank.digest_bytes())?;
                    self.pcrs.set_value(bank, pcr, value);
                }
            }
        }
        let audit: Option<AuditDigest> = read_option(reader)?;
        self.audit.digest =
            audit.and_then(|audit| crate::crypto::hash::Digest::from_slice(audit.0.as_bytes()));
        self.beginning = Beginning { measured: reader.read()?, at_locality_3: reader.read()? };
        self.commitments = Shared::new(reader.read()?);
        self.sessions.read_saved(reader)
    }

    /// Removes the loaded objects of a hierarchy.
    pub fn flush_loaded(&mut self, hierarchy: Handle) {
        self.objects.flush(|loaded| match loaded {
            Loaded::Object(object) => object.hierarchy == hierarchy,
            Loaded::Sequence(_) => false,
        });
    }

    /// Removes the persistent objects of a hierarchy, and of the owner's the indices too: those of the platform outlive
    /// a change of its seed (Part 3, TPM2_ChangePPS).
    pub fn flush_durable(&mut self, hierarchy: Handle) {
        let indices = self.nv.indices.keys().filter(|_| hierarchy == Handle::OWNER);
        let handles = self.nv.persistent.keys().chain(indices).copied();
        let gone: Vec<Handle> = handles.filter(|handle| self.hierarchy_of(*handle) == hierarchy).collect();
        for handle in gone {
            self.nv.persistent.remove(handle);
            self.undefine(handle);
        }
    }
}

struct AuditDigest(Secret);

impl crate::wire::Unmarshal for AuditDigest {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self> {
        read_secret(reader).map(Self)
    }
}
