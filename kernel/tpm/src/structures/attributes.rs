//! Attribute words: Part 2, section 8. Reserved bits that are set are TPM_RC_RESERVED_BITS.

use alloc::vec::Vec;

use crate::response_code::ResponseCode;
use crate::wire::{Marshal, Reader, Result, Unmarshal};

macro_rules! attributes {
    ($(
        $(#[$meta:meta])*
        $name:ident: $raw:ident, reserved $reserved:literal { $( $bit:ident = $value:expr; )* }
    )+) => {
        $(
            $(#[$meta])*
            #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
            pub struct $name(pub $raw);

            #[allow(dead_code, reason = "not every word is asked for single bits")]
            impl $name {
                $( pub const $bit: Self = Self($value); )*

                /// Whether all bits of `bits` are set.
                pub const fn has(self, bits: Self) -> bool {
                    self.0 & bits.0 == bits.0
                }

                /// The same attributes with `bits` set or clear.
                #[must_use]
                pub const fn with(self, bits: Self, set: bool) -> Self {
                    if set { Self(self.0 | bits.0) } else { Self(self.0 & !bits.0) }
                }
            }

            impl Marshal for $name {
                fn marshal(&self, out: &mut Vec<u8>) {
                    self.0.marshal(out);
                }
            }

            impl Unmarshal for $name {
                fn unmarshal(reader: &mut Reader<'_>) -> Result<Self> {
                    const ALLOWED: $raw = !$reserved;
                    let raw: $raw = reader.read()?;
                    if raw | ALLOWED == ALLOWED { Ok(Self(raw)) } else { Err(ResponseCode::RESERVED_BITS) }
                }
            }
        )+
    };
}

attributes! {
    /// TPMA_OBJECT.
    ObjectAttributes: u32, reserved 0xFFF0_F009 {
        FIXED_TPM = 1 << 1;
        STATE_CLEAR = 1 << 2;
        FIXED_PARENT = 1 << 4;
        SENSITIVE_DATA_ORIGIN = 1 << 5;
        USER_WITH_AUTH = 1 << 6;
        ADMIN_WITH_POLICY = 1 << 7;
        FIRMWARE_LIMITED = 1 << 8;
        SVN_LIMITED = 1 << 9;
        NO_DA = 1 << 10;
        ENCRYPTED_DUPLICATION = 1 << 11;
        RESTRICTED = 1 << 16;
        DECRYPT = 1 << 17;
        SIGN = 1 << 18;
        X509_SIGN = 1 << 19;
    }

    /// TPMA_SESSION.
    SessionAttributes: u8, reserved 0x18 {
        CONTINUE_SESSION = 1 << 0;
        AUDIT_EXCLUSIVE = 1 << 1;
        AUDIT_RESET = 1 << 2;
        DECRYPT = 1 << 5;
        ENCRYPT = 1 << 6;
        AUDIT = 1 << 7;
    }

    /// TPMA_LOCALITY.
    Locality: u8, reserved 0x00 {}

    /// TPMA_NV; the type is in bits 4 to 7.
    NvAttributes: u32, reserved 0x01F0_0300 {
        PP_WRITE = 1 << 0;
        OWNER_WRITE = 1 << 1;
        AUTH_WRITE = 1 << 2;
        POLICY_WRITE = 1 << 3;
        POLICY_DELETE = 1 << 10;
        WRITE_LOCKED = 1 << 11;
        WRITE_ALL = 1 << 12;
        WRITE_DEFINE = 1 << 13;
        WRITE_STCLEAR = 1 << 14;
        GLOBAL_LOCK = 1 << 15;
        PP_READ = 1 << 16;
        OWNER_READ = 1 << 17;
        AUTH_READ = 1 << 18;
        POLICY_READ = 1 << 19;
        NO_DA = 1 << 25;
        ORDERLY = 1 << 26;
        CLEAR_STCLEAR = 1 << 27;
        READ_LOCKED = 1 << 28;
        WRITTEN = 1 << 29;
        PLATFORM_CREATE = 1 << 30;
        READ_STCLEAR = 1 << 31;
    }
}

impl Locality {
    /// The attribute of a command's locality: a bit for 0 to 4, the number itself from 32 on.
    pub const fn of(locality: u8) -> Self {
        match locality {
            0..=4 => Self(1 << locality),
            _ => Self(locality),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_bits_are_refused() {
        let object = |raw: u32| Reader::new(&raw.to_be_bytes()).read::<ObjectAttributes>();
        assert_eq!(object(0x0003_0472), Ok(ObjectAttributes(0x0003_0472)));
        assert_eq!(object(1), Err(ResponseCode::RESERVED_BITS));
        assert_eq!(Reader::new(&[0x08]).read::<SessionAttributes>(), Err(ResponseCode::RESERVED_BITS));
        assert_eq!(Reader::new(&[0, 0, 1, 0]).read::<NvAttributes>(), Err(ResponseCode::RESERVED_BITS));
    }
}
