//! Hierarchies: Part 3, chapter on hierarchy commands.

use crate::call::{Call, Handler};
use crate::command_table::CommandCode;
use crate::commands::objects::answer_creation;
use crate::crypto::hash::HashAlgorithm;
use crate::crypto::random::Drbg;
use crate::dictionary_attack::DictionaryAttack;
use crate::hierarchy::Policy;
use crate::object::checks::check_creation;
use crate::object::creation::{assemble, check_auth_size, create, creation_data};
use crate::object::name_of;
use crate::response_code::ResponseCode;
use crate::state::Record;
use crate::structures::attestation::Data;
use crate::structures::buffers::{Auth, DigestBuffer};
use crate::structures::handles::Handle;
use crate::structures::pcr_selection::PcrSelectionList;
use crate::structures::public::Public;
use crate::structures::sensitive::SensitiveCreate;
use crate::wire::{Reader, Result, Secret};

pub const HANDLERS: &[(CommandCode, Handler)] = &[
    (CommandCode::CreatePrimary, create_primary),
    (CommandCode::HierarchyControl, hierarchy_control),
    (CommandCode::SetPrimaryPolicy, set_primary_policy),
    (CommandCode::ChangePps, change_pps),
    (CommandCode::ChangeEps, change_eps),
    (CommandCode::Clear, clear),
    (CommandCode::ClearControl, clear_control),
    (CommandCode::HierarchyChangeAuth, hierarchy_change_auth),
];

/// TPM2_CreatePrimary: the key depends on seed, template and the caller's data only.
fn create_primary(call: &mut Call<'_>) -> Result<()> {
    let hierarchy = call.handle(0);
    let given = call.parameter_with(SensitiveCreate::unmarshal_sized)?;
    let template = call.parameter_with(Public::unmarshal_sized)?;
    let outside_info: Data = call.parameter()?;
    let selection: PcrSelectionList = call.parameter()?;
    call.end_of_parameters()?;

    call.state.objects.check_room()?;
    check_creation(None, &template, given.data.len()).map_err(|code| code.parameter(2))?;
    check_auth_size(&given.auth, &template).map_err(|code| code.parameter(1))?;
    let mut random = primary_random(call, hierarchy, &template, &given);
    let (public, sensitive) = create(&template, &given, &mut random)?;
    let (data, digest) =
        creation_data(call.state, hierarchy, &public, &selection, &outside_info, call.locality)?;
    let object = assemble(call.state, hierarchy, public, Some(sensitive));
    let (public, name) = (object.public.clone(), object.name.clone());
    call.response_handle = Some(call.state.objects.load(object)?);
    public.marshal_sized(&mut call.response);
    answer_creation(call, hierarchy, &name, &data, &digest);
    call.answer(&name);
    Ok(())
}

/// What a primary key's numbers come from.
pub fn primary_random(
    call: &Call<'_>,
    hierarchy: Handle,
    template: &Public,
    given: &SensitiveCreate,
) -> Drbg {
    let seed = call.state.hierarchies.of(hierarchy).map_or(&[][..], |hierarchy| hierarchy.seed.as_bytes());
    Drbg::for_primary(seed, b"Primary Object Creation", name_of(template).as_bytes(), given.data.as_bytes())
}

/// TPM2_HierarchyControl.
fn hierarchy_control(call: &mut Call<'_>) -> Result<()> {
    let auth = call.handle(0);
    let enable: Handle = call.parameter_with(unmarshal_enables)?;
    let state: bool = call.parameter()?;
    call.end_of_parameters()?;

    let hierarchies = &call.state.hierarchies;
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
        call.state.hierarchies.platform_nv_enabled = state;
        return Ok(());
    }
    let changed = call.state.hierarchies.is_enabled(enable) != state;
    if let Some(hierarchy) = call.state.hierarchies.of_mut(enable) {
        hierarchy.enabled = state;
    }
    if changed && !state {
        call.state.flush_loaded(enable);
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

/// TPM2_SetPrimaryPolicy.
fn set_primary_policy(call: &mut Call<'_>) -> Result<()> {
    let digest: DigestBuffer = call.parameter()?;
    let hash: Option<HashAlgorithm> = call.parameter()?;
    call.end_of_parameters()?;
    if digest.len() != hash.map_or(0, HashAlgorithm::digest_bytes) {
        return Err(ResponseCode::SIZE.parameter(1));
    }
    let policy = Policy { hash, digest };
    let handle = call.handle(0);
    let hierarchies = &mut call.state.hierarchies;
    match handle {
        Handle::LOCKOUT => hierarchies.lockout_policy = policy,
        handle => {
            if let Some(hierarchy) = hierarchies.of_mut(handle) {
                hierarchy.policy = policy;
            }
        }
    }
    call.state.mark(Record::Hierarchies);
    Ok(())
}

/// TPM2_ChangePPS.
fn change_pps(call: &mut Call<'_>) -> Result<()> {
    call.end_of_parameters()?;
    let state = &mut *call.state;
    state.hierarchies.platform.renew(&mut state.random);
    state.hierarchies.platform.policy = Policy::default();
    state.flush_loaded(Handle::PLATFORM);
    state.flush_durable(Handle::PLATFORM);
    state.pcrs.policy = Policy::default();
    state.mark(Record::Pcrs);
    state.mark(Record::Hierarchies);
    Ok(())
}

/// TPM2_ChangeEPS.
fn change_eps(call: &mut Call<'_>) -> Result<()> {
    call.end_of_parameters()?;
    let state = &mut *call.state;
    let endorsement = &mut state.hierarchies.endorsement;
    endorsement.renew(&mut state.random);
    endorsement.open();
    state.flush_loaded(Handle::ENDORSEMENT);
    state.flush_durable(Handle::ENDORSEMENT);
    state.mark(Record::Hierarchies);
    Ok(())
}

/// TPM2_Clear: everything of the owner is gone; the endorsement seed stays, its objects do not.
fn clear(call: &mut Call<'_>) -> Result<()> {
    call.end_of_parameters()?;
    if call.state.hierarchies.clear_disabled {
        return Err(ResponseCode::DISABLED);
    }
    let state = &mut *call.state;
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

/// TPM2_ClearControl: lockout may forbid TPM2_Clear, and only the platform may allow it again.
fn clear_control(call: &mut Call<'_>) -> Result<()> {
    let disable: bool = call.parameter()?;
    call.end_of_parameters()?;
    if call.handle(0) == Handle::LOCKOUT && !disable {
        return Err(ResponseCode::AUTH_FAIL);
    }
    call.state.hierarchies.clear_disabled = disable;
    call.state.mark(Record::Hierarchies);
    Ok(())
}

/// TPM2_HierarchyChangeAuth.
fn hierarchy_change_auth(call: &mut Call<'_>) -> Result<()> {
    let new: Auth = call.parameter()?;
    call.end_of_parameters()?;
    let auth = new.0.without_trailing_zeros();
    let handle = call.handle(0);
    let hierarchies = &mut call.state.hierarchies;
    match handle {
        Handle::LOCKOUT => hierarchies.lockout_auth = auth,
        handle => {
            if let Some(hierarchy) = hierarchies.of_mut(handle) {
                hierarchy.auth = auth;
            }
        }
    }
    call.state.mark(Record::Hierarchies);
    Ok(())
}
