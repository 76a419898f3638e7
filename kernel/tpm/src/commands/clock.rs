//! Clock: Part 3, chapter on clocks and timers.

use crate::clock::UPDATE_INTERVAL_MILLISECONDS;
use crate::request::Request;
use crate::response_code::ResponseCode;
use crate::state::Record;
use crate::structures::capability::ClockAdjust;
use crate::wire::Result;

/// TPM2_ReadClock (Part 3, 29.1).
pub fn read_clock(request: &mut Request<'_>) -> Result<()> {
    request.end_of_parameters()?;
    let time = request.state.clock.time_info();
    request.answer(&time);
    Ok(())
}

/// TPM2_ClockSet (Part 3, 29.2): only forward.
pub fn clock_set(request: &mut Request<'_>) -> Result<()> {
    const LATEST: u64 = 0xFFFF_0000_0000_0000;
    let new: u64 = request.parameter()?;
    request.end_of_parameters()?;
    if new > LATEST || new < request.state.clock.clock {
        return Err(ResponseCode::VALUE.parameter(1));
    }
    let clock = &mut request.state.clock;
    // A value that a crash cannot take back below what was reported: Part 1, section on the safe flag.
    if new / UPDATE_INTERVAL_MILLISECONDS > clock.clock / UPDATE_INTERVAL_MILLISECONDS {
        clock.safe = true;
    }
    clock.clock = new;
    request.state.mark(Record::Clock);
    Ok(())
}

/// TPM2_ClockRateAdjust (Part 3, 29.3).
pub fn clock_rate_adjust(request: &mut Request<'_>) -> Result<()> {
    // Parts of 2^20: a percent, a tenth, and the smallest step of the reference's clock; at most a sixth in all.
    const COARSE: i32 = 10_486;
    const MEDIUM: i32 = 1_049;
    const FINE: i32 = 35;
    const LIMIT: i32 = 174_763;
    let adjust: ClockAdjust = request.parameter()?;
    request.end_of_parameters()?;
    let step = match adjust {
        ClockAdjust::CoarseSlower => -COARSE,
        ClockAdjust::MediumSlower => -MEDIUM,
        ClockAdjust::FineSlower => -FINE,
        ClockAdjust::NoChange => 0,
        ClockAdjust::FineFaster => FINE,
        ClockAdjust::MediumFaster => MEDIUM,
        ClockAdjust::CoarseFaster => COARSE,
    };
    let clock = &mut request.state.clock;
    clock.rate_adjustment = clock.rate_adjustment.saturating_add(step).clamp(-LIMIT, LIMIT);
    Ok(())
}
