//! Attestation: Part 3, chapter of the same name. What the TPM says about itself, signed by a key of the caller's choice.

use alloc::vec::Vec;

use crate::commands::nv::access::check_read;
use crate::commands::object::creation_ticket;
use crate::commands::signing::sign_with;
use crate::crypto::hash::hash;
use crate::object::signing::select_scheme;
use crate::request::Request;
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

/// Who signs, and how.
struct Signer {
    handle: Handle,
    scheme: Scheme,
}

impl Signer {
    /// The key behind the handle at `index`, `parameter` being the number of its scheme; a null handle signs with nothing.
    fn of(request: &Request<'_>, index: usize, wanted: Scheme, parameter: u32) -> Result<Self> {
        let handle = request.handle(index);
        if handle.is_null() {
            return Ok(Self { handle, scheme: Scheme::Null });
        }
        let number = u32::try_from(index).unwrap_or(0);
        let key = request.state.object(handle).filter(|key| key.is_signing());
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
fn visible(request: &Request<'_>, signer: &Signer, qualified_signer: &Name) -> (ClockInfo, u64) {
    let mut clock = request.state.clock.info();
    let mut firmware = crate::commands::capability::properties::firmware_version_number();
    let hierarchy = request.state.hierarchy_of(signer.handle);
    if signer.handle.is_null() || !matches!(hierarchy, Handle::PLATFORM | Handle::ENDORSEMENT) {
        const BITS: u32 = 128;
        let proof = request.state.hierarchies.owner.proof.as_bytes();
        let algorithm = crate::commands::object::TICKET_HASH;
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
    request: &mut Request<'_>,
    signer: &Signer,
    extra_data: &Data,
    attested: impl FnOnce(u64) -> Attested,
) -> Result<()> {
    let qualified_signer = request.state.qualified_name(signer.handle);
    let (clock_info, firmware_version) = visible(request, signer, &qualified_signer);
    let extra_data = extra_data.clone();
    let attested = attested(firmware_version);
    let attest = Attest { qualified_signer, extra_data, clock_info, firmware_version, attested };
    let bytes: Vec<u8> = attest.to_bytes();
    let signature = match signer.scheme.hash() {
        Some(algorithm) => {
            let digest =
                attested_digest(signer.scheme, attest.extra_data.as_bytes(), &hash(algorithm, &[&bytes]));
            sign_with(request, signer.handle, signer.scheme, &digest)?
        }
        None => Signature::Null,
    };
    request.answer_sized(&bytes);
    request.answer(&signature);
    Ok(())
}

/// What is signed: the digest of the structure; for ECDAA the digest of the qualifying data in front of it.
fn attested_digest(scheme: Scheme, extra_data: &[u8], digest: &crate::crypto::hash::Digest) -> Vec<u8> {
    match scheme {
        Scheme::EcDaa(algorithm, _) => hash(algorithm, &[extra_data, digest.as_bytes()]).as_bytes().to_vec(),
        _ => digest.as_bytes().to_vec(),
    }
}

/// TPM2_Certify (Part 3, 18.2).
pub fn certify(request: &mut Request<'_>) -> Result<()> {
    let extra_data: Data = request.parameter()?;
    let wanted = request.parameter_with(Scheme::unmarshal_signing)?;
    request.end_of_parameters()?;
    let signer = Signer::of(request, 1, wanted, 2)?;
    let handle = request.handle(0);
    let object = request.state.key(handle, 0)?;
    let (name, qualified_name) = (object.name.clone(), object.qualified_name.clone());
    attest(request, &signer, &extra_data, |_| Attested::Certify { name, qualified_name })
}

/// TPM2_CertifyCreation (Part 3, 18.3).
pub fn certify_creation(request: &mut Request<'_>) -> Result<()> {
    let extra_data: Data = request.parameter()?;
    let creation_hash: DigestBuffer = request.parameter()?;
    let wanted = request.parameter_with(Scheme::unmarshal_signing)?;
    let ticket = request.parameter_with(Ticket::unmarshal_creation)?;
    request.end_of_parameters()?;
    let signer = Signer::of(request, 0, wanted, 3)?;
    let object_name = request.state.name(request.handle(1));
    let expected = creation_ticket(request.state, ticket.hierarchy, &object_name, &creation_hash);
    if !equal_in_constant_time(expected.digest.as_bytes(), ticket.digest.as_bytes()) {
        return Err(ResponseCode::TICKET.parameter(4));
    }
    attest(request, &signer, &extra_data, |_| Attested::Creation { object_name, creation_hash })
}

/// TPM2_Quote (Part 3, 18.4).
pub fn quote(request: &mut Request<'_>) -> Result<()> {
    let extra_data: Data = request.parameter()?;
    let wanted = request.parameter_with(Scheme::unmarshal_signing)?;
    let selection: PcrSelectionList = request.parameter()?;
    request.end_of_parameters()?;
    let signer = Signer::of(request, 0, wanted, 2)?;
    // Without a key there is no algorithm to hash the PCRs with.
    let algorithm = signer.scheme.hash().ok_or(ResponseCode::SCHEME.parameter(2))?;
    let pcrs = &request.state.pcrs;
    let selection = pcrs.filter(&selection);
    let digest = DigestBuffer::from(pcrs.digest(algorithm, &selection).as_bytes());
    attest(request, &signer, &extra_data, |_| Attested::Quote { selection, digest })
}

/// TPM2_GetSessionAuditDigest (Part 3, 18.5).
pub fn get_session_audit_digest(request: &mut Request<'_>) -> Result<()> {
    let extra_data: Data = request.parameter()?;
    let wanted = request.parameter_with(Scheme::unmarshal_signing)?;
    request.end_of_parameters()?;
    let signer = Signer::of(request, 1, wanted, 2)?;
    let handle = request.handle(2);
    let session = request.state.sessions.get(handle).ok_or(ResponseCode::HANDLE.handle(3))?;
    let digest = session.audit.as_ref().ok_or(ResponseCode::TYPE.handle(3))?;
    let digest = DigestBuffer::from(digest.as_bytes());
    let exclusive = request.state.sessions.exclusive_audit == Some(handle);
    attest(request, &signer, &extra_data, |_| Attested::SessionAudit { exclusive, digest })
}

/// TPM2_GetCommandAuditDigest (Part 3, 18.6): reporting the digest begins a new one.
pub fn get_command_audit_digest(request: &mut Request<'_>) -> Result<()> {
    let extra_data: Data = request.parameter()?;
    let wanted = request.parameter_with(Scheme::unmarshal_signing)?;
    request.end_of_parameters()?;
    let signer = Signer::of(request, 1, wanted, 2)?;
    let audit = &request.state.audit;
    let audit_digest =
        audit.digest.as_ref().map_or_else(DigestBuffer::new, |digest| DigestBuffer::from(digest.as_bytes()));
    let codes: Vec<u8> = audit.commands.iter().flat_map(|code| code.to_be_bytes()).collect();
    let command_digest = DigestBuffer::from(hash(audit.hash, &[&codes]).as_bytes());
    let (counter, digest_hash) = (audit.counter, audit.hash.to_wire());
    let attested = Attested::CommandAudit { counter, digest_hash, audit_digest, command_digest };
    let signed = !signer.handle.is_null();
    attest(request, &signer, &extra_data, |_| attested)?;
    if signed {
        request.state.audit.digest = None;
    }
    Ok(())
}

/// TPM2_GetTime (Part 3, 18.7).
pub fn get_time(request: &mut Request<'_>) -> Result<()> {
    let extra_data: Data = request.parameter()?;
    let wanted = request.parameter_with(Scheme::unmarshal_signing)?;
    request.end_of_parameters()?;
    let signer = Signer::of(request, 1, wanted, 2)?;
    let qualified_signer = request.state.qualified_name(signer.handle);
    let mut time = request.state.clock.time_info();
    time.clock_info = visible(request, &signer, &qualified_signer).0;
    attest(request, &signer, &extra_data, |firmware_version| Attested::Time { time, firmware_version })
}

/// TPM2_NV_Certify (Part 3, 31.16): part of the contents, or with size and offset zero their digest.
pub fn nv_certify(request: &mut Request<'_>) -> Result<()> {
    let extra_data: Data = request.parameter()?;
    let wanted = request.parameter_with(Scheme::unmarshal_signing)?;
    let size: u16 = request.parameter()?;
    let offset: u16 = request.parameter()?;
    request.end_of_parameters()?;
    let signer = Signer::of(request, 0, wanted, 2)?;
    let index = check_read(request.state, request.handle(1), request.handle(2))?;
    let index_name = index.name();
    let attested = if size == 0 && offset == 0 {
        let digest = signer.scheme.hash().map(|algorithm| hash(algorithm, &[index.data.as_bytes()]));
        let digest = digest.map_or_else(DigestBuffer::new, |digest| DigestBuffer::from(digest.as_bytes()));
        Attested::NvDigest { index_name, digest }
    } else {
        let rest =
            index.data.as_bytes().get(usize::from(offset)..).ok_or(ResponseCode::VALUE.parameter(4))?;
        if usize::from(size) > MAX_NV_BUFFER_BYTES {
            return Err(ResponseCode::VALUE.parameter(3));
        }
        let contents = rest.get(..usize::from(size)).ok_or(ResponseCode::NV_RANGE)?.to_vec();
        Attested::Nv { index_name, offset, contents }
    };
    attest(request, &signer, &extra_data, |_| attested)
}
