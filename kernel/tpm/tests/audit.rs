//! Command audit: what is noted, what the digest is, and each refusal of its tables in Part 3.

mod driver;

use driver::Driver;
use driver::keys::*;
use tpm::crypto::{HashAlgorithm, hash};

const SHA256: u16 = 0x000B;
const SHA384: u16 = 0x000C;
const NO_ALGORITHM: u16 = 0x0010;
const READ_CLOCK: u32 = 0x181;
const GET_RANDOM: u32 = 0x17B;
const SET_STATUS: u32 = 0x140;

fn set_status(tpm: &mut Driver, auth: u32, hash: u16, set: &[u32], clear: &[u32]) -> Result<(), u32> {
    let list = |codes: &[u32]| {
        let mut out = u32::try_from(codes.len()).unwrap().to_be_bytes().to_vec();
        codes.iter().for_each(|code| out.extend(code.to_be_bytes()));
        out
    };
    let command = tpm.command(SET_STATUS).handle(auth).password(b"").u16(hash);
    command.bytes(&list(set)).bytes(&list(clear)).run().map(|_| ())
}

/// TPMS_COMMAND_AUDIT_INFO: counter, algorithm, audit digest, command digest.
fn audit(tpm: &mut Driver, privacy: u32, key: u32) -> Result<(u64, u16, Vec<u8>, Vec<u8>), u32> {
    let command = tpm.command(0x133).handle(privacy).handle(key).password(b"").password(b"");
    let answer = command.sized(b"").u16(NO_ALGORITHM).run()?;
    let attest = answer.sized(0);
    assert_eq!(attest[..6], [0xFF, 0x54, 0x43, 0x47, 0x80, 0x15]);
    // Magic, type, signer, extra data, clock, firmware version.
    let signer = usize::from(u16::from_be_bytes([attest[6], attest[7]]));
    let info = &attest[8 + signer + 2 + 17 + 8..];
    let counter = u64::from_be_bytes(info[..8].try_into().unwrap());
    let algorithm = u16::from_be_bytes([info[8], info[9]]);
    let digest = usize::from(u16::from_be_bytes([info[10], info[11]]));
    let rest = &info[12 + digest..];
    Ok((counter, algorithm, info[12..12 + digest].to_vec(), rest[2..].to_vec()))
}

#[test]
fn what_is_audited_extends_the_digest_and_what_is_not_does_not() {
    let mut tpm = Driver::started();
    set_status(&mut tpm, OWNER, NO_ALGORITHM, &[GET_RANDOM], &[]).unwrap();
    let (_, algorithm, _, commands) = audit(&mut tpm, ENDORSEMENT, NULL).unwrap();
    assert_eq!(algorithm, SHA256);
    let codes = [SET_STATUS.to_be_bytes(), GET_RANDOM.to_be_bytes()].concat();
    assert_eq!(commands, hash(HashAlgorithm::Sha256, &[&codes])[..]);

    let signer =
        primary(&mut tpm, ECC, LOOSE | SIGN, &[0, 0x10, 0, 0x18, 0, 0x0B, 0, 3, 0, 0x10, 0, 0, 0, 0]);
    audit(&mut tpm, ENDORSEMENT, signer.handle).unwrap();
    let (counter, _, empty, _) = audit(&mut tpm, ENDORSEMENT, NULL).unwrap();
    assert_eq!(empty, b"", "a signed digest starts anew");
    let random = tpm.command(GET_RANDOM).u16(8).run().unwrap().parameters;
    tpm.command(READ_CLOCK).run().unwrap();
    let cp_hash = hash(HashAlgorithm::Sha256, &[&GET_RANDOM.to_be_bytes(), &[0, 8]]);
    let rp_hash = hash(HashAlgorithm::Sha256, &[&[0; 4], &GET_RANDOM.to_be_bytes(), &random]);
    let expected = hash(HashAlgorithm::Sha256, &[&[0; 32], &cp_hash, &rp_hash]);
    let (later, _, digest, _) = audit(&mut tpm, ENDORSEMENT, NULL).unwrap();
    assert_eq!(digest, expected[..]);
    assert_eq!(later, counter + 1, "a digest that begins is counted");

    set_status(&mut tpm, PLATFORM, NO_ALGORITHM, &[], &[GET_RANDOM, SET_STATUS]).unwrap();
    let (_, _, _, commands) = audit(&mut tpm, ENDORSEMENT, NULL).unwrap();
    assert_eq!(
        commands,
        hash(HashAlgorithm::Sha256, &[&SET_STATUS.to_be_bytes()])[..],
        "it is audited always"
    );
}

#[test]
fn another_algorithm_comes_alone() {
    let mut tpm = Driver::started();
    assert_eq!(set_status(&mut tpm, OWNER, SHA384, &[GET_RANDOM], &[]), Err(0x1C4));
    assert_eq!(set_status(&mut tpm, OWNER, SHA384, &[], &[GET_RANDOM]), Err(0x1C4));
    assert_eq!(set_status(&mut tpm, OWNER, SHA384, &[], &[]), Ok(()));
    assert_eq!(audit(&mut tpm, ENDORSEMENT, NULL).unwrap().1, SHA384);
    assert_eq!(set_status(&mut tpm, OWNER, SHA384, &[GET_RANDOM], &[]), Ok(()), "the same is none other");
    assert_eq!(set_status(&mut tpm, OWNER, 0x0006, &[], &[]), Err(0x1C3));
    assert_eq!(
        set_status(&mut tpm, ENDORSEMENT, NO_ALGORITHM, &[], &[]),
        Err(0x184),
        "not a hierarchy that provides"
    );
}

#[test]
fn each_fault_of_an_audit_report_has_its_own_code() {
    let mut tpm = Driver::started();
    let decrypts = primary(&mut tpm, ECC, LOOSE | DECRYPT, P256).handle;
    assert_eq!(audit(&mut tpm, OWNER, NULL), Err(0x184));
    assert_eq!(audit(&mut tpm, ENDORSEMENT, decrypts), Err(0x29C));
    let unsigned = primary(&mut tpm, ECC, LOOSE | SIGN, P256).handle;
    assert_eq!(audit(&mut tpm, ENDORSEMENT, unsigned), Err(0x2D2), "no scheme");
}
