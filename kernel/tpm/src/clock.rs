//! Time, Clock, and the counters of resets: Part 1, section on timing components.

use crate::structures::attestation::{ClockInfo, TimeInfo};

/// How far Clock may be behind its durable copy after a crash, in milliseconds: NV_CLOCK_UPDATE_INTERVAL is 2^22.
pub const UPDATE_INTERVAL_MILLISECONDS: u64 = 1 << 22;

/// All timing components.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Clock {
    /// Milliseconds since power-on.
    pub time: u64,
    /// Milliseconds that the TPM was ever powered, or as it was set.
    pub clock: u64,
    /// Whether no value of Clock was ever reported that is greater than the current one.
    pub safe: bool,
    pub reset_count: u32,
    pub restart_count: u32,
    /// Counts TPM restarts since the last reset: contexts of objects with stClear end with it.
    pub clear_count: u32,
    /// Counts TPM resets and never goes back: the nonce of contexts.
    pub total_reset_count: u64,
    /// Changes when Time stops being comparable: a new one for each power-on. It is made durable by TPM2_Startup, before anything
    /// can be bound to it, so that none comes again while the state is kept.
    pub epoch: u32,
    /// Clock as it was made durable.
    pub durable_clock: u64,
    /// How much faster the clock runs, in parts of 2^20.
    pub rate_adjustment: i32,
    last_platform: u64,
    /// Parts of 2^20 of a millisecond that are owed.
    remainder: u64,
}

impl Clock {
    /// Power-on: Time starts again, in another epoch.
    pub const fn power_on(&mut self, platform: u64) {
        self.time = 0;
        self.remainder = 0;
        self.last_platform = platform;
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// Takes up the platform's time; tells whether Clock moved far enough that it must be made durable.
    pub fn advance(&mut self, platform: u64) -> bool {
        const UNIT: u64 = 1 << 20;
        let elapsed = platform.saturating_sub(self.last_platform);
        self.last_platform = platform;
        let rate = UNIT.saturating_add_signed(i64::from(self.rate_adjustment));
        let scaled = elapsed.saturating_mul(rate).saturating_add(self.remainder);
        self.remainder = scaled % UNIT;
        let elapsed = scaled / UNIT;
        self.time = self.time.saturating_add(elapsed);
        self.clock = self.clock.saturating_add(elapsed);
        let due =
            self.clock / UPDATE_INTERVAL_MILLISECONDS > self.durable_clock / UPDATE_INTERVAL_MILLISECONDS;
        if due {
            self.safe = true;
        }
        due
    }

    /// TPM2_Clear: Clock and the counters start again; the count of all resets does not.
    pub const fn clear(&mut self) {
        self.clock = 0;
        self.safe = true;
        self.reset_count = 0;
        self.restart_count = 0;
        self.clear_count = 0;
    }

    /// TPMS_CLOCK_INFO.
    pub const fn info(&self) -> ClockInfo {
        ClockInfo {
            clock: self.clock,
            reset_count: self.reset_count,
            restart_count: self.restart_count,
            safe: self.safe,
        }
    }

    /// TPMS_TIME_INFO.
    pub const fn time_info(&self) -> TimeInfo {
        TimeInfo { time: self.time, clock_info: self.info() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_faster_rate_shows_in_clock_and_loses_no_fraction() {
        let mut clock = Clock { rate_adjustment: 1 << 10, ..Clock::default() };
        clock.power_on(0);
        for platform in 1..=1024 {
            clock.advance(platform);
        }
        assert_eq!(clock.time, 1025);
    }

    #[test]
    fn clock_is_made_durable_once_for_each_interval() {
        let mut clock = Clock::default();
        clock.power_on(0);
        assert!(!clock.advance(UPDATE_INTERVAL_MILLISECONDS - 1));
        assert!(clock.advance(UPDATE_INTERVAL_MILLISECONDS));
        clock.durable_clock = clock.clock;
        assert!(!clock.advance(UPDATE_INTERVAL_MILLISECONDS + 1));
    }
}
