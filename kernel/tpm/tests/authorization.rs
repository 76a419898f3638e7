//! Policies through the engine. The expected digests are computed here, from the text of Part 3, with another crate's types.

mod driver;

use driver::{Driver, sized};
use sha2::{Digest as _, Sha256};

const NULL: u32 = 0x4000_0007;
const OWNER: u32 = 0x4000_0001;
const SHA256: u16 = 0x000B;

const POLICY: u8 = 1;
const TRIAL: u8 = 3;

fn start(tpm: &mut Driver, kind: u8) -> u32 {
    let command = tpm.command(0x176).handle(NULL).handle(NULL).sized(&[0x55; 16]).sized(b"");
    command.u8(kind).u16(0x0010).u16(SHA256).run().unwrap().handle
}

fn digest_of(tpm: &mut Driver, session: u32) -> Vec<u8> {
    tpm.command(0x189).handle(session).run().unwrap().sized(0).to_vec()
}

/// H(old || command code || what).
fn step(old: &[u8], code: u32, what: &[&[u8]]) -> Vec<u8> {
    let mut hash = Sha256::new();
    hash.update(old);
    hash.update(code.to_be_bytes());
    what.iter().for_each(|part| hash.update(part));
    hash.finalize().to_vec()
}

const ZERO: [u8; 32] = [0; 32];

#[test]
fn auth_value_and_password_have_one_digest() {
    let mut tpm = Driver::started();
    for code in [0x16B, 0x18C] {
        let session = start(&mut tpm, TRIAL);
        tpm.command(code).handle(session).run().unwrap();
        // TCG's published digest of a policy that asks for the authorization value.
        let published = "8fcd2169ab92694e0c633f1ab772842b8241bbc20288981fc7ac1eddc1fddb0e";
        let hex: String = digest_of(&mut tpm, session).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, published);
    }
}

#[test]
fn the_published_policy_of_the_endorsement_key_is_computed() {
    let mut tpm = Driver::started();
    let session = start(&mut tpm, POLICY);
    let secret = tpm.command(0x151).handle(0x4000_000B).handle(session).password(b"");
    let answer = secret.sized(b"").sized(b"").sized(b"").u32(0).run().unwrap();
    assert_eq!(answer.parameters, [0, 0, 0x80, 0x23, 0x40, 0, 0, 7, 0, 0]);
    let hex: String = digest_of(&mut tpm, session).iter().map(|byte| format!("{byte:02x}")).collect();
    // TCG EK Credential Profile, PolicyA with SHA-256.
    assert_eq!(hex, "837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa");
}

#[test]
fn one_branch_of_an_or_must_be_the_digest_so_far() {
    let mut tpm = Driver::started();
    let session = start(&mut tpm, POLICY);
    tpm.command(0x16C).handle(session).u32(0x17B).run().unwrap();
    let branch = step(&ZERO, 0x16C, &[&0x17B_u32.to_be_bytes()]);
    assert_eq!(digest_of(&mut tpm, session), branch);
    let wrong = tpm.command(0x171).handle(session).u32(2).sized(&[1; 32]).sized(&[2; 32]);
    assert_eq!(wrong.run(), Err(0x1C4));
    assert_eq!(tpm.command(0x171).handle(session).u32(1).sized(&branch).run(), Err(0x1D5));
    tpm.command(0x171).handle(session).u32(2).sized(&[1; 32]).sized(&branch).run().unwrap();
    assert_eq!(digest_of(&mut tpm, session), step(&ZERO, 0x171, &[&[1; 32], &branch]));
}

#[test]
fn a_policy_on_pcrs_ends_when_they_change() {
    let mut tpm = Driver::started();
    let session = start(&mut tpm, POLICY);
    let selection = [0, 0, 0, 1, 0x00, 0x0B, 3, 0x80, 0, 0];
    let wrong = tpm.command(0x17F).handle(session).sized(&[9; 32]).bytes(&selection);
    assert_eq!(wrong.run(), Err(0x1C4));
    tpm.command(0x17F).handle(session).sized(b"").bytes(&selection).run().unwrap();
    let pcr = Sha256::digest(ZERO);
    assert_eq!(digest_of(&mut tpm, session), step(&ZERO, 0x17F, &[&selection, &pcr]));
    let extension = [&[0, 0, 0, 1, 0x00, 0x0B][..], &[7; 32]].concat();
    tpm.command(0x182).handle(7).password(b"").bytes(&extension).run().unwrap();
    assert_eq!(tpm.command(0x17F).handle(session).sized(b"").bytes(&selection).run(), Err(0x128));
}

#[test]
fn localities_only_become_fewer() {
    let mut tpm = Driver::started();
    let session = start(&mut tpm, POLICY);
    assert_eq!(tpm.command(0x16F).handle(session).u8(0).run(), Err(0x1CD));
    tpm.command(0x16F).handle(session).u8(0x03).run().unwrap();
    assert_eq!(tpm.command(0x16F).handle(session).u8(0x04).run(), Err(0x1CD));
    assert_eq!(tpm.command(0x16F).handle(session).u8(33).run(), Err(0x1CD));
    tpm.command(0x16F).handle(session).u8(0x02).run().unwrap();
}

#[test]
fn a_session_is_bound_to_one_command_code() {
    let mut tpm = Driver::started();
    let session = start(&mut tpm, POLICY);
    assert_eq!(tpm.command(0x16C).handle(session).u32(0x1FF).run(), Err(0x1E4));
    tpm.command(0x16C).handle(session).u32(0x17B).run().unwrap();
    tpm.command(0x16C).handle(session).u32(0x17B).run().unwrap();
    assert_eq!(tpm.command(0x16C).handle(session).u32(0x17E).run(), Err(0x1C4));
}

#[test]
fn only_one_kind_of_hash_can_constrain_a_session() {
    let mut tpm = Driver::started();
    let session = start(&mut tpm, POLICY);
    assert_eq!(tpm.command(0x16E).handle(session).sized(&[1; 31]).run(), Err(0x1D5));
    tpm.command(0x16E).handle(session).sized(&[1; 32]).run().unwrap();
    tpm.command(0x16E).handle(session).sized(&[1; 32]).run().unwrap();
    assert_eq!(tpm.command(0x16E).handle(session).sized(&[2; 32]).run(), Err(0x151));
    assert_eq!(tpm.command(0x170).handle(session).sized(&[1; 32]).run(), Err(0x151));
    assert_eq!(tpm.command(0x190).handle(session).sized(&[1; 32]).run(), Err(0x151));
    let select = tpm.command(0x188).handle(session).sized(b"").sized(b"").u8(0);
    assert_eq!(select.run(), Err(0x151));
}

#[test]
fn only_one_template_can_constrain_a_session() {
    let mut tpm = Driver::started();
    let session = start(&mut tpm, POLICY);
    tpm.command(0x190).handle(session).sized(&[1; 32]).run().unwrap();
    tpm.command(0x190).handle(session).sized(&[1; 32]).run().unwrap();
    assert_eq!(tpm.command(0x190).handle(session).sized(&[2; 32]).run(), Err(0x1C4));
}

#[test]
fn the_written_state_of_an_index_cannot_be_asked_for_both_ways() {
    let mut tpm = Driver::started();
    let session = start(&mut tpm, POLICY);
    tpm.command(0x18F).handle(session).u8(1).run().unwrap();
    assert_eq!(tpm.command(0x18F).handle(session).u8(0).run(), Err(0x1C4));
    assert_eq!(tpm.command(0x18F).handle(session).u8(2).run(), Err(0x1C4));
}

#[test]
fn time_is_compared_and_a_failed_comparison_leaves_the_digest() {
    let mut tpm = Driver::started();
    let session = start(&mut tpm, POLICY);
    // Time is at offset 0 of TPMS_TIME_INFO and below 2^63 ms.
    let far = (1_u64 << 62).to_be_bytes();
    let less = |tpm: &mut Driver| tpm.command(0x16D).handle(session).sized(&far).u16(0).u16(5).run();
    less(&mut tpm).unwrap();
    let arguments = Sha256::digest([&far[..], &[0, 0], &[0, 5]].concat());
    let digest = step(&ZERO, 0x16D, &[&arguments]);
    assert_eq!(digest_of(&mut tpm, session), digest);
    assert_eq!(tpm.command(0x16D).handle(session).sized(&far).u16(0).u16(3).run(), Err(0x126));
    assert_eq!(tpm.command(0x16D).handle(session).sized(&far).u16(26).u16(3).run(), Err(0x2C4));
    assert_eq!(tpm.command(0x16D).handle(session).sized(&far).u16(20).u16(3).run(), Err(0x1CD));
    assert_eq!(tpm.command(0x16D).handle(session).sized(&far).u16(0).u16(12).run(), Err(0x3C4));
    assert_eq!(digest_of(&mut tpm, session), digest);
}

#[test]
fn a_trial_compares_no_time_but_refuses_what_reaches_beyond_it() {
    let mut tpm = Driver::started();
    let session = start(&mut tpm, TRIAL);
    assert_eq!(tpm.command(0x16D).handle(session).sized(&[1; 28]).u16(4).u16(6).run(), Err(0x1CD));
    assert_eq!(digest_of(&mut tpm, session), ZERO);
    tpm.command(0x16D).handle(session).sized(&[1; 8]).u16(0).u16(3).run().unwrap();
}

#[test]
fn a_secret_must_come_with_the_current_nonce_and_may_leave_a_ticket() {
    let mut tpm = Driver::started();
    let session = start(&mut tpm, POLICY);
    let secret = |tpm: &mut Driver, nonce: &[u8], expiration: u32| {
        let command = tpm.command(0x151).handle(OWNER).handle(session).password(b"");
        command.sized(nonce).sized(b"").sized(b"ref").u32(expiration).run()
    };
    assert_eq!(secret(&mut tpm, &[1; 16], 0), Err(0x1CF));
    let minus_hundred = (-100_i32).cast_unsigned();
    let answer = secret(&mut tpm, b"", minus_hundred).unwrap();
    let (timeout, ticket) = (answer.sized(0).to_vec(), answer.parameters[10..].to_vec());
    assert_eq!(timeout.len(), 8);

    let again = start(&mut tpm, POLICY);
    let use_ticket = |tpm: &mut Driver, reference: &[u8]| {
        let command = tpm.command(0x172).handle(again).sized(&timeout).sized(b"").sized(reference);
        command.sized(&OWNER.to_be_bytes()).bytes(&ticket).run()
    };
    assert_eq!(use_ticket(&mut tpm, b"other"), Err(0x5E0));
    use_ticket(&mut tpm, b"ref").unwrap();
    assert_eq!(digest_of(&mut tpm, again), digest_of(&mut tpm, session));
    tpm.tpm.platform_mut().milliseconds += 200_000;
    assert_eq!(use_ticket(&mut tpm, b"ref"), Err(0x1E3), "expired");
}

#[test]
fn a_trial_session_cannot_use_a_ticket() {
    let mut tpm = Driver::started();
    let session = start(&mut tpm, TRIAL);
    let command = tpm.command(0x172).handle(session).sized(&[0; 8]).sized(b"").sized(b"");
    let ticket = [0x80, 0x23, 0x40, 0, 0, 7, 0, 0];
    assert_eq!(command.sized(b"").bytes(&ticket).run(), Err(0x182));
}

#[test]
fn an_approved_policy_becomes_that_of_the_key() {
    let mut tpm = Driver::started();
    let session = start(&mut tpm, TRIAL);
    let name = [&[0x00, 0x0B][..], &[3; 32]].concat();
    let command = tpm.command(0x16A).handle(session).sized(&ZERO).sized(b"r").sized(&name);
    command.bytes(&[0x80, 0x22, 0x40, 0, 0, 7, 0, 0]).run().unwrap();
    let first = step(&ZERO, 0x16A, &[&name]);
    let expected = Sha256::digest([&first[..], b"r"].concat()).to_vec();
    assert_eq!(digest_of(&mut tpm, session), expected);

    let real = start(&mut tpm, POLICY);
    let command = tpm.command(0x16A).handle(real).sized(&ZERO).sized(b"r").sized(&name);
    assert_eq!(command.bytes(&[0x80, 0x22, 0x40, 0, 0, 7, 0, 0]).run(), Err(0x4C4), "no such ticket");
    let command = tpm.command(0x16A).handle(real).sized(&[1; 32]).sized(b"r").sized(&name);
    assert_eq!(command.bytes(&[0x80, 0x22, 0x40, 0, 0, 7, 0, 0]).run(), Err(0x1C4));
}

#[test]
fn a_policy_on_an_index_compares_its_contents() {
    const INDEX: u32 = 0x0180_0002;
    let mut tpm = Driver::started();
    let mut public = INDEX.to_be_bytes().to_vec();
    public.extend([0x00, 0x0B, 0, 0x02, 0, 0x02, 0, 0, 0, 4]);
    let define = tpm.command(0x12A).handle(OWNER).password(b"").sized(b"").bytes(&sized(&public));
    define.run().unwrap();
    let session = start(&mut tpm, POLICY);
    let compare = |tpm: &mut Driver, operand: &[u8], offset: u16, comparison: u16| {
        let command = tpm.command(0x149).handle(OWNER).handle(INDEX).handle(session).password(b"");
        command.sized(operand).u16(offset).u16(comparison).run().map(|_| ())
    };
    assert_eq!(compare(&mut tpm, b"a", 0, 0), Err(0x14A));
    let write = tpm.command(0x137).handle(OWNER).handle(INDEX).password(b"");
    write.sized(b"abcd").u16(0).run().unwrap();
    assert_eq!(compare(&mut tpm, b"b", 0, 0), Err(0x126));
    assert_eq!(compare(&mut tpm, b"abcde", 0, 0), Err(0x1D5));
    assert_eq!(compare(&mut tpm, b"a", 5, 0), Err(0x2C4));
    compare(&mut tpm, b"cd", 2, 0).unwrap();
    let name = tpm.command(0x169).handle(INDEX).run().unwrap().all_sized()[1].clone();
    let arguments = Sha256::digest([&b"cd"[..], &[0, 2], &[0, 0]].concat());
    assert_eq!(digest_of(&mut tpm, session), step(&ZERO, 0x149, &[&arguments, &name]));
}

#[test]
fn a_policy_can_ask_for_one_capability() {
    let mut tpm = Driver::started();
    let session = start(&mut tpm, POLICY);
    let ask = |tpm: &mut Driver, operand: &[u8], capability: u32, property: u32| {
        let command = tpm.command(0x19B).handle(session).sized(operand).u16(0).u16(0);
        command.u32(capability).u32(property).run().map(|_| ())
    };
    // TPM_CAP_ECC_CURVES has P-256.
    ask(&mut tpm, &[0, 3], 8, 3).unwrap();
    let arguments = Sha256::digest([&[0, 3, 0, 0, 0, 0][..], &[0, 0, 0, 8, 0, 0, 0, 3]].concat());
    assert_eq!(digest_of(&mut tpm, session), step(&ZERO, 0x19B, &[&arguments]));
    assert_eq!(ask(&mut tpm, &[0, 3], 8, 2), Err(0x5C4), "there is no such curve");
    assert_eq!(ask(&mut tpm, &[0, 4], 8, 3), Err(0x126));
    assert_eq!(ask(&mut tpm, &[0, 3], 0x100, 3), Err(0x4C4));
}
