//! The arithmetic of one RSA key size: `FULL` words for the modulus, `HALF` as many for each prime.
//!
//! Everything that depends on a prime is done in constant time, but for the search in [`super::prime`]. No inverse is
//! calculated: those that blinding and the Chinese remainder theorem need come out of the exponentiations, with smaller
//! exponents (`exponentiate`).

use alloc::boxed::Box;
use alloc::vec::Vec;

use crypto_bigint::{CtLt, Odd, U64, Uint};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::RsaFailure;
use super::montgomery::{Modulus, Residue};
use super::prime;
use crate::crypto::kdf::SecretBytes;
use crate::crypto::random::Random;

/// Bytes of a word.
const WORD_BYTES: usize = 8;

/// A private key.
#[derive(ZeroizeOnDrop)]
pub(super) struct Halves<const HALF: usize, const FULL: usize> {
    exponent: u32,
    n: Modulus<FULL>,
    n_radix: Residue<FULL>,
    p: Half<HALF>,
    q: Half<HALF>,
}

/// A prime and its exponent.
#[derive(Zeroize, ZeroizeOnDrop)]
struct Half<const WORDS: usize> {
    prime: Modulus<WORDS>,
    radix: Residue<WORDS>,
    /// The inverse of the public exponent, modulo the prime less one, itself less one.
    exponent: Uint<WORDS>,
}

impl<const HALF: usize, const FULL: usize> Halves<HALF, FULL> {
    /// A new key.
    pub fn generate(exponent: u32, random: &mut dyn Random) -> Result<Box<Self>, RsaFailure> {
        let primes = prime::find_pair::<HALF>(exponent, random);
        let [p, q] = &*primes;
        let (low, high) = p.widening_mul(q);
        Self::new(exponent, &join(&low, &high), p, q).ok_or(RsaFailure::Fault)
    }

    /// The key of a modulus and one of its primes, each as long as its type. `None` when they do not belong together.
    pub fn from_prime(modulus: &[u8], exponent: u32, prime: &[u8]) -> Option<Box<Self>> {
        let n = Uint::<FULL>::from_be_slice(modulus);
        let p = Zeroizing::new(Uint::<HALF>::from_be_slice(prime));
        // An exact quotient can be had from the lower half alone; whether it is exact, the product tells.
        let (low, _) = split::<FULL, HALF>(&n);
        let inverse = Zeroizing::new(p.invert_mod2k(Uint::<HALF>::BITS).into_option()?);
        let q = Zeroizing::new(low.wrapping_mul(&*inverse));
        let (low, high) = p.widening_mul(&*q);
        (join::<HALF, FULL>(&low, &high) == n && *p != *q).then(|| Self::new(exponent, &n, &p, &q)).flatten()
    }

    fn new(exponent: u32, n: &Uint<FULL>, p: &Uint<HALF>, q: &Uint<HALF>) -> Option<Box<Self>> {
        let (n, p, q) = (Modulus::new(n)?, Half::new(exponent, p)?, Half::new(exponent, q)?);
        Some(Box::new(Self { exponent, n_radix: n.radix(), n, p, q }))
    }

    /// The modulus, big-endian.
    pub fn modulus(&self) -> Vec<u8> {
        self.n.number().to_be_bytes().as_ref().to_vec()
    }

    /// The first prime, big-endian.
    pub fn prime(&self) -> SecretBytes {
        let mut bytes = self.p.prime.number().to_be_bytes();
        let prime = Zeroizing::new(bytes.as_ref().to_vec());
        bytes.zeroize();
        prime
    }

    /// Whether both factors of the modulus are primes. A key from elsewhere may have others; nothing that it gives is right
    /// then.
    pub fn has_primes(&self) -> bool {
        prime::is_prime(&self.p.prime.number()) && prime::is_prime(&self.q.prime.number())
    }

    /// Raises `block`, as long as the modulus, to the private exponent d.
    ///
    /// A random number r blinds: (c * r^e)^(d - 1) is c^(d - 1) * r^(1 - e), which times c * r^(e - 1) is the result.
    pub fn apply_private(&self, block: &mut [u8], random: &mut dyn Random) -> Result<(), RsaFailure> {
        let input = Uint::<FULL>::from_be_slice(block);
        if !input.ct_lt(&self.n.number()).to_bool() {
            return Err(RsaFailure::Value);
        }
        let input = self.n.enter(&input, &self.n_radix);
        let factor = Zeroizing::new(random_number(random));
        let factor = Zeroizing::new(self.n.enter(&factor, &self.n_radix));
        let unblind = Zeroizing::new(self.n.power_by_public(&factor, self.exponent.saturating_sub(1)));
        let unblind = Zeroizing::new(self.n.multiply(&unblind, &input));
        let blinded = Zeroizing::new(self.n.leave(&self.n.multiply(&unblind, &factor)));
        let power = Zeroizing::new(self.exponentiate(&blinded));
        let result = Zeroizing::new(self.n.multiply(&self.n.enter(&power, &self.n_radix), &unblind));
        // A result that does not encrypt to the input would give a prime away (Boneh, DeMillo, Lipton).
        if self.n.power_by_public(&result, self.exponent) != input {
            return Err(RsaFailure::Fault);
        }
        let output = Zeroizing::new(self.n.leave(&result));
        let mut bytes = output.to_be_bytes();
        block.copy_from_slice(bytes.as_ref());
        bytes.zeroize();
        Ok(())
    }

    /// What a bit flip in memory would do.
    #[cfg(test)]
    pub fn break_for_test(&mut self) {
        self.p.exponent = self.p.exponent.wrapping_sub(&Uint::ONE);
    }

    /// `input` to the power of d - 1, by the Chinese remainder theorem: q times the power divided by q, modulo p, and the same
    /// with p and q exchanged (Gauss; RFC 8017, section 5.1.2, has Garner's form).
    fn exponentiate(&self, input: &Uint<FULL>) -> Uint<FULL> {
        let of_p = self.p.power_over::<FULL>(input, &self.q.prime.number(), self.exponent);
        let of_q = self.q.power_over::<FULL>(input, &self.p.prime.number(), self.exponent);
        let part = |factor: &Uint<HALF>, prime: &Modulus<HALF>| {
            let (low, high) = factor.widening_mul(&prime.number());
            Zeroizing::new(join::<HALF, FULL>(&low, &high))
        };
        let (first, second) = (part(&of_p, &self.q.prime), part(&of_q, &self.p.prime));
        self.n.add_numbers(&first, &second)
    }
}

impl<const WORDS: usize> Half<WORDS> {
    fn new(public_exponent: u32, prime: &Uint<WORDS>) -> Option<Self> {
        let exponent = invert_exponent(public_exponent, prime)?.wrapping_sub(&Uint::ONE);
        let prime = Modulus::new(prime)?;
        Some(Self { radix: prime.radix(), prime, exponent })
    }

    /// `input` to the power of d - 1, divided by the other prime, modulo this one.
    ///
    /// With e * d = 1 for exponents: (input * other^e)^(d - 1) is input^(d - 1) * other^(1 - e), which times
    /// other^(e - 2) has the inverse of the other prime as its factor.
    fn power_over<const FULL: usize>(
        &self,
        input: &Uint<FULL>,
        other: &Uint<WORDS>,
        public_exponent: u32,
    ) -> Zeroizing<Uint<WORDS>> {
        let prime = &self.prime;
        let other = Zeroizing::new(prime.enter(other, &self.radix));
        let correction = Zeroizing::new(prime.power_by_public(&other, public_exponent.saturating_sub(2)));
        let to_exponent = Zeroizing::new(prime.multiply(&correction, &prime.square(&other)));
        let base = Zeroizing::new(prime.multiply(&self.reduce(input), &to_exponent));
        let power = Zeroizing::new(prime.power(&base, &self.exponent));
        Zeroizing::new(prime.leave(&prime.multiply(&power, &correction)))
    }

    /// `input` modulo the prime, through the two halves of its words: the upper one counts as often as the radix says.
    fn reduce<const FULL: usize>(&self, input: &Uint<FULL>) -> Residue<WORDS> {
        let (low, high) = split::<FULL, WORDS>(input);
        let high = self.prime.multiply(&self.prime.enter(&high, &self.radix), &self.radix);
        self.prime.add(&high, &self.prime.enter(&low, &self.radix))
    }
}

/// Raises `block`, as long as the modulus, to a public exponent. `None` when it is not below the modulus.
pub(super) fn apply_public<const FULL: usize>(modulus: &[u8], exponent: u32, block: &mut [u8]) -> Option<()> {
    let modulus = Modulus::new(&Uint::<FULL>::from_be_slice(modulus))?;
    let input = Uint::<FULL>::from_be_slice(block);
    if input >= modulus.number() {
        return None;
    }
    let output = modulus.leave(&modulus.power_by_public(&modulus.enter(&input, &modulus.radix()), exponent));
    block.copy_from_slice(output.to_be_bytes().as_ref());
    Some(())
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
    let multiple = Zeroizing::new(order.wrapping_mul(&factor).wrapping_add(&Uint::ONE));
    let inverse = Uint::<HALF>::from_u32(exponent).invert_mod2k(Uint::<HALF>::BITS);
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
