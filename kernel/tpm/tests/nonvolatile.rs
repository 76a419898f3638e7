//! Indices through the engine: every type, every lock, and what each refusal answers.

mod driver;

use driver::{Driver, sized};

const OWNER: u32 = 0x4000_0001;
const PLATFORM: u32 = 0x4000_000C;
const INDEX: u32 = 0x0180_0001;
const SHA256: u16 = 0x000B;

const DEFINE: u32 = 0x12A;
const UNDEFINE: u32 = 0x122;
const WRITE: u32 = 0x137;
const READ: u32 = 0x14E;
const INCREMENT: u32 = 0x134;
const EXTEND: u32 = 0x136;
const SET_BITS: u32 = 0x135;
const WRITE_LOCK: u32 = 0x138;
const READ_LOCK: u32 = 0x14F;
const GLOBAL_LOCK: u32 = 0x132;
const READ_PUBLIC: u32 = 0x169;

const OWNER_RW: u32 = 1 << 1 | 1 << 17;
const AUTH_RW: u32 = 1 << 2 | 1 << 18;
const WRITE_ALL: u32 = 1 << 12;
const WRITE_DEFINE: u32 = 1 << 13;
const WRITE_STCLEAR: u32 = 1 << 14;
const GLOBALLOCK: u32 = 1 << 15;
const READ_STCLEAR: u32 = 1 << 31;
const WRITTEN: u32 = 1 << 29;
const NO_DA: u32 = 1 << 25;
const COUNTER: u32 = 1 << 4;
const BITS: u32 = 2 << 4;
const EXTEND_TYPE: u32 = 4 << 4;
const PIN_FAIL: u32 = 8 << 4;

/// TPM2B_NV_PUBLIC.
fn public(index: u32, attributes: u32, size: u16) -> Vec<u8> {
    let mut public = index.to_be_bytes().to_vec();
    public.extend(SHA256.to_be_bytes());
    public.extend(attributes.to_be_bytes());
    public.extend([0, 0]);
    public.extend(size.to_be_bytes());
    sized(&public)
}

fn define(tpm: &mut Driver, attributes: u32, size: u16) -> Result<(), u32> {
    let command = tpm.command(DEFINE).handle(OWNER).password(b"");
    command.sized(b"pin").bytes(&public(INDEX, attributes, size)).run().map(|_| ())
}

fn write(tpm: &mut Driver, data: &[u8], offset: u16) -> Result<(), u32> {
    tpm.command(WRITE).handle(OWNER).handle(INDEX).password(b"").sized(data).u16(offset).run().map(|_| ())
}

fn read(tpm: &mut Driver, size: u16, offset: u16) -> Result<Vec<u8>, u32> {
    let command = tpm.command(READ).handle(OWNER).handle(INDEX).password(b"");
    command.u16(size).u16(offset).run().map(|answer| answer.sized(0).to_vec())
}

fn of_owner(tpm: &mut Driver, code: u32) -> Result<(), u32> {
    tpm.command(code).handle(OWNER).handle(INDEX).password(b"").run().map(|_| ())
}

#[test]
fn an_ordinary_index_keeps_what_is_written() {
    let mut tpm = Driver::started();
    define(&mut tpm, OWNER_RW | AUTH_RW, 8).unwrap();
    assert_eq!(read(&mut tpm, 8, 0), Err(0x14A), "not written yet");
    write(&mut tpm, b"abc", 2).unwrap();
    assert_eq!(read(&mut tpm, 8, 0).unwrap(), b"\xFF\xFFabc\xFF\xFF\xFF");
    let by_index = tpm.command(READ).handle(INDEX).handle(INDEX).password(b"pin").u16(1).u16(2).run();
    assert_eq!(by_index.unwrap().sized(0), b"a");
    assert_eq!(
        tpm.command(READ).handle(INDEX).handle(INDEX).password(b"pim").u16(1).u16(2).run(),
        Err(0x98E)
    );
    let public = tpm.command(READ_PUBLIC).handle(INDEX).run().unwrap().all_sized();
    assert_eq!(public[0][6..10], (OWNER_RW | AUTH_RW | WRITTEN).to_be_bytes());
    assert_eq!(public[1].len(), 34);
}

#[test]
fn accesses_beyond_an_index_are_refused_and_change_nothing() {
    let mut tpm = Driver::started();
    define(&mut tpm, OWNER_RW | WRITE_ALL, 4).unwrap();
    assert_eq!(write(&mut tpm, b"abcde", 0), Err(0x146));
    assert_eq!(write(&mut tpm, b"", 5), Err(0x2C4));
    assert_eq!(write(&mut tpm, b"abc", 0), Err(0x146), "all of it or nothing");
    assert_eq!(read(&mut tpm, 4, 0), Err(0x14A));
    write(&mut tpm, b"abcd", 0).unwrap();
    assert_eq!(read(&mut tpm, 2, 3), Err(0x146));
    assert_eq!(read(&mut tpm, 0, 5), Err(0x2C4));
    assert_eq!(read(&mut tpm, 4, 0).unwrap(), b"abcd");
}

#[test]
fn each_fault_of_a_definition_has_its_own_code() {
    let mut tpm = Driver::started();
    assert_eq!(define(&mut tpm, OWNER_RW | 3 << 4, 8), Err(0x2C2), "reserved type");
    assert_eq!(define(&mut tpm, OWNER_RW | WRITTEN, 8), Err(0x2C2));
    assert_eq!(define(&mut tpm, 1 << 1, 8), Err(0x2C2), "nobody could read it");
    assert_eq!(define(&mut tpm, 1 << 17, 8), Err(0x2C2), "nobody could write it");
    assert_eq!(define(&mut tpm, OWNER_RW | 1 << 30, 8), Err(0x182), "the platform's, by the owner");
    assert_eq!(define(&mut tpm, OWNER_RW | 1 << 10, 8), Err(0x2C2), "deletion by policy, by the owner");
    assert_eq!(define(&mut tpm, OWNER_RW | COUNTER, 7), Err(0x2D5));
    assert_eq!(define(&mut tpm, OWNER_RW | EXTEND_TYPE, 31), Err(0x2D5));
    assert_eq!(define(&mut tpm, OWNER_RW | PIN_FAIL, 8), Err(0x2C2), "a PIN fail index counts by itself");
    assert_eq!(define(&mut tpm, OWNER_RW, 2049), Err(0x2D5));
    assert_eq!(define(&mut tpm, OWNER_RW | 1 << 8, 8), Err(0x2E1), "reserved bit");
    let long = tpm.command(DEFINE).handle(OWNER).password(b"").sized(&[1; 33]);
    assert_eq!(long.bytes(&public(INDEX, OWNER_RW, 8)).run(), Err(0x1D5));
    define(&mut tpm, OWNER_RW, 8).unwrap();
    assert_eq!(define(&mut tpm, OWNER_RW, 8), Err(0x14C));
}

#[test]
fn user_indices_take_64_kib_and_no_more() {
    let mut tpm = Driver::started();
    // Each takes 160 bytes more than its contents.
    for number in 0..29 {
        let command = tpm.command(DEFINE).handle(OWNER).password(b"").sized(b"");
        command.bytes(&public(INDEX + (number << 8), OWNER_RW, 2048)).run().unwrap();
    }
    let more = tpm.command(DEFINE).handle(OWNER).password(b"").sized(b"");
    assert_eq!(more.bytes(&public(INDEX + (30 << 8), OWNER_RW, 1400)).run(), Err(0x14B));
    of_owner(&mut tpm, UNDEFINE).unwrap();
    define(&mut tpm, OWNER_RW, 2048).unwrap();
}

#[test]
fn a_new_counter_starts_above_every_deleted_one() {
    let mut tpm = Driver::started();
    define(&mut tpm, OWNER_RW | COUNTER, 8).unwrap();
    for _ in 0..3 {
        of_owner(&mut tpm, INCREMENT).unwrap();
    }
    assert_eq!(read(&mut tpm, 8, 0).unwrap(), 3_u64.to_be_bytes());
    assert_eq!(write(&mut tpm, &[0; 8], 0), Err(0x082));
    of_owner(&mut tpm, UNDEFINE).unwrap();
    define(&mut tpm, OWNER_RW | COUNTER, 8).unwrap();
    assert_eq!(read(&mut tpm, 8, 0), Err(0x14A));
    of_owner(&mut tpm, INCREMENT).unwrap();
    assert_eq!(read(&mut tpm, 8, 0).unwrap(), 4_u64.to_be_bytes());
}

#[test]
fn bits_are_only_ever_set_and_extensions_only_ever_hashed() {
    let mut tpm = Driver::started();
    define(&mut tpm, OWNER_RW | BITS, 8).unwrap();
    for bits in [5_u64, 2] {
        let command = tpm.command(SET_BITS).handle(OWNER).handle(INDEX).password(b"");
        command.u64(bits).run().unwrap();
    }
    assert_eq!(read(&mut tpm, 8, 0).unwrap(), 7_u64.to_be_bytes());
    assert_eq!(of_owner(&mut tpm, INCREMENT), Err(0x282));
    of_owner(&mut tpm, UNDEFINE).unwrap();

    define(&mut tpm, OWNER_RW | EXTEND_TYPE, 32).unwrap();
    let command = tpm.command(EXTEND).handle(OWNER).handle(INDEX).password(b"");
    command.sized(b"abc").run().unwrap();
    // SHA-256 of 32 zero bytes and "abc".
    let expected =
        tpm.command(0x17D).sized(&[&[0; 32][..], b"abc"].concat()).u16(SHA256).u32(0x4000_0007).run();
    if let Ok(expected) = expected {
        assert_eq!(read(&mut tpm, 32, 0).unwrap(), expected.sized(0));
    }
    assert_eq!(read(&mut tpm, 32, 0).unwrap().len(), 32);
}

#[test]
fn locks_hold_until_the_next_startup() {
    let mut tpm = Driver::started();
    define(&mut tpm, OWNER_RW | WRITE_STCLEAR | READ_STCLEAR, 4).unwrap();
    write(&mut tpm, b"abcd", 0).unwrap();
    of_owner(&mut tpm, WRITE_LOCK).unwrap();
    of_owner(&mut tpm, WRITE_LOCK).unwrap();
    assert_eq!(write(&mut tpm, b"efgh", 0), Err(0x148));
    of_owner(&mut tpm, READ_LOCK).unwrap();
    assert_eq!(read(&mut tpm, 4, 0), Err(0x148));
    tpm.command(0x145).u16(0).run().unwrap();
    tpm.tpm.power_on();
    tpm.startup_clear();
    assert_eq!(read(&mut tpm, 4, 0).unwrap(), b"abcd");
    write(&mut tpm, b"efgh", 0).unwrap();
}

#[test]
fn an_index_without_lock_attributes_cannot_be_locked() {
    let mut tpm = Driver::started();
    define(&mut tpm, OWNER_RW, 4).unwrap();
    assert_eq!(of_owner(&mut tpm, WRITE_LOCK), Err(0x282));
    assert_eq!(of_owner(&mut tpm, READ_LOCK), Err(0x282));
}

#[test]
fn a_define_lock_outlives_startups() {
    let mut tpm = Driver::started();
    define(&mut tpm, OWNER_RW | WRITE_DEFINE, 4).unwrap();
    write(&mut tpm, b"abcd", 0).unwrap();
    of_owner(&mut tpm, WRITE_LOCK).unwrap();
    tpm.tpm.power_on();
    tpm.startup_clear();
    assert_eq!(write(&mut tpm, b"efgh", 0), Err(0x148));
}

#[test]
fn the_global_lock_takes_those_that_asked_for_it() {
    let mut tpm = Driver::started();
    define(&mut tpm, OWNER_RW | GLOBALLOCK, 4).unwrap();
    let other = tpm.command(DEFINE).handle(OWNER).password(b"").sized(b"");
    other.bytes(&public(INDEX + 1, OWNER_RW, 4)).run().unwrap();
    tpm.command(GLOBAL_LOCK).handle(OWNER).password(b"").run().unwrap();
    assert_eq!(write(&mut tpm, b"abcd", 0), Err(0x148));
    let other = tpm.command(WRITE).handle(OWNER).handle(INDEX + 1).password(b"");
    other.sized(b"abcd").u16(0).run().unwrap();
}

#[test]
fn a_pin_fail_index_stops_at_its_limit() {
    let mut tpm = Driver::started();
    define(&mut tpm, (OWNER_RW | 1 << 18 | NO_DA) | PIN_FAIL, 8).unwrap();
    write(&mut tpm, &[0, 0, 0, 0, 0, 0, 0, 2], 0).unwrap();
    let attempt = |tpm: &mut Driver, pin: &[u8]| {
        tpm.command(READ).handle(INDEX).handle(INDEX).password(pin).u16(8).u16(0).run().map(|_| ())
    };
    attempt(&mut tpm, b"pin").unwrap();
    assert_eq!(attempt(&mut tpm, b"no"), Err(0x9A2));
    assert_eq!(attempt(&mut tpm, b"no"), Err(0x9A2));
    assert!(attempt(&mut tpm, b"pin").is_err(), "the limit is reached");
}

#[test]
fn the_owner_cannot_delete_what_the_platform_defined() {
    let mut tpm = Driver::started();
    let command = tpm.command(DEFINE).handle(PLATFORM).password(b"").sized(b"");
    command.bytes(&public(INDEX, 1 | 1 << 16 | 1 << 30, 4)).run().unwrap();
    assert_eq!(of_owner(&mut tpm, UNDEFINE), Err(0x149));
    tpm.command(UNDEFINE).handle(PLATFORM).handle(INDEX).password(b"").run().unwrap();
    assert_eq!(tpm.command(READ_PUBLIC).handle(INDEX).run(), Err(0x18B));
}

#[test]
fn a_refused_commit_undoes_the_write() {
    let mut tpm = Driver::started();
    define(&mut tpm, OWNER_RW, 4).unwrap();
    write(&mut tpm, b"abcd", 0).unwrap();
    tpm.tpm.platform_mut().refuse_commits = true;
    assert_eq!(write(&mut tpm, b"efgh", 0), Err(0x923));
    tpm.tpm.platform_mut().refuse_commits = false;
    assert_eq!(read(&mut tpm, 4, 0).unwrap(), b"abcd");
}
#[test]
fn an_index_survives_in_the_exported_state() {
    let mut tpm = Driver::started();
    define(&mut tpm, OWNER_RW, 4).unwrap();
    write(&mut tpm, b"abcd", 0).unwrap();
    let blob = tpm.tpm.export_state();
    let mut again =
        Driver { tpm: tpm::Tpm::import_state(driver::FakePlatform::default(), &blob).unwrap(), locality: 0 };
    again.startup_clear();
    assert_eq!(read(&mut again, 4, 0).unwrap(), b"abcd");
}
