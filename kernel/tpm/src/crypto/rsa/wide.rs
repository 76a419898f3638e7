//! Products of whole numbers and their reduction, in blocks of four words: the compiler keeps such a block in registers, and
//! one small piece of code serves every size. Nothing branches or indexes by what a number is.

/// Words of a block.
pub(super) const BLOCK_WORDS: usize = 4;

type Block = [u64; BLOCK_WORDS];
/// A number twice as long as its factors, the lower half first.
type Wide<const WORDS: usize> = [[u64; WORDS]; 2];

/// Two blocks that a row is added to, least word first.
struct Window {
    low: Block,
    high: Block,
}

impl Window {
    /// A block of the sum and what the last one carried into it.
    #[inline(always)]
    fn new(sum: &Block, carried: &Block) -> Self {
        let (mut low, mut carry) = (*sum, false);
        for (to, from) in low.iter_mut().zip(carried) {
            (*to, carry) = to.carrying_add(*from, carry);
        }
        Self { low, high: [u64::from(carry), 0, 0, 0] }
    }

    /// Adds the lower halves of `products` to `words`, and their upper halves one place above: up to `last`, which is at most
    /// one so far. What is carried out of that becomes `next`.
    #[inline(always)]
    fn add<const COUNT: usize>(
        words: [&mut u64; COUNT],
        [last, next]: [&mut u64; 2],
        products: [u128; COUNT],
    ) {
        let (mut carry, mut above) = (false, false);
        let mut upper = 0;
        for (word, product) in words.into_iter().zip(products) {
            let sum;
            (sum, carry) = word.carrying_add(product as u64, carry);
            (*word, above) = sum.carrying_add(upper, above);
            upper = (product >> u64::BITS) as u64;
        }
        *last = last.wrapping_add(u64::from(carry));
        (*last, above) = last.carrying_add(upper, above);
        *next = u64::from(above);
    }

    /// Adds `factor` times `block`, from the word `row` on, which is below four.
    #[inline(always)]
    fn add_row(&mut self, row: usize, factor: u64, block: &Block) {
        let products = block.map(|word| u128::from(factor).wrapping_mul(u128::from(word)));
        let ([a, b, c, d], [e, f, g, h]) = (&mut self.low, &mut self.high);
        match row {
            0 => Self::add([a, b, c, d], [e, f], products),
            1 => Self::add([b, c, d, e], [f, g], products),
            2 => Self::add([c, d, e, f], [g, h], products),
            // Nothing is carried out of a finished window.
            _ => Self::add([d, e, f, g], [h, &mut 0], products),
        }
    }
}

/// sum + carried + left * right: the lower half stays in `sum`, the upper one in `carried`.
#[inline(always)]
fn add_product(sum: &mut Block, carried: &mut Block, left: &Block, right: &Block) {
    let mut window = Window::new(sum, carried);
    for (row, factor) in left.iter().enumerate() {
        window.add_row(row, *factor, right);
    }
    (*sum, *carried) = (window.low, window.high);
}

/// The same with the factor that makes the lower half zero; the factor.
#[inline(always)]
fn cancel(sum: &mut Block, carried: &mut Block, modulus: &Block, negated_inverse: u64) -> Block {
    let mut window = Window::new(sum, carried);
    let mut factors = [0; BLOCK_WORDS];
    for (row, factor) in factors.iter_mut().enumerate() {
        let [a, b, c, d] = window.low;
        let word = match row {
            0 => a,
            1 => b,
            2 => c,
            _ => d,
        };
        *factor = word.wrapping_mul(negated_inverse);
        window.add_row(row, *factor, modulus);
    }
    (*sum, *carried) = (window.low, window.high);
    factors
}

/// The products of different words of a block, each pair once.
#[inline(always)]
fn add_triangle(sum: &mut Block, carried: &mut Block, [a, b, c, d]: Block) {
    let mut window = Window::new(sum, carried);
    let product = |left: u64, right: u64| u128::from(left).wrapping_mul(u128::from(right));
    let ([_, w1, w2, w3], [w4, w5, w6, w7]) = (&mut window.low, &mut window.high);
    Window::add([w1, w2, w3], [w4, w5], [product(a, b), product(a, c), product(a, d)]);
    Window::add([w3, w4], [w5, w6], [product(b, c), product(b, d)]);
    Window::add([w5], [w6, w7], [product(c, d)]);
    (*sum, *carried) = (window.low, window.high);
}

/// The blocks of a number. Every size is a multiple of a block's.
fn blocks(words: &[u64]) -> &[Block] {
    words.as_chunks().0
}

fn rows<const WORDS: usize>(wide: &mut Wide<WORDS>) -> &mut [Block] {
    wide.as_flattened_mut().as_chunks_mut().0
}

/// The product of two numbers.
pub(super) fn product<const WORDS: usize>(left: &[u64; WORDS], right: &[u64; WORDS]) -> Wide<WORDS> {
    let mut wide = [[0; WORDS]; 2];
    for (place, left) in blocks(left).iter().enumerate() {
        let (mut carried, mut row) = ([0; BLOCK_WORDS], rows(&mut wide).iter_mut().skip(place));
        for (right, sum) in blocks(right).iter().zip(&mut row) {
            add_product(sum, &mut carried, left, right);
        }
        row.take(1).for_each(|sum| *sum = carried);
    }
    wide
}

/// The square of a number: the products of different words once, doubled, and the squares of all words.
pub(super) fn square<const WORDS: usize>(number: &[u64; WORDS]) -> Wide<WORDS> {
    let mut wide = [[0; WORDS]; 2];
    for (place, left) in blocks(number).iter().enumerate() {
        let mut row = rows(&mut wide).iter_mut().skip(place << 1);
        let mut carried = [0; BLOCK_WORDS];
        row.by_ref().take(1).for_each(|sum| add_triangle(sum, &mut carried, *left));
        for (right, sum) in blocks(number).iter().skip(place).skip(1).zip(&mut row) {
            add_product(sum, &mut carried, left, right);
        }
        row.take(1).for_each(|sum| *sum = carried);
    }
    let (mut bit, mut carry) = (0, false);
    for (word, [low, high]) in number.iter().zip(wide.as_flattened_mut().as_chunks_mut().0) {
        let square = u128::from(*word).wrapping_mul(u128::from(*word));
        let (twice_low, twice_high) = ((*low << 1) | bit, (*high << 1) | (*low >> 63));
        bit = *high >> 63;
        (*low, carry) = twice_low.carrying_add(square as u64, carry);
        (*high, carry) = twice_high.carrying_add((square >> u64::BITS) as u64, carry);
    }
    wide
}

/// A wide number below the modulus times the radix, divided by the radix, modulo the modulus.
pub(super) fn reduce<const WORDS: usize>(
    wide: &mut Wide<WORDS>,
    modulus: &[u64; WORDS],
    negated_inverse: u64,
) -> [u64; WORDS] {
    let Some((first, rest)) = blocks(modulus).split_first() else { return *modulus };
    let mut pending = false;
    for place in 0..blocks(modulus).len() {
        let mut row = rows(wide).iter_mut().skip(place);
        let (mut carried, mut factors) = ([0; BLOCK_WORDS], [0; BLOCK_WORDS]);
        for sum in row.by_ref().take(1) {
            factors = cancel(sum, &mut carried, first, negated_inverse);
        }
        for (modulus, sum) in rest.iter().zip(&mut row) {
            add_product(sum, &mut carried, &factors, modulus);
        }
        for sum in row.take(1) {
            for (to, from) in sum.iter_mut().zip(&carried) {
                (*to, pending) = to.carrying_add(*from, pending);
            }
        }
    }
    let [_, high] = wide;
    subtract(high, pending, modulus)
}

/// A number with one bit before it, less the modulus if it is not below that already. It is below twice the modulus.
#[inline(always)]
pub(super) fn subtract<const WORDS: usize>(
    number: &[u64; WORDS],
    carry: bool,
    modulus: &[u64; WORDS],
) -> [u64; WORDS] {
    let (mut less, mut borrow) = ([0; WORDS], false);
    for (to, (number, modulus)) in less.iter_mut().zip(number.iter().zip(modulus)) {
        (*to, borrow) = number.borrowing_sub(*modulus, borrow);
    }
    let keep = core::hint::black_box(u64::from(borrow & !carry).wrapping_neg());
    for (less, number) in less.iter_mut().zip(number) {
        *less = (*number & keep) | (*less & !keep);
    }
    less
}
