//! Objects: Part 3, chapter on object commands.

use crate::call::{Call, Handler};
use crate::command_table::CommandCode;
use crate::crypto::hash::HashAlgorithm;
use crate::object::checks::{check_creation, check_loadable};
use crate::object::creation::{assemble, check_auth_size, create, creation_data};
use crate::object::name_of;
use crate::object::protection::{Protector, ticket_digest};
use crate::response_code::ResponseCode;
use crate::state::State;
use crate::structures::attestation::{CreationData, Data};
use crate::structures::attributes::ObjectAttributes;
use crate::structures::buffers::{DigestBuffer, Name};
use crate::structures::handles::Handle;
use crate::structures::limits::MAX_PRIVATE_BYTES;
use crate::structures::pcr_selection::PcrSelectionList;
use crate::structures::public::Public;
use crate::structures::sensitive::SensitiveCreate;
use crate::structures::tickets::{Ticket, tag};
use crate::wire::{Marshal, Result, put_sized_structure};

pub const HANDLERS: &[(CommandCode, Handler)] = &[
    (CommandCode::Create, create_object),
    (CommandCode::Load, load),
    (CommandCode::ReadPublic, read_public),
    (CommandCode::Unseal, unseal),
];

/// What keys tickets and contexts: SHA-512 keeps the strength of every proof.
pub const TICKET_HASH: HashAlgorithm = HashAlgorithm::Sha512;

/// TPM2_Create.
fn create_object(call: &mut Call<'_>) -> Result<()> {
    let parent_handle = call.handle(0);
    let given = call.parameter_with(SensitiveCreate::unmarshal_sized)?;
    let template = call.parameter_with(Public::unmarshal_sized)?;
    let outside_info: Data = call.parameter()?;
    let selection: PcrSelectionList = call.parameter()?;
    call.end_of_parameters()?;

    let parent = call.state.key(parent_handle, 0)?;
    if !parent.is_storage_parent() {
        return Err(ResponseCode::TYPE.handle(1));
    }
    call.state.objects.check_room()?;
    check_creation(Some(parent), &template, given.data.len()).map_err(|code| code.parameter(2))?;
    check_auth_size(&given.auth, &template).map_err(|code| code.parameter(1))?;
    let mut random = call.state.random.clone();
    let (public, sensitive) = create(&template, &given, &mut random)?;
    let name = name_of(&public);
    let name_hash = public.name_hash.ok_or(ResponseCode::HASH)?;
    let parent = call.state.key(parent_handle, 0)?;
    let private = Protector::parent(parent)?.wrap_sensitive(&name, name_hash, &sensitive, &mut random)?;
    let (data, digest) =
        creation_data(call.state, parent_handle, &public, &selection, &outside_info, call.locality)?;

    call.state.random = random;
    call.answer_sized(&private);
    public.marshal_sized(&mut call.response);
    let hierarchy = call.state.hierarchy_of(parent_handle);
    answer_creation(call, hierarchy, &name, &data, &digest);
    Ok(())
}

/// Creation data, its hash and its ticket: what all commands answer that create.
pub fn answer_creation(
    call: &mut Call<'_>,
    hierarchy: Handle,
    name: &Name,
    data: &CreationData,
    digest: &DigestBuffer,
) {
    put_sized_structure(&mut call.response, data);
    call.answer(digest);
    let ticket = creation_ticket(call.state, hierarchy, name, digest);
    call.answer(&ticket);
}

/// TPMT_TK_CREATION: proves that the TPM made the object with this creation data.
pub fn creation_ticket(state: &State, hierarchy: Handle, name: &Name, digest: &DigestBuffer) -> Ticket {
    let proof = state.hierarchies.proof(hierarchy);
    let parts = [&tag::CREATION.to_be_bytes()[..], name.as_bytes(), digest.as_bytes()];
    let digest = ticket_digest(TICKET_HASH, proof, &parts);
    Ticket { tag: tag::CREATION, hierarchy, digest: DigestBuffer::from(digest.as_bytes()) }
}

/// TPM2_Load.
fn load(call: &mut Call<'_>) -> Result<()> {
    let parent_handle = call.handle(0);
    let private = call.parameter_with(|reader| reader.sized(MAX_PRIVATE_BYTES))?;
    let public = call.parameter_with(Public::unmarshal_sized)?;
    call.end_of_parameters()?;

    call.state.objects.check_room()?;
    if private.is_empty() {
        return Err(ResponseCode::SIZE.parameter(1));
    }
    let parent = call.state.key(parent_handle, 0)?;
    if !parent.is_storage_parent() {
        return Err(ResponseCode::TYPE.handle(1));
    }
    let name = name_of(&public);
    let sensitive =
        Protector::parent(parent)?.unwrap_sensitive(&name, private).map_err(|code| code.parameter(1))?;
    check_loadable(Some(parent), &public, &sensitive, 2, 1)?;
    let object = assemble(call.state, parent_handle, public, Some(sensitive));
    let name = object.name.clone();
    call.response_handle = Some(call.state.objects.load(object)?);
    call.answer(&name);
    Ok(())
}

/// TPM2_ReadPublic.
fn read_public(call: &mut Call<'_>) -> Result<()> {
    call.end_of_parameters()?;
    // A sequence has no public area: Part 3 answers TPM_RC_SEQUENCE.
    let object = call.state.object(call.handle(0)).ok_or(ResponseCode::SEQUENCE)?;
    let (public, name, qualified) =
        (object.public.clone(), object.name.clone(), object.qualified_name.clone());
    public.marshal_sized(&mut call.response);
    call.answer(&name);
    call.answer(&qualified);
    Ok(())
}

/// TPM2_Unseal.
fn unseal(call: &mut Call<'_>) -> Result<()> {
    use crate::structures::public::ObjectType;
    call.end_of_parameters()?;
    let object = call.state.key(call.handle(0), 0)?;
    if object.public.object_type() != ObjectType::KeyedHash {
        return Err(ResponseCode::TYPE.handle(1));
    }
    let used = [ObjectAttributes::DECRYPT, ObjectAttributes::SIGN, ObjectAttributes::RESTRICTED];
    if used.iter().any(|attribute| object.has(*attribute)) {
        return Err(ResponseCode::ATTRIBUTES.handle(1));
    }
    let data = object.sensitive.as_ref().map(|sensitive| sensitive.secret.clone()).unwrap_or_default();
    data.marshal(&mut call.response);
    Ok(())
}
