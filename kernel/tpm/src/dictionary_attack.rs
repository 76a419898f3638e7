//! Protection against dictionary attacks: Part 1, section on dictionary attack protection.

use alloc::vec::Vec;

use crate::wire::{Marshal, Reader, Result, Unmarshal};

/// Counters and parameters. Times are in seconds, instants in milliseconds of [`Clock::time`](crate::clock::Clock).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DictionaryAttack {
    pub failed_tries: u32,
    pub max_tries: u32,
    pub recovery_seconds: u32,
    pub lockout_recovery_seconds: u32,
    pub lockout_auth_enabled: bool,
    /// Protected values were used since the last orderly shutdown.
    pub in_use: bool,
    self_heal_since: u64,
    lockout_since: u64,
}

impl Default for DictionaryAttack {
    fn default() -> Self {
        Self {
            failed_tries: 0,
            max_tries: 3,
            recovery_seconds: 1000,
            lockout_recovery_seconds: 1000,
            lockout_auth_enabled: true,
            in_use: false,
            self_heal_since: 0,
            lockout_since: 0,
        }
    }
}

impl DictionaryAttack {
    /// Whether objects under protection may not be authorized.
    pub const fn is_locked_out(&self) -> bool {
        self.failed_tries >= self.max_tries
    }

    /// Sets the parameters. Failures so far are forgotten as if they were of now, and only as long as there is a recovery.
    pub const fn set_parameters(&mut self, max_tries: u32, recovery: u32, lockout_recovery: u32, now: u64) {
        self.max_tries = max_tries;
        self.recovery_seconds = recovery;
        self.lockout_recovery_seconds = lockout_recovery;
        self.self_heal_since = now;
        self.lockout_since = now;
    }

    /// Counts a failed authorization of something under protection.
    pub fn register_failure(&mut self, of_lockout: bool, now: u64) {
        if of_lockout {
            self.lockout_auth_enabled = false;
            self.lockout_since = now;
        } else {
            if self.recovery_seconds != 0 {
                self.failed_tries = self.failed_tries.saturating_add(1);
            }
            self.self_heal_since = now;
        }
    }

    /// Forgets failures that are old enough; tells whether anything changed.
    pub fn self_heal(&mut self, now: u64) -> bool {
        let before = (self.failed_tries, self.lockout_auth_enabled);
        let interval = u64::from(self.recovery_seconds).saturating_mul(1000);
        if self.recovery_seconds == 0 {
            self.failed_tries = 0;
        } else if self.failed_tries != 0 {
            let healed = now.saturating_sub(self.self_heal_since).checked_div(interval).unwrap_or(0);
            self.failed_tries = self.failed_tries.saturating_sub(u32::try_from(healed).unwrap_or(u32::MAX));
            self.self_heal_since = self.self_heal_since.saturating_add(healed.saturating_mul(interval));
        }
        if !self.lockout_auth_enabled && self.lockout_recovery_seconds != 0 {
            let interval = u64::from(self.lockout_recovery_seconds).saturating_mul(1000);
            if now.saturating_sub(self.lockout_since) >= interval {
                self.lockout_auth_enabled = true;
            }
        }
        before != (self.failed_tries, self.lockout_auth_enabled)
    }

    /// A new power cycle: instants start again, and lockout without recovery time ends.
    ///
    /// After an unorderly shutdown a failure counts, where protected values were used before it: the power cut may have hidden
    /// one (Part 1, section on dictionary attack protection).
    pub fn start_up(&mut self, was_orderly: bool) {
        if core::mem::take(&mut self.in_use) && !was_orderly {
            self.register_failure(false, 0);
        }
        if self.lockout_recovery_seconds == 0 {
            self.lockout_auth_enabled = true;
        }
        self.self_heal_since = 0;
        self.lockout_since = 0;
    }
}

impl Marshal for DictionaryAttack {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.failed_tries.marshal(out);
        self.max_tries.marshal(out);
        self.recovery_seconds.marshal(out);
        self.lockout_recovery_seconds.marshal(out);
        self.lockout_auth_enabled.marshal(out);
        self.in_use.marshal(out);
    }
}

impl Unmarshal for DictionaryAttack {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            failed_tries: reader.read()?,
            max_tries: reader.read()?,
            recovery_seconds: reader.read()?,
            lockout_recovery_seconds: reader.read()?,
            lockout_auth_enabled: reader.read()?,
            in_use: reader.read()?,
            self_heal_since: 0,
            lockout_since: 0,
        })
    }
}
