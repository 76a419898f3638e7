//! Sieving: which of the odd numbers above a start have a small factor.
//!
//! All small primes pass by once, for both starts of a key. They come in groups, so that one division of a start serves
//! several. It goes from the least word up (Hensel's division, with Montgomery's step for each word) and leaves the start
//! divided by a power of two that every group takes back in the end.
//!
//! The time, and the marks in memory, depend on where the multiples of small primes are: see [`crate::crypto`].

use alloc::vec;
use alloc::vec::Vec;

use zeroize::Zeroizing;

use super::montgomery::inverse;

/// Primes below this are sieved out: what the next ones would save is about what sieving with them costs. The limit does not
/// decide which prime is found.
const LIMIT: u32 = 1 << 19;
/// Primes that are enough to find those below the limit.
const ROOT: u32 = 1 << 10;
/// How many odd numbers are looked at for small primes at once.
const SEGMENT: usize = 1 << 14;
/// A group's product stays below this, so that sums of two residues fit a word.
const PRODUCT_LIMIT: u64 = 1 << 62;
/// How many odd numbers a window holds. A prime of 2048 bits is among as many but for one time in a hundred thousand.
const WINDOW: usize = 1 << 13;

/// The odd numbers from a start on, and whether each has a small factor.
pub(super) type Window = Zeroizing<Vec<bool>>;

/// Marks what is composite from each start on. Starts are odd, their least words first.
pub(super) fn windows<const WORDS: usize>(starts: [&[u64; WORDS]; 2]) -> [Window; 2] {
    let mut windows = [Zeroizing::new(vec![false; WINDOW]), Zeroizing::new(vec![false; WINDOW])];
    let (mut product, mut primes) = (1_u64, Vec::new());
    let mut mark = |product: u64, primes: &mut Vec<u32>| {
        let group = Group::new(product, WORDS);
        for (start, window) in starts.iter().zip(&mut windows) {
            let half = group.half_of(start.as_slice());
            primes.iter().for_each(|prime| mark_multiples(window, first_multiple(half, *prime), *prime));
        }
        primes.clear();
    };
    for_each_prime(|prime| {
        match product.checked_mul(u64::from(prime)).filter(|product| *product < PRODUCT_LIMIT) {
            Some(larger) => product = larger,
            None => {
                mark(product, &mut primes);
                product = u64::from(prime);
            }
        }
        primes.push(prime);
    });
    mark(product, &mut primes);
    windows
}

/// The product of some small primes, and what dividing by it needs.
struct Group {
    product: u64,
    /// The inverse of the product, negative, modulo 2^64.
    negated_inverse: u64,
    /// 2^(64 + 64 * words - 1) modulo the product: takes back the divisions by 2^64, but for one factor two.
    power: u64,
}

impl Group {
    fn new(product: u64, words: usize) -> Self {
        let one = u64::MAX.checked_rem(product).unwrap_or_default().wrapping_add(1);
        let mut group = Self { product, negated_inverse: inverse(product).wrapping_neg(), power: one };
        let exponent = u32::try_from(words).unwrap_or_default().wrapping_mul(u64::BITS).wrapping_sub(1);
        let bits = u32::BITS.saturating_sub(exponent.leading_zeros());
        for bit in (0..bits).rev() {
            let square = group.reduced(group.product_of(group.power, group.power));
            let double = group.reduced(square.wrapping_add(square));
            group.power = if exponent.wrapping_shr(bit) & 1 == 1 { double } else { square };
        }
        group
    }

    /// Half of `number` modulo the product.
    fn half_of(&self, number: &[u64]) -> u64 {
        let residue = number.iter().fold(0, |residue: u64, word| {
            let (sum, carry) = residue.overflowing_add(*word);
            self.divided(sum, u64::from(carry))
        });
        self.reduced(self.product_of(residue, self.power))
    }

    /// A number, less word first, divided by 2^64: below the product, or at most one above it where the upper word is one.
    fn divided(&self, low: u64, high: u64) -> u64 {
        let factor = low.wrapping_mul(self.negated_inverse);
        let multiple = u128::from(factor).wrapping_mul(u128::from(self.product));
        // The lower halves add up to zero: they carry unless they are zero.
        high.wrapping_add((multiple >> u64::BITS) as u64).wrapping_add(u64::from(low != 0))
    }

    fn product_of(&self, left: u64, right: u64) -> u64 {
        let product = u128::from(left).wrapping_mul(u128::from(right));
        self.divided(product as u64, (product >> u64::BITS) as u64)
    }

    fn reduced(&self, number: u64) -> u64 {
        if number >= self.product { number.wrapping_sub(self.product) } else { number }
    }
}

/// How many odd numbers after a start, half of which is given modulo a multiple of `prime`, its first multiple is.
fn first_multiple(half: u64, prime: u32) -> usize {
    let prime = u64::from(prime);
    let index = match half.checked_rem(prime).unwrap_or_default() {
        0 => 0,
        residue => prime.wrapping_sub(residue),
    };
    usize::try_from(index).unwrap_or(usize::MAX)
}

fn mark_multiples(numbers: &mut [bool], first: usize, prime: u32) {
    let step = usize::try_from(prime).unwrap_or(usize::MAX);
    if first < numbers.len() {
        numbers.iter_mut().skip(first).step_by(step).for_each(|number| *number = true);
    }
}

/// The odd primes below [`LIMIT`], in order.
fn for_each_prime(mut visit: impl FnMut(u32)) {
    let mut roots: Vec<u32> = Vec::new();
    for number in (3..ROOT).step_by(2) {
        if roots.iter().all(|root| !number.is_multiple_of(*root)) {
            roots.push(number);
        }
    }
    let mut segment = vec![false; SEGMENT];
    for first in (1..LIMIT).step_by(SEGMENT << 1) {
        segment.fill(false);
        for root in &roots {
            let square = root.wrapping_mul(*root);
            let start = first.max(square);
            let residue = start.checked_rem(*root).unwrap_or_default();
            let missing = if residue == 0 { 0 } else { root.wrapping_sub(residue) };
            // An odd distance would lead to an even multiple.
            let missing = if missing & 1 == 0 { missing } else { missing.wrapping_add(*root) };
            let index = start.wrapping_add(missing).wrapping_sub(first) >> 1;
            mark_multiples(&mut segment, usize::try_from(index).unwrap_or(usize::MAX), *root);
        }
        let numbers = (first..LIMIT).step_by(2).zip(&segment);
        numbers
            .filter(|(number, composite)| !**composite && *number > 1)
            .for_each(|(number, _)| visit(number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_primes_are_those_that_trial_division_finds() {
        let mut primes = Vec::new();
        for_each_prime(|prime| primes.push(prime));
        let expected = (3..LIMIT).step_by(2).filter(|number| {
            (3..ROOT).step_by(2).take_while(|root| root * root <= *number).all(|root| number % root != 0)
        });
        assert!(primes.iter().copied().eq(expected));
    }

    #[test]
    fn what_is_marked_is_what_has_a_small_factor() {
        // The starts fit a word, so that their factors can be seen; above them are zeros.
        let starts = [[9_876_543_210_987_654_321, 0, 0, 0], [1 << 40 | 1, 0, 0, 0]];
        let windows = windows([&starts[0], &starts[1]]);
        for (start, window) in starts.iter().zip(&windows) {
            for (offset, composite) in (0..).step_by(2).zip(window.iter()).take(512) {
                let number = start[0] + offset;
                let factor = (3..u64::from(LIMIT)).step_by(2).find(|factor| number % factor == 0);
                assert_eq!(*composite, factor.is_some(), "{number} {factor:?}");
            }
        }
    }
}
