//! Platform configuration registers: Part 3, chapter on integrity collection.

use crate::call::{Call, Handler};
use crate::command_table::CommandCode;
use crate::crypto::hash::{HashAlgorithm, hash};
use crate::hierarchy::Policy;
use crate::pcr::{AUTH_GROUP, BANKS, DRTM_PCR, HCRTM_PCR, Pcrs, allows, attributes};
use crate::response_code::ResponseCode;
use crate::state::Record;
use crate::structures::buffers::{Auth, DigestBuffer, DigestList, DigestValues, TaggedDigest};
use crate::structures::handles::HandleKind;
use crate::structures::limits::{MAX_BUFFER_BYTES, MAX_DIGEST_LIST, PCR_COUNT};
use crate::structures::pcr_selection::{PcrSelection, PcrSelectionList};
use crate::wire::Result;

pub const HANDLERS: &[(CommandCode, Handler)] = &[
    (CommandCode::PcrExtend, pcr_extend),
    (CommandCode::PcrEvent, pcr_event),
    (CommandCode::PcrRead, pcr_read),
    (CommandCode::PcrAllocate, pcr_allocate),
    (CommandCode::PcrSetAuthPolicy, pcr_set_auth_policy),
    (CommandCode::PcrSetAuthValue, pcr_set_auth_value),
    (CommandCode::PcrReset, pcr_reset),
];

/// TPM2_PCR_Extend.
fn pcr_extend(call: &mut Call<'_>) -> Result<()> {
    let digests: DigestValues = call.parameter()?;
    call.end_of_parameters()?;
    let handle = call.handle(0);
    if handle.is_null() {
        return Ok(());
    }
    let pcr = Pcrs::number(handle);
    if !allows(attributes(pcr).extend_localities, call.locality) {
        return Err(ResponseCode::LOCALITY);
    }
    for digest in &digests.0 {
        call.state.pcrs.extend(digest.hash, pcr, &digest.digest);
    }
    Ok(())
}

/// TPM2_PCR_Read: as many of the selected PCRs as one list of digests holds.
fn pcr_read(call: &mut Call<'_>) -> Result<()> {
    let selection: PcrSelectionList = call.parameter()?;
    call.end_of_parameters()?;
    let pcrs = &call.state.pcrs;
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
    call.answer(&counter);
    call.answer(&read);
    call.answer(&digests);
    Ok(())
}

/// TPM2_PCR_Event: the digests of all hash algorithms, which extend the banks that have them.
fn pcr_event(call: &mut Call<'_>) -> Result<()> {
    let event = call.parameter_with(|reader| reader.sized(MAX_BUFFER_BYTES))?;
    call.end_of_parameters()?;
    let handle = call.handle(0);
    let pcr = Pcrs::number(handle);
    if !handle.is_null() && !allows(attributes(pcr).extend_localities, call.locality) {
        return Err(ResponseCode::LOCALITY);
    }
    let digest = |algorithm| TaggedDigest { hash: algorithm, digest: hash(algorithm, &[event]).to_vec() };
    let digests = DigestValues(BANKS.into_iter().map(digest).collect());
    if !handle.is_null() {
        for digest in &digests.0 {
            call.state.pcrs.extend(digest.hash, pcr, &digest.digest);
        }
    }
    call.answer(&digests);
    Ok(())
}

/// TPM2_PCR_Reset.
fn pcr_reset(call: &mut Call<'_>) -> Result<()> {
    call.end_of_parameters()?;
    let pcr = Pcrs::number(call.handle(0));
    if !allows(attributes(pcr).reset_localities, call.locality) {
        return Err(ResponseCode::LOCALITY);
    }
    call.state.pcrs.reset(pcr);
    Ok(())
}

/// TPM2_PCR_Allocate: in force from the next TPM reset. TPM_RC_PCR: the PCRs that roots of trust are measured into have to be
/// in some bank.
fn pcr_allocate(call: &mut Call<'_>) -> Result<()> {
    let wanted: PcrSelectionList = call.parameter()?;
    call.end_of_parameters()?;
    let pcrs = &call.state.pcrs;
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
    call.state.pcrs.next_allocation = Some(allocation);
    call.state.mark(Record::Pcrs);
    call.answer(&true);
    for size in [PCR_COUNT, needed, available] {
        call.answer(&u32::try_from(size).unwrap_or(u32::MAX));
    }
    Ok(())
}

/// TPM2_PCR_SetAuthPolicy: for the group of PCRs that has one.
fn pcr_set_auth_policy(call: &mut Call<'_>) -> Result<()> {
    let digest: DigestBuffer = call.parameter()?;
    let hash: Option<HashAlgorithm> = call.parameter()?;
    let handle = call.parameter_with(|reader| HandleKind::Pcr.unmarshal(reader))?;
    call.end_of_parameters()?;
    if digest.len() != hash.map_or(0, HashAlgorithm::digest_bytes) {
        return Err(ResponseCode::SIZE.parameter(1));
    }
    if !AUTH_GROUP.contains(&Pcrs::number(handle)) {
        return Err(ResponseCode::VALUE.parameter(3));
    }
    call.state.pcrs.policy = Policy { hash, digest };
    call.state.mark(Record::Pcrs);
    Ok(())
}

/// TPM2_PCR_SetAuthValue: for the group of PCRs that has one, until the next TPM2_Startup(CLEAR).
fn pcr_set_auth_value(call: &mut Call<'_>) -> Result<()> {
    let auth: Auth = call.parameter()?;
    call.end_of_parameters()?;
    if !AUTH_GROUP.contains(&Pcrs::number(call.handle(0))) {
        return Err(ResponseCode::VALUE);
    }
    call.state.pcrs.auth = auth.0;
    call.state.invalidate_orderly();
    Ok(())
}
