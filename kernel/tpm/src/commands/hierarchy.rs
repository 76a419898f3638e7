//! Hierarchies: Part 3, chapter on hierarchy commands.

use crate::call::{Call, Handler};
use crate::command_table::CommandCode;
use crate::commands::objects::answer_creation;
use crate::crypto::random::Drbg;
use crate::object::checks::check_creation;
use crate::object::creation::{assemble, check_auth_size, create, creation_data};
use crate::object::name_of;
use crate::structures::attestation::Data;
use crate::structures::handles::Handle;
use crate::structures::pcr_selection::PcrSelectionList;
use crate::structures::public::Public;
use crate::structures::sensitive::SensitiveCreate;
use crate::wire::Result;

pub const HANDLERS: &[(CommandCode, Handler)] = &[(CommandCode::CreatePrimary, create_primary)];

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

fn primary_random(call: &Call<'_>, hierarchy: Handle, template: &Public, given: &SensitiveCreate) -> Drbg {
    let seed = call.state.hierarchies.of(hierarchy).map_or(&[][..], |hierarchy| hierarchy.seed.as_bytes());
    Drbg::for_primary(seed, b"Primary Object Creation", name_of(template).as_bytes(), given.data.as_bytes())
}
