//! Making objects: TPM2_Create and TPM2_CreateLoaded of Part 3's chapter on object commands, and what TPM2_CreatePrimary shares
//! with them.

use crate::crypto::random::{DerivationRandom, Drbg, Random};
use crate::object::checks::{check_creation, check_public};
use crate::object::creation::{self, assemble, check_auth_size, creation_data};
use crate::object::protection::Protector;
use crate::object::{Object, name_of};
use crate::request::Request;
use crate::response_code::ResponseCode;
use crate::structures::attestation::{CreationData, Data};
use crate::structures::attributes::ObjectAttributes as A;
use crate::structures::buffers::{Buffer, DigestBuffer, Name};
use crate::structures::handles::{Handle, HandleKind};
use crate::structures::limits::MAX_LABEL_BYTES;
use crate::structures::pcr_selection::PcrSelectionList;
use crate::structures::public::Unique;
use crate::structures::public::{ObjectType, Parameters, Public, Template};
use crate::structures::schemes::KeyedHashScheme;
use crate::structures::sensitive::{Sensitive, SensitiveCreate};
use crate::wire::{Reader, Result, Secret, put_sized_structure};

use super::creation_ticket;

/// How many bits a derivation may give: TPM_MAX_DERIVATION_BITS.
const DERIVATION_BITS: u32 = 8192;

/// TPM2B_LABEL.
type Label = Buffer<MAX_LABEL_BYTES>;

/// TPM2_Create (Part 3, 12.1).
pub fn create(request: &mut Request<'_>) -> Result<()> {
    let parent_handle = request.handle(0);
    let given = request.parameter_with(SensitiveCreate::unmarshal_sized)?;
    let template = request.parameter_with(Public::unmarshal_sized)?;
    let outside_info: Data = request.parameter()?;
    let selection: PcrSelectionList = request.parameter()?;
    request.end_of_parameters()?;

    let parent = request.state.key(parent_handle, 0)?;
    if !parent.is_storage_parent() {
        return Err(ResponseCode::TYPE.handle(1));
    }
    request.state.objects.check_room()?;
    check_creation(Some(parent), &template, given.data.len()).map_err(|code| code.parameter(2))?;
    check_auth_size(&given.auth, &template).map_err(|code| code.parameter(1))?;
    let mut random = request.state.random.clone();
    let (public, sensitive) = creation::create(&template, &given, &mut random)?;
    let name = name_of(&public);
    let name_hash = public.name_hash.ok_or(ResponseCode::HASH)?;
    let parent = request.state.key(parent_handle, 0)?;
    let private = Protector::parent(parent)?.wrap_sensitive(&name, name_hash, &sensitive, &mut random)?;
    let (data, digest) =
        creation_data(request.state, parent_handle, &public, &selection, &outside_info, request.locality)?;

    request.state.random = random;
    request.answer_sized(&private);
    public.marshal_sized(request.response);
    let hierarchy = request.state.hierarchy_of(parent_handle);
    answer_creation(request, hierarchy, &name, &data, &digest);
    Ok(())
}

/// Creation data, its hash and its ticket: what all commands answer that create.
pub fn answer_creation(
    request: &mut Request<'_>,
    hierarchy: Handle,
    name: &Name,
    data: &CreationData,
    digest: &DigestBuffer,
) {
    put_sized_structure(request.response, data);
    request.answer(digest);
    let ticket = creation_ticket(request.state, hierarchy, name, digest);
    request.answer(&ticket);
}

/// TPM2_CreateLoaded (Part 3, 12.9).
pub fn create_loaded(request: &mut Request<'_>) -> Result<()> {
    let given = request.parameter_with(SensitiveCreate::unmarshal_sized)?;
    let template: Template = request.parameter()?;
    request.end_of_parameters()?;
    let parent_handle = request.handle(0);
    request.state.objects.check_room()?;
    let parent = match HandleKind::Hierarchy.admits(parent_handle) {
        true => None,
        false => Some(request.state.key(parent_handle, 0)?),
    };
    if parent.is_some_and(|parent| !parent.is_parent()) {
        return Err(ResponseCode::TYPE.handle(1));
    }
    let derived = parent.is_some_and(Object::is_derivation_parent);
    let template =
        Public::unmarshal_template(template.as_bytes(), derived).map_err(|code| code.parameter(2))?;
    check_auth_size(&given.auth, &template).map_err(|code| code.parameter(1))?;

    let mut random = request.state.random.clone();
    let (public, sensitive) = match parent {
        Some(parent) if derived => derive(parent, &template, &given)?,
        Some(parent) => {
            check_creation(Some(parent), &template, given.data.len()).map_err(|code| code.parameter(2))?;
            creation::create(&template, &given, &mut random)?
        }
        None => {
            check_creation(None, &template, given.data.len()).map_err(|code| code.parameter(2))?;
            creation::create(
                &template,
                &given,
                &mut primary_random(request, parent_handle, &template, &given),
            )?
        }
    };
    let private = wrapped(parent.filter(|_| !derived), &public, &sensitive, &mut random)?;
    let object = assemble(request.state, parent_handle, public.clone(), Some(sensitive));
    let name = object.name.clone();
    request.response_handle = Some(request.state.objects.load(object)?);
    request.state.random = random;
    request.answer_sized(&private);
    public.marshal_sized(request.response);
    request.answer(&name);
    Ok(())
}

/// What a primary key's numbers come from.
pub fn primary_random(
    request: &Request<'_>,
    hierarchy: Handle,
    template: &Public,
    given: &SensitiveCreate,
) -> Drbg {
    let seed = request.state.hierarchies.of(hierarchy).map_or(&[][..], |hierarchy| hierarchy.seed.as_bytes());
    Drbg::for_primary(seed, b"Primary Object Creation", name_of(template).as_bytes(), given.data.as_bytes())
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
    let (mut public, sensitive) = creation::create(&generated, &without_data, &mut random)?;
    public.attributes = template.attributes;
    Ok((public, sensitive))
}

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
