//! What a host does on purpose with the powers of a hypervisor: `snp-emulator run --attack NAME[,key=value...]`.
//!
//! One table says for each attack what the host does, which claim it attacks, and what can be set. The launcher reads it for
//! the command line and for `--attack list`, the monitor carries it out, and the documents name its rows.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A launch VMSA runs after the guest has started.
    LaunchVmsaRuns,
    /// The same, with an event injected before its first instruction.
    LaunchVmsaInjected,
    /// RDMSR of VMPL0 is intercepted, and the host makes up the answer.
    MsrAnswered,
}

/// Something that can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it sets.
    pub sets: &'static str,
    /// Its value where nothing is given.
    pub default: u64,
}

/// One attack.
#[derive(Debug, PartialEq, Eq)]
pub struct Attack {
    /// Which one.
    pub kind: Kind,
    /// Its name.
    pub name: &'static str,
    /// What the host does.
    pub does: &'static str,
    /// The claim that it attacks.
    pub claim: &'static str,
    /// What can be set.
    pub keys: &'static [Key],
}

const VCPU: Key = Key { name: "vcpu", sets: "whose launch VMSA, 1 or more", default: 1 };
const AFTER: Key = Key { name: "after", sets: "entries into the guest before it", default: 4 };

/// All attacks, by name.
pub const ATTACKS: &[Attack] = &[
    Attack {
        kind: Kind::LaunchVmsaInjected,
        name: "launch_vmsa_injected",
        does: "runs the VMSA with which a vCPU was launched, at VMPL0, with an event injected before its first instruction",
        claim: "VMPL0 executes the firmware's measured text and nothing else",
        keys: &[VCPU, AFTER, Key { name: "vector", sets: "the event: 2 is an NMI", default: 2 }],
    },
    Attack {
        kind: Kind::LaunchVmsaRuns,
        name: "launch_vmsa_runs",
        does: "runs the VMSA with which a vCPU was launched, at VMPL0, after the guest has started",
        claim: "VMPL0 executes the firmware's measured text and nothing else",
        keys: &[VCPU, AFTER],
    },
    Attack {
        kind: Kind::MsrAnswered,
        name: "msr_answered",
        does: "intercepts one RDMSR of VMPL0's and answers what #VC asks for",
        claim: "no fact that VMPL0's security rests on is the host's word",
        keys: &[
            Key {
                name: "register",
                sets: "0xc0000101 is GS's base, 0xc0000080 is EFER",
                default: 0xc000_0101,
            },
            Key { name: "skip", sets: "reads of VMPL0's that pass before it", default: 0 },
            Key { name: "value", sets: "the answer", default: 0xffff_fe00_0000_1800 },
        ],
    },
];

/// An attack with its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    attack: &'static Attack,
    values: Vec<u64>,
}

/// What is wrong with the text that names an attack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoAttack {
    /// There is no attack of that name.
    Name(String),
    /// The attack has no such key.
    Key(String),
    /// A value is no number.
    Value(String),
}

impl fmt::Display for NoAttack {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(out, "there is no attack '{name}'; --attack list names them all"),
            Self::Key(key) => write!(out, "this attack has no key '{key}'; --attack list names them"),
            Self::Value(text) => write!(out, "'{text}' is no key=NUMBER"),
        }
    }
}

impl Chosen {
    /// Reads `NAME[,key=value...]`.
    pub fn parse(text: &str) -> Result<Self, NoAttack> {
        let mut parts = text.split(',');
        let name = parts.next().unwrap_or("");
        let attack = ATTACKS.iter().find(|attack| attack.name == name);
        let attack = attack.ok_or_else(|| NoAttack::Name(name.to_string()))?;
        let mut values: Vec<u64> = attack.keys.iter().map(|key| key.default).collect();
        for part in parts {
            let odd = || NoAttack::Value(part.to_string());
            let (key, value) = part.split_once('=').ok_or_else(odd)?;
            let index = attack.keys.iter().position(|known| known.name == key);
            let index = index.ok_or_else(|| NoAttack::Key(key.to_string()))?;
            let number = match value.strip_prefix("0x") {
                Some(digits) => u64::from_str_radix(digits, 16),
                None => value.parse(),
            };
            values[index] = number.map_err(|_| odd())?;
        }
        Ok(Self { attack, values })
    }

    /// Which attack.
    pub fn kind(&self) -> Kind {
        self.attack.kind
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.attack.name
    }

    /// The claim that it attacks.
    pub fn claim(&self) -> &'static str {
        self.attack.claim
    }

    /// The value of a key; none where the attack does not have it.
    pub fn value(&self, key: &str) -> Option<u64> {
        let index = self.attack.keys.iter().position(|known| known.name == key)?;
        self.values.get(index).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_its_names_are_unique() {
        assert!(ATTACKS.windows(2).all(|pair| pair[0].name < pair[1].name));
        for attack in ATTACKS {
            let chosen = Chosen::parse(attack.name).unwrap();
            assert_eq!(chosen.kind(), attack.kind);
            for key in attack.keys {
                assert_eq!(chosen.value(key.name), Some(key.default));
            }
        }
    }

    #[test]
    fn values_are_set_by_key_and_errors_say_what_is_wrong() {
        let chosen = Chosen::parse("launch_vmsa_injected,vector=0x1d,vcpu=3").unwrap();
        assert_eq!((chosen.value("vector"), chosen.value("vcpu")), (Some(29), Some(3)));
        assert_eq!((chosen.value("after"), chosen.value("register")), (Some(4), None));
        assert_eq!(Chosen::parse("nothing"), Err(NoAttack::Name("nothing".into())));
        assert_eq!(Chosen::parse("launch_vmsa_runs,when=1"), Err(NoAttack::Key("when".into())));
        assert_eq!(Chosen::parse("launch_vmsa_runs,vcpu=x"), Err(NoAttack::Value("vcpu=x".into())));
        assert_eq!(Chosen::parse("launch_vmsa_runs,vcpu"), Err(NoAttack::Value("vcpu".into())));
    }
}
