//! Differences that are right: each with what decides it.

use crate::answers::Difference;

/// A difference that is no fault of ours.
#[derive(Debug)]
pub struct Allowed {
    /// TPM_CC, or 0 for any command.
    pub code: u32,
    /// Our response code, and theirs.
    pub codes: (Option<u32>, Option<u32>),
    /// What decides it, and how.
    pub reason: &'static str,
}

/// The table.
pub const ALLOWED: &[Allowed] = &[];

/// The row that allows a difference, if one does.
pub fn find(command: u32, difference: &Difference) -> Option<&'static Allowed> {
    let Difference::Codes { ours, theirs } = difference else { return None };
    ALLOWED.iter().find(|row| {
        (row.code == 0 || row.code == command)
            && row.codes.0.is_none_or(|code| code == *ours)
            && row.codes.1.is_none_or(|code| code == *theirs)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_says_what_decides_and_names_a_code() {
        for row in ALLOWED {
            assert!(row.reason.contains("Part "), "{}", row.reason);
            assert!(row.codes != (None, None), "{}", row.reason);
        }
    }
}
