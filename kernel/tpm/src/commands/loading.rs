//! Objects that come from outside, are made and loaded at once, or change their authorization: TPM2_LoadExternal,
//! TPM2_CreateLoaded and TPM2_ObjectChangeAuth of Part 3's chapter on object commands.

use crate::call::{Call, Handler};
use crate::command_table::CommandCode;
use crate::commands::hierarchy::primary_random;
use crate::crypto::random::{DerivationRandom, Random};
use crate::object::asymmetric::validate_keys;
use crate::object::checks::{check_creation, check_loadable, check_public, check_schemes};
use crate::object::creation::{assemble, check_auth_size, create};
use crate::object::protection::Protector;
use crate::object::{Object, name_of, qualified_name};
use crate::response_code::ResponseCode;
use crate::structures::attributes::ObjectAttributes as A;
use crate::structures::buffers::{Auth, Buffer};
use crate::structures::handles::{Handle, HandleKind};
use crate::structures::limits::MAX_LABEL_BYTES;
use crate::structures::public::{ObjectType, Parameters, Public, Template, Unique};
use crate::structures::schemes::KeyedHashScheme;
use crate::structures::sensitive::{Sensitive, SensitiveCreate};
use crate::wire::{Reader, Result, Secret};

/// The commands.
pub const HANDLERS: &[(CommandCode, Handler)] = &[
    (CommandCode::LoadExternal, load_external),
    (CommandCode::CreateLoaded, create_loaded),
    (CommandCode::ObjectChangeAuth, object_change_auth),
];

/// How many bits a derivation may give: TPM_MAX_DERIVATION_BITS.
const DERIVATION_BITS: u32 = 8192;

/// TPM2_LoadExternal.
fn load_external(call: &mut Call<'_>) -> Result<()> {
    let sensitive = call.parameter_with(Sensitive::unmarshal_sized_or_none)?;
    let public = call.parameter_with(Public::unmarshal_sized_or_nameless)?;
    let hierarchy = call.parameter_with(|reader| HandleKind::Hierarchy.unmarshal(reader))?;
    call.end_of_parameters()?;
    call.state.objects.check_room()?;
    if !call.state.hierarchies.is_enabled(hierarchy) {
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
    let mut object = assemble(call.state, hierarchy, public, sensitive);
    (object.external, object.primary) = (true, false);
    let name = object.name.clone();
    call.response_handle = Some(call.state.objects.load(object)?);
    call.answer(&name);
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

/// TPM2_CreateLoaded.
fn create_loaded(call: &mut Call<'_>) -> Result<()> {
    let given = call.parameter_with(SensitiveCreate::unmarshal_sized)?;
    let template: Template = call.parameter()?;
    call.end_of_parameters()?;
    let parent_handle = call.handle(0);
    call.state.objects.check_room()?;
    let parent = match HandleKind::Hierarchy.admits(parent_handle) {
        true => None,
        false => Some(call.state.key(parent_handle, 0)?),
    };
    if parent.is_some_and(|parent| !parent.is_parent()) {
        return Err(ResponseCode::TYPE.handle(1));
    }
    let derived = parent.is_some_and(Object::is_derivation_parent);
    let template =
        Public::unmarshal_template(template.as_bytes(), derived).map_err(|code| code.parameter(2))?;
    check_auth_size(&given.auth, &template).map_err(|code| code.parameter(1))?;

    let mut random = call.state.random.clone();
    let (public, sensitive) = match parent {
        Some(parent) if derived => derive(parent, &template, &given)?,
        Some(parent) => {
            check_creation(Some(parent), &template, given.data.len()).map_err(|code| code.parameter(2))?;
            create(&template, &given, &mut random)?
        }
        None => {
            check_creation(None, &template, given.data.len()).map_err(|code| code.parameter(2))?;
            create(&template, &given, &mut primary_random(call, parent_handle, &template, &given))?
        }
    };
    let private = wrapped(parent.filter(|_| !derived), &public, &sensitive, &mut random)?;
    let object = assemble(call.state, parent_handle, public.clone(), Some(sensitive));
    let name = object.name.clone();
    call.response_handle = Some(call.state.objects.load(object)?);
    call.state.random = random;
    call.answer_sized(&private);
    public.marshal_sized(&mut call.response);
    call.answer(&name);
    Ok(())
}

/// TPM2B_PRIVATE without its size; empty where there is no storage parent to load it under again.
fn wrapped(
    parent: Option<&Object>,
    public: &Public,
    sensitive: &Sensitive,
    random: &mut dyn Random,
) -> Result<alloc::vec::Vec<u8>> {
    let Some(parent) = parent else { return Ok(alloc::vec::Vec::new()) };
    let name_hash = public.name_hash.ok_or(ResponseCode::HASH)?;
    Protector::parent(parent)?.wrap_sensitive(&name_of(public), name_hash, sensitive, random)
}

/// A derived object: its key is a function of the parent's secret, a label and a context.
fn derive(parent: &Object, template: &Public, given: &SensitiveCreate) -> Result<(Public, Sensitive)> {
    let Parameters::KeyedHash(KeyedHashScheme::Xor(algorithm, _)) = parent.public.parameters else {
        return Err(ResponseCode::TYPE.handle(1));
    };
    if template.object_type() == ObjectType::Rsa {
        return Err(ResponseCode::TYPE.parameter(2));
    }
    if template.attributes.has(A::SENSITIVE_DATA_ORIGIN) {
        return Err(ResponseCode::ATTRIBUTES.parameter(2));
    }
    check_public(Some(parent), template).map_err(|code| code.parameter(2))?;
    let (label, context) = label_and_context(template, &given.data).map_err(|code| code.parameter(1))?;
    let seed = parent.sensitive.as_ref().ok_or(ResponseCode::TYPE.handle(1))?;
    let (label, context) = (label.as_bytes(), context.as_bytes());
    let mut random =
        DerivationRandom::new(algorithm, seed.secret.as_bytes(), label, context, DERIVATION_BITS);
    // The key comes from the derivation as it would otherwise come from the generator.
    let mut generated = template.clone();
    generated.attributes = template.attributes.with(A::SENSITIVE_DATA_ORIGIN, true);
    let without_data = SensitiveCreate { auth: given.auth.clone(), data: Secret::new() };
    let (mut public, sensitive) = create(&generated, &without_data, &mut random)?;
    public.attributes = template.attributes;
    Ok((public, sensitive))
}

/// TPM2B_LABEL.
type Label = Buffer<MAX_LABEL_BYTES>;

/// Label and context of a derivation: from the template, and where that is empty from the sensitive data.
fn label_and_context(template: &Public, data: &Secret) -> Result<(Label, Label)> {
    let Unique::Derive { label, context } = &template.unique else { return Err(ResponseCode::TYPE) };
    let (mut label, mut context) = (label.clone(), context.clone());
    if !data.is_empty() {
        let mut reader = Reader::new(data.as_bytes());
        let (other_label, other_context): (Label, Label) = (reader.read()?, reader.read()?);
        if !reader.is_empty() {
            return Err(ResponseCode::SIZE);
        }
        if label.is_empty() {
            label = other_label;
        }
        if context.is_empty() {
            context = other_context;
        }
    }
    Ok((label, context))
}

/// TPM2_ObjectChangeAuth.
fn object_change_auth(call: &mut Call<'_>) -> Result<()> {
    let auth: Auth = call.parameter()?;
    call.end_of_parameters()?;
    let (handle, parent_handle): (Handle, Handle) = (call.handle(0), call.handle(1));
    let object = call.state.key(handle, 0)?;
    let name_hash = object.public.name_hash.ok_or(ResponseCode::HASH.handle(1))?;
    let auth = auth.0.without_trailing_zeros();
    if auth.len() > name_hash.digest_bytes() {
        return Err(ResponseCode::SIZE.parameter(1));
    }
    let expected =
        qualified_name(call.state.qualified_name(parent_handle).as_bytes(), &object.name, Some(name_hash));
    if expected != object.qualified_name {
        return Err(ResponseCode::TYPE.handle(2));
    }
    let parent = call.state.key(parent_handle, 1)?;
    let mut sensitive = object.sensitive.clone().ok_or(ResponseCode::AUTH_UNAVAILABLE)?;
    sensitive.auth = auth;
    let mut random = call.state.random.clone();
    let private = Protector::parent(parent)
        .and_then(|protector| protector.wrap_sensitive(&object.name, name_hash, &sensitive, &mut random))
        .map_err(|code| if code == ResponseCode::TYPE { code.handle(2) } else { code })?;
    call.state.random = random;
    call.answer_sized(&private);
    Ok(())
}
