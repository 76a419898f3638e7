//! Symmetric primitives and sequences: what they compute, and each refusal of their tables in Part 3.

#![allow(clippy::type_complexity, reason = "rows of tables")]

mod driver;

use driver::keys::*;
use driver::{Answer, Driver};
use tpm::crypto::{HashAlgorithm, hash, hmac};

const SHA256: u16 = 0x000B;
const NO_ALGORITHM: u16 = 0x0010;
const GENERATED: [u8; 4] = [0xFF, 0x54, 0x43, 0x47];

/// TPMI_ALG_SYM_MODE: CTR, OFB, CBC, CFB, ECB.
const MODES: [u16; 5] = [0x40, 0x41, 0x42, 0x43, 0x44];
const ECB: u16 = 0x44;
const CBC: u16 = 0x42;

/// What both commands take.
#[derive(Clone, Copy)]
struct Operation<'a> {
    key: u32,
    decrypt: bool,
    mode: u16,
    iv: &'a [u8],
    data: &'a [u8],
}

impl Operation<'_> {
    /// By TPM2_EncryptDecrypt or by TPM2_EncryptDecrypt2: data and the next IV.
    fn run(&self, tpm: &mut Driver, second: bool) -> Result<Vec<Vec<u8>>, u32> {
        let command = tpm.command(if second { 0x193 } else { 0x164 }).handle(self.key).password(b"");
        let command = if second { command.sized(self.data) } else { command };
        let command = command.u8(u8::from(self.decrypt)).u16(self.mode).sized(self.iv);
        let command = if second { command } else { command.sized(self.data) };
        command.run().map(|answer| answer.all_sized())
    }
}

#[test]
fn every_mode_decrypts_what_it_encrypted_in_one_piece_or_two() {
    let mut tpm = Driver::started();
    let key = primary(&mut tpm, CIPHER, LOOSE | SIGN | DECRYPT, AES_ANY).handle;
    let plain = [7; 64];
    for mode in MODES {
        let iv: &[u8] = if mode == ECB { b"" } else { &[1; 16] };
        let encrypt = Operation { key, decrypt: false, mode, iv, data: &plain };
        let whole = encrypt.run(&mut tpm, false).unwrap();
        assert_ne!(whole[0], plain);
        assert_eq!(encrypt.run(&mut tpm, true).unwrap(), whole, "both commands do the same");
        let first = Operation { data: &plain[..32], ..encrypt }.run(&mut tpm, true).unwrap();
        let second = Operation { data: &plain[32..], iv: &first[1], ..encrypt }.run(&mut tpm, true).unwrap();
        assert_eq!([&first[0][..], &second[0]].concat(), whole[0], "mode {mode:#x}: the IV goes on");
        let decrypt = Operation { decrypt: true, data: &whole[0], ..encrypt };
        assert_eq!(decrypt.run(&mut tpm, true).unwrap()[0], plain);
    }
}

#[test]
fn each_fault_of_an_encryption_has_its_own_code() {
    let mut tpm = Driver::started();
    let any = primary(&mut tpm, CIPHER, LOOSE | SIGN | DECRYPT, AES_ANY).handle;
    let cfb = primary(&mut tpm, CIPHER, LOOSE | SIGN | DECRYPT, AES_CFB).handle;
    let only_decrypts = primary(&mut tpm, CIPHER, LOOSE | DECRYPT, AES_CFB).handle;
    let only_encrypts = primary(&mut tpm, CIPHER, LOOSE | SIGN, AES_CFB).handle;
    let parent = primary(&mut tpm, CIPHER, STORAGE, AES_CFB).handle;
    let elliptic = primary(&mut tpm, ECC, LOOSE | DECRYPT, P256).handle;
    let iv: &[u8] = &[0; 16];
    let good = Operation { key: cfb, decrypt: false, mode: NO_ALGORITHM, iv, data: b"data" };
    #[rustfmt::skip]
    let cases = [
        ("a key of another type",       Operation { key: elliptic, ..good },                   0x19C, 0x19C),
        ("a storage key",               Operation { key: parent, ..good },                     0x182, 0x182),
        ("a key that does not encrypt", Operation { key: only_decrypts, ..good },              0x182, 0x182),
        ("a key that does not decrypt", Operation { key: only_encrypts, decrypt: true, ..good }, 0x182, 0x182),
        ("another mode than its own",   Operation { mode: CBC, ..good },                       0x2C9, 0x3C9),
        ("no mode",                     Operation { key: any, ..good },                        0x2C9, 0x3C9),
        ("what is no mode",             Operation { mode: SHA256, ..good },                    0x2C9, 0x3C9),
        ("an IV too short",             Operation { iv: &iv[1..], ..good },                    0x3D5, 0x4D5),
        ("an IV too long",              Operation { iv: &[0; 17], ..good },                    0x3D5, 0x4D5),
        ("an IV where none belongs",    Operation { key: any, mode: ECB, data: iv, ..good },   0x3D5, 0x4D5),
        ("a piece of a block",          Operation { key: any, mode: CBC, ..good },             0x4D5, 0x1D5),
        ("more than a buffer",          Operation { data: &[0; 1025], ..good },                0x4D5, 0x1D5),
    ];
    for (what, operation, first, second) in cases {
        assert_eq!(operation.run(&mut tpm, false), Err(first), "{what}");
        assert_eq!(operation.run(&mut tpm, true), Err(second), "{what}");
    }
    let truth = tpm.command(0x164).handle(cfb).password(b"").u8(2).u16(NO_ALGORITHM).sized(iv).sized(b"");
    assert_eq!(truth.run(), Err(0x1C4), "neither yes nor no");
    good.run(&mut tpm, true).unwrap();
}

/// Whether a ticket proves anything.
fn has_ticket(answer: &Answer) -> bool {
    let ticket = &answer.parameters[2 + answer.sized(0).len()..];
    ticket.len() > 8
}

#[test]
fn a_hash_comes_with_a_ticket_unless_it_could_be_the_tpms_own() {
    let mut tpm = Driver::started();
    let mut hashed = |data: &[u8], hierarchy: u32| {
        tpm.command(0x17D).sized(data).u16(SHA256).u32(hierarchy).run().unwrap()
    };
    let answer = hashed(b"data", OWNER);
    assert_eq!(answer.sized(0), &hash(HashAlgorithm::Sha256, &[b"data"])[..]);
    assert!(has_ticket(&answer));
    assert!(has_ticket(&hashed(&GENERATED[..3], OWNER)));
    assert!(!has_ticket(&hashed(b"data", NULL)));
    assert!(!has_ticket(&hashed(&GENERATED, OWNER)));
    assert_eq!(tpm.command(0x17D).sized(b"").u16(NO_ALGORITHM).u32(NULL).run(), Err(0x2C3));
    assert_eq!(tpm.command(0x17D).sized(&[0; 1025]).u16(SHA256).u32(NULL).run(), Err(0x1D5));
    assert_eq!(tpm.command(0x17D).sized(b"").u16(SHA256).u32(0x4000_000A).run(), Err(0x3C4), "lockout");
}

/// Keys that make HMACs, and keys that do not: what TPM2_HMAC and TPM2_HMAC_Start answer.
#[test]
fn an_hmac_needs_a_key_for_it_and_one_algorithm() {
    let mut tpm = Driver::started();
    let keyed = primary(&mut tpm, KEYED_HASH, LOOSE | SIGN, HMAC_SHA256).handle;
    let any = primary(&mut tpm, KEYED_HASH, LOOSE | SIGN | DECRYPT, HMAC_ANY).handle;
    let restricted = primary(&mut tpm, KEYED_HASH, LOOSE | SIGN | RESTRICTED, HMAC_SHA256).handle;
    let obfuscates = primary(&mut tpm, KEYED_HASH, LOOSE | DECRYPT, XOR_SHA256).handle;
    let elliptic = primary(&mut tpm, ECC, LOOSE | SIGN, P256).handle;
    #[rustfmt::skip]
    let cases = [
        (keyed,      NO_ALGORITHM, Ok(())),
        (keyed,      SHA256,       Ok(())),
        (any,        SHA256,       Ok(())),
        (keyed,      0x000C,       Err(0x2C4)),
        (any,        NO_ALGORITHM, Err(0x2C4)),
        (any,        0x0006,       Err(0x2C3)),
        (restricted, SHA256,       Err(0x182)),
        (obfuscates, SHA256,       Err(0x19C)),
        (elliptic,   SHA256,       Err(0x18A)),
    ];
    for (key, algorithm, expected) in cases {
        let mac = tpm.command(0x155).handle(key).password(b"").sized(b"data").u16(algorithm).run();
        assert_eq!(mac.map(|_| ()), expected, "{key:#x} {algorithm:#x}");
        let start = tpm.command(0x15B).handle(key).password(b"").sized(b"").u16(algorithm).run();
        assert_eq!(start.as_ref().map(|_| ()).map_err(|code| *code), expected, "{key:#x} {algorithm:#x}");
        if let Ok(sequence) = start {
            flush(&mut tpm, sequence.handle);
        }
    }
}

fn hash_sequence(tpm: &mut Driver, auth: &[u8], algorithm: u16) -> Result<u32, u32> {
    tpm.command(0x186).sized(auth).u16(algorithm).run().map(|answer| answer.handle)
}

fn update(tpm: &mut Driver, sequence: u32, auth: &[u8], data: &[u8]) -> Result<(), u32> {
    tpm.command(0x15C).handle(sequence).password(auth).sized(data).run().map(|_| ())
}

fn complete(tpm: &mut Driver, sequence: u32, data: &[u8], hierarchy: u32) -> Result<Answer, u32> {
    tpm.command(0x13E).handle(sequence).password(b"").sized(data).u32(hierarchy).run()
}

fn complete_event(tpm: &mut Driver, pcr: u32, sequence: u32, data: &[u8]) -> Result<Answer, u32> {
    tpm.command(0x185).handle(pcr).handle(sequence).password(b"").password(b"").sized(data).run()
}

#[test]
fn a_sequence_gives_the_hash_of_all_its_pieces_and_ends() {
    let mut tpm = Driver::started();
    let sequence = hash_sequence(&mut tpm, b"", SHA256).unwrap();
    update(&mut tpm, sequence, b"", &[1; 1000]).unwrap();
    update(&mut tpm, sequence, b"", &[2; 1000]).unwrap();
    let answer = complete(&mut tpm, sequence, b"end", OWNER).unwrap();
    assert_eq!(answer.sized(0), &hash(HashAlgorithm::Sha256, &[&[1; 1000], &[2; 1000], b"end"])[..]);
    assert!(has_ticket(&answer));
    assert_eq!(update(&mut tpm, sequence, b"", b"more"), Err(0x910));
    for (first, safe) in [(&GENERATED[..], false), (&GENERATED[..3], false), (b"data", true)] {
        let sequence = hash_sequence(&mut tpm, b"", SHA256).unwrap();
        update(&mut tpm, sequence, b"", first).unwrap();
        assert_eq!(has_ticket(&complete(&mut tpm, sequence, b"end", OWNER).unwrap()), safe, "{first:x?}");
    }
}

#[test]
fn an_hmac_sequence_gives_the_hmac_of_all_its_pieces() {
    let mut tpm = Driver::started();
    let parent = storage(&mut tpm).handle;
    let public = template(KEYED_HASH, USER | NO_DA | SIGN | FIXED, b"", HMAC_SHA256);
    let (private, public) = create(&mut tpm, parent, &public, &sensitive(b"", b"secret")).unwrap();
    let key = load(&mut tpm, parent, &private, &public).unwrap();
    let start = tpm.command(0x15B).handle(key).password(b"").sized(b"").u16(NO_ALGORITHM);
    let sequence = start.run().unwrap().handle;
    update(&mut tpm, sequence, b"", b"one").unwrap();
    let answer = complete(&mut tpm, sequence, b"two", OWNER).unwrap();
    assert_eq!(answer.sized(0), &hmac(HashAlgorithm::Sha256, b"secret", &[b"one", b"two"])[..]);
    assert!(!has_ticket(&answer));
}

#[test]
fn an_event_sequence_extends_its_pcr_in_every_bank() {
    let mut tpm = Driver::started();
    let sequence = hash_sequence(&mut tpm, b"", NO_ALGORITHM).unwrap();
    update(&mut tpm, sequence, b"", b"one").unwrap();
    let answer = complete_event(&mut tpm, 16, sequence, b"two").unwrap();
    assert_eq!(answer.parameters[..4], [0, 0, 0, 4]);
    let measured = hash(HashAlgorithm::Sha256, &[b"one", b"two"]);
    assert!(answer.parameters.windows(32).any(|window| window == &measured[..]));
    let read = tpm.command(0x17E).bytes(&[0, 0, 0, 1, 0, 0x0B, 3, 0, 0, 1]).run().unwrap();
    let extended = hash(HashAlgorithm::Sha256, &[&[0; 32], &measured]);
    assert_eq!(read.parameters[read.parameters.len() - 32..], extended[..]);
    let sequence = hash_sequence(&mut tpm, b"", NO_ALGORITHM).unwrap();
    complete_event(&mut tpm, NULL, sequence, b"nowhere").unwrap();
}

#[test]
fn each_fault_of_a_sequence_has_its_own_code() {
    let mut tpm = Driver::started();
    let key = primary(&mut tpm, ECC, LOOSE | SIGN, P256).handle;
    let guarded = hash_sequence(&mut tpm, b"auth", SHA256).unwrap();
    let hashing = hash_sequence(&mut tpm, b"", SHA256).unwrap();
    let event = hash_sequence(&mut tpm, b"", NO_ALGORITHM).unwrap();
    assert_eq!(hash_sequence(&mut tpm, b"", 0x0006), Err(0x2C3), "no hash");
    assert_eq!(hash_sequence(&mut tpm, &[1; 65], SHA256), Err(0x1D5), "longer than any digest");
    assert_eq!(update(&mut tpm, key, b"", b"data"), Err(0x189), "a key");
    assert_eq!(update(&mut tpm, guarded, b"other", b"data"), Err(0x9A2));
    assert_eq!(update(&mut tpm, guarded, b"auth", b"data"), Ok(()));
    assert_eq!(update(&mut tpm, hashing, b"", &[0; 1025]), Err(0x1D5));
    assert_eq!(complete(&mut tpm, key, b"", NULL), Err(0x189), "a key");
    assert_eq!(complete(&mut tpm, event, b"", NULL), Err(0x189), "an event");
    assert_eq!(complete(&mut tpm, hashing, b"", 0x4000_000A), Err(0x2C4), "no hierarchy");
    assert_eq!(complete_event(&mut tpm, 16, hashing, b""), Err(0x289), "a hash");
    assert_eq!(complete_event(&mut tpm, 16, key, b""), Err(0x289), "a key");
    assert_eq!(complete_event(&mut tpm, 24, event, b""), Err(0x184), "a PCR that there is not");
    assert_eq!(complete_event(&mut tpm, 18, event, b""), Err(0x907), "a PCR of another locality");
    complete_event(&mut tpm, 16, event, b"").unwrap();
    while hash_sequence(&mut tpm, b"", SHA256).is_ok() {}
    assert_eq!(hash_sequence(&mut tpm, b"", SHA256), Err(0x902), "no slot");
    assert_eq!(
        tpm.command(0x15E).handle(hashing).password(b"").run(),
        Err(0x18A),
        "a sequence is not unsealed"
    );
    assert_eq!(tpm.command(0x173).handle(hashing).run(), Err(0x103), "and has no public area");
}
