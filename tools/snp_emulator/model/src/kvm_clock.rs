//! KVM's paravirtual clock: how a guest turns TSC ticks into time. Source: Linux
//! Documentation/virt/kvm/x86/msr.rst and arch/x86/include/asm/pvclock-abi.h.

/// MSRs: wall clock, and system time; bit 0 of the latter enables it.
pub const MSR_WALL_CLOCK: u32 = 0x4b56_4d00;
/// See [`MSR_WALL_CLOCK`].
pub const MSR_SYSTEM_TIME: u32 = 0x4b56_4d01;
/// First and last of three that name memory for other services.
pub const MSR_ASYNC_FAULTS: u32 = 0x4b56_4d02;
/// See [`MSR_ASYNC_FAULTS`].
pub const MSR_PARAVIRTUAL_EOI: u32 = 0x4b56_4d04;
/// Enable bit of [`MSR_SYSTEM_TIME`].
pub const SYSTEM_TIME_ENABLED: u64 = 1;
/// All vCPUs' clocks agree.
const FLAG_STABLE: u8 = 1;

/// Scale of a TSC: nanoseconds = (ticks << shift, or >> -shift) * multiplier >> 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    multiplier: u32,
    shift: i8,
}

impl Scale {
    /// The scale of a TSC of this frequency, which is not 0.
    pub fn of_frequency(hertz: u64) -> Self {
        // Doubling the ticks until a tick is at most a nanosecond and more than half of one keeps 32 bits of precision.
        let (mut frequency, mut shift) = (hertz.max(1), 0i8);
        while frequency > 2_000_000_000 {
            frequency >>= 1;
            shift -= 1;
        }
        while frequency <= 1_000_000_000 {
            frequency <<= 1;
            shift += 1;
        }
        Self { multiplier: ((1_000_000_000u64 << 32) / frequency) as u32, shift }
    }

    /// Nanoseconds of this many ticks.
    pub fn nanoseconds(self, ticks: u64) -> u64 {
        let shifted = if self.shift < 0 { ticks >> -self.shift } else { ticks << self.shift };
        ((u128::from(shifted) * u128::from(self.multiplier)) >> 32) as u64
    }
}

/// `pvclock_vcpu_time_info` for a clock that reads `nanoseconds` at TSC value `ticks`.
pub fn system_time(ticks: u64, nanoseconds: u64, scale: Scale) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[0..4].copy_from_slice(&2u32.to_le_bytes()); // version: even, so complete
    bytes[8..16].copy_from_slice(&ticks.to_le_bytes());
    bytes[16..24].copy_from_slice(&nanoseconds.to_le_bytes());
    bytes[24..28].copy_from_slice(&scale.multiplier.to_le_bytes());
    bytes[28] = scale.shift as u8;
    bytes[29] = FLAG_STABLE;
    bytes
}

/// `pvclock_wall_clock` of a machine that started at this time.
pub fn wall_clock(seconds_since_1970: u32) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[0..4].copy_from_slice(&2u32.to_le_bytes());
    bytes[4..8].copy_from_slice(&seconds_since_1970.to_le_bytes());
    bytes
}

/// Seconds since 1970 of a date and time (proleptic Gregorian, UTC).
pub fn seconds_since_1970(year: u32, month: u32, day: u32, hour: u32, minute: u32, second: u32) -> u32 {
    // Days from civil, years starting in March so that leap days come last.
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    // 719,468 days from 1 March of year 0 to 1 January 1970.
    ((days - 719_468) * 24 + hour) * 3600 + minute * 60 + second
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_of_ticks_is_a_second_whatever_the_frequency() {
        for hertz in [19_200_000, 999_999_999, 1_000_000_000, 1_000_000_001, 2_100_000_000, 4_999_000_000] {
            let nanoseconds = Scale::of_frequency(hertz).nanoseconds(hertz);
            assert!(nanoseconds.abs_diff(1_000_000_000) < 4, "{hertz}: {nanoseconds}");
        }
    }

    #[test]
    fn dates_are_counted_as_date_does() {
        assert_eq!(seconds_since_1970(1970, 1, 1, 0, 0, 0), 0);
        assert_eq!(seconds_since_1970(2000, 2, 29, 12, 0, 0), 951_825_600);
        assert_eq!(seconds_since_1970(2026, 1, 1, 0, 0, 0), 1_767_225_600);
    }
}
