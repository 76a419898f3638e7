//! Sessions as a caller computes them: HMACs, salts, bindings, parameter encryption, audit.

mod driver;

use driver::{Driver, sized};
use tpm::crypto::symmetric::{Aes, CipherMode};
use tpm::crypto::{Drbg, HashAlgorithm, RsaEncryption, RsaPublicKey, hash, hmac, kdfa, xor_obfuscation};

const SHA256: HashAlgorithm = HashAlgorithm::Sha256;
const OWNER: u32 = 0x4000_0001;
const NULL: u32 = 0x4000_0007;
const CONTINUE: u8 = 0x01;
const DECRYPT: u8 = 0x20;
const ENCRYPT: u8 = 0x40;
const AUDIT: u8 = 0x80;
const NONCE: [u8; 32] = [0x5A; 32];

/// A caller's view of a session.
struct Session {
    handle: u32,
    nonce_tpm: Vec<u8>,
    key: Vec<u8>,
}

fn start(tpm: &mut Driver, key: (u32, &[u8], &[u8]), bind: (u32, &[u8]), symmetric: &[u8]) -> Session {
    let start = tpm.command(0x176).handle(key.0).handle(bind.0).sized(&NONCE).sized(key.1).u8(0);
    let answer = start.bytes(symmetric).u16(0x0B).run().unwrap();
    let nonce_tpm = answer.sized(0).to_vec();
    let secret = [bind.1, key.2].concat();
    let keyed = key.0 != NULL || bind.0 != NULL;
    let key =
        if keyed { kdfa(SHA256, &secret, b"ATH", &nonce_tpm, &NONCE, 256).to_vec() } else { Vec::new() };
    Session { handle: answer.handle, nonce_tpm, key }
}

/// The HMAC of a command that authorizes by `auth`.
fn command_hmac(
    session: &Session,
    code: u32,
    names: &[&[u8]],
    parameters: &[u8],
    auth: &[u8],
    attributes: u8,
) -> Vec<u8> {
    let code = code.to_be_bytes();
    let mut parts = vec![&code[..]];
    parts.extend(names);
    parts.push(parameters);
    let cp_hash = hash(SHA256, &parts);
    let key = [&session.key, auth].concat();
    hmac(SHA256, &key, &[&cp_hash, &NONCE, &session.nonce_tpm, &[attributes]]).to_vec()
}

/// Checks the response's HMAC and rolls the nonce.
fn check_response(session: &mut Session, code: u32, answer: &driver::Answer, auth: &[u8], attributes: u8) {
    let nonce = answer.sessions[2..34].to_vec();
    assert_eq!(answer.sessions[34], attributes);
    let rp_hash = hash(SHA256, &[&[0; 4], &code.to_be_bytes(), &answer.parameters]);
    let key = [&session.key, auth].concat();
    let expected = hmac(SHA256, &key, &[&rp_hash, &nonce, &NONCE, &[attributes]]);
    assert_eq!(answer.sessions[37..], expected[..]);
    session.nonce_tpm = nonce;
}

fn set_owner_auth(tpm: &mut Driver, auth: &[u8]) {
    tpm.command(0x129).handle(OWNER).password(b"").sized(auth).run().unwrap();
}

#[test]
fn an_hmac_session_authorizes_and_its_nonce_rolls() {
    let mut tpm = Driver::started();
    set_owner_auth(&mut tpm, b"secret");
    let mut session = start(&mut tpm, (NULL, b"", b""), (NULL, b""), &[0, 0x10]);
    for time in [10_u64, 20] {
        let mac =
            command_hmac(&session, 0x128, &[&OWNER.to_be_bytes()], &time.to_be_bytes(), b"secret", CONTINUE);
        let set = tpm.command(0x128).handle(OWNER).session(session.handle, &NONCE, CONTINUE, &mac);
        let answer = set.u64(time).run().unwrap();
        check_response(&mut session, 0x128, &answer, b"secret", CONTINUE);
        let replay = tpm.command(0x128).handle(OWNER).session(session.handle, &NONCE, CONTINUE, &mac);
        assert_eq!(replay.u64(time).run(), Err(0x9A2), "an old nonce is refused");
    }
}

#[test]
fn a_changed_authorization_value_signs_its_own_response() {
    let mut tpm = Driver::started();
    let mut session = start(&mut tpm, (NULL, b"", b""), (NULL, b""), &[0, 0x10]);
    let parameters = sized(b"new");
    let mac = command_hmac(&session, 0x129, &[&OWNER.to_be_bytes()], &parameters, b"", CONTINUE);
    let change = tpm.command(0x129).handle(OWNER).session(session.handle, &NONCE, CONTINUE, &mac);
    let answer = change.bytes(&parameters).run().unwrap();
    check_response(&mut session, 0x129, &answer, b"new", CONTINUE);
}

#[test]
fn a_bound_session_needs_no_authorization_value_for_what_it_is_bound_to() {
    let mut tpm = Driver::started();
    set_owner_auth(&mut tpm, b"secret");
    let mut session = start(&mut tpm, (NULL, b"", b""), (OWNER, b"secret"), &[0, 0x10]);
    let time = 10_u64.to_be_bytes();
    let mac = command_hmac(&session, 0x128, &[&OWNER.to_be_bytes()], &time, b"", CONTINUE);
    let set = tpm.command(0x128).handle(OWNER).session(session.handle, &NONCE, CONTINUE, &mac);
    let answer = set.bytes(&time).run().unwrap();
    check_response(&mut session, 0x128, &answer, b"", CONTINUE);
}

#[test]
fn a_salted_session_has_a_key_that_only_the_tpm_could_decrypt() {
    let mut tpm = Driver::started();
    let mut public = vec![0x00, 0x01, 0x00, 0x0B, 0x00, 0x03, 0x04, 0x72, 0, 0];
    public.extend([0x00, 0x06, 0x00, 0x80, 0x00, 0x43, 0x00, 0x10, 0x08, 0x00, 0, 0, 0, 0, 0, 0]);
    let create = tpm.command(0x131).handle(OWNER).password(b"").bytes(&sized(&[0, 0, 0, 0]));
    let key = create.bytes(&sized(&public)).sized(b"").u32(0).run().unwrap();
    let area = key.sized(0);
    let modulus = RsaPublicKey::new(&area[area.len() - 256..], 0).unwrap();
    let mut random = Drbg::instantiate(&[7; 48], b"caller");
    let scheme = RsaEncryption::Oaep { hash: SHA256, label: b"SECRET\0" };
    let encrypted = modulus.encrypt(scheme, &[9; 32], &mut random).unwrap();
    let mut session = start(&mut tpm, (key.handle, &encrypted, &[9; 32]), (NULL, b""), &[0, 0x10]);
    let time = 10_u64.to_be_bytes();
    let mac = command_hmac(&session, 0x128, &[&OWNER.to_be_bytes()], &time, b"", CONTINUE);
    let set = tpm.command(0x128).handle(OWNER).session(session.handle, &NONCE, CONTINUE, &mac);
    let answer = set.bytes(&time).run().unwrap();
    check_response(&mut session, 0x128, &answer, b"", CONTINUE);

    let mut damaged = encrypted.clone();
    damaged[100] ^= 1;
    let start = tpm.command(0x176).handle(key.handle).handle(NULL).sized(&NONCE).sized(&damaged).u8(0);
    assert_eq!(start.u16(0x10).u16(0x0B).run(), Err(0x2C4));
    let start = tpm.command(0x176).handle(NULL).handle(NULL).sized(&NONCE).sized(&encrypted).u8(0);
    assert_eq!(start.u16(0x10).u16(0x0B).run(), Err(0x2C4));
}

/// Decrypts or encrypts as the session's symmetric algorithm says.
fn obfuscate(session: &Session, aes: bool, newer: &[u8], older: &[u8], data: &mut [u8], encrypt: bool) {
    if !aes {
        return xor_obfuscation(SHA256, &session.key, newer, older, data);
    }
    let stream = kdfa(SHA256, &session.key, b"CFB", newer, older, 256);
    let mut iv = stream[16..].try_into().unwrap();
    let aes = Aes::new(&stream[..16]).unwrap();
    if encrypt {
        aes.encrypt(CipherMode::Cfb, &mut iv, data).unwrap();
    } else {
        aes.decrypt(CipherMode::Cfb, &mut iv, data).unwrap();
    }
}

#[test]
fn parameters_are_encrypted_both_ways() {
    for (aes, symmetric) in
        [(true, &[0x00, 0x06, 0x00, 0x80, 0x00, 0x43][..]), (false, &[0x00, 0x0A, 0x00, 0x0B])]
    {
        let mut tpm = Driver::started();
        let mut session = start(&mut tpm, (NULL, b"", b""), (OWNER, b""), symmetric);

        let mut new = b"secret".to_vec();
        obfuscate(&session, aes, &NONCE, &session.nonce_tpm, &mut new, true);
        let (parameters, attributes) = (sized(&new), CONTINUE | DECRYPT);
        let mac = command_hmac(&session, 0x129, &[&OWNER.to_be_bytes()], &parameters, b"", attributes);
        let change = tpm.command(0x129).handle(OWNER).session(session.handle, &NONCE, attributes, &mac);
        let answer = change.bytes(&parameters).run().unwrap();
        check_response(&mut session, 0x129, &answer, b"", attributes);
        tpm.command(0x128).handle(OWNER).password(b"secret").u64(1).run().unwrap();

        let (parameters, attributes) = (16_u16.to_be_bytes(), CONTINUE | ENCRYPT);
        let mac = command_hmac(&session, 0x17B, &[], &parameters, b"", attributes);
        let random = tpm.command(0x17B).session(session.handle, &NONCE, attributes, &mac).bytes(&parameters);
        let answer = random.run().unwrap();
        check_response(&mut session, 0x17B, &answer, b"", attributes);
        let mut bytes = answer.sized(0).to_vec();
        obfuscate(&session, aes, &session.nonce_tpm, &NONCE, &mut bytes, false);
        assert_eq!(bytes.len(), 16);
    }
}

#[test]
fn an_audit_session_is_exclusive_until_another_command_comes() {
    let mut tpm = Driver::started();
    let session = start(&mut tpm, (NULL, b"", b""), (NULL, b""), &[0, 0x10]);
    let audited = |tpm: &mut Driver, attributes: u8| {
        let random = tpm.command(0x17B).session(session.handle, &NONCE, attributes, b"").u16(1);
        random.run().map(|answer| answer.sessions[34])
    };
    assert_eq!(audited(&mut tpm, CONTINUE | AUDIT), Ok(CONTINUE | AUDIT | 2));
    assert_eq!(audited(&mut tpm, CONTINUE | AUDIT | 2), Ok(CONTINUE | AUDIT | 2));
    tpm.command(0x17B).u16(1).run().unwrap();
    assert_eq!(audited(&mut tpm, CONTINUE | AUDIT | 2), Err(0x121));
    assert_eq!(audited(&mut tpm, CONTINUE | AUDIT), Ok(CONTINUE | AUDIT));
    assert_eq!(audited(&mut tpm, CONTINUE | AUDIT | 4), Ok(CONTINUE | AUDIT | 4 | 2));
}

#[test]
fn a_malformed_session_area_has_its_own_codes() {
    let mut tpm = Driver::started();
    let session = start(&mut tpm, (NULL, b"", b""), (NULL, b""), &[0, 0x10]);
    let random = |tpm: &mut Driver, handle, nonce: &[u8], attributes| {
        tpm.command(0x17B).session(handle, nonce, attributes, b"").u16(1).run().map(|_| ())
    };
    assert_eq!(random(&mut tpm, 0x4000_0009, b"", 1), Err(0x98B), "a password authorizes nothing here");
    assert_eq!(random(&mut tpm, 0x4000_0009, &[1], 1), Err(0x98F));
    assert_eq!(random(&mut tpm, 0x4000_0009, b"", 0x21), Err(0x982));
    assert_eq!(random(&mut tpm, 0x4000_0001, b"", 1), Err(0x984));
    assert_eq!(random(&mut tpm, 0x0200_0030, &NONCE, 0x81), Err(0x918));
    assert_eq!(random(&mut tpm, session.handle | 0x0100_0000, &NONCE, 0x81), Err(0x98B));
    assert_eq!(random(&mut tpm, session.handle, &NONCE, 1), Err(0x982), "it is for nothing");
    assert_eq!(random(&mut tpm, session.handle, &NONCE, 0x41), Err(0x996), "it has no algorithm");
    assert_eq!(random(&mut tpm, session.handle, &NONCE, 0x21), Err(0x982), "there is nothing to decrypt");
    assert_eq!(random(&mut tpm, session.handle, &NONCE, 0x09), Err(0x9A1));
    let twice =
        tpm.command(0x17B).session(session.handle, &NONCE, 0x81, b"").session(session.handle, &NONCE, 1, b"");
    assert_eq!(twice.u16(1).run(), Err(0xA8B));
    assert_eq!(tpm.command(0x165).password(b"").u32(session.handle).run(), Err(0x145));
}

#[test]
fn aes_for_a_session_is_in_cfb_mode() {
    let mut tpm = Driver::started();
    let start = tpm.command(0x176).handle(NULL).handle(NULL).sized(&NONCE).sized(b"").u8(0);
    assert_eq!(start.bytes(&[0, 6, 0, 128, 0, 0x42]).u16(0x0B).run(), Err(0x4C9));
}
