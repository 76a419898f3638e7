//! TPM2_LoadExternal, TPM2_CreateLoaded and TPM2_ObjectChangeAuth: what they make, and each refusal of their tables in Part 3.

#![allow(clippy::type_complexity, reason = "rows of tables")]

mod driver;

use driver::keys::*;
use driver::{Answer, Driver, sized};
use tpm::crypto::{HashAlgorithm, hash};

fn load_external(tpm: &mut Driver, private: &[u8], public: &[u8], hierarchy: u32) -> Result<Answer, u32> {
    tpm.command(0x167).sized(private).sized(public).u32(hierarchy).run()
}

/// TPMT_SENSITIVE.
fn sensitive_area(key_type: u16, auth: &[u8], seed: &[u8], secret: &[u8]) -> Vec<u8> {
    [key_type.to_be_bytes().to_vec(), sized(auth), sized(seed), sized(secret)].concat()
}

const SEED: [u8; 32] = [1; 32];
const SECRET: [u8; 16] = [2; 16];

/// The public area of the HMAC key SECRET.
fn hmac_public(attributes: u32) -> Vec<u8> {
    let mut public = template(KEYED_HASH, attributes, b"", &HMAC_SHA256[..4]);
    public.extend(sized(&hash(HashAlgorithm::Sha256, &[&SEED, &SECRET])));
    public
}

#[test]
fn a_public_key_is_loaded_under_any_hierarchy_and_its_name_is_answered() {
    let mut tpm = Driver::started();
    let key = primary(&mut tpm, ECC, LOOSE | SIGN, P256);
    for hierarchy in [OWNER, NULL, ENDORSEMENT, PLATFORM] {
        let loaded = load_external(&mut tpm, b"", &key.public, hierarchy).unwrap();
        let name = [&[0x00, 0x0B][..], &hash(HashAlgorithm::Sha256, &[&key.public])].concat();
        assert_eq!(loaded.sized(0), name);
        assert_eq!(tpm.command(0x173).handle(loaded.handle).run().unwrap().sized(0), key.public);
        flush(&mut tpm, loaded.handle);
    }
}

#[test]
fn a_whole_key_is_loaded_and_used() {
    let mut tpm = Driver::started();
    let private = sensitive_area(KEYED_HASH, b"", &SEED, &SECRET);
    let loaded = load_external(&mut tpm, &private, &hmac_public(SIGN | USER), NULL).unwrap();
    let mac = tpm.command(0x155).handle(loaded.handle).password(b"").sized(b"data").u16(0x10).run().unwrap();
    let expected = tpm::crypto::hmac(HashAlgorithm::Sha256, &SECRET, &[b"data"]);
    assert_eq!(mac.sized(0), &expected[..]);
}

#[test]
fn each_fault_of_an_external_key_has_its_own_code() {
    let mut tpm = Driver::started();
    let ecc = primary(&mut tpm, ECC, LOOSE | SIGN, P256);
    let whole = sensitive_area(KEYED_HASH, b"", &SEED, &SECRET);
    let hmac = hmac_public(SIGN | USER);
    let mut off_curve = ecc.public.clone();
    *off_curve.last_mut().unwrap() ^= 1;
    let short_point = template(ECC, LOOSE | SIGN, b"", P256);
    let no_modulus = template(RSA, LOOSE | SIGN, b"", RSA_2048);
    let wrong_type = sensitive_area(ECC, b"", &SEED, &SECRET);
    let long_seed = sensitive_area(KEYED_HASH, b"", &[1; 33], &SECRET);
    let long_auth = sensitive_area(KEYED_HASH, &[3; 33], &SEED, &SECRET);
    let other = sensitive_area(KEYED_HASH, b"", &SEED, &[9; 16]);
    let unfit = template(ECC, LOOSE | SIGN | DECRYPT | RESTRICTED, b"", P256);
    let both = template(ECC, LOOSE | SIGN, b"", &[&[0, 6, 0, 0x80, 0, 0x43][..], &P256[2..]].concat());
    #[rustfmt::skip]
    let cases: &[(&str, &[u8], &[u8], u32, u32)] = &[
        ("a whole key under a hierarchy",  &whole,      &hmac,                              OWNER,       0x3C5),
        ("no hierarchy",                   b"",         &ecc.public,                        0x4000_0010, 0x3C4),
        ("a whole key that claims to be fixed", &whole, &hmac_public(SIGN | USER | FIXED),  NULL,        0x2C2),
        ("a whole key that is restricted", &whole,      &hmac_public(SIGN | USER | RESTRICTED), NULL,    0x2C2),
        ("a seed longer than the name's digest", &long_seed, &hmac,                         NULL,        0x1C7),
        ("a value longer than the name's digest", &long_auth, &hmac,                        NULL,        0x1D5),
        ("halves of two types",            &wrong_type, &hmac,                              NULL,        0x1CA),
        ("halves of two keys",             &other,      &hmac,                              NULL,        0x0A5),
        ("a point off the curve",          b"",         &off_curve,                         NULL,        0x2E7),
        ("no point",                       b"",         &short_point,                       NULL,        0x2DC),
        ("no modulus",                     b"",         &no_modulus,                        NULL,        0x2DC),
        ("a storage key without algorithm", b"",        &unfit,                             NULL,        0x2D6),
        ("a leaf with a symmetric algorithm", b"",      &both,                              NULL,        0x2D6),
        ("no public area",                 b"",         b"",                                NULL,        0x2D5),
    ];
    for (what, private, public, hierarchy, code) in cases {
        assert_eq!(load_external(&mut tpm, private, public, *hierarchy), Err(*code), "{what}");
    }
    let beyond = tpm.command(0x167).sized(b"").sized(&ecc.public).u32(NULL).u8(0).run();
    assert_eq!(beyond, Err(0x095), "an octet too much");
    tpm.command(0x121).handle(PLATFORM).password(b"").u32(OWNER).u8(0).run().unwrap();
    assert_eq!(load_external(&mut tpm, b"", &ecc.public, OWNER), Err(0x3C5), "a disabled hierarchy");
    for _ in 0..64 {
        load_external(&mut tpm, b"", &ecc.public, NULL).unwrap();
    }
    assert_eq!(load_external(&mut tpm, b"", &ecc.public, NULL), Err(0x902), "no slot");
}

fn create_loaded(tpm: &mut Driver, parent: u32, given: &[u8], public: &[u8]) -> Result<Answer, u32> {
    tpm.command(0x191).handle(parent).password(b"").bytes(given).sized(public).run()
}

#[test]
fn what_is_created_and_loaded_can_be_loaded_again_under_its_parent() {
    let mut tpm = Driver::started();
    let parent = storage(&mut tpm);
    let public = template(ECC, LOOSE | SIGN | FIXED, b"", P256);
    let made = create_loaded(&mut tpm, parent.handle, &sensitive(b"", b""), &public).unwrap();
    let all = made.all_sized();
    let again = load(&mut tpm, parent.handle, &all[0], &all[1]).unwrap();
    let name = tpm.command(0x173).handle(again).run().unwrap().all_sized()[1].clone();
    assert_eq!(name, all[2]);
}

#[test]
fn under_a_hierarchy_it_is_a_primary_key() {
    let mut tpm = Driver::started();
    let key = primary(&mut tpm, ECC, LOOSE | SIGN, P256);
    let public = template(ECC, LOOSE | SIGN, b"", P256);
    let made = create_loaded(&mut tpm, OWNER, &sensitive(b"", b""), &public).unwrap();
    assert_eq!(made.all_sized()[0], b"", "it needs no private area");
    assert_eq!(made.all_sized()[1], key.public);
}

const DERIVATION: u32 = ORIGIN | USER | NO_DA | RESTRICTED | DECRYPT | FIXED;

/// A template whose unique field holds label and context.
fn derived(key_type: u16, attributes: u32, parameters: &[u8], label: &[u8], context: &[u8]) -> Vec<u8> {
    let mut public = template(key_type, attributes, b"", parameters);
    public.extend(sized(label));
    public.extend(sized(context));
    public
}

#[test]
fn a_derived_key_depends_on_parent_label_and_context_alone() {
    let mut tpm = Driver::started();
    let parent = primary(&mut tpm, KEYED_HASH, DERIVATION, XOR_SHA256);
    let attributes = USER | NO_DA | SIGN | FIXED;
    let mut key = |label: &[u8], context: &[u8], data: &[u8]| {
        let public = derived(ECC, attributes, &P256[..8], label, context);
        let made = create_loaded(&mut tpm, parent.handle, &sensitive(b"", data), &public).unwrap();
        flush(&mut tpm, made.handle);
        made.all_sized()[1].clone()
    };
    let first = key(b"label", b"context", b"");
    assert_eq!(key(b"label", b"context", b""), first);
    assert_ne!(key(b"label", b"other", b""), first);
    assert_ne!(key(b"other", b"context", b""), first);
    let both = [sized(b"label"), sized(b"context")].concat();
    assert_eq!(key(b"", b"", &both), first, "the sensitive data may bring them");
}

#[test]
fn each_fault_of_a_template_that_is_created_and_loaded_has_its_own_code() {
    let mut tpm = Driver::started();
    let parent = storage(&mut tpm);
    let deriving = primary(&mut tpm, KEYED_HASH, DERIVATION, XOR_SHA256);
    let leaf = primary(&mut tpm, ECC, LOOSE | SIGN, P256);
    let sequence = tpm.command(0x186).sized(b"").u16(0x0B).run().unwrap().handle;
    let none = sensitive(b"", b"");
    let ecc = template(ECC, LOOSE | SIGN | FIXED, b"", P256);
    let rsa = derived(RSA, USER | SIGN | FIXED, &RSA_2048[..10], b"", b"");
    let with_origin = derived(ECC, LOOSE | SIGN | FIXED, &P256[..8], b"", b"");
    let loose = derived(ECC, USER | SIGN, &P256[..8], b"", b"");
    let good = derived(ECC, USER | SIGN | FIXED, &P256[..8], b"", b"");
    #[rustfmt::skip]
    let cases: &[(&str, u32, Vec<u8>, &[u8], u32)] = &[
        ("a parent that is none",          leaf.handle,     none.clone(),              &ecc,         0x18A),
        ("a sequence as parent",           sequence,        none.clone(),              &ecc,         0x18A),
        ("a value longer than the digest", parent.handle,   sensitive(&[7; 33], b""),  &ecc,         0x1D5),
        ("data for a key that brings its own", parent.handle, sensitive(b"", b"data"), &ecc,         0x2C2),
        ("no template",                    parent.handle,   none.clone(),              b"",          0x2DA),
        ("a template with too much",       parent.handle,   none.clone(),              &[&ecc[..], &[0]].concat(), 0x2D5),
        ("a derived RSA key",              deriving.handle, none.clone(),              &rsa,         0x2CA),
        ("a derived key of another origin", deriving.handle, none.clone(),             &with_origin, 0x2C2),
        ("a derived key that may leave",   deriving.handle, none.clone(),              &loose,       0x2C2),
        ("a label that does not end",      deriving.handle, sensitive(b"", b"\0\x05l"), &good,       0x1DA),
        ("more than label and context",    deriving.handle, sensitive(b"", b"\0\0\0\0x"), &good,     0x1D5),
    ];
    for (what, parent, given, public, code) in cases {
        let answer = create_loaded(&mut tpm, *parent, given, public).map(|_| ());
        assert_eq!(answer, Err(*code), "{what}");
    }
}

#[test]
fn a_changed_authorization_value_counts_where_the_new_private_area_is_loaded() {
    let mut tpm = Driver::started();
    let parent = storage(&mut tpm);
    let public = template(KEYED_HASH, USER | NO_DA | FIXED, b"", HMAC_ANY);
    let (private, public) = create(&mut tpm, parent.handle, &public, &sensitive(b"old", b"sealed")).unwrap();
    let key = load(&mut tpm, parent.handle, &private, &public).unwrap();
    let change = tpm.command(0x150).handle(key).handle(parent.handle).password(b"old").sized(b"new");
    let private = change.run().unwrap().sized(0).to_vec();
    let unseal = |tpm: &mut Driver, key, auth: &[u8]| {
        tpm.command(0x15E).handle(key).password(auth).run().map(|answer| answer.sized(0).to_vec())
    };
    assert_eq!(unseal(&mut tpm, key, b"old").unwrap(), b"sealed", "what is loaded stays as it is");
    let changed = load(&mut tpm, parent.handle, &private, &public).unwrap();
    assert_eq!(unseal(&mut tpm, changed, b"new").unwrap(), b"sealed");
    assert_eq!(unseal(&mut tpm, changed, b"old"), Err(0x9A2));
}

#[test]
fn each_fault_of_a_new_authorization_value_has_its_own_code() {
    let mut tpm = Driver::started();
    let parent = storage(&mut tpm);
    let other = primary(&mut tpm, ECC, STORAGE & !NO_DA, P256_STORAGE);
    let public = template(KEYED_HASH, USER | NO_DA | FIXED, b"", HMAC_ANY);
    let (private, public) = create(&mut tpm, parent.handle, &public, &sensitive(b"", b"sealed")).unwrap();
    let key = load(&mut tpm, parent.handle, &private, &public).unwrap();
    let mut change = |key: u32, parent: u32, auth: &[u8]| {
        tpm.command(0x150).handle(key).handle(parent).password(b"").sized(auth).run().map(|_| ())
    };
    assert_eq!(change(key, parent.handle, &[1; 33]), Err(0x1D5), "longer than the name's digest");
    assert_eq!(change(key, parent.handle, &[1; 65]), Err(0x1D5), "longer than any digest");
    assert_eq!(change(key, other.handle, b"new"), Err(0x28A), "not its parent");
    assert_eq!(change(parent.handle, parent.handle, b"new"), Err(0x28A), "a primary key has none");
    assert_eq!(
        change(key, parent.handle, &[&[1; 32][..], &[0; 8]].concat()),
        Ok(()),
        "zeros at the end do not count"
    );
}
