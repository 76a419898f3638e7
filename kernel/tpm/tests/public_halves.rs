//! Keys of which only the public half is loaded: nothing authorizes their use, and without a name nobody has looked at them.
//! Part 3, sections on authorization checks and on TPM2_LoadExternal.

mod driver;

use driver::keys::*;
use driver::{CommandBuilder, Driver, sized};

const TPM_RC_AUTH_TYPE: u32 = 0x124;
const TPM_RC_AUTH_UNAVAILABLE: u32 = 0x12F;
const TPM_RC_KEY_OF_THE_FIRST_HANDLE: u32 = 0x19C;
const TPM_RC_ECC_POINT_OF_THE_PUBLIC_AREA: u32 = 0x2E7;
const TPM_RC_SCHEME_OF_THE_PUBLIC_AREA: u32 = 0x2D2;
const PASSWORD: u32 = 0x4000_0009;
const CONTINUE: u8 = 1;

fn load_external(tpm: &mut Driver, public: &[u8]) -> Result<u32, u32> {
    tpm.command(0x167).sized(b"").sized(public).u32(NULL).run().map(|answer| answer.handle)
}

/// The public half of a new key.
fn half(tpm: &mut Driver, key_type: u16, attributes: u32, parameters: &[u8]) -> u32 {
    let key = primary(tpm, key_type, attributes, parameters);
    flush(tpm, key.handle);
    load_external(tpm, &key.public).unwrap()
}

/// An HMAC session or a policy session, not salted and not bound.
fn start(tpm: &mut Driver, kind: u8) -> u32 {
    let start = tpm.command(0x176).handle(NULL).handle(NULL).sized(&[1; 16]).sized(b"").u8(kind);
    start.u16(0x10).u16(0x0B).run().unwrap().handle
}

#[test]
fn no_kind_of_authorization_is_available_for_a_public_half() {
    let mut tpm = Driver::started();
    let no_ticket = [&[0x80, 0x24][..], &NULL.to_be_bytes(), &[0, 0]].concat();
    let signer = half(&mut tpm, ECC, LOOSE | SIGN, P256);
    let anonymous = half(&mut tpm, ECC, LOOSE | SIGN, P256_ECDAA);
    let receiver = half(&mut tpm, ECC, LOOSE | DECRYPT, P256);
    let rsa = half(&mut tpm, RSA, LOOSE | DECRYPT, RSA_2048);
    let (hmac, policy) = (start(&mut tpm, 0), start(&mut tpm, 1));
    for session in [PASSWORD, hmac, policy] {
        let mut refused = |what: &str, code: u32, key: u32, parameters: &[u8]| {
            let command = tpm.command(code).handle(key).session(session, b"", CONTINUE, b"");
            let answer = command.bytes(parameters).run();
            assert_eq!(answer, Err(TPM_RC_AUTH_UNAVAILABLE), "{what} with {session:#x}");
        };
        let digest = [&sized(&[5; 32])[..], &[0, 0x18, 0, 0x0B], &no_ticket].concat();
        refused("TPM2_Sign", 0x15D, signer, &digest);
        refused("TPM2_Commit", 0x18B, anonymous, &[&sized(&[0; 4])[..], &[0; 4]].concat());
        refused("TPM2_ECDH_ZGen", 0x154, receiver, &sized(&[0; 4]));
        refused("TPM2_RSA_Decrypt", 0x159, rsa, &[&sized(&[1; 256])[..], &[0, 0x10, 0, 0]].concat());
    }
}

/// The roles ADMIN and DUP: a policy session is asked for first where there has to be one.
#[test]
fn nor_for_what_changes_moves_or_certifies_it() {
    let mut tpm = Driver::started();
    let key = half(&mut tpm, ECC, LOOSE | SIGN, P256);
    let parent = storage(&mut tpm).handle;
    let policy = start(&mut tpm, 1);
    let with = |command: CommandBuilder<'_>, session: u32| {
        command.session(session, b"", CONTINUE, b"").sized(b"").u16(0x10).sized(b"").run()
    };
    for session in [PASSWORD, policy] {
        let change = tpm.command(0x150).handle(key).handle(parent).session(session, b"", CONTINUE, b"");
        assert_eq!(change.sized(b"new").run(), Err(TPM_RC_AUTH_UNAVAILABLE), "TPM2_ObjectChangeAuth");
        let certify = tpm.command(0x148).handle(key).handle(NULL).session(session, b"", CONTINUE, b"");
        let certify = certify.password(b"").sized(b"").u16(0x10);
        assert_eq!(certify.run(), Err(TPM_RC_AUTH_UNAVAILABLE), "TPM2_Certify");
    }
    let duplicate = tpm.command(0x14B).handle(key).handle(parent);
    assert_eq!(with(duplicate, policy), Err(TPM_RC_AUTH_UNAVAILABLE));
    let duplicate = tpm.command(0x14B).handle(key).handle(parent);
    assert_eq!(with(duplicate, PASSWORD), Err(TPM_RC_AUTH_TYPE));
}

/// A public area without a name algorithm is only measured: its point may lie anywhere.
#[test]
fn a_point_off_the_curve_is_refused_by_name_or_has_no_multiple() {
    let mut tpm = Driver::started();
    let mut public = primary(&mut tpm, ECC, LOOSE | DECRYPT, P256).public;
    *public.last_mut().unwrap() ^= 1;
    assert_eq!(load_external(&mut tpm, &public), Err(TPM_RC_ECC_POINT_OF_THE_PUBLIC_AREA));
    public[2..4].copy_from_slice(&[0, 0x10]);
    let nameless = load_external(&mut tpm, &public).unwrap();
    assert_eq!(
        tpm.command(0x163).handle(nameless).run(),
        Err(TPM_RC_KEY_OF_THE_FIRST_HANDLE),
        "TPM2_ECDH_KeyGen"
    );
    let encrypt = tpm.command(0x199).handle(nameless).sized(b"message").bytes(&[0, 0x21, 0, 0x0B]);
    assert_eq!(encrypt.run(), Err(TPM_RC_KEY_OF_THE_FIRST_HANDLE), "TPM2_ECC_Encrypt");
}

/// So TPM2_ECDH_ZGen never meets a decryption key with a scheme that is no exchange, which it would refuse by TPM_RC_SCHEME.
#[test]
fn no_decryption_key_has_a_signing_scheme() {
    const ECDSA: &[u8] = &[0, 0x10, 0, 0x18, 0, 0x0B, 0, 3, 0, 0x10, 0, 0, 0, 0];
    let mut tpm = Driver::started();
    let point = primary(&mut tpm, ECC, LOOSE | DECRYPT, P256);
    let point = point_of(&point.public, 32)[2..].to_vec();
    for attributes in [LOOSE | DECRYPT, LOOSE | DECRYPT | SIGN] {
        let public = template(ECC, attributes, b"", ECDSA);
        let create = tpm.command(0x131).handle(OWNER).password(b"").bytes(&sensitive(b"", b""));
        let create = create.bytes(&sized(&public)).sized(b"").u32(0);
        assert_eq!(create.run(), Err(TPM_RC_SCHEME_OF_THE_PUBLIC_AREA));
        let whole = [&public[..public.len() - 4], &point].concat();
        assert_eq!(load_external(&mut tpm, &whole), Err(TPM_RC_SCHEME_OF_THE_PUBLIC_AREA));
    }
}
