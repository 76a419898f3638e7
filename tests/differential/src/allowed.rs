//! Differences that are right: each with what decides it.
//!
//! They are those from libtpms 0.9, whose answers follow version 1.59 of the specification with errata; with another version
//! the table says nothing, and the trial is skipped.

use crate::answers::Difference;

/// What differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Our response code, and theirs.
    Codes(u32, u32),
    /// Their response code, whatever ours is.
    Theirs(u32),
    /// Our response code, whatever theirs is.
    Ours(u32),
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

/// TPM_PT_REVISION of libtpms 0.9, which the table is for.
pub const REVISION: u32 = 164;

const TAG: &str = "Part 3, 5.2 and 6.1: a tag that is no command's is answered by TPM_RC_BAD_TAG under \
                   TPM_ST_RSP_COMMAND; libtpms has TPM_RC_VALUE, or its own tag";
const SLOTS: &str =
    "Part 2, 7.5: TRANSIENT_LAST follows the number of object slots, of which libtpms has 3 and ours 64";

const NEWER: &str = "Part 3, 5.2 and 5.4: the command is of a newer version than libtpms 0.9 is of; ours gets as far as its handles";
const MAC: &str = "Part 2, 6.5.2: this code is TPM2_MAC's where there is CMAC, as in libtpms, which has symmetric keys and \
                   TPMI_ALG_MAC_SCHEME; without CMAC, as in ours, it is TPM2_HMAC's, which has neither";
const ORDER: &str = "Part 3, 5.1: a command with two errors; the order of checks is not normative";
const LIMITED: &str = "Part 2, 8.3: firmwareLimited and svnLimited are newer than libtpms 0.9, for which their bits are reserved";
const NV_SIZE: &str = "Part 3, 31.3: the largest index, and the largest that is written at once (TPM_PT_NV_INDEX_MAX, \
                       TPM_PT_NV_BUFFER_MAX), are the TPM's own: 2048 both in ours, 2048 and 1024 in libtpms";
const PRIVATE_SIZE: &str =
    "Part 2, 12.3.7: how large TPM2B_PRIVATE may be follows from what the TPM implements; 1024 bytes in ours";
const NUMBER: &str = "Part 2, 6.6.2: an error says which handle or parameter it is about; libtpms names none, or a parameter \
                      for a handle";
const CURVES: &str =
    "Part 2, 11.2.5.5: curves are the TPM's own; libtpms has P-192, P-224 and the Barreto-Naehrig curves";
const TICKET: &str = "Part 2, 10.7: a ticket with another tag than its own is refused by TPM_RC_TAG; libtpms has TPM_RC_VALUE \
                      where it is no tag at all";
const CIPHERS: &str = "Part 2, 9.30: ciphers are the TPM's own; libtpms has TDES and Camellia";

const CLOCK: &str = "Part 3, 29.2: a time below Clock is refused; ours keeps Clock over a reset to the millisecond, libtpms goes back \
                     to its copy, and a millisecond passes in one before it does in the other";

/// A difference in response codes, ours and theirs.
const fn codes(code: u32, ours: u32, theirs: u32, reason: &'static str) -> Allowed {
    Allowed { code, what: What::Codes(ours, theirs), reason }
}

/// A refusal of theirs, whatever ours says.
const fn theirs(code: u32, theirs: u32, reason: &'static str) -> Allowed {
    Allowed { code, what: What::Theirs(theirs), reason }
}

/// A difference in a field.
const fn field(code: u32, number: usize, reason: &'static str) -> Allowed {
    Allowed { code, what: What::Field(number), reason }
}

/// The table.
pub const ALLOWED: &[Allowed] = &[
    codes(0, 0x01e, 0x084, TAG),
    codes(0, 0x01e, 0x01e, TAG),
    codes(0, 0x910, 0x184, SLOTS),
    codes(0, 0x911, 0x284, SLOTS),
    codes(0, 0x284, 0x184, SLOTS),
    codes(0x165, 0x1cb, 0x1c4, SLOTS),
    theirs(0, 0x902, SLOTS),
    theirs(
        0,
        0x922,
        "Part 3, 6.2: TPM_RC_RETRY is for a TPM that could not start the command; ours notes the first use of what is \
         under dictionary attack protection within the command",
    ),
    codes(0, 0x184, 0x143, NEWER),
    theirs(0x199, 0x143, NEWER),
    theirs(0x19a, 0x143, NEWER),
    theirs(0x19b, 0x143, NEWER),
    theirs(0x19c, 0x143, NEWER),
    theirs(0x19d, 0x143, NEWER),
    theirs(0x19e, 0x143, NEWER),
    theirs(0x19f, 0x143, NEWER),
    theirs(0x1a0, 0x143, NEWER),
    theirs(0x131, 0x2e1, LIMITED),
    theirs(0x153, 0x2e1, LIMITED),
    theirs(0x156, 0x2e1, LIMITED),
    theirs(0x157, 0x2e1, LIMITED),
    theirs(0x167, 0x2e1, LIMITED),
    theirs(0x191, 0x2e1, LIMITED),
    codes(0x155, 0x18a, 0x2c4, MAC),
    codes(0x155, 0x18a, 0x2d2, MAC),
    codes(0x155, 0x2c3, 0x2d6, MAC),
    codes(0x15b, 0x18a, 0x2c4, MAC),
    codes(0x15b, 0x18a, 0x2d2, MAC),
    codes(0x15b, 0x2c3, 0x2d6, MAC),
    codes(0x155, 0x182, 0x2c4, ORDER),
    codes(0x15b, 0x182, 0x2c4, ORDER),
    codes(0x176, 0x284, 0x910, ORDER),
    codes(0x176, 0x910, 0x284, ORDER),
    codes(0x147, 0x18a, 0x28a, ORDER),
    codes(0x159, 0x2c4, 0x1d5, ORDER),
    codes(0x178, 0x1e6, 0, CURVES),
    codes(0x167, 0x2e6, 0x2dc, CURVES),
    codes(0x131, 0x2e6, 0x4c4, CURVES),
    codes(0x18e, 0x1e6, 0, CURVES),
    codes(0x18e, 0x1e6, 0x095, CURVES),
    Allowed {
        code: 0x197,
        what: What::Ours(0x143),
        reason: "Part 3, 5.2: TPM_RC_COMMAND_CODE where a command is not implemented, as TPM2_CertifyX509 in ours",
    },
    codes(
        0x12a,
        0,
        0x14b,
        "Part 3, 31.3, note 3: how large an orderly index may be is the TPM's own; libtpms has 512 bytes for all of them",
    ),
    theirs(0x12a, 0x2d5, NV_SIZE),
    codes(0x18a, 0x1d6, 0x1c4, CIPHERS),
    codes(0x176, 0x4d6, 0x4c4, CIPHERS),
    codes(0x176, 0x4d6, 0, CIPHERS),
    codes(0x142, 0x1c4, 0, CIPHERS),
    codes(0x131, 0x2d6, 0x2c4, CIPHERS),
    codes(0x153, 0x2d6, 0x2c4, CIPHERS),
    codes(0x14a, 0x4d7, 0x4c4, TICKET),
    codes(0x15d, 0x3d7, 0x3c4, TICKET),
    codes(0x16a, 0x4d7, 0x4c4, TICKET),
    codes(0x172, 0x5d7, 0x5c4, TICKET),
    field(
        0x142,
        1,
        "Part 3, 10.3: what is left to test is the TPM's own; in ours it is elliptic curves until a command may need them",
    ),
    codes(
        0x148,
        0x18a,
        0,
        "Part 3, 18.2: what is certified is the Name of a loaded object; a sequence has none, and libtpms certifies an \
         empty one",
    ),
    codes(0x152, 0x1d5, 0, PRIVATE_SIZE),
    codes(0x157, 0x1d5, 0x095, PRIVATE_SIZE),
    codes(0x157, 0x1d5, 0x2c4, PRIVATE_SIZE),
    codes(0x156, 0x3d5, 0x2c2, PRIVATE_SIZE),
    codes(0x15c, 0x189, 0x1c9, NUMBER),
    codes(0x16d, 0x1cd, 0x08d, NUMBER),
    codes(0x191, 0x2c2, 0x082, NUMBER),
    codes(
        0x159,
        0x19c,
        0x1d5,
        "Part 2, 11.2.4.5: a ciphertext may be as long as the largest key, of 4096 bits in ours and 3072 in libtpms",
    ),
    codes(
        0x176,
        0x2da,
        0x2d5,
        "Part 2, TPM2B_ENCRYPTED_SECRET: a secret may be as long as a ciphertext of the largest key, of 4096 bits in ours and 3072 in \
         libtpms",
    ),
    codes(0x128, 0x1c4, 0, CLOCK),
    codes(0x128, 0, 0x1c4, CLOCK),
    field(
        0x181,
        3,
        "Part 3, 29.2: setting Clock forward by more than the update interval makes it durable, and so safe; \
         TPM_PT_CLOCK_UPDATE is the TPM's own, 2^22 in ours and 2^12 in libtpms",
    ),
];

/// The row that allows a difference, if one does.
pub fn find(command: u32, difference: &Difference) -> Option<&'static Allowed> {
    let what = match difference {
        Difference::Codes { ours, theirs } => What::Codes(*ours, *theirs),
        Difference::Field { number } => What::Field(*number),
        Difference::Lengths { .. } | Difference::Malformed => return None,
    };
    let fits = |row: What| match (row, what) {
        (What::Theirs(row), What::Codes(_, theirs)) => row == theirs,
        (What::Ours(row), What::Codes(ours, _)) => row == ours,
        (row, what) => row == what,
    };
    ALLOWED.iter().find(|row| (row.code == 0 || row.code == command) && fits(row.what))
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
