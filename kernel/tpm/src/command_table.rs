//! The one table of commands: what each is called, which handles it takes with which authorization, and its attributes.
//!
//! It drives reading the handle area, the authorization checks, parameter encryption, GetCapability and dispatch. Source:
//! Part 3 (the tables of each command) and Part 2, section 8.9 (TPMA_CC). Chapters add only who carries a command out.
// house_rules: table

use crate::call::Handler;
use crate::commands::CHAPTERS;
use crate::structures::handles::{Handle, HandleKind};

/// Which authorization a handle asks for: Part 1, authorization roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    None,
    User,
    Admin,
    Dup,
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Command {
    pub code: CommandCode,
    /// The specification's name, without the prefix.
    pub name: &'static str,
    pub handles: &'static [(HandleKind, Role)],
    attributes: u32,
    /// `None`: not implemented, and not advertised.
    pub handler: Option<Handler>,
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
/// Works on trial sessions.
pub const ALLOW_TRIAL: u32 = 1 << 9;
/// Writes an NV index: the index's write attributes decide about its authorization.
pub const NV_WRITE_OPERATION: u32 = 1 << 10;

impl Command {
    /// Whether all of `attributes` hold.
    pub const fn has(&self, attributes: u32) -> bool {
        self.attributes & attributes == attributes
    }

    /// The role that the handle at `index` asks for.
    pub fn role(&self, index: usize) -> Role {
        self.handles.get(index).map_or(Role::None, |(_, role)| *role)
    }

    /// Whether it may calculate with a key: it takes an object or a hierarchy, or brings or makes a key of its own.
    pub fn may_use_keys(&self) -> bool {
        let of_keys = |kind: HandleKind| kind.admits(Handle::TRANSIENT_FIRST);
        let by_itself = [
            CommandCode::CreatePrimary,
            CommandCode::LoadExternal,
            CommandCode::EcEphemeral,
            CommandCode::ContextLoad,
        ];
        self.handles.iter().any(|(kind, _)| of_keys(*kind)) || by_itself.contains(&self.code)
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

const fn handler_of(code: CommandCode) -> Option<Handler> {
    let mut chapters = CHAPTERS;
    while let [chapter, rest @ ..] = chapters {
        let mut rows = *chapter;
        while let [(candidate, handler), others @ ..] = rows {
            if candidate.to_wire() == code.to_wire() {
                return Some(*handler);
            }
            rows = others;
        }
        chapters = rest;
    }
    None
}

macro_rules! command_table {
    ($( $code:literal $name:ident $text:literal [$($kind:ident $role:ident),*] [$($attribute:ident)*]; )+) => {
        /// TPM_CC.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[allow(clippy::enum_variant_names, reason = "the specification has a command named Commit")]
        pub enum CommandCode { $( $name, )+ }

        impl CommandCode {
            pub const fn to_wire(self) -> u32 {
                match self { $( Self::$name => $code, )+ }
            }
        }

        /// Every command of the specification that this engine knows, by code.
        pub static COMMANDS: &[Command] = &[ $(
            Command {
                code: CommandCode::$name,
                name: $text,
                handles: &[$( (HandleKind::$kind, Role::$role) ),*],
                attributes: 0 $( | $attribute )*,
                handler: handler_of(CommandCode::$name),
            },
        )+ ];
    };
}

/// The implemented command with this code.
pub fn find(code: u32) -> Option<&'static Command> {
    let at = COMMANDS.binary_search_by_key(&code, |command| command.code.to_wire()).ok()?;
    COMMANDS.get(at).filter(|command| command.handler.is_some())
}

/// The specification's name of an implemented command, without the prefix.
#[must_use]
pub fn command_name(code: u32) -> Option<&'static str> {
    find(code).map(|command| command.name)
}

/// The implemented commands, by code.
pub fn implemented() -> impl Iterator<Item = &'static Command> {
    COMMANDS.iter().filter(|command| command.handler.is_some())
}

command_table! {
    0x0000_011F NvUndefineSpaceSpecial "NV_UndefineSpaceSpecial" [NvIndex Admin, Platform User] [NV PHYSICAL_PRESENCE];
    0x0000_0120 EvictControl "EvictControl" [Provision User, Object None] [NV PHYSICAL_PRESENCE];
    0x0000_0121 HierarchyControl "HierarchyControl" [BaseHierarchy User] [NV EXTENSIVE PHYSICAL_PRESENCE];
    0x0000_0122 NvUndefineSpace "NV_UndefineSpace" [Provision User, NvIndex None] [NV PHYSICAL_PRESENCE];
    0x0000_0124 ChangeEps "ChangeEPS" [Platform User] [NV EXTENSIVE PHYSICAL_PRESENCE];
    0x0000_0125 ChangePps "ChangePPS" [Platform User] [NV EXTENSIVE PHYSICAL_PRESENCE];
    0x0000_0126 Clear "Clear" [Clear User] [NV EXTENSIVE PHYSICAL_PRESENCE];
    0x0000_0127 ClearControl "ClearControl" [Clear User] [NV PHYSICAL_PRESENCE];
    0x0000_0128 ClockSet "ClockSet" [Provision User] [NV PHYSICAL_PRESENCE];
    0x0000_0129 HierarchyChangeAuth "HierarchyChangeAuth" [HierarchyAuth User] [NV PHYSICAL_PRESENCE DECRYPT];
    0x0000_012A NvDefineSpace "NV_DefineSpace" [Provision User] [NV PHYSICAL_PRESENCE DECRYPT];
    0x0000_012B PcrAllocate "PCR_Allocate" [Platform User] [NV PHYSICAL_PRESENCE];
    0x0000_012C PcrSetAuthPolicy "PCR_SetAuthPolicy" [Platform User] [NV PHYSICAL_PRESENCE DECRYPT];
    0x0000_012D PpCommands "PP_Commands" [Platform User] [NV PHYSICAL_PRESENCE_REQUIRED];
    0x0000_012E SetPrimaryPolicy "SetPrimaryPolicy" [HierarchyPolicy User] [NV PHYSICAL_PRESENCE DECRYPT];
    0x0000_0130 ClockRateAdjust "ClockRateAdjust" [Provision User] [PHYSICAL_PRESENCE];
    0x0000_0131 CreatePrimary "CreatePrimary" [Hierarchy User] [PHYSICAL_PRESENCE DECRYPT ENCRYPT RESPONSE_HANDLE];
    0x0000_0132 NvGlobalWriteLock "NV_GlobalWriteLock" [Provision User] [NV PHYSICAL_PRESENCE];
    0x0000_0133 GetCommandAuditDigest "GetCommandAuditDigest" [Endorsement User, ObjectOrNull User] [NV DECRYPT ENCRYPT];
    0x0000_0134 NvIncrement "NV_Increment" [NvAuth User, NvIndex None] [NV NV_WRITE_OPERATION];
    0x0000_0135 NvSetBits "NV_SetBits" [NvAuth User, NvIndex None] [NV NV_WRITE_OPERATION];
    0x0000_0136 NvExtend "NV_Extend" [NvAuth User, NvIndex None] [NV DECRYPT NV_WRITE_OPERATION];
    0x0000_0137 NvWrite "NV_Write" [NvAuth User, NvIndex None] [NV DECRYPT NV_WRITE_OPERATION];
    0x0000_0138 NvWriteLock "NV_WriteLock" [NvAuth User, NvIndex None] [NV NV_WRITE_OPERATION];
    0x0000_0139 DictionaryAttackLockReset "DictionaryAttackLockReset" [Lockout User] [NV];
    0x0000_013A DictionaryAttackParameters "DictionaryAttackParameters" [Lockout User] [NV];
    0x0000_013B NvChangeAuth "NV_ChangeAuth" [NvIndex Admin] [NV DECRYPT];
    0x0000_013C PcrEvent "PCR_Event" [PcrOrNull User] [NV DECRYPT];
    0x0000_013D PcrReset "PCR_Reset" [Pcr User] [NV];
    0x0000_013E SequenceComplete "SequenceComplete" [Object User] [FLUSHED DECRYPT ENCRYPT];
    0x0000_013F SetAlgorithmSet "SetAlgorithmSet" [Platform User] [NV];
    0x0000_0140 SetCommandCodeAuditStatus "SetCommandCodeAuditStatus" [Provision User] [NV PHYSICAL_PRESENCE];
    0x0000_0142 IncrementalSelfTest "IncrementalSelfTest" [] [NV];
    0x0000_0143 SelfTest "SelfTest" [] [NV];
    0x0000_0144 Startup "Startup" [] [NV NO_SESSIONS];
    0x0000_0145 Shutdown "Shutdown" [] [NV];
    0x0000_0146 StirRandom "StirRandom" [] [NV DECRYPT];
    0x0000_0147 ActivateCredential "ActivateCredential" [Object Admin, Object User] [DECRYPT ENCRYPT];
    0x0000_0148 Certify "Certify" [Object Admin, ObjectOrNull User] [DECRYPT ENCRYPT];
    0x0000_0149 PolicyNv "PolicyNV" [NvAuth User, NvIndex None, PolicySession None] [DECRYPT ALLOW_TRIAL];
    0x0000_014A CertifyCreation "CertifyCreation" [ObjectOrNull User, Object None] [DECRYPT ENCRYPT];
    0x0000_014B Duplicate "Duplicate" [Object Dup, ObjectOrNull None] [DECRYPT ENCRYPT];
    0x0000_014C GetTime "GetTime" [Endorsement User, ObjectOrNull User] [DECRYPT ENCRYPT];
    0x0000_014D GetSessionAuditDigest "GetSessionAuditDigest" [Endorsement User, ObjectOrNull User, HmacSession None] [DECRYPT ENCRYPT];
    0x0000_014E NvRead "NV_Read" [NvAuth User, NvIndex None] [ENCRYPT];
    0x0000_014F NvReadLock "NV_ReadLock" [NvAuth User, NvIndex None] [NV];
    0x0000_0150 ObjectChangeAuth "ObjectChangeAuth" [Object Admin, Object None] [DECRYPT ENCRYPT];
    0x0000_0151 PolicySecret "PolicySecret" [Entity User, PolicySession None] [DECRYPT ENCRYPT ALLOW_TRIAL];
    0x0000_0152 Rewrap "Rewrap" [ObjectOrNull User, ObjectOrNull None] [DECRYPT ENCRYPT];
    0x0000_0153 Create "Create" [Object User] [DECRYPT ENCRYPT];
    0x0000_0154 EcdhZGen "ECDH_ZGen" [Object User] [DECRYPT ENCRYPT];
    0x0000_0155 Hmac "HMAC" [Object User] [DECRYPT ENCRYPT];
    0x0000_0156 Import "Import" [Object User] [DECRYPT ENCRYPT];
    0x0000_0157 Load "Load" [Object User] [DECRYPT ENCRYPT RESPONSE_HANDLE];
    0x0000_0158 Quote "Quote" [ObjectOrNull User] [DECRYPT ENCRYPT];
    0x0000_0159 RsaDecrypt "RSA_Decrypt" [Object User] [DECRYPT ENCRYPT];
    0x0000_015B HmacStart "HMAC_Start" [Object User] [DECRYPT RESPONSE_HANDLE];
    0x0000_015C SequenceUpdate "SequenceUpdate" [Object User] [DECRYPT];
    0x0000_015D Sign "Sign" [Object User] [DECRYPT];
    0x0000_015E Unseal "Unseal" [Object User] [ENCRYPT];
    0x0000_0160 PolicySigned "PolicySigned" [Object None, PolicySession None] [DECRYPT ENCRYPT ALLOW_TRIAL];
    0x0000_0161 ContextLoad "ContextLoad" [] [NO_SESSIONS RESPONSE_HANDLE];
    0x0000_0162 ContextSave "ContextSave" [Context None] [NO_SESSIONS];
    0x0000_0163 EcdhKeyGen "ECDH_KeyGen" [Object None] [ENCRYPT];
    0x0000_0164 EncryptDecrypt "EncryptDecrypt" [Object User] [ENCRYPT];
    0x0000_0165 FlushContext "FlushContext" [] [NO_SESSIONS];
    0x0000_0167 LoadExternal "LoadExternal" [] [DECRYPT ENCRYPT RESPONSE_HANDLE];
    0x0000_0168 MakeCredential "MakeCredential" [Object None] [DECRYPT ENCRYPT];
    0x0000_0169 NvReadPublic "NV_ReadPublic" [NvIndex None] [ENCRYPT];
    0x0000_016A PolicyAuthorize "PolicyAuthorize" [PolicySession None] [DECRYPT ALLOW_TRIAL];
    0x0000_016B PolicyAuthValue "PolicyAuthValue" [PolicySession None] [ALLOW_TRIAL];
    0x0000_016C PolicyCommandCode "PolicyCommandCode" [PolicySession None] [ALLOW_TRIAL];
    0x0000_016D PolicyCounterTimer "PolicyCounterTimer" [PolicySession None] [DECRYPT ALLOW_TRIAL];
    0x0000_016E PolicyCpHash "PolicyCpHash" [PolicySession None] [DECRYPT ALLOW_TRIAL];
    0x0000_016F PolicyLocality "PolicyLocality" [PolicySession None] [ALLOW_TRIAL];
    0x0000_0170 PolicyNameHash "PolicyNameHash" [PolicySession None] [DECRYPT ALLOW_TRIAL];
    0x0000_0171 PolicyOr "PolicyOR" [PolicySession None] [ALLOW_TRIAL];
    0x0000_0172 PolicyTicket "PolicyTicket" [PolicySession None] [DECRYPT ALLOW_TRIAL];
    0x0000_0173 ReadPublic "ReadPublic" [Object None] [ENCRYPT];
    0x0000_0174 RsaEncrypt "RSA_Encrypt" [Object None] [DECRYPT ENCRYPT];
    0x0000_0176 StartAuthSession "StartAuthSession" [ObjectOrNull None, EntityOrNull None] [DECRYPT ENCRYPT RESPONSE_HANDLE];
    0x0000_0177 VerifySignature "VerifySignature" [Object None] [DECRYPT];
    0x0000_0178 EccParameters "ECC_Parameters" [] [];
    0x0000_017A GetCapability "GetCapability" [] [];
    0x0000_017B GetRandom "GetRandom" [] [ENCRYPT];
    0x0000_017C GetTestResult "GetTestResult" [] [ENCRYPT];
    0x0000_017D Hash "Hash" [] [DECRYPT ENCRYPT];
    0x0000_017E PcrRead "PCR_Read" [] [];
    0x0000_017F PolicyPcr "PolicyPCR" [PolicySession None] [DECRYPT ALLOW_TRIAL];
    0x0000_0180 PolicyRestart "PolicyRestart" [PolicySession None] [ALLOW_TRIAL];
    0x0000_0181 ReadClock "ReadClock" [] [];
    0x0000_0182 PcrExtend "PCR_Extend" [PcrOrNull User] [NV];
    0x0000_0183 PcrSetAuthValue "PCR_SetAuthValue" [Pcr User] [DECRYPT];
    0x0000_0184 NvCertify "NV_Certify" [ObjectOrNull User, NvAuth User, NvIndex None] [DECRYPT ENCRYPT];
    0x0000_0185 EventSequenceComplete "EventSequenceComplete" [PcrOrNull User, Object User] [NV FLUSHED DECRYPT];
    0x0000_0186 HashSequenceStart "HashSequenceStart" [] [DECRYPT RESPONSE_HANDLE];
    0x0000_0187 PolicyPhysicalPresence "PolicyPhysicalPresence" [PolicySession None] [ALLOW_TRIAL];
    0x0000_0188 PolicyDuplicationSelect "PolicyDuplicationSelect" [PolicySession None] [DECRYPT ALLOW_TRIAL];
    0x0000_0189 PolicyGetDigest "PolicyGetDigest" [PolicySession None] [ENCRYPT ALLOW_TRIAL];
    0x0000_018A TestParms "TestParms" [] [];
    0x0000_018B Commit "Commit" [Object User] [DECRYPT ENCRYPT];
    0x0000_018C PolicyPassword "PolicyPassword" [PolicySession None] [ALLOW_TRIAL];
    0x0000_018D ZGen2Phase "ZGen_2Phase" [Object User] [DECRYPT ENCRYPT];
    0x0000_018E EcEphemeral "EC_Ephemeral" [] [ENCRYPT];
    0x0000_018F PolicyNvWritten "PolicyNvWritten" [PolicySession None] [ALLOW_TRIAL];
    0x0000_0190 PolicyTemplate "PolicyTemplate" [PolicySession None] [DECRYPT ALLOW_TRIAL];
    0x0000_0191 CreateLoaded "CreateLoaded" [ParentOrHierarchy User] [PHYSICAL_PRESENCE DECRYPT ENCRYPT RESPONSE_HANDLE];
    0x0000_0192 PolicyAuthorizeNv "PolicyAuthorizeNV" [NvAuth User, NvIndex None, PolicySession None] [ALLOW_TRIAL];
    0x0000_0193 EncryptDecrypt2 "EncryptDecrypt2" [Object User] [DECRYPT ENCRYPT];
    0x0000_0199 EccEncrypt "ECC_Encrypt" [Object None] [DECRYPT ENCRYPT];
    0x0000_019A EccDecrypt "ECC_Decrypt" [Object User] [DECRYPT ENCRYPT];
    0x0000_019B PolicyCapability "PolicyCapability" [PolicySession None] [DECRYPT ALLOW_TRIAL];
    0x0000_019C PolicyParameters "PolicyParameters" [PolicySession None] [DECRYPT ALLOW_TRIAL];
    0x0000_019D NvDefineSpace2 "NV_DefineSpace2" [Provision User] [NV PHYSICAL_PRESENCE DECRYPT];
    0x0000_019E NvReadPublic2 "NV_ReadPublic2" [NvIndex None] [ENCRYPT];
    0x0000_019F SetCapability "SetCapability" [Hierarchy User] [NV DECRYPT];
    0x0000_01A0 ReadOnlyControl "ReadOnlyControl" [Platform User] [PHYSICAL_PRESENCE];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_by_code() {
        assert!(COMMANDS.is_sorted_by(|left, right| left.code.to_wire() < right.code.to_wire()));
        assert_eq!(COMMANDS.len(), 117);
    }

    #[test]
    fn every_row_has_a_handler() {
        let missing: alloc::vec::Vec<&str> =
            COMMANDS.iter().filter(|row| row.handler.is_none()).map(|row| row.name).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn what_firmware_asks_for_first_needs_no_keys() {
        for row in COMMANDS {
            let first = ["Startup", "PCR_Extend", "PCR_Read", "GetRandom", "SelfTest", "GetCapability"];
            assert!(!row.may_use_keys() || !first.contains(&row.name), "{}", row.name);
            let with_keys = ["CreatePrimary", "Load", "Sign", "Quote", "StartAuthSession", "ECDH_KeyGen"];
            assert!(row.may_use_keys() || !with_keys.contains(&row.name), "{}", row.name);
        }
    }

    #[test]
    fn each_handler_has_a_row_and_no_command_has_two() {
        let mut codes: alloc::vec::Vec<u32> =
            CHAPTERS.iter().flat_map(|chapter| chapter.iter()).map(|(code, _)| code.to_wire()).collect();
        codes.sort_unstable();
        let implemented: alloc::vec::Vec<u32> = implemented().map(|command| command.code.to_wire()).collect();
        assert_eq!(codes, implemented);
    }

    #[test]
    fn the_documentation_lists_each_command() {
        let documented = include_str!("../doc/commands.md");
        let rows = documented.lines().filter_map(|line| line.strip_suffix(" | yes |"));
        let rows: alloc::vec::Vec<&str> = rows.collect();
        let expected = COMMANDS.iter().map(|command| {
            alloc::format!("| {:#05X} | {}", command.code.to_wire(), command.name).replace("0X", "0x")
        });
        assert_eq!(rows, expected.collect::<alloc::vec::Vec<_>>());
    }

    #[test]
    fn the_documentation_says_of_each_other_command_why_it_is_not_there() {
        let documented = include_str!("../doc/commands.md");
        let rows: alloc::vec::Vec<&str> =
            documented.lines().filter(|line| line.starts_with("| 0x")).collect();
        // Version 1.85, table of TPM_CC: 134 codes.
        assert_eq!(rows.len(), 134);
        assert!(rows.is_sorted_by(|left, right| left[..7] < right[..7]), "each once, by code");
        for row in rows.iter().filter(|row| !row.ends_with(" | yes |")) {
            let code = u32::from_str_radix(&row[4..7], 16).unwrap();
            assert!(find(code).is_none() && row.contains(" | no: "), "{row}");
        }
    }

    #[test]
    fn attributes_are_laid_out_as_tpma_cc() {
        let create_primary = COMMANDS.iter().find(|command| command.name == "CreatePrimary").unwrap();
        assert_eq!(create_primary.tpma_cc(), 0x1200_0131);
        let event_complete = COMMANDS.iter().find(|command| command.name == "EventSequenceComplete").unwrap();
        assert_eq!(event_complete.tpma_cc(), 0x0540_0185);
    }

    #[test]
    fn authorized_handles_come_first() {
        for command in COMMANDS {
            let roles: alloc::vec::Vec<bool> =
                command.handles.iter().map(|(_, role)| *role != Role::None).collect();
            assert!(roles.is_sorted_by(|left, right| left >= right), "{}", command.name);
        }
    }
}
