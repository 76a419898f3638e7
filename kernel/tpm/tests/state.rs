//! The state outside the TPM: what survives power cycles, and which blobs are refused.

mod driver;

use driver::{Driver, FakePlatform};
use tpm::{StateError, Tpm, assemble_state};

fn import(blob: &[u8]) -> Result<Driver, StateError> {
    Tpm::import_state(FakePlatform::default(), blob).map(|tpm| Driver { tpm, locality: 0 })
}

fn error(blob: &[u8]) -> StateError {
    import(blob).map(|_| ()).unwrap_err()
}

#[test]
fn an_exported_state_imports_and_exports_the_same() {
    let mut tpm = Driver::started();
    tpm.command(0x145).u16(0).run().unwrap();
    let blob = tpm.tpm.export_state();
    let mut again = import(&blob).unwrap();
    assert_eq!(again.tpm.export_state(), blob);
    again.startup_clear();
}

#[test]
fn the_committed_records_are_the_exported_state() {
    let mut tpm = Driver::started();
    tpm.command(0x145).u16(1).run().unwrap();
    let records = tpm.tpm.platform().records.clone();
    let assembled = assemble_state(records.iter().map(|(number, bytes)| (*number, bytes.as_slice())));
    assert_eq!(assembled, tpm.tpm.export_state());
}

#[test]
fn a_truncated_state_is_refused_at_every_length() {
    let blob = Driver::started().tpm.export_state();
    for length in 0..blob.len() {
        let expected = if length < 8 { StateError::NotAState } else { StateError::Truncated };
        assert_eq!(error(&blob[..length]), expected, "{length}");
    }
}

#[test]
fn a_state_with_a_changed_bit_is_refused_wherever_it_is() {
    let blob = Driver::started().tpm.export_state();
    for at in 0..blob.len() {
        let mut changed = blob.clone();
        changed[at] ^= 0x10;
        error(&changed);
    }
}

#[test]
fn a_state_of_a_newer_version_is_refused_by_its_number() {
    let mut blob = Driver::started().tpm.export_state();
    blob[11] = 3;
    assert_eq!(error(&blob), StateError::NewerVersion(3));
    blob[11] = 1;
    assert_eq!(error(&blob), StateError::OlderVersion(1));
}

#[test]
fn a_state_without_a_record_is_refused() {
    let tpm = Driver::started();
    for missing in tpm.tpm.platform().records.keys() {
        let mut records = tpm.tpm.platform().records.clone();
        records.remove(missing);
        let blob = assemble_state(records.iter().map(|(number, bytes)| (*number, bytes.as_slice())));
        assert_eq!(error(&blob), StateError::Record(*missing));
    }
}

#[test]
fn a_clock_tick_makes_only_the_clock_durable() {
    let mut tpm = Driver::started();
    let before = tpm.tpm.platform().committed_bytes;
    tpm.tpm.platform_mut().milliseconds += 1000;
    tpm.command(0x17B).u16(1).run().unwrap();
    assert_eq!(tpm.tpm.platform().committed_bytes, before, "a second writes nothing");
    tpm.tpm.platform_mut().milliseconds += 1 << 22;
    tpm.command(0x17B).u16(1).run().unwrap();
    assert_eq!(
        tpm.tpm.platform().committed_bytes,
        before + 24,
        "clock and time, and the epoch that they belong to"
    );
}
