//! What is timed.

use super::Case;
use super::client::{Client, Failure, command};
use crate::draft::{Authorization, Draft, Piece, sized};
use std::time::Duration;

type Time = Result<Duration, Failure>;

/// Issue 4's figures.
pub const CASES: &[Case] = &[
    Case { name: "pcr_extend", samples: 301, is_rsa_private: false, sample: pcr_extend },
    Case { name: "pcr_read", samples: 301, is_rsa_private: false, sample: pcr_read },
    Case { name: "get_random", samples: 301, is_rsa_private: false, sample: get_random },
    Case { name: "start_auth_session", samples: 301, is_rsa_private: false, sample: start_auth_session },
    Case { name: "create_rsa2048", samples: 301, is_rsa_private: false, sample: create_rsa },
    Case { name: "create_p256", samples: 101, is_rsa_private: false, sample: create_ecc },
    Case { name: "create_primary_rsa2048", samples: 301, is_rsa_private: false, sample: create_primary_rsa },
    Case { name: "load", samples: 101, is_rsa_private: false, sample: load },
    Case { name: "sign_p256", samples: 101, is_rsa_private: false, sample: sign_ecc },
    Case { name: "sign_rsa2048", samples: 101, is_rsa_private: true, sample: sign_rsa },
    Case { name: "quote_p256", samples: 101, is_rsa_private: false, sample: quote_ecc },
    Case { name: "quote_rsa2048", samples: 101, is_rsa_private: true, sample: quote_rsa },
    Case { name: "rsa_decrypt", samples: 101, is_rsa_private: true, sample: rsa_decrypt },
    Case { name: "nv_write", samples: 101, is_rsa_private: false, sample: nv_write },
    Case { name: "hash_sequence_1mib", samples: 21, is_rsa_private: false, sample: hash_sequence },
    Case { name: "context_save_load", samples: 101, is_rsa_private: false, sample: context_save_load },
];

const OWNER: u32 = 0x4000_0001;
const NULL: u32 = 0x4000_0007;

fn u16s(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

fn number(bytes: &[u8]) -> Result<u32, Failure> {
    bytes.first_chunk().map(|field| u32::from_be_bytes(*field)).ok_or(Failure::Short)
}

/// TPMA_OBJECT: fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, and what the key does.
fn public(kind: u16, does: u32, parameters: &[u8], unique: &[u8]) -> Vec<u8> {
    let mut public = u16s(&[kind, 0x000b]);
    public.extend((0x72 | does).to_be_bytes());
    public.extend([0, 0]);
    public.extend(parameters);
    public.extend(unique);
    sized(&public)
}

const STORAGE: u32 = 0x3_0000;
const SIGN: u32 = 0x4_0000;
const DECRYPT: u32 = 0x2_0000;
const ECC: u16 = 0x23;
const RSA: u16 = 0x01;

fn ecc_signer() -> Vec<u8> {
    public(ECC, SIGN, &u16s(&[0x10, 0x18, 0x0b, 3, 0x10]), &[0; 4])
}

fn rsa(does: u32, scheme: &[u16], unique: &[u8]) -> Vec<u8> {
    let cipher: &[u16] = if does == STORAGE { &[6, 128, 0x43] } else { &[0x10] };
    public(RSA, does, &u16s(&[cipher, scheme, &[2048, 0, 0]].concat()), &sized(unique))
}

/// Empty authorization and data, the template, no outside information, no PCRs.
fn creation(public: &[u8]) -> Vec<u8> {
    [&[0, 4, 0, 0, 0, 0], public, &[0, 0, 0, 0, 0, 0]].concat()
}

fn flush(client: &mut Client, handle: u32) -> Result<(), Failure> {
    client.run(&command(0x165, &[], 0, handle.to_be_bytes().to_vec())).map(drop)
}

/// Whatever was loaded for the case before is flushed, since swtpm has room for three.
fn only(client: &mut Client, names: &[&str]) -> Result<(), Failure> {
    let (keep, gone): (Vec<_>, Vec<_>) = client.keys.iter().partition(|(name, _)| names.contains(name));
    client.keys = keep;
    gone.into_iter().try_for_each(|(_, handle)| flush(client, handle))
}

/// A storage key to create below, made once.
fn storage(client: &mut Client) -> Result<u32, Failure> {
    key(client, "storage", |client| {
        let template = public(ECC, STORAGE, &u16s(&[6, 128, 0x43, 0x10, 3, 0x10]), &[0; 4]);
        number(&client.run(&command(0x131, &[OWNER], 1, creation(&template)))?.0)
    })
}

fn key(
    client: &mut Client,
    name: &'static str,
    make: impl FnOnce(&mut Client) -> Result<u32, Failure>,
) -> Result<u32, Failure> {
    if let Some((_, handle)) = client.keys.iter().find(|(known, _)| *known == name) {
        return Ok(*handle);
    }
    let handle = make(client)?;
    client.keys.push((name, handle));
    Ok(handle)
}

/// A primary key with this template, made once.
fn primary(client: &mut Client, name: &'static str, template: &[u8]) -> Result<u32, Failure> {
    only(client, &[name])?;
    key(client, name, |client| number(&client.run(&command(0x131, &[OWNER], 1, creation(template)))?.0))
}

fn pcr_extend(client: &mut Client, _: usize) -> Time {
    let digest = [&[0, 0, 0, 1, 0, 0x0b][..], &[7; 32]].concat();
    Ok(client.run(&command(0x182, &[16], 1, digest))?.1)
}

fn pcr_read(client: &mut Client, _: usize) -> Time {
    Ok(client.run(&command(0x17e, &[], 0, vec![0, 0, 0, 1, 0, 0x0b, 3, 0xff, 0, 0]))?.1)
}

fn get_random(client: &mut Client, _: usize) -> Time {
    Ok(client.run(&command(0x17b, &[], 0, vec![0, 32]))?.1)
}

fn start_auth_session(client: &mut Client, _: usize) -> Time {
    let parameters = [sized(&[1; 32]), vec![0, 0, 0], u16s(&[0x10, 0x0b])].concat();
    let (response, time) = client.run(&command(0x176, &[NULL, NULL], 0, parameters))?;
    flush(client, number(&response)?)?;
    Ok(time)
}

fn create(client: &mut Client, template: &[u8]) -> Time {
    only(client, &["storage"])?;
    let parent = storage(client)?;
    Ok(client.run(&command(0x153, &[parent], 1, creation(template)))?.1)
}

fn create_rsa(client: &mut Client, _: usize) -> Time {
    create(client, &rsa(SIGN, &[0x14, 0x0b], &[]))
}

fn create_ecc(client: &mut Client, _: usize) -> Time {
    create(client, &ecc_signer())
}

/// Each sample has a template of its own: the same would find the same primes. How far away these are is luck, and spreads a
/// single time as widely as it is long; hence many.
fn create_primary_rsa(client: &mut Client, sample: usize) -> Time {
    only(client, &[])?;
    let template = rsa(STORAGE, &[0x10], &(sample as u128).to_be_bytes());
    let (response, time) = client.run(&command(0x131, &[OWNER], 1, creation(&template)))?;
    flush(client, number(&response)?)?;
    Ok(time)
}

/// The private and public areas of a created key, as TPM2_Load takes them, after the size of the parameters.
fn areas(created: &[u8]) -> Result<Vec<u8>, Failure> {
    let parameters = created.get(4..).ok_or(Failure::Short)?;
    let mut end = 0;
    for _ in 0..2 {
        let size = parameters.get(end..).and_then(|rest| rest.first_chunk()).ok_or(Failure::Short)?;
        end += 2 + usize::from(u16::from_be_bytes(*size));
    }
    Ok(parameters.get(..end).ok_or(Failure::Short)?.to_vec())
}

fn load(client: &mut Client, _: usize) -> Time {
    only(client, &["storage"])?;
    let parent = storage(client)?;
    let (created, _) = client.run(&command(0x153, &[parent], 1, creation(&ecc_signer())))?;
    let (response, time) = client.run(&command(0x157, &[parent], 1, areas(&created)?))?;
    flush(client, number(&response)?)?;
    Ok(time)
}

fn sign(client: &mut Client, key: u32, sample: usize) -> Time {
    // The key's own scheme, and a ticket that says that there is none.
    let parameters =
        [sized(&[sample as u8; 32]), u16s(&[0x10, 0x8024]), NULL.to_be_bytes().to_vec(), vec![0, 0]].concat();
    Ok(client.run(&command(0x15d, &[key], 1, parameters))?.1)
}

fn ecc_key(client: &mut Client) -> Result<u32, Failure> {
    primary(client, "ecc", &ecc_signer())
}

fn rsa_key(client: &mut Client) -> Result<u32, Failure> {
    primary(client, "rsa", &rsa(SIGN, &[0x14, 0x0b], &[]))
}

fn sign_ecc(client: &mut Client, sample: usize) -> Time {
    let key = ecc_key(client)?;
    sign(client, key, sample)
}

fn sign_rsa(client: &mut Client, sample: usize) -> Time {
    let key = rsa_key(client)?;
    sign(client, key, sample)
}

fn quote(client: &mut Client, key: u32, sample: usize) -> Time {
    let selection = [0, 0, 0, 1, 0, 0x0b, 3, 0xff, 0, 1];
    let parameters = [sized(&[sample as u8; 20]), u16s(&[0x10]), selection.to_vec()].concat();
    Ok(client.run(&command(0x158, &[key], 1, parameters))?.1)
}

fn quote_ecc(client: &mut Client, sample: usize) -> Time {
    let key = ecc_key(client)?;
    quote(client, key, sample)
}

fn quote_rsa(client: &mut Client, sample: usize) -> Time {
    let key = rsa_key(client)?;
    quote(client, key, sample)
}

fn rsa_decrypt(client: &mut Client, sample: usize) -> Time {
    let key = primary(client, "decrypter", &rsa(DECRYPT, &[0x10], &[]))?;
    let oaep = u16s(&[0x17, 0x0b]);
    let plain = [sized(&[sample as u8; 32]), oaep.clone(), vec![0, 0]].concat();
    let (cipher, _) = client.run(&command(0x174, &[key], 0, plain))?;
    Ok(client.run(&command(0x159, &[key], 1, [cipher, oaep, vec![0, 0]].concat()))?.1)
}

fn nv_write(client: &mut Client, sample: usize) -> Time {
    const INDEX: u32 = 0x0100_0001;
    if sample == 0 {
        let public = [INDEX.to_be_bytes().to_vec(), u16s(&[0x0b, 0x0002, 0x0002, 0, 64])].concat();
        client.run(&command(0x12a, &[OWNER], 1, [vec![0, 0], sized(&public)].concat()))?;
    }
    Ok(client.run(&command(0x137, &[OWNER, INDEX], 1, [sized(&[sample as u8; 64]), vec![0, 0]].concat()))?.1)
}

/// A mebibyte in the largest buffers that both take.
fn hash_sequence(client: &mut Client, _: usize) -> Time {
    const CHUNK_BYTES: usize = 1024;
    only(client, &[])?;
    let (response, mut time) = client.run(&command(0x186, &[], 0, vec![0, 0, 0, 0x0b]))?;
    let sequence = number(&response)?;
    let chunk = sized(&[7; CHUNK_BYTES]);
    for _ in 0..(1 << 20) / CHUNK_BYTES {
        time += client.run(&command(0x15c, &[sequence], 1, chunk.clone()))?.1;
    }
    let last = [vec![0, 0], NULL.to_be_bytes().to_vec()].concat();
    Ok(time + client.run(&command(0x13e, &[sequence], 1, last))?.1)
}

fn context_save_load(client: &mut Client, _: usize) -> Time {
    let key = ecc_key(client)?;
    let save = Draft {
        code: 0x162,
        handles: vec![Piece::u32(key)],
        authorizations: Vec::<Authorization>::new(),
        parameters: Vec::new(),
    };
    let (context, saving) = client.run(&save)?;
    let (response, loading) = client.run(&command(0x161, &[], 0, context))?;
    flush(client, number(&response)?)?;
    Ok(saving + loading)
}
