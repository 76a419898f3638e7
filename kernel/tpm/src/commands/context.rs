//! Contexts of objects and sessions: Part 3, chapter on context management.

use alloc::vec::Vec;

use crate::context::{
    Context, SAVED_OBJECT, SAVED_SEQUENCE, SAVED_STATE_CLEAR_OBJECT, put_loaded, read_loaded,
};
use crate::object::{Loaded, Object};
use crate::request::Request;
use crate::response_code::ResponseCode;
use crate::session::{Session, Slot};
use crate::state::Record;
use crate::structures::handles::{Handle, HandleKind, HandleType};
use crate::structures::limits::{LOADED_SESSIONS, MAX_PERSISTENT_OBJECTS};
use crate::undo::Shared;
use crate::wire::{Marshal, Reader, Result, Secret};

/// TPM2_ContextSave (Part 3, 28.2): an object stays loaded, a session does not.
pub fn context_save(request: &mut Request<'_>) -> Result<()> {
    let handle = request.handle(0);
    request.end_of_parameters()?;
    let context = match request.state.loaded(handle) {
        Some(loaded) => {
            let contents = put_loaded(loaded);
            let sequence =
                request.state.object_context_counter.checked_add(1).ok_or(ResponseCode::FAILURE)?;
            let (saved_handle, hierarchy) = match loaded {
                Loaded::Sequence(_) => (SAVED_SEQUENCE, Handle::NULL),
                Loaded::Object(object) if object.state_clear => (SAVED_STATE_CLEAR_OBJECT, object.hierarchy),
                Loaded::Object(object) => (SAVED_OBJECT, object.hierarchy),
            };
            let mut context = Context { sequence, saved_handle, hierarchy, blob: Vec::new() };
            context.protect(request.state, &contents)?;
            request.state.object_context_counter = sequence;
            context
        }
        None => save_session(request, handle)?,
    };
    request.state.invalidate_orderly();
    request.answer(&context);
    Ok(())
}

fn save_session(request: &mut Request<'_>, handle: Handle) -> Result<Context> {
    let session = request.state.sessions.get(handle).ok_or(ResponseCode::HANDLE.handle(1))?;
    let policy = session.policy.is_some();
    let contents = Secret::from(session.to_bytes());
    if request.state.sessions.gap_is_full() {
        return Err(ResponseCode::CONTEXT_GAP);
    }
    let sequence = request.state.sessions.context_counter;
    let mut context = Context { sequence, saved_handle: handle, hierarchy: Handle::NULL, blob: Vec::new() };
    context.protect(request.state, &contents)?;
    let sessions = &mut request.state.sessions;
    sessions.context_counter = sequence.saturating_add(1);
    if let Some(slot) = sessions.slot_mut(handle) {
        *slot = Slot::Saved { context: sequence, policy };
    }
    Ok(context)
}

/// TPM2_ContextLoad (Part 3, 28.3).
pub fn context_load(request: &mut Request<'_>) -> Result<()> {
    let context: Context = request.parameter()?;
    request.end_of_parameters()?;
    let contents = context.open(request.state)?;
    if context.saved_handle.kind() != HandleType::Transient {
        return load_session(request, &context, &contents);
    }
    if !request.state.hierarchies.is_enabled(context.hierarchy) {
        return Err(ResponseCode::HIERARCHY.parameter(1));
    }
    request.state.objects.check_room()?;
    // What was authenticated was written by this engine: it cannot be unreadable.
    let loaded = read_loaded(context.saved_handle, &contents).map_err(|_| ResponseCode::FAILURE)?;
    request.response_handle = Some(request.state.objects.insert(loaded)?);
    Ok(())
}

fn load_session(request: &mut Request<'_>, context: &Context, contents: &Secret) -> Result<()> {
    let sessions = &request.state.sessions;
    let policy = context.saved_handle.kind() == HandleType::PolicySession;
    match sessions.slot(context.saved_handle) {
        Some(Slot::Saved { context: saved, policy: kind })
            if *saved == context.sequence && *kind == policy => {}
        _ => return Err(ResponseCode::HANDLE.parameter(1)),
    }
    let loaded = sessions.loaded();
    if loaded >= LOADED_SESSIONS {
        return Err(ResponseCode::SESSION_MEMORY);
    }
    let oldest = sessions.oldest_saved() == Some(context.sequence);
    if loaded.saturating_add(1) == LOADED_SESSIONS && sessions.gap_is_full() && !oldest {
        return Err(ResponseCode::CONTEXT_GAP);
    }
    let session: Session = Reader::new(contents.as_bytes()).read().map_err(|_| ResponseCode::FAILURE)?;
    if let Some(slot) = request.state.sessions.slot_mut(context.saved_handle) {
        *slot = Slot::Loaded(Shared::new(session));
    }
    request.state.invalidate_orderly();
    request.response_handle = Some(context.saved_handle);
    Ok(())
}

/// TPM2_FlushContext (Part 3, 28.4): the handle is a parameter, so that it may be of a session whose context is saved.
pub fn flush_context(request: &mut Request<'_>) -> Result<()> {
    let handle = request.parameter_with(|reader| HandleKind::Context.unmarshal(reader))?;
    request.end_of_parameters()?;
    let gone = match handle.kind() {
        HandleType::Transient => request.state.objects.remove(handle).is_some(),
        _ => request.state.sessions.flush(handle),
    };
    if gone { Ok(()) } else { Err(ResponseCode::HANDLE.parameter(1)) }
}

/// TPM2_EvictControl (Part 3, 28.5): makes a transient object persistent, or evicts a persistent one.
pub fn evict_control(request: &mut Request<'_>) -> Result<()> {
    let persistent = request.parameter_with(unmarshal_persistent)?;
    request.end_of_parameters()?;
    let (auth, handle) = (request.handle(0), request.handle(1));
    let state = &mut *request.state;
    let lasting = |object: &&Object| {
        object.hierarchy != Handle::NULL && !object.state_clear && object.sensitive.is_some()
    };
    let object = state.object(handle).filter(lasting).ok_or(ResponseCode::ATTRIBUTES.handle(2))?;
    let evicts = handle.kind() == HandleType::Persistent;
    if evicts && handle != persistent {
        return Err(ResponseCode::HANDLE.handle(2));
    }
    let by_platform = auth == Handle::PLATFORM;
    let of_platform = object.hierarchy == Handle::PLATFORM;
    // The platform evicts anything; otherwise each keeps to its own hierarchy and its own half of the handles.
    if by_platform != of_platform && !(by_platform && evicts) {
        return Err(ResponseCode::HIERARCHY.handle(2));
    }
    let in_platform_half = persistent >= Handle::PLATFORM_PERSISTENT_FIRST;
    if !evicts && in_platform_half != by_platform {
        return Err(ResponseCode::RANGE.parameter(1));
    }
    if evicts {
        state.nv.persistent.remove(handle);
    } else {
        if state.nv.persistent.contains_key(&persistent) {
            return Err(ResponseCode::NV_DEFINED);
        }
        if state.nv.persistent.len() >= MAX_PERSISTENT_OBJECTS {
            return Err(ResponseCode::NV_SPACE);
        }
        let object = object.clone();
        state.nv.persistent.insert(persistent, object);
    }
    state.mark(Record::Entity(persistent));
    Ok(())
}

/// TPMI_DH_PERSISTENT.
fn unmarshal_persistent(reader: &mut Reader<'_>) -> Result<Handle> {
    let handle: Handle = reader.read()?;
    if handle.kind() == HandleType::Persistent { Ok(handle) } else { Err(ResponseCode::VALUE) }
}
