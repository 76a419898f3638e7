//! Descriptions of commands, made of the rows of `command_table`: what reading handles, authorization, parameter encryption,
//! read-only and failure mode, audit and GetCapability go by.

use crate::structures::handles::HandleKind;

/// Which authorization a handle asks for: Part 1, authorization roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    None,
    User,
    Admin,
    Dup,
}

/// What is known about a command without carrying it out.
#[derive(Debug, Clone, Copy)]
pub struct Command {
    pub code: CommandCode,
    /// The specification's name, without the prefix.
    pub name: &'static str,
    /// The section of Part 3 that says what it does.
    #[cfg_attr(not(test), allow(dead_code, reason = "only documentation is made of it"))]
    pub section: &'static str,
    pub handles: &'static [(HandleKind, Role)],
    attributes: u32,
}

/// TPMA_CC.nv: may write NV memory.
pub const NV: u32 = 1 << 0;
/// TPMA_CC.extensive: may flush many contexts.
pub const EXTENSIVE: u32 = 1 << 1;
/// TPMA_CC.flushed: flushes the handles it uses.
pub const FLUSHED: u32 = 1 << 2;
/// TPMA_CC.rHandle: answers with a handle.
pub const RESPONSE_HANDLE: u32 = 1 << 3;
/// The first parameter may be encrypted.
pub const DECRYPT: u32 = 1 << 4;
/// The first response parameter may be encrypted.
pub const ENCRYPT: u32 = 1 << 5;
/// May be made to need physical presence by TPM2_PP_Commands.
pub const PHYSICAL_PRESENCE: u32 = 1 << 6;
/// Always needs physical presence.
pub const PHYSICAL_PRESENCE_REQUIRED: u32 = 1 << 7;
/// Takes no sessions at all.
pub const NO_SESSIONS: u32 = 1 << 8;
/// Writes an NV index: the index's write attributes decide about its authorization.
pub const NV_WRITE_OPERATION: u32 = 1 << 9;
/// Refused in read-only mode (Part 1, section on it): makes new objects, or changes what is durable.
pub const NOT_READ_ONLY: u32 = 1 << 10;
/// In read-only mode only on an index whose contents end with the power cycle anyway.
pub const READ_ONLY_IF_VOLATILE: u32 = 1 << 11;
/// Served in failure mode.
pub const IN_FAILURE: u32 = 1 << 12;
/// May calculate with a key: takes an object or a hierarchy, or brings or makes a key of its own.
pub const KEYS: u32 = 1 << 13;
/// Makes an object of a template, its second parameter: TPM2_PolicyTemplate goes by it.
pub const CREATES: u32 = 1 << 14;
/// Cannot be audited.
pub const NEVER_AUDITED: u32 = 1 << 15;
/// Is audited, whatever TPM2_SetCommandCodeAuditStatus says.
pub const ALWAYS_AUDITED: u32 = 1 << 16;
/// Ends what TPM2_Shutdown saved: a resume must not bring the old values back.
pub const UNSAVES: u32 = 1 << 17;

impl Command {
    /// Whether all of `attributes` hold.
    pub const fn has(&self, attributes: u32) -> bool {
        self.attributes & attributes == attributes
    }

    /// The role that the handle at `index` asks for.
    pub fn role(&self, index: usize) -> Role {
        self.handles.get(index).map_or(Role::None, |(_, role)| *role)
    }

    /// TPMA_CC.
    pub fn tpma_cc(&self) -> u32 {
        let handles = u32::try_from(self.handles.len()).unwrap_or(0);
        let bit = |attribute: u32, position: u32| u32::from(self.has(attribute)) << position;
        (self.code.to_wire() & 0xFFFF)
            | bit(NV, 22)
            | bit(EXTENSIVE, 23)
            | bit(FLUSHED, 24)
            | (handles << 25)
            | bit(RESPONSE_HANDLE, 28)
    }
}

macro_rules! describe {
    ($( $code:literal $name:ident $text:literal $section:literal $($path:ident)::+ [$($kind:ident $role:ident),*] [$($attribute:ident)*]; )+) => {
        /// TPM_CC of the commands that are implemented.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[allow(clippy::enum_variant_names, reason = "the specification has a command named Commit")]
        pub enum CommandCode { $( $name = $code, )+ }

        /// Every command that is implemented, by code.
        pub static COMMANDS: &[Command] = &[ $(
            Command {
                code: CommandCode::$name,
                name: $text,
                section: stringify!($section),
                handles: &[$( (HandleKind::$kind, Role::$role) ),*],
                attributes: 0 $( | $attribute )*,
            },
        )+ ];
    };
}

command_table!(describe);

impl CommandCode {
    pub const fn to_wire(self) -> u32 {
        self as u32
    }
}

/// The command with this code, if it is implemented.
pub fn find(code: u32) -> Option<&'static Command> {
    let at = COMMANDS.binary_search_by_key(&code, |command| command.code.to_wire()).ok()?;
    COMMANDS.get(at)
}

/// The specification's name of an implemented command, without the prefix.
#[must_use]
pub fn command_name(code: u32) -> Option<&'static str> {
    find(code).map(|command| command.name)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use crate::command_table::NOT_IMPLEMENTED;
    use crate::structures::handles::Handle;
    use alloc::format;
    use alloc::string::String;
    use alloc::vec::Vec;

    #[test]
    fn the_table_is_sorted_by_code() {
        assert!(COMMANDS.is_sorted_by(|left, right| left.code.to_wire() < right.code.to_wire()));
        // Version 1.85, table of TPM_CC: 134 codes.
        assert_eq!(COMMANDS.len() + NOT_IMPLEMENTED.len(), 134);
    }

    #[test]
    fn commands_that_take_keys_say_so_and_what_firmware_asks_for_first_does_not() {
        for row in COMMANDS {
            let takes_objects = row.handles.iter().any(|(kind, _)| kind.admits(Handle::TRANSIENT_FIRST));
            assert!(row.has(KEYS) || !takes_objects, "{}", row.name);
            let first = ["Startup", "PCR_Extend", "PCR_Read", "GetRandom", "SelfTest", "GetCapability"];
            assert!(!row.has(KEYS) || !first.contains(&row.name), "{}", row.name);
        }
    }

    /// `doc/commands.md`, made of the table.
    fn documentation() -> String {
        let mut lines: Vec<(u32, String)> = COMMANDS
            .iter()
            .map(|row| (row.code.to_wire(), format!("{} | {} | yes |", row.name, row.section)))
            .collect();
        lines.extend(
            NOT_IMPLEMENTED.iter().map(|(code, name, reason)| (*code, format!("{name} | | no: {reason} |"))),
        );
        lines.sort();
        let mut text = String::from(include_str!("../doc/commands.head.md"));
        for (code, line) in lines {
            text += &format!("| 0x{code:03X} | {line}\n");
        }
        text
    }

    /// Where the documentation is wrong, this writes it anew: `VOUCHSAFE_WRITE_DOC=1 cargo test -p tpm documentation`.
    #[test]
    fn the_documentation_is_made_of_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/doc/commands.md");
        if std::env::var_os("VOUCHSAFE_WRITE_DOC").is_some() {
            std::fs::write(path, documentation()).expect("the documentation is written");
        }
        let written = std::fs::read_to_string(path).expect("the documentation is there");
        assert_eq!(written, documentation(), "VOUCHSAFE_WRITE_DOC=1 writes it anew");
    }

    /// All text of the handlers' files.
    fn sources(folder: &std::path::Path) -> String {
        let mut text = String::new();
        for entry in std::fs::read_dir(folder).expect("the folder is there") {
            let path = entry.expect("the folder can be read").path();
            text +=
                &if path.is_dir() { sources(&path) } else { std::fs::read_to_string(path).expect("a file") };
        }
        text
    }

    #[test]
    fn each_handler_says_which_section_it_follows() {
        let text = sources(concat!(env!("CARGO_MANIFEST_DIR"), "/src/commands").as_ref());
        for row in COMMANDS {
            let begins = format!("/// TPM2_{} (Part 3, {})", row.name, row.section);
            assert!(text.contains(&begins), "{begins}");
        }
    }

    #[test]
    fn attributes_are_laid_out_as_tpma_cc() {
        let tpma_cc = |code: CommandCode| find(code.to_wire()).expect("it is in the table").tpma_cc();
        assert_eq!(tpma_cc(CommandCode::CreatePrimary), 0x1200_0131);
        assert_eq!(tpma_cc(CommandCode::EventSequenceComplete), 0x0540_0185);
    }

    #[test]
    fn authorized_handles_come_first() {
        for command in COMMANDS {
            let roles: Vec<bool> = command.handles.iter().map(|(_, role)| *role != Role::None).collect();
            assert!(roles.is_sorted_by(|left, right| left >= right), "{}", command.name);
        }
    }
}
