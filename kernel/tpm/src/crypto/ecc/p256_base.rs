//! Multiples of P-256's generator, in a third of the time that multiplying any other point takes.
//!
//! Lim and Lee's comb ("More Flexible Exponentiation with Precomputation", CRYPTO '94) with four teeth, in two halves: the
//! scalar is laid in four rows of 64 bits, and a column of bits selects one of sixteen sums of the generator's multiples. The
//! p256 crate's own table needs a static that is filled once, and a critical section for it.
//!
//! In constant time: every sum of a table is looked at for each digit, and the additions have no exceptional cases.

use p256::elliptic_curve::group::Group;
use p256::elliptic_curve::point::AffineCoordinates;
use p256::elliptic_curve::subtle::{ConditionallySelectable, ConstantTimeEq};
use p256::{AffinePoint, FieldBytes, NistP256, ProjectivePoint, Scalar};
use zeroize::Zeroize;

/// The sums other than zero, as both coordinates: for each half of a row, numbers 1 to 15, whose bit t stands for 2^(64 * t)
/// times the generator, and in the second half 2^32 times that. The test calculates them.
const SUMS: &[u8; 2 * 15 * SUM_BYTES] = include_bytes!("p256_base.bin");
const SUM_BYTES: usize = 64;
const COORDINATE_BYTES: usize = 32;
/// Columns of a half.
const COLUMNS: usize = 32;

/// One half's sums, the first one at infinity.
type Table = [AffinePoint; 16];

/// The generator times a scalar.
pub(super) fn multiply(scalar: &Scalar) -> ProjectivePoint {
    let [low, high] = tables();
    let mut rows = rows(scalar);
    let mut result = ProjectivePoint::IDENTITY;
    for column in (0..COLUMNS).rev() {
        result = Group::double(&result);
        result = core::ops::Add::add(result, select(&low, digit(&rows, column)));
        result = core::ops::Add::add(result, select(&high, digit(&rows, column.wrapping_add(COLUMNS))));
    }
    rows.zeroize();
    result
}

/// The scalar's bits in four rows of 64, least row first.
fn rows(scalar: &Scalar) -> [u64; 4] {
    let mut bytes = FieldBytes::from(*scalar);
    let mut rows = [0; 4];
    for (row, bytes) in rows.iter_mut().rev().zip(bytes.as_slice().as_chunks().0) {
        *row = u64::from_be_bytes(*bytes);
    }
    bytes.as_mut_slice().zeroize();
    rows
}

fn digit(rows: &[u64; 4], column: usize) -> u8 {
    let bit = |row: &u64| (row.wrapping_shr(u32::try_from(column).unwrap_or_default()) & 1) as u8;
    rows.iter().rev().fold(0, |digit, row| (digit << 1) | bit(row))
}

fn select(table: &Table, digit: u8) -> AffinePoint {
    let mut selected = AffinePoint::IDENTITY;
    for (index, sum) in (0_u8..).zip(table) {
        selected.conditional_assign(sum, index.ct_eq(&digit));
    }
    selected
}

fn tables() -> [Table; 2] {
    let mut tables = [[AffinePoint::IDENTITY; 16]; 2];
    let places = tables.iter_mut().flat_map(|table| table.iter_mut().skip(1));
    for (place, sum) in places.zip(SUMS.as_chunks::<SUM_BYTES>().0) {
        let (x, y) = sum.as_slice().split_at(COORDINATE_BYTES);
        if let (Ok(x), Ok(y)) = (FieldBytes::try_from(x), FieldBytes::try_from(y)) {
            let point = AffinePoint::from_coordinates(&x, &y);
            *place = point.into_option().unwrap_or(AffinePoint::IDENTITY);
        }
    }
    tables
}

/// Says which curve this is for.
const _: fn(&Scalar) -> p256::elliptic_curve::ProjectivePoint<NistP256> = multiply;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_hold_what_they_should() {
        let power =
            |exponent: usize| (0..exponent).fold(ProjectivePoint::GENERATOR, |point, _| point.double());
        for (half, table) in tables().iter().enumerate() {
            for (index, sum) in table.iter().enumerate() {
                let teeth = (0..4).filter(|tooth| index >> tooth & 1 == 1);
                let expected: ProjectivePoint = teeth.map(|tooth| power(64 * tooth + 32 * half)).sum();
                assert_eq!(ProjectivePoint::from(*sum), expected, "{half} {index}");
            }
        }
    }

    #[test]
    fn multiples_are_those_of_the_crate() {
        let three = Scalar::from(3_u32);
        let mut scalar = Scalar::from(0x1234_5678_u32);
        for _ in 0..64 {
            assert_eq!(multiply(&scalar), ProjectivePoint::GENERATOR * scalar);
            scalar = scalar * scalar + three;
        }
        for scalar in [Scalar::ZERO, Scalar::ONE, -Scalar::ONE] {
            assert_eq!(multiply(&scalar), ProjectivePoint::GENERATOR * scalar);
        }
    }
}
