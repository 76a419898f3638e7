//! Why a guest ended itself: the reason set and code of MSR request 0x100 (AMD 56421, termination request).

/// A guest's last word: a reason set (4 bits) and a code in that set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Termination {
    reason_set: u8,
    reason_code: u8,
}

/// Reason set of the GHCB specification.
pub const SET_GENERAL: u8 = 0;
/// Reason set of Linux.
pub const SET_LINUX: u8 = 1;

/// The guest gives no reason.
pub const GENERAL_UNSPECIFIED: Termination = Termination::in_set_of(SET_GENERAL, 0);
/// The host's range of GHCB protocol versions does not fit.
pub const GENERAL_PROTOCOL_UNSUPPORTED: Termination = Termination::in_set_of(SET_GENERAL, 1);
/// The host lacks features that SNP needs.
pub const GENERAL_SNP_UNSUPPORTED: Termination = Termination::in_set_of(SET_GENERAL, 2);

/// What the codes of the two public sets mean: (set, code, text). Linux `sev-common.h` names the second set.
const MEANINGS: &[(u8, u8, &str)] = &[
    (SET_GENERAL, 0, "general termination request"),
    (SET_GENERAL, 1, "GHCB protocol range is not supported"),
    (SET_GENERAL, 2, "SNP features are not supported"),
    (SET_LINUX, 0, "GHCB registration failed"),
    (SET_LINUX, 1, "page state change failed"),
    (SET_LINUX, 2, "PVALIDATE failed"),
    (SET_LINUX, 3, "not at VMPL0, or no multi-VMPL support"),
    (SET_LINUX, 4, "CPUID table is invalid"),
    (SET_LINUX, 5, "CPUID from the hypervisor failed"),
    (SET_LINUX, 6, "secrets page is missing or invalid"),
    (SET_LINUX, 7, "secrets page names no SVSM"),
    (SET_LINUX, 8, "SVSM names VMPL0 as the guest's level"),
    (SET_LINUX, 9, "SVSM calling area is not page aligned"),
    (SET_LINUX, 10, "secure TSC set-up failed"),
    (SET_LINUX, 11, "SVSM refused to move the calling area"),
    (SET_LINUX, 12, "secure AVIC set-up failed"),
];

impl Termination {
    const fn in_set_of(reason_set: u8, reason_code: u8) -> Self {
        Self { reason_set, reason_code }
    }

    /// A reason, `None` if the set does not fit in its four bits.
    #[must_use]
    pub const fn new(reason_set: u8, reason_code: u8) -> Option<Self> {
        if reason_set > 0xF { None } else { Some(Self { reason_set, reason_code }) }
    }

    /// The table that the code belongs to: 0 is the specification's, 1 Linux's, the rest is free.
    #[must_use]
    pub const fn reason_set(self) -> u8 {
        self.reason_set
    }

    /// The code in that table.
    #[must_use]
    pub const fn reason_code(self) -> u8 {
        self.reason_code
    }

    /// What the specification or Linux means by this reason, for the machine's messages.
    #[must_use]
    pub fn meaning(self) -> Option<&'static str> {
        MEANINGS
            .iter()
            .find(|(set, code, _)| (*set, *code) == (self.reason_set, self.reason_code))
            .map(|(_, _, text)| *text)
    }

    pub(super) const fn to_data(self) -> u64 {
        (self.reason_set as u64) << 12 | (self.reason_code as u64) << 16
    }

    pub(super) const fn from_data(value: u64) -> Self {
        Self { reason_set: (value >> 12) as u8 & 0xF, reason_code: (value >> 16) as u8 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_beyond_four_bits_is_refused() {
        assert_eq!(Termination::new(16, 0), None);
        assert!(Termination::new(15, 255).is_some());
    }

    #[test]
    fn meanings_name_each_reason_once() {
        for (index, (set, code, _)) in MEANINGS.iter().enumerate() {
            let same = MEANINGS.iter().position(|(s, c, _)| (s, c) == (set, code));
            assert_eq!(same, Some(index));
        }
        assert_eq!(Termination::new(9, 9).and_then(Termination::meaning), None);
    }
}
