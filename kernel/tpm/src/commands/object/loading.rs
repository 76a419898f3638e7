//! Loading: TPM2_Load and TPM2_LoadExternal of Part 3's chapter on object commands.

use crate::object::asymmetric::validate_keys;
use crate::object::checks::{check_loadable, check_schemes};
use crate::object::creation::assemble;
use crate::object::name_of;
use crate::object::protection::Protector;
use crate::request::Request;
use crate::response_code::ResponseCode;
use crate::structures::attributes::ObjectAttributes as A;
use crate::structures::handles::HandleKind;
use crate::structures::limits::MAX_PRIVATE_BYTES;
use crate::structures::public::Public;
use crate::structures::sensitive::Sensitive;
use crate::wire::Result;

/// TPM2_Load (Part 3, 12.2).
pub fn load(request: &mut Request<'_>) -> Result<()> {
    let parent_handle = request.handle(0);
    let private = request.parameter_with(|reader| reader.sized(MAX_PRIVATE_BYTES))?;
    let public = request.parameter_with(Public::unmarshal_sized)?;
    request.end_of_parameters()?;

    request.state.objects.check_room()?;
    if private.is_empty() {
        return Err(ResponseCode::SIZE.parameter(1));
    }
    let parent = request.state.key(parent_handle, 0)?;
    if !parent.is_storage_parent() {
        return Err(ResponseCode::TYPE.handle(1));
    }
    let name = name_of(&public);
    let sensitive =
        Protector::parent(parent)?.unwrap_sensitive(&name, private).map_err(|code| code.parameter(1))?;
    check_loadable(Some(parent), &public, &sensitive, 2, 1)?;
    let object = assemble(request.state, parent_handle, public, Some(sensitive));
    let name = object.name.clone();
    request.response_handle = Some(request.state.objects.load(object)?);
    request.answer(&name);
    Ok(())
}

/// TPM2_LoadExternal (Part 3, 12.3).
pub fn load_external(request: &mut Request<'_>) -> Result<()> {
    let sensitive = request.parameter_with(Sensitive::unmarshal_sized_or_none)?;
    let public = request.parameter_with(Public::unmarshal_sized_or_nameless)?;
    let hierarchy = request.parameter_with(|reader| HandleKind::Hierarchy.unmarshal(reader))?;
    request.end_of_parameters()?;
    request.state.objects.check_room()?;
    if !request.state.hierarchies.is_enabled(hierarchy) {
        return Err(ResponseCode::HIERARCHY.parameter(3));
    }
    if sensitive.is_some() {
        if !hierarchy.is_null() {
            return Err(ResponseCode::HIERARCHY.parameter(3));
        }
        // It must not look like a key that this TPM made.
        let own = [A::FIXED_TPM, A::FIXED_PARENT, A::RESTRICTED];
        if own.iter().any(|attribute| public.attributes.has(*attribute)) {
            return Err(ResponseCode::ATTRIBUTES.parameter(2));
        }
    }
    check_external(&public, sensitive.as_ref())?;
    let mut object = assemble(request.state, hierarchy, public, sensitive);
    (object.external, object.primary) = (true, false);
    let name = object.name.clone();
    request.response_handle = Some(request.state.objects.load(object)?);
    request.answer(&name);
    Ok(())
}

/// What a public key must satisfy, and what a whole key must.
fn check_external(public: &Public, sensitive: Option<&Sensitive>) -> Result<()> {
    if let (Some(sensitive), Some(_)) = (sensitive, public.name_hash) {
        return check_loadable(None, public, sensitive, 2, 1);
    }
    check_schemes(None, public).map_err(|code| code.parameter(2))?;
    validate_keys(public, sensitive, 2, 1)
}
