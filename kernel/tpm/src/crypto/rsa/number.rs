//! The arithmetic of one RSA key size, over crypto-bigint's integers of fixed size: `FULL` words for the modulus, `HALF`
//! as many for each prime.
//!
//! Integers that depend on a prime are handled in constant time, but for [`super::prime`].

use alloc::boxed::Box;
use alloc::vec::Vec;

use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{CtLt, Odd, U64, Uint};
use zeroize::{Zeroize, Zeroizing};

use super::RsaFailure;
use super::prime::{self, Search};
use crate::crypto::kdf::SecretBytes;
use crate::crypto::random::Random;

/// Bytes of a word.
const WORD_BYTES: usize = 8;

/// A private key: both primes, and what the Chinese remainder theorem needs.
pub(super) struct Halves<const HALF: usize, const FULL: usize> {
    exponent: u32,
    n: FixedMontyParams<FULL>,
    p: FixedMontyParams<HALF>,
    q: FixedMontyParams<HALF>,
    /// The inverse of the exponent, modulo p - 1.
    d_p: Uint<HALF>,
    /// The inverse of the exponent, modulo q - 1.
    d_q: Uint<HALF>,
    /// The inverse of q, modulo p, in Montgomery form.
    q_inverse: Uint<HALF>,
}

impl<const HALF: usize, const FULL: usize> Halves<HALF, FULL> {
    /// A new key.
    pub fn generate(exponent: u32, random: &mut dyn Random) -> Result<Box<Self>, RsaFailure> {
        let search = Search::new(exponent);
        let p = Zeroizing::new(search.find::<HALF>(random));
        loop {
            let q = Zeroizing::new(search.find::<HALF>(random));
            if !prime::are_close(&p, &q) {
                let (low, high) = p.widening_mul(&*q);
                let n = Odd::new(join(&low, &high)).into_option().ok_or(RsaFailure::Fault)?;
                return Self::new(exponent, n, &p, &q).ok_or(RsaFailure::Fault);
            }
        }
    }

    /// The key of a modulus and one of its primes, each as long as its type. `None` when they do not belong together.
    pub fn from_prime(modulus: &[u8], exponent: u32, prime: &[u8]) -> Option<Box<Self>> {
        let n = Odd::new(Uint::<FULL>::from_be_slice(modulus)).into_option()?;
        let p = Zeroizing::new(Uint::<HALF>::from_be_slice(prime));
        let (quotient, remainder) = n.as_ref().div_rem(&p.to_nz().into_option()?);
        let (q, beyond) = split::<FULL, HALF>(&quotient);
        let (q, whole) = (Zeroizing::new(q), remainder == Uint::ZERO && beyond == Uint::ZERO);
        whole.then(|| Self::new(exponent, n, &p, &q)).flatten()
    }

    fn new(exponent: u32, n: Odd<Uint<FULL>>, p: &Uint<HALF>, q: &Uint<HALF>) -> Option<Box<Self>> {
        let p_parameters = FixedMontyParams::new(Odd::new(*p).into_option()?);
        let q_modulo_p = FixedMontyForm::new(q, &p_parameters);
        Some(Box::new(Self {
            exponent,
            n: FixedMontyParams::new_vartime(n),
            p: p_parameters,
            q: FixedMontyParams::new(Odd::new(*q).into_option()?),
            d_p: invert_exponent(exponent, p)?,
            d_q: invert_exponent(exponent, q)?,
            q_inverse: q_modulo_p.invert().into_option()?.to_montgomery(),
        }))
    }

    /// The modulus, big-endian.
    pub fn modulus(&self) -> Vec<u8> {
        self.n.modulus().as_ref().to_be_bytes().as_ref().to_vec()
    }

    /// The first prime, big-endian.
    pub fn prime(&self) -> SecretBytes {
        Zeroizing::new(self.p.modulus().as_ref().to_be_bytes().as_ref().to_vec())
    }

    /// Raises `block`, as long as the modulus, to the private exponent.
    pub fn apply_private(&self, block: &mut [u8], random: &mut dyn Random) -> Result<(), RsaFailure> {
        let input = Uint::<FULL>::from_be_slice(block);
        if !input.ct_lt(self.n.modulus().as_ref()).to_bool() {
            return Err(RsaFailure::Value);
        }
        let (factor, unblind) = self.blinding(random);
        let blinded = FixedMontyForm::new(&input, &self.n).mul(&factor);
        let result = self.exponentiate(&blinded.retrieve());
        let result = FixedMontyForm::new(&result, &self.n);
        // A result that does not encrypt to the input would give a prime away (Boneh, DeMillo, Lipton).
        if power(&result, self.exponent) != blinded {
            return Err(RsaFailure::Fault);
        }
        let mut output = Zeroizing::new(result.mul(&unblind).retrieve());
        block.copy_from_slice(output.to_be_bytes().as_ref());
        output.zeroize();
        Ok(())
    }

    /// A random number raised to the public exponent, and its inverse without the exponent.
    fn blinding(&self, random: &mut dyn Random) -> (FixedMontyForm<FULL>, FixedMontyForm<FULL>) {
        loop {
            let factor = FixedMontyForm::new(&random_number(random), &self.n);
            // Only a multiple of a prime has no inverse.
            if let Some(inverse) = factor.invert().into_option() {
                return (power(&factor, self.exponent), inverse);
            }
        }
    }

    /// What a bit flip in memory would do.
    #[cfg(test)]
    pub fn break_for_test(&mut self) {
        self.d_p = self.d_p.wrapping_sub(&Uint::ONE);
    }

    /// Garner's recombination of the results modulo p and q (RFC 8017, section 5.1.2).
    fn exponentiate(&self, input: &Uint<FULL>) -> Uint<FULL> {
        let of_p = reduce(input, &self.p).pow(&self.d_p);
        let of_q = Zeroizing::new(reduce(input, &self.q).pow(&self.d_q).retrieve());
        let difference = of_p.sub(&FixedMontyForm::new(&of_q, &self.p));
        let q_inverse = FixedMontyForm::from_montgomery(self.q_inverse, &self.p);
        let factor = Zeroizing::new(difference.mul(&q_inverse).retrieve());
        let (low, high) = factor.widening_mul(self.q.modulus().as_ref());
        join(&low, &high).wrapping_add(&join(&of_q, &Uint::ZERO))
    }
}

impl<const HALF: usize, const FULL: usize> Drop for Halves<HALF, FULL> {
    fn drop(&mut self) {
        self.p.zeroize();
        self.q.zeroize();
        self.d_p.zeroize();
        self.d_q.zeroize();
        self.q_inverse.zeroize();
    }
}

/// Raises `block`, as long as the modulus, to a public exponent. `None` when it is not below the modulus.
pub(super) fn apply_public<const FULL: usize>(modulus: &[u8], exponent: u32, block: &mut [u8]) -> Option<()> {
    let modulus = Odd::new(Uint::<FULL>::from_be_slice(modulus)).into_option()?;
    let input = Uint::<FULL>::from_be_slice(block);
    if input >= *modulus.as_ref() {
        return None;
    }
    let parameters = FixedMontyParams::new_vartime(modulus);
    let output = power(&FixedMontyForm::new(&input, &parameters), exponent).retrieve();
    block.copy_from_slice(output.to_be_bytes().as_ref());
    Some(())
}

/// `base` to a public exponent that is not zero; the time depends on the exponent.
fn power<const WORDS: usize>(base: &FixedMontyForm<WORDS>, exponent: u32) -> FixedMontyForm<WORDS> {
    let bits = u32::BITS.saturating_sub(exponent.leading_zeros());
    let mut result = *base;
    for bit in (0..bits.saturating_sub(1)).rev() {
        result = result.square();
        if exponent.wrapping_shr(bit) & 1 == 1 {
            result = result.mul(base);
        }
    }
    result
}

/// `input` modulo a prime, through the two halves of its words: the upper one counts 2^(64 * HALF) times.
fn reduce<const HALF: usize, const FULL: usize>(
    input: &Uint<FULL>,
    modulus: &FixedMontyParams<HALF>,
) -> FixedMontyForm<HALF> {
    let (low, high) = split::<FULL, HALF>(input);
    let shift = FixedMontyForm::from_montgomery(*modulus.r2(), modulus);
    FixedMontyForm::new(&high, modulus).mul(&shift).add(&FixedMontyForm::new(&low, modulus))
}

/// The inverse of the public exponent modulo `prime` - 1.
///
/// With k the inverse of -(prime - 1) modulo e, e divides 1 + k * (prime - 1); the quotient is the inverse, and an exact
/// quotient by an odd number can be had modulo a power of two.
fn invert_exponent<const HALF: usize>(exponent: u32, prime: &Uint<HALF>) -> Option<Uint<HALF>> {
    let odd = Odd::new(U64::from_u32(exponent)).into_option()?;
    let order = Zeroizing::new(prime.wrapping_sub(&Uint::ONE));
    let residue = order.rem(odd.as_nz_ref());
    let factor = odd.as_ref().wrapping_sub(&residue.invert_odd_mod(&odd).into_option()?);
    let multiple = order.wrapping_mul(&factor).wrapping_add(&Uint::ONE);
    let inverse = Uint::<HALF>::from_u32(exponent).invert_mod2k_vartime(Uint::<HALF>::BITS);
    Some(multiple.wrapping_mul(&inverse.into_option()?))
}

/// As many random bits as the type has.
pub(super) fn random_number<const WORDS: usize>(random: &mut dyn Random) -> Uint<WORDS> {
    let mut bytes = Zeroizing::new(alloc::vec![0; WORDS.saturating_mul(WORD_BYTES)]);
    random.fill(&mut bytes);
    Uint::from_be_slice(&bytes)
}

fn join<const HALF: usize, const FULL: usize>(low: &Uint<HALF>, high: &Uint<HALF>) -> Uint<FULL> {
    let mut words = [0; FULL];
    let halves = low.as_words().iter().chain(high.as_words());
    words.iter_mut().zip(halves).for_each(|(to, from)| *to = *from);
    Uint::from_words(words)
}

fn split<const FULL: usize, const HALF: usize>(full: &Uint<FULL>) -> (Uint<HALF>, Uint<HALF>) {
    let (mut low, mut high) = ([0; HALF], [0; HALF]);
    let halves = low.iter_mut().chain(&mut high);
    halves.zip(full.as_words()).for_each(|(to, from)| *to = *from);
    (Uint::from_words(low), Uint::from_words(high))
}
