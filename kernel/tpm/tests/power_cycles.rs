//! What lives through which power cycle: orderly indices, and whether a resume begins as the cycle before it did.

#![allow(clippy::type_complexity, reason = "rows of tables")]

mod driver;

use driver::keys::OWNER;
use driver::{Driver, sized};

const INDEX: u32 = 0x0180_0001;
const OWNER_RW: u32 = 1 << 1 | 1 << 17;
const COUNTER: u32 = 1 << 4;
const ORDERLY: u32 = 1 << 26;
const CLEAR_STCLEAR: u32 = 1 << 27;
const NV_UNINITIALIZED: u32 = 0x14A;

const CLEAR: u16 = 0;
const STATE: u16 = 1;

fn define(tpm: &mut Driver, attributes: u32) {
    let mut public = INDEX.to_be_bytes().to_vec();
    public.extend([0x00, 0x0B]);
    public.extend((attributes | OWNER_RW).to_be_bytes());
    public.extend([0, 0, 0, 8]);
    let command = tpm.command(0x12A).handle(OWNER).password(b"");
    command.sized(b"").bytes(&sized(&public)).run().expect("TPM2_NV_DefineSpace");
}

fn write(tpm: &mut Driver) {
    let write = tpm.command(0x137).handle(OWNER).handle(INDEX).password(b"");
    write.sized(b"contents").u16(0).run().expect("TPM2_NV_Write");
}

fn read(tpm: &mut Driver) -> Result<Vec<u8>, u32> {
    let read = tpm.command(0x14E).handle(OWNER).handle(INDEX).password(b"").u16(8).u16(0);
    read.run().map(|answer| answer.sized(0).to_vec())
}

/// Shuts down as asked, or not at all, and starts up.
fn cycle(tpm: &mut Driver, shutdown: Option<u16>, startup: u16) -> Result<(), u32> {
    if let Some(kind) = shutdown {
        tpm.command(0x145).u16(kind).run().expect("TPM2_Shutdown");
    }
    tpm.tpm.power_on();
    tpm.command(0x144).u16(startup).run().map(|_| ())
}

/// Reset without and with an orderly shutdown, restart, resume.
const RESET: (Option<u16>, u16) = (None, CLEAR);
const ORDERLY_RESET: (Option<u16>, u16) = (Some(CLEAR), CLEAR);
const RESTART: (Option<u16>, u16) = (Some(STATE), CLEAR);
const RESUME: (Option<u16>, u16) = (Some(STATE), STATE);

/// Part 2, table of TPMA_NV: which contents are still there.
#[test]
fn contents_live_through_the_cycles_that_their_attributes_name() {
    let cases = [
        (0, [(RESET, true), (ORDERLY_RESET, true), (RESTART, true), (RESUME, true)]),
        (ORDERLY, [(RESET, false), (ORDERLY_RESET, false), (RESTART, true), (RESUME, true)]),
        (CLEAR_STCLEAR, [(RESET, false), (ORDERLY_RESET, false), (RESTART, false), (RESUME, true)]),
        (ORDERLY | CLEAR_STCLEAR, [(RESET, false), (ORDERLY_RESET, false), (RESTART, false), (RESUME, true)]),
    ];
    for (attributes, cycles) in cases {
        for ((shutdown, startup), stays) in cycles {
            let mut tpm = Driver::started();
            define(&mut tpm, attributes);
            write(&mut tpm);
            cycle(&mut tpm, shutdown, startup).unwrap();
            let expected = if stays { Ok(b"contents".to_vec()) } else { Err(NV_UNINITIALIZED) };
            assert_eq!(read(&mut tpm), expected, "{attributes:#x} {shutdown:?} {startup}");
        }
    }
}

#[test]
fn an_orderly_counter_never_goes_back_however_the_power_goes() {
    for (shutdown, startup) in [RESET, ORDERLY_RESET, RESTART, RESUME] {
        let mut tpm = Driver::started();
        define(&mut tpm, ORDERLY | COUNTER);
        let increment = |tpm: &mut Driver| {
            tpm.command(0x134).handle(OWNER).handle(INDEX).password(b"").run().unwrap();
            read(tpm).unwrap()
        };
        let before = [increment(&mut tpm), increment(&mut tpm)];
        cycle(&mut tpm, shutdown, startup).unwrap();
        assert!(read(&mut tpm).unwrap() >= before[1], "{shutdown:?} {startup}");
        assert!(increment(&mut tpm) > before[1], "{shutdown:?} {startup}");
    }
}

#[test]
fn an_orderly_index_survives_in_the_exported_state_after_a_shutdown() {
    let mut tpm = Driver::started();
    define(&mut tpm, ORDERLY | CLEAR_STCLEAR);
    write(&mut tpm);
    tpm.command(0x145).u16(STATE).run().unwrap();
    let blob = tpm.tpm.export_state();
    let mut tpm =
        Driver { tpm: tpm::Tpm::import_state(driver::FakePlatform::default(), &blob).unwrap(), locality: 0 };
    tpm.tpm.power_on();
    tpm.command(0x144).u16(STATE).run().unwrap();
    assert_eq!(read(&mut tpm), Ok(b"contents".to_vec()));
}

fn measure(tpm: &mut Driver) {
    tpm.tpm.hash_start();
    tpm.tpm.hash_data(b"boot block");
    tpm.tpm.hash_end();
}

fn pcr_0(tpm: &mut Driver) -> Vec<u8> {
    let answer = tpm.command(0x17E).bytes(&[0, 0, 0, 1, 0x00, 0x0B, 3, 1, 0, 0]).run().unwrap();
    answer.parameters[answer.parameters.len() - 32..].to_vec()
}

/// Each way to begin, each way to resume, and what Startup(STATE) answers: Part 3, TPM2_Startup.
#[test]
fn a_resume_begins_as_the_cycle_did_whose_state_it_brings_back() {
    let beginnings = [(0, false), (3, false), (0, true), (3, true)];
    for before in beginnings {
        for after in beginnings {
            let mut tpm = Driver::manufactured();
            let begin = |tpm: &mut Driver, (locality, measured): (u8, bool), kind| {
                if measured {
                    measure(tpm);
                }
                tpm.locality = locality;
                let started = tpm.command(0x144).u16(kind).run().map(|_| ());
                tpm.locality = 0;
                started
            };
            begin(&mut tpm, before, CLEAR).unwrap();
            tpm.command(0x145).u16(STATE).run().unwrap();
            tpm.tpm.power_on();
            let expected = if before.1 != after.1 {
                Err(0x1C4)
            } else if before.0 != after.0 {
                Err(0x907)
            } else {
                Ok(())
            };
            assert_eq!(begin(&mut tpm, after, STATE), expected, "{before:?} {after:?}");
            if expected.is_err() {
                tpm.locality = after.0;
                tpm.command(0x144).u16(CLEAR).run().expect("it may start anew");
            }
        }
    }
}

#[test]
fn a_measurement_before_startup_counts_for_one_power_cycle() {
    let mut tpm = Driver::manufactured();
    let measured = |tpm: &mut Driver, kind| {
        measure(tpm);
        tpm.command(0x144).u16(kind).run().unwrap();
        pcr_0(tpm)
    };
    let first = measured(&mut tpm, CLEAR);
    assert_ne!(first, [0; 32]);
    tpm.command(0x145).u16(STATE).run().unwrap();
    tpm.tpm.power_on();
    assert_eq!(measured(&mut tpm, STATE), first, "a resume measures it again");
    tpm.tpm.power_on();
    tpm.startup_clear();
    assert_eq!(pcr_0(&mut tpm), [0; 32], "and the cycle after it did not");
}

#[test]
fn a_resume_from_another_locality_is_refused_after_the_state_was_exported() {
    let mut tpm = Driver::manufactured();
    tpm.locality = 3;
    tpm.startup_clear();
    assert_eq!(pcr_0(&mut tpm)[31], 3);
    tpm.command(0x145).u16(STATE).run().unwrap();
    let blob = tpm.tpm.export_state();
    let mut tpm =
        Driver { tpm: tpm::Tpm::import_state(driver::FakePlatform::default(), &blob).unwrap(), locality: 0 };
    tpm.tpm.power_on();
    assert_eq!(tpm.command(0x144).u16(STATE).run(), Err(0x907));
    tpm.locality = 3;
    tpm.command(0x144).u16(STATE).run().unwrap();
}
