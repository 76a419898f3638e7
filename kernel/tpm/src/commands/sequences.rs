//! Hash, HMAC and event sequences: Part 3, chapter of the same name.

use alloc::vec::Vec;

use crate::commands::symmetric::{MaxBuffer, hmac_algorithm, is_safe_for_a_ticket, ticket_for};
use crate::crypto::hash::{HashAlgorithm, Hasher};
use crate::crypto::hmac::Hmac;
use crate::object::{Loaded, Sequence, SequenceState};
use crate::pcr::{BANKS, Pcrs, allows, attributes};
use crate::request::Request;
use crate::response_code::ResponseCode;
use crate::structures::attestation::GENERATED;
use crate::structures::buffers::{Auth, DigestValues, TaggedDigest};
use crate::structures::handles::{Handle, HandleKind};
use crate::structures::tickets::{Ticket, tag};
use crate::undo::Shared;
use crate::wire::Result;

fn begin(request: &mut Request<'_>, auth: &Auth, state: SequenceState) -> Result<()> {
    let auth = auth.0.without_trailing_zeros();
    let sequence = Loaded::Sequence(Shared::new(Sequence { auth, state }));
    request.response_handle = Some(request.state.objects.insert(sequence)?);
    Ok(())
}

/// TPM2_HMAC_Start (Part 3, 17.2).
pub fn hmac_start(request: &mut Request<'_>) -> Result<()> {
    let auth: Auth = request.parameter()?;
    let wanted: Option<HashAlgorithm> = request.parameter()?;
    request.end_of_parameters()?;
    let key = request.state.key(request.handle(0), 0)?;
    let algorithm = hmac_algorithm(key, wanted, 2)?;
    let secret = key.sensitive.as_ref().ok_or(ResponseCode::KEY.handle(1))?;
    let hmac = Hmac::new(algorithm, secret.secret.as_bytes());
    begin(request, &auth, SequenceState::Hmac(hmac))
}

/// TPM2_HashSequenceStart (Part 3, 17.4): without an algorithm it is an event sequence, for all of them.
pub fn hash_sequence_start(request: &mut Request<'_>) -> Result<()> {
    let auth: Auth = request.parameter()?;
    let algorithm: Option<HashAlgorithm> = request.parameter()?;
    request.end_of_parameters()?;
    let state = match algorithm {
        Some(algorithm) => SequenceState::Hash { hasher: Hasher::new(algorithm), beginning: Vec::new() },
        None => SequenceState::Event(BANKS.into_iter().map(Hasher::new).collect()),
    };
    begin(request, &auth, state)
}

/// Keeps how the first block begins; one that is too short to tell counts as unsafe from then on.
fn note_beginning(beginning: &mut Vec<u8>, block: &[u8]) {
    if beginning.is_empty() {
        let first = block.first_chunk().copied().unwrap_or(GENERATED.to_be_bytes());
        beginning.extend_from_slice(&first);
    }
}

fn update(state: &mut SequenceState, block: &[u8]) {
    match state {
        SequenceState::Hash { hasher, beginning } => {
            note_beginning(beginning, block);
            hasher.update(block);
        }
        SequenceState::Hmac(hmac) => hmac.update(block),
        SequenceState::Event(hashers) => hashers.iter_mut().for_each(|hasher| hasher.update(block)),
    }
}

/// TPM2_SequenceUpdate (Part 3, 17.5).
pub fn sequence_update(request: &mut Request<'_>) -> Result<()> {
    let block: MaxBuffer = request.parameter()?;
    request.end_of_parameters()?;
    let sequence = request.state.sequence_mut(request.handle(0)).ok_or(ResponseCode::MODE.handle(1))?;
    update(&mut sequence.state, block.as_bytes());
    Ok(())
}

/// The state of a sequence after its last block, and the handle to be flushed once the response is made.
fn finish(request: &mut Request<'_>, handle: Handle, block: &[u8]) -> Option<SequenceState> {
    let mut state = request.state.sequence_mut(handle)?.state.clone();
    update(&mut state, block);
    request.state.flush_after_response = Some(handle);
    Some(state)
}

/// TPM2_SequenceComplete (Part 3, 17.6).
pub fn sequence_complete(request: &mut Request<'_>) -> Result<()> {
    let block: MaxBuffer = request.parameter()?;
    let hierarchy = request.parameter_with(|reader| HandleKind::Hierarchy.unmarshal(reader))?;
    request.end_of_parameters()?;
    let handle = request.handle(0);
    let refused = ResponseCode::MODE.handle(1);
    let sequence = request.state.sequence_mut(handle).ok_or(refused)?;
    if matches!(sequence.state, SequenceState::Event(_)) {
        return Err(refused);
    }
    match finish(request, handle, block.as_bytes()).ok_or(refused)? {
        SequenceState::Hash { hasher, beginning } => {
            let (algorithm, safe) = (hasher.algorithm(), is_safe_for_a_ticket(&beginning));
            let digest = hasher.finish();
            request.answer_sized(digest.as_bytes());
            let ticket = ticket_for(request.state, hierarchy, algorithm, digest.as_bytes(), safe);
            request.answer(&ticket);
        }
        SequenceState::Hmac(hmac) => {
            request.answer_sized(hmac.finish().as_bytes());
            request.answer(&Ticket::null(tag::HASHCHECK));
        }
        SequenceState::Event(_) => return Err(refused),
    }
    Ok(())
}

/// TPM2_EventSequenceComplete (Part 3, 17.7).
pub fn event_sequence_complete(request: &mut Request<'_>) -> Result<()> {
    let block: MaxBuffer = request.parameter()?;
    request.end_of_parameters()?;
    let (pcr, handle) = (request.handle(0), request.handle(1));
    let refused = ResponseCode::MODE.handle(2);
    let sequence = request.state.sequence_mut(handle).ok_or(refused)?;
    if !matches!(sequence.state, SequenceState::Event(_)) {
        return Err(refused);
    }
    if !pcr.is_null() && !allows(attributes(Pcrs::number(pcr)).extend_localities, request.locality) {
        return Err(ResponseCode::LOCALITY);
    }
    let Some(SequenceState::Event(hashers)) = finish(request, handle, block.as_bytes()) else {
        return Err(refused);
    };
    let mut results = DigestValues::default();
    for hasher in hashers {
        let algorithm = hasher.algorithm();
        let digest = hasher.finish();
        if !pcr.is_null() {
            request.state.pcrs.extend(algorithm, Pcrs::number(pcr), digest.as_bytes());
        }
        results.0.push(TaggedDigest { hash: algorithm, digest: digest.as_bytes().to_vec() });
    }
    request.answer(&results);
    Ok(())
}
