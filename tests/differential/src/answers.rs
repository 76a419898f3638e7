//! Compares the two answers to one command, and keeps what later commands need of them.

use crate::draft::{HEADER_BYTES, SESSIONS};
use crate::grammar::{Field, Row};
use crate::model::{Bag, Model};

/// How two answers differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The response codes; or, where these are the same refusal, the headers around them.
    Codes { ours: u32, theirs: u32 },
    /// The lengths of whole responses.
    Lengths { ours: usize, theirs: usize },
    /// A field that should have had the same bytes or size; its number in the table.
    Field { number: usize },
    /// A response that is no response: too short, or with a size that is not its own.
    Malformed,
}

/// A response code, where there is a response.
pub fn code(response: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*response.get(6..)?.first_chunk()?))
}

/// Two readers that go through both answers in step.
struct Both<'a> {
    ours: &'a [u8],
    theirs: &'a [u8],
}

impl<'a> Both<'a> {
    fn take(&mut self, ours: usize, theirs: usize) -> Option<(&'a [u8], &'a [u8])> {
        let (left, our_rest) = self.ours.split_at_checked(ours)?;
        let (right, their_rest) = self.theirs.split_at_checked(theirs)?;
        (self.ours, self.theirs) = (our_rest, their_rest);
        Some((left, right))
    }

    fn sized(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let size = |bytes: &[u8]| Some(2 + usize::from(u16::from_be_bytes(*bytes.first_chunk()?)));
        self.take(size(self.ours)?, size(self.theirs)?)
    }
}

/// Compares two answers whose parameters are `fields`. On success of both, keeps the handle and gives its slot.
pub fn compare(
    row: &Row,
    fields: &[Field],
    ours: &[u8],
    theirs: &[u8],
    model: &mut Model,
) -> Result<Option<usize>, Difference> {
    let (Some(our_code), Some(their_code)) = (code(ours), code(theirs)) else {
        return Err(Difference::Malformed);
    };
    if our_code != their_code {
        return Err(Difference::Codes { ours: our_code, theirs: their_code });
    }
    let says_its_size = ours.get(2..6) == Some((ours.len() as u32).to_be_bytes().as_slice());
    if !says_its_size {
        return Err(Difference::Malformed);
    }
    if our_code != 0 {
        let codes = Difference::Codes { ours: our_code, theirs: their_code };
        return if ours == theirs { Ok(None) } else { Err(codes) };
    }
    compare_success(row, fields, ours, theirs, model)
}

fn compare_success(
    row: &Row,
    fields: &[Field],
    ours: &[u8],
    theirs: &[u8],
    model: &mut Model,
) -> Result<Option<usize>, Difference> {
    if ours.get(..2) != theirs.get(..2) {
        return Err(Difference::Malformed);
    }
    let mut both = Both {
        ours: ours.get(HEADER_BYTES..).unwrap_or_default(),
        theirs: theirs.get(HEADER_BYTES..).unwrap_or_default(),
    };
    let mut handle = None;
    if row.answers_handle() {
        let (left, right) = both.take(4, 4).ok_or(Difference::Malformed)?;
        if left != right {
            return Err(Difference::Field { number: 0 });
        }
        handle = Some(model.keep(left, right));
    }
    let mut authorizations = None;
    if ours.starts_with(&SESSIONS.to_be_bytes()) {
        authorizations = cut_parameters(&mut both);
    }
    for (number, field) in fields.iter().enumerate() {
        compare_field(*field, &mut both, model).ok_or(Difference::Field { number: number + 1 })?;
    }
    if !both.ours.is_empty() || !both.theirs.is_empty() {
        return Err(Difference::Lengths { ours: ours.len(), theirs: theirs.len() });
    }
    match authorizations {
        Some((left, right)) if left.len() != right.len() => {
            Err(Difference::Lengths { ours: ours.len(), theirs: theirs.len() })
        }
        _ => Ok(handle),
    }
}

/// Leaves the parameters in `both`; gives the authorization areas behind them.
fn cut_parameters<'a>(both: &mut Both<'a>) -> Option<(&'a [u8], &'a [u8])> {
    let (left, right) = both.take(4, 4)?;
    let size = |bytes: &[u8]| Some(u32::from_be_bytes(*bytes.first_chunk()?) as usize);
    let (left, right) = both.take(size(left)?, size(right)?)?;
    let areas = (both.ours, both.theirs);
    (both.ours, both.theirs) = (left, right);
    Some(areas)
}

fn compare_field(field: Field, both: &mut Both<'_>, model: &mut Model) -> Option<()> {
    match field {
        Field::Same(count) => both.take(count, count).filter(|(left, right)| left == right).map(drop),
        Field::Own(count) => both.take(count, count).map(drop),
        Field::Sized => both.sized().filter(|(left, right)| left == right).map(drop),
        Field::OwnSized => both.sized().filter(|(left, right)| left.len() == right.len()).map(drop),
        Field::Kept(bag) => {
            let (left, right) = both.sized()?;
            model.keep_in(bag, left, right);
            (left.len() == right.len()).then_some(())
        }
        Field::KeptAnySize(bag) => {
            let (left, right) = both.sized()?;
            model.keep_in(bag, left, right);
            (left.len().min(3) == right.len().min(3)).then_some(())
        }
        Field::Public => {
            let (left, right) = both.sized()?;
            model.keep_in(Bag::Public, left, right);
            let fixed = left.len().checked_sub(unique_bytes(left))?;
            (left.len() == right.len() && left.get(..fixed) == right.get(..fixed)).then_some(())
        }
        Field::Ticket => {
            let (left, right) = both.take(6, 6)?;
            let (own, other) = both.sized()?;
            model.keep_in(Bag::Ticket, &[left, own].concat(), &[right, other].concat());
            (left == right && own.len() == other.len()).then_some(())
        }
        Field::Signature => compare_signature(both, model),
        Field::Attest => {
            let (left, right) = both.sized()?;
            (left.len() == right.len() && left.get(..8) == right.get(..8)).then_some(())
        }
        Field::Context => {
            let (ours, theirs) = (both.ours, both.theirs);
            both.take(ours.len(), theirs.len())?;
            model.keep_in(Bag::Context, ours, theirs);
            (ours.get(8..16) == theirs.get(8..16)).then_some(())
        }
        Field::Rest => {
            both.take(both.ours.len(), both.theirs.len()).filter(|(left, right)| left == right).map(drop)
        }
        Field::OwnRest => both
            .take(both.ours.len(), both.theirs.len())
            .filter(|(left, right)| left.len() == right.len())
            .map(drop),
    }
}

const NULL: [u8; 2] = [0, 0x10];

/// The numbers of an ECC signature are as long as they are: both are kept, and only scheme and hash compared.
fn compare_signature(both: &mut Both<'_>, model: &mut Model) -> Option<()> {
    let (ours, theirs) = (both.ours, both.theirs);
    let head = if ours.starts_with(&NULL) { 2 } else { 4 };
    let same = ours.get(..head) == theirs.get(..head);
    both.take(ours.len(), theirs.len())?;
    model.keep_in(Bag::Signature, ours, theirs);
    same.then_some(())
}

/// How long `unique` is at the end of a TPM2B_PUBLIC (Part 2, 12.2.3.2): the one field that is each TPM's own.
fn unique_bytes(public: &[u8]) -> usize {
    let kind = public.get(2..4).unwrap_or_default();
    let ends_with_size = |size: &usize| {
        let at = public.len().checked_sub(2 + size)?;
        let field: [u8; 2] = *public.get(at..)?.first_chunk()?;
        (usize::from(u16::from_be_bytes(field)) == *size).then_some(2 + size)
    };
    if kind == [0, 0x23] {
        return [32, 48, 66].iter().find_map(ends_with_size).map_or(4, |one| 2 * one);
    }
    [512, 384, 256, 128, 64, 48, 32, 20].iter().find_map(ends_with_size).unwrap_or(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grammar::ROWS;

    fn row(name: &str) -> &'static Row {
        ROWS.iter().find(|row| row.name == name).unwrap()
    }

    fn response(code: u32, parameters: &[u8]) -> Vec<u8> {
        let size = (HEADER_BYTES + parameters.len()) as u32;
        [&[0x80, 1][..], &size.to_be_bytes(), &code.to_be_bytes(), parameters].concat()
    }

    fn differ(name: &str, ours: &[u8], theirs: &[u8]) -> Option<Difference> {
        compare(row(name), row(name).fields, ours, theirs, &mut Model::default()).err()
    }

    #[test]
    fn random_bytes_may_differ_and_their_number_may_not() {
        let (a, b) = (response(0, &[0, 2, 1, 2]), response(0, &[0, 2, 3, 4]));
        assert_eq!(differ("GetRandom", &a, &b), None);
        assert!(differ("GetRandom", &a, &response(0, &[0, 1, 3])).is_some());
    }

    #[test]
    fn codes_and_values_must_be_the_same() {
        let (fine, refused) = (response(0, &[0, 1, 1]), response(0x101, &[]));
        assert_eq!(
            differ("PolicyGetDigest", &fine, &refused),
            Some(Difference::Codes { ours: 0, theirs: 0x101 })
        );
        assert_eq!(
            differ("PolicyGetDigest", &fine, &response(0, &[0, 1, 2])),
            Some(Difference::Field { number: 1 })
        );
        assert_eq!(differ("PolicyGetDigest", &refused, &refused), None);
    }

    #[test]
    fn a_response_that_lies_about_its_size_is_malformed() {
        let mut lie = response(0x101, &[]);
        lie[5] = 11;
        assert_eq!(differ("GetRandom", &lie, &response(0x101, &[])), Some(Difference::Malformed));
    }
}
