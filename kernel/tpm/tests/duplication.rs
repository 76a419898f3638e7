//! TPM2_Duplicate, TPM2_Rewrap and TPM2_Import: the ways that a key may take, and each refusal of their tables in Part 3.

#![allow(clippy::type_complexity, reason = "rows of tables")]

mod driver;

use driver::keys::*;
use driver::{Driver, sized};
use tpm::crypto::{HashAlgorithm, hash, hmac};

const DUPLICATE: u32 = 0x14B;
const NO_CIPHER: &[u8] = &[0, 0x10];
const AES_128_CFB: &[u8] = &[0, 6, 0, 0x80, 0, 0x43];
const INNER_KEY: [u8; 16] = [0x1A; 16];
const SECRET: &[u8] = b"the key of an HMAC";

/// What TPM2_PolicyCommandCode(TPM2_Duplicate) gives.
fn policy() -> Vec<u8> {
    hash(HashAlgorithm::Sha256, &[&[0; 32], &0x16C_u32.to_be_bytes(), &DUPLICATE.to_be_bytes()]).to_vec()
}

/// An HMAC key below `parent` that may leave.
fn travelling(tpm: &mut Driver, parent: u32, attributes: u32) -> Key {
    let public = template(KEYED_HASH, USER | NO_DA | SIGN | attributes, &policy(), HMAC_SHA256);
    let (private, public) = create(tpm, parent, &public, &sensitive(b"", SECRET)).unwrap();
    Key { handle: load(tpm, parent, &private, &public).unwrap(), public }
}

/// A policy session in which duplication is allowed.
fn session(tpm: &mut Driver) -> u32 {
    let start = tpm.command(0x176).handle(NULL).handle(NULL).sized(&[1; 32]).sized(b"").u8(1);
    let handle = start.u16(0x10).u16(0x0B).run().unwrap().handle;
    tpm.command(0x16C).handle(handle).u32(DUPLICATE).run().unwrap();
    handle
}

/// What TPM2_Duplicate answers: the key of the inner wrapper, the duplicate, the seed.
fn duplicate(
    tpm: &mut Driver,
    key: u32,
    parent: u32,
    inner: &[u8],
    cipher: &[u8],
) -> Result<[Vec<u8>; 3], u32> {
    let session = session(tpm);
    let duplicate = tpm.command(DUPLICATE).handle(key).handle(parent).session(session, b"", 0, b"");
    let answer = duplicate.sized(inner).bytes(cipher).run();
    if answer.is_err() {
        flush(tpm, session);
    }
    answer.map(|answer| answer.all_sized().try_into().unwrap())
}

struct Import<'a> {
    parent: u32,
    inner: &'a [u8],
    public: &'a [u8],
    duplicate: &'a [u8],
    seed: &'a [u8],
    cipher: &'a [u8],
}

impl Import<'_> {
    fn run(&self, tpm: &mut Driver) -> Result<Vec<u8>, u32> {
        let import =
            tpm.command(0x156).handle(self.parent).password(b"").sized(self.inner).sized(self.public);
        let answer = import.sized(self.duplicate).sized(self.seed).bytes(self.cipher).run()?;
        Ok(answer.sized(0).to_vec())
    }
}

/// Loads what was imported and has it compute.
fn assert_works(tpm: &mut Driver, parent: u32, private: &[u8], public: &[u8]) {
    let key = load(tpm, parent, private, public).unwrap();
    let mac = tpm.command(0x155).handle(key).password(b"").sized(b"data").u16(0x10).run().unwrap();
    assert_eq!(mac.sized(0), &hmac(HashAlgorithm::Sha256, SECRET, &[b"data"])[..]);
    flush(tpm, key);
}

#[test]
fn a_key_arrives_at_its_new_parent_under_every_wrapper() {
    let mut tpm = Driver::started();
    let home = storage(&mut tpm);
    let elliptic = primary(&mut tpm, ECC, STORAGE & !NO_DA, P256_STORAGE);
    let rsa = primary(&mut tpm, RSA, STORAGE, RSA_2048_STORAGE);
    let key = travelling(&mut tpm, home.handle, 0);
    for target in [NULL, elliptic.handle, rsa.handle] {
        for (given, cipher) in [(&b""[..], NO_CIPHER), (b"", AES_128_CFB), (&INNER_KEY, AES_128_CFB)] {
            let [made, blob, seed] = duplicate(&mut tpm, key.handle, target, given, cipher).unwrap();
            // Part 3: the TPM answers the key only when it made it; ours answers the caller's too.
            let inner = if given.is_empty() { made } else { given.to_vec() };
            let parent = if target == NULL { elliptic.handle } else { target };
            let import =
                Import { parent, inner: &inner, public: &key.public, duplicate: &blob, seed: &seed, cipher };
            let private = import.run(&mut tpm).unwrap();
            assert_works(&mut tpm, parent, &private, &key.public);
        }
    }
}

#[test]
fn a_duplicate_is_wrapped_anew_for_another_parent() {
    let mut tpm = Driver::started();
    let home = storage(&mut tpm);
    let first = primary(&mut tpm, ECC, STORAGE & !NO_DA, P256_STORAGE);
    let second = primary(&mut tpm, RSA, STORAGE, RSA_2048_STORAGE);
    let key = travelling(&mut tpm, home.handle, 0);
    let name = tpm.command(0x173).handle(key.handle).run().unwrap().all_sized()[1].clone();
    let [_, blob, seed] = duplicate(&mut tpm, key.handle, first.handle, b"", NO_CIPHER).unwrap();
    let rewrap = tpm.command(0x152).handle(first.handle).handle(second.handle).password(b"");
    let all = rewrap.sized(&blob).sized(&name).sized(&seed).run().unwrap().all_sized();
    let import = Import {
        parent: second.handle,
        inner: b"",
        public: &key.public,
        duplicate: &all[0],
        seed: &all[1],
        cipher: NO_CIPHER,
    };
    let private = import.run(&mut tpm).unwrap();
    assert_works(&mut tpm, second.handle, &private, &key.public);
}

#[test]
fn each_fault_of_a_duplication_has_its_own_code() {
    let mut tpm = Driver::started();
    let home = storage(&mut tpm);
    let new_parent = primary(&mut tpm, ECC, STORAGE & !NO_DA, P256_STORAGE);
    let leaf = primary(&mut tpm, ECC, LOOSE | SIGN, P256);
    let key = travelling(&mut tpm, home.handle, 0);
    let guarded = travelling(&mut tpm, home.handle, ENCRYPTED_DUPLICATION);
    let fixed = travelling(&mut tpm, home.handle, FIXED);
    #[rustfmt::skip]
    let cases: &[(&str, u32, u32, &[u8], &[u8], u32)] = &[
        ("a key that may not leave",              fixed.handle,   new_parent.handle, b"",        NO_CIPHER,   0x182),
        ("a parent that stores nothing",          key.handle,     leaf.handle,       b"",        NO_CIPHER,   0x28A),
        ("an inner key without a cipher",         key.handle,     new_parent.handle, &INNER_KEY, NO_CIPHER,   0x1D5),
        ("an inner key of another size",          key.handle,     new_parent.handle, &[1; 15],   AES_128_CFB, 0x1D5),
        ("no inner wrapper where one has to be",  guarded.handle, new_parent.handle, b"",        NO_CIPHER,   0x2D6),
        ("no parent where one has to be",         guarded.handle, NULL,              b"",        AES_128_CFB, 0x285),
        ("a cipher with another key",             key.handle,     new_parent.handle, b"", &[0, 6, 0, 0x81, 0, 0x43], 0x2C4),
        ("no cipher at all",                      key.handle,     new_parent.handle, b"", &[0, 0x0B], 0x2D6),
    ];
    for (what, key, parent, inner, cipher, code) in cases {
        assert_eq!(duplicate(&mut tpm, *key, *parent, inner, cipher), Err(*code), "{what}");
    }
    let by_password = tpm.command(DUPLICATE).handle(key.handle).handle(new_parent.handle).password(b"");
    assert_eq!(by_password.sized(b"").bytes(NO_CIPHER).run(), Err(0x124), "only a policy allows it");
    duplicate(&mut tpm, guarded.handle, new_parent.handle, b"", AES_128_CFB).unwrap();
}

#[test]
fn each_fault_of_a_rewrap_has_its_own_code() {
    let mut tpm = Driver::started();
    let home = storage(&mut tpm);
    let old = primary(&mut tpm, ECC, STORAGE & !NO_DA, P256_STORAGE);
    let leaf = primary(&mut tpm, ECC, LOOSE | DECRYPT, P256);
    let key = travelling(&mut tpm, home.handle, 0);
    let name = tpm.command(0x173).handle(key.handle).run().unwrap().all_sized()[1].clone();
    let [_, blob, seed] = duplicate(&mut tpm, key.handle, old.handle, b"", NO_CIPHER).unwrap();
    let mut rewrap = |old: u32, new: u32, blob: &[u8], name: &[u8], seed: &[u8]| {
        let rewrap = tpm.command(0x152).handle(old).handle(new).password(b"");
        rewrap.sized(blob).sized(name).sized(seed).run().map(|_| ())
    };
    let mut damaged = blob.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let mut off_curve = seed.clone();
    *off_curve.last_mut().unwrap() ^= 1;
    assert_eq!(rewrap(old.handle, home.handle, &blob, &name, b""), Err(0x18B), "no seed");
    assert_eq!(rewrap(NULL, home.handle, &blob, &name, &seed), Err(0x18B), "a seed without a parent");
    assert_eq!(rewrap(leaf.handle, home.handle, &blob, &name, &seed), Err(0x18A), "not a parent");
    assert_eq!(rewrap(old.handle, leaf.handle, &blob, &name, &seed), Err(0x28A), "not a parent");
    assert_eq!(rewrap(old.handle, home.handle, &blob, &name, &off_curve), Err(0x3C4));
    assert_eq!(rewrap(old.handle, home.handle, &damaged, &name, &seed), Err(0x1DF));
    assert_eq!(rewrap(old.handle, home.handle, &blob, &name[..33], &seed), Err(0x1DF), "another name");
    assert_eq!(rewrap(old.handle, NULL, &blob, &name, &seed), Ok(()));
}

#[test]
fn each_fault_of_an_import_has_its_own_code() {
    let mut tpm = Driver::started();
    let home = storage(&mut tpm);
    let parent = primary(&mut tpm, ECC, STORAGE & !NO_DA, P256_STORAGE).handle;
    let symmetric = primary(&mut tpm, CIPHER, STORAGE, AES_CFB).handle;
    let leaf = primary(&mut tpm, ECC, LOOSE | SIGN, P256).handle;
    let key = travelling(&mut tpm, home.handle, 0);
    let guarded = travelling(&mut tpm, home.handle, ENCRYPTED_DUPLICATION);
    let [inner, blob, seed] = duplicate(&mut tpm, key.handle, parent, b"", AES_128_CFB).unwrap();
    let good = || Import {
        parent,
        inner: &inner,
        public: &key.public,
        duplicate: &blob,
        seed: &seed,
        cipher: AES_128_CFB,
    };
    let fixed = template(KEYED_HASH, USER | SIGN | FIXED, b"", HMAC_SHA256);
    let nameless = [&key.public[..2], &[0, 0x10], &key.public[4..]].concat();
    let (mut damaged, mut off_curve) = (blob.clone(), seed.clone());
    *damaged.last_mut().unwrap() ^= 1;
    *off_curve.last_mut().unwrap() ^= 1;
    let long = [&seed[..], &[0]].concat();
    #[rustfmt::skip]
    let cases = [
        ("a key that may not arrive",        Import { public: &fixed, ..good() },             0x2C2),
        ("a parent that stores nothing",     Import { parent: leaf, ..good() },               0x18A),
        ("an inner key of another size",     Import { inner: &inner[1..], ..good() },         0x1D5),
        ("an inner key without a cipher",    Import { cipher: NO_CIPHER, ..good() },          0x1D5),
        ("a damaged duplicate",              Import { duplicate: &damaged, ..good() },        0x3DF),
        ("another public area",              Import { public: &guarded.public, ..good() },    0x3DF),
        ("a seed off the curve",             Import { seed: &off_curve, ..good() },           0x4E7),
        ("a seed with too much",             Import { seed: &long, ..good() },                0x4D5),
        ("a seed for a symmetric parent",    Import { parent: symmetric, ..good() },          0x18A),
        ("no name",                          Import { public: &nameless, ..good() },          0x2C3),
        ("no inner wrapper where one has to be",
            Import { public: &guarded.public, inner: b"", cipher: NO_CIPHER, ..good() },      0x1C2),
        ("no seed where one has to be",      Import { public: &guarded.public, seed: b"", ..good() }, 0x4C2),
    ];
    for (what, import, code) in &cases {
        assert_eq!(import.run(&mut tpm), Err(*code), "{what}");
    }
    // What another key decrypts begins with the size of a digest, or with none.
    let garbled = Import { inner: &INNER_KEY, ..good() }.run(&mut tpm).unwrap_err();
    assert!([0x3D5, 0x3DA, 0x3DF].contains(&garbled), "{garbled:#x}");
    good().run(&mut tpm).unwrap();
}

#[test]
fn without_wrappers_the_sensitive_area_is_read_as_it_is() {
    let mut tpm = Driver::started();
    let home = storage(&mut tpm).handle;
    let key = travelling(&mut tpm, home, 0);
    let [_, blob, _] = duplicate(&mut tpm, key.handle, NULL, b"", NO_CIPHER).unwrap();
    let mut import = |duplicate: &[u8]| {
        let public = &key.public;
        Import { parent: home, inner: b"", public, duplicate, seed: b"", cipher: NO_CIPHER }
            .run(&mut tpm)
            .map(|_| ())
    };
    assert_eq!(import(&blob), Ok(()));
    assert_eq!(import(&blob[..blob.len() - 1]), Err(0x3D5), "cut off");
    let mut other = blob.clone();
    *other.last_mut().unwrap() ^= 1;
    assert_eq!(import(&other), Err(0x0A5), "another secret");
    other = blob.clone();
    other[3] = 0x25;
    assert_eq!(import(&other), Err(0x3CA), "another type");
    assert_eq!(import(&sized(b"")), Err(0x3DA), "nothing");
}
