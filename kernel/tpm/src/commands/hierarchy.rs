//! Hierarchies: Part 3, chapter on hierarchy commands.

use crate::commands::object::creating::{answer_creation, primary_random};
use crate::crypto::hash::HashAlgorithm;
use crate::dictionary_attack::DictionaryAttack;
use crate::hierarchy::Policy;
use crate::object::checks::check_creation;
use crate::object::creation::{self, assemble, check_auth_size, creation_data};
use crate::request::Request;
use crate::response_code::ResponseCode;
use crate::state::Record;
use crate::structures::attestation::Data;
use crate::structures::buffers::{Auth, DigestBuffer};
use crate::structures::handles::Handle;
use crate::structures::pcr_selection::PcrSelectionList;
use crate::structures::public::Public;
use crate::structures::sensitive::SensitiveCreate;
use crate::wire::{Reader, Result, Secret};

/// TPM2_CreatePrimary (Part 3, 24.1): the key depends on seed, template and the caller's data only.
pub fn create_primary(request: &mut Request<'_>) -> Result<()> {
    let hierarchy = request.handle(0);
    let given = request.parameter_with(SensitiveCreate::unmarshal_sized)?;
    let template = request.parameter_with(Public::unmarshal_sized)?;
    let outside_info: Data = request.parameter()?;
    let selection: PcrSelectionList = request.parameter()?;
    request.end_of_parameters()?;

    request.state.objects.check_room()?;
    check_creation(None, &template, given.data.len()).map_err(|code| code.parameter(2))?;
    check_auth_size(&given.auth, &template).map_err(|code| code.parameter(1))?;
    let mut random = primary_random(request, hierarchy, &template, &given);
    let (public, sensitive) = creation::create(&template, &given, &mut random)?;
    let (data, digest) =
        creation_data(request.state, hierarchy, &public, &selection, &outside_info, request.locality)?;
    let object = assemble(request.state, hierarchy, public, Some(sensitive));
    let (public, name) = (object.public.clone(), object.name.clone());
    request.response_handle = Some(request.state.objects.load(object)?);
    public.marshal_sized(request.response);
    answer_creation(request, hierarchy, &name, &data, &digest);
    request.answer(&name);
    Ok(())
}

/// TPM2_HierarchyControl (Part 3, 24.2).
pub fn hierarchy_control(request: &mut Request<'_>) -> Result<()> {
    let auth = request.handle(0);
    let enable: Handle = request.parameter_with(unmarshal_enables)?;
    let state: bool = request.parameter()?;
    request.end_of_parameters()?;

    let hierarchies = &request.state.hierarchies;
    let by_platform = auth == Handle::PLATFORM;
    let allowed = match enable {
        Handle::OWNER | Handle::ENDORSEMENT => {
            // What is disabled is enabled by the platform only.
            let enables = state && !hierarchies.is_enabled(enable);
            by_platform || (auth == enable && !enables)
        }
        _ => by_platform,
    };
    if !allowed {
        return Err(ResponseCode::AUTH_TYPE);
    }
    if enable == Handle::PLATFORM_NV {
        request.state.hierarchies.platform_nv_enabled = state;
        return Ok(());
    }
    let changed = request.state.hierarchies.is_enabled(enable) != state;
    if let Some(hierarchy) = request.state.hierarchies.of_mut(enable) {
        hierarchy.enabled = state;
    }
    if changed && !state {
        request.state.flush_loaded(enable);
    }
    Ok(())
}

/// TPMI_RH_ENABLES.
fn unmarshal_enables(reader: &mut Reader<'_>) -> Result<Handle> {
    match reader.read()? {
        handle @ (Handle::OWNER | Handle::ENDORSEMENT | Handle::PLATFORM | Handle::PLATFORM_NV) => Ok(handle),
        _ => Err(ResponseCode::VALUE),
    }
}

/// TPM2_SetPrimaryPolicy (Part 3, 24.3).
pub fn set_primary_policy(request: &mut Request<'_>) -> Result<()> {
    let digest: DigestBuffer = request.parameter()?;
    let hash: Option<HashAlgorithm> = request.parameter()?;
    request.end_of_parameters()?;
    if digest.len() != hash.map_or(0, HashAlgorithm::digest_bytes) {
        return Err(ResponseCode::SIZE.parameter(1));
    }
    let policy = Policy { hash, digest };
    let handle = request.handle(0);
    let hierarchies = &mut request.state.hierarchies;
    match handle {
        Handle::LOCKOUT => hierarchies.lockout_policy = policy,
        handle => {
            if let Some(hierarchy) = hierarchies.of_mut(handle) {
                hierarchy.policy = policy;
            }
        }
    }
    request.state.mark(Record::Hierarchies);
    Ok(())
}

/// TPM2_ChangePPS (Part 3, 24.4).
pub fn change_pps(request: &mut Request<'_>) -> Result<()> {
    request.end_of_parameters()?;
    let state = &mut *request.state;
    state.hierarchies.platform.renew(&mut state.random);
    state.hierarchies.platform.policy = Policy::default();
    state.flush_loaded(Handle::PLATFORM);
    state.flush_durable(Handle::PLATFORM);
    state.pcrs.policy = Policy::default();
    state.mark(Record::Pcrs);
    state.mark(Record::Hierarchies);
    Ok(())
}

/// TPM2_ChangeEPS (Part 3, 24.5).
pub fn change_eps(request: &mut Request<'_>) -> Result<()> {
    request.end_of_parameters()?;
    let state = &mut *request.state;
    let endorsement = &mut state.hierarchies.endorsement;
    endorsement.renew(&mut state.random);
    endorsement.open();
    state.flush_loaded(Handle::ENDORSEMENT);
    state.flush_durable(Handle::ENDORSEMENT);
    state.mark(Record::Hierarchies);
    Ok(())
}

/// TPM2_Clear (Part 3, 24.6): everything of the owner is gone; the endorsement seed stays, its objects do not.
pub fn clear(request: &mut Request<'_>) -> Result<()> {
    request.end_of_parameters()?;
    if request.state.hierarchies.clear_disabled {
        return Err(ResponseCode::DISABLED);
    }
    let state = &mut *request.state;
    let hierarchies = &mut state.hierarchies;
    hierarchies.owner.renew(&mut state.random);
    hierarchies.endorsement.renew_proof(&mut state.random);
    hierarchies.owner.open();
    hierarchies.endorsement.open();
    hierarchies.lockout_auth = Secret::new();
    hierarchies.lockout_policy = Policy::default();
    for hierarchy in [Handle::OWNER, Handle::ENDORSEMENT] {
        state.flush_loaded(hierarchy);
        state.flush_durable(hierarchy);
    }
    state.dictionary_attack = DictionaryAttack::default();
    state.clock.clear();
    state.audit.counter = 0;
    state.pcrs.auth = Secret::new();
    state.pcrs.changed(0);
    [Record::Hierarchies, Record::DictionaryAttack, Record::Clock, Record::Audit]
        .iter()
        .for_each(|record| state.mark(*record));
    Ok(())
}

/// TPM2_ClearControl (Part 3, 24.7): lockout may forbid TPM2_Clear, and only the platform may allow it again.
pub fn clear_control(request: &mut Request<'_>) -> Result<()> {
    let disable: bool = request.parameter()?;
    request.end_of_parameters()?;
    if request.handle(0) == Handle::LOCKOUT && !disable {
        return Err(ResponseCode::AUTH_FAIL);
    }
    request.state.hierarchies.clear_disabled = disable;
    request.state.mark(Record::Hierarchies);
    Ok(())
}

/// TPM2_HierarchyChangeAuth (Part 3, 24.8).
pub fn hierarchy_change_auth(request: &mut Request<'_>) -> Result<()> {
    let new: Auth = request.parameter()?;
    request.end_of_parameters()?;
    let auth = new.0.without_trailing_zeros();
    let handle = request.handle(0);
    let hierarchies = &mut request.state.hierarchies;
    match handle {
        Handle::LOCKOUT => hierarchies.lockout_auth = auth,
        handle => {
            if let Some(hierarchy) = hierarchies.of_mut(handle) {
                hierarchy.auth = auth;
            }
        }
    }
    request.state.mark(Record::Hierarchies);
    Ok(())
}
