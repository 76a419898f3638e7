//! Self tests: Part 3, chapter on testing.

use alloc::vec::Vec;

use crate::call::{Call, Handler};
use crate::command_table::CommandCode;
use crate::commands::capability::is_implemented;
use crate::response_code::ResponseCode;
use crate::self_test;
use crate::structures::algorithms::id;
use crate::structures::buffers::{put_list, read_list};
use crate::structures::limits::MAX_ALGORITHM_LIST;
use crate::wire::Result;

pub const HANDLERS: &[(CommandCode, Handler)] = &[
    (CommandCode::SelfTest, self_test_command),
    (CommandCode::IncrementalSelfTest, incremental_self_test),
    (CommandCode::GetTestResult, get_test_result),
];

/// TPM2_SelfTest: everything is tested at once, whether asked for all or for the rest.
fn self_test_command(call: &mut Call<'_>) -> Result<()> {
    let _full: bool = call.parameter()?;
    call.end_of_parameters()?;
    call.state.judge_test(self_test::run())
}

/// What is not tested before the first command that may use a key: ECDSA and elliptic curves.
const LATE: [u16; 2] = [id::ECDSA, id::ECC];

/// TPM2_IncrementalSelfTest: TPM_RC_VALUE for an algorithm that the TPM has not. Whatever is asked for, everything is tested; an
/// empty list only asks what is left.
fn incremental_self_test(call: &mut Call<'_>) -> Result<()> {
    let to_test: Vec<u16> = call.parameter_with(|reader| read_list(reader, MAX_ALGORITHM_LIST))?;
    call.end_of_parameters()?;
    if !to_test.iter().all(|algorithm| is_implemented(*algorithm)) {
        return Err(ResponseCode::VALUE.parameter(1));
    }
    if !to_test.is_empty() {
        call.state.judge_test(self_test::run())?;
    }
    put_list::<u16>(&mut call.response, if call.state.keys_tested { &[] } else { &LATE });
    Ok(())
}

/// TPM2_GetTestResult: in failure mode, which test failed. Before that, what is left is tested first: TPM_RC_NEEDS_TEST would be
/// right, too, but tpm2-tools 5.4 takes it for an unknown answer.
fn get_test_result(call: &mut Call<'_>) -> Result<()> {
    call.end_of_parameters()?;
    if call.state.failure.is_none() {
        // What failed is in the state, and in the answer.
        let _told_below = call.state.test_keys();
    }
    match call.state.failure {
        None => {
            call.answer_sized(&[]);
            call.answer(&0_u32);
        }
        Some(failed) => {
            call.answer_sized(failed.name().as_bytes());
            call.answer(&ResponseCode::FAILURE.to_wire());
        }
    }
    Ok(())
}
