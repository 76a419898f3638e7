//! Asymmetric primitives and ephemeral keys: what they compute, and each refusal of their tables in Part 3.

#![allow(clippy::type_complexity, reason = "rows of tables")]

mod driver;

use driver::keys::*;
use driver::{Answer, Driver, sized};

const NO_SCHEME: &[u8] = &[0, 0x10];
const RSAES: &[u8] = &[0, 0x15];
const OAEP_SHA256: &[u8] = &[0, 0x17, 0, 0x0B];
const KDF2_SHA256: &[u8] = &[0, 0x21, 0, 0x0B];
const ECDH: u16 = 0x0019;
const ECMQV: u16 = 0x001D;

fn rsa_encrypt(tpm: &mut Driver, key: u32, data: &[u8], scheme: &[u8], label: &[u8]) -> Result<Vec<u8>, u32> {
    let answer = tpm.command(0x174).handle(key).sized(data).bytes(scheme).sized(label).run()?;
    Ok(answer.sized(0).to_vec())
}

fn rsa_decrypt(tpm: &mut Driver, key: u32, data: &[u8], scheme: &[u8], label: &[u8]) -> Result<Vec<u8>, u32> {
    let command = tpm.command(0x159).handle(key).password(b"");
    Ok(command.sized(data).bytes(scheme).sized(label).run()?.sized(0).to_vec())
}

#[test]
fn rsa_decrypts_what_it_encrypted_under_every_scheme() {
    let mut tpm = Driver::started();
    let key = primary(&mut tpm, RSA, LOOSE | DECRYPT, RSA_2048).handle;
    let whole = [&[0][..], &[7; 255]].concat();
    for (scheme, message, label) in [
        (OAEP_SHA256, &b"message"[..], &b"label\0"[..]),
        (OAEP_SHA256, b"", b""),
        (RSAES, b"message", b""),
        (NO_SCHEME, &whole, b""),
    ] {
        let encrypted = rsa_encrypt(&mut tpm, key, message, scheme, label).unwrap();
        assert_eq!(encrypted.len(), 256);
        assert_eq!(rsa_decrypt(&mut tpm, key, &encrypted, scheme, label).unwrap(), message);
    }
}

#[test]
fn each_fault_of_an_rsa_command_has_its_own_code() {
    let mut tpm = Driver::started();
    let key = primary(&mut tpm, RSA, LOOSE | DECRYPT, RSA_2048).handle;
    let oaep = [&[0, 0x10][..], OAEP_SHA256, &RSA_2048[4..]].concat();
    let oaep = primary(&mut tpm, RSA, LOOSE | DECRYPT, &oaep).handle;
    let signs = primary(&mut tpm, RSA, LOOSE | SIGN, RSA_2048).handle;
    let parent = primary(&mut tpm, RSA, STORAGE, RSA_2048_STORAGE).handle;
    let elliptic = primary(&mut tpm, ECC, LOOSE | DECRYPT, P256).handle;
    let good = rsa_encrypt(&mut tpm, key, b"message", OAEP_SHA256, b"").unwrap();
    #[rustfmt::skip]
    let encryptions: &[(&str, u32, &[u8], &[u8], &[u8], u32)] = &[
        ("a key of another type",      elliptic, b"m",      OAEP_SHA256,      b"",      0x19C),
        ("a key that only signs",      signs,    b"m",      OAEP_SHA256,      b"",      0x182),
        ("a label without its end",    key,      b"m",      OAEP_SHA256,      b"label", 0x3C4),
        ("another scheme than its own", oaep,    b"m",      RSAES,            b"",      0x2D2),
        ("a scheme that signs",        key,      b"m",      &[0, 0x14, 0, 0x0B], b"",   0x2C4),
        ("a message too long for OAEP", key,     &[1; 191], OAEP_SHA256,      b"",      0x084),
        ("a message too long for RSAES", key,    &[1; 246], RSAES,            b"",      0x084),
        ("a number beyond the modulus", key,     &[255; 256], NO_SCHEME,      b"",      0x084),
    ];
    for (what, key, message, scheme, label, code) in encryptions {
        assert_eq!(rsa_encrypt(&mut tpm, *key, message, scheme, label), Err(*code), "{what}");
    }
    let mut damaged = good.clone();
    damaged[255] ^= 1;
    #[rustfmt::skip]
    let decryptions: &[(&str, u32, &[u8], &[u8], &[u8], u32)] = &[
        ("a key of another type",      elliptic, &good,        OAEP_SHA256, b"",        0x19C),
        ("a key that only signs",      signs,    &good,        OAEP_SHA256, b"",        0x182),
        ("a storage key",              parent,   &good,        OAEP_SHA256, b"",        0x182),
        ("a label without its end",    key,      &good,        OAEP_SHA256, b"label",   0x3C4),
        ("another scheme than its own", oaep,    &good,        RSAES,       b"",        0x2D2),
        ("another label",              key,      &good,        OAEP_SHA256, b"label\0", 0x084),
        ("a damaged message",          key,      &damaged,     OAEP_SHA256, b"",        0x084),
        ("a message cut short",        key,      &good[1..],   OAEP_SHA256, b"",        0x095),
        ("a number beyond the modulus", key,     &[255; 256],  NO_SCHEME,   b"",        0x095),
    ];
    for (what, key, message, scheme, label, code) in decryptions {
        assert_eq!(rsa_decrypt(&mut tpm, *key, message, scheme, label), Err(*code), "{what}");
    }
}

fn z_gen(tpm: &mut Driver, key: u32, point: &[u8]) -> Result<Answer, u32> {
    tpm.command(0x154).handle(key).password(b"").bytes(point).run()
}

#[test]
fn both_sides_of_a_key_exchange_get_the_same_point() {
    let mut tpm = Driver::started();
    for (curve, parameters) in [(32, P256), (48, &[0, 0x10, 0, 0x10, 0, 4, 0, 0x10, 0, 0, 0, 0])] {
        let key = primary(&mut tpm, ECC, LOOSE | DECRYPT, parameters);
        let made = tpm.command(0x163).handle(key.handle).run().unwrap().all_sized();
        assert_eq!(made[1].len(), 2 * (curve + 2));
        let computed = z_gen(&mut tpm, key.handle, &sized(&made[1])).unwrap();
        assert_eq!(computed.sized(0), made[0]);
    }
}

#[test]
fn each_fault_of_a_key_exchange_has_its_own_code() {
    let mut tpm = Driver::started();
    let key = primary(&mut tpm, ECC, LOOSE | DECRYPT, P256);
    let signs = primary(&mut tpm, ECC, LOOSE | SIGN, P256).handle;
    let parent = storage(&mut tpm).handle;
    let rsa = primary(&mut tpm, RSA, LOOSE | DECRYPT, RSA_2048).handle;
    let point = point_of(&key.public, 32);
    let mut off_curve = point.clone();
    *off_curve.last_mut().unwrap() ^= 1;
    let nothing = sized(&[0, 0, 0, 0]);
    assert_eq!(tpm.command(0x163).handle(rsa).run(), Err(0x19C));
    #[rustfmt::skip]
    let cases: &[(&str, u32, &[u8], u32)] = &[
        ("a key of another type",   rsa,        &point,     0x19C),
        ("a key that only signs",   signs,      &point,     0x182),
        ("a storage key",           parent,     &point,     0x182),
        ("a point off the curve",   key.handle, &off_curve, 0x1E7),
        ("no point",                key.handle, &nothing,   0x1E7),
        ("no structure",            key.handle, &[0, 0],    0x1D5),
    ];
    for (what, key, point, code) in cases {
        assert_eq!(z_gen(&mut tpm, *key, point), Err(*code), "{what}");
    }
    assert_eq!(tpm.command(0x178).u16(0x0020).run(), Err(0x1E6), "a curve that there is not");
    let parameters = tpm.command(0x178).u16(3).run().unwrap().parameters;
    assert_eq!(parameters[..4], [0, 3, 1, 0]);
}

#[test]
fn a_message_goes_to_an_elliptic_key_and_back() {
    let mut tpm = Driver::started();
    let key = primary(&mut tpm, ECC, LOOSE | DECRYPT, P256);
    let signs = primary(&mut tpm, ECC, LOOSE | SIGN, P256).handle;
    let parent = storage(&mut tpm).handle;
    let rsa = primary(&mut tpm, RSA, LOOSE | DECRYPT, RSA_2048).handle;
    let encrypt = |tpm: &mut Driver, key: u32, scheme: &[u8]| {
        tpm.command(0x199).handle(key).sized(b"message").bytes(scheme).run()
    };
    let made = encrypt(&mut tpm, key.handle, KDF2_SHA256).unwrap().all_sized();
    let decrypt = |tpm: &mut Driver, key: u32, made: &[Vec<u8>], scheme: &[u8]| -> Result<Vec<u8>, u32> {
        let command = tpm.command(0x19A).handle(key).password(b"");
        let answer = command.sized(&made[0]).sized(&made[1]).sized(&made[2]).bytes(scheme).run()?;
        Ok(answer.sized(0).to_vec())
    };
    assert_eq!(decrypt(&mut tpm, key.handle, &made, KDF2_SHA256).unwrap(), b"message");

    assert_eq!(encrypt(&mut tpm, rsa, KDF2_SHA256), Err(0x19C));
    assert_eq!(encrypt(&mut tpm, signs, KDF2_SHA256), Err(0x182));
    assert_eq!(encrypt(&mut tpm, key.handle, NO_SCHEME), Err(0x2D2));
    assert_eq!(encrypt(&mut tpm, key.handle, &[0, 0x22, 0, 0x0B]), Err(0x2D2), "KDF1");
    assert_eq!(decrypt(&mut tpm, rsa, &made, KDF2_SHA256), Err(0x19C));
    assert_eq!(decrypt(&mut tpm, signs, &made, KDF2_SHA256), Err(0x182));
    assert_eq!(decrypt(&mut tpm, parent, &made, KDF2_SHA256), Err(0x182));
    assert_eq!(decrypt(&mut tpm, key.handle, &made, NO_SCHEME), Err(0x4D2));
    for (part, code) in [(0, 0x1E7), (1, 0x3C4), (2, 0x3C4)] {
        let mut damaged = made.clone();
        *damaged[part].last_mut().unwrap() ^= 1;
        assert_eq!(decrypt(&mut tpm, key.handle, &damaged, KDF2_SHA256), Err(code), "part {part}");
    }
}

/// An ephemeral point and its counter.
fn ephemeral(tpm: &mut Driver) -> (Vec<u8>, u16) {
    let answer = tpm.command(0x18E).u16(3).run().unwrap();
    let end = &answer.parameters[answer.parameters.len() - 2..];
    (sized(answer.sized(0)), u16::from_be_bytes(end.try_into().unwrap()))
}

#[test]
fn two_phases_of_an_exchange_use_both_keys_of_both_sides() {
    let mut tpm = Driver::started();
    let mine = primary(&mut tpm, ECC, LOOSE | DECRYPT, P256);
    let theirs = primary(&mut tpm, ECC, LOOSE | DECRYPT & !NO_DA, P256);
    let (my_point, my_counter) = ephemeral(&mut tpm);
    let (their_point, their_counter) = ephemeral(&mut tpm);
    assert_eq!(their_counter, my_counter + 1);
    let exchange = |tpm: &mut Driver, key: u32, fixed: &[u8], passing: &[u8], scheme: u16, counter: u16| {
        let command = tpm.command(0x18D).handle(key).password(b"").bytes(fixed).bytes(passing);
        command.u16(scheme).u16(counter).run().map(|answer| answer.all_sized())
    };
    let (my_static, their_static) = (point_of(&mine.public, 32), point_of(&theirs.public, 32));
    let mut off_curve = their_point.clone();
    *off_curve.last_mut().unwrap() ^= 1;
    let signs = primary(&mut tpm, ECC, LOOSE | SIGN, P256).handle;
    let rsa = primary(&mut tpm, RSA, LOOSE | DECRYPT, RSA_2048).handle;
    #[rustfmt::skip]
    let cases: &[(&str, u32, &[u8], &[u8], u16, u16, u32)] = &[
        ("a key of another type",   rsa,         &their_static, &their_point, ECDH,  my_counter, 0x19C),
        ("a key that only signs",   signs,       &their_static, &their_point, ECDH,  my_counter, 0x182),
        ("an exchange that there is not", mine.handle, &their_static, &their_point, ECMQV, my_counter, 0x3D2),
        ("no exchange",             mine.handle, &their_static, &their_point, 0x0B,  my_counter, 0x3D2),
        ("a static point off the curve", mine.handle, &off_curve, &their_point, ECDH, my_counter, 0x1E7),
        ("a passing point off the curve", mine.handle, &their_static, &off_curve, ECDH, my_counter, 0x2E7),
        ("a counter that was not given", mine.handle, &their_static, &their_point, ECDH, my_counter + 5, 0x4C4),
    ];
    for (what, key, fixed, passing, scheme, counter, code) in cases {
        assert_eq!(exchange(&mut tpm, *key, fixed, passing, *scheme, *counter), Err(*code), "{what}");
    }
    let here = exchange(&mut tpm, mine.handle, &their_static, &their_point, ECDH, my_counter).unwrap();
    let there = exchange(&mut tpm, theirs.handle, &my_static, &my_point, ECDH, their_counter).unwrap();
    assert_eq!(here, there);
    let again = exchange(&mut tpm, mine.handle, &their_static, &their_point, ECDH, my_counter);
    assert_eq!(again, Err(0x4C4), "an ephemeral key is used once");
}

#[test]
fn an_ephemeral_key_needs_a_curve_and_a_commitment_a_scheme_for_it() {
    let mut tpm = Driver::started();
    assert_eq!(tpm.command(0x18E).u16(0x0020).run(), Err(0x1E6));
    let key = primary(&mut tpm, ECC, LOOSE | SIGN, P256_ECDAA);
    let other = primary(&mut tpm, ECC, LOOSE | SIGN, P256).handle;
    let rsa = primary(&mut tpm, RSA, LOOSE | SIGN, RSA_2048).handle;
    let point = point_of(&key.public, 32);
    let mut off_curve = point.clone();
    *off_curve.last_mut().unwrap() ^= 1;
    let none = sized(&[0, 0, 0, 0]);
    let commit = |tpm: &mut Driver, key: u32, p1: &[u8], s2: &[u8], y2: &[u8]| {
        tpm.command(0x18B).handle(key).password(b"").bytes(p1).sized(s2).sized(y2).run()
    };
    #[rustfmt::skip]
    let cases: &[(&str, u32, &[u8], &[u8], &[u8], u32)] = &[
        ("a key of another type",            rsa,        &none,      b"",     b"",      0x19C),
        ("a key of another scheme",          other,      &none,      b"",     b"",      0x192),
        ("a point off the curve",            key.handle, &off_curve, b"",     b"",      0x1E7),
        ("half of a second point",           key.handle, &none,      b"seed", b"",      0x3D5),
        ("the other half of a second point", key.handle, &none,      b"",     &[1; 32], 0x3D5),
        ("a second point off the curve",     key.handle, &none,      b"seed", &[1; 32], 0x2E7),
    ];
    for (what, key, p1, s2, y2, code) in cases {
        assert_eq!(commit(&mut tpm, *key, p1, s2, y2), Err(*code), "{what}");
    }
    let first = commit(&mut tpm, key.handle, &point, b"", b"").unwrap();
    assert_eq!(first.all_sized()[..2], [vec![0, 0, 0, 0], vec![0, 0, 0, 0]], "K and L need a second point");
    let counter = &first.parameters[first.parameters.len() - 2..];
    let sign = |tpm: &mut Driver, counter: &[u8]| {
        let sign = tpm.command(0x15D).handle(key.handle).password(b"").sized(&[5; 32]);
        let scheme = [&[0, 0x1A, 0, 0x0B][..], counter].concat();
        sign.bytes(&scheme).bytes(&[0x80, 0x24, 0x40, 0, 0, 7, 0, 0]).run().map(|_| ())
    };
    assert_eq!(sign(&mut tpm, counter), Ok(()));
    assert_eq!(sign(&mut tpm, counter), Err(0x084), "a commitment is used once");
}
