//! Capabilities, properties and arithmetic operands: Part 2, sections 6.8, 6.12 to 6.15.

use crate::response_code::ResponseCode;
use crate::wire::{Reader, Result, Unmarshal};

macro_rules! numbered {
    ($( $(#[$meta:meta])* $name:ident: $raw:ident { $( $row:ident = $value:literal, )+ } )+) => {
        $(
            $(#[$meta])*
            #[derive(Debug, Clone, Copy, PartialEq, Eq)]
            pub enum $name { $( $row, )+ }

            #[allow(dead_code, reason = "not every number is answered")]
            impl $name {
                pub const fn to_wire(self) -> $raw {
                    match self { $( Self::$row => $value, )+ }
                }
            }

            impl Unmarshal for $name {
                fn unmarshal(reader: &mut Reader<'_>) -> Result<Self> {
                    match reader.read::<$raw>()? {
                        $( $value => Ok(Self::$row), )+
                        _ => Err(ResponseCode::VALUE),
                    }
                }
            }
        )+
    };
}

numbered! {
    /// TPM_CAP.
    Capability: u32 {
        Algorithms = 0x0,
        Handles = 0x1,
        Commands = 0x2,
        PhysicalPresenceCommands = 0x3,
        AuditCommands = 0x4,
        Pcrs = 0x5,
        TpmProperties = 0x6,
        PcrProperties = 0x7,
        EccCurves = 0x8,
        AuthPolicies = 0x9,
        Acts = 0xA,
        PublicKeys = 0xB,
        SpdmSession = 0xC,
        VendorProperty = 0x100,
    }

    /// TPM_EO.
    Comparison: u16 {
        Equal = 0x0,
        NotEqual = 0x1,
        SignedGreater = 0x2,
        UnsignedGreater = 0x3,
        SignedLess = 0x4,
        UnsignedLess = 0x5,
        SignedGreaterOrEqual = 0x6,
        UnsignedGreaterOrEqual = 0x7,
        SignedLessOrEqual = 0x8,
        UnsignedLessOrEqual = 0x9,
        BitSet = 0xA,
        BitClear = 0xB,
    }

    /// TPM_SE.
    SessionType: u8 {
        Hmac = 0x00,
        Policy = 0x01,
        Trial = 0x03,
    }

    /// TPM_CLOCK_ADJUST, as the octet that it is on the wire.
    ClockAdjust: u8 {
        CoarseSlower = 0xFD,
        MediumSlower = 0xFE,
        FineSlower = 0xFF,
        NoChange = 0x00,
        FineFaster = 0x01,
        MediumFaster = 0x02,
        CoarseFaster = 0x03,
    }
}
