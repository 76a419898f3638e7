//! The search for the two primes of a key: from a random start upwards, by sieve and Miller-Rabin tests.
//!
//! This is *incremental search* (Brandt and Damgard, "On Generation of Probable Primes by Incremental Search", CRYPTO '92),
//! the method of most libraries. FIPS 186-5, appendix A.1.3, which draws every candidate anew, is another one: a prime behind
//! a long gap is a little likelier here. From that appendix come the conditions on what is found (both first bits set, no
//! factor in common with the exponent, the primes apart within their first hundred bits), and from appendix B.3.1 and table
//! B.1 the tests: five with random bases for 1024 bits, four for more, after one with base two that rejects nearly every
//! composite.
//!
//! A prime is a function of the random bits of its start alone: the first prime of the window of 2^13 odd numbers there that
//! meets the conditions; where one of the two windows has none, or the primes are close, both starts are drawn anew. The
//! bases come from a generator that the candidate seeds. So neither sieve nor tests decide what is found, and can change; what
//! this paragraph says cannot, for keys of the same seed would: golden vectors stand guard.

use crypto_bigint::{Limb, NonZero, Uint};
use zeroize::Zeroizing;

use super::montgomery::{Modulus, Residue};
use super::number::random_number;
use super::sieve::{self, Window};
use crate::crypto::hash::{HashAlgorithm, hash};
use crate::crypto::random::{Drbg, Random};

/// Words of a prime of 1024 bits.
const SHORT_WORDS: usize = 16;

/// Finds two primes for a key with this exponent.
pub(super) fn find_pair<const WORDS: usize>(
    exponent: u32,
    random: &mut dyn Random,
) -> Zeroizing<[Uint<WORDS>; 2]> {
    loop {
        let starts = Zeroizing::new([random_start::<WORDS>(random), random_start::<WORDS>(random)]);
        let windows = sieve::windows(starts.each_ref().map(Uint::as_words));
        let [first, second] = [0, 1].map(|place| {
            let (start, window) = (starts.get(place)?, windows.get(place)?);
            first_prime(start, window, exponent)
        });
        if let (Some(p), Some(q)) = (first, second)
            && !are_close(&p, &q)
        {
            return Zeroizing::new([p, q]);
        }
    }
}

/// The first prime of a window that suits the exponent.
fn first_prime<const WORDS: usize>(
    start: &Uint<WORDS>,
    window: &Window,
    exponent: u32,
) -> Option<Uint<WORDS>> {
    let survivors = (0_u64..).step_by(2).zip(window.iter()).filter(|(_, composite)| !**composite);
    survivors.map(|(offset, _)| start.wrapping_add(&Uint::from_u64(offset))).find(|candidate| {
        has_two_leading_ones(candidate) && suits_exponent(candidate, exponent) && is_prime(candidate)
    })
}

/// Whether an odd number with its first bit set is a prime, as far as Miller-Rabin tests can tell.
pub(super) fn is_prime<const WORDS: usize>(candidate: &Uint<WORDS>) -> bool {
    let Some(test) = MillerRabin::new(candidate) else { return false };
    if !test.passes_base_two() {
        return false;
    }
    let bytes = Zeroizing::new(candidate.to_be_bytes());
    let mut bases = Drbg::instantiate(&hash(HashAlgorithm::Sha512, &[bytes.as_ref()]), b"Miller-Rabin bases");
    let rounds = if WORDS <= SHORT_WORDS { 5 } else { 4 };
    (0..rounds).all(|_| test.passes(&random_number(&mut bases)))
}

/// Whether the exponent has an inverse modulo `candidate` - 1. Key exponents are primes.
fn suits_exponent<const WORDS: usize>(candidate: &Uint<WORDS>, exponent: u32) -> bool {
    let exponent = NonZero::new(Limb::from_u32(exponent)).into_option();
    exponent.is_some_and(|exponent| candidate.rem_limb(exponent) != Limb::ONE)
}

fn random_start<const WORDS: usize>(random: &mut dyn Random) -> Uint<WORDS> {
    let top = Uint::<WORDS>::ONE.wrapping_shl(Uint::<WORDS>::BITS.saturating_sub(1));
    let both = top.bitor(&top.wrapping_shr(1));
    random_number(random).bitor(&both).bitor(&Uint::ONE)
}

/// The window may lead beyond the largest number of so many bits, to small ones.
fn has_two_leading_ones<const WORDS: usize>(candidate: &Uint<WORDS>) -> bool {
    candidate.as_words().last().is_some_and(|word| word.leading_ones() >= 2)
}

/// Whether two primes agree in their first hundred bits (FIPS 186-5, appendix A.1.3, step 5.4).
fn are_close<const WORDS: usize>(p: &Uint<WORDS>, q: &Uint<WORDS>) -> bool {
    let (larger, smaller) = if p > q { (p, q) } else { (q, p) };
    let distance = larger.wrapping_sub(smaller);
    distance.wrapping_shr(Uint::<WORDS>::BITS.saturating_sub(100)) == Uint::ZERO
}

/// Miller-Rabin tests of one candidate n with n - 1 = 2^twos * odd.
pub(super) struct MillerRabin<const WORDS: usize> {
    modulus: Modulus<WORDS>,
    odd: Zeroizing<Uint<WORDS>>,
    twos: u32,
}

impl<const WORDS: usize> MillerRabin<WORDS> {
    pub fn new(candidate: &Uint<WORDS>) -> Option<Self> {
        let even = Zeroizing::new(candidate.wrapping_sub(&Uint::ONE));
        let twos = even.trailing_zeros();
        Some(Self { modulus: Modulus::new(candidate)?, odd: Zeroizing::new(even.wrapping_shr(twos)), twos })
    }

    pub fn passes(&self, base: &Uint<WORDS>) -> bool {
        self.reaches_minus_one(
            self.modulus.power(&self.modulus.enter(base, &self.modulus.radix()), &self.odd),
        )
    }

    /// The test with base two, in two thirds of the time.
    pub fn passes_base_two(&self) -> bool {
        self.reaches_minus_one(self.modulus.power_of_two(&self.odd))
    }

    fn reaches_minus_one(&self, mut power: Residue<WORDS>) -> bool {
        let (one, minus_one) = (self.modulus.one(), self.modulus.minus_one());
        if power == one {
            return true;
        }
        for _ in 0..self.twos {
            if power == minus_one {
                return true;
            }
            power = self.modulus.square(&power);
        }
        false
    }
}
