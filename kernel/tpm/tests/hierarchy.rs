//! Hierarchies: who may enable, clear and change what, and what is gone afterwards.

mod driver;

use driver::{Driver, sized};

const OWNER: u32 = 0x4000_0001;
const NULL: u32 = 0x4000_0007;
const LOCKOUT: u32 = 0x4000_000A;
const ENDORSEMENT: u32 = 0x4000_000B;
const PLATFORM: u32 = 0x4000_000C;
const PLATFORM_NV: u32 = 0x4000_000D;

const HIERARCHY_CONTROL: u32 = 0x121;
const CHANGE_EPS: u32 = 0x124;
const CHANGE_PPS: u32 = 0x125;
const CLEAR: u32 = 0x126;
const CLEAR_CONTROL: u32 = 0x127;
const CHANGE_AUTH: u32 = 0x129;
const SET_POLICY: u32 = 0x12E;

/// A P-256 storage key; answers its public area.
fn primary(tpm: &mut Driver, hierarchy: u32) -> Result<(u32, Vec<u8>), u32> {
    let mut public = vec![0x00, 0x23, 0x00, 0x0B, 0x00, 0x03, 0x04, 0x72, 0, 0];
    public.extend([0x00, 0x06, 0x00, 0x80, 0x00, 0x43, 0x00, 0x10, 0x00, 0x03, 0x00, 0x10, 0, 0, 0, 0]);
    let create = tpm.command(0x131).handle(hierarchy).password(b"").bytes(&sized(&[0, 0, 0, 0]));
    let answer = create.bytes(&sized(&public)).sized(b"").u32(0).run()?;
    Ok((answer.handle, answer.sized(0).to_vec()))
}

fn control(tpm: &mut Driver, auth: u32, enable: u32, state: u8) -> Result<(), u32> {
    tpm.command(HIERARCHY_CONTROL).handle(auth).password(b"").u32(enable).u8(state).run().map(|_| ())
}

fn change_auth(tpm: &mut Driver, handle: u32, old: &[u8], new: &[u8]) -> Result<(), u32> {
    tpm.command(CHANGE_AUTH).handle(handle).password(old).sized(new).run().map(|_| ())
}

#[test]
fn a_disabled_hierarchy_makes_no_keys_and_loses_its_objects() {
    let mut tpm = Driver::started();
    let (handle, _) = primary(&mut tpm, OWNER).unwrap();
    control(&mut tpm, OWNER, OWNER, 0).unwrap();
    assert_eq!(tpm.command(0x173).handle(handle).run(), Err(0x910));
    assert_eq!(primary(&mut tpm, OWNER), Err(0x185));
    assert_eq!(control(&mut tpm, OWNER, OWNER, 1), Err(0x185), "its own authorization is gone, too");
    control(&mut tpm, PLATFORM, OWNER, 1).unwrap();
    primary(&mut tpm, OWNER).unwrap();
}

#[test]
fn only_the_platform_controls_the_platform() {
    let mut tpm = Driver::started();
    assert_eq!(control(&mut tpm, OWNER, PLATFORM, 0), Err(0x124));
    assert_eq!(control(&mut tpm, OWNER, PLATFORM_NV, 0), Err(0x124));
    assert_eq!(control(&mut tpm, OWNER, ENDORSEMENT, 0), Err(0x124));
    assert_eq!(control(&mut tpm, PLATFORM, NULL, 0), Err(0x1C4));
    control(&mut tpm, PLATFORM, PLATFORM, 0).unwrap();
    assert_eq!(control(&mut tpm, PLATFORM, PLATFORM, 1), Err(0x185), "until the next reset");
    tpm.tpm.power_on();
    tpm.startup_clear();
    primary(&mut tpm, PLATFORM).unwrap();
}

#[test]
fn clear_gives_the_owner_a_new_seed_and_keeps_the_endorsement_key() {
    let mut tpm = Driver::started();
    let (_, storage) = primary(&mut tpm, OWNER).unwrap();
    let (_, endorsement) = primary(&mut tpm, ENDORSEMENT).unwrap();
    change_auth(&mut tpm, OWNER, b"", b"owner").unwrap();
    tpm.command(CLEAR).handle(LOCKOUT).password(b"").run().unwrap();
    assert_eq!(tpm.command(0x173).handle(0x8000_0000).run(), Err(0x910));
    assert_ne!(primary(&mut tpm, OWNER).unwrap().1, storage, "and no authorization value");
    assert_eq!(primary(&mut tpm, ENDORSEMENT).unwrap().1, endorsement);
}

#[test]
fn lockout_may_forbid_clear_and_only_the_platform_allow_it() {
    let mut tpm = Driver::started();
    let clear_control = |tpm: &mut Driver, auth, disable| {
        tpm.command(CLEAR_CONTROL).handle(auth).password(b"").u8(disable).run()
    };
    clear_control(&mut tpm, LOCKOUT, 1).unwrap();
    assert_eq!(tpm.command(CLEAR).handle(PLATFORM).password(b"").run(), Err(0x120));
    assert_eq!(clear_control(&mut tpm, LOCKOUT, 0), Err(0x08E));
    assert_eq!(clear_control(&mut tpm, OWNER, 0), Err(0x184));
    clear_control(&mut tpm, PLATFORM, 0).unwrap();
    tpm.command(CLEAR).handle(PLATFORM).password(b"").run().unwrap();
}

#[test]
fn new_seeds_make_other_keys() {
    let mut tpm = Driver::started();
    let (_, endorsement) = primary(&mut tpm, ENDORSEMENT).unwrap();
    let (platform_handle, platform) = primary(&mut tpm, PLATFORM).unwrap();
    tpm.command(CHANGE_EPS).handle(PLATFORM).password(b"").run().unwrap();
    assert_ne!(primary(&mut tpm, ENDORSEMENT).unwrap().1, endorsement);
    tpm.command(0x173).handle(platform_handle).run().unwrap();
    tpm.command(CHANGE_PPS).handle(PLATFORM).password(b"").run().unwrap();
    assert_eq!(tpm.command(0x173).handle(platform_handle).run(), Err(0x911 - 1));
    assert_ne!(primary(&mut tpm, PLATFORM).unwrap().1, platform);
}

#[test]
fn an_authorization_value_is_asked_for_from_then_on() {
    let mut tpm = Driver::started();
    change_auth(&mut tpm, OWNER, b"", b"secret\0\0").unwrap();
    assert_eq!(primary(&mut tpm, OWNER), Err(0x9A2));
    change_auth(&mut tpm, OWNER, b"secret", b"").unwrap();
    primary(&mut tpm, OWNER).unwrap();
    assert_eq!(change_auth(&mut tpm, OWNER, b"", &[1; 65]), Err(0x1D5));
}

#[test]
fn authorization_values_survive_power_cycles_but_the_platforms() {
    let mut tpm = Driver::started();
    change_auth(&mut tpm, OWNER, b"", b"o").unwrap();
    change_auth(&mut tpm, PLATFORM, b"", b"p").unwrap();
    tpm.tpm.power_on();
    tpm.startup_clear();
    assert_eq!(primary(&mut tpm, OWNER), Err(0x9A2));
    primary(&mut tpm, PLATFORM).unwrap();
}

#[test]
fn wrong_lockout_authorization_locks_it_until_it_recovers() {
    let mut tpm = Driver::started();
    change_auth(&mut tpm, LOCKOUT, b"", b"secret").unwrap();
    assert_eq!(tpm.command(CLEAR).handle(LOCKOUT).password(b"wrong").run(), Err(0x98E));
    assert_eq!(tpm.command(CLEAR).handle(LOCKOUT).password(b"secret").run(), Err(0x921));
    tpm.tpm.platform_mut().milliseconds += 1_000_000;
    tpm.command(CLEAR).handle(LOCKOUT).password(b"secret").run().unwrap();
}

#[test]
fn a_policy_has_the_size_of_its_hash() {
    let mut tpm = Driver::started();
    let set = |tpm: &mut Driver, digest: &[u8], hash| {
        tpm.command(SET_POLICY).handle(OWNER).password(b"").sized(digest).u16(hash).run().map(|_| ())
    };
    assert_eq!(set(&mut tpm, &[1; 31], 0x0B), Err(0x1D5));
    assert_eq!(set(&mut tpm, &[1; 32], 0x10), Err(0x1D5));
    assert_eq!(set(&mut tpm, &[1; 32], 0x12), Err(0x2C3));
    set(&mut tpm, &[1; 32], 0x0B).unwrap();
    set(&mut tpm, b"", 0x10).unwrap();
}

#[test]
fn physical_presence_is_asked_for_where_it_was_set() {
    let mut tpm = Driver::started();
    let pp =
        |tpm: &mut Driver| tpm.command(0x12D).handle(PLATFORM).password(b"").u32(1).u32(CLEAR).u32(0).run();
    assert_eq!(pp(&mut tpm), Err(0x990));
    tpm.tpm.platform_mut().physical_presence = true;
    pp(&mut tpm).unwrap();
    tpm.tpm.platform_mut().physical_presence = false;
    assert_eq!(tpm.command(CLEAR).handle(PLATFORM).password(b"").run(), Err(0x990));
    tpm.command(CLEAR).handle(LOCKOUT).password(b"").run().unwrap();
    tpm.tpm.platform_mut().physical_presence = true;
    tpm.command(CLEAR).handle(PLATFORM).password(b"").run().unwrap();
}

#[test]
fn a_read_only_tpm_makes_nothing_new_before_it_looks_at_authorization() {
    let mut tpm = Driver::started();
    tpm.command(0x1A0).handle(PLATFORM).password(b"").u8(1).run().unwrap();
    assert_eq!(primary(&mut tpm, OWNER), Err(0x156));
    assert_eq!(change_auth(&mut tpm, OWNER, b"wrong", b""), Err(0x156));
    tpm.command(0x182).handle(0).password(b"").u32(0).run().unwrap();
    tpm.command(0x145).u16(1).run().unwrap();
    tpm.tpm.power_on();
    tpm.command(0x144).u16(1).run().unwrap();
    assert_eq!(primary(&mut tpm, OWNER), Err(0x156), "a resume leaves it so");
    tpm.tpm.power_on();
    tpm.startup_clear();
    primary(&mut tpm, OWNER).unwrap();
}
