//! Random numbers: Part 3, chapter on random number generation.

use crate::call::{Call, Handler};
use crate::command_table::CommandCode;
use crate::crypto::random::Random;
use crate::structures::limits::{MAX_DIGEST_BYTES, MAX_SENSITIVE_DATA_BYTES};
use crate::wire::{Result, Secret};

pub const HANDLERS: &[(CommandCode, Handler)] =
    &[(CommandCode::GetRandom, get_random), (CommandCode::StirRandom, stir_random)];

/// TPM2_GetRandom: at most as many bytes as the largest digest has.
fn get_random(call: &mut Call<'_>) -> Result<()> {
    let requested: u16 = call.parameter()?;
    call.end_of_parameters()?;
    let mut bytes = Secret::zeroed(usize::from(requested).min(MAX_DIGEST_BYTES));
    call.state.random.fill(bytes.as_mut_bytes());
    call.answer_sized(bytes.as_bytes());
    Ok(())
}

/// TPM2_StirRandom.
fn stir_random(call: &mut Call<'_>) -> Result<()> {
    let data = call.parameter_with(|reader| reader.sized(MAX_SENSITIVE_DATA_BYTES))?;
    call.end_of_parameters()?;
    let mut fresh = Secret::zeroed(crate::crypto::random::RESEED_BYTES);
    call.state.random.fill(fresh.as_mut_bytes());
    call.state.random.reseed(fresh.as_bytes(), data);
    Ok(())
}
