//! Platform configuration registers: four possible banks of 24. Part 1, section on PCR operations; PC Client PTP for the
//! attributes.

use alloc::vec::Vec;

use crate::crypto::hash::{Digest, HashAlgorithm, Hasher, LONGEST_DIGEST_BYTES, hash};
use crate::hierarchy::Policy;
use crate::structures::handles::Handle;
use crate::structures::limits::PCR_COUNT;
use crate::structures::pcr_selection::{PcrSelection, PcrSelectionList};
use crate::undo::Shared;
use crate::wire::Secret;

/// The banks that can be allocated, in the order in which they are listed.
pub const BANKS: [HashAlgorithm; 4] =
    [HashAlgorithm::Sha1, HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512];

/// The PCRs that share an authorization value and a policy: TPM_PT_PCR_AUTH, TPM_PT_PCR_POLICY.
pub const AUTH_GROUP: core::ops::RangeInclusive<usize> = 20..=22;
/// The PCR that TPM_PT_PCR_DRTM_RESET and the H-CRTM start from.
pub const DRTM_PCR: usize = 17;
pub const HCRTM_PCR: usize = 0;
/// The locality of a dynamic root of trust.
pub const DRTM_LOCALITY: u8 = 4;

/// What the PC Client profile says of a PCR. Localities are bit fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PcrAttributes {
    /// Kept over TPM2_Shutdown(STATE).
    pub saved: bool,
    pub reset_localities: u8,
    pub extend_localities: u8,
    /// Starts from ones, and is reset by a DRTM.
    pub dynamic: bool,
    /// Changes do not count in the update counter.
    pub uncounted: bool,
}

/// The attributes of a PCR.
pub fn attributes(pcr: usize) -> PcrAttributes {
    let row = |saved, reset_localities, extend_localities, dynamic, uncounted| PcrAttributes {
        saved,
        reset_localities,
        extend_localities,
        dynamic,
        uncounted,
    };
    match pcr {
        16 | 23 => row(false, 0x0F, 0x1F, false, true),
        17 | 18 => row(false, 0x10, 0x1C, true, false),
        19 => row(false, 0x10, 0x0C, true, false),
        20 => row(false, 0x14, 0x0E, true, false),
        21 | 22 => row(false, 0x14, 0x04, true, true),
        _ => row(true, 0x00, 0x1F, false, false),
    }
}

/// One bank.
#[derive(Debug, Clone)]
pub struct Bank {
    pub allocation: PcrSelection,
    /// Each as long as the bank's digest; what follows is not used. No secrets, so they are not wiped: that would be a third
    /// of the time of an extension, since what may have to be undone is copied.
    values: [[u8; LONGEST_DIGEST_BYTES]; PCR_COUNT],
}

/// All PCRs.
#[derive(Debug, Clone)]
pub struct Pcrs {
    pub banks: [Shared<Bank>; BANKS.len()],
    pub update_counter: u32,
    /// The authorization value of the group; lost at TPM reset.
    pub auth: Secret,
    pub policy: Policy,
    /// What TPM2_PCR_Allocate asked for; in force from the next power-on.
    pub next_allocation: Option<PcrSelectionList>,
    /// _TPM_Hash_End came before TPM2_Startup: PCR 0 is set already.
    pub hcrtm_measured: bool,
}

impl Default for Pcrs {
    fn default() -> Self {
        let bank = |hash: HashAlgorithm| {
            let allocation = match hash {
                HashAlgorithm::Sha256 | HashAlgorithm::Sha384 => PcrSelection::all(hash),
                HashAlgorithm::Sha1 | HashAlgorithm::Sha512 => PcrSelection::none(hash),
            };
            Shared::new(Bank { allocation, values: [[0; LONGEST_DIGEST_BYTES]; PCR_COUNT] })
        };
        Self {
            banks: BANKS.map(bank),
            update_counter: 0,
            auth: Secret::new(),
            policy: Policy::default(),
            next_allocation: None,
            hcrtm_measured: false,
        }
    }
}

impl Pcrs {
    /// The value of a PCR, `None` where it is not allocated.
    pub fn value(&self, hash: HashAlgorithm, pcr: usize) -> Option<&[u8]> {
        let bank = self.banks.iter().find(|bank| bank.allocation.hash == hash)?;
        let value = bank.values.get(pcr).filter(|_| bank.allocation.selects(pcr))?;
        value.get(..hash.digest_bytes())
    }

    /// Overwrites the value of an allocated PCR.
    pub fn set_value(&mut self, hash: HashAlgorithm, pcr: usize, value: &[u8]) {
        let bank =
            self.banks.iter_mut().find(|bank| bank.allocation.hash == hash && bank.allocation.selects(pcr));
        if let Some(slot) = bank.and_then(|bank| bank.values.get_mut(pcr)) {
            slot.iter_mut().zip(value).for_each(|(to, from)| *to = *from);
        }
    }

    /// Extends a PCR in one bank; nothing happens where it is not allocated.
    pub fn extend(&mut self, hash_algorithm: HashAlgorithm, pcr: usize, digest: &[u8]) {
        if let Some(old) = self.value(hash_algorithm, pcr) {
            let new = hash(hash_algorithm, &[old, digest]);
            self.set_value(hash_algorithm, pcr, new.as_bytes());
            self.changed(pcr);
        }
    }

    /// Sets a PCR in all banks to zeros.
    pub fn reset(&mut self, pcr: usize) {
        self.fill(pcr, 0);
        self.changed(pcr);
    }

    fn fill(&mut self, pcr: usize, with: u8) {
        for bank in &mut self.banks {
            if let Some(slot) = bank.values.get_mut(pcr) {
                *slot = [with; LONGEST_DIGEST_BYTES];
            }
        }
    }

    /// Counts a change.
    pub fn changed(&mut self, pcr: usize) {
        if !attributes(pcr).uncounted {
            self.update_counter = self.update_counter.wrapping_add(1);
        }
    }

    /// A power cycle: the start values, each a change of its PCR for policies that looked at it. With `keep_saved` the PCRs that
    /// Shutdown(STATE) saves keep theirs.
    pub fn start_up(&mut self, keep_saved: bool, locality: u8) {
        for pcr in 0..PCR_COUNT {
            let measured = pcr == HCRTM_PCR && self.hcrtm_measured;
            let keep = measured || (keep_saved && attributes(pcr).saved);
            if !keep {
                self.fill(pcr, if attributes(pcr).dynamic { 0xFF } else { 0x00 });
                self.changed(pcr);
            }
        }
        if !keep_saved && !core::mem::take(&mut self.hcrtm_measured) {
            self.start_at_locality(locality);
        }
    }

    /// PCR 0 says from which locality the TPM was started.
    pub fn start_at_locality(&mut self, locality: u8) {
        for algorithm in BANKS {
            let mut value = alloc::vec![0; algorithm.digest_bytes()];
            if let Some(last) = value.last_mut() {
                *last = locality;
            }
            self.set_value(algorithm, HCRTM_PCR, &value);
        }
    }

    /// Takes a pending allocation into force.
    pub fn apply_allocation(&mut self) {
        if let Some(allocation) = self.next_allocation.take() {
            for bank in &mut self.banks {
                if let Some(selection) =
                    allocation.0.iter().find(|selection| selection.hash == bank.allocation.hash)
                {
                    bank.allocation = *selection;
                }
            }
        }
    }

    /// The selection without PCRs that are not allocated: what attestation and policies report.
    pub fn filter(&self, selection: &PcrSelectionList) -> PcrSelectionList {
        let mut filtered = selection.clone();
        for selection in &mut filtered.0 {
            let hash = selection.hash;
            for pcr in 0..PCR_COUNT {
                if self.value(hash, pcr).is_none() {
                    selection.set(pcr, false);
                }
            }
        }
        filtered
    }

    /// The digest over the selected PCRs, in the order of the selection.
    pub fn digest(&self, hash: HashAlgorithm, selection: &PcrSelectionList) -> Digest {
        let mut hasher = Hasher::new(hash);
        for selection in &selection.0 {
            for pcr in selection.pcrs() {
                if let Some(value) = self.value(selection.hash, pcr) {
                    hasher.update(value);
                }
            }
        }
        hasher.finish()
    }

    /// The number of a PCR handle.
    pub fn number(handle: Handle) -> usize {
        handle.0 as usize
    }

    /// The current allocation, each bank once.
    pub fn allocation(&self) -> PcrSelectionList {
        PcrSelectionList(self.banks.iter().map(|bank| bank.allocation).collect())
    }
}

/// Whether a locality's bit is set in a field of localities; extended localities have none.
pub const fn allows(localities: u8, locality: u8) -> bool {
    locality < 5 && localities & (1 << locality) != 0
}

impl Pcrs {
    /// _TPM_Hash_End: after startup a dynamic root of trust, before it the H-CRTM.
    pub fn measure_root_of_trust(&mut self, hashers: Vec<Hasher>, started: bool) {
        let pcr = if started { DRTM_PCR } else { HCRTM_PCR };
        if started {
            for dynamic in (0..PCR_COUNT).filter(|pcr| attributes(*pcr).dynamic) {
                self.reset(dynamic);
            }
        } else {
            self.start_at_locality(DRTM_LOCALITY);
            self.hcrtm_measured = true;
        }
        for (algorithm, hasher) in BANKS.into_iter().zip(hashers) {
            self.extend(algorithm, pcr, hasher.finish().as_bytes());
        }
    }
}
