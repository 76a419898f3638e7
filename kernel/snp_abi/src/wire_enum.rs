//! The macro behind every numbered table: an enum whose rows are the numbers on the wire.
//!
//! One row per number keeps both directions (`to_wire`, `from_wire`) and the list of all values in one place.

/// Declares an enum from a table of wire numbers, with `ALL`, `to_wire` and `from_wire`.
macro_rules! wire_enum {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident: $raw:ident {
            $( $(#[$row_meta:meta])* $row:ident = $value:literal, )+
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr($raw)]
        $vis enum $name {
            $( $(#[$row_meta])* $row = $value, )+
        }

        impl $name {
            /// Every value, in the order of the table.
            pub const ALL: &'static [Self] = &[$( Self::$row, )+];

            /// The number that stands for this value on the wire.
            #[must_use]
            pub const fn to_wire(self) -> $raw {
                self as $raw
            }

            /// The value behind a number from the wire, `None` where the table has no row for it.
            #[must_use]
            pub const fn from_wire(number: $raw) -> Option<Self> {
                match number {
                    $( $value => Some(Self::$row), )+
                    _ => None,
                }
            }
        }
    };
}

pub(crate) use wire_enum;
