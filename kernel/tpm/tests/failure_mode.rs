//! A TPM that is not to be trusted any more: Part 1, section on failure mode.

mod driver;

use driver::Driver;

const FAILURE: u32 = 0x101;
const GET_RANDOM: u32 = 0x17B;
const GET_TEST_RESULT: u32 = 0x17C;
const GET_CAPABILITY: u32 = 0x17A;

/// The generator asks for entropy now and then: this TPM gets none when it does.
fn failed() -> Driver {
    let mut tpm = Driver::started();
    tpm.tpm.platform_mut().refuse_entropy = true;
    let answers = (0..5000).find_map(|_| tpm.command(GET_RANDOM).u16(1).run().err());
    assert_eq!(answers, Some(FAILURE));
    tpm
}

#[test]
fn only_what_tells_about_the_failure_is_served() {
    let mut tpm = failed();
    let test_result = tpm.command(GET_TEST_RESULT).run().unwrap();
    assert_eq!(test_result.sized(0), b"entropy");
    assert_eq!(test_result.parameters[test_result.parameters.len() - 4..], FAILURE.to_be_bytes());
    // TPM_PT_MANUFACTURER.
    tpm.command(GET_CAPABILITY).u32(6).u32(0x105).u32(1).run().unwrap();
    let served: Vec<u32> = (0x11F_u32..=0x1AA)
        .filter(|code| {
            let response = tpm.raw(&[&[0x80, 1, 0, 0, 0, 10][..], &code.to_be_bytes()].concat());
            response[6..10] != FAILURE.to_be_bytes()
        })
        .collect();
    assert_eq!(served, [GET_CAPABILITY, GET_TEST_RESULT]);
}

/// Part 3, TPM2_GetCapability: the properties that a failed TPM has to tell, and "no value" of others.
#[test]
fn a_failed_tpm_says_who_made_it_and_nothing_else() {
    let mut healthy = Driver::started();
    let mut tpm = failed();
    let ask = |tpm: &mut Driver, capability: u32, property: u32, count: u32| {
        let command = tpm.command(GET_CAPABILITY).u32(capability).u32(property).u32(count);
        command.run().map(|answer| answer.parameters)
    };
    // TPM_PT_MANUFACTURER to TPM_PT_FIRMWARE_VERSION_2, from wherever it is asked, and no more after them.
    let expected = ask(&mut healthy, 6, 0x105, 8).unwrap();
    for property in [0, 0x100, 0x105] {
        let told = ask(&mut tpm, 6, property, 1000).unwrap();
        assert_eq!(told[..5], [0, 0, 0, 0, 6], "from {property:#x}");
        assert_eq!(told[5..], expected[5..], "from {property:#x}");
    }
    for property in [0x10D, 0x200, u32::MAX] {
        let told = ask(&mut tpm, 6, property, 1000).unwrap();
        assert_eq!(told, [0, 0, 0, 0, 6, 0, 0, 0, 0], "from {property:#x}");
    }
    for capability in (0..=0x0C).filter(|capability| *capability != 6) {
        assert_eq!(ask(&mut tpm, capability, 0, 1), Err(FAILURE), "capability {capability:#x}");
    }
}

#[test]
fn sessions_are_not_served() {
    let mut tpm = failed();
    let with_session = tpm.command(GET_TEST_RESULT).session(0x4000_0009, b"", 1, b"");
    assert_eq!(with_session.run(), Err(FAILURE));
}

#[test]
fn startup_does_not_end_it_and_a_reset_with_entropy_does() {
    let mut tpm = failed();
    assert_eq!(tpm.command(0x144).u16(0).run(), Err(FAILURE));
    tpm.tpm.power_on();
    tpm.tpm.platform_mut().refuse_entropy = false;
    tpm.startup_clear();
    assert_eq!(tpm.command(GET_RANDOM).u16(8).run().unwrap().sized(0).len(), 8);
    assert_eq!(tpm.command(GET_TEST_RESULT).run().unwrap().parameters, [0; 6]);
}

#[test]
#[allow(clippy::field_reassign_with_default, reason = "the platform has a private field")]
fn without_entropy_no_tpm_is_manufactured() {
    let mut platform = driver::FakePlatform::default();
    platform.refuse_entropy = true;
    assert_eq!(tpm::Tpm::manufacture(platform).err(), Some(tpm::ManufactureError::Entropy));
    let mut platform = driver::FakePlatform::default();
    platform.refuse_commits = true;
    assert_eq!(tpm::Tpm::manufacture(platform).err(), Some(tpm::ManufactureError::Commit));
}
