//! TPM2_MakeCredential and TPM2_ActivateCredential, and each refusal of their tables in Part 3.

#![allow(clippy::type_complexity, reason = "rows of tables")]

mod driver;

use driver::keys::*;
use driver::{Answer, Driver};

fn name(tpm: &mut Driver, key: u32) -> Vec<u8> {
    tpm.command(0x173).handle(key).run().unwrap().all_sized()[1].clone()
}

fn make(tpm: &mut Driver, key: u32, credential: &[u8], name: &[u8]) -> Result<(Vec<u8>, Vec<u8>), u32> {
    let answer = tpm.command(0x168).handle(key).sized(credential).sized(name).run()?;
    let all = answer.all_sized();
    Ok((all[0].clone(), all[1].clone()))
}

fn activate(tpm: &mut Driver, named: u32, key: u32, blob: &[u8], secret: &[u8]) -> Result<Answer, u32> {
    let activate = tpm.command(0x147).handle(named).handle(key).password(b"").password(b"");
    activate.sized(blob).sized(secret).run()
}

#[test]
fn a_credential_opens_for_the_key_that_it_names_beside_the_key_it_was_made_for() {
    let mut tpm = Driver::started();
    let attested = primary(&mut tpm, ECC, LOOSE | SIGN, P256);
    let attested_name = name(&mut tpm, attested.handle);
    for key in [storage(&mut tpm), primary(&mut tpm, RSA, STORAGE, RSA_2048_STORAGE)] {
        let (blob, secret) = make(&mut tpm, key.handle, b"credential", &attested_name).unwrap();
        let opened = activate(&mut tpm, attested.handle, key.handle, &blob, &secret).unwrap();
        assert_eq!(opened.sized(0), b"credential");
        let refused = activate(&mut tpm, key.handle, key.handle, &blob, &secret);
        assert_eq!(refused, Err(0x1DF), "another key's name");
    }
}

#[test]
fn each_fault_has_its_own_code() {
    let mut tpm = Driver::started();
    let attested = primary(&mut tpm, ECC, LOOSE | SIGN, P256);
    let attested_name = name(&mut tpm, attested.handle);
    let symmetric = primary(&mut tpm, CIPHER, STORAGE, AES_CFB);
    let sequence = tpm.command(0x186).sized(b"").u16(0x0B).run().unwrap().handle;
    let key = storage(&mut tpm);
    for (what, wrong) in
        [("signs", attested.handle), ("symmetric", symmetric.handle), ("a sequence", sequence)]
    {
        assert_eq!(make(&mut tpm, wrong, b"credential", &attested_name), Err(0x18A), "{what}");
    }
    assert_eq!(make(&mut tpm, key.handle, &[1; 33], &attested_name), Err(0x1D5), "longer than the digest");
    assert_eq!(make(&mut tpm, key.handle, b"credential", &[0; 67]), Err(0x2D5), "longer than any name");

    let (blob, secret) = make(&mut tpm, key.handle, b"credential", &attested_name).unwrap();
    let mut open = |key: u32, blob: &[u8], secret: &[u8]| {
        activate(&mut tpm, attested.handle, key, blob, secret).map(|_| ())
    };
    assert_eq!(open(attested.handle, &blob, &secret), Err(0x28A), "a key that signs");
    assert_eq!(open(symmetric.handle, &blob, &secret), Err(0x28A), "a symmetric key");
    for at in 2..blob.len() {
        let mut damaged = blob.clone();
        damaged[at] ^= 1;
        assert_eq!(open(key.handle, &damaged, &secret), Err(0x1DF), "octet {at}");
    }
    let mut off_curve = secret.clone();
    *off_curve.last_mut().unwrap() ^= 1;
    assert_eq!(open(key.handle, &blob, &off_curve), Err(0x2E7));
    assert_eq!(open(key.handle, &blob, &[&secret[..], &[0]].concat()), Err(0x2D5), "more than a point");
    assert_eq!(open(key.handle, &blob, &secret[..secret.len() - 1]), Err(0x2DA), "less than a point");
    assert_eq!(open(key.handle, &[0; 200], &secret), Err(0x1D5), "larger than any credential");
    assert_eq!(open(key.handle, &blob, &[0; 600]), Err(0x2D5), "larger than any secret");
    assert_eq!(open(key.handle, &blob, &secret), Ok(()));
}

#[test]
fn a_damaged_secret_for_an_rsa_key_is_a_value_error() {
    let mut tpm = Driver::started();
    let key = primary(&mut tpm, RSA, STORAGE, RSA_2048_STORAGE);
    let key_name = name(&mut tpm, key.handle);
    let (blob, mut secret) = make(&mut tpm, key.handle, b"credential", &key_name).unwrap();
    secret[100] ^= 1;
    assert_eq!(activate(&mut tpm, key.handle, key.handle, &blob, &secret), Err(0x2C4));
    assert_eq!(activate(&mut tpm, key.handle, key.handle, &blob, &secret[1..]), Err(0x2D5));
}
