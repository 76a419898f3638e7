//! The commands of Part 3 that sequences are made of: what they take and what they answer.
// house_rules: table

use crate::model::Bag;
use crate::parameters::{self as p, Parameter};

/// Which handles a place takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Owner, endorsement, platform, NULL.
    Hierarchy,
    OwnerOrPlatform,
    LockoutOrPlatform,
    Platform,
    Endorsement,
    Lockout,
    /// A loaded object.
    Object,
    /// A loaded object, or TPM_RH_NULL.
    ObjectOrNull,
    Sequence,
    /// Who may use an index: itself, the owner, the platform.
    NvAuthority,
    Nv,
    Pcr,
    PolicySession,
    /// An object, a sequence or a session.
    Loaded,
    /// Whatever has an authorization.
    Entity,
}

/// What a field of a response must have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The bytes: this many.
    Same(usize),
    /// Nothing: this many bytes of each TPM's own.
    Own(usize),
    /// TPM2B: size and bytes.
    Sized,
    /// TPM2B: the size.
    OwnSized,
    /// TPM2B: the size; kept for later commands.
    Kept(Bag),
    /// TPM2B whose size each TPM chooses; kept for later commands.
    KeptAnySize(Bag),
    /// TPM2B_PUBLIC: all but `unique`.
    Public,
    /// TPMT_TK_*: tag, hierarchy, size of the digest.
    Ticket,
    /// TPMT_SIGNATURE: scheme and hash.
    Signature,
    /// TPM2B_ATTEST: magic, type, extra data.
    Attest,
    /// TPMS_CONTEXT: handle and hierarchy.
    Context,
    /// Whatever is left: the bytes.
    Rest,
    /// Whatever is left: the size.
    OwnRest,
}

/// What a command leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Nothing,
    /// A handle of an object, with the authorization value that the command gave.
    MakesObject,
    /// As above, with the authorization value of the blob that was loaded.
    LoadsBlob,
    MakesSequence,
    MakesSession,
    /// A private and a public area.
    MakesBlob,
    /// A handle that a saved context had.
    LoadsContext,
    /// The first handle is gone.
    EndsFirst,
    /// The handle in the parameters is gone.
    EndsParameter,
    DefinesIndex,
    EndsIndex,
    /// Everything of before may be gone: the sequence ends.
    EndsAll,
}

/// One command.
#[derive(Debug)]
pub struct Row {
    pub name: &'static str,
    pub code: u32,
    /// How often, compared with the others.
    pub weight: usize,
    pub places: &'static [Place],
    /// How many of the handles are authorized.
    pub authorized: usize,
    pub parameters: &'static [Parameter],
    pub effect: Effect,
    /// The response's parameters, after its handle.
    pub fields: &'static [Field],
}

impl Row {
    /// Whether the response has a handle.
    pub fn answers_handle(&self) -> bool {
        matches!(
            self.effect,
            Effect::MakesObject
                | Effect::LoadsBlob
                | Effect::MakesSequence
                | Effect::MakesSession
                | Effect::LoadsContext
        )
    }
}

macro_rules! row {
    ($name:ident $code:literal often $weight:literal [$($place:ident)*] auth $auth:literal ($($parameter:ident)*) $effect:ident [$($field:ident $(($with:expr))? ),*]) => {
        Row {
            name: stringify!($name),
            code: $code,
            weight: $weight,
            places: &[$(Place::$place),*],
            authorized: $auth,
            parameters: &[$(p::$parameter),*],
            effect: Effect::$effect,
            fields: &[$(Field::$field $(($with))?),*],
        }
    };
}

/// All commands, sorted by code.
pub const ROWS: &[Row] = &[
    row!(NV_UndefineSpaceSpecial 0x11f often 1 [Nv Platform] auth 2 () EndsIndex []),
    row!(EvictControl 0x120 often 3 [OwnerOrPlatform Object] auth 1 (persistent) Nothing []),
    row!(HierarchyControl 0x121 often 1 [Hierarchy] auth 1 (enable byte) EndsAll []),
    row!(NV_UndefineSpace 0x122 often 3 [OwnerOrPlatform Nv] auth 1 () EndsIndex []),
    row!(ChangeEPS 0x124 often 1 [Platform] auth 1 () EndsAll []),
    row!(ChangePPS 0x125 often 1 [Platform] auth 1 () EndsAll []),
    row!(Clear 0x126 often 1 [LockoutOrPlatform] auth 1 () EndsAll []),
    row!(ClearControl 0x127 often 1 [LockoutOrPlatform] auth 1 (byte) Nothing []),
    row!(ClockSet 0x128 often 1 [OwnerOrPlatform] auth 1 (long_number) Nothing []),
    row!(HierarchyChangeAuth 0x129 often 1 [Hierarchy] auth 1 (digest) EndsAll []),
    row!(NV_DefineSpace 0x12a often 12 [OwnerOrPlatform] auth 1 (new_auth nv_public) DefinesIndex []),
    row!(PCR_Allocate 0x12b often 1 [Platform] auth 1 (pcr_selection) EndsAll [Same(1), Own(12)]),
    row!(PCR_SetAuthPolicy 0x12c often 1 [Platform] auth 1 (policy_digest hash_or_null handle_number) Nothing []),
    row!(PP_Commands 0x12d often 1 [Platform] auth 1 (command_codes command_codes) Nothing []),
    row!(SetPrimaryPolicy 0x12e often 1 [Hierarchy] auth 1 (policy_digest hash_or_null) Nothing []),
    row!(ClockRateAdjust 0x130 often 1 [OwnerOrPlatform] auth 1 (byte) Nothing []),
    row!(CreatePrimary 0x131 often 14 [Hierarchy] auth 1 (sensitive_create public data pcr_selection) MakesObject
        [Public, OwnSized, Kept(Bag::CreationHash), Ticket, Kept(Bag::Name)]),
    row!(NV_GlobalWriteLock 0x132 often 1 [OwnerOrPlatform] auth 1 () Nothing []),
    row!(GetCommandAuditDigest 0x133 often 1 [Endorsement ObjectOrNull] auth 2 (data signing_scheme) Nothing [Attest, Signature]),
    row!(NV_Increment 0x134 often 5 [NvAuthority Nv] auth 1 () Nothing []),
    row!(NV_SetBits 0x135 often 5 [NvAuthority Nv] auth 1 (long_number) Nothing []),
    row!(NV_Extend 0x136 often 5 [NvAuthority Nv] auth 1 (small_buffer) Nothing []),
    row!(NV_Write 0x137 often 12 [NvAuthority Nv] auth 1 (nv_data offset) Nothing []),
    row!(NV_WriteLock 0x138 often 2 [NvAuthority Nv] auth 1 () Nothing []),
    row!(DictionaryAttackLockReset 0x139 often 1 [Lockout] auth 1 () Nothing []),
    row!(DictionaryAttackParameters 0x13a often 1 [Lockout] auth 1 (number number number) EndsAll []),
    row!(NV_ChangeAuth 0x13b often 1 [Nv] auth 1 (new_auth) Nothing []),
    row!(PCR_Event 0x13c often 3 [Pcr] auth 1 (buffer) Nothing [Rest]),
    row!(PCR_Reset 0x13d often 2 [Pcr] auth 1 () Nothing []),
    row!(SequenceComplete 0x13e often 4 [Sequence] auth 1 (buffer enable) EndsFirst [Sized, Ticket]),
    row!(SetAlgorithmSet 0x13f often 1 [Platform] auth 1 (number) Nothing []),
    row!(SetCommandCodeAuditStatus 0x140 often 1 [OwnerOrPlatform] auth 1 (hash_or_null command_codes command_codes) Nothing []),
    row!(IncrementalSelfTest 0x142 often 1 [] auth 0 (algorithms) Nothing [OwnRest]),
    row!(SelfTest 0x143 often 1 [] auth 0 (byte) Nothing []),
    row!(Startup 0x144 often 1 [] auth 0 (startup_type) Nothing []),
    row!(Shutdown 0x145 often 1 [] auth 0 (startup_type) Nothing []),
    row!(StirRandom 0x146 often 1 [] auth 0 (small_buffer) Nothing []),
    row!(ActivateCredential 0x147 often 2 [Object Object] auth 2 (credential secret) Nothing [Sized]),
    row!(Certify 0x148 often 3 [Object ObjectOrNull] auth 2 (data signing_scheme) Nothing [Attest, Signature]),
    row!(PolicyNV 0x149 often 4 [NvAuthority Nv PolicySession] auth 1 (nv_data offset operation) Nothing []),
    row!(CertifyCreation 0x14a often 2 [ObjectOrNull Object] auth 1 (data creation_hash signing_scheme ticket) Nothing [Attest, Signature]),
    row!(Duplicate 0x14b often 2 [Object ObjectOrNull] auth 1 (empty wrapping_cipher) Nothing
        [OwnSized, Kept(Bag::Duplicate), Kept(Bag::Secret)]),
    row!(GetTime 0x14c often 2 [Endorsement ObjectOrNull] auth 2 (data signing_scheme) Nothing [Attest, Signature]),
    row!(GetSessionAuditDigest 0x14d often 1 [Endorsement ObjectOrNull PolicySession] auth 2 (data signing_scheme) Nothing [Attest, Signature]),
    row!(NV_Read 0x14e often 10 [NvAuthority Nv] auth 1 (small_count offset) Nothing [Rest]),
    row!(NV_ReadLock 0x14f often 2 [NvAuthority Nv] auth 1 () Nothing []),
    row!(ObjectChangeAuth 0x150 often 2 [Object Object] auth 1 (new_auth) Nothing [OwnSized]),
    row!(PolicySecret 0x151 often 4 [Entity PolicySession] auth 1 (empty empty data number) Nothing
        [KeptAnySize(Bag::Timeout), Ticket]),
    row!(Rewrap 0x152 often 1 [ObjectOrNull ObjectOrNull] auth 1 (duplicate name secret) Nothing
        [Kept(Bag::Duplicate), Kept(Bag::Secret)]),
    row!(Create 0x153 often 14 [Object] auth 1 (sensitive_create public data pcr_selection) MakesBlob
        [Kept(Bag::Private), Public, OwnSized, Kept(Bag::CreationHash), Ticket]),
    row!(ECDH_ZGen 0x154 often 2 [Object] auth 1 (point) Nothing [OwnSized]),
    row!(HMAC 0x155 often 3 [Object] auth 1 (buffer hash_or_null) Nothing [OwnSized]),
    row!(Import 0x156 often 2 [Object] auth 1 (empty outside_public duplicate secret wrapping_cipher) Nothing [OwnSized]),
    row!(Load 0x157 often 10 [Object] auth 1 (private public_of_private) LoadsBlob [Kept(Bag::Name)]),
    row!(Quote 0x158 often 4 [ObjectOrNull] auth 1 (data signing_scheme pcr_selection) Nothing [Attest, Signature]),
    row!(RSA_Decrypt 0x159 often 1 [Object] auth 1 (buffer encryption_scheme data) Nothing [OwnSized]),
    row!(HMAC_Start 0x15b often 2 [Object] auth 1 (new_auth hash_or_null) MakesSequence []),
    row!(SequenceUpdate 0x15c often 5 [Sequence] auth 1 (buffer) Nothing []),
    row!(Sign 0x15d often 5 [Object] auth 1 (digest signing_scheme ticket) Nothing [Signature]),
    row!(Unseal 0x15e often 4 [Object] auth 1 () Nothing [Sized]),
    row!(PolicySigned 0x160 often 2 [Object PolicySession] auth 0 (empty empty data number signature) Nothing
        [KeptAnySize(Bag::Timeout), Ticket]),
    row!(ContextLoad 0x161 often 4 [] auth 0 (context) LoadsContext []),
    row!(ContextSave 0x162 often 4 [Loaded] auth 0 () Nothing [Context]),
    row!(ECDH_KeyGen 0x163 often 2 [Object] auth 0 () Nothing [OwnSized, Kept(Bag::Point)]),
    row!(EncryptDecrypt 0x164 often 2 [Object] auth 1 (byte cipher_mode initial_vector buffer) Nothing [OwnSized, OwnSized]),
    row!(FlushContext 0x165 often 4 [] auth 0 (handle_number) EndsParameter []),
    row!(LoadExternal 0x167 often 4 [] auth 0 (empty outside_public enable) MakesObject [Kept(Bag::Name)]),
    row!(MakeCredential 0x168 often 2 [Object] auth 0 (small_buffer name) Nothing [Kept(Bag::Credential), Kept(Bag::Secret)]),
    row!(NV_ReadPublic 0x169 often 4 [Nv] auth 0 () Nothing [Rest]),
    row!(PolicyAuthorize 0x16a often 2 [PolicySession] auth 0 (kept_digest data name ticket) Nothing []),
    row!(PolicyAuthValue 0x16b often 2 [PolicySession] auth 0 () Nothing []),
    row!(PolicyCommandCode 0x16c often 3 [PolicySession] auth 0 (command_code) Nothing []),
    row!(PolicyCounterTimer 0x16d often 2 [PolicySession] auth 0 (small_buffer offset operation) Nothing []),
    row!(PolicyCpHash 0x16e often 2 [PolicySession] auth 0 (digest) Nothing []),
    row!(PolicyLocality 0x16f often 2 [PolicySession] auth 0 (locality) Nothing []),
    row!(PolicyNameHash 0x170 often 2 [PolicySession] auth 0 (digest) Nothing []),
    row!(PolicyOR 0x171 often 2 [PolicySession] auth 0 (digest_list) Nothing []),
    row!(PolicyTicket 0x172 often 2 [PolicySession] auth 0 (timeout empty data name ticket) Nothing []),
    row!(ReadPublic 0x173 often 4 [Object] auth 0 () Nothing [Public, OwnSized, OwnSized]),
    row!(RSA_Encrypt 0x174 often 1 [Object] auth 0 (buffer encryption_scheme data) Nothing [OwnSized]),
    row!(StartAuthSession 0x176 often 10 [ObjectOrNull ObjectOrNull] auth 0 (nonce secret session_type session_cipher hash) MakesSession [OwnSized]),
    row!(VerifySignature 0x177 often 3 [Object] auth 0 (digest signature) Nothing [Ticket]),
    row!(ECC_Parameters 0x178 often 1 [] auth 0 (curve) Nothing [Rest]),
    row!(GetCapability 0x17a often 6 [] auth 0 (capability) Nothing [Rest]),
    row!(GetRandom 0x17b often 2 [] auth 0 (small_count) Nothing [OwnRest]),
    row!(GetTestResult 0x17c often 1 [] auth 0 () Nothing [OwnRest]),
    row!(Hash 0x17d often 4 [] auth 0 (buffer hash enable) Nothing [Sized, Ticket]),
    row!(PCR_Read 0x17e often 4 [] auth 0 (pcr_selection) Nothing [Own(4), Rest]),
    row!(PolicyPCR 0x17f often 3 [PolicySession] auth 0 (policy_digest pcr_selection) Nothing []),
    row!(PolicyRestart 0x180 often 1 [PolicySession] auth 0 () Nothing []),
    row!(ReadClock 0x181 often 1 [] auth 0 () Nothing [Own(16), Same(8), Same(1)]),
    row!(PCR_Extend 0x182 often 4 [Pcr] auth 1 (digest_values) Nothing []),
    row!(PCR_SetAuthValue 0x183 often 1 [Pcr] auth 1 (digest) Nothing []),
    row!(NV_Certify 0x184 often 2 [ObjectOrNull NvAuthority Nv] auth 2 (data signing_scheme small_count offset) Nothing [Attest, Signature]),
    row!(EventSequenceComplete 0x185 often 2 [Pcr Sequence] auth 2 (buffer) Nothing [Rest]),
    row!(HashSequenceStart 0x186 often 4 [] auth 0 (new_auth hash_or_null) MakesSequence []),
    row!(PolicyPhysicalPresence 0x187 often 1 [PolicySession] auth 0 () Nothing []),
    row!(PolicyDuplicationSelect 0x188 often 2 [PolicySession] auth 0 (name name byte) Nothing []),
    row!(PolicyGetDigest 0x189 often 4 [PolicySession] auth 0 () Nothing [Sized]),
    row!(TestParms 0x18a often 3 [] auth 0 (public_parameters) Nothing []),
    row!(Commit 0x18b often 1 [Object] auth 1 (point empty empty) Nothing [OwnRest]),
    row!(PolicyPassword 0x18c often 2 [PolicySession] auth 0 () Nothing []),
    row!(ZGen_2Phase 0x18d often 1 [Object] auth 1 (point point signing_scheme small_count) Nothing [OwnRest]),
    row!(EC_Ephemeral 0x18e often 1 [] auth 0 (curve) Nothing [Kept(Bag::Point), Same(2)]),
    row!(PolicyNvWritten 0x18f often 2 [PolicySession] auth 0 (byte) Nothing []),
    row!(PolicyTemplate 0x190 often 1 [PolicySession] auth 0 (digest) Nothing []),
    row!(CreateLoaded 0x191 often 4 [Object] auth 1 (sensitive_create public) MakesObject [OwnSized, Public, Kept(Bag::Name)]),
    row!(PolicyAuthorizeNV 0x192 often 1 [NvAuthority Nv PolicySession] auth 1 () Nothing []),
    row!(EncryptDecrypt2 0x193 often 3 [Object] auth 1 (buffer byte cipher_mode initial_vector) Nothing [OwnSized, OwnSized]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_authorizes_only_handles_that_there_are() {
        assert!(ROWS.windows(2).all(|pair| pair[0].code < pair[1].code));
        assert!(ROWS.iter().all(|row| row.authorized <= row.places.len() && row.weight > 0));
    }
}
