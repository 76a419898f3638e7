//! The one table of commands: a row says all that this engine says about a command.
//!
//! A row has the code, the name, the section of Part 3, the function that carries the command out, the handles with the role of
//! their authorization, and attributes ([`command`](crate::command) says what each means). `command` makes descriptions of the
//! rows, `dispatch` finds handlers by them; the documentation lists them (`doc/commands.md`), and a test keeps it so. Source: Part
//! 3, version 1.85 (the tables of each command), and Part 2, section 8.9 (TPMA_CC).
// house_rules: table

/// Gives all rows to another macro.
macro_rules! command_table {
    ($each:ident) => {
        $each! {
            0x011F NvUndefineSpaceSpecial "NV_UndefineSpaceSpecial" 31.5 nv::definition::nv_undefine_space_special [NvIndex Admin, Platform User] [NV PHYSICAL_PRESENCE NOT_READ_ONLY UNSAVES];
            0x0120 EvictControl "EvictControl" 28.5 context::evict_control [Provision User, Object None] [NV PHYSICAL_PRESENCE NOT_READ_ONLY KEYS UNSAVES];
            0x0121 HierarchyControl "HierarchyControl" 24.2 hierarchy::hierarchy_control [BaseHierarchy User] [NV EXTENSIVE PHYSICAL_PRESENCE UNSAVES];
            0x0122 NvUndefineSpace "NV_UndefineSpace" 31.4 nv::definition::nv_undefine_space [Provision User, NvIndex None] [NV PHYSICAL_PRESENCE NOT_READ_ONLY UNSAVES];
            0x0124 ChangeEps "ChangeEPS" 24.5 hierarchy::change_eps [Platform User] [NV EXTENSIVE PHYSICAL_PRESENCE NOT_READ_ONLY UNSAVES];
            0x0125 ChangePps "ChangePPS" 24.4 hierarchy::change_pps [Platform User] [NV EXTENSIVE PHYSICAL_PRESENCE NOT_READ_ONLY UNSAVES];
            0x0126 Clear "Clear" 24.6 hierarchy::clear [Clear User] [NV EXTENSIVE PHYSICAL_PRESENCE NOT_READ_ONLY UNSAVES];
            0x0127 ClearControl "ClearControl" 24.7 hierarchy::clear_control [Clear User] [NV PHYSICAL_PRESENCE NOT_READ_ONLY UNSAVES];
            0x0128 ClockSet "ClockSet" 29.2 clock::clock_set [Provision User] [NV PHYSICAL_PRESENCE NOT_READ_ONLY UNSAVES];
            0x0129 HierarchyChangeAuth "HierarchyChangeAuth" 24.8 hierarchy::hierarchy_change_auth [HierarchyAuth User] [NV PHYSICAL_PRESENCE DECRYPT NOT_READ_ONLY UNSAVES];
            0x012A NvDefineSpace "NV_DefineSpace" 31.3 nv::definition::nv_define_space [Provision User] [NV PHYSICAL_PRESENCE DECRYPT NOT_READ_ONLY UNSAVES];
            0x012B PcrAllocate "PCR_Allocate" 22.5 pcr::pcr_allocate [Platform User] [NV PHYSICAL_PRESENCE NOT_READ_ONLY UNSAVES];
            0x012C PcrSetAuthPolicy "PCR_SetAuthPolicy" 22.6 pcr::pcr_set_auth_policy [Platform User] [NV PHYSICAL_PRESENCE DECRYPT NOT_READ_ONLY UNSAVES];
            0x012D PpCommands "PP_Commands" 26.2 management::pp_commands [Platform User] [NV PHYSICAL_PRESENCE_REQUIRED NOT_READ_ONLY UNSAVES];
            0x012E SetPrimaryPolicy "SetPrimaryPolicy" 24.3 hierarchy::set_primary_policy [HierarchyPolicy User] [NV PHYSICAL_PRESENCE DECRYPT NOT_READ_ONLY UNSAVES];
            0x0130 ClockRateAdjust "ClockRateAdjust" 29.3 clock::clock_rate_adjust [Provision User] [PHYSICAL_PRESENCE NOT_READ_ONLY];
            0x0131 CreatePrimary "CreatePrimary" 24.1 hierarchy::create_primary [Hierarchy User] [PHYSICAL_PRESENCE DECRYPT ENCRYPT RESPONSE_HANDLE NOT_READ_ONLY KEYS CREATES];
            0x0132 NvGlobalWriteLock "NV_GlobalWriteLock" 31.12 nv::nv_global_write_lock [Provision User] [NV PHYSICAL_PRESENCE NOT_READ_ONLY UNSAVES];
            0x0133 GetCommandAuditDigest "GetCommandAuditDigest" 18.6 attestation::get_command_audit_digest [Endorsement User, ObjectOrNull User] [NV DECRYPT ENCRYPT KEYS UNSAVES];
            0x0134 NvIncrement "NV_Increment" 31.8 nv::writing::nv_increment [NvAuth User, NvIndex None] [NV NV_WRITE_OPERATION NOT_READ_ONLY UNSAVES];
            0x0135 NvSetBits "NV_SetBits" 31.10 nv::writing::nv_set_bits [NvAuth User, NvIndex None] [NV NV_WRITE_OPERATION READ_ONLY_IF_VOLATILE UNSAVES];
            0x0136 NvExtend "NV_Extend" 31.9 nv::writing::nv_extend [NvAuth User, NvIndex None] [NV DECRYPT NV_WRITE_OPERATION READ_ONLY_IF_VOLATILE UNSAVES];
            0x0137 NvWrite "NV_Write" 31.7 nv::writing::nv_write [NvAuth User, NvIndex None] [NV DECRYPT NV_WRITE_OPERATION READ_ONLY_IF_VOLATILE UNSAVES];
            0x0138 NvWriteLock "NV_WriteLock" 31.11 nv::nv_write_lock [NvAuth User, NvIndex None] [NV NV_WRITE_OPERATION READ_ONLY_IF_VOLATILE UNSAVES];
            0x0139 DictionaryAttackLockReset "DictionaryAttackLockReset" 25.2 dictionary_attack::dictionary_attack_lock_reset [Lockout User] [NV UNSAVES];
            0x013A DictionaryAttackParameters "DictionaryAttackParameters" 25.3 dictionary_attack::dictionary_attack_parameters [Lockout User] [NV NOT_READ_ONLY UNSAVES];
            0x013B NvChangeAuth "NV_ChangeAuth" 31.15 nv::nv_change_auth [NvIndex Admin] [NV DECRYPT NOT_READ_ONLY UNSAVES];
            0x013C PcrEvent "PCR_Event" 22.3 pcr::pcr_event [PcrOrNull User] [NV DECRYPT UNSAVES];
            0x013D PcrReset "PCR_Reset" 22.8 pcr::pcr_reset [Pcr User] [NV UNSAVES];
            0x013E SequenceComplete "SequenceComplete" 17.6 sequences::sequence_complete [Object User] [FLUSHED DECRYPT ENCRYPT KEYS];
            0x013F SetAlgorithmSet "SetAlgorithmSet" 26.3 management::set_algorithm_set [Platform User] [NV NOT_READ_ONLY UNSAVES];
            0x0140 SetCommandCodeAuditStatus "SetCommandCodeAuditStatus" 21.2 audit::set_command_code_audit_status [Provision User] [NV PHYSICAL_PRESENCE NOT_READ_ONLY ALWAYS_AUDITED UNSAVES];
            0x0142 IncrementalSelfTest "IncrementalSelfTest" 10.3 testing::incremental_self_test [] [NV];
            0x0143 SelfTest "SelfTest" 10.2 testing::self_test [] [NV];
            0x0144 Startup "Startup" 9.3 startup::startup [] [NV NO_SESSIONS UNSAVES];
            0x0145 Shutdown "Shutdown" 9.4 startup::shutdown [] [NV NEVER_AUDITED];
            0x0146 StirRandom "StirRandom" 16.2 random::stir_random [] [NV DECRYPT];
            0x0147 ActivateCredential "ActivateCredential" 12.5 object::credentials::activate_credential [Object Admin, Object User] [DECRYPT ENCRYPT KEYS];
            0x0148 Certify "Certify" 18.2 attestation::certify [Object Admin, ObjectOrNull User] [DECRYPT ENCRYPT KEYS];
            0x0149 PolicyNv "PolicyNV" 23.9 policy::comparisons::policy_nv [NvAuth User, NvIndex None, PolicySession None] [DECRYPT];
            0x014A CertifyCreation "CertifyCreation" 18.3 attestation::certify_creation [ObjectOrNull User, Object None] [DECRYPT ENCRYPT KEYS];
            0x014B Duplicate "Duplicate" 13.1 duplication::duplicate [Object Dup, ObjectOrNull None] [DECRYPT ENCRYPT KEYS];
            0x014C GetTime "GetTime" 18.7 attestation::get_time [Endorsement User, ObjectOrNull User] [DECRYPT ENCRYPT KEYS];
            0x014D GetSessionAuditDigest "GetSessionAuditDigest" 18.5 attestation::get_session_audit_digest [Endorsement User, ObjectOrNull User, HmacSession None] [DECRYPT ENCRYPT KEYS];
            0x014E NvRead "NV_Read" 31.13 nv::nv_read [NvAuth User, NvIndex None] [ENCRYPT];
            0x014F NvReadLock "NV_ReadLock" 31.14 nv::nv_read_lock [NvAuth User, NvIndex None] [NV READ_ONLY_IF_VOLATILE UNSAVES];
            0x0150 ObjectChangeAuth "ObjectChangeAuth" 12.8 object::object_change_auth [Object Admin, Object None] [DECRYPT ENCRYPT NOT_READ_ONLY KEYS];
            0x0151 PolicySecret "PolicySecret" 23.4 policy::proofs::policy_secret [Entity User, PolicySession None] [DECRYPT ENCRYPT KEYS];
            0x0152 Rewrap "Rewrap" 13.2 duplication::rewrap [ObjectOrNull User, ObjectOrNull None] [DECRYPT ENCRYPT KEYS];
            0x0153 Create "Create" 12.1 object::creating::create [Object User] [DECRYPT ENCRYPT NOT_READ_ONLY KEYS CREATES];
            0x0154 EcdhZGen "ECDH_ZGen" 14.5 asymmetric::ecdh_z_gen [Object User] [DECRYPT ENCRYPT KEYS];
            0x0155 Hmac "HMAC" 15.5 symmetric::hmac [Object User] [DECRYPT ENCRYPT KEYS];
            0x0156 Import "Import" 13.3 duplication::import [Object User] [DECRYPT ENCRYPT NOT_READ_ONLY KEYS];
            0x0157 Load "Load" 12.2 object::loading::load [Object User] [DECRYPT ENCRYPT RESPONSE_HANDLE KEYS];
            0x0158 Quote "Quote" 18.4 attestation::quote [ObjectOrNull User] [DECRYPT ENCRYPT KEYS];
            0x0159 RsaDecrypt "RSA_Decrypt" 14.3 asymmetric::rsa_decrypt [Object User] [DECRYPT ENCRYPT KEYS];
            0x015B HmacStart "HMAC_Start" 17.2 sequences::hmac_start [Object User] [DECRYPT RESPONSE_HANDLE KEYS];
            0x015C SequenceUpdate "SequenceUpdate" 17.5 sequences::sequence_update [Object User] [DECRYPT KEYS];
            0x015D Sign "Sign" 20.2 signing::sign [Object User] [DECRYPT KEYS];
            0x015E Unseal "Unseal" 12.7 object::unseal [Object User] [ENCRYPT KEYS];
            0x0160 PolicySigned "PolicySigned" 23.3 policy::proofs::policy_signed [Object None, PolicySession None] [DECRYPT ENCRYPT KEYS];
            0x0161 ContextLoad "ContextLoad" 28.3 context::context_load [] [NO_SESSIONS RESPONSE_HANDLE KEYS];
            0x0162 ContextSave "ContextSave" 28.2 context::context_save [Context None] [NO_SESSIONS KEYS];
            0x0163 EcdhKeyGen "ECDH_KeyGen" 14.4 asymmetric::ecdh_key_gen [Object None] [ENCRYPT KEYS];
            0x0164 EncryptDecrypt "EncryptDecrypt" 15.2 symmetric::encrypt_decrypt [Object User] [ENCRYPT KEYS];
            0x0165 FlushContext "FlushContext" 28.4 context::flush_context [] [NO_SESSIONS];
            0x0167 LoadExternal "LoadExternal" 12.3 object::loading::load_external [] [DECRYPT ENCRYPT RESPONSE_HANDLE KEYS];
            0x0168 MakeCredential "MakeCredential" 12.6 object::credentials::make_credential [Object None] [DECRYPT ENCRYPT KEYS];
            0x0169 NvReadPublic "NV_ReadPublic" 31.6 nv::nv_read_public [NvIndex None] [ENCRYPT];
            0x016A PolicyAuthorize "PolicyAuthorize" 23.16 policy::policy_authorize [PolicySession None] [DECRYPT];
            0x016B PolicyAuthValue "PolicyAuthValue" 23.17 policy::policy_auth_value [PolicySession None] [];
            0x016C PolicyCommandCode "PolicyCommandCode" 23.11 policy::policy_command_code [PolicySession None] [];
            0x016D PolicyCounterTimer "PolicyCounterTimer" 23.10 policy::comparisons::policy_counter_timer [PolicySession None] [DECRYPT];
            0x016E PolicyCpHash "PolicyCpHash" 23.13 policy::policy_cp_hash [PolicySession None] [DECRYPT];
            0x016F PolicyLocality "PolicyLocality" 23.8 policy::policy_locality [PolicySession None] [];
            0x0170 PolicyNameHash "PolicyNameHash" 23.14 policy::policy_name_hash [PolicySession None] [DECRYPT];
            0x0171 PolicyOr "PolicyOR" 23.6 policy::policy_or [PolicySession None] [];
            0x0172 PolicyTicket "PolicyTicket" 23.5 policy::proofs::policy_ticket [PolicySession None] [DECRYPT];
            0x0173 ReadPublic "ReadPublic" 12.4 object::read_public [Object None] [ENCRYPT KEYS];
            0x0174 RsaEncrypt "RSA_Encrypt" 14.2 asymmetric::rsa_encrypt [Object None] [DECRYPT ENCRYPT KEYS];
            0x0176 StartAuthSession "StartAuthSession" 11.1 session::start_auth_session [ObjectOrNull None, EntityOrNull None] [DECRYPT ENCRYPT RESPONSE_HANDLE KEYS];
            0x0177 VerifySignature "VerifySignature" 20.1 signing::verify_signature [Object None] [DECRYPT KEYS];
            0x0178 EccParameters "ECC_Parameters" 14.6 asymmetric::ecc_parameters [] [];
            0x017A GetCapability "GetCapability" 30.2 capability::get_capability [] [IN_FAILURE];
            0x017B GetRandom "GetRandom" 16.1 random::get_random [] [ENCRYPT];
            0x017C GetTestResult "GetTestResult" 10.4 testing::get_test_result [] [ENCRYPT IN_FAILURE];
            0x017D Hash "Hash" 15.4 symmetric::hash [] [DECRYPT ENCRYPT];
            0x017E PcrRead "PCR_Read" 22.4 pcr::pcr_read [] [];
            0x017F PolicyPcr "PolicyPCR" 23.7 policy::policy_pcr [PolicySession None] [DECRYPT];
            0x0180 PolicyRestart "PolicyRestart" 11.2 session::policy_restart [PolicySession None] [];
            0x0181 ReadClock "ReadClock" 29.1 clock::read_clock [] [];
            0x0182 PcrExtend "PCR_Extend" 22.2 pcr::pcr_extend [PcrOrNull User] [NV UNSAVES];
            0x0183 PcrSetAuthValue "PCR_SetAuthValue" 22.7 pcr::pcr_set_auth_value [Pcr User] [DECRYPT];
            0x0184 NvCertify "NV_Certify" 31.16 attestation::nv_certify [ObjectOrNull User, NvAuth User, NvIndex None] [DECRYPT ENCRYPT KEYS];
            0x0185 EventSequenceComplete "EventSequenceComplete" 17.7 sequences::event_sequence_complete [PcrOrNull User, Object User] [NV FLUSHED DECRYPT KEYS UNSAVES];
            0x0186 HashSequenceStart "HashSequenceStart" 17.4 sequences::hash_sequence_start [] [DECRYPT RESPONSE_HANDLE];
            0x0187 PolicyPhysicalPresence "PolicyPhysicalPresence" 23.12 policy::policy_physical_presence [PolicySession None] [];
            0x0188 PolicyDuplicationSelect "PolicyDuplicationSelect" 23.15 policy::policy_duplication_select [PolicySession None] [DECRYPT];
            0x0189 PolicyGetDigest "PolicyGetDigest" 23.19 policy::policy_get_digest [PolicySession None] [ENCRYPT];
            0x018A TestParms "TestParms" 30.3 capability::test_parms [] [];
            0x018B Commit "Commit" 19.2 ephemeral::commit [Object User] [DECRYPT ENCRYPT KEYS];
            0x018C PolicyPassword "PolicyPassword" 23.18 policy::policy_password [PolicySession None] [];
            0x018D ZGen2Phase "ZGen_2Phase" 14.7 asymmetric::z_gen_2_phase [Object User] [DECRYPT ENCRYPT KEYS];
            0x018E EcEphemeral "EC_Ephemeral" 19.3 ephemeral::ec_ephemeral [] [ENCRYPT KEYS];
            0x018F PolicyNvWritten "PolicyNvWritten" 23.20 policy::policy_nv_written [PolicySession None] [];
            0x0190 PolicyTemplate "PolicyTemplate" 23.21 policy::policy_template [PolicySession None] [DECRYPT];
            0x0191 CreateLoaded "CreateLoaded" 12.9 object::creating::create_loaded [ParentOrHierarchy User] [PHYSICAL_PRESENCE DECRYPT ENCRYPT RESPONSE_HANDLE NOT_READ_ONLY KEYS CREATES];
            0x0192 PolicyAuthorizeNv "PolicyAuthorizeNV" 23.22 policy::comparisons::policy_authorize_nv [NvAuth User, NvIndex None, PolicySession None] [];
            0x0193 EncryptDecrypt2 "EncryptDecrypt2" 15.3 symmetric::encrypt_decrypt_2 [Object User] [DECRYPT ENCRYPT KEYS];
            0x0199 EccEncrypt "ECC_Encrypt" 14.8 asymmetric::ecc_encrypt [Object None] [DECRYPT ENCRYPT KEYS];
            0x019A EccDecrypt "ECC_Decrypt" 14.9 asymmetric::ecc_decrypt [Object User] [DECRYPT ENCRYPT KEYS];
            0x019B PolicyCapability "PolicyCapability" 23.23 policy::comparisons::policy_capability [PolicySession None] [DECRYPT];
            0x019C PolicyParameters "PolicyParameters" 23.24 policy::policy_parameters [PolicySession None] [DECRYPT];
            0x019D NvDefineSpace2 "NV_DefineSpace2" 31.17 nv::definition::nv_define_space_2 [Provision User] [NV PHYSICAL_PRESENCE DECRYPT NOT_READ_ONLY UNSAVES];
            0x019E NvReadPublic2 "NV_ReadPublic2" 31.18 nv::definition::nv_read_public_2 [NvIndex None] [ENCRYPT];
            0x019F SetCapability "SetCapability" 30.4 capability::set_capability [Hierarchy User] [NV DECRYPT NOT_READ_ONLY UNSAVES];
            0x01A0 ReadOnlyControl "ReadOnlyControl" 24.9 management::read_only_control [Platform User] [PHYSICAL_PRESENCE];
        }
    };
}

/// The other command codes of version 1.85, and why they are not implemented: each answers TPM_RC_COMMAND_CODE.
#[cfg(test)]
pub const NOT_IMPLEMENTED: &[(u32, &str, &str)] = &[
    (0x12F, "FieldUpgradeStart", "the firmware is replaced with its image, which is measured anew"),
    (0x141, "FieldUpgradeData", "as FieldUpgradeStart"),
    (0x179, "FirmwareRead", "as FieldUpgradeStart"),
    (0x194, "AC_GetCapability", "deprecated; there are no attached components"),
    (0x195, "AC_Send", "as AC_GetCapability"),
    (0x196, "Policy_AC_SendSelect", "as AC_GetCapability"),
    (0x197, "CertifyX509", "deprecated; an X.509 parser in the TPM is more risk than use"),
    (0x198, "ACT_SetTimeout", "no authenticated countdown timer: nothing resets the platform on its behalf"),
    (0x1A1, "PolicyTransportSPDM", "no SPDM transport: commands never leave the machine"),
    (0x1A3, "VerifySequenceComplete", "1.85: serves post-quantum keys, which this engine does not have"),
    (0x1A4, "SignSequenceComplete", "as VerifySequenceComplete"),
    (0x1A5, "VerifyDigestSignature", "as VerifySequenceComplete"),
    (0x1A6, "SignDigest", "as VerifySequenceComplete"),
    (0x1A7, "Encapsulate", "as VerifySequenceComplete"),
    (0x1A8, "Decapsulate", "as VerifySequenceComplete"),
    (0x1A9, "VerifySequenceStart", "as VerifySequenceComplete"),
    (0x1AA, "SignSequenceStart", "as VerifySequenceComplete"),
];
