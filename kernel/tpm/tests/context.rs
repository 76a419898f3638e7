//! Saved contexts: what comes back, and what does not.

mod driver;

use driver::{Driver, sized};

const OWNER: u32 = 0x4000_0001;
const NULL: u32 = 0x4000_0007;
const PLATFORM: u32 = 0x4000_000C;

fn primary(tpm: &mut Driver, hierarchy: u32, attributes: u32) -> u32 {
    let mut public = vec![0x00, 0x25, 0x00, 0x0B];
    public.extend(attributes.to_be_bytes());
    public.extend([0, 0, 0x00, 0x06, 0x00, 0x80, 0x00, 0x43, 0, 0]);
    let create = tpm.command(0x131).handle(hierarchy).password(b"").bytes(&sized(&[0, 0, 0, 0]));
    create.bytes(&sized(&public)).sized(b"").u32(0).run().unwrap().handle
}

fn session(tpm: &mut Driver, kind: u8) -> u32 {
    let start = tpm.command(0x176).handle(NULL).handle(NULL).sized(&[1; 32]).sized(b"").u8(kind);
    start.u16(0x10).u16(0x0B).run().unwrap().handle
}

fn save(tpm: &mut Driver, handle: u32) -> Vec<u8> {
    tpm.command(0x162).handle(handle).run().unwrap().parameters
}

fn load(tpm: &mut Driver, context: &[u8]) -> Result<u32, u32> {
    tpm.command(0x161).bytes(context).run().map(|answer| answer.handle)
}

const STORAGE: u32 = 0x0003_0472;

#[test]
fn an_object_comes_back_with_its_name_as_often_as_it_is_loaded() {
    let mut tpm = Driver::started();
    let handle = primary(&mut tpm, OWNER, STORAGE);
    let public = tpm.command(0x173).handle(handle).run().unwrap();
    let context = save(&mut tpm, handle);
    for _ in 0..2 {
        let loaded = load(&mut tpm, &context).unwrap();
        assert_eq!(tpm.command(0x173).handle(loaded).run().unwrap(), public);
    }
}

#[test]
fn a_changed_context_is_refused_wherever_it_was_changed() {
    let mut tpm = Driver::started();
    let handle = primary(&mut tpm, OWNER, STORAGE);
    let context = save(&mut tpm, handle);
    for at in (0..8).chain(16..context.len()) {
        let mut changed = context.clone();
        changed[at] ^= 1;
        assert!(load(&mut tpm, &changed).is_err(), "octet {at}");
    }
    let mut changed = context.clone();
    *changed.last_mut().unwrap() ^= 1;
    assert_eq!(load(&mut tpm, &changed), Err(0x1DF));
    assert_eq!(load(&mut tpm, &context[..context.len() - 1]), Err(0x1DA));
}

#[test]
fn no_context_survives_a_reset() {
    let mut tpm = Driver::started();
    let object = primary(&mut tpm, OWNER, STORAGE);
    let (object, session) = (save(&mut tpm, object), session(&mut tpm, 0));
    let session = save(&mut tpm, session);
    tpm.tpm.power_on();
    tpm.startup_clear();
    assert_eq!(load(&mut tpm, &object), Err(0x1DF));
    assert_eq!(load(&mut tpm, &session), Err(0x1DF));
}

#[test]
fn contexts_survive_a_restart_unless_they_are_to_end_with_it() {
    let mut tpm = Driver::started();
    let (kept, gone) = (primary(&mut tpm, OWNER, STORAGE), primary(&mut tpm, OWNER, STORAGE | 4));
    let (kept, gone) = (save(&mut tpm, kept), save(&mut tpm, gone));
    let session = session(&mut tpm, 0);
    let session = save(&mut tpm, session);
    tpm.command(0x145).u16(1).run().unwrap();
    tpm.tpm.power_on();
    tpm.startup_clear();
    load(&mut tpm, &kept).unwrap();
    load(&mut tpm, &session).unwrap();
    assert_eq!(load(&mut tpm, &gone), Err(0x1DF));
}

#[test]
fn a_session_is_loaded_once_and_never_in_an_old_version() {
    let mut tpm = Driver::started();
    let handle = session(&mut tpm, 1);
    let old = save(&mut tpm, handle);
    assert_eq!(tpm.command(0x162).handle(handle).run(), Err(0x910), "it is not loaded any more");
    assert_eq!(load(&mut tpm, &old), Ok(handle));
    assert_eq!(load(&mut tpm, &old), Err(0x1CB));
    let new = save(&mut tpm, handle);
    assert_eq!(load(&mut tpm, &old), Err(0x1CB));
    load(&mut tpm, &new).unwrap();
}

#[test]
fn a_flushed_session_does_not_come_back() {
    let mut tpm = Driver::started();
    let handle = session(&mut tpm, 0);
    let context = save(&mut tpm, handle);
    tpm.command(0x165).u32(handle).run().unwrap();
    assert_eq!(load(&mut tpm, &context), Err(0x1CB));
}

#[test]
fn slots_run_out_with_their_own_codes() {
    let mut tpm = Driver::started();
    let first = primary(&mut tpm, OWNER, STORAGE);
    let context = save(&mut tpm, first);
    for _ in 1..64 {
        load(&mut tpm, &context).unwrap();
    }
    assert_eq!(load(&mut tpm, &context), Err(0x902));
    let mut saved = Vec::new();
    for _ in 0..48 {
        let handle = session(&mut tpm, 0);
        saved.push(save(&mut tpm, handle));
    }
    for _ in 0..16 {
        session(&mut tpm, 0);
    }
    assert_eq!(load(&mut tpm, &saved[0]), Err(0x903));
    let start = tpm.command(0x176).handle(NULL).handle(NULL).sized(&[1; 32]).sized(b"").u8(0);
    assert_eq!(start.u16(0x10).u16(0x0B).run(), Err(0x903));
    tpm.command(0x162).handle(0x0200_003F).run().unwrap();
    let start = tpm.command(0x176).handle(NULL).handle(NULL).sized(&[1; 32]).sized(b"").u8(0);
    assert_eq!(start.u16(0x10).u16(0x0B).run(), Err(0x905), "sixty-four are active");
}

#[test]
fn a_context_of_a_disabled_hierarchy_is_not_loaded() {
    let mut tpm = Driver::started();
    let handle = primary(&mut tpm, OWNER, STORAGE);
    let context = save(&mut tpm, handle);
    tpm.command(0x121).handle(PLATFORM).password(b"").u32(OWNER).u8(0).run().unwrap();
    assert_eq!(load(&mut tpm, &context), Err(0x1C5));
}
