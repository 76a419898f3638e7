//! Calculating modulo a candidate for a prime: Montgomery forms whose squares are cheap.
//!
//! Nearly all the time of a key generation goes into squaring modulo composites that nothing else is ever done with.
//! crypto-bigint's Montgomery square multiplies as if its factors differed, and reduces word by word in between. Its wide
//! square and the separate reduction here take two thirds of the time together. Operations with finished keys do not
//! pass through this file.
//!
//! Nothing branches or indexes by what a number is, since one of the candidates will be the prime.

use crypto_bigint::modular::FixedMontyParams;
use crypto_bigint::{CtAssign, CtEq, Odd, Uint};

/// Bits of an exponent that are taken at once.
const DIGIT_BITS: u32 = 4;
/// How many powers that needs.
const POWERS: usize = 1 << DIGIT_BITS;

/// A candidate, its first bit set, and what Montgomery forms need of it.
pub(super) struct Candidate<const WORDS: usize>(FixedMontyParams<WORDS>);

impl<const WORDS: usize> Candidate<WORDS> {
    pub fn new(candidate: &Uint<WORDS>) -> Option<Self> {
        Some(Self(FixedMontyParams::new(Odd::new(*candidate).into_option()?)))
    }

    pub fn one(&self) -> Uint<WORDS> {
        *self.0.one()
    }

    pub fn minus_one(&self) -> Uint<WORDS> {
        self.0.modulus().as_ref().wrapping_sub(self.0.one())
    }

    /// The Montgomery form of a number of as many words, below the candidate or not.
    pub fn enter(&self, number: &Uint<WORDS>) -> Uint<WORDS> {
        self.multiply(number, self.0.r2())
    }

    pub fn square(&self, factor: &Uint<WORDS>) -> Uint<WORDS> {
        self.reduce(factor.widening_square())
    }

    pub fn multiply(&self, left: &Uint<WORDS>, right: &Uint<WORDS>) -> Uint<WORDS> {
        self.reduce(left.widening_mul(right))
    }

    /// Two to the power of `exponent`: no multiplications, only doublings.
    pub fn power_of_two(&self, exponent: &Uint<WORDS>) -> Uint<WORDS> {
        let mut power = self.one();
        for bit in (0..Uint::<WORDS>::BITS).rev() {
            power = self.square(&power);
            let mask = u64::from(exponent.bit(bit).to_u8()).wrapping_neg();
            let other = Uint::from_words(power.to_words().map(|word| word & mask));
            power = self.add(&power, &other);
        }
        power
    }

    /// `base`, in Montgomery form, to the power of `exponent`.
    pub fn power(&self, base: &Uint<WORDS>, exponent: &Uint<WORDS>) -> Uint<WORDS> {
        let mut powers = [self.one(); POWERS];
        let mut last = self.one();
        for power in powers.iter_mut().skip(1) {
            last = self.multiply(&last, base);
            *power = last;
        }
        let mut result = self.one();
        for word in exponent.as_words().iter().rev() {
            for shift in (0..u64::BITS).step_by(4).rev() {
                for _ in 0..DIGIT_BITS {
                    result = self.square(&result);
                }
                let digit = word.wrapping_shr(shift) & 0xf;
                let mut factor = self.one();
                for (index, power) in (0_u64..).zip(&powers) {
                    factor.ct_assign(power, index.ct_eq(&digit));
                }
                result = self.multiply(&result, &factor);
            }
        }
        result
    }

    /// A product's lower and upper half, divided by the radix.
    ///
    /// Multiples of the candidate clear the lower half, and only their carries are of interest; what remains is at most
    /// the candidate. The upper half of a product of two reduced numbers is below it.
    fn reduce(&self, (low, high): (Uint<WORDS>, Uint<WORDS>)) -> Uint<WORDS> {
        let modulus = self.0.modulus().as_ref().as_words();
        let mut words = low.to_words();
        for _ in 0..WORDS {
            let factor = words.first().map_or(0, |word| word.wrapping_mul(self.0.mod_neg_inv().0));
            let mut carry = 0;
            // Every word moves down one place; the first, which is zero now, drops out.
            let mut place = &mut 0;
            for (word, modulus) in words.iter_mut().zip(modulus) {
                // (2^64 - 1)^2 + 2 * (2^64 - 1) is 2^128 - 1: nothing is lost.
                let sum = u128::from(factor)
                    .wrapping_mul(u128::from(*modulus))
                    .wrapping_add(u128::from(*word))
                    .wrapping_add(u128::from(carry));
                *place = sum as u64;
                carry = (sum >> u64::BITS) as u64;
                place = word;
            }
            *place = carry;
        }
        self.add(&Uint::from_words(words), &high)
    }

    /// The sum of two numbers, the one at most the candidate, the other below it.
    fn add(&self, left: &Uint<WORDS>, right: &Uint<WORDS>) -> Uint<WORDS> {
        let modulus = self.0.modulus().as_ref().as_words();
        let (mut sums, mut carry) = ([0; WORDS], 0);
        for (to, (left, right)) in sums.iter_mut().zip(left.as_words().iter().zip(right.as_words())) {
            let sum = u128::from(*left).wrapping_add(u128::from(*right)).wrapping_add(carry);
            *to = sum as u64;
            carry = sum >> u64::BITS;
        }
        let (mut less, mut borrow) = ([0; WORDS], 0_u64);
        for (to, (sum, modulus)) in less.iter_mut().zip(sums.iter().zip(modulus)) {
            let difference =
                u128::from(*sum).wrapping_sub(u128::from(*modulus)).wrapping_sub(u128::from(borrow));
            *to = difference as u64;
            borrow = (difference >> u64::BITS) as u64 & 1;
        }
        let keep = (borrow & !(carry as u64)).wrapping_neg();
        for (less, sum) in less.iter_mut().zip(&sums) {
            *less = (*sum & keep) | (*less & !keep);
        }
        Uint::from_words(less)
    }
}

impl<const WORDS: usize> Drop for Candidate<WORDS> {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}
