//! Clock: Part 3, chapter on clocks and timers.

use crate::call::{Call, Handler};
use crate::clock::UPDATE_INTERVAL_MILLISECONDS;
use crate::command_table::CommandCode;
use crate::response_code::ResponseCode;
use crate::state::Record;
use crate::structures::capability::ClockAdjust;
use crate::wire::Result;

pub const HANDLERS: &[(CommandCode, Handler)] = &[
    (CommandCode::ReadClock, read_clock),
    (CommandCode::ClockSet, clock_set),
    (CommandCode::ClockRateAdjust, clock_rate_adjust),
];

/// TPM2_ReadClock.
fn read_clock(call: &mut Call<'_>) -> Result<()> {
    call.end_of_parameters()?;
    let time = call.state.clock.time_info();
    call.answer(&time);
    Ok(())
}

/// TPM2_ClockSet: only forward.
fn clock_set(call: &mut Call<'_>) -> Result<()> {
    const LATEST: u64 = 0xFFFF_0000_0000_0000;
    let new: u64 = call.parameter()?;
    call.end_of_parameters()?;
    if new > LATEST || new < call.state.clock.clock {
        return Err(ResponseCode::VALUE.parameter(1));
    }
    let clock = &mut call.state.clock;
    // A value that a crash cannot take back below what was reported: Part 1, section on the safe flag.
    if new / UPDATE_INTERVAL_MILLISECONDS > clock.clock / UPDATE_INTERVAL_MILLISECONDS {
        clock.safe = true;
    }
    clock.clock = new;
    call.state.mark(Record::Clock);
    Ok(())
}

/// TPM2_ClockRateAdjust.
fn clock_rate_adjust(call: &mut Call<'_>) -> Result<()> {
    // Parts of 2^20: a percent, a tenth, and the smallest step of the reference's clock; at most a sixth in all.
    const COARSE: i32 = 10_486;
    const MEDIUM: i32 = 1_049;
    const FINE: i32 = 35;
    const LIMIT: i32 = 174_763;
    let adjust: ClockAdjust = call.parameter()?;
    call.end_of_parameters()?;
    let step = match adjust {
        ClockAdjust::CoarseSlower => -COARSE,
        ClockAdjust::MediumSlower => -MEDIUM,
        ClockAdjust::FineSlower => -FINE,
        ClockAdjust::NoChange => 0,
        ClockAdjust::FineFaster => FINE,
        ClockAdjust::MediumFaster => MEDIUM,
        ClockAdjust::CoarseFaster => COARSE,
    };
    let clock = &mut call.state.clock;
    clock.rate_adjustment = clock.rate_adjustment.saturating_add(step).clamp(-LIMIT, LIMIT);
    Ok(())
}
