//! Platform configuration registers: Part 3, chapter on integrity collection.

use crate::crypto::hash::{HashAlgorithm, hash};
use crate::hierarchy::Policy;
use crate::pcr::{AUTH_GROUP, BANKS, DRTM_LOCALITY, DRTM_PCR, HCRTM_PCR, Pcrs, allows, attributes};
use crate::request::Request;
use crate::response_code::ResponseCode;
use crate::state::Record;
use crate::structures::buffers::{Auth, DigestBuffer, DigestList, DigestValues, TaggedDigest};
use crate::structures::handles::HandleKind;
use crate::structures::limits::{MAX_BUFFER_BYTES, MAX_DIGEST_LIST, PCR_COUNT};
use crate::structures::pcr_selection::{PcrSelection, PcrSelectionList};
use crate::wire::Result;

/// TPM2_PCR_Extend (Part 3, 22.2).
pub fn pcr_extend(request: &mut Request<'_>) -> Result<()> {
    let digests: DigestValues = request.parameter()?;
    request.end_of_parameters()?;
    let handle = request.handle(0);
    if handle.is_null() {
        return Ok(());
    }
    let pcr = Pcrs::number(handle);
    if !allows(attributes(pcr).extend_localities, request.locality) {
        return Err(ResponseCode::LOCALITY);
    }
    for digest in &digests.0 {
        request.state.pcrs.extend(digest.hash, pcr, &digest.digest);
    }
    Ok(())
}

/// TPM2_PCR_Read (Part 3, 22.4): as many of the selected PCRs as one list of digests holds.
pub fn pcr_read(request: &mut Request<'_>) -> Result<()> {
    let selection: PcrSelectionList = request.parameter()?;
    request.end_of_parameters()?;
    let pcrs = &request.state.pcrs;
    let mut read = PcrSelectionList::default();
    let mut digests = DigestList::default();
    for wanted in &selection.0 {
        let mut selected = PcrSelection::none(wanted.hash);
        for pcr in wanted.pcrs() {
            if let Some(value) = pcrs.value(wanted.hash, pcr).filter(|_| digests.0.len() < MAX_DIGEST_LIST) {
                digests.0.push(DigestBuffer::from(value));
                selected.set(pcr, true);
            }
        }
        read.0.push(selected);
    }
    let counter = pcrs.update_counter;
    request.answer(&counter);
    request.answer(&read);
    request.answer(&digests);
    Ok(())
}

/// TPM2_PCR_Event (Part 3, 22.3): the digests of all hash algorithms, which extend the banks that have them.
pub fn pcr_event(request: &mut Request<'_>) -> Result<()> {
    let event = request.parameter_with(|reader| reader.sized(MAX_BUFFER_BYTES))?;
    request.end_of_parameters()?;
    let handle = request.handle(0);
    let pcr = Pcrs::number(handle);
    if !handle.is_null() && !allows(attributes(pcr).extend_localities, request.locality) {
        return Err(ResponseCode::LOCALITY);
    }
    let digest = |algorithm| TaggedDigest { hash: algorithm, digest: hash(algorithm, &[event]).to_vec() };
    let digests = DigestValues(BANKS.into_iter().map(digest).collect());
    if !handle.is_null() {
        for digest in &digests.0 {
            request.state.pcrs.extend(digest.hash, pcr, &digest.digest);
        }
    }
    request.answer(&digests);
    Ok(())
}

/// TPM2_PCR_Reset (Part 3, 22.8).
pub fn pcr_reset(request: &mut Request<'_>) -> Result<()> {
    request.end_of_parameters()?;
    let pcr = Pcrs::number(request.handle(0));
    // What locality 4 resets, it resets by _TPM_Hash_Start: PC Client PTP, dynamic root of trust.
    let by_command = request.locality != DRTM_LOCALITY;
    if !by_command || !allows(attributes(pcr).reset_localities, request.locality) {
        return Err(ResponseCode::LOCALITY);
    }
    request.state.pcrs.reset(pcr);
    Ok(())
}

/// TPM2_PCR_Allocate (Part 3, 22.5): in force from the next TPM reset. TPM_RC_PCR: the PCRs that roots of trust are measured into have to be
/// in some bank.
pub fn pcr_allocate(request: &mut Request<'_>) -> Result<()> {
    let wanted: PcrSelectionList = request.parameter()?;
    request.end_of_parameters()?;
    let pcrs = &request.state.pcrs;
    let mut allocation = pcrs.next_allocation.clone().unwrap_or_else(|| pcrs.allocation());
    for bank in &mut allocation.0 {
        // A bank that is named twice is what it was named last.
        if let Some(selection) = wanted.0.iter().rfind(|selection| selection.hash == bank.hash) {
            *bank = *selection;
        }
    }
    let measured = [HCRTM_PCR, DRTM_PCR];
    if !measured.iter().all(|pcr| allocation.0.iter().any(|bank| bank.selects(*pcr))) {
        return Err(ResponseCode::PCR);
    }
    let needed = allocation.0.iter().fold(0, |sum: usize, bank| {
        sum.saturating_add(bank.pcrs().count().saturating_mul(bank.hash.digest_bytes()))
    });
    let available = BANKS.iter().fold(0, |sum: usize, hash| sum.saturating_add(hash.digest_bytes()));
    let available = available.saturating_mul(PCR_COUNT);
    request.state.pcrs.next_allocation = Some(allocation);
    request.state.mark(Record::Pcrs);
    request.answer(&true);
    for size in [PCR_COUNT, needed, available] {
        request.answer(&u32::try_from(size).unwrap_or(u32::MAX));
    }
    Ok(())
}

/// TPM2_PCR_SetAuthPolicy (Part 3, 22.6): for the group of PCRs that has one.
pub fn pcr_set_auth_policy(request: &mut Request<'_>) -> Result<()> {
    let digest: DigestBuffer = request.parameter()?;
    let hash: Option<HashAlgorithm> = request.parameter()?;
    let handle = request.parameter_with(|reader| HandleKind::Pcr.unmarshal(reader))?;
    request.end_of_parameters()?;
    if digest.len() != hash.map_or(0, HashAlgorithm::digest_bytes) {
        return Err(ResponseCode::SIZE.parameter(1));
    }
    if !AUTH_GROUP.contains(&Pcrs::number(handle)) {
        return Err(ResponseCode::VALUE.parameter(3));
    }
    request.state.pcrs.policy = Policy { hash, digest };
    request.state.mark(Record::Pcrs);
    Ok(())
}

/// TPM2_PCR_SetAuthValue (Part 3, 22.7): for the group of PCRs that has one, until the next TPM2_Startup(CLEAR).
pub fn pcr_set_auth_value(request: &mut Request<'_>) -> Result<()> {
    let auth: Auth = request.parameter()?;
    request.end_of_parameters()?;
    if !AUTH_GROUP.contains(&Pcrs::number(request.handle(0))) {
        return Err(ResponseCode::VALUE);
    }
    request.state.pcrs.auth = auth.0;
    request.state.invalidate_orderly();
    Ok(())
}
