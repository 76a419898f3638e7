//! Damage to a command, the same for both TPMs.
//!
//! The size in the header always tells the truth: swtpm's socket waits for what a larger size promises, so a lie would
//! compare sockets and not TPMs.

use crate::dice::Dice;
use crate::draft::fix_size;

/// One way to damage bytes.
#[derive(Clone, Copy, Debug)]
pub enum Damage {
    /// Another value at a place.
    Byte(usize, u8),
    /// One bit the other way.
    Bit(usize, u8),
    /// A number of two bytes that is a limit of some kind.
    Number(usize, u16),
    /// Nothing from here on.
    Cut(usize),
    /// More bytes at the end.
    Extend(usize),
}

/// Where the size in the header ends: damage stays behind it, or hits the tag.
const AFTER_SIZE: usize = 6;

/// Numbers that stand at limits of sizes, counts and identifiers.
const LIMITS: &[u16] =
    &[0, 1, 0x10, 0x14, 0x20, 0x30, 0x40, 0x41, 0x80, 0x81, 0x3ff, 0x401, 0x800, 0x7fff, 0xffff];

impl Damage {
    /// Some damage for a command of this length.
    pub fn any(dice: &mut Dice, length: usize) -> Self {
        let room = length.saturating_sub(AFTER_SIZE).max(1);
        let place = AFTER_SIZE + dice.below(room);
        match dice.below(12) {
            0..4 => Self::Byte(place, dice.number() as u8),
            4..7 => Self::Bit(place, 1 << dice.below(8)),
            7..9 => Self::Number(place, dice.one(LIMITS)),
            9 => Self::Cut(place.max(HEADER)),
            10 => Self::Extend(1 + dice.below(8)),
            _ => Self::Byte(dice.below(2), dice.one(&[0x80, 0x00, 0x01, 0x02, 0xc4])),
        }
    }

    /// The damaged command.
    pub fn apply(self, command: &[u8]) -> Vec<u8> {
        let mut damaged = command.to_vec();
        match self {
            Self::Byte(place, value) => set(&mut damaged, place, |_| value),
            Self::Bit(place, bit) => set(&mut damaged, place, |old| old ^ bit),
            Self::Number(place, number) => {
                let [high, low] = number.to_be_bytes();
                set(&mut damaged, place, |_| high);
                set(&mut damaged, place + 1, |_| low);
            }
            Self::Cut(place) => damaged.truncate(place),
            Self::Extend(count) => damaged.extend(vec![0; count]),
        }
        fix_size(&mut damaged);
        damaged
    }
}

/// A whole header is always left: swtpm waits for one.
const HEADER: usize = 10;

fn set(bytes: &mut [u8], place: usize, change: impl Fn(u8) -> u8) {
    if let Some(byte) = bytes.get_mut(place) {
        *byte = change(*byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_never_lies_about_the_size_and_leaves_a_header() {
        let mut dice = Dice::new(1);
        let command: Vec<u8> = [0x80, 1, 0, 0, 0, 40].into_iter().chain(0..34).collect();
        for _ in 0..2000 {
            let damaged = Damage::any(&mut dice, command.len()).apply(&command);
            assert!(damaged.len() >= HEADER);
            assert_eq!(damaged[2..6], (damaged.len() as u32).to_be_bytes());
        }
    }
}
