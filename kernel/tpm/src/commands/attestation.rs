//! Attestation: Part 3, chapter of the same name. What the TPM says about itself, signed by a key of the caller's choice.

use alloc::vec::Vec;

use crate::call::{Call, Handler};
use crate::command_table::CommandCode;
use crate::commands::objects::creation_ticket;
use crate::commands::signing::sign_with;
use crate::crypto::hash::hash;
use crate::nv::access::check_read;
use crate::object::signing::select_scheme;
use crate::response_code::ResponseCode;
use crate::structures::attestation::{Attest, Attested, ClockInfo, Data};
use crate::structures::attributes::ObjectAttributes;
use crate::structures::buffers::{DigestBuffer, Name};
use crate::structures::handles::Handle;
use crate::structures::limits::MAX_NV_BUFFER_BYTES;
use crate::structures::pcr_selection::PcrSelectionList;
use crate::structures::schemes::Scheme;
use crate::structures::signature::Signature;
use crate::structures::tickets::Ticket;
use crate::wire::{Marshal, Result, equal_in_constant_time};

/// The commands of this chapter.
pub const HANDLERS: &[(CommandCode, Handler)] = &[
    (CommandCode::Certify, certify),
    (CommandCode::CertifyCreation, certify_creation),
    (CommandCode::Quote, quote),
    (CommandCode::GetSessionAuditDigest, session_audit_digest),
    (CommandCode::GetCommandAuditDigest, command_audit_digest),
    (CommandCode::GetTime, time),
    (CommandCode::NvCertify, certify_nv),
];

/// Who signs, and how.
struct Signer {
    handle: Handle,
    scheme: Scheme,
}

impl Signer {
    /// The key behind the handle at `index`, `parameter` being the number of its scheme; a null handle signs with nothing.
    fn of(call: &Call<'_>, index: usize, wanted: Scheme, parameter: u32) -> Result<Self> {
        let handle = call.handle(index);
        if handle.is_null() {
            return Ok(Self { handle, scheme: Scheme::Null });
        }
        let number = u32::try_from(index).unwrap_or(0);
        let key = call.state.object(handle).filter(|key| key.is_signing());
        let key = key.ok_or(ResponseCode::KEY.handle(number.saturating_add(1)))?;
        if key.has(ObjectAttributes::X509_SIGN) {
            return Err(ResponseCode::ATTRIBUTES.handle(number.saturating_add(1)));
        }
        let scheme = select_scheme(key, wanted).map_err(|code| code.parameter(parameter))?;
        Ok(Self { handle, scheme })
    }
}

/// Clock and firmware as the signer may see them: a key outside the platform and endorsement hierarchies sees them
/// obfuscated, so that TPMs cannot be told apart by them. Part 1, section on attestation structures.
fn visible(call: &Call<'_>, signer: &Signer, qualified_signer: &Name) -> (ClockInfo, u64) {
    let mut clock = call.state.clock.info();
    let mut firmware = crate::commands::capability::properties::firmware_version_number();
    let hierarchy = call.state.hierarchy_of(signer.handle);
    if signer.handle.is_null() || !matches!(hierarchy, Handle::PLATFORM | Handle::ENDORSEMENT) {
        const BITS: u32 = 128;
        let proof = call.state.hierarchies.owner.proof.as_bytes();
        let algorithm = crate::commands::objects::TICKET_HASH;
        let mask =
            crate::crypto::kdf::kdfa(algorithm, proof, b"OBFUSCATE", qualified_signer.as_bytes(), &[], BITS);
        let word = |at: usize| {
            let bytes = mask.get(at..at.saturating_add(4)).and_then(|bytes| bytes.try_into().ok());
            u32::from_be_bytes(bytes.unwrap_or_default())
        };
        let wide = (u64::from(word(0)) << 32) | u64::from(word(4));
        firmware = firmware.wrapping_add(wide);
        clock.reset_count = clock.reset_count.wrapping_add(word(8));
        clock.restart_count = clock.restart_count.wrapping_add(word(12));
    }
    (clock, firmware)
}

/// Signs what is attested, and answers with both.
fn attest(
    call: &mut Call<'_>,
    signer: &Signer,
    extra_data: &Data,
    attested: impl FnOnce(u64) -> Attested,
) -> Result<()> {
    let qualified_signer = call.state.qualified_name(signer.handle);
    let (clock_info, firmware_version) = visible(call, signer, &qualified_signer);
    let extra_data = extra_data.clone();
    let attested = attested(firmware_version);
    let attest = Attest { qualified_signer, extra_data, clock_info, firmware_version, attested };
    let bytes: Vec<u8> = attest.to_bytes();
    let signature = match signer.scheme.hash() {
        Some(algorithm) => {
            let digest =
                attested_digest(signer.scheme, attest.extra_data.as_bytes(), &hash(algorithm, &[&bytes]));
            sign_with(call, signer.handle, signer.scheme, &digest)?
        }
        None => Signature::Null,
    };
    call.answer_sized(&bytes);
    call.answer(&signature);
    Ok(())
}

/// What is signed: the digest of the structure; for ECDAA the digest of the qualifying data in front of it.
fn attested_digest(scheme: Scheme, extra_data: &[u8], digest: &crate::crypto::hash::Digest) -> Vec<u8> {
    match scheme {
        Scheme::EcDaa(algorithm, _) => hash(algorithm, &[extra_data, digest.as_bytes()]).as_bytes().to_vec(),
        _ => digest.as_bytes().to_vec(),
    }
}

/// TPM2_Certify.
fn certify(call: &mut Call<'_>) -> Result<()> {
    let extra_data: Data = call.parameter()?;
    let wanted = call.parameter_with(Scheme::unmarshal_signing)?;
    call.end_of_parameters()?;
    let signer = Signer::of(call, 1, wanted, 2)?;
    let handle = call.handle(0);
    let object = call.state.key(handle, 0)?;
    let (name, qualified_name) = (object.name.clone(), object.qualified_name.clone());
    attest(call, &signer, &extra_data, |_| Attested::Certify { name, qualified_name })
}

/// TPM2_CertifyCreation.
fn certify_creation(call: &mut Call<'_>) -> Result<()> {
    let extra_data: Data = call.parameter()?;
    let creation_hash: DigestBuffer = call.parameter()?;
    let wanted = call.parameter_with(Scheme::unmarshal_signing)?;
    let ticket = call.parameter_with(Ticket::unmarshal_creation)?;
    call.end_of_parameters()?;
    let signer = Signer::of(call, 0, wanted, 3)?;
    let object_name = call.state.name(call.handle(1));
    let expected = creation_ticket(call.state, ticket.hierarchy, &object_name, &creation_hash);
    if !equal_in_constant_time(expected.digest.as_bytes(), ticket.digest.as_bytes()) {
        return Err(ResponseCode::TICKET.parameter(4));
    }
    attest(call, &signer, &extra_data, |_| Attested::Creation { object_name, creation_hash })
}

/// TPM2_Quote.
fn quote(call: &mut Call<'_>) -> Result<()> {
    let extra_data: Data = call.parameter()?;
    let wanted = call.parameter_with(Scheme::unmarshal_signing)?;
    let selection: PcrSelectionList = call.parameter()?;
    call.end_of_parameters()?;
    let signer = Signer::of(call, 0, wanted, 2)?;
    // Without a key there is no algorithm to hash the PCRs with.
    let algorithm = signer.scheme.hash().ok_or(ResponseCode::SCHEME.parameter(2))?;
    let pcrs = &call.state.pcrs;
    let selection = pcrs.filter(&selection);
    let digest = DigestBuffer::from(pcrs.digest(algorithm, &selection).as_bytes());
    attest(call, &signer, &extra_data, |_| Attested::Quote { selection, digest })
}

/// TPM2_GetSessionAuditDigest.
fn session_audit_digest(call: &mut Call<'_>) -> Result<()> {
    let extra_data: Data = call.parameter()?;
    let wanted = call.parameter_with(Scheme::unmarshal_signing)?;
    call.end_of_parameters()?;
    let signer = Signer::of(call, 1, wanted, 2)?;
    let handle = call.handle(2);
    let session = call.state.sessions.get(handle).ok_or(ResponseCode::HANDLE.handle(3))?;
    let digest = session.audit.as_ref().ok_or(ResponseCode::TYPE.handle(3))?;
    let digest = DigestBuffer::from(digest.as_bytes());
    let exclusive = call.state.sessions.exclusive_audit == Some(handle);
    attest(call, &signer, &extra_data, |_| Attested::SessionAudit { exclusive, digest })
}

/// TPM2_GetCommandAuditDigest: reporting the digest begins a new one.
fn command_audit_digest(call: &mut Call<'_>) -> Result<()> {
    let extra_data: Data = call.parameter()?;
    let wanted = call.parameter_with(Scheme::unmarshal_signing)?;
    call.end_of_parameters()?;
    let signer = Signer::of(call, 1, wanted, 2)?;
    let audit = &call.state.audit;
    let audit_digest =
        audit.digest.as_ref().map_or_else(DigestBuffer::new, |digest| DigestBuffer::from(digest.as_bytes()));
    let codes: Vec<u8> = audit.commands.iter().flat_map(|code| code.to_be_bytes()).collect();
    let command_digest = DigestBuffer::from(hash(audit.hash, &[&codes]).as_bytes());
    let (counter, digest_hash) = (audit.counter, audit.hash.to_wire());
    let attested = Attested::CommandAudit { counter, digest_hash, audit_digest, command_digest };
    let signed = !signer.handle.is_null();
    attest(call, &signer, &extra_data, |_| attested)?;
    if signed {
        call.state.audit.digest = None;
    }
    Ok(())
}

/// TPM2_GetTime.
fn time(call: &mut Call<'_>) -> Result<()> {
    let extra_data: Data = call.parameter()?;
    let wanted = call.parameter_with(Scheme::unmarshal_signing)?;
    call.end_of_parameters()?;
    let signer = Signer::of(call, 1, wanted, 2)?;
    let qualified_signer = call.state.qualified_name(signer.handle);
    let mut time = call.state.clock.time_info();
    time.clock_info = visible(call, &signer, &qualified_signer).0;
    attest(call, &signer, &extra_data, |firmware_version| Attested::Time { time, firmware_version })
}

/// TPM2_NV_Certify: part of the contents, or with size and offset zero their digest.
fn certify_nv(call: &mut Call<'_>) -> Result<()> {
    let extra_data: Data = call.parameter()?;
    let wanted = call.parameter_with(Scheme::unmarshal_signing)?;
    let size: u16 = call.parameter()?;
    let offset: u16 = call.parameter()?;
    call.end_of_parameters()?;
    let signer = Signer::of(call, 0, wanted, 2)?;
    let index = check_read(call.state, call.handle(1), call.handle(2))?;
    let index_name = index.name();
    let attested = if size == 0 && offset == 0 {
        let digest = signer.scheme.hash().map(|algorithm| hash(algorithm, &[&index.data]));
        let digest = digest.map_or_else(DigestBuffer::new, |digest| DigestBuffer::from(digest.as_bytes()));
        Attested::NvDigest { index_name, digest }
    } else {
        let rest = index.data.get(usize::from(offset)..).ok_or(ResponseCode::VALUE.parameter(4))?;
        if usize::from(size) > MAX_NV_BUFFER_BYTES {
            return Err(ResponseCode::VALUE.parameter(3));
        }
        let contents = rest.get(..usize::from(size)).ok_or(ResponseCode::NV_RANGE)?.to_vec();
        Attested::Nv { index_name, offset, contents }
    };
    attest(call, &signer, &extra_data, |_| attested)
}
