//! Self tests: Part 3, chapter on testing.

use alloc::vec::Vec;

use crate::commands::capability::is_implemented;
use crate::request::Request;
use crate::response_code::ResponseCode;
use crate::self_test;
use crate::structures::algorithms::id;
use crate::structures::buffers::{put_list, read_list};
use crate::structures::limits::MAX_ALGORITHM_LIST;
use crate::wire::Result;

/// TPM2_SelfTest (Part 3, 10.2): everything is tested at once, whether asked for all or for the rest.
pub fn self_test(request: &mut Request<'_>) -> Result<()> {
    let _full: bool = request.parameter()?;
    request.end_of_parameters()?;
    request.state.judge_test(self_test::run())
}

/// What is not tested before the first command that may use a key: ECDSA and elliptic curves.
const LATE: [u16; 2] = [id::ECDSA, id::ECC];

/// TPM2_IncrementalSelfTest (Part 3, 10.3): TPM_RC_VALUE for an algorithm that the TPM has not. Whatever is asked for, everything is tested; an
/// empty list only asks what is left.
pub fn incremental_self_test(request: &mut Request<'_>) -> Result<()> {
    let to_test: Vec<u16> = request.parameter_with(|reader| read_list(reader, MAX_ALGORITHM_LIST))?;
    request.end_of_parameters()?;
    if !to_test.iter().all(|algorithm| is_implemented(*algorithm)) {
        return Err(ResponseCode::VALUE.parameter(1));
    }
    if !to_test.is_empty() {
        request.state.judge_test(self_test::run())?;
    }
    put_list::<u16>(request.response, if request.state.keys_tested { &[] } else { &LATE });
    Ok(())
}

/// TPM2_GetTestResult (Part 3, 10.4): in failure mode, which test failed. Before that, what is left is tested first: TPM_RC_NEEDS_TEST would be
/// right, too, but tpm2-tools 5.4 takes it for an unknown answer.
pub fn get_test_result(request: &mut Request<'_>) -> Result<()> {
    request.end_of_parameters()?;
    if request.state.failure.is_none() {
        // What failed is in the state, and in the answer.
        let _told_below = request.state.test_keys();
    }
    match request.state.failure {
        None => {
            request.answer_sized(&[]);
            request.answer(&0_u32);
        }
        Some(failed) => {
            request.answer_sized(failed.name().as_bytes());
            request.answer(&ResponseCode::FAILURE.to_wire());
        }
    }
    Ok(())
}
