//! What Linux's driver does with a TPM (drivers/char/tpm/tpm2-sessions.c, 6.10 and later), and what it checks of the answers.
//!
//! It makes a key under the NULL hierarchy, saves its context, and loads it for each session that is salted with it. Sessions
//! authorize PCR_Extend, and encrypt what GetRandom answers.

mod driver;

use driver::keys::{NULL, template};
use driver::{Driver, sized};
use tpm::crypto::ecc::{self, EccCurve, EccPoint};
use tpm::crypto::symmetric::{Aes, CipherMode};
use tpm::crypto::{Drbg, HashAlgorithm, hash, hmac, kdfa, kdfe};

const SHA256: HashAlgorithm = HashAlgorithm::Sha256;
/// noDA, fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, decrypt, restricted.
const NULL_KEY: u32 = 0x0003_0472;
const CONTINUE: u8 = 0x01;
const ENCRYPT: u8 = 0x40;
const NONCE: [u8; 32] = [0x5A; 32];

/// The key of the NULL hierarchy: its context, its name and its point, as the driver's parser reads them.
struct NullKey {
    context: Vec<u8>,
    name: Vec<u8>,
    point: EccPoint,
}

fn create_null_key(tpm: &mut Driver) -> NullKey {
    let parameters = [0, 6, 0, 0x80, 0, 0x43, 0, 0x10, 0, 3, 0, 0x10, 0, 0, 0, 0];
    let public = template(0x0023, NULL_KEY, b"", &parameters);
    let create = tpm.command(0x131).handle(NULL).password(b"").bytes(&sized(&[0, 0, 0, 0]));
    let answer = create.bytes(&sized(&public)).sized(b"").u32(0).run().unwrap();
    let public = answer.sized(0);
    // The driver adds the sizes up, and refuses what does not come out even.
    assert_eq!(public.len(), 90);
    assert_eq!(
        public[..20],
        [&[0x00, 0x23, 0x00, 0x0B][..], &NULL_KEY.to_be_bytes(), &[0, 0], &parameters[..10]].concat()
    );
    assert_eq!((&public[20..24], &public[56..58]), (&[0, 0x10, 0, 32][..], &[0, 32][..]));
    let creation_data = 2 + public.len();
    let creation_hash = creation_data + 2 + answer.sized(creation_data).len();
    assert_eq!(answer.sized(creation_hash).len(), 32);
    let ticket = creation_hash + 34;
    assert_eq!(answer.parameters[ticket..ticket + 6], [0x80, 0x21, 0x40, 0, 0, 7]);
    let name_at = ticket + 6 + 2 + answer.sized(ticket + 6).len();
    let name = answer.sized(name_at).to_vec();
    assert_eq!(name, [&[0x00, 0x0B][..], &hash(SHA256, &[public])].concat());
    assert_eq!(name_at + 2 + name.len(), answer.parameters.len(), "nothing follows");
    let point = EccPoint { x: public[24..56].to_vec(), y: public[58..90].to_vec() };
    let context = tpm.command(0x162).handle(answer.handle).run().unwrap().parameters;
    tpm.command(0x165).u32(answer.handle).run().unwrap();
    NullKey { context, name, point }
}

/// A session that is salted with the key.
struct Session {
    handle: u32,
    nonce_tpm: Vec<u8>,
    key: Vec<u8>,
}

fn start_session(tpm: &mut Driver, null_key: &NullKey) -> Session {
    let loaded = tpm.command(0x161).bytes(&null_key.context).run().unwrap().handle;
    let mut random = Drbg::instantiate(&[7; 48], b"driver");
    let ephemeral = ecc::generate(EccCurve::P256, &mut random);
    let shared = ecc::multiply(EccCurve::P256, &ephemeral.private, &null_key.point).unwrap();
    let salt = kdfe(SHA256, &shared.x, b"SECRET", &ephemeral.public.x, &null_key.point.x, 256);
    let secret = [sized(&ephemeral.public.x), sized(&ephemeral.public.y)].concat();
    let start = tpm.command(0x176).handle(loaded).handle(NULL).sized(&NONCE).sized(&secret).u8(0);
    let answer = start.bytes(&[0, 6, 0, 0x80, 0, 0x43]).u16(0x0B).run().unwrap();
    tpm.command(0x165).u32(loaded).run().unwrap();
    let nonce_tpm = answer.sized(0).to_vec();
    assert_eq!((nonce_tpm.len(), answer.parameters.len()), (32, 34));
    let key = kdfa(SHA256, &salt, b"ATH", &nonce_tpm, &NONCE, 256).to_vec();
    Session { handle: answer.handle, nonce_tpm, key }
}

impl Session {
    fn command_hmac(&self, code: u32, names: &[u8], parameters: &[u8], attributes: u8) -> Vec<u8> {
        let cp_hash = hash(SHA256, &[&code.to_be_bytes(), names, parameters]);
        hmac(SHA256, &self.key, &[&cp_hash, &NONCE, &self.nonce_tpm, &[attributes]]).to_vec()
    }

    /// Checks sizes, nonce and HMAC of a response.
    fn check(&mut self, code: u32, answer: &driver::Answer, attributes: u8) {
        assert_eq!(answer.sessions.len(), 2 + 32 + 1 + 2 + 32);
        let nonce = answer.sessions[2..34].to_vec();
        let rp_hash = hash(SHA256, &[&[0; 4], &code.to_be_bytes(), &answer.parameters]);
        let expected = hmac(SHA256, &self.key, &[&rp_hash, &nonce, &NONCE, &[attributes]]);
        assert_eq!(answer.sessions[37..], expected[..]);
        self.nonce_tpm = nonce;
    }

    fn decrypt(&self, data: &mut [u8]) {
        let stream = kdfa(SHA256, &self.key, b"CFB", &self.nonce_tpm, &NONCE, 256);
        let mut iv = stream[16..].try_into().unwrap();
        Aes::new(&stream[..16]).unwrap().decrypt(CipherMode::Cfb, &mut iv, data).unwrap();
    }
}

#[test]
fn random_numbers_come_encrypted_under_a_salted_session() {
    let mut tpm = Driver::started();
    let null_key = create_null_key(&mut tpm);
    let mut session = start_session(&mut tpm, &null_key);
    let attributes = CONTINUE | ENCRYPT;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let mac = session.command_hmac(0x17B, b"", &32_u16.to_be_bytes(), attributes);
        let answer =
            tpm.command(0x17B).session(session.handle, &NONCE, attributes, &mac).u16(32).run().unwrap();
        session.check(0x17B, &answer, attributes);
        assert_eq!(answer.parameters.len(), 34);
        let mut random = answer.sized(0).to_vec();
        session.decrypt(&mut random);
        assert!(!seen.contains(&random) && random != answer.sized(0));
        seen.push(random);
    }
}

#[test]
fn a_pcr_is_extended_under_a_session_that_ends_with_it() {
    let mut tpm = Driver::started();
    let null_key = create_null_key(&mut tpm);
    let mut session = start_session(&mut tpm, &null_key);
    let digests = [&[0, 0, 0, 2, 0, 0x0B][..], &[1; 32], &[0, 0x0C], &[2; 48]].concat();
    let mac = session.command_hmac(0x182, &10_u32.to_be_bytes(), &digests, 0);
    let wrong: Vec<u8> = mac.iter().map(|byte| byte ^ 1).collect();
    let extend = |tpm: &mut Driver, mac: &[u8]| {
        tpm.command(0x182).handle(10).session(session.handle, &NONCE, 0, mac).bytes(&digests).run()
    };
    assert_eq!(extend(&mut tpm, &wrong), Err(0x9A2), "a wrong HMAC");
    let answer = extend(&mut tpm, &mac).unwrap();
    session.check(0x182, &answer, 0);
    assert!(answer.parameters.is_empty());
    let flush = tpm.command(0x165).u32(session.handle).run();
    assert_eq!(flush, Err(0x1CB), "it is flushed already");
}

#[test]
fn the_null_key_is_the_same_until_a_reset_and_another_after_it() {
    let mut tpm = Driver::started();
    let first = create_null_key(&mut tpm);
    assert_eq!(create_null_key(&mut tpm).name, first.name);
    // Suspend to RAM.
    tpm.command(0x145).u16(1).run().unwrap();
    tpm.tpm.power_on();
    tpm.command(0x144).u16(1).run().unwrap();
    let session = start_session(&mut tpm, &first);
    tpm.command(0x165).u32(session.handle).run().unwrap();
    assert_eq!(create_null_key(&mut tpm).name, first.name);
    // A reset behind the driver's back: the context is void, and the key that takes its place shows it.
    tpm.tpm.power_on();
    tpm.startup_clear();
    assert_eq!(tpm.command(0x161).bytes(&first.context).run(), Err(0x1DF));
    assert_ne!(create_null_key(&mut tpm).name, first.name);
}

#[test]
fn what_the_driver_asks_for_at_its_start_has_the_sizes_that_it_expects() {
    let mut tpm = Driver::started();
    // tpm2_get_pcr_allocation, tpm2_get_cc_attrs_tbl, tpm2_get_timeouts and tpm2_probe.
    let banks = tpm.command(0x17A).u32(5).u32(0).u32(1).run().unwrap().parameters;
    assert_eq!(banks[..9], [0, 0, 0, 0, 5, 0, 0, 0, 4]);
    assert_eq!(banks.len(), 9 + 4 * 6);
    let count = tpm.command(0x17A).u32(6).u32(0x129).u32(1).run().unwrap().parameters;
    assert_eq!(count[..13], [1, 0, 0, 0, 6, 0, 0, 0, 1, 0, 0, 1, 0x29]);
    let commands = u32::from_be_bytes(count[13..17].try_into().unwrap());
    let all = tpm.command(0x17A).u32(2).u32(0x11F).u32(commands).run().unwrap().parameters;
    assert_eq!((all[0], &all[5..9]), (0, &commands.to_be_bytes()[..]));
    assert_eq!(all.len(), 9 + 4 * commands as usize);
}
