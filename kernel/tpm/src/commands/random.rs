//! Random numbers: Part 3, chapter on random number generation.

use crate::crypto::random::Random;
use crate::request::Request;
use crate::structures::limits::{MAX_DIGEST_BYTES, MAX_SENSITIVE_DATA_BYTES};
use crate::wire::{Result, Secret};

/// TPM2_GetRandom (Part 3, 16.1): at most as many bytes as the largest digest has.
pub fn get_random(request: &mut Request<'_>) -> Result<()> {
    let requested: u16 = request.parameter()?;
    request.end_of_parameters()?;
    let mut bytes = Secret::zeroed(usize::from(requested).min(MAX_DIGEST_BYTES));
    request.state.random.fill(bytes.as_mut_bytes());
    request.answer_sized(bytes.as_bytes());
    Ok(())
}

/// TPM2_StirRandom (Part 3, 16.2).
pub fn stir_random(request: &mut Request<'_>) -> Result<()> {
    let data = request.parameter_with(|reader| reader.sized(MAX_SENSITIVE_DATA_BYTES))?;
    request.end_of_parameters()?;
    let mut fresh = Secret::zeroed(crate::crypto::random::RESEED_BYTES);
    request.state.random.fill(fresh.as_mut_bytes());
    request.state.random.reseed(fresh.as_bytes(), data);
    Ok(())
}
