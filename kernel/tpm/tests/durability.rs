//! Power cycles and storage that refuses: what was saved is true or gone, and what was not made durable did not happen.

mod driver;

use driver::keys::OWNER;
use driver::{Answer, Driver, FakePlatform, sized};
use tpm::Tpm;

const CLEAR: u16 = 0;
const STATE: u16 = 1;
const PLATFORM: u32 = 0x4000_000C;
const LOCKOUT: u32 = 0x4000_000A;
const NULL: u32 = 0x4000_0007;
const INDEX: u32 = 0x0180_0001;
const NV_UNAVAILABLE: u32 = 0x923;
const NV_SPACE: u32 = 0x14B;
const AUTH_FAIL: u32 = 0x98E;
const PCR_CHANGED: u32 = 0x128;
const LOCALITY: u32 = 0x907;
const BANKS: [u8; 10] = [0, 0, 0, 1, 0x00, 0x0B, 3, 1, 0, 0];

fn shutdown(tpm: &mut Driver, kind: u16) {
    tpm.command(0x145).u16(kind).run().expect("TPM2_Shutdown");
}

fn startup(tpm: &mut Driver, kind: u16) -> Result<Answer, u32> {
    tpm.tpm.power_on();
    tpm.command(0x144).u16(kind).run()
}

fn session(tpm: &mut Driver, kind: u8) -> u32 {
    let start = tpm.command(0x176).handle(NULL).handle(NULL).sized(&[7; 16]).sized(b"");
    start.u8(kind).u16(0x10).u16(0x0B).run().expect("TPM2_StartAuthSession").handle
}

fn property(tpm: &mut Driver, number: u32) -> u32 {
    let answer = tpm.command(0x17A).u32(6).u32(number).u32(1).run().unwrap();
    u32::from_be_bytes(*answer.parameters.last_chunk().unwrap())
}

fn define(tpm: &mut Driver, index: u32, attributes: u32, bytes: u16, auth: &[u8]) -> Result<Answer, u32> {
    let mut public = index.to_be_bytes().to_vec();
    public.extend([0x00, 0x0B]);
    public.extend(attributes.to_be_bytes());
    public.extend([0, 0]);
    public.extend(bytes.to_be_bytes());
    tpm.command(0x12A).handle(OWNER).password(b"").sized(auth).bytes(&sized(&public)).run()
}

/// An index that its authorization value opens, and that is under dictionary attack protection.
fn protected_index(tpm: &mut Driver) {
    const AUTH_READ_WRITE: u32 = 1 << 2 | 1 << 18;
    define(tpm, INDEX, AUTH_READ_WRITE, 8, b"right").expect("TPM2_NV_DefineSpace");
    let write = tpm.command(0x137).handle(INDEX).handle(INDEX).password(b"right");
    write.sized(b"contents").u16(0).run().expect("TPM2_NV_Write");
}

fn read(tpm: &mut Driver, auth: &[u8]) -> Result<Answer, u32> {
    tpm.command(0x14E).handle(INDEX).handle(INDEX).password(auth).u16(8).u16(0).run()
}

fn context_save(tpm: &mut Driver, handle: u32) -> Vec<u8> {
    tpm.command(0x162).handle(handle).run().expect("TPM2_ContextSave").parameters
}

#[test]
fn a_satisfied_policy_of_pcrs_does_not_survive_a_restart() {
    let mut tpm = Driver::started();
    let policy = session(&mut tpm, 1);
    tpm.command(0x17F).handle(policy).sized(b"").bytes(&BANKS).run().expect("TPM2_PolicyPCR");
    let context = context_save(&mut tpm, policy);
    shutdown(&mut tpm, STATE);
    startup(&mut tpm, CLEAR).unwrap();
    tpm.command(0x161).bytes(&context).run().expect("TPM2_ContextLoad");
    let again = tpm.command(0x17F).handle(policy).sized(b"").bytes(&BANKS).run();
    assert_eq!(again.unwrap_err(), PCR_CHANGED);
}

#[test]
fn a_resume_counts_as_a_change_of_the_pcrs_that_it_resets() {
    let mut tpm = Driver::started();
    let counter = |tpm: &mut Driver| {
        let answer = tpm.command(0x17E).bytes(&BANKS).run().unwrap();
        u32::from_be_bytes(*answer.parameters.first_chunk().unwrap())
    };
    let before = counter(&mut tpm);
    shutdown(&mut tpm, STATE);
    startup(&mut tpm, STATE).unwrap();
    assert!(counter(&mut tpm) > before);
}

#[test]
fn each_startup_enables_the_platform_hierarchy() {
    let mut tpm = Driver::started();
    let disable = tpm.command(0x121).handle(PLATFORM).password(b"").u32(PLATFORM).u8(0);
    disable.run().expect("TPM2_HierarchyControl");
    assert_eq!(property(&mut tpm, 0x201) & 1, 0);
    shutdown(&mut tpm, STATE);
    startup(&mut tpm, STATE).unwrap();
    assert_eq!(property(&mut tpm, 0x201) & 1, 1);
}

#[test]
fn a_new_tpm_starts_orderly_and_its_clock_is_safe() {
    let mut tpm = Driver::started();
    assert_eq!(property(&mut tpm, 0x201) >> 31, 1);
    assert_eq!(tpm.command(0x181).run().unwrap().parameters.last(), Some(&1));
    startup(&mut tpm, CLEAR).unwrap();
    assert_eq!(property(&mut tpm, 0x201) >> 31, 0);
    assert_eq!(tpm.command(0x181).run().unwrap().parameters.last(), Some(&0));
}

#[test]
fn a_ticket_ends_with_the_power_cycle_also_where_the_state_is_kept() {
    let mut tpm = Driver::started();
    let policy = session(&mut tpm, 1);
    let terms = tpm.command(0x151).handle(OWNER).handle(policy).password(b"");
    let answer =
        terms.sized(b"").sized(b"").sized(b"").u32((-1000_i32) as u32).run().expect("TPM2_PolicySecret");
    let timeout = answer.sized(0).to_vec();
    let ticket = answer.parameters[2 + timeout.len()..].to_vec();
    let accept = |tpm: &mut Driver| {
        let policy = session(tpm, 1);
        let command = tpm.command(0x172).handle(policy).sized(&timeout).sized(b"").sized(b"");
        command.sized(&OWNER.to_be_bytes()).bytes(&ticket).run()
    };
    accept(&mut tpm).expect("TPM2_PolicyTicket");
    shutdown(&mut tpm, STATE);
    let blob = tpm.tpm.export_state();
    let mut again = Driver { tpm: Tpm::import_state(FakePlatform::default(), &blob).unwrap(), locality: 0 };
    startup(&mut again, STATE).unwrap();
    assert!(accept(&mut again).is_err());
}

/// What TPM2_Shutdown(STATE) saved is not brought back once it is not true any more: a nonce that signed would sign again.
#[test]
fn whatever_changes_what_was_saved_ends_the_saved_state() {
    type Change = fn(&mut Driver, u32);
    let changes: [(&str, Change, bool); 5] = [
        ("ReadClock", |tpm, _| drop(tpm.command(0x181).run().unwrap()), true),
        ("EC_Ephemeral", |tpm, _| drop(tpm.command(0x18E).u16(3).run().unwrap()), false),
        ("an audited command", |tpm, _| drop(tpm.command(0x17B).u16(8).run().unwrap()), false),
        ("FlushContext", |tpm, saved| drop(tpm.command(0x165).u32(saved).run().unwrap()), false),
        (
            "PCR_Extend",
            |tpm, _| {
                let extend = tpm.command(0x182).handle(0).password(b"").u32(1).u16(0x0B).bytes(&[1; 32]);
                drop(extend.run().unwrap());
            },
            false,
        ),
    ];
    for (name, change, stays) in changes {
        let mut tpm = Driver::started();
        let audit = tpm.command(0x140).handle(OWNER).password(b"").u16(0x0B).u32(1).u32(0x17B).u32(0);
        audit.run().expect("TPM2_SetCommandCodeAuditStatus");
        let saved = session(&mut tpm, 1);
        context_save(&mut tpm, saved);
        shutdown(&mut tpm, STATE);
        change(&mut tpm, saved);
        assert_eq!(startup(&mut tpm, STATE).is_ok(), stays, "{name}");
    }
}

#[test]
fn guesses_are_not_free_while_storage_refuses() {
    let mut tpm = Driver::started();
    protected_index(&mut tpm);
    // In this power cycle nothing was tried yet.
    shutdown(&mut tpm, CLEAR);
    startup(&mut tpm, CLEAR).unwrap();
    tpm.tpm.platform_mut().refuse_commits = true;
    for auth in [&b"wrong"[..], b"right", b"wrong"] {
        assert_eq!(read(&mut tpm, auth).unwrap_err(), NV_UNAVAILABLE);
    }
    tpm.tpm.platform_mut().refuse_commits = false;
    assert_eq!(property(&mut tpm, 0x20E), 0, "nothing was checked");
    read(&mut tpm, b"right").expect("TPM2_NV_Read");
    // A failure that could not be counted durably is the last one until it can.
    tpm.tpm.platform_mut().refuse_commits = true;
    for auth in [&b"wrong"[..], b"right", b"wrong"] {
        assert_eq!(read(&mut tpm, auth).unwrap_err(), NV_UNAVAILABLE);
    }
    assert_eq!(property(&mut tpm, 0x20E), 1);
    // A power cut does not make it unhappened.
    startup(&mut tpm, CLEAR).unwrap_err();
    tpm.tpm.platform_mut().refuse_commits = false;
    let blob = tpm.tpm.export_state();
    let mut again = Driver { tpm: Tpm::import_state(FakePlatform::default(), &blob).unwrap(), locality: 0 };
    again.startup_clear();
    assert_eq!(property(&mut again, 0x20E), 1);
    assert_eq!(read(&mut again, b"wrong").unwrap_err(), AUTH_FAIL);
}

#[test]
fn guesses_of_a_pin_are_not_free_while_storage_refuses() {
    const PIN_FAIL: u32 = 8 << 4 | 1 << 1 | 1 << 18 | 1 << 25;
    let mut tpm = Driver::started();
    define(&mut tpm, INDEX, PIN_FAIL, 8, b"pin").expect("TPM2_NV_DefineSpace");
    let write = tpm.command(0x137).handle(OWNER).handle(INDEX).password(b"");
    write.sized(&[0, 0, 0, 0, 0, 0, 0, 5]).u16(0).run().expect("TPM2_NV_Write");
    tpm.tpm.platform_mut().refuse_commits = true;
    for auth in [&b"wrong"[..], b"pin"] {
        assert_eq!(read(&mut tpm, auth).unwrap_err(), NV_UNAVAILABLE);
    }
    tpm.tpm.platform_mut().refuse_commits = false;
    assert!(read(&mut tpm, b"wrong").is_err());
    let read = read(&mut tpm, b"pin").expect("TPM2_NV_Read");
    assert_eq!(read.sized(0), [0, 0, 0, 0, 0, 0, 0, 5]);
}

#[test]
fn a_command_that_is_not_durable_has_not_happened() {
    let mut tpm = Driver::started();
    let hmac = session(&mut tpm, 0);
    let before = tpm.tpm.export_state();
    tpm.tpm.platform_mut().refuse_commits = true;
    let mut public = INDEX.to_be_bytes().to_vec();
    public.extend([0x00, 0x0B, 0x00, 0x02, 0x00, 0x02, 0, 0, 0, 8]);
    let define = tpm.command(0x12A).handle(OWNER).session(hmac, &[1; 16], 0, b"");
    assert_eq!(define.sized(b"").bytes(&sized(&public)).run().unwrap_err(), NV_UNAVAILABLE);
    // The session would have ended with the command, and the index would be there.
    tpm.command(0x165).u32(hmac).run().expect("TPM2_FlushContext");
    assert!(tpm.command(0x169).handle(INDEX).run().is_err());
    assert_eq!(tpm.tpm.export_state(), before);
}

#[test]
fn commands_that_write_nothing_do_not_mind_storage_that_refuses() {
    let mut tpm = Driver::started();
    protected_index(&mut tpm);
    tpm.tpm.platform_mut().refuse_commits = true;
    // The clock is due, and a failure waits to be counted.
    assert_eq!(read(&mut tpm, b"wrong").unwrap_err(), NV_UNAVAILABLE);
    tpm.tpm.platform_mut().milliseconds = 1 << 23;
    for command in [tpm.command(0x181).build(), tpm.command(0x17B).u16(4).build()] {
        assert_eq!(tpm.raw(&command)[6..10], [0; 4]);
    }
    session(&mut tpm, 1);
}

#[test]
fn lockout_authorization_is_not_guessed_while_storage_refuses() {
    let mut tpm = Driver::started();
    let change = tpm.command(0x129).handle(LOCKOUT).password(b"").sized(b"secret");
    change.run().expect("TPM2_HierarchyChangeAuth");
    tpm.tpm.platform_mut().refuse_commits = true;
    let reset = |tpm: &mut Driver, auth: &[u8]| tpm.command(0x139).handle(LOCKOUT).password(auth).run();
    assert_eq!(reset(&mut tpm, b"wrong").unwrap_err(), NV_UNAVAILABLE);
    assert!(reset(&mut tpm, b"secret").is_err());
    tpm.tpm.platform_mut().refuse_commits = false;
    assert_eq!(reset(&mut tpm, b"secret").unwrap_err() & 0xFFF, 0x921, "one wrong guess locks out");
}

#[test]
fn indices_without_contents_fill_the_memory_as_well() {
    const OWNER_READ_WRITE: u32 = 1 << 1 | 1 << 17;
    let mut tpm = Driver::started();
    let counters = property(&mut tpm, 0x20B);
    let mut count = 0;
    let code = loop {
        match define(&mut tpm, INDEX + (count << 8), OWNER_READ_WRITE, 0, b"") {
            Ok(_) => count += 1,
            Err(code) => break code,
        }
    };
    assert_eq!(code, NV_SPACE);
    assert!((300..500).contains(&count), "{count}");
    assert!((250..count).contains(&counters), "{counters}");
    assert!(property(&mut tpm, 0x20B) < 2);
    let committed = tpm.tpm.platform().committed_bytes;
    let undefine = tpm.command(0x122).handle(OWNER).handle(INDEX).password(b"");
    undefine.run().expect("TPM2_NV_UndefineSpace");
    define(&mut tpm, INDEX, OWNER_READ_WRITE, 0, b"").expect("what is undefined makes room");
    assert!(tpm.tpm.platform().committed_bytes - committed < 200, "one index is written, not all");
}

#[test]
fn locality_4_resets_pcrs_by_a_dynamic_root_of_trust_only() {
    let mut tpm = Driver::started();
    tpm.locality = 4;
    let reset = tpm.command(0x13D).handle(17).password(b"").run();
    assert_eq!(reset.unwrap_err(), LOCALITY);
}

#[test]
fn a_trial_wants_a_name_in_policy_authorize_as_well() {
    let mut tpm = Driver::started();
    let trial = session(&mut tpm, 3);
    let mut authorize = |name: &[u8]| {
        let command = tpm.command(0x16A).handle(trial).sized(b"").sized(b"").sized(name);
        command.u16(0x8022).u32(NULL).sized(b"").run().map(|_| ())
    };
    let [size, hash] = [0x3D5, 0x3C3];
    assert_eq!(authorize(&[1]), Err(size));
    assert_eq!(authorize(&[0x12, 0x34, 0]), Err(hash));
    assert_eq!(authorize(&[0x00, 0x0B, 0]), Err(size));
    assert_eq!(authorize(&[&[0x00, 0x0B][..], &[7; 32]].concat()), Ok(()));
}

#[test]
fn what_is_announced_is_what_is_served() {
    let mut tpm = Driver::started();
    assert_eq!([0x102, 0x117, 0x10E].map(|number| property(&mut tpm, number)), [185, 2048, 64]);
    // RSA-1024: TPM_RC_VALUE, and it is in no list.
    let parms = tpm.command(0x18A).u16(0x01).u16(0x10).u16(0x10).u16(1024).u32(0);
    assert_eq!(parms.run().unwrap_err(), 0x1C4);
}
