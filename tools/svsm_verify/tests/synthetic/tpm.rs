//! What a TPM says: public areas, quotes, signatures, event logs, and the opening of credentials.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use aes::Aes128;
use aes::cipher::KeyIvInit;
use getrandom::SysRng;
use hmac::{Hmac, KeyInit, Mac};
use p256::ecdsa::signature::hazmat::PrehashSigner;
use p256::elliptic_curve::sec1::{FromSec1Point, ToSec1Point};
use rand_core::UnwrapErr;
use rsa::traits::PublicKeyParts;
use rsa::{Oaep, Pkcs1v15Sign, Pss, RsaPrivateKey};
use sha2::{Digest, Sha256, Sha384};

/// PCRs of the quotes.
pub const QUOTED: [u32; 10] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

/// The hash of a quote's signature.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    Sha256,
    Sha384,
}

impl Hash {
    fn number(self) -> u16 {
        match self {
            Self::Sha256 => 0x000B,
            Self::Sha384 => 0x000C,
        }
    }

    fn digest(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha384 => Sha384::digest(bytes).to_vec(),
        }
    }
}

/// A private key and how the TPM signs with it.
enum Private {
    RsaSsa(Box<RsaPrivateKey>),
    /// With so many bytes of salt.
    RsaPss(Box<RsaPrivateKey>, usize),
    P256(p256::SecretKey),
    P384(p384::SecretKey),
}

/// A key in a TPM.
pub struct Key {
    private: Private,
    attributes: u32,
}

/// Attributes of keys that a TPM makes for attestation: fixed, made there, restricted; then signing or decrypting.
const SIGNING: u32 = 0x0005_0072;
const DECRYPTING: u32 = 0x0003_00B2;

/// PolicySecret of the endorsement hierarchy.
const POLICY_A: [u8; 32] =
    hex_literal::hex!("837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa");

macro_rules! keys {
    ($($(#[$meta:meta])* $name:ident = $attributes:expr, $private:expr;)+) => {
        impl Key {
            $($(#[$meta])* pub fn $name() -> &'static Self {
                static KEY: OnceLock<Key> = OnceLock::new();
                KEY.get_or_init(|| Self { private: $private, attributes: $attributes })
            })+
        }
    };
}

keys! {
    endorsement_rsa = DECRYPTING, Private::RsaSsa(Box::new(rsa_key()));
    other_endorsement_rsa = DECRYPTING, Private::RsaSsa(Box::new(rsa_key()));
    endorsement_p256 = DECRYPTING, Private::P256(p256_key(7));
    attestation_rsa = SIGNING, Private::RsaSsa(Box::new(rsa_key()));
    foreign_attestation_rsa = SIGNING, Private::RsaSsa(Box::new(rsa_key()));
    attestation_pss = SIGNING, Private::RsaPss(Box::new(rsa_key()), 32);
    /// With the longest salt that fits, as the reference TPM has it.
    attestation_pss_long_salt = SIGNING, Private::RsaPss(Box::new(rsa_key()), 256 - 32 - 2);
    attestation_p256 = SIGNING, Private::P256(p256_key(9));
    attestation_p384 = SIGNING, Private::P384(p384::SecretKey::from_slice(&[9; 48]).unwrap());
    /// Signs whatever it is given, also what looks like a quote.
    unrestricted = SIGNING & !0x0001_0000, Private::RsaSsa(Box::new(rsa_key()));
    /// May have been made outside.
    imported = SIGNING & !0x0000_0020, Private::RsaSsa(Box::new(rsa_key()));
}

fn rsa_key() -> RsaPrivateKey {
    RsaPrivateKey::new(&mut UnwrapErr(SysRng), 2048).unwrap()
}

fn p256_key(seed: u8) -> p256::SecretKey {
    p256::SecretKey::from_slice(&[seed; 32]).unwrap()
}

impl Key {
    fn decrypts(&self) -> bool {
        self.attributes & 0x0002_0000 != 0
    }

    fn hash(&self) -> Hash {
        if matches!(self.private, Private::P384(_)) { Hash::Sha384 } else { Hash::Sha256 }
    }

    /// TPMT_PUBLIC.
    pub fn public(&self) -> Vec<u8> {
        let is_rsa = matches!(self.private, Private::RsaSsa(_) | Private::RsaPss(..));
        let mut public = if is_rsa { 0x0001_u16 } else { 0x0023 }.to_be_bytes().to_vec();
        public.extend(0x000B_u16.to_be_bytes());
        public.extend(self.attributes.to_be_bytes());
        public.extend(sized(if self.decrypts() { &POLICY_A } else { &[] }));
        if self.decrypts() {
            // AES-128 in CFB mode protects children; no scheme.
            public.extend([0x00, 0x06, 0x00, 0x80, 0x00, 0x43, 0x00, 0x10]);
        } else {
            let scheme: u16 = match self.private {
                Private::RsaSsa(_) => 0x0014,
                Private::RsaPss(..) => 0x0016,
                Private::P256(_) | Private::P384(_) => 0x0018,
            };
            public.extend([0x00, 0x10]);
            public.extend(scheme.to_be_bytes());
            public.extend(self.hash().number().to_be_bytes());
        }
        match &self.private {
            Private::RsaSsa(key) | Private::RsaPss(key, _) => {
                public.extend([0x08, 0x00, 0, 0, 0, 0]);
                public.extend(sized(&key.n_bytes()));
            }
            Private::P256(key) => {
                let point = key.public_key().to_sec1_point(false);
                public.extend([0x00, 0x03, 0x00, 0x10]);
                public.extend([sized(point.x().unwrap()), sized(point.y().unwrap())].concat());
            }
            Private::P384(key) => {
                let point = key.public_key().to_sec1_point(false);
                public.extend([0x00, 0x04, 0x00, 0x10]);
                public.extend([sized(point.x().unwrap()), sized(point.y().unwrap())].concat());
            }
        }
        public
    }

    /// The object's name.
    pub fn name(&self) -> Vec<u8> {
        [&[0x00, 0x0B], Sha256::digest(self.public()).as_slice()].concat()
    }

    /// TPMT_SIGNATURE over a message.
    pub fn sign(&self, hash: Hash, message: &[u8]) -> Vec<u8> {
        let digest = hash.digest(message);
        let mut random = UnwrapErr(SysRng);
        let (scheme, signature): (u16, Vec<u8>) = match &self.private {
            Private::RsaSsa(key) => {
                let padding = match hash {
                    Hash::Sha256 => Pkcs1v15Sign::new::<Sha256>(),
                    Hash::Sha384 => Pkcs1v15Sign::new::<Sha384>(),
                };
                (0x0014, sized(&key.sign(padding, &digest).unwrap()))
            }
            Private::RsaPss(key, salt) => {
                let padding = Pss::<Sha256>::new_with_salt(*salt);
                (0x0016, sized(&key.sign_with_rng(&mut random, padding, &digest).unwrap()))
            }
            Private::P256(key) => {
                let signature: p256::ecdsa::Signature =
                    p256::ecdsa::SigningKey::from(key).sign_prehash(&digest).unwrap();
                let (r, s) = signature.split_bytes();
                (0x0018, [sized(&r), sized(&s)].concat())
            }
            Private::P384(key) => {
                let signature: p384::ecdsa::Signature =
                    p384::ecdsa::SigningKey::from(key).sign_prehash(&digest).unwrap();
                let (r, s) = signature.split_bytes();
                (0x0018, [sized(&r), sized(&s)].concat())
            }
        };
        [&scheme.to_be_bytes()[..], &hash.number().to_be_bytes(), &signature].concat()
    }

    /// TPM2_ActivateCredential with this endorsement key, for a loaded object with the name: the secret, if the integrity
    /// value holds.
    pub fn activate(&self, name: &[u8], file: &[u8]) -> Option<Vec<u8>> {
        assert_eq!(file[..8], [0xBA, 0xDC, 0xC0, 0xDE, 0, 0, 0, 1]);
        let (id_object, encrypted_seed) = unsized_pair(&file[8..]);
        let seed = self.open_seed(&encrypted_seed, "IDENTITY")?;
        let opened = unprotect(&seed, name, &id_object)?;
        Some(unsized_one(&opened).0)
    }

    /// TPM2_Import with this parent: TPMT_SENSITIVE of the object whose public area is given.
    pub fn import(&self, public: &[u8], duplicate: &[u8], seed: &[u8]) -> Option<Vec<u8>> {
        let (public, duplicate, seed) =
            (unsized_one(public).0, unsized_one(duplicate).0, unsized_one(seed).0);
        let name = [&[0x00, 0x0B], Sha256::digest(&public).as_slice()].concat();
        let seed = self.open_seed(&seed, "DUPLICATE")?;
        Some(unsized_one(&unprotect(&seed, &name, &duplicate)?).0)
    }

    fn open_seed(&self, encrypted: &[u8], label: &str) -> Option<Vec<u8>> {
        let label = format!("{label}\0").into_bytes();
        match &self.private {
            Private::RsaSsa(key) => key.decrypt(Oaep::<Sha256>::new_with_label(label), encrypted).ok(),
            Private::P256(key) => {
                let (x, y) = unsized_pair(encrypted);
                let point = [&[4][..], &x, &y].concat();
                let point = p256::Sec1Point::from_bytes(point).unwrap();
                let theirs = Option::<p256::PublicKey>::from(p256::PublicKey::from_sec1_point(&point))?;
                let shared = p256::ecdh::diffie_hellman(key.to_nonzero_scalar(), theirs.as_affine());
                let ours = key.public_key().to_sec1_point(false);
                let mut hash = Sha256::new().chain_update(1_u32.to_be_bytes());
                hash.update(shared.raw_secret_bytes());
                hash.update(&label);
                hash.update(&x);
                hash.update(ours.x().unwrap());
                Some(hash.finalize().to_vec())
            }
            Private::RsaPss(..) | Private::P384(_) => None,
        }
    }
}

fn kdf_a(seed: &[u8], label: &str, context: &[u8], bits: u32) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(seed).unwrap();
    mac.update(&1_u32.to_be_bytes());
    mac.update(label.as_bytes());
    mac.update(&[0]);
    mac.update(context);
    mac.update(&bits.to_be_bytes());
    mac.finalize().into_bytes()[..bits as usize / 8].to_vec()
}

fn unprotect(seed: &[u8], name: &[u8], protected: &[u8]) -> Option<Vec<u8>> {
    let (integrity, mut encrypted) = unsized_one(protected);
    let mut mac = Hmac::<Sha256>::new_from_slice(&kdf_a(seed, "INTEGRITY", &[], 256)).unwrap();
    mac.update(&encrypted);
    mac.update(name);
    if mac.finalize().into_bytes().as_slice() != integrity {
        return None;
    }
    let key = kdf_a(seed, "STORAGE", name, 128);
    cfb_mode::Decryptor::<Aes128>::new_from_slices(&key, &[0; 16]).unwrap().decrypt(&mut encrypted);
    Some(encrypted)
}

/// A TPM2B.
pub fn sized(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes(), bytes].concat()
}

/// The content of a TPM2B, and what follows it.
pub fn unsized_one(bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let length = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    (bytes[2..2 + length].to_vec(), bytes[2 + length..].to_vec())
}

fn unsized_pair(bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (first, rest) = unsized_one(bytes);
    (first, unsized_one(&rest).0)
}

/// A quote before its signature.
pub struct QuoteParts {
    pub message: Vec<u8>,
    pub values: Vec<u8>,
}

/// What was measured.
#[derive(Clone)]
pub struct Log {
    /// PCR, event type, what was measured.
    pub events: Vec<(u32, u32, Vec<u8>)>,
    /// The locality of the start, if the log says it.
    pub locality: Option<u8>,
}

impl Log {
    /// Firmware, kernel, initrd and command line, as VMPL0 measures them; then the separators.
    pub fn of_direct_boot(command_line: &str) -> Self {
        let event = |pcr, kind, data: &[u8]| (pcr, kind, data.to_vec());
        let mut events = vec![
            event(0, 0x8000_0008, b"firmware"),
            event(4, 0x8000_0003, b"kernel"),
            event(8, 0x0000_000D, command_line.as_bytes()),
            event(9, 0x0000_000D, b"initrd"),
        ];
        events.extend((0..8).map(|pcr| event(pcr, 0x0000_0004, &[0; 4])));
        Self { events, locality: None }
    }

    /// The log's bytes, with a SHA-1, a SHA-256 and a SHA-384 bank.
    pub fn bytes(&self) -> Vec<u8> {
        self.bytes_of(&[0x04, 0x0B, 0x0C])
    }

    /// The same with these banks.
    pub fn bytes_of(&self, banks: &[u16]) -> Vec<u8> {
        let mut identification = b"Spec ID Event03\0".to_vec();
        identification.extend([0, 0, 0, 0, 0, 2, 0, 2]);
        identification.extend((banks.len() as u32).to_le_bytes());
        for bank in banks {
            identification.extend(bank.to_le_bytes());
            identification.extend((Self::digest(*bank, &[]).len() as u16).to_le_bytes());
        }
        identification.push(0);
        let mut log = [0_u32.to_le_bytes(), 3_u32.to_le_bytes()].concat();
        log.extend([0; 20]);
        log.extend((identification.len() as u32).to_le_bytes());
        log.extend(identification);
        if let Some(locality) = self.locality {
            let data = [&b"StartupLocality\0"[..], &[locality]].concat();
            log.extend(Self::entry(banks, 0, 3, &data));
        }
        for (pcr, kind, data) in &self.events {
            log.extend(Self::entry(banks, *pcr, *kind, data));
        }
        log
    }

    /// What a bank of the log has for an event; nobody looks at SHA-1.
    fn digest(bank: u16, data: &[u8]) -> Vec<u8> {
        match bank {
            0x0B => Sha256::digest(data).to_vec(),
            0x0C => Sha384::digest(data).to_vec(),
            _ => vec![0x51; 20],
        }
    }

    fn entry(banks: &[u16], pcr: u32, kind: u32, data: &[u8]) -> Vec<u8> {
        let mut entry = [pcr.to_le_bytes(), kind.to_le_bytes(), (banks.len() as u32).to_le_bytes()].concat();
        for bank in banks {
            entry.extend(bank.to_le_bytes());
            entry.extend(Self::digest(*bank, data));
        }
        entry.extend((data.len() as u32).to_le_bytes());
        entry.extend(data);
        entry
    }

    /// What the TPM's PCRs are after all of it.
    pub fn pcrs(&self) -> BTreeMap<u32, Vec<u8>> {
        let mut pcrs: BTreeMap<u32, Vec<u8>> = (0..24).map(|index| (index, vec![0; 32])).collect();
        if let Some(locality) = self.locality {
            pcrs.get_mut(&0).unwrap()[31] = locality;
        }
        for (pcr, _, data) in &self.events {
            let value = pcrs.get_mut(pcr).unwrap();
            *value =
                Sha256::new().chain_update(&*value).chain_update(Sha256::digest(data)).finalize().to_vec();
        }
        pcrs
    }

    /// TPMS_ATTEST over the SHA-256 bank, and the values.
    pub fn quote(&self, nonce: &[u8], hash: Hash, indices: &[u32]) -> QuoteParts {
        let pcrs = self.pcrs();
        let values = indices.iter().flat_map(|index| pcrs[index].clone()).collect();
        Self::quote_of(0x000B, values, nonce, hash, indices)
    }

    /// TPMS_ATTEST over these values of a bank.
    pub fn quote_of(bank: u16, values: Vec<u8>, nonce: &[u8], hash: Hash, indices: &[u32]) -> QuoteParts {
        let mut bitmap = [0_u8; 3];
        for index in indices {
            bitmap[*index as usize / 8] |= 1 << (index % 8);
        }
        let mut message = vec![0xFF, 0x54, 0x43, 0x47, 0x80, 0x18];
        message.extend(sized(&[0x00, 0x0B, 0xEE]));
        message.extend(sized(nonce));
        message.extend(77_000_u64.to_be_bytes());
        message.extend([0, 0, 0, 1, 0, 0, 0, 0, 1]);
        message.extend(0x2026_1121_u64.to_be_bytes());
        message.extend([0, 0, 0, 1]);
        message.extend(bank.to_be_bytes());
        message.push(3);
        message.extend(bitmap);
        message.extend(sized(&hash.digest(&values)));
        QuoteParts { message, values }
    }
}
