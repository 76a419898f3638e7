//! The search for primes: a random start, a sieve over the odd numbers above it, Miller-Rabin tests of what is left.
//!
//! Source: FIPS 186-5, appendices A.1.3 and B.3.1. The number of tests with random bases is at least that of table B.1
//! for every size (five for 1024 bits, four for more), after one with base two that rejects nearly every composite.
//!
//! What is found is a function of the random bits alone. Any change here (the order of tests, the size of the window, how
//! bits are drawn) makes other keys of the same seed: the golden vectors in the tests stand guard.

use alloc::vec;
use alloc::vec::Vec;

use crypto_bigint::{Limb, NonZero, Uint};
use zeroize::Zeroizing;

use super::candidate::Candidate;
use super::number::random_number;
use crate::crypto::random::Random;

/// Primes below this are sieved out: what the next ones would save is less than what sieving with them costs (measured for
/// 2^16, 2^17 and 2^18). The limit does not decide which prime is found.
const SIEVE_LIMIT: u32 = 1 << 17;
/// How many odd numbers one sieve looks at. A prime of 2048 bits is among as many but for one time in a hundred thousand.
const WINDOW: u32 = 1 << 13;
/// Tests with random bases.
const ROUNDS: usize = 5;

/// A search under way: the exponent that p - 1 must not be a multiple of, and the small primes, grouped.
pub(super) struct Search {
    exponent: u32,
    groups: Vec<Group>,
}

/// Small primes whose product fits a word: one long division serves them all.
struct Group {
    product: NonZero<Limb>,
    primes: Vec<u32>,
}

impl Search {
    /// Prepares the small primes.
    pub fn new(exponent: u32) -> Self {
        let mut groups: Vec<Group> = Vec::new();
        let mut product = 1_u64;
        let mut primes = Vec::new();
        for prime in small_primes() {
            match product.checked_mul(u64::from(prime)) {
                Some(larger) => product = larger,
                None => {
                    let primes = core::mem::take(&mut primes);
                    groups.extend(Group::new(product, primes));
                    product = u64::from(prime);
                }
            }
            primes.push(prime);
        }
        groups.extend(Group::new(product, primes));
        Self { exponent, groups }
    }

    /// Finds a prime whose first two bits are set.
    pub fn find<const WORDS: usize>(&self, random: &mut dyn Random) -> Uint<WORDS> {
        loop {
            let start = Zeroizing::new(random_start::<WORDS>(random));
            if let Some(prime) = self.find_above(&start, random) {
                return prime;
            }
        }
    }

    /// The first prime of the window at `start`, which is odd.
    fn find_above<const WORDS: usize>(
        &self,
        start: &Uint<WORDS>,
        random: &mut dyn Random,
    ) -> Option<Uint<WORDS>> {
        let composite = Zeroizing::new(self.sieve(start));
        let survivors = (0_u64..).step_by(2).zip(composite.iter()).filter(|(_, composite)| !**composite);
        for (offset, _) in survivors {
            let candidate = start.wrapping_add(&Uint::from_u64(offset));
            if has_two_leading_ones(&candidate) && self.suits_exponent(&candidate) {
                let test = MillerRabin::new(&candidate)?;
                if test.passes_base_two() && (0..ROUNDS).all(|_| test.passes(&random_number(random))) {
                    return Some(candidate);
                }
            }
        }
        None
    }

    /// Which of the window's numbers have a small factor.
    fn sieve<const WORDS: usize>(&self, start: &Uint<WORDS>) -> Vec<bool> {
        let mut composite = vec![false; usize::try_from(WINDOW).unwrap_or_default()];
        for group in &self.groups {
            let residue = start.rem_limb(group.product).0;
            for prime in &group.primes {
                let first = first_multiple(residue, *prime);
                let step = usize::try_from(*prime).unwrap_or(usize::MAX);
                composite.iter_mut().skip(first).step_by(step).for_each(|number| *number = true);
            }
        }
        composite
    }

    /// Whether the exponent has an inverse modulo `candidate` - 1. Key exponents are primes.
    fn suits_exponent<const WORDS: usize>(&self, candidate: &Uint<WORDS>) -> bool {
        let exponent = NonZero::new(Limb::from_u32(self.exponent)).into_option();
        exponent.is_some_and(|exponent| candidate.rem_limb(exponent) != Limb::ONE)
    }
}

impl Group {
    fn new(product: u64, primes: Vec<u32>) -> Option<Self> {
        let product = NonZero::new(Limb::from_u64(product)).into_option()?;
        Some(Self { product, primes })
    }
}

/// How many odd numbers above a start with this residue the first multiple of `prime` is.
fn first_multiple(residue: u64, prime: u32) -> usize {
    let prime = u64::from(prime);
    let residue = residue.checked_rem(prime).unwrap_or_default();
    let missing = prime.wrapping_sub(residue);
    let index = match (residue, missing % 2) {
        (0, _) => 0,
        (_, 0) => missing >> 1,
        _ => missing.wrapping_add(prime) >> 1,
    };
    usize::try_from(index).unwrap_or(usize::MAX)
}

/// The odd primes below [`SIEVE_LIMIT`], in order.
fn small_primes() -> impl Iterator<Item = u32> {
    let limit = usize::try_from(SIEVE_LIMIT).unwrap_or_default();
    let mut composite = vec![false; limit];
    for number in (3..512_usize).step_by(2) {
        if composite.get(number) == Some(&false) {
            let multiples = composite.iter_mut().skip(number.wrapping_mul(number)).step_by(number);
            multiples.for_each(|multiple| *multiple = true);
        }
    }
    (0..SIEVE_LIMIT)
        .zip(composite)
        .filter(|(number, composite)| !composite && *number > 2 && number % 2 != 0)
        .map(|(number, _)| number)
}

fn random_start<const WORDS: usize>(random: &mut dyn Random) -> Uint<WORDS> {
    let top = Uint::<WORDS>::ONE.wrapping_shl(Uint::<WORDS>::BITS.saturating_sub(1));
    let both = top.bitor(&top.wrapping_shr(1));
    random_number(random).bitor(&both).bitor(&Uint::ONE)
}

fn has_two_leading_ones<const WORDS: usize>(candidate: &Uint<WORDS>) -> bool {
    candidate.as_words().last().is_some_and(|word| word.leading_ones() >= 2)
}

/// Whether two primes agree in their first hundred bits (FIPS 186-5, appendix A.1.3, step 5.4).
pub(super) fn are_close<const WORDS: usize>(p: &Uint<WORDS>, q: &Uint<WORDS>) -> bool {
    let (larger, smaller) = if p > q { (p, q) } else { (q, p) };
    let distance = larger.wrapping_sub(smaller);
    distance.wrapping_shr(Uint::<WORDS>::BITS.saturating_sub(100)) == Uint::ZERO
}

/// Miller-Rabin tests of one candidate n with n - 1 = 2^twos * odd.
pub(super) struct MillerRabin<const WORDS: usize> {
    candidate: Candidate<WORDS>,
    odd: Uint<WORDS>,
    twos: u32,
}

impl<const WORDS: usize> MillerRabin<WORDS> {
    pub fn new(candidate: &Uint<WORDS>) -> Option<Self> {
        let even = candidate.wrapping_sub(&Uint::ONE);
        let twos = even.trailing_zeros();
        Some(Self { candidate: Candidate::new(candidate)?, odd: even.wrapping_shr(twos), twos })
    }

    pub fn passes(&self, base: &Uint<WORDS>) -> bool {
        self.reaches_minus_one(self.candidate.power(&self.candidate.enter(base), &self.odd))
    }

    /// The test with base two, in two thirds of the time.
    pub fn passes_base_two(&self) -> bool {
        self.reaches_minus_one(self.candidate.power_of_two(&self.odd))
    }

    fn reaches_minus_one(&self, mut power: Uint<WORDS>) -> bool {
        let (one, minus_one) = (self.candidate.one(), self.candidate.minus_one());
        if power == one {
            return true;
        }
        for _ in 0..self.twos {
            if power == minus_one {
                return true;
            }
            power = self.candidate.square(&power);
        }
        false
    }
}
