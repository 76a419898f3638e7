//! Montgomery arithmetic modulo an odd number whose first bit is set: a candidate for a prime, a prime, or a public modulus.
//!
//! Nearly all the time of RSA goes into squares, so that these have a wide square of their own (`wide`), and for the primes
//! of the commonest keys one that sums up whole columns (`columns`). crypto-bigint's Montgomery forms multiply as if the
//! factors of a square differed: they take up to twice the instructions.
//!
//! Nothing branches or indexes by what a number is, but where a name says `public`. Sources: Montgomery, "Modular
//! Multiplication Without Trial Division" (1985); Comba, "Exponentiation cryptosystems on the IBM PC" (1990).

use crypto_bigint::Uint;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{columns, wide};

/// Bits of an exponent that are taken at once.
const DIGIT_BITS: u32 = 4;
/// How many powers that needs.
const POWERS: usize = 1 << DIGIT_BITS;
/// Two raised to this is how many doublings [`Modulus::new`] makes one square of.
const SQUARINGS: u32 = 5;

/// A modulus, and what Montgomery forms need of it.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(super) struct Modulus<const WORDS: usize> {
    words: [u64; WORDS],
    /// The inverse of the modulus, negative, modulo 2^64.
    negated_inverse: u64,
}

/// A number below a modulus, in Montgomery form: multiplied by two to the power of the modulus' bits.
#[derive(Clone, Copy, PartialEq, Eq, Zeroize)]
pub(super) struct Residue<const WORDS: usize>([u64; WORDS]);

impl<const WORDS: usize> Modulus<WORDS> {
    /// `None` for a number that is even, or shorter than its type.
    pub fn new(modulus: &Uint<WORDS>) -> Option<Self> {
        let words = modulus.to_words();
        let first = *words.first()?;
        let fits = first & 1 == 1 && words.last()? >> 63 == 1 && WORDS.is_multiple_of(wide::BLOCK_WORDS);
        fits.then(|| Self { words, negated_inverse: inverse(first).wrapping_neg() })
    }

    /// The modulus itself.
    pub fn number(&self) -> Uint<WORDS> {
        Uint::from_words(self.words)
    }

    pub fn one(&self) -> Residue<WORDS> {
        // The modulus is more than half of the radix, which therefore leaves their difference.
        Residue(Uint::ZERO.wrapping_sub(&self.number()).to_words())
    }

    pub fn minus_one(&self) -> Residue<WORDS> {
        Residue(self.number().wrapping_sub(&Uint::from_words(self.one().0)).to_words())
    }

    /// The residue of a number of as many words, below the modulus or not, by what [`Self::radix`] gives.
    pub fn enter(&self, number: &Uint<WORDS>, radix: &Residue<WORDS>) -> Residue<WORDS> {
        self.multiply(&Residue(number.to_words()), radix)
    }

    /// The number of a residue.
    pub fn leave(&self, residue: &Residue<WORDS>) -> Uint<WORDS> {
        Uint::from_words(wide::reduce(&mut [residue.0, [0; WORDS]], &self.words, self.negated_inverse))
    }

    pub fn multiply(&self, left: &Residue<WORDS>, right: &Residue<WORDS>) -> Residue<WORDS> {
        let mut product = wide::product(&left.0, &right.0);
        Residue(wide::reduce(&mut product, &self.words, self.negated_inverse))
    }

    pub fn square(&self, factor: &Residue<WORDS>) -> Residue<WORDS> {
        if let Some(square) = columns::square(&factor.0, &self.words, self.negated_inverse) {
            return Residue(square);
        }
        let mut square = wide::square(&factor.0);
        Residue(wide::reduce(&mut square, &self.words, self.negated_inverse))
    }

    /// The sum of two numbers below the modulus, modulo the modulus.
    pub fn add_numbers(&self, left: &Uint<WORDS>, right: &Uint<WORDS>) -> Uint<WORDS> {
        Uint::from_words(self.add(&Residue(left.to_words()), &Residue(right.to_words())).0)
    }

    pub fn add(&self, left: &Residue<WORDS>, right: &Residue<WORDS>) -> Residue<WORDS> {
        let (mut sums, mut carry) = ([0; WORDS], false);
        for (to, (left, right)) in sums.iter_mut().zip(left.0.iter().zip(&right.0)) {
            (*to, carry) = left.carrying_add(*right, carry);
        }
        Residue(wide::subtract(&sums, carry, &self.words))
    }

    /// Two to the power of `exponent`: no multiplications, only doublings.
    pub fn power_of_two(&self, exponent: &Uint<WORDS>) -> Residue<WORDS> {
        let mut power = self.one();
        for bit in (0..Uint::<WORDS>::BITS).rev() {
            power = self.square(&power);
            let mask = u64::from(exponent.bit(bit).to_u8()).wrapping_neg();
            power = self.add(&power, &Residue(power.0.map(|word| word & mask)));
        }
        power
    }

    /// `base` to the power of `exponent`.
    pub fn power(&self, base: &Residue<WORDS>, exponent: &Uint<WORDS>) -> Residue<WORDS> {
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
                let factor = select(&powers, word.wrapping_shr(shift) & 0xf);
                result = self.multiply(&result, &factor);
            }
        }
        powers.zeroize();
        result
    }

    /// `base` to the power of an exponent that is not zero and not secret: the time depends on it.
    pub fn power_by_public(&self, base: &Residue<WORDS>, exponent: u32) -> Residue<WORDS> {
        let bits = u32::BITS.saturating_sub(exponent.leading_zeros());
        let mut result = *base;
        for bit in (0..bits.saturating_sub(1)).rev() {
            result = self.square(&result);
            if exponent.wrapping_shr(bit) & 1 == 1 {
                result = self.multiply(&result, base);
            }
        }
        result
    }

    /// The residue of the radix: what turns a number into its residue, and the residue of a number into that of the number
    /// times the radix.
    pub fn radix(&self) -> Residue<WORDS> {
        let mut residue = self.one();
        for _ in 0..Uint::<WORDS>::BITS.wrapping_shr(SQUARINGS) {
            residue = self.add(&residue, &residue);
        }
        for _ in 0..SQUARINGS {
            residue = self.square(&residue);
        }
        residue
    }
}

/// One of the powers, after a look at all.
fn select<const WORDS: usize>(powers: &[Residue<WORDS>; POWERS], digit: u64) -> Residue<WORDS> {
    let mut selected = [0; WORDS];
    for (index, power) in (0_u64..).zip(powers) {
        // All ones where index and digit are the same: they are small, so that a difference sets the first bit.
        let mask = ((index ^ digit).wrapping_sub(1) >> 63).wrapping_neg();
        let mask = core::hint::black_box(mask);
        for (to, from) in selected.iter_mut().zip(&power.0) {
            *to |= from & mask;
        }
    }
    Residue(selected)
}

/// The inverse of an odd number modulo 2^64, by Newton's iteration: each step doubles the bits that are right.
pub(super) fn inverse(odd: u64) -> u64 {
    // Five bits are right: (3 * odd) ^ 2 (Montgomery).
    let mut inverse = odd.wrapping_mul(3) ^ 2;
    for _ in 0..4 {
        inverse = inverse.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(inverse)));
    }
    inverse
}
