//! Response codes: Part 2, section 6.6.
//!
//! Errors of format one say which handle, parameter or session they are about; [`ResponseCode::parameter`] and its
//! siblings add the number once, in the place that knows it.

use core::fmt;

/// A response code other than success.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ResponseCode(u32);

const FORMAT_ONE: u32 = 0x080;
const VERSION_ONE: u32 = 0x100;
const WARNING: u32 = 0x900;
/// The bits of a format-one code that say what it is about: P, and the number N.
const SUBJECT: u32 = 0xF40;

macro_rules! codes {
    ($( $family:ident { $( $name:ident = $number:literal; )+ } )+) => {
        impl ResponseCode {
            $( $( #[doc = concat!("TPM_RC_", stringify!($name), ".")] pub const $name: Self = Self($family + $number); )+ )+
        }

        impl ResponseCode {
            /// The specification's name without the prefix, and without the number of the subject.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self.bare().0 {
                    $( $( code if code == $family + $number => stringify!($name), )+ )+
                    _ => "unnamed",
                }
            }
        }
    };
}

impl fmt::Debug for ResponseCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({:#05x})", self.name(), self.0)
    }
}

/// As people read it: `TPM_RC_VALUE, parameter 2`.
impl fmt::Display for ResponseCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "TPM_RC_{}", self.name())?;
        if self.0 & FORMAT_ONE == 0 || self.0 & SUBJECT == 0 {
            return Ok(());
        }
        let (kind, number) = match self.0 & 0x840 {
            0x800 => ("session", (self.0 >> 8) & 0x7),
            0 => ("handle", (self.0 >> 8) & 0x7),
            _ => ("parameter", (self.0 >> 8) & 0xF),
        };
        write!(formatter, ", {kind} {number}")
    }
}

codes! {
    VERSION_ONE {
        INITIALIZE = 0x000;
        FAILURE = 0x001;
        SEQUENCE = 0x003;
        PRIVATE = 0x00B;
        HMAC = 0x019;
        DISABLED = 0x020;
        EXCLUSIVE = 0x021;
        AUTH_TYPE = 0x024;
        AUTH_MISSING = 0x025;
        POLICY = 0x026;
        PCR = 0x027;
        PCR_CHANGED = 0x028;
        UPGRADE = 0x02D;
        TOO_MANY_CONTEXTS = 0x02E;
        AUTH_UNAVAILABLE = 0x02F;
        REBOOT = 0x030;
        UNBALANCED = 0x031;
        COMMAND_SIZE = 0x042;
        COMMAND_CODE = 0x043;
        AUTHSIZE = 0x044;
        AUTH_CONTEXT = 0x045;
        NV_RANGE = 0x046;
        NV_SIZE = 0x047;
        NV_LOCKED = 0x048;
        NV_AUTHORIZATION = 0x049;
        NV_UNINITIALIZED = 0x04A;
        NV_SPACE = 0x04B;
        NV_DEFINED = 0x04C;
        BAD_CONTEXT = 0x050;
        CPHASH = 0x051;
        PARENT = 0x052;
        NEEDS_TEST = 0x053;
        NO_RESULT = 0x054;
        SENSITIVE = 0x055;
        READ_ONLY = 0x056;
    }
    FORMAT_ONE {
        ASYMMETRIC = 0x001;
        ATTRIBUTES = 0x002;
        HASH = 0x003;
        VALUE = 0x004;
        HIERARCHY = 0x005;
        KEY_SIZE = 0x007;
        MGF = 0x008;
        MODE = 0x009;
        TYPE = 0x00A;
        HANDLE = 0x00B;
        KDF = 0x00C;
        RANGE = 0x00D;
        AUTH_FAIL = 0x00E;
        NONCE = 0x00F;
        PP = 0x010;
        SCHEME = 0x012;
        SIZE = 0x015;
        SYMMETRIC = 0x016;
        TAG = 0x017;
        SELECTOR = 0x018;
        INSUFFICIENT = 0x01A;
        SIGNATURE = 0x01B;
        KEY = 0x01C;
        POLICY_FAIL = 0x01D;
        INTEGRITY = 0x01F;
        TICKET = 0x020;
        RESERVED_BITS = 0x021;
        BAD_AUTH = 0x022;
        EXPIRED = 0x023;
        POLICY_CC = 0x024;
        BINDING = 0x025;
        CURVE = 0x026;
        ECC_POINT = 0x027;
    }
    WARNING {
        CONTEXT_GAP = 0x001;
        OBJECT_MEMORY = 0x002;
        SESSION_MEMORY = 0x003;
        MEMORY = 0x004;
        SESSION_HANDLES = 0x005;
        OBJECT_HANDLES = 0x006;
        LOCALITY = 0x007;
        YIELDED = 0x008;
        CANCELED = 0x009;
        TESTING = 0x00A;
        REFERENCE_H0 = 0x010;
        REFERENCE_S0 = 0x018;
        NV_RATE = 0x020;
        LOCKOUT = 0x021;
        RETRY = 0x022;
        NV_UNAVAILABLE = 0x023;
    }
}

impl ResponseCode {
    /// The code of a response, for who reads one; `None` for success.
    #[must_use]
    pub const fn from_wire(code: u32) -> Option<Self> {
        if code == 0 { None } else { Some(Self(code)) }
    }

    /// TPM_RC_BAD_TAG: the only code of format zero, version 1.2, so that an older TPM's software understands it.
    pub const BAD_TAG: Self = Self(0x01E);

    /// The number on the wire.
    #[must_use]
    pub const fn to_wire(self) -> u32 {
        self.0
    }

    /// Says that the error is about the `number`th parameter, counted from one.
    #[must_use]
    pub const fn parameter(self, number: u32) -> Self {
        self.about(0x040 | ((number & 0xF) << 8))
    }

    /// Says that the error is about the `number`th handle, counted from one.
    #[must_use]
    pub const fn handle(self, number: u32) -> Self {
        self.about((number & 0x7) << 8)
    }

    /// Says that the error is about the `number`th session, counted from one.
    #[must_use]
    pub const fn session(self, number: u32) -> Self {
        self.about(0x800 | ((number & 0x7) << 8))
    }

    /// TPM_RC_REFERENCE_H0 and its successors: the handle at `index`, counted from zero, is not loaded.
    #[must_use]
    pub const fn reference_handle(index: u32) -> Self {
        Self(Self::REFERENCE_H0.0 | (index & 0x7))
    }

    /// TPM_RC_REFERENCE_S0 and its successors: the session at `index`, counted from zero, is not loaded.
    #[must_use]
    pub const fn reference_session(index: u32) -> Self {
        Self(Self::REFERENCE_S0.0 | (index & 0x7))
    }

    /// The code without the number of its subject.
    #[must_use]
    pub const fn bare(self) -> Self {
        if self.0 & FORMAT_ONE != 0 { Self(self.0 & !SUBJECT) } else { self }
    }

    const fn about(self, subject: u32) -> Self {
        let numberable = self.0 & FORMAT_ONE != 0 && self.0 & SUBJECT == 0;
        if numberable { Self(self.0 | subject) } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_told_with_their_subject() {
        let told = |code| alloc::format!("{}", ResponseCode::from_wire(code).unwrap());
        assert_eq!(told(0x2C4), "TPM_RC_VALUE, parameter 2");
        assert_eq!(told(0xFC4), "TPM_RC_VALUE, parameter 15");
        assert_eq!(told(0x184), "TPM_RC_VALUE, handle 1");
        assert_eq!(told(0x98E), "TPM_RC_AUTH_FAIL, session 1");
        assert_eq!(told(0x100), "TPM_RC_INITIALIZE");
        assert_eq!(told(0x921), "TPM_RC_LOCKOUT");
        assert_eq!(told(0x1FF), "TPM_RC_unnamed, parameter 1");
        assert_eq!(ResponseCode::from_wire(0), None);
    }

    #[test]
    fn numbers_are_added_once_and_only_to_format_one() {
        assert_eq!(ResponseCode::VALUE.parameter(2).to_wire(), 0x2C4);
        assert_eq!(ResponseCode::VALUE.handle(1).to_wire(), 0x184);
        assert_eq!(ResponseCode::AUTH_FAIL.session(1).to_wire(), 0x98E);
        assert_eq!(ResponseCode::VALUE.parameter(2).parameter(3).to_wire(), 0x2C4);
        assert_eq!(ResponseCode::LOCKOUT.session(1).to_wire(), 0x921);
        assert_eq!(ResponseCode::AUTH_MISSING.parameter(1).to_wire(), 0x125);
        assert_eq!(ResponseCode::reference_handle(1).to_wire(), 0x911);
        assert_eq!(ResponseCode::VALUE.parameter(2).bare(), ResponseCode::VALUE);
    }
}
