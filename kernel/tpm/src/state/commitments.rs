//! Commitments of split signing: what TPM2_Commit and TPM2_EC_Ephemeral leave for the command that uses them up.
//!
//! Part 1, annex C.2: nothing is kept of an ephemeral key but the number of its commitment; the scalar is derived again.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::crypto::ecc::{self, EccCurve};
use crate::crypto::kdf::SecretBytes;
use crate::crypto::random::Random;
use crate::object::Object;
use crate::structures::public::Parameters;
use crate::wire::{Marshal, Reader, Result, Secret, Unmarshal};

/// How many commitments can be open; the oldest one makes way.
const MOST_OPEN: usize = crate::structures::limits::SPLIT_SIGNINGS;
const NONCE_BYTES: usize = 64;

/// The open commitments.
#[derive(Debug, Clone, Default)]
pub struct Commitments {
    nonce: Secret,
    counter: u64,
    /// By the number that the caller got, which is the low end of the counter.
    open: BTreeMap<u16, u64>,
}

impl Commitments {
    /// A TPM reset: a new nonce, and no commitment is open.
    pub fn renew(&mut self, random: &mut impl Random) {
        let mut nonce = Secret::zeroed(NONCE_BYTES);
        random.fill(nonce.as_mut_bytes());
        *self = Self { nonce, ..Self::default() };
    }

    /// The scalar of the commitment that would be made next.
    pub fn next_scalar(&self, curve: EccCurve, name: &[u8]) -> Option<SecretBytes> {
        ecc::commit_scalar(curve, self.nonce.as_bytes(), name, self.counter)
    }

    /// Makes the next commitment; its number.
    pub fn commit(&mut self) -> u16 {
        let number = (self.counter & u64::from(u16::MAX)) as u16;
        if self.open.len() >= MOST_OPEN {
            let oldest = self.open.iter().min_by_key(|(_, counter)| **counter).map(|(number, _)| *number);
            oldest.map(|oldest| self.open.remove(&oldest));
        }
        self.open.insert(number, self.counter);
        self.counter = self.counter.wrapping_add(1);
        number
    }

    /// The scalar of an open commitment that was made with this name on this curve.
    pub fn scalar_of(&self, number: u16, curve: EccCurve, name: &[u8]) -> Option<SecretBytes> {
        let counter = self.open.get(&number)?;
        ecc::commit_scalar(curve, self.nonce.as_bytes(), name, *counter)
    }

    /// The scalar of an open commitment of a key.
    pub fn scalar(&self, key: &Object, number: u16) -> Option<SecretBytes> {
        let Parameters::Ecc(parameters) = &key.public.parameters else { return None };
        self.scalar_of(number, parameters.curve, key.name.as_bytes())
    }

    /// A commitment was used: nobody can use it again.
    pub fn end(&mut self, number: u16) {
        self.open.remove(&number);
    }
}

impl Marshal for Commitments {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.nonce.marshal(out);
        self.counter.marshal(out);
        u32::try_from(self.open.len()).unwrap_or(u32::MAX).marshal(out);
        self.open.values().for_each(|counter| counter.marshal(out));
    }
}

impl Unmarshal for Commitments {
    fn unmarshal(reader: &mut Reader<'_>) -> Result<Self> {
        let nonce = Secret::from(reader.sized(NONCE_BYTES)?);
        let counter = reader.read()?;
        let mut open = BTreeMap::new();
        for _ in 0..reader.read::<u32>()? {
            let counter: u64 = reader.read()?;
            open.insert((counter & u64::from(u16::MAX)) as u16, counter);
        }
        Ok(Self { nonce, counter, open })
    }
}
