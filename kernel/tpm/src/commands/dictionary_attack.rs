//! Dictionary attacks: Part 3, chapter on dictionary attack functions.

use crate::request::Request;
use crate::state::Record;
use crate::wire::Result;

/// TPM2_DictionaryAttackLockReset (Part 3, 25.2).
pub fn dictionary_attack_lock_reset(request: &mut Request<'_>) -> Result<()> {
    request.end_of_parameters()?;
    request.state.dictionary_attack.failed_tries = 0;
    request.state.mark(Record::DictionaryAttack);
    Ok(())
}

/// TPM2_DictionaryAttackParameters (Part 3, 25.3).
pub fn dictionary_attack_parameters(request: &mut Request<'_>) -> Result<()> {
    let max_tries: u32 = request.parameter()?;
    let recovery_seconds: u32 = request.parameter()?;
    let lockout_recovery_seconds: u32 = request.parameter()?;
    request.end_of_parameters()?;
    let time = request.state.clock.time;
    request.state.dictionary_attack.set_parameters(
        max_tries,
        recovery_seconds,
        lockout_recovery_seconds,
        time,
    );
    request.state.mark(Record::DictionaryAttack);
    Ok(())
}
