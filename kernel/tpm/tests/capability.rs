//! What the TPM says about itself, and the clocks and tests that belong to it.

mod driver;

use driver::Driver;

const PLATFORM: u32 = 0x4000_000C;
const OWNER: u32 = 0x4000_0001;
const LOCKOUT: u32 = 0x4000_000A;

struct Capability {
    more: bool,
    count: u32,
    bytes: Vec<u8>,
}

fn capability(tpm: &mut Driver, capability: u32, property: u32, count: u32) -> Result<Capability, u32> {
    let answer = tpm.command(0x17A).u32(capability).u32(property).u32(count).run()?.parameters;
    assert_eq!(answer[1..5], capability.to_be_bytes());
    let count = u32::from_be_bytes(answer[5..9].try_into().unwrap());
    Ok(Capability { more: answer[0] == 1, count, bytes: answer[9..].to_vec() })
}

fn property(tpm: &mut Driver, property: u32) -> u32 {
    let found = capability(tpm, 6, property, 1).unwrap();
    assert_eq!(found.bytes[..4], property.to_be_bytes());
    u32::from_be_bytes(found.bytes[4..8].try_into().unwrap())
}

#[test]
fn lists_go_on_where_they_stopped() {
    let mut tpm = Driver::started();
    for kind in [0_u32, 2, 6] {
        let first = if kind == 6 { 0x100 } else { 0 };
        let size = if kind == 0 {
            6
        } else if kind == 6 {
            8
        } else {
            4
        };
        let all = capability(&mut tpm, kind, first, 1000).unwrap();
        let mut from = first;
        let mut pieces: Vec<u8> = Vec::new();
        loop {
            let piece = capability(&mut tpm, kind, from, 3).unwrap();
            pieces.extend(&piece.bytes);
            if !piece.more {
                break;
            }
            let last = &piece.bytes[piece.bytes.len() - size..];
            from = match kind {
                0 => u32::from(u16::from_be_bytes(last[..2].try_into().unwrap())),
                2 => u32::from_be_bytes(last.try_into().unwrap()) & 0xFFFF,
                _ => u32::from_be_bytes(last[..4].try_into().unwrap()),
            } + 1;
        }
        assert_eq!(pieces, all.bytes, "capability {kind}");
        assert_eq!(all.bytes.len(), all.count as usize * size);
    }
}

#[test]
fn what_is_not_a_capability_is_refused_by_its_number() {
    let mut tpm = Driver::started();
    assert_eq!(capability(&mut tpm, 0x0D, 0, 1).err(), Some(0x1C4));
    assert_eq!(capability(&mut tpm, 0x100, 0, 1).err(), Some(0x1C4));
    assert_eq!(capability(&mut tpm, 1, 0x7700_0000, 1).err(), Some(0x2CB));
    assert_eq!(capability(&mut tpm, 5, 1, 1).err(), Some(0x2C4));
    assert_eq!(capability(&mut tpm, 9, 0x8000_0000, 1).err(), Some(0x2C4));
    assert_eq!(capability(&mut tpm, 0xA, 0, 1).err(), Some(0x2C4));
}

#[test]
fn handles_are_listed_by_type() {
    let mut tpm = Driver::started();
    assert_eq!(capability(&mut tpm, 1, 0, 100).unwrap().count, 24);
    assert_eq!(capability(&mut tpm, 1, 0x4000_0000, 100).unwrap().count, 7);
    assert_eq!(capability(&mut tpm, 1, 0x8000_0000, 100).unwrap().count, 0);
    let start = tpm.command(0x176).handle(0x4000_0007).handle(0x4000_0007).sized(&[1; 32]).sized(b"").u8(1);
    let session = start.u16(0x10).u16(0x0B).run().unwrap().handle;
    let loaded = capability(&mut tpm, 1, 0x0200_0000, 100).unwrap();
    assert_eq!(loaded.bytes, session.to_be_bytes(), "loaded sessions, whatever they are");
    assert_eq!(capability(&mut tpm, 1, 0x0300_0000, 100).unwrap().count, 0);
    tpm.command(0x162).handle(session).run().unwrap();
    assert_eq!(capability(&mut tpm, 1, 0x0200_0000, 100).unwrap().count, 0);
    let saved = capability(&mut tpm, 1, 0x0300_0000, 100).unwrap();
    assert_eq!(saved.bytes, 0x0200_0000_u32.to_be_bytes(), "saved sessions have the type of HMAC sessions");
}

#[test]
fn pcrs_policies_and_curves_are_reported() {
    let mut tpm = Driver::started();
    let pcrs = capability(&mut tpm, 5, 0, 10).unwrap();
    assert_eq!(pcrs.count, 4);
    assert_eq!(pcrs.bytes[..12], [0x00, 0x04, 3, 0, 0, 0, 0x00, 0x0B, 3, 0xFF, 0xFF, 0xFF]);
    assert_eq!(capability(&mut tpm, 5, 0, 1).unwrap().bytes, pcrs.bytes, "the allocation is one thing");
    assert!(capability(&mut tpm, 5, 0, 0).unwrap().more);
    let resettable = capability(&mut tpm, 7, 2, 1).unwrap();
    assert_eq!(resettable.bytes, [0, 0, 0, 2, 3, 0, 0, 0x81], "16 and 23 at locality 0");
    assert_eq!(capability(&mut tpm, 8, 0, 10).unwrap().bytes, [0, 3, 0, 4, 0, 5]);
    let policies = capability(&mut tpm, 9, 0x4000_0000, 10).unwrap();
    assert_eq!((policies.count, policies.bytes.len()), (4, 24), "none is set");
}

#[test]
fn limits_are_what_the_engine_promises() {
    let mut tpm = Driver::started();
    assert_eq!(property(&mut tpm, 0x100), 0x322E_3000);
    for (number, value) in [(0x10E, 64), (0x110, 16), (0x111, 64), (0x117, 2048), (0x11E, 4096), (0x207, 64)]
    {
        assert_eq!(property(&mut tpm, number), value, "{number:#x}");
    }
    assert_eq!(
        property(&mut tpm, 0x201),
        0x8000_000F,
        "all hierarchies are enabled; a new TPM starts orderly"
    );
}

#[test]
fn clock_goes_forward_with_the_platform_and_by_command_only() {
    let mut tpm = Driver::started();
    let read = |tpm: &mut Driver| {
        let bytes = tpm.command(0x181).run().unwrap().parameters;
        let number = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
        (number(0), number(8))
    };
    tpm.tpm.platform_mut().milliseconds += 1234;
    assert_eq!(read(&mut tpm), (1234, 1234));
    tpm.command(0x128).handle(OWNER).password(b"").u64(1_000_000).run().unwrap();
    assert_eq!(read(&mut tpm), (1234, 1_000_000));
    let set =
        |tpm: &mut Driver, time| tpm.command(0x128).handle(OWNER).password(b"").u64(time).run().map(|_| ());
    assert_eq!(set(&mut tpm, 999_999), Err(0x1C4));
    assert_eq!(set(&mut tpm, 0xFFFF_0000_0000_0001), Err(0x1C4));
    assert_eq!(tpm.command(0x130).handle(OWNER).password(b"").u8(4).run(), Err(0x1C4));
    tpm.command(0x130).handle(OWNER).password(b"").u8(3).run().unwrap();
    tpm.tpm.platform_mut().milliseconds += 100_000;
    assert_eq!(read(&mut tpm).0, 1234 + 101_000);
    tpm.tpm.power_on();
    tpm.startup_clear();
    assert_eq!(read(&mut tpm).0, 0);
}

#[test]
fn an_orderly_shutdown_is_reported_and_counted() {
    let mut tpm = Driver::started();
    let counts = |tpm: &mut Driver| {
        let bytes = tpm.command(0x181).run().unwrap().parameters;
        let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        (number(16), number(20), bytes[24])
    };
    assert_eq!(counts(&mut tpm), (1, 0, 1));
    tpm.command(0x145).u16(1).run().unwrap();
    tpm.tpm.power_on();
    tpm.command(0x144).u16(1).run().unwrap();
    assert_eq!(counts(&mut tpm), (1, 1, 1));
    assert_eq!(property(&mut tpm, 0x201) >> 31, 1);
    tpm.command(0x145).u16(0).run().unwrap();
    tpm.tpm.power_on();
    tpm.startup_clear();
    assert_eq!(counts(&mut tpm), (2, 0, 1));
}

#[test]
fn a_resume_needs_a_saved_state_that_nothing_has_changed_since() {
    let mut tpm = Driver::started();
    tpm.command(0x145).u16(1).run().unwrap();
    let extend = [&[0, 0, 0, 1, 0x00, 0x0B][..], &[7; 32]].concat();
    tpm.command(0x182).handle(0).password(b"").bytes(&extend).run().unwrap();
    tpm.tpm.power_on();
    assert_eq!(tpm.command(0x144).u16(1).run(), Err(0x1C4));
    assert_eq!(tpm.command(0x144).u16(2).run(), Err(0x1C4));
    tpm.locality = 1;
    assert_eq!(tpm.command(0x144).u16(0).run(), Err(0x907));
    tpm.locality = 0;
    tpm.startup_clear();
}

#[test]
fn self_tests_pass_and_refuse_unknown_algorithms() {
    let mut tpm = Driver::started();
    tpm.command(0x143).u8(1).run().unwrap();
    assert_eq!(tpm.command(0x143).u8(2).run(), Err(0x1C4));
    assert_eq!(tpm.command(0x142).u32(1).u16(0x0B).run().unwrap().parameters, [0, 0, 0, 0]);
    assert_eq!(tpm.command(0x142).u32(1).u16(0x12).run(), Err(0x1C4));
    assert_eq!(tpm.command(0x17C).run().unwrap().parameters, [0, 0, 0, 0, 0, 0]);
}

/// Part 3, TPM2_IncrementalSelfTest: curves wait for the first command that may need one, or asks.
#[test]
fn what_is_not_tested_yet_is_told() {
    const ECDSA_AND_ECC: [u8; 8] = [0, 0, 0, 2, 0, 0x18, 0, 0x23];
    const NOTHING: [u8; 4] = [0; 4];
    type Tester = fn(&mut Driver);
    let testers: [(&str, Tester); 4] = [
        ("a key", |tpm| drop(driver::keys::storage(tpm))),
        ("TPM2_SelfTest", |tpm| drop(tpm.command(0x143).u8(0).run().unwrap())),
        ("TPM2_IncrementalSelfTest", |tpm| drop(tpm.command(0x142).u32(1).u16(0x23).run().unwrap())),
        ("TPM2_GetTestResult", |tpm| drop(tpm.command(0x17C).run().unwrap())),
    ];
    for (what, test) in testers {
        let mut tpm = Driver::started();
        let left = |tpm: &mut Driver| tpm.command(0x142).u32(0).run().unwrap().parameters;
        assert_eq!(left(&mut tpm), ECDSA_AND_ECC);
        test(&mut tpm);
        assert_eq!(left(&mut tpm), NOTHING, "{what}");
        assert_eq!(tpm.command(0x17C).run().unwrap().parameters, [0; 6], "{what}");
    }
}

#[test]
fn parameters_are_tested_by_being_read() {
    let mut tpm = Driver::started();
    let test = |tpm: &mut Driver, words: &[u16]| {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        tpm.command(0x18A).bytes(&bytes).run().map(|_| ())
    };
    test(&mut tpm, &[0x01, 0x10, 0x10, 2048, 0, 0]).unwrap();
    assert_eq!(test(&mut tpm, &[0x01, 0x10, 0x10, 2047, 0, 0]), Err(0x1C4));
    assert_eq!(test(&mut tpm, &[0x23, 0x10, 0x10, 0x0001, 0x10]), Err(0x1E6));
    assert_eq!(test(&mut tpm, &[0x02]), Err(0x1CA));
}

#[test]
fn failed_tries_lock_what_is_protected_until_they_heal() {
    let mut tpm = Driver::started();
    let set = tpm.command(0x13A).handle(LOCKOUT).password(b"").u32(5).u32(10).u32(20);
    set.run().unwrap();
    assert_eq!(property(&mut tpm, 0x20F), 5);
    assert_eq!(property(&mut tpm, 0x210), 10);
    assert_eq!(property(&mut tpm, 0x211), 20);
    tpm.command(0x139).handle(LOCKOUT).password(b"").run().unwrap();
    assert_eq!(tpm.command(0x139).handle(PLATFORM).password(b"").run(), Err(0x184));
}
