//! Differences that are right: each with what decides it.

use crate::answers::Difference;

/// What differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Our response code, and theirs.
    Codes(u32, u32),
    /// Their response code, whatever ours is.
    Theirs(u32),
    /// A field of the response, by its number.
    Field(usize),
}

/// A difference that is no fault of ours.
#[derive(Debug)]
pub struct Allowed {
    /// TPM_CC, or 0 for any command.
    pub code: u32,
    /// What differs.
    pub what: What,
    /// What decides it, and how.
    pub reason: &'static str,
}

const TAG: &str = "Part 3, 5.2 and Part 2, 6.9: a tag that is no command's is answered by TPM_RC_BAD_TAG under \
                   TPM_ST_RSP_COMMAND; libtpms has TPM_RC_VALUE, or its own tag";
const SLOTS: &str =
    "Part 2, 7.5: TRANSIENT_LAST follows the number of object slots, of which libtpms has 3 and ours 16";

/// The table.
pub const ALLOWED: &[Allowed] = &[
    Allowed { code: 0, what: What::Codes(0x01e, 0x084), reason: TAG },
    Allowed { code: 0, what: What::Codes(0x01e, 0x01e), reason: TAG },
    Allowed { code: 0, what: What::Codes(0x910, 0x184), reason: SLOTS },
    Allowed { code: 0, what: What::Codes(0x911, 0x284), reason: SLOTS },
    Allowed {
        code: 0,
        what: What::Theirs(0x922),
        reason: "Part 2, 6.6.3: TPM_RC_RETRY is for a TPM that could not start the command; ours notes the first use of \
                 what is under dictionary attack protection within the command",
    },
    Allowed {
        code: 0,
        what: What::Codes(0x184, 0x143),
        reason: "Part 3, 5.2 and 5.4: ours implements commands that libtpms 0.9 does not, and gets as far as the handles",
    },
    Allowed {
        code: 0x178,
        what: What::Codes(0x1e6, 0),
        reason: "Part 2, 11.2.5.5: libtpms has the Barreto-Naehrig curves",
    },
    Allowed {
        code: 0x12a,
        what: What::Codes(0, 0x14b),
        reason: "Part 1, 37.7: room for orderly indices is the TPM's; libtpms has 512 bytes",
    },
    Allowed { code: 0x165, what: What::Codes(0x1cb, 0x1c4), reason: SLOTS },
    Allowed {
        code: 0x142,
        what: What::Field(1),
        reason: "Part 3, 10.3: what is left to test is the TPM's choice; ours has tested everything by then",
    },
];

/// The row that allows a difference, if one does.
pub fn find(command: u32, difference: &Difference) -> Option<&'static Allowed> {
    let what = match difference {
        Difference::Codes { ours, theirs } => What::Codes(*ours, *theirs),
        Difference::Field { number } => What::Field(*number),
        Difference::Lengths { .. } | Difference::Malformed => return None,
    };
    let is_theirs =
        |row: &What| matches!((row, what), (What::Theirs(row), What::Codes(_, theirs)) if *row == theirs);
    ALLOWED
        .iter()
        .find(|row| (row.code == 0 || row.code == command) && (row.what == what || is_theirs(&row.what)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_says_what_decides() {
        assert!(ALLOWED.iter().all(|row| row.reason.starts_with("Part ")));
    }

    #[test]
    fn no_row_is_for_any_command_and_lets_ours_do_what_is_refused() {
        for row in ALLOWED.iter().filter(|row| row.code == 0) {
            assert!(!matches!(row.what, What::Codes(0, _) | What::Codes(_, 0)), "{}", row.reason);
        }
    }
}
