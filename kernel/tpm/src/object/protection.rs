//! Sensitive areas outside the TPM: encrypted under the parent's seed and authenticated together with the Name.
//!
//! Part 1, section on protected storage: an outer wrap of AES-CFB and HMAC for each private blob, credential and duplicate.

use alloc::vec::Vec;

use super::Object;
use crate::crypto::hash::{Digest, HashAlgorithm};
use crate::crypto::hmac::{Hmac, hmac};
use crate::crypto::kdf::kdfa;
use crate::crypto::random::Random;
use crate::crypto::symmetric::{Aes, CipherMode};
use crate::response_code::ResponseCode;
use crate::structures::algorithms::BlockCipher;
use crate::structures::buffers::Name;
use crate::structures::limits::{MAX_DIGEST_BYTES, MAX_SYMMETRIC_BLOCK_BYTES};
use crate::structures::sensitive::Sensitive;
use crate::wire::{Reader, Result, Secret, equal_in_constant_time, put_sized, put_sized_structure};

/// The keys of an outer wrap.
#[derive(Debug, Clone, Copy)]
pub struct Protector<'a> {
    /// The name algorithm of the protecting object.
    pub hash: HashAlgorithm,
    /// Its seed, or the seed that was exchanged for a credential or a duplicate.
    pub seed: &'a [u8],
    pub cipher: BlockCipher,
}

impl<'a> Protector<'a> {
    /// A storage parent protecting its children: TPM_RC_TYPE when it is none.
    pub fn parent(parent: &'a Object) -> Result<Self> {
        let sensitive = parent.sensitive.as_ref().ok_or(ResponseCode::TYPE)?;
        Self::with_seed(parent, sensitive.seed.as_bytes())
    }

    /// The algorithms of a storage key with a seed from elsewhere.
    pub fn with_seed(key: &Object, seed: &'a [u8]) -> Result<Self> {
        let hash = key.public.name_hash.ok_or(ResponseCode::TYPE)?;
        let cipher = key.public.parameters.symmetric().ok_or(ResponseCode::TYPE)?;
        Ok(Self { hash, seed, cipher })
    }

    fn key(&self, name: &Name) -> Result<Aes> {
        let bits = u32::from(self.cipher.key_bits);
        let key = kdfa(self.hash, self.seed, b"STORAGE", name.as_bytes(), &[], bits);
        Aes::new(&key).ok_or(ResponseCode::FAILURE)
    }

    fn integrity(&self, name: &Name, encrypted: &[u8]) -> Digest {
        let bits = u32::try_from(self.hash.digest_bytes()).unwrap_or(0).saturating_mul(8);
        let key = kdfa(self.hash, self.seed, b"INTEGRITY", &[], &[], bits);
        hmac(self.hash, &key, &[encrypted, name.as_bytes()])
    }

    /// Wraps `inner`: integrity, then, with `random`, an IV, then the ciphertext.
    pub fn wrap(&self, name: &Name, inner: &[u8], random: Option<&mut dyn Random>) -> Result<Vec<u8>> {
        let mut encrypted = Vec::new();
        let mut iv = [0; MAX_SYMMETRIC_BLOCK_BYTES];
        if let Some(random) = random {
            random.fill(&mut iv);
            put_sized(&mut encrypted, &iv);
        }
        let mut body = Secret::from(inner);
        let key = self.key(name)?;
        key.encrypt(CipherMode::Cfb, &mut iv, body.as_mut_bytes()).map_err(|_| ResponseCode::FAILURE)?;
        encrypted.extend_from_slice(body.as_bytes());
        let mut wrapped = Vec::new();
        put_sized(&mut wrapped, self.integrity(name, &encrypted).as_bytes());
        wrapped.extend_from_slice(&encrypted);
        Ok(wrapped)
    }

    /// Undoes [`Self::wrap`]: TPM_RC_INTEGRITY when anything was changed.
    pub fn unwrap(&self, name: &Name, wrapped: &[u8], with_iv: bool) -> Result<Secret> {
        let mut reader = Reader::new(wrapped);
        let integrity = reader.sized(MAX_DIGEST_BYTES)?;
        if !equal_in_constant_time(integrity, self.integrity(name, reader.rest()).as_bytes()) {
            return Err(ResponseCode::INTEGRITY);
        }
        let mut iv = [0; MAX_SYMMETRIC_BLOCK_BYTES];
        if with_iv {
            let given = reader.sized(MAX_SYMMETRIC_BLOCK_BYTES)?;
            iv = given.try_into().map_err(|_| ResponseCode::VALUE)?;
        }
        let mut body = Secret::from(reader.rest());
        let key = self.key(name)?;
        key.decrypt(CipherMode::Cfb, &mut iv, body.as_mut_bytes()).map_err(|_| ResponseCode::FAILURE)?;
        Ok(body)
    }

    /// TPM2B_PRIVATE of a child, without its size field.
    pub fn wrap_sensitive(
        &self,
        name: &Name,
        name_hash: HashAlgorithm,
        sensitive: &Sensitive,
        random: &mut dyn Random,
    ) -> Result<Vec<u8>> {
        let inner = sized_sensitive(sensitive, name_hash);
        self.wrap(name, inner.as_bytes(), Some(random))
    }

    /// The sensitive area of a child.
    pub fn unwrap_sensitive(&self, name: &Name, private: &[u8]) -> Result<Sensitive> {
        let inner = self.unwrap(name, private, true)?;
        read_sized_sensitive(inner.as_bytes())
    }
}

/// TPM2B_SENSITIVE with its authorization value padded to the name algorithm's digest.
pub fn sized_sensitive(sensitive: &Sensitive, name_hash: HashAlgorithm) -> Secret {
    let mut padded = sensitive.clone();
    padded.auth = sensitive.auth.padded(name_hash.digest_bytes());
    let mut out = Vec::new();
    put_sized_structure(&mut out, &padded);
    Secret::from(out)
}

/// Reads TPM2B_SENSITIVE that must fill `bytes`: TPM_RC_SIZE otherwise.
pub fn read_sized_sensitive(bytes: &[u8]) -> Result<Sensitive> {
    let mut reader = Reader::new(bytes);
    let size = usize::from(reader.read::<u16>()?);
    if size != reader.rest().len() {
        return Err(ResponseCode::SIZE);
    }
    let sensitive = reader.read()?;
    if reader.is_empty() { Ok(sensitive) } else { Err(ResponseCode::SIZE) }
}

/// Whether the object's public digest is the one of its secret: symmetric and keyed hash objects bind them by a hash of seed and
/// secret.
pub fn obfuscated_digest(hash: HashAlgorithm, seed: &Secret, secret: &Secret) -> Digest {
    crate::crypto::hash::hash(hash, &[seed.as_bytes(), secret.as_bytes()])
}

/// The HMAC of a ticket under a proof: Part 2, section 10.7.
pub fn ticket_digest(hash: HashAlgorithm, proof: &[u8], parts: &[&[u8]]) -> Digest {
    let mut mac = Hmac::new(hash, proof);
    for part in parts {
        mac.update(part);
    }
    mac.finish()
}
