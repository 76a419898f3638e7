//! Values for parameters: mostly what the specification wants, sometimes what it refuses.

use crate::dice::Dice;
use crate::draft::{Piece, sized};
use crate::model::{Bag, Model};

/// What a value may be chosen by.
pub struct Draw<'a> {
    pub dice: &'a mut Dice,
    pub model: &'a Model,
    /// The authorization value that this command gives to what it makes.
    pub new_auth: Vec<u8>,
    /// The parts of a blob that belong together.
    pub blob: Option<crate::model::Blob>,
}

/// A parameter of Part 3, by what its type allows.
pub type Parameter = fn(&mut Draw<'_>) -> Piece;

/// TPM_ALG_ID of the hashes that both TPMs have.
const HASHES: &[u16] = &[0x0004, 0x000b, 0x000b, 0x000b, 0x000c, 0x000d];
/// Identifiers that neither has, or that are no hash.
const NO_HASHES: &[u16] = &[0x0000, 0x0001, 0x0010, 0x0012, 0x0027, 0x7fff];
const NULL: u16 = 0x0010;

fn u16s(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

fn known_hash(dice: &mut Dice) -> u16 {
    if dice.percent(96) { dice.one(HASHES) } else { dice.one(NO_HASHES) }
}

pub fn digest_bytes(hash: u16) -> usize {
    match hash {
        0x0004 => 20,
        0x000c => 48,
        0x000d => 64,
        0x0010 => 0,
        _ => 32,
    }
}

pub fn hash(draw: &mut Draw<'_>) -> Piece {
    Piece::Bytes(u16s(&[known_hash(draw.dice)]))
}

pub fn hash_or_null(draw: &mut Draw<'_>) -> Piece {
    if draw.dice.percent(20) { Piece::Bytes(u16s(&[NULL])) } else { hash(draw) }
}

pub fn byte(draw: &mut Draw<'_>) -> Piece {
    Piece::Bytes(vec![draw.dice.one(&[0, 1, 1, 0, 2, 0x80])])
}

pub fn small_count(draw: &mut Draw<'_>) -> Piece {
    Piece::Bytes(u16s(&[draw.dice.one(&[0, 1, 8, 16, 32, 48, 64, 65, 128])]))
}

pub fn offset(draw: &mut Draw<'_>) -> Piece {
    Piece::Bytes(u16s(&[draw.dice.one(&[0, 0, 0, 0, 1, 4, 8, 32, 100])]))
}

pub fn number(draw: &mut Draw<'_>) -> Piece {
    Piece::u32(draw.dice.one(&[0, 1, 2, 3, 10, 32, 1000, 0x7fff_ffff, 0xffff_ffff]))
}

pub fn long_number(draw: &mut Draw<'_>) -> Piece {
    Piece::Bytes(draw.dice.one(&[0_u64, 1, 0x80, 0xffff, 1 << 40, u64::MAX]).to_be_bytes().to_vec())
}

/// TPM2B of up to some bytes.
fn up_to(draw: &mut Draw<'_>, limit: usize) -> Piece {
    let count = if draw.dice.percent(97) { draw.dice.below(limit + 1) } else { limit + 1 };
    Piece::Bytes(sized(&draw.dice.bytes(count)))
}

pub fn buffer(draw: &mut Draw<'_>) -> Piece {
    let limit = draw.dice.one(&[16, 64, 64, 200, 1024]);
    up_to(draw, limit)
}

pub fn small_buffer(draw: &mut Draw<'_>) -> Piece {
    let limit = draw.dice.one(&[8, 8, 16, 32]);
    up_to(draw, limit)
}

pub fn nv_data(draw: &mut Draw<'_>) -> Piece {
    let count = draw.dice.one(&[8, 8, 8, 1, 4, 0, 20, 32, 33]);
    Piece::Bytes(sized(&draw.dice.bytes(count)))
}

pub fn data(draw: &mut Draw<'_>) -> Piece {
    let limit = draw.dice.one(&[0, 8, 20, 64]);
    up_to(draw, limit)
}

pub fn empty(_: &mut Draw<'_>) -> Piece {
    Piece::Bytes(vec![0, 0])
}

pub fn new_auth(draw: &mut Draw<'_>) -> Piece {
    Piece::Bytes(sized(&draw.new_auth.clone()))
}

pub fn digest(draw: &mut Draw<'_>) -> Piece {
    let count = draw.dice.one(&[32, 32, 32, 32, 20, 48, 64, 0, 31]);
    Piece::Bytes(sized(&draw.dice.bytes(count)))
}

pub fn policy_digest(draw: &mut Draw<'_>) -> Piece {
    if draw.dice.percent(50) { Piece::Bytes(vec![0, 0]) } else { digest(draw) }
}

fn kept(draw: &mut Draw<'_>, bag: Bag, otherwise: Parameter) -> Piece {
    match draw.model.any(bag, draw.dice) {
        Some(piece) if draw.dice.percent(97) => piece,
        _ => otherwise(draw),
    }
}

pub fn kept_digest(draw: &mut Draw<'_>) -> Piece {
    kept(draw, Bag::Digest, digest)
}

pub fn name(draw: &mut Draw<'_>) -> Piece {
    kept(draw, Bag::Name, |draw| Piece::Bytes(sized(&[&[0, 0x0b], draw.dice.bytes(32).as_slice()].concat())))
}

pub fn context(draw: &mut Draw<'_>) -> Piece {
    kept(draw, Bag::Context, |draw| {
        let mut context = draw.dice.bytes(8);
        context.extend([0x80, 0, 0, 0, 0x40, 0, 0, 1]);
        context.extend(sized(&draw.dice.bytes(80)));
        Piece::Bytes(context)
    })
}

pub fn creation_hash(draw: &mut Draw<'_>) -> Piece {
    kept(draw, Bag::CreationHash, digest)
}

pub fn credential(draw: &mut Draw<'_>) -> Piece {
    kept(draw, Bag::Credential, buffer)
}

pub fn secret(draw: &mut Draw<'_>) -> Piece {
    kept(
        draw,
        Bag::Secret,
        |draw| {
            if draw.dice.percent(50) { Piece::Bytes(vec![0, 0]) } else { small_buffer(draw) }
        },
    )
}

pub fn duplicate(draw: &mut Draw<'_>) -> Piece {
    kept(draw, Bag::Duplicate, buffer)
}

pub fn point(draw: &mut Draw<'_>) -> Piece {
    kept(draw, Bag::Point, |draw| {
        let (x, y) = (sized(&draw.dice.bytes(32)), sized(&draw.dice.bytes(32)));
        Piece::Bytes(sized(&[x, y].concat()))
    })
}

pub fn timeout(draw: &mut Draw<'_>) -> Piece {
    kept(draw, Bag::Timeout, empty)
}

pub fn signature(draw: &mut Draw<'_>) -> Piece {
    kept(draw, Bag::Signature, |draw| {
        let mut signature = u16s(&[draw.dice.one(&[0x14, 0x16, 0x18, 0x05, NULL, 0x7fff]), 0x000b]);
        signature.extend(sized(&draw.dice.bytes(32)));
        signature.extend(sized(&draw.dice.bytes(32)));
        Piece::Bytes(signature)
    })
}

pub fn ticket(draw: &mut Draw<'_>) -> Piece {
    kept(draw, Bag::Ticket, |draw| {
        let mut ticket = u16s(&[draw.dice.one(&[0x8021, 0x8022, 0x8023, 0x8024, 0x8025, 0x8024])]);
        ticket.extend(draw.dice.one(&[0x4000_0007_u32, 0x4000_0001, 0x4000_000c, 0x4000_0002]).to_be_bytes());
        let digest = if draw.dice.percent(60) { Vec::new() } else { draw.dice.bytes(32) };
        ticket.extend(sized(&digest));
        Piece::Bytes(ticket)
    })
}

pub fn private(draw: &mut Draw<'_>) -> Piece {
    match &draw.blob {
        Some(blob) => Piece::Slot(blob.private),
        None => buffer(draw),
    }
}

pub fn public_of_private(draw: &mut Draw<'_>) -> Piece {
    match &draw.blob {
        Some(blob) => Piece::Slot(blob.public),
        None => public(draw),
    }
}

pub fn handle_number(draw: &mut Draw<'_>) -> Piece {
    match draw.model.objects.last().map(|object| object.handle) {
        Some(slot) if draw.dice.percent(60) => Piece::Slot(slot),
        _ => match draw.model.sessions.last() {
            Some(session) if draw.dice.percent(80) => Piece::Slot(session.handle),
            _ => Piece::u32(draw.dice.one(&[
                0x8000_0000,
                0x8000_0002,
                0x0200_0000,
                0x8100_0000,
                0x4000_0001,
                0,
            ])),
        },
    }
}

pub fn persistent(draw: &mut Draw<'_>) -> Piece {
    Piece::u32(draw.dice.one(&[0x8100_0000, 0x8100_0001, 0x8180_0000, 0x8100_0000, 0x8000_0000, 0x01]))
}

pub fn enable(draw: &mut Draw<'_>) -> Piece {
    Piece::u32(draw.dice.one(&[0x4000_0001, 0x4000_000b, 0x4000_000d, 0x4000_0007, 0x4000_000c]))
}

fn pcr_bitmap(draw: &mut Draw<'_>) -> Vec<u8> {
    let hash = draw.dice.one(&[0x000b_u16, 0x000b, 0x000c, 0x0004, 0x0012]);
    let mut selection = u16s(&[hash]);
    let size = draw.dice.one(&[3_u8, 3, 3, 3, 3, 2, 4, 0]);
    selection.push(size);
    let bits = [draw.dice.one(&[0_u8, 1, 3, 0xff]), 0, draw.dice.one(&[0_u8, 1, 0x80]), 0];
    selection.extend(&bits[..usize::from(size)]);
    selection
}

pub fn pcr_selection(draw: &mut Draw<'_>) -> Piece {
    let count = draw.dice.one(&[0_usize, 1, 1, 1, 2, 3]);
    let mut list = (count as u32).to_be_bytes().to_vec();
    (0..count).for_each(|_| list.extend(pcr_bitmap(draw)));
    Piece::Bytes(list)
}

pub fn digest_values(draw: &mut Draw<'_>) -> Piece {
    let count = draw.dice.one(&[0_usize, 1, 1, 2]);
    let mut list = (count as u32).to_be_bytes().to_vec();
    for _ in 0..count {
        let hash = known_hash(draw.dice);
        list.extend(hash.to_be_bytes());
        list.extend(draw.dice.bytes(digest_bytes(hash)));
    }
    Piece::Bytes(list)
}

pub fn digest_list(draw: &mut Draw<'_>) -> Piece {
    let count = draw.dice.one(&[0_usize, 1, 2, 2, 3, 8, 9]);
    let mut list = (count as u32).to_be_bytes().to_vec();
    for _ in 0..count {
        list.extend(sized(&draw.dice.bytes(32)));
    }
    Piece::Bytes(list)
}

pub fn signing_scheme(draw: &mut Draw<'_>) -> Piece {
    let scheme = draw.dice.one(&[NULL, NULL, 0x0014, 0x0016, 0x0018, 0x0018, 0x0005, 0x001a, 0x001c, 0x0015]);
    let mut bytes = u16s(&[scheme]);
    if scheme != NULL {
        bytes.extend(known_hash(draw.dice).to_be_bytes());
    }
    if scheme == 0x001a {
        bytes.extend([0, 1]);
    }
    Piece::Bytes(bytes)
}

pub fn encryption_scheme(draw: &mut Draw<'_>) -> Piece {
    let scheme = draw.dice.one(&[NULL, 0x0015, 0x0017, 0x0017, 0x0014]);
    let mut bytes = u16s(&[scheme]);
    if scheme == 0x0017 || scheme == 0x0014 {
        bytes.extend(known_hash(draw.dice).to_be_bytes());
    }
    Piece::Bytes(bytes)
}

/// TPMT_SYM_DEF: what a session encrypts parameters with.
pub fn session_cipher(draw: &mut Draw<'_>) -> Piece {
    let bytes = match draw.dice.below(8) {
        0..4 => u16s(&[NULL]),
        4..6 => {
            u16s(&[0x0006, draw.dice.one(&[128, 256, 128, 129]), draw.dice.one(&[0x0043, 0x0043, 0x0042])])
        }
        6 => u16s(&[0x000a, known_hash(draw.dice)]),
        _ => u16s(&[draw.dice.one(&[0, 0x7fff])]),
    };
    Piece::Bytes(bytes)
}

/// TPMT_SYM_DEF_OBJECT, or none.
pub fn wrapping_cipher(draw: &mut Draw<'_>) -> Piece {
    let bytes = match draw.dice.below(4) {
        0..3 => u16s(&[NULL]),
        _ => u16s(&[0x0006, 128, 0x0043]),
    };
    Piece::Bytes(bytes)
}

pub fn cipher_mode(draw: &mut Draw<'_>) -> Piece {
    Piece::Bytes(u16s(&[draw.dice.one(&[NULL, NULL, 0x0043, 0x0042, 0x0040, 0x0041, 0x0044, 0x0001])]))
}

pub fn initial_vector(draw: &mut Draw<'_>) -> Piece {
    let count = draw.dice.one(&[16, 16, 16, 16, 0, 15]);
    Piece::Bytes(sized(&draw.dice.bytes(count)))
}

pub fn session_type(draw: &mut Draw<'_>) -> Piece {
    Piece::Bytes(vec![draw.dice.one(&[0, 1, 1, 1, 3, 2])])
}

pub fn nonce(draw: &mut Draw<'_>) -> Piece {
    let count = draw.dice.one(&[16, 20, 32, 32, 15, 64, 0]);
    Piece::Bytes(sized(&draw.dice.bytes(count)))
}

pub fn startup_type(draw: &mut Draw<'_>) -> Piece {
    Piece::Bytes(u16s(&[draw.dice.one(&[0, 0, 0, 1, 2])]))
}

pub fn command_code(draw: &mut Draw<'_>) -> Piece {
    Piece::u32(draw.dice.one(&[0x15e, 0x153, 0x15d, 0x14b, 0x137, 0x14e, 0x11f, 0x148, 0x162, 0x7fff]))
}

pub fn locality(draw: &mut Draw<'_>) -> Piece {
    Piece::Bytes(vec![draw.dice.one(&[1, 1, 3, 0x1f, 32, 0, 255])])
}

pub fn operation(draw: &mut Draw<'_>) -> Piece {
    Piece::Bytes(u16s(&[draw.dice.one(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])]))
}

pub fn curve(draw: &mut Draw<'_>) -> Piece {
    Piece::Bytes(u16s(&[draw.dice.one(&[3, 3, 4, 5, 0, 0x7fff])]))
}

pub fn algorithms(draw: &mut Draw<'_>) -> Piece {
    let count = draw.dice.one(&[0_usize, 1, 2]);
    let mut list = (count as u32).to_be_bytes().to_vec();
    (0..count).for_each(|_| list.extend(draw.dice.one(&[0x0001_u16, 0x000b, 0x0023, 0x0006]).to_be_bytes()));
    Piece::Bytes(list)
}

pub fn command_codes(draw: &mut Draw<'_>) -> Piece {
    let count = draw.dice.one(&[0_usize, 0, 1, 2]);
    let mut list = (count as u32).to_be_bytes().to_vec();
    for _ in 0..count {
        list.extend(draw.dice.one(&[0x17b_u32, 0x131, 0x144, 0x15d]).to_be_bytes());
    }
    Piece::Bytes(list)
}

/// Capabilities whose values are the same in every TPM: handles, PCRs, and policies of hierarchies.
pub fn capability(draw: &mut Draw<'_>) -> Piece {
    let (capability, property) = draw.dice.one(&[
        (1_u32, 0x8000_0000_u32),
        (1, 0x8100_0000),
        (1, 0x0100_0000),
        (1, 0x0200_0000),
        (1, 0x0300_0000),
        (1, 0x0000_0000),
        (1, 0x4000_0000),
        (1, 0x7000_0000),
        (5, 0),
        (5, 1),
        (7, 0),
        (9, 0x4000_0001),
        (0x100, 0),
    ]);
    let mut bytes = capability.to_be_bytes().to_vec();
    bytes.extend(property.to_be_bytes());
    bytes.extend(draw.dice.one(&[0_u32, 1, 1, 5, 64, 255]).to_be_bytes());
    Piece::Bytes(bytes)
}

pub fn nv_public(draw: &mut Draw<'_>) -> Piece {
    let index = draw.dice.one(&[0x0100_0001_u32, 0x0100_0002, 0x0100_0003, 0x0200_0000]);
    let hash = known_hash(draw.dice);
    let kind = draw.dice.one(&[0_u32, 0, 0, 1, 2, 4, 8, 9, 3]);
    let mut attributes = kind << 4;
    for (bit, percent) in NV_ATTRIBUTES {
        if draw.dice.percent(*percent) {
            attributes |= 1 << bit;
        }
    }
    let policy = if draw.dice.percent(70) { 0 } else { digest_bytes(hash) };
    let size = match kind {
        0 => draw.dice.one(&[8_u16, 8, 16, 32, 1, 0, 2048, 0xffff]),
        4 => digest_bytes(hash) as u16,
        _ => draw.dice.one(&[8, 8, 8, 8, 4]),
    };
    let mut public = index.to_be_bytes().to_vec();
    public.extend(hash.to_be_bytes());
    public.extend(attributes.to_be_bytes());
    public.extend(sized(&draw.dice.bytes(policy)));
    public.extend(size.to_be_bytes());
    Piece::Bytes(sized(&public))
}

/// TPMA_NV: a bit, and how often of a hundred it is set.
const NV_ATTRIBUTES: &[(u32, usize)] = &[
    (0, 20),
    (1, 80),
    (2, 80),
    (3, 5),
    (10, 2),
    (11, 2),
    (12, 5),
    (13, 10),
    (14, 20),
    (15, 10),
    (16, 20),
    (17, 80),
    (18, 80),
    (19, 5),
    (25, 40),
    (26, 10),
    (27, 10),
    (28, 2),
    (29, 2),
    (30, 10),
    (31, 20),
];

pub fn sensitive_create(draw: &mut Draw<'_>) -> Piece {
    let auth = sized(&draw.new_auth.clone());
    let count = draw.dice.one(&[0, 0, 0, 0, 0, 16, 32, 8]);
    let data = sized(&draw.dice.bytes(count));
    Piece::Bytes(sized(&[auth, data].concat()))
}

/// TPMA_OBJECT: a bit, and how often of a hundred a random template has it.
const OBJECT_ATTRIBUTES: &[(u32, usize)] = &[
    (1, 75),
    (2, 10),
    (4, 75),
    (5, 75),
    (6, 85),
    (7, 5),
    (10, 70),
    (11, 5),
    (16, 30),
    (17, 50),
    (18, 50),
    (0, 1),
];

fn attributes(dice: &mut Dice) -> u32 {
    // Storage, signing, and decrypting keys that can be made; then anything.
    match dice.below(10) {
        0..3 => 0x0003_0472,
        3..5 => 0x0004_0472,
        5 => 0x0002_0472,
        6 => 0x0006_0472,
        7 => 0x0005_0472,
        _ => OBJECT_ATTRIBUTES
            .iter()
            .filter(|(_, percent)| dice.percent(*percent))
            .fold(0, |all, (bit, _)| all | 1 << bit),
    }
}

pub fn public(draw: &mut Draw<'_>) -> Piece {
    let attributes = attributes(draw.dice);
    let restricted_decrypt = attributes & 0x0003_0000 == 0x0003_0000;
    let hash = known_hash(draw.dice);
    let kind =
        draw.dice.one(&[0x0023_u16, 0x0023, 0x0023, 0x0023, 0x0008, 0x0008, 0x0025, 0x0025, 0x0001, 0x7fff]);
    let policy = if draw.dice.percent(85) { 0 } else { digest_bytes(hash) };
    let mut public = u16s(&[kind, hash]);
    public.extend(attributes.to_be_bytes());
    public.extend(sized(&draw.dice.bytes(policy)));
    public.extend(match kind {
        0x0023 => ecc_parameters(draw.dice, restricted_decrypt, attributes & 0x0004_0000 != 0),
        0x0008 => keyed_hash_parameters(draw.dice),
        0x0025 => cipher_parameters(draw.dice),
        _ => rsa_parameters(draw.dice, restricted_decrypt),
    });
    public.extend(if kind == 0x0023 { vec![0, 0, 0, 0] } else { vec![0, 0] });
    Piece::Bytes(sized(&public))
}

fn ecc_parameters(dice: &mut Dice, storage: bool, signs: bool) -> Vec<u8> {
    let mut bytes = storage_cipher(dice, storage);
    let scheme = if storage || !signs {
        NULL
    } else {
        dice.one(&[NULL, NULL, 0x0018, 0x0018, 0x001c, 0x001a, 0x0019])
    };
    bytes.extend(scheme.to_be_bytes());
    if scheme != NULL {
        bytes.extend(known_hash(dice).to_be_bytes());
    }
    if scheme == 0x001a {
        bytes.extend([0, 1]);
    }
    bytes.extend(u16s(&[dice.one(&[3, 3, 3, 4, 0x7fff])]));
    bytes.extend(u16s(&[if dice.percent(95) { NULL } else { 0x0020 }]));
    if bytes.ends_with(&[0x00, 0x20]) {
        bytes.extend(u16s(&[0x000b]));
    }
    bytes
}

fn storage_cipher(dice: &mut Dice, storage: bool) -> Vec<u8> {
    if storage != dice.percent(3) { u16s(&[0x0006, 128, 0x0043]) } else { u16s(&[NULL]) }
}

/// A key of 2048 bits takes swtpm half a second: RSA is for the commands that fail before.
fn rsa_parameters(dice: &mut Dice, storage: bool) -> Vec<u8> {
    let mut bytes = storage_cipher(dice, storage);
    bytes.extend(u16s(&[NULL, dice.one(&[2048, 2047, 0, 512])]));
    bytes.extend(dice.one(&[3_u32, 2, 0xffff_ffff, 65535]).to_be_bytes());
    bytes
}

fn keyed_hash_parameters(dice: &mut Dice) -> Vec<u8> {
    match dice.below(4) {
        0 => u16s(&[NULL]),
        1 => u16s(&[0x000a, known_hash(dice), 0x0022]),
        _ => u16s(&[0x0005, known_hash(dice)]),
    }
}

fn cipher_parameters(dice: &mut Dice) -> Vec<u8> {
    let mode = dice.one(&[NULL, 0x0043, 0x0043, 0x0042, 0x0040, 0x0044, 0x0041, 0x0001]);
    u16s(&[0x0006, dice.one(&[128, 128, 256, 100]), mode])
}

/// TPMT_PUBLIC_PARMS.
pub fn public_parameters(draw: &mut Draw<'_>) -> Piece {
    let kind = draw.dice.one(&[0x0023_u16, 0x0008, 0x0025, 0x0001, 0x7fff]);
    let mut bytes = u16s(&[kind]);
    let storage = draw.dice.percent(50);
    bytes.extend(match kind {
        0x0023 => ecc_parameters(draw.dice, storage, true),
        0x0008 => keyed_hash_parameters(draw.dice),
        0x0025 => cipher_parameters(draw.dice),
        _ => rsa_parameters(draw.dice, storage),
    });
    Piece::Bytes(bytes)
}

/// A public area that was answered before, to be loaded without its private part.
pub fn outside_public(draw: &mut Draw<'_>) -> Piece {
    kept(draw, Bag::Public, public)
}
