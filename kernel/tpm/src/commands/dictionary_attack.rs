//! Dictionary attacks: Part 3, chapter on dictionary attack functions.

use crate::call::{Call, Handler};
use crate::command_table::CommandCode;
use crate::state::Record;
use crate::wire::Result;

pub const HANDLERS: &[(CommandCode, Handler)] = &[
    (CommandCode::DictionaryAttackLockReset, lock_reset),
    (CommandCode::DictionaryAttackParameters, parameters),
];

/// TPM2_DictionaryAttackLockReset.
fn lock_reset(call: &mut Call<'_>) -> Result<()> {
    call.end_of_parameters()?;
    call.state.dictionary_attack.failed_tries = 0;
    call.state.mark(Record::DictionaryAttack);
    Ok(())
}

/// TPM2_DictionaryAttackParameters.
fn parameters(call: &mut Call<'_>) -> Result<()> {
    let max_tries: u32 = call.parameter()?;
    let recovery_seconds: u32 = call.parameter()?;
    let lockout_recovery_seconds: u32 = call.parameter()?;
    call.end_of_parameters()?;
    let time = call.state.clock.time;
    call.state.dictionary_attack.set_parameters(max_tries, recovery_seconds, lockout_recovery_seconds, time);
    call.state.mark(Record::DictionaryAttack);
    Ok(())
}
