//! A second reader of what the tests send and get: the crate `tpm2-protocol`, which shares nothing with the engine.
//!
//! Each command that succeeds and its response must parse there, field by field, and come out as the same bytes when they are
//! written again; each refusal must carry a response code that the crate knows. The crate's errors do not say which handle,
//! parameter or session is to blame, so of a refused command nothing more can be asked.

use super::keys::XOR_SHA256;
use tpm2_protocol::frame::*;
use tpm2_protocol::{TpmError, TpmWriter};

/// A reason, and whether it holds for a message.
type Exception = (&'static str, fn(&Message<'_>) -> bool);

/// What the crate (1.2.3) cannot read although it is right, and why. An exception that the crate no longer needs is refused.
const EXCEPTIONS: &[Exception] = &[
    (
        "TPM2_PolicyCapability begins with operandB and offset (Part 3); the crate has capability and property first",
        |message| message.code == POLICY_CAPABILITY && !message.is_response,
    ),
    ("TPMU_CAPABILITIES has pcrProperties (Part 2); the crate has no such variant", |message| {
        message.code == GET_CAPABILITY && message.is_response && message.bytes[11..15] == [0, 0, 0, 7]
    }),
    ("TPMT_SYM_DEF of XOR has a hash and no mode (Part 2); the crate wants a mode", |message| {
        let definition = message.bytes.len().saturating_sub(6);
        message.code == START_AUTH_SESSION && !message.is_response && message.bytes[definition..][..2] == XOR
    }),
    ("TPM2_LoadExternal may come without a sensitive area (Part 3); the crate wants one", |message| {
        let parameters = TpmCommand::cast(message.bytes).and_then(TpmCommand::parameters);
        message.code == LOAD_EXTERNAL && !message.is_response && parameters.is_ok_and(|it| it[..2] == [0, 0])
    }),
    ("TPMS_SCHEME_XOR has the identifier of a KDF (Part 2); the crate wants a scheme", |message| {
        message.bytes.windows(XOR_SHA256.len() - 2).any(|window| XOR_SHA256.starts_with(window))
    }),
    ("TPMS_SCHEME_ECDAA has a count behind its hash (Part 2); the crate reads no count", |message| {
        let is_signature = message.code == SIGN && message.is_response;
        !is_signature && message.bytes.windows(ECDAA_SHA256.len()).any(|window| window == ECDAA_SHA256)
    }),
];

const START_AUTH_SESSION: u32 = 0x176;
const SIGN: u32 = 0x15D;
const LOAD_EXTERNAL: u32 = 0x167;
const GET_CAPABILITY: u32 = 0x17A;
const POLICY_CAPABILITY: u32 = 0x19B;
const XOR: [u8; 2] = [0x00, 0x0A];
const ECDAA_SHA256: [u8; 4] = [0x00, 0x1A, 0x00, 0x0B];

/// A command, or the response to it.
struct Message<'a> {
    code: u32,
    bytes: &'a [u8],
    is_response: bool,
    /// The attributes of the command's sessions, all of them in one.
    session_attributes: u8,
}

const DECRYPT: u8 = 0x20;
const ENCRYPT: u8 = 0x40;

impl Message<'_> {
    /// An encrypted parameter is a TPM2B still, but what it holds makes no structure.
    fn is_encrypted(&self) -> bool {
        self.session_attributes & if self.is_response { ENCRYPT } else { DECRYPT } != 0
    }
}

/// Checks a command and its response.
///
/// # Panics
/// The other reader does not agree.
pub fn judge(command: &[u8], response: &[u8]) {
    if response[..2] == [0x00, 0xC4] {
        // TPM_ST_RSP_COMMAND, which the crate does not know: for a command whose tag is wrong, so that software of TPM 1.2
        // understands it.
        return assert_eq!(response[2..], [0, 0, 0, 10, 0, 0, 0, 0x1E]);
    }
    let response_frame = TpmResponse::cast(response);
    let response_frame = response_frame.unwrap_or_else(|error| panic!("{error:?} in {response:02x?}"));
    if response[6..10] != [0; 4] {
        assert_eq!(response_frame.len(), 10, "a failure is a header alone");
        return;
    }
    let code = u32::from_be_bytes(command[6..10].try_into().unwrap());
    let frame = TpmCommand::cast(command).unwrap_or_else(|error| panic!("{error:?} in {command:02x?}"));
    frame.validate().unwrap_or_else(|error| panic!("{error:?} in the sessions of {command:02x?}"));
    let session_attributes = all_attributes(frame.auth_area().unwrap());
    for (bytes, is_response) in [(command, false), (response, true)] {
        let message = Message { code, bytes, is_response, session_attributes };
        if message.is_encrypted() {
            continue;
        }
        let checked = check(&message);
        match EXCEPTIONS.iter().find(|(_, applies)| applies(&message)) {
            Some((reason, _)) => assert!(checked.is_err(), "no exception any more: {reason}"),
            None => assert_eq!(checked, Ok(()), "command {code:#x}: {bytes:02x?}"),
        }
    }
}

/// The attributes of every session in a command's authorization area.
fn all_attributes(mut area: &[u8]) -> u8 {
    let mut all = 0;
    while !area.is_empty() {
        let nonce = usize::from(u16::from_be_bytes([area[4], area[5]]));
        all |= area[6 + nonce];
        let hmac = usize::from(u16::from_be_bytes([area[7 + nonce], area[8 + nonce]]));
        area = &area[9 + nonce + hmac..];
    }
    all
}

/// Why a message is not what the crate takes it for.
#[derive(Debug, PartialEq, Eq)]
enum Disagreement {
    Unreadable(TpmError),
    /// It has no row below.
    Unknown,
    /// What it was read as is written in this other way.
    Differs(Vec<u8>),
}

impl From<TpmError> for Disagreement {
    fn from(error: TpmError) -> Self {
        Self::Unreadable(error)
    }
}

/// Whether a body is written as it was read.
fn comes_back(body: &impl TpmMarshalBody, bytes: &[u8]) -> Result<(), Disagreement> {
    let mut handles = [0; 64];
    let mut parameters = vec![0; 4096];
    let mut handle_writer = TpmWriter::new(&mut handles);
    body.marshal_handles(&mut handle_writer)?;
    let mut writer = TpmWriter::new(&mut parameters);
    body.marshal_parameters(&mut writer)?;
    let (handles, parameters) = (handle_writer.as_bytes(), writer.as_bytes());
    let is_command = bytes[6..8] == [0, 0] && bytes[8..10] != [0, 0];
    let body = &bytes[10..];
    let rest = body.strip_prefix(handles);
    let same = rest.is_some_and(|rest| match (bytes[..2] == [0x80, 0x02], is_command) {
        (false, _) => rest == parameters,
        // The authorization area stands between handles and parameters.
        (true, true) => rest.ends_with(parameters),
        // The size of the parameters stands before them, and the sessions follow.
        (true, false) => rest.get(4..).is_some_and(|rest| rest.starts_with(parameters)),
    });
    if same { Ok(()) } else { Err(Disagreement::Differs(parameters.to_vec())) }
}

macro_rules! messages {
    ($($command:ident $response:ident)+) => {
        fn check(message: &Message<'_>) -> Result<(), Disagreement> {
            $(
                if message.code == $command::CC.value() {
                    return if message.is_response {
                        comes_back(&TpmResponse::cast(message.bytes)?.unmarshal::<$response>()?, message.bytes)
                    } else {
                        comes_back(&TpmCommand::cast(message.bytes)?.unmarshal::<$command>()?, message.bytes)
                    };
                }
            )+
            Err(Disagreement::Unknown)
        }
    };
}

messages! {
    TpmNvUndefineSpaceSpecialCommand TpmNvUndefineSpaceSpecialResponse
    TpmEvictControlCommand TpmEvictControlResponse
    TpmHierarchyControlCommand TpmHierarchyControlResponse
    TpmNvUndefineSpaceCommand TpmNvUndefineSpaceResponse
    TpmChangeEpsCommand TpmChangeEpsResponse
    TpmChangePpsCommand TpmChangePpsResponse
    TpmClearCommand TpmClearResponse
    TpmClearControlCommand TpmClearControlResponse
    TpmClockSetCommand TpmClockSetResponse
    TpmHierarchyChangeAuthCommand TpmHierarchyChangeAuthResponse
    TpmNvDefineSpaceCommand TpmNvDefineSpaceResponse
    TpmPcrAllocateCommand TpmPcrAllocateResponse
    TpmPcrSetAuthPolicyCommand TpmPcrSetAuthPolicyResponse
    TpmPpCommandsCommand TpmPpCommandsResponse
    TpmSetPrimaryPolicyCommand TpmSetPrimaryPolicyResponse
    TpmClockRateAdjustCommand TpmClockRateAdjustResponse
    TpmCreatePrimaryCommand TpmCreatePrimaryResponse
    TpmNvGlobalWriteLockCommand TpmNvGlobalWriteLockResponse
    TpmGetCommandAuditDigestCommand TpmGetCommandAuditDigestResponse
    TpmNvIncrementCommand TpmNvIncrementResponse
    TpmNvSetBitsCommand TpmNvSetBitsResponse
    TpmNvExtendCommand TpmNvExtendResponse
    TpmNvWriteCommand TpmNvWriteResponse
    TpmNvWriteLockCommand TpmNvWriteLockResponse
    TpmDictionaryAttackLockResetCommand TpmDictionaryAttackLockResetResponse
    TpmDictionaryAttackParametersCommand TpmDictionaryAttackParametersResponse
    TpmNvChangeAuthCommand TpmNvChangeAuthResponse
    TpmPcrEventCommand TpmPcrEventResponse
    TpmPcrResetCommand TpmPcrResetResponse
    TpmSequenceCompleteCommand TpmSequenceCompleteResponse
    TpmSetAlgorithmSetCommand TpmSetAlgorithmSetResponse
    TpmSetCommandCodeAuditStatusCommand TpmSetCommandCodeAuditStatusResponse
    TpmIncrementalSelfTestCommand TpmIncrementalSelfTestResponse
    TpmSelfTestCommand TpmSelfTestResponse
    TpmStartupCommand TpmStartupResponse
    TpmShutdownCommand TpmShutdownResponse
    TpmStirRandomCommand TpmStirRandomResponse
    TpmActivateCredentialCommand TpmActivateCredentialResponse
    TpmCertifyCommand TpmCertifyResponse
    TpmPolicyNvCommand TpmPolicyNvResponse
    TpmCertifyCreationCommand TpmCertifyCreationResponse
    TpmDuplicateCommand TpmDuplicateResponse
    TpmGetTimeCommand TpmGetTimeResponse
    TpmGetSessionAuditDigestCommand TpmGetSessionAuditDigestResponse
    TpmNvReadCommand TpmNvReadResponse
    TpmNvReadLockCommand TpmNvReadLockResponse
    TpmObjectChangeAuthCommand TpmObjectChangeAuthResponse
    TpmPolicySecretCommand TpmPolicySecretResponse
    TpmRewrapCommand TpmRewrapResponse
    TpmCreateCommand TpmCreateResponse
    TpmEcdhZGenCommand TpmEcdhZGenResponse
    TpmHmacCommand TpmHmacResponse
    TpmImportCommand TpmImportResponse
    TpmLoadCommand TpmLoadResponse
    TpmQuoteCommand TpmQuoteResponse
    TpmRsaDecryptCommand TpmRsaDecryptResponse
    TpmHmacStartCommand TpmHmacStartResponse
    TpmSequenceUpdateCommand TpmSequenceUpdateResponse
    TpmSignCommand TpmSignResponse
    TpmUnsealCommand TpmUnsealResponse
    TpmPolicySignedCommand TpmPolicySignedResponse
    TpmContextLoadCommand TpmContextLoadResponse
    TpmContextSaveCommand TpmContextSaveResponse
    TpmEcdhKeyGenCommand TpmEcdhKeyGenResponse
    TpmEncryptDecryptCommand TpmEncryptDecryptResponse
    TpmFlushContextCommand TpmFlushContextResponse
    TpmLoadExternalCommand TpmLoadExternalResponse
    TpmMakeCredentialCommand TpmMakeCredentialResponse
    TpmNvReadPublicCommand TpmNvReadPublicResponse
    TpmPolicyAuthorizeCommand TpmPolicyAuthorizeResponse
    TpmPolicyAuthValueCommand TpmPolicyAuthValueResponse
    TpmPolicyCommandCodeCommand TpmPolicyCommandCodeResponse
    TpmPolicyCounterTimerCommand TpmPolicyCounterTimerResponse
    TpmPolicyCpHashCommand TpmPolicyCpHashResponse
    TpmPolicyLocalityCommand TpmPolicyLocalityResponse
    TpmPolicyNameHashCommand TpmPolicyNameHashResponse
    TpmPolicyOrCommand TpmPolicyOrResponse
    TpmPolicyTicketCommand TpmPolicyTicketResponse
    TpmReadPublicCommand TpmReadPublicResponse
    TpmRsaEncryptCommand TpmRsaEncryptResponse
    TpmStartAuthSessionCommand TpmStartAuthSessionResponse
    TpmVerifySignatureCommand TpmVerifySignatureResponse
    TpmEccParametersCommand TpmEccParametersResponse
    TpmGetCapabilityCommand TpmGetCapabilityResponse
    TpmGetRandomCommand TpmGetRandomResponse
    TpmGetTestResultCommand TpmGetTestResultResponse
    TpmHashCommand TpmHashResponse
    TpmPcrReadCommand TpmPcrReadResponse
    TpmPolicyPcrCommand TpmPolicyPcrResponse
    TpmPolicyRestartCommand TpmPolicyRestartResponse
    TpmReadClockCommand TpmReadClockResponse
    TpmPcrExtendCommand TpmPcrExtendResponse
    TpmPcrSetAuthValueCommand TpmPcrSetAuthValueResponse
    TpmNvCertifyCommand TpmNvCertifyResponse
    TpmEventSequenceCompleteCommand TpmEventSequenceCompleteResponse
    TpmHashSequenceStartCommand TpmHashSequenceStartResponse
    TpmPolicyPhysicalPresenceCommand TpmPolicyPhysicalPresenceResponse
    TpmPolicyDuplicationSelectCommand TpmPolicyDuplicationSelectResponse
    TpmPolicyGetDigestCommand TpmPolicyGetDigestResponse
    TpmTestParmsCommand TpmTestParmsResponse
    TpmCommitCommand TpmCommitResponse
    TpmPolicyPasswordCommand TpmPolicyPasswordResponse
    TpmZGen2PhaseCommand TpmZGen2PhaseResponse
    TpmEcEphemeralCommand TpmEcEphemeralResponse
    TpmPolicyNvWrittenCommand TpmPolicyNvWrittenResponse
    TpmPolicyTemplateCommand TpmPolicyTemplateResponse
    TpmCreateLoadedCommand TpmCreateLoadedResponse
    TpmPolicyAuthorizeNvCommand TpmPolicyAuthorizeNvResponse
    TpmEncryptDecrypt2Command TpmEncryptDecrypt2Response
    TpmEccEncryptCommand TpmEccEncryptResponse
    TpmEccDecryptCommand TpmEccDecryptResponse
    TpmPolicyCapabilityCommand TpmPolicyCapabilityResponse
    TpmPolicyParametersCommand TpmPolicyParametersResponse
    TpmNvDefineSpace2Command TpmNvDefineSpace2Response
    TpmNvReadPublic2Command TpmNvReadPublic2Response
    TpmSetCapabilityCommand TpmSetCapabilityResponse
    TpmReadOnlyControlCommand TpmReadOnlyControlResponse
}
